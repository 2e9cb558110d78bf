// Package roots loads the system's certificate roots while a function starts, because Lambda does not throttle the CPU then.
//
// Importing package ahead starts parsing the bundle of roots while other packages are still initialised. The mains of both
// functions call Load, which makes what was parsed x509's roots. It starts goroutines and returns at once; the function that
// it returns blocks until the roots are loaded. Nothing here touches the network, and roots that cannot be loaded are no error
// here: the first dial says so.
package roots

import (
	"crypto/x509"
	"os"
	"slices"
	"sync"
)

// Variables are what x509 reads to find the roots.
func Variables() []string { return []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} }

// begun is the bundle of which Begin has started the parsing; nil for none.
var begun *bundle

// Begin starts parsing the bundle of the system's roots, for Load. It is for the initialisation of a package.
func Begin() { begun = newBundle() }

// Load starts loading the system's certificate roots, which x509 keeps, and returns the wait for them. Loaded during
// init, they take none of the throttled CPU of the first dial. It has an effect once in a process.
//
// If there is a bundle, x509 still reads every file of the certificate folders. Those hold the same roots once or twice
// more, and reading them takes most of a cold start. So Load parses the bundle itself, on two CPUs, points SSL_CERT_FILE and
// SSL_CERT_DIR to nothing, and gives x509 what it has parsed as its fallback. If environ sets one of the two, or if there is
// no bundle that holds a certificate, the roots are those that x509 finds.
func Load(environ map[string]string) (wait func()) {
	given := slices.ContainsFunc(Variables(), func(name string) bool { return environ[name] != "" })
	b := begun
	switch {
	case given && b != nil:
		b.abandon()
	case b == nil && !given:
		b = newBundle()
	}
	var loading sync.WaitGroup
	loading.Go(func() {
		if given || !use(b.roots()) {
			x509.SystemCertPool()
		}
	})
	return loading.Wait
}

// fallback guards x509.SetFallbackRoots, which panics when it is called twice.
var fallback sync.Once

// use makes pool x509's roots. False means that it has none.
func use(pool *x509.CertPool, n int) bool {
	if n == 0 {
		return false
	}
	fallback.Do(func() {
		for _, name := range Variables() {
			os.Setenv(name, os.DevNull) // fails for impossible names only
		}
		x509.SetFallbackRoots(pool)
	})
	return true
}
