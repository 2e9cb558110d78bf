package drain_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const issuerURL = "http://127.0.0.1:9"

// serveIssuer serves a token endpoint within the bubble, and returns the way there.
func serveIssuer(t *testing.T, handler http.HandlerFunc) identity.Clients {
	ln := pipenet.Listen()
	srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}}
	srv.Start()
	t.Cleanup(srv.Close)
	return identity.Clients{NetDial: func(ctx context.Context, _, addr string) (net.Conn, error) {
		if addr != "127.0.0.1:9" {
			t.Error("somebody else is dialled:", addr)
			return nil, errors.New("not there")
		}
		return ln.Dial(ctx, "", "")
	}}
}

// never answers.
func never(_ http.ResponseWriter, req *http.Request) {
	io.Copy(io.Discard, req.Body) // unless it is read, the server does not notice that the client is gone
	<-req.Context().Done()
}

func giveToken(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":%q,"expires_in":300}`, identityToken)
}

// The issuer of the identity token may be away, slow, or elsewhere. That is no opt-out, also of a known gateway: it is
// asked for a while, then the function fails, and says what was wrong.
func TestAnIssuerThatGivesNoToken(t *testing.T) {
	const patient = "drain: gave up after 1m40s: provision: "
	unreachable := func(*testing.T) identity.Clients {
		return identity.Clients{NetDial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("dial tcp 127.0.0.1:9: connect: connection refused")
		}}
	}
	slow := func(t *testing.T) identity.Clients {
		return serveIssuer(t, never)
	}
	redirecting := func(t *testing.T) identity.Clients {
		return serveIssuer(t, func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "http://elsewhere.example/token?client_secret=x", http.StatusTemporaryRedirect)
		})
	}
	failing := func(t *testing.T) identity.Clients {
		return serveIssuer(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, identityToken, http.StatusBadGateway) })
	}
	grant := map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": issuerURL + "/token", "GATEWAY_RELAY_IDP_CLIENT_ID": "client",
		"GATEWAY_RELAY_IDP_CLIENT_SECRET": pinnedSecret}
	plain := map[string]string{"GATEWAY_RELAY_IDP_TOKEN_URL": issuerURL + "/token"}
	aws := map[string]string{"GATEWAY_RELAY_IDENTITY_AUDIENCE": "https://connector.example"}
	tests := map[string]struct {
		env     map[string]string
		clients func(*testing.T) identity.Clients
		want    string
	}{
		"oidc, unreachable": {grant, unreachable, patient + "identity provider " + issuerURL + ": dial tcp 127.0.0.1:9: connect: connection refused"},
		"oidc, slow": {grant, slow, patient + "identity provider " + issuerURL +
			": no whole answer within 15s: try again, or check that it can be reached: context deadline exceeded"},
		"oidc, redirecting": {grant, redirecting, patient + "identity provider " + issuerURL + ": redirect to http://elsewhere.example:80 " +
			"refused: a credential stays with the origin that it is for; if the service has moved there, set its new URL"},
		"oidc, failing": {grant, failing, patient + "identity provider " + issuerURL + ": HTTP 502: no token given: check the client id, secret and scope"},
		"plain, unreachable": {plain, unreachable, patient + "token endpoint " + issuerURL +
			": dial tcp 127.0.0.1:9: connect: connection refused"},
		"plain, slow": {plain, slow, patient + "token endpoint " + issuerURL +
			": no whole answer within 15s: try again, or check that it can be reached: context deadline exceeded"},
		"plain, redirecting": {plain, redirecting, patient + "token endpoint " + issuerURL + ": redirect to http://elsewhere.example:80 " +
			"refused: a credential stays with the origin that it is for; if the service has moved there, set its new URL"},
		"aws, slow": {aws, func(*testing.T) identity.Clients { return identity.Clients{STS: slowSTS{}} }, patient +
			"AWS STS gives no web identity token: no answer within 15s: try again: context deadline exceeded"},
		"aws, unreachable": {aws, func(*testing.T) identity.Clients {
			return identity.Clients{STS: &fakeSTS{err: errors.New("operation error STS: GetWebIdentityToken, connection refused")}}
		}, patient + "AWS STS gives no web identity token: operation error STS: GetWebIdentityToken, connection refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": ""}
			maps.Copy(env, tt.env)
			for _, known := range []bool{false, true} {
				bubble(t, setup{env: env}, func(t *testing.T, r *rig) {
					is := is.New(t)
					if known {
						r.known(t)
					}
					r.parts.Clients = tt.clients(t)
					rep, took, err := r.coldStart(t).run(ledger.Schedule, quarter) // which asks for nothing ahead: that would wait at a mutex
					is.Equal(rep.Status, drain.Failed)
					is.Equal(err.Error(), tt.want)
					is.True(took >= 100*time.Second && took < 150*time.Second)
					is.True(!r.disabled(t))
					is.Equal(len(r.State().Observations), 0) // nothing was sent to the connector
				})
			}
		})
	}
}

// known makes the gateway one that the connector has let in before.
func (r *rig) known(t *testing.T) {
	is := is.New(t)
	g, err := r.ledger.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "earlier", Life: time.Minute})
	is.NoErr(err)
	is.NoErr(g.SetHandshaken(t.Context(), gateway))
	_, err = g.HandOff(t.Context(), g.Grant().Plan, false)
	is.NoErr(err)
}

type slowSTS struct{}

