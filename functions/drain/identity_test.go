package main_test

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/awsconf"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devissuer"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	role         = "arn:aws:iam::123456789012:role/stack-drain"
	clientSecret = "canary-of-the-client-secret"
	pinnedSecret = "canary-of-the-pinned-secret"
	deliveryKey  = "canary-of-the-delivery-key"
)

// world is what an identity needs beside the connector: an issuer, which stands in for STS, and moto's stores.
type world struct {
	issuer   *devissuer.Issuer
	identify devconnector.IdentifyFunc // as a connector that verifies
	asked    atomic.Int32              // requests for a token
	env      map[string]string         // leads there
	store    *secretstore.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	is := is.New(t)
	w := &world{}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" || r.URL.Path == "/token" {
			w.asked.Add(1)
		}
		w.issuer.ServeHTTP(rw, r)
	}))
	t.Cleanup(srv.Close)
	var err error
	w.issuer, err = devissuer.New(srv.URL)
	is.NoErr(err)
	w.issuer.Subject, w.issuer.Audience = role, "https://connector.example"
	w.issuer.ClientID, w.issuer.ClientSecret = "client", clientSecret
	w.identify = devconnector.OIDC{
		Issuer: srv.URL, Audience: w.issuer.Audience, Subject: role, Tenant: "tenant-1",
		Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}.Identify()
	w.env = map[string]string{
		"GATEWAY_RELAY_IDENTITY_TOKEN": "", "DORMOUSE_ALLOW_ENV_SECRETS": "", // as deployed
		"AWS_ENDPOINT_URL_STS": srv.URL,
	}
	return w
}

// stores leads to moto's SSM and Secrets Manager.
func (w *world) stores(t *testing.T) {
	t.Helper()
	endpoint := os.Getenv("DORMOUSE_TEST_MOTO")
	if endpoint == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make test sets it where there is Python")
	}
	is.New(t).True(strings.HasPrefix(endpoint, "http://127.0.0.1:")) // no test leaves this machine
	w.env["AWS_ENDPOINT_URL_SSM"], w.env["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = endpoint, endpoint
	cfg := awsconf.New(map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": region, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
	})
	transport := &http.Transport{DisableKeepAlives: true}
	cfg.HTTPClient = &http.Client{Transport: transport}
	w.store = secretstore.New(cfg)
}

// put writes a secret and returns its ARN.
func (w *world) put(t *testing.T, kind, name, secret string) string {
	t.Helper()
	write := w.store.PutParameter
	if kind == "Secrets Manager" {
		write = w.store.PutSecret
	}
	arn, err := write(t.Context(), name, relay.NewSecret(secret))
	is.New(t).NoErr(err)
	return arn
}

func credentials(secret string) string {
	return identity.Encode(provision.Credentials{
		GatewayID: gateway, Secret: relay.NewSecret(secret), DeliveryKey: relay.NewSecret(deliveryKey),
	}).Reveal()
}

