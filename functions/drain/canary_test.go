package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// Each stack looks for canaries when it stops, so every test here does. These are the ways to fail, at debug level,
// with connectors that give back what they have been told.
func TestFailuresShowNoSecrets(t *testing.T) {
	const pinned, clientSecret, stranger = "canary-of-a-pinned-secret", "canary-of-a-client-secret", "canary-of-a-stranger"
	provider := httptest.NewServer(failWith(http.StatusUnauthorized))
	t.Cleanup(provider.Close)
	tests := map[string]struct {
		setup
		prepare func(s *stack)
		status  drain.Status // empty: the function failed
		logged  string       // to see that it went wrong as it was meant to
	}{
		"unreachable": {
			setup:  setup{env: map[string]string{"GATEWAY_RELAY_URL": "http://" + unusedAddress(t)}},
			logged: "connection refused",
		},
		"unknown identity": {
			setup: setup{canaries: []string{stranger}, env: map[string]string{
				"GATEWAY_RELAY_IDENTITY_TOKEN": stranger,
			}},
			logged: "HTTP 401",
		},
		"revoked": {
			prepare: func(s *stack) { s.Revoke(gateway) },
			logged:  "HTTP 403",
		},
		"provisioning quotes the wake URL": {
			setup: setup{before: instead(func(w http.ResponseWriter, r *http.Request) {
				var body struct{ WakeURL string }
				json.NewDecoder(r.Body).Decode(&body)
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `{"error":%q}`, "wakeUrl cannot be reached: "+body.WakeURL)
			})},
			logged: "HTTP 400",
		},
		"closed with an echo": {
			setup: setup{before: upgrade(func(w http.ResponseWriter, r *http.Request) {
				ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
				if err != nil {
					return
				}
				defer ws.Close()
				_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
				ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4401, token))
			})},
			logged: "connector closed the socket: 4401",
		},
		"no provisioning": {
			setup:  setup{change: func(p *devconnector.Preset) { p.Provision = devconnector.ProvisionNone }},
			logged: "this connector does not provision: enroll or pin the credentials",
		},
		"withheld": {
			prepare: func(s *stack) { s.Forget(gateway); s.WithholdSecret(true) },
			logged:  "enroll and pin",
		},
		"provisioning answers an echo": {
			setup:  setup{before: instead(echo)},
			logged: "not a JSON object",
		},
		"provisioning fails with an echo": {
			setup:  setup{before: instead(failWith(http.StatusBadRequest))},
			logged: "HTTP 400",
		},
		"provisioning is down with an echo": {
			setup:  setup{before: instead(failWith(http.StatusBadGateway))},
			logged: "HTTP 502",
		},
		"provisioning has moved": {
			setup: setup{before: instead(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://other.example/"+r.Header.Get("Authorization"), http.StatusTemporaryRedirect)
			})},
			logged: "redirect to",
		},
		"upgrade refused with an echo": {
			setup:  setup{before: upgrade(failWith(http.StatusUnauthorized))},
			logged: "HTTP status 401",
		},
		"no descriptor": {
			prepare: func(s *stack) { s.WithholdDescriptor(1000) },
			logged:  msg(logs.Dial),
		},
		"pinned secret": {
			setup: setup{canaries: []string{pinned}, env: map[string]string{
				"GATEWAY_RELAY_SECRET": pinned, "GATEWAY_RELAY_IDENTITY_TOKEN": "",
			}},
			logged: "connector closed the socket: 4401",
		},
		"identity provider with an echo": {
			setup: setup{canaries: []string{clientSecret}, env: map[string]string{
				"GATEWAY_RELAY_IDENTITY_TOKEN":    "",
				"GATEWAY_RELAY_IDP_TOKEN_URL":     provider.URL + "/token",
				"GATEWAY_RELAY_IDP_CLIENT_ID":     "client",
				"GATEWAY_RELAY_IDP_CLIENT_SECRET": clientSecret,
			}},
			logged: "HTTP 401",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			tt.timeout = 4 * time.Second
			s := deploy(t, tt.setup)
			if tt.prepare != nil {
				tt.prepare(s)
			}
			out := s.start("wake")()
			if tt.status == "" {
				is.Equal(out.FunctionError, "Unhandled")
			}
			is.Equal(out.Status, tt.status)
			is.True(s.logged(tt.logged) > 0)
		})
	}
}

func unusedAddress(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// told is all that a request says.
func told(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	return fmt.Sprint(r.Header, " ", string(body))
}

func echo(w http.ResponseWriter, r *http.Request) { io.WriteString(w, told(r)) }

func failWith(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":%q}`, r.Header.Get("Authorization")+" "+told(r))
	}
}

// instead answers everything in the connector's place.
func instead(answer http.HandlerFunc) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler { return answer }
}

// upgrade answers upgrades in the connector's place.
func upgrade(answer http.HandlerFunc) func(http.Handler) http.Handler {
	return func(connector http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/", connector)
		mux.HandleFunc("/relay", answer)
		return mux
	}
}

// With a client-credentials grant the identity token comes over the network, too.
func TestAnIdentityProviderIsAsked(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const clientSecret = "canary-of-the-client-secret"
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("client_id") != "client" || r.FormValue("client_secret") != clientSecret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"bearer","expires_in":300}`, identityToken)
	}))
	t.Cleanup(provider.Close)
	s := deploy(t, setup{canaries: []string{clientSecret}, env: map[string]string{
		"GATEWAY_RELAY_IDENTITY_TOKEN":    "",
		"GATEWAY_RELAY_IDP_TOKEN_URL":     provider.URL + "/token",
		"GATEWAY_RELAY_IDP_CLIENT_ID":     "client",
		"GATEWAY_RELAY_IDP_CLIENT_SECRET": clientSecret,
	}})
	s.Deliver(gateway, event(0, "m1"))
	is.Equal(s.run("wake").Status, drain.Drained)
	is.Equal(replies(s.State()), []string{"m1"})
	is.Equal(s.logged(msg(logs.Provision)), 1)
}