func (slowSTS) GetWebIdentityToken(ctx context.Context, _ *sts.GetWebIdentityTokenInput, _ ...func(*sts.Options)) (
	*sts.GetWebIdentityTokenOutput, error,
) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// The connector's own answers to provisioning, when it is away, slow or elsewhere.
func TestAConnectorThatGivesNoSecret(t *testing.T) {
	const origin = "provision: http://connector:80: "
	tests := map[string]struct {
		answer http.HandlerFunc
		want   string
		atOnce bool // asking again would change nothing
	}{
		"slow": {never, "drain: gave up after 1m40s: " + origin +
			"no whole answer within 15s: try again, or check that it can be reached: context deadline exceeded", false},
		"redirecting": {func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, "http://elsewhere.example/relay/provision", http.StatusPermanentRedirect)
		}, "drain: gave up after 1m40s: " + origin + "redirect to http://elsewhere.example:80 refused: a credential stays with the " +
			"origin that it is for; if the service has moved there, set its new URL", false},
		"down": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
			"drain: gave up after 1m40s: provision: the connector answered HTTP 503: try again later", false},
		"without provisioning": {http.NotFound,
			"provision: the connector answered HTTP 404: this connector does not provision: enroll or pin the credentials", true},
		"withholding": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"secretIssued":false}`) },
			"provision: the connector knows this gateway id and withholds its secret: credentials in hand stay good; with none, " +
				"enroll and pin the credentials", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, known := range []bool{false, true} {
				bubble(t, setup{}, func(t *testing.T, r *rig) {
					is := is.New(t)
					if known {
						r.known(t)
					}
					r.proxy(at("/relay/provision", tt.answer))
					rep, took, err := r.run(ledger.Schedule, quarter)
					is.Equal(rep.Status, drain.Failed)
					is.Equal(err.Error(), tt.want)
					is.Equal(took < time.Second, tt.atOnce)
					is.True(!r.disabled(t)) // none of it is an opt-out
				})
			}
		})
	}
}

// waitingLease is a ledger whose lease comes only once somebody has asked for the identity token.
type waitingLease struct {
	*ledger.Memory
	asked chan struct{}
}

func (l waitingLease) Acquire(ctx context.Context, ask ledger.Ask) (ledger.Lease, error) {
	select {
	case <-l.asked:
	case <-time.After(time.Minute):
		return nil, errors.New("nobody has asked for a token")
	}
	return l.Memory.Acquire(ctx, ask)
}

func TestTheTokenIsFetchedWhileTheLeaseIsAskedFor(t *testing.T) {
	l := waitingLease{ledger.NewMemory(), make(chan struct{})}
	env := map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": "", "GATEWAY_RELAY_IDP_TOKEN_URL": issuerURL,
		"GATEWAY_RELAY_IDP_CLIENT_ID": "client", "GATEWAY_RELAY_IDP_CLIENT_SECRET": pinnedSecret}
	bubble(t, setup{ledger: l, env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		asks := 0
		r.parts.Clients = serveIssuer(t, func(w http.ResponseWriter, _ *http.Request) {
			if asks++; asks == 1 {
				close(l.asked)
			}
			giveToken(w)
		})
		rep, took, err := r.coldStart(t).run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		is.True(took < 11*time.Second)
		is.Equal(asks, 1) // what was fetched ahead is what is used
	})
}

// A kept identity token that is refused says nothing about the gateway: a new one is fetched, and a refusal of that one counts.
func TestAKeptTokenThatIsRefusedIsNoOptOut(t *testing.T) {
	env := map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": "", "GATEWAY_RELAY_IDP_TOKEN_URL": issuerURL}
	for name, refused := range map[string]int32{"once": 1, "twice": 2} {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{env: env}, func(t *testing.T, r *rig) {
				is := is.New(t)
				var asks, provisions atomic.Int32
				r.parts.Clients = serveIssuer(t, func(w http.ResponseWriter, _ *http.Request) {
					asks.Add(1)
					giveToken(w)
				})
				cold := r.coldStart(t)
				_, _, err := cold.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(asks.Load(), int32(1))
				is.NoErr(r.Forget(gateway)) // so that it has to provision again
				r.proxy(func(w http.ResponseWriter, req *http.Request) bool {
					if req.URL.Path != "/relay/provision" || provisions.Add(1) > refused {
						return false
					}
					w.WriteHeader(http.StatusUnauthorized)
					return true
				})
				rep, _, err := cold.run(ledger.Wake, quarter)
				is.Equal(err == nil, refused == 1)
				is.Equal(asks.Load(), int32(2))
				is.Equal(rep.Status, map[int32]drain.Status{1: drain.Empty, 2: drain.Failed}[refused])
				is.True(!r.disabled(t))
			})
		})
	}
}

func TestAStoredTokenThatHasEndedIsNoOptOut(t *testing.T) {
	const arn = "arn:aws:ssm:eu-central-1:1:parameter/token"
	// The bubble's clock starts in 2000.
	ended := "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":946684740}`)) + ".c2ln"
	v := &vault{secret: relay.NewSecret(identityToken)}
	env := map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": "", "GATEWAY_RELAY_IDENTITY_TOKEN_ARN": arn}
	bubble(t, setup{env: env, clients: identity.Clients{Secrets: v}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		v.secret = relay.NewSecret(ended)
		rep, took, err := r.coldStart(t).run(ledger.Wake, quarter)
		is.Equal(rep.Status, drain.Failed)
		is.Equal(err.Error(), "provision: the identity cannot be used as it is set up: the identity token ended at "+
			"1999-12-31T23:59:00Z: put a new one in its place")
		is.True(took < time.Second)
		is.True(!r.disabled(t))
	})
}
