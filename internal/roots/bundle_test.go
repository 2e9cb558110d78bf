package roots // being about what Load waits for, and about a decoder that x509 does not see

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"

	"github.com/matryer/is"
)

// systemBundle is the text of the first bundle that this machine has.
func systemBundle(t testing.TB) []byte {
	t.Helper()
	for _, file := range bundles {
		if text, err := os.ReadFile(file); err == nil {
			return text
		}
	}
	t.Skip("no bundle of certificate roots: install ca-certificates")
	return nil
}

func TestWhatWasBegunIsTheWholeBundle(t *testing.T) {
	is := is.New(t)
	want := x509.NewCertPool()
	is.True(want.AppendCertsFromPEM(systemBundle(t)))
	Begin()
	t.Cleanup(func() { begun = nil })
	pool, n := begun.roots()
	is.True(n > 0)
	is.True(pool.Equal(want))
}

func TestNobodyWaitsForABundleThatIsNotWanted(t *testing.T) {
	is := is.New(t)
	text := systemBundle(t)
	b := &bundle{pool: x509.NewCertPool()}
	b.abandon()
	b.parse(text)
	_, n := b.roots()
	is.Equal(n, 0)
	Begin()
	t.Cleanup(func() { begun = nil })
	t.Setenv("SSL_CERT_DIR", "/certs")
	Load(map[string]string{"SSL_CERT_DIR": "/certs"})()
	is.True(begun.abandoned.Load())
}

func TestBlocksOfEveryFormAreRead(t *testing.T) {
	text := systemBundle(t)
	first, _ := pem.Decode(text)
	plain := pem.EncodeToMemory(first)
	for name, text := range map[string][]byte{
		"plain":               plain,
		"words around it":     []byte("a root\n" + string(plain) + "\nthe end"),
		"lines end with CRLF": bytes.ReplaceAll(plain, []byte("\n"), []byte("\r\n")),
		"lines of 75":         pemOfLines(first.Bytes, 75),
		"no line at the end":  bytes.TrimSuffix(plain, []byte("\n")),
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			blocks := split(text)
			is.Equal(len(blocks), 1)
			is.Equal(decode(blocks[0]), first.Bytes)
		})
	}
	is := is.New(t)
	is.Equal(decode(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: first.Bytes})), nil) // no certificate
	is.Equal(decode(pem.EncodeToMemory(&pem.Block{Type: first.Type, Headers: map[string]string{"a": "b"}, Bytes: first.Bytes})), nil)
}

// pemOfLines is a certificate in lines of width characters.
func pemOfLines(der []byte, width int) []byte {
	body := bytes.ReplaceAll(pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: der}), []byte("\n"), nil)
	body = bytes.TrimSuffix(bytes.TrimPrefix(body, []byte("-----BEGIN X-----")), []byte("-----END X-----"))
	text := []byte(head)
	for len(body) > 0 {
		n := min(width, len(body))
		text = append(append(text, body[:n]...), '\n')
		body = body[n:]
	}
	return append(text, tail...)
}

// What the quick way reads, pem.Decode reads in the same way.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(head + "AAAA\n" + tail + "\n"))
	f.Add([]byte(head + "AAAAAAAA\nAA==\n" + tail))
	f.Add([]byte(head + "AA==\nAAAA\n" + tail))
	f.Add([]byte(head + "A: b\n\nAAAA\n" + tail + "\n"))
	f.Add([]byte(head + "AAAA\n" + tail + " words\n"))
	f.Add([]byte(head + "AAAA\n-----END X-----\n" + tail + "\n"))
	f.Add([]byte("-----BEGIN X-----\nAAAA\n-----END X-----\n"))
	f.Fuzz(func(t *testing.T, block []byte) {
		is := is.New(t)
		found, _ := pem.Decode(block)
		if len(split(block)) != 1 {
			return
		}
		got := decode(block)
		if found == nil || found.Type != "CERTIFICATE" || len(found.Headers) != 0 {
			is.Equal(got, nil)
			return
		}
		is.True(bytes.Equal(got, found.Bytes))
	})
}
