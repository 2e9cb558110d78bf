package main_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
)

// SIGTERM at whatever the process is: the lease is given back within the 500 ms that Lambda leaves, so that the next drain need
// not wait until it runs out. internal/drain has more phases, in simulated time.
func TestSIGTERMGivesTheLeaseBack(t *testing.T) {
	idled := func(s devconnector.State) bool { return len(s.Idles) > 0 }
	tests := map[string]struct {
		hangs   string // requests of the connector that are not answered
		prepare func(s *stack)
		is      func(devconnector.State) bool // the phase; nil: the request hangs
	}{
		"provisioning":            {"/relay/provision", nil, nil},
		"dialling":                {"/relay", nil, nil},
		"waiting for descriptors": {"", func(s *stack) { s.WithholdDescriptor(1000) }, func(s devconnector.State) bool { return len(s.Sockets) > 0 }},
		"connected":               {"", func(*stack) {}, connected},
		"in a turn":               {"", func(s *stack) { s.Deliver(gateway, event(0, "m1")) }, acked(1)},
		"going idle":              {"", func(s *stack) { s.DelayIdleAck(time.Minute) }, idled},
		"idle, with its ack lost": {"", func(s *stack) { s.WithholdIdleAck(-1) }, idled},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			env, table := onTable(t)
			agent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body) // unless it is read, the server does not notice that the client is gone
				<-r.Context().Done()
			}))
			t.Cleanup(agent.Close)
			env["DORMOUSE_AGENT"] = agent.URL
			if name == "connected" {
				env["DORMOUSE_EMPTY_AFTER"] = "1m"
			}
			hanging, free := make(chan struct{}, 100), make(chan struct{})
			s := deploy(t, setup{env: env, before: func(connector http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == tt.hangs {
						io.Copy(io.Discard, r.Body)
						hanging <- struct{}{}
						select {
						case <-r.Context().Done():
							return
						case <-free:
						}
					}
					connector.ServeHTTP(w, r)
				})
			}})
			t.Cleanup(func() { close(free) })
			if tt.prepare != nil {
				tt.prepare(s)
			}
			wait := s.start("wake")
			if tt.is != nil {
				s.await(tt.is)
			} else {
				select {
				case <-hanging:
				case <-time.After(patience):
					t.Fatal("the request did not come")
				}
			}
			held, err := table.Overview(t.Context())
			is.NoErr(err)
			is.True(held.Held)

			is.NoErr(s.host.Shutdown(drainFunction))
			wait()
			at, err := table.Overview(t.Context())
			is.NoErr(err)
			is.True(!at.Held)
			is.True(!at.Standing.Disabled)
			is.True(time.Until(at.Plan.At) <= 5*time.Minute) // what it was at is looked for soon
			is.Equal(s.logged(fmt.Sprintf("%q", drain.Taken)), 0)
		})
	}
}
