package roots_test

import (
	"crypto/x509"
	"os"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/roots"
)

func TestRootsAreThoseOfTheBundle(t *testing.T) {
	t.Setenv("SSL_CERT_DIR", "") // back to what they were, afterwards
	t.Setenv("SSL_CERT_FILE", "")
	want := x509.NewCertPool()
	for _, file := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"} {
		if bundle, err := os.ReadFile(file); err == nil {
			want.AppendCertsFromPEM(bundle)
			break
		}
	}
	if want.Equal(x509.NewCertPool()) {
		t.Skip("no bundle of certificate roots: install ca-certificates")
	}
	is := is.New(t)
	roots.Load(map[string]string{})()
	got, err := x509.SystemCertPool() // what was loaded, and is kept
	is.NoErr(err)
	is.True(got.Equal(want))
}

func TestCertificateFoldersThatWereAskedForAreKept(t *testing.T) {
	for _, name := range []string{"SSL_CERT_DIR", "SSL_CERT_FILE"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SSL_CERT_DIR", "/certs")
			roots.Load(map[string]string{name: "/certs"})()
			is.New(t).Equal(os.Getenv("SSL_CERT_DIR"), "/certs")
		})
	}
}
