package config

import (
	"crypto/x509"
	"os"
	"slices"
	"sync"
)

// bundles are the files that hold all roots on Amazon Linux and on Debian.
var bundles = []string{"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"}

// RootsVariables are what x509 reads to find the roots.
func RootsVariables() []string { return []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} }

// LoadRoots starts loading the system's certificate roots, which x509 keeps, and returns the wait for them: during init
// they cost none of the throttled CPU of the first dial.
//
// Behind a bundle x509 also reads every file of the certificate folders, which hold the same roots once or twice more
// and are most of a cold start. So it is pointed away from them, unless SSL_CERT_DIR or SSL_CERT_FILE says otherwise.
func LoadRoots(environ map[string]string) (wait func()) {
	given := slices.ContainsFunc(RootsVariables(), func(name string) bool { return environ[name] != "" })
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
