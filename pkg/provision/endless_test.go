package provision_test

import (
	"bytes"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// An answer without an end is read to its limit, not for as long as its sender likes: it would fill the memory.
func TestAnAnswerWithoutAnEndIsReadToItsLimit(t *testing.T) {
	for name, ask := range map[string]func(t *testing.T, url string) error{
		"provision": func(t *testing.T, url string) error {
			c := provision.New(provision.Config{URL: relay.NewBaseURL(url)})
			_, err := c.Provision(t.Context(), relay.NewSecret("identity"), provision.Request{GatewayID: "gw", Fronts: []relay.Front{{Platform: "discord"}}})
			return err
		},
		"a token's endpoint": func(t *testing.T, url string) error {
			_, err := (&provision.Ambient{TokenURL: url}).Token(t.Context())
			return err
		},
		"a grant": func(t *testing.T, url string) error {
			_, err := client(url).Token(t.Context())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			const most = 64 << 20
			var sent atomic.Int64
			ended := make(chan struct{})
			srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				defer close(ended)
				for blanks := bytes.Repeat([]byte(" "), 64<<10); sent.Load() < most; {
					n, err := w.Write(blanks)
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			})
			is.True(ask(t, srv.URL) != nil)
			srv.CloseClientConnections()
			<-ended
			is.True(sent.Load() < most/2) // the network holds some of it
		})
	}
}
