package agent

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/matryer/is"
)

func FuzzUnpack(f *testing.F) { // what is not packed stays as it is, what is packed comes out, and junk is an error
	f.Add([]byte(`{"text":"a"}`))
	f.Add([]byte("\x1f"))
	f.Add([]byte("\x1f\x8b\x08\x00junk"))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, body []byte) {
		is := is.New(t)
		read := func(raw []byte) ([]byte, error) {
			in, err := unpack(&http.Response{Header: http.Header{}, Body: io.NopCloser(iotest.HalfReader(bytes.NewReader(raw)))})
			is.NoErr(err)
			return io.ReadAll(io.LimitReader(in, maxAnswer+1))
		}
		plain, err := read(body)
		if !bytes.HasPrefix(body, []byte("\x1f\x8b")) {
			is.NoErr(err)
			is.Equal(plain, body)
		}
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		w.Write(body)
		w.Close()
		got, err := read(packed.Bytes())
		is.NoErr(err)
		is.True(bytes.Equal(got, body))
	})
}

func FuzzSaid(f *testing.F) { // an error keeps one short line that can be printed, without our secrets
	f.Add([]byte("Cannot POST /hooks/secret-of-ours?key=other-secret"))
	f.Add([]byte("a\r\n\x00\x1b[31m\xff" + strings.Repeat("ä", 200)))
	f.Add([]byte("secret-\u202eof-\x00ours"))
	f.Add([]byte(strings.Repeat(" ", 5000) + "late"))
	address, err := url.Parse("https://user-of-ours:password-of-ours@agent.example/hooks/secret-of-ours?key=other-secret")
	if err != nil {
		f.Fatal(err)
	}
	hide := secrets(address)
	f.Fuzz(func(t *testing.T, body []byte) {
		text := said(bytes.NewReader(body), hide)
		if len(text) > maxSaid+len(": ") || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Fatalf("%q", text)
		}
		for _, secret := range []string{"secret-of-ours", "other-secret", "user-of-ours", "password-of-ours"} {
			if strings.Contains(text, secret) {
				t.Fatalf("%q shows %s", text, secret)
			}
		}
	})
}
