// Package roots loads the system's certificate roots while a function starts, because Lambda does not throttle the CPU then.
//
// The mains of both functions call Load. It starts one goroutine and returns at once; the function that it returns blocks
// until the roots are loaded. It touches no network, and roots that cannot be loaded are no error here: the first dial says
// so.
package roots

import (
	"crypto/x509"
	"os"
	"slices"
	"sync"
)

// bundles are the files that hold all roots on Amazon Linux and on Debian.
var bundles = []string{"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"}

// Variables are what x509 reads to find the roots.
func Variables() []string { return []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} }

// Load starts loading the system's certificate roots, which x509 keeps, and returns the wait for them. Loaded during
// init, they take none of the throttled CPU of the first dial.
//
// If there is a bundle, x509 still reads every file of the certificate folders. Those hold the same roots once or twice
// more, and reading them takes most of a cold start. So Load sets SSL_CERT_DIR to an empty folder, unless environ sets
// SSL_CERT_DIR or SSL_CERT_FILE.
func Load(environ map[string]string) (wait func()) {
	given := slices.ContainsFunc(Variables(), func(name string) bool { return environ[name] != "" })
	if !given && slices.ContainsFunc(bundles, readable) {
		os.Setenv("SSL_CERT_DIR", os.DevNull) // fails for impossible names only
	}
	var loading sync.WaitGroup
	loading.Go(func() { x509.SystemCertPool() })
	return loading.Wait
}

func readable(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	return f.Close() == nil
}
