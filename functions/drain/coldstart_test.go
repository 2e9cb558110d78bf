package main_test

import (
	"encoding/pem"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/matryer/is"
)

// Users see their own cold start: its times are in the report, TLS among them, and a warm one has no init.
func TestTheReportOfAColdStartTellsWhereItsTimeWent(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	root := filepath.Join(t.TempDir(), "root.pem")
	s := deploy(t, setup{
		env: map[string]string{"SSL_CERT_FILE": root},
		between: func(connector string) (string, error) {
			target, err := url.Parse(connector)
			if err != nil {
				return "", err
			}
			front := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(target))
			t.Cleanup(front.Close)
			pemBytes := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
			return front.URL, os.WriteFile(root, pemBytes, 0o600)
		},
	})
	s.Deliver(gateway, event(0, "m1"))
	out := s.start("wake")()
	is.Equal(out.FunctionError, "")
	ms := out.MS
	is.True(*ms.Init > 0)
	is.True(*ms.TLS <= *ms.Descriptor)
	is.True(*ms.Descriptor <= *ms.FirstTyping)
	is.True(*ms.FirstTyping <= *ms.FirstReply)

	s.Deliver(gateway, event(0, "m2"))
	out = s.start("wake")()
	is.True(out.MS.Init == nil)
	is.True(out.MS.TLS != nil)
}
