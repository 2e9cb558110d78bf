// Package roots loads the system's certificate roots while a function starts, because Lambda does not throttle the CPU then.
//
// The mains of both functions call Load. It starts goroutines and returns at once; the function that it returns blocks until
// the roots are loaded. It touches no network, and roots that cannot be loaded are no error here: the first dial says so.
package roots

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"slices"
	"sync"
)

// bundles are the files that hold all roots on Amazon Linux and on Debian.
var bundles = []string{"/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"}

// Variables are what x509 reads to find the roots.
func Variables() []string { return []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} }

// Load starts loading the system's certificate roots, which x509 keeps, and returns the wait for them. Loaded during
// init, they take none of the throttled CPU of the first dial. It has an effect once in a process.
//
// If there is a bundle, x509 still reads every file of the certificate folders. Those hold the same roots once or twice
// more, and reading them takes most of a cold start. So Load parses the bundle itself, half of it on each of two CPUs,
// points SSL_CERT_FILE and SSL_CERT_DIR to nothing, and gives x509 what it has parsed as its fallback. If environ sets one
// of the two, or if there is no bundle that holds a certificate, the roots are those that x509 finds.
func Load(environ map[string]string) (wait func()) {
	given := slices.ContainsFunc(Variables(), func(name string) bool { return environ[name] != "" })
	var loading sync.WaitGroup
	loading.Go(func() {
		if given || !loadBundle() {
			x509.SystemCertPool()
		}
	})
	return loading.Wait
}

// fallback guards x509.SetFallbackRoots, which panics when it is called twice.
var fallback sync.Once

// loadBundle makes the first bundle that can be read x509's roots. False means that there is none with a certificate.
func loadBundle() bool {
	for _, file := range bundles {
		bundle, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		roots := parse(bundle)
		if len(roots) == 0 {
			return false
		}
		fallback.Do(func() {
			pool := x509.NewCertPool()
			for _, root := range roots {
				pool.AddCert(root)
			}
			for _, name := range Variables() {
				os.Setenv(name, os.DevNull) // fails for impossible names only
			}
			x509.SetFallbackRoots(pool)
		})
		return true
	}
	return false
}

// parse returns the certificates of a bundle, each half of it parsed on a CPU of its own. As x509 does, it leaves out what
// cannot be parsed.
func parse(bundle []byte) []*x509.Certificate {
	middle := len(bundle) / 2
	if at := bytes.Index(bundle[middle:], []byte("-----BEGIN ")); at >= 0 {
		middle += at
	}
	var first []*x509.Certificate
	var other sync.WaitGroup
	other.Go(func() { first = parseHalf(bundle[:middle]) })
	second := parseHalf(bundle[middle:])
	other.Wait()
	return append(first, second...)
}

func parseHalf(half []byte) (certs []*x509.Certificate) {
	for block, rest := pem.Decode(half); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" || len(block.Headers) != 0 {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			certs = append(certs, cert)
		}
	}
	return certs
}