// Every identity, in the built function, over the wire, against a connector that verifies: cold, warm, and cold again.
// Stopping the stack looks for secrets in stdout, stderr, results, arguments, environment, the table and files.
func TestEveryIdentityLeavesNoTrace(t *testing.T) {
	type prepared struct {
		env    map[string]string
		pinned string
		asks   int32 // how often the issuer is asked for a token
	}
	tests := map[string]func(t *testing.T, w *world) prepared{
		"aws": func(_ *testing.T, w *world) prepared {
			return prepared{map[string]string{"GATEWAY_RELAY_IDENTITY": "aws", "GATEWAY_RELAY_IDENTITY_AUDIENCE": w.issuer.Audience}, "", 2}
		},
		"aws, RS256 alone": func(_ *testing.T, w *world) prepared {
			w.issuer.Refused = "ES384"
			return prepared{map[string]string{"GATEWAY_RELAY_IDENTITY_AUDIENCE": w.issuer.Audience}, "", 4}
		},
		"oidc, plain": func(_ *testing.T, w *world) prepared {
			return prepared{map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": w.issuer.URL + "/token"}, "", 2}
		},
		"env": func(_ *testing.T, w *world) prepared {
			token := w.issuer.Token("ES384", w.issuer.Audience)
			return prepared{map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": token, "DORMOUSE_ALLOW_ENV_SECRETS": "1"}, "", 0}
		},
		"oidc, secret in a variable": func(_ *testing.T, w *world) prepared {
			return prepared{map[string]string{
				"GATEWAY_RELAY_IDP_TOKEN_URL": w.issuer.URL + "/token", "GATEWAY_RELAY_IDP_CLIENT_ID": "client",
				"GATEWAY_RELAY_IDP_CLIENT_SECRET": clientSecret, "DORMOUSE_ALLOW_ENV_SECRETS": "1",
			}, "", 2}
		},
		"pinned in variables": func(*testing.T, *world) prepared {
			return prepared{map[string]string{"GATEWAY_RELAY_SECRET": pinnedSecret, "DORMOUSE_ALLOW_ENV_SECRETS": "1"}, pinnedSecret, 0}
		},
	}
	for _, kind := range []string{"SSM", "Secrets Manager"} {
		tests["secret, "+kind] = func(t *testing.T, w *world) prepared {
			w.stores(t)
			arn := w.put(t, kind, "/dormouse/"+rand.Text(), w.issuer.Token("RS256", w.issuer.Audience))
			return prepared{map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN_ARN": arn}, "", 0}
		}
		tests["oidc, "+kind] = func(t *testing.T, w *world) prepared {
			w.stores(t)
			arn := w.put(t, kind, "/dormouse/"+rand.Text(), clientSecret)
			return prepared{map[string]string{
				"GATEWAY_RELAY_IDP_TOKEN_URL": w.issuer.URL + "/token", "GATEWAY_RELAY_IDP_CLIENT_ID": "client",
				"GATEWAY_RELAY_IDP_CLIENT_SECRET_ARN": arn,
			}, "", 2}
		}
		tests["pinned, "+kind] = func(t *testing.T, w *world) prepared {
			w.stores(t)
			arn := w.put(t, kind, "/dormouse/"+rand.Text(), credentials(pinnedSecret))
			return prepared{map[string]string{"GATEWAY_RELAY_CREDENTIALS_ARN": arn}, pinnedSecret, 0}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			w := newWorld(t)
			p := tests[name](t, w)
			maps.Copy(w.env, p.env)
			if os.Getenv("DORMOUSE_TEST_DYNAMODB") != "" {
				table, _ := onTable(t)
				maps.Copy(w.env, table)
			}
			for variable, value := range w.env { // nothing secret is configured but where that is what is tested
				is.True(w.env["DORMOUSE_ALLOW_ENV_SECRETS"] == "1" || !strings.Contains(value, "canary") || variable == "GATEWAY_RELAY_WAKE_URL")
			}
			w.env["DORMOUSE_IDLE_AFTER"] = "100ms" // the messages are there before a run begins
			s := deploy(t, setup{
				env: w.env, identify: w.identify, pinned: p.pinned, canaries: []string{clientSecret, pinnedSecret, deliveryKey},
			})
			for i, id := range []string{"m1", "m2", "m3"} {
				s.Deliver(gateway, event(i, id))
				out := s.run("wake")
				is.Equal(out.Status, drain.Drained)
				is.Equal(out.Cold, i != 1)
				if i == 1 {
					is.NoErr(s.host.Shutdown(drainFunction))
				}
			}
			state := s.State()
			is.Equal(replies(state), []string{"m1", "m2", "m3"})
			is.Equal(w.asked.Load(), p.asks) // of the warm run none
			provisions := 8                  // four platforms, at the two cold starts
			if p.pinned != "" {
				provisions = 0
			}
			is.Equal(len(state.Provisions), provisions)
			for _, p := range state.Provisions {
				is.Equal(p.Status, http.StatusOK)
			}
		})
	}
}

// The credentials are replaced while the process is warm, and once more while it is connected. Nothing is deployed, and
// it is not taken for an opt-out.
func TestARotationNeedsNoDeployment(t *testing.T) {
	for _, kind := range []string{"SSM", "Secrets Manager"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			w := newWorld(t)
			w.stores(t)
			name := "/dormouse/" + rand.Text()
			w.env["GATEWAY_RELAY_CREDENTIALS_ARN"] = w.put(t, kind, name, credentials(pinnedSecret))
			table, book := onTable(t)
			maps.Copy(w.env, table)
			held := holdingAgent(t, "m3")
			w.env["DORMOUSE_AGENT"] = held.url
			s := deploy(t, setup{env: w.env, pinned: pinnedSecret, canaries: []string{pinnedSecret + "-2", pinnedSecret + "-3", deliveryKey}})
			rotate := func(secret string) {
				w.put(t, kind, name, credentials(secret))
				s.Register(devconnector.Gateway{ID: gateway, Tenant: "tenant-1", Secrets: []relay.Secret{relay.NewSecret(secret)}})
			}
			is.Equal(s.run("arm").Status, drain.Empty)

			rotate(pinnedSecret + "-2")
			s.Deliver(gateway, event(0, "m1"))
			out := s.run("wake")
			is.True(!out.Cold)
			is.Equal(out.Status, drain.Drained)

			s.Deliver(gateway, event(0, "m2"))
			s.Deliver(gateway, event(1, "m3")) // whose answer is not there yet: the gateway does not leave
			wait := s.start("wake")
			s.await(acked(3))
			held.await(t)
			for end := time.Now().Add(patience); ; { // until its answer and the result of that are through: a socket that ends between them leaves it unknown
				at, err := book.Overview(t.Context())
				is.NoErr(err)
				if at.Pending == 1 || time.Now().After(end) {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			rotate(pinnedSecret + "-3")
			is.NoErr(s.Kick(gateway, 4401, "unauthorized"))
			close(held.release)
			out = wait()
			is.Equal(out.FunctionError, "")
			is.Equal(out.Status, drain.Drained)
			is.Equal(replies(s.State()), []string{"m1", "m2", "m3"})
			standing, err := book.Standing(t.Context())
			is.NoErr(err)
			is.True(!standing.Disabled)
			is.Equal(len(s.State().Provisions), 0)
		})
	}
}

// Two processes of one gateway, cold at the same time: the lease decides who provisions, and the other one does not
// rotate his secret away.
func TestTwoColdDrainsProvisionOnce(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	env, _ := onTable(t)
	taken := make(chan struct{}) // the other drain has ended
	s := deploy(t, setup{env: env, both: true, before: func(connector http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-taken: // not before: so they do race, however slow this machine
			case <-r.Context().Done():
			}
			connector.ServeHTTP(w, r)
		})
	}})
	s.Deliver(gateway, event(0, "m1"))
	ended := make(chan outcome, 2)
	for range 2 {
		wait := s.start("wake")
		go func() { ended <- wait() }()
	}
	first := <-ended
	is.Equal(first.Status, drain.Taken)
	close(taken)
	second := <-ended
	is.Equal(second.Status, drain.Drained)
	is.True(first.Cold && second.Cold)
	is.Equal(len(s.State().Provisions), 4) // one for each platform
	is.Equal(replies(s.State()), []string{"m1"})
}

// What the function's error says is what an operator has.
func TestIdentitiesThatCannotBeHadAreExplained(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, w *world)
		want    func(w *world) string
	}{
		"the account's switch is off": {
			func(_ *testing.T, w *world) {
				w.issuer.Disabled = true
				w.env["GATEWAY_RELAY_IDENTITY_AUDIENCE"] = w.issuer.Audience
			},
			func(*world) string {
				return "provision: the identity cannot be used as it is set up: provision: AWS STS gives no web identity token: " +
					"outbound web identity federation is off in this AWS account. Switch it on with: aws iam " +
					"enable-outbound-web-identity-federation (once per account, not per stack; its answer names the issuer that " +
					"the connector has to trust)"
			},
		},
		"another subject": {
			func(_ *testing.T, w *world) {
				w.issuer.Subject = role + "-2"
				w.env["GATEWAY_RELAY_IDENTITY_AUDIENCE"] = w.issuer.Audience
			},
			func(w *world) string { // with what was shown, but for its end
				return "provision: the connector answered HTTP 401: the identity token was not accepted: check its issuer, " +
					"audience, subject and age (it says: identity not verified); shown was a token of issuer " +
					strconv.Quote(w.issuer.URL) + " for audience " + strconv.Quote(w.issuer.Audience) + " and subject " +
					strconv.Quote(role+"-2")
			},
		},
		"no such parameter": {
			func(t *testing.T, w *world) {
				w.stores(t)
				w.env["GATEWAY_RELAY_CREDENTIALS_ARN"] = "arn:aws:ssm:us-east-1:123456789012:parameter/dormouse/none"
			},
			func(*world) string {
				return "secretstore: the secret cannot be used: read arn:aws:ssm:us-east-1:123456789012:parameter/dormouse/none: " +
					"it is not there: store it, or set another ARN"
			},
		},
		"credentials that are none": {
			func(t *testing.T, w *world) {
				w.stores(t)
				w.env["GATEWAY_RELAY_CREDENTIALS_ARN"] = w.put(t, "Secrets Manager", "dormouse-"+rand.Text(), pinnedSecret)
			},
			func(*world) string {
				return "provision: the identity cannot be used as it is set up: the pinned credentials: they are not a JSON object " +
					`of strings: want {"gatewayId":"...","secret":"...","deliveryKey":"..."}, as dormouse enroll writes them`
			},
		},
		"another client secret": {
			func(_ *testing.T, w *world) {
				w.env["GATEWAY_RELAY_IDP_TOKEN_URL"], w.env["GATEWAY_RELAY_IDP_CLIENT_ID"] = w.issuer.URL+"/token", "client"
				w.env["GATEWAY_RELAY_IDP_CLIENT_SECRET"], w.env["DORMOUSE_ALLOW_ENV_SECRETS"] = clientSecret+"-old", "1"
			},
			func(w *world) string { // it may be allowed again, so it is tried until time is up
				return "drain: time was up before a handshake: provision: identity provider " + w.issuer.URL + ": HTTP 401: " +
					"no token given: check the client id, secret and scope (it says: invalid_client)"
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			w := newWorld(t)
			tt.prepare(t, w)
			s := deploy(t, setup{
				env: w.env, identify: w.identify, timeout: 4 * time.Second, canaries: []string{clientSecret, pinnedSecret},
			})
			out := s.start(string(ledger.Arm))()
			is.Equal(out.FunctionError, "Unhandled")
			var failure struct{ ErrorMessage string }
			is.NoErr(json.Unmarshal(out.Payload, &failure))
			said, _, _ := strings.Cut(failure.ErrorMessage, ", good until ")
			is.Equal(said, tt.want(w))
		})
	}
}
