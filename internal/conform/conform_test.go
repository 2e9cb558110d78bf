package conform_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	gatewayID = "gw-1"
	secret    = "s3cret-canary"

	identity, stranger, enrollment = "identity-canary", "stranger-canary", "enrollment-canary"
)

// injector writes in the development connector's place of a platform.
type injector struct{ c *devconnector.Connector }

func (i injector) Inject(_ context.Context, what string, body []byte) error {
	req := httptest.NewRequest(http.MethodPost, "http://localhost/"+what, bytes.NewReader(body))
	rec := httptest.NewRecorder()
	i.c.Control().ServeHTTP(rec, req)
	if rec.Code/100 != 2 {
		return fmt.Errorf("%s: %d %s", what, rec.Code, rec.Body)
	}
	return nil
}

// check runs the kit against a development connector, in simulated time. between may stand between the two.
func check(t *testing.T, preset devconnector.Preset, only []string, between func(inner http.Handler, poke func()) (http.Handler, func())) (report conform.Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		wakes, wakeAt := conform.NewWakes(), pipenet.Listen()
		c := devconnector.New(devconnector.Config{
			Preset: preset, PokeDial: wakeAt.Dial, Identities: map[string]string{identity: "t", stranger: "another"},
			Enrollments: map[string]string{enrollment: "t"},
			Gateways: []devconnector.Gateway{{ID: gatewayID, Tenant: "t", Secrets: []relay.Secret{relay.NewSecret(secret)},
				WakeURL: "http://wake.example/w/x"}},
		})
		ln := pipenet.Listen()
		var handler http.Handler = c
		if between != nil {
			var end func()
			handler, end = between(c, func() {
				client := http.Client{Transport: &http.Transport{DialContext: wakeAt.Dial, DisableKeepAlives: true}}
				if resp, err := client.Get("http://wake.example/w/x"); err == nil {
					resp.Body.Close()
				}
			})
			defer end()
		}
		servers := []*httptest.Server{serve(ln, handler), serve(wakeAt, wakes)}
		platforms := []string{"discord", "telegram"}
		if preset.Platforms != nil {
			platforms = preset.Platforms
		}
		var err error
		report, err = conform.Run(t.Context(), conform.Config{
			URL: "http://connector", GatewayID: gatewayID, Secret: relay.NewSecret(secret), Platforms: platforms, BotID: "bot",
			Only: only, Inject: injector{c}, Wakes: wakes, WakeURL: "http://wake.example/w/", Slow: true, NetDial: ln.Dial,
			Identity: relay.NewSecret(identity), Stranger: relay.NewSecret(stranger), Enroll: relay.NewSecret(enrollment),
		})
		if err != nil {
			t.Error(err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for _, server := range servers {
			server.Close()
		}
	})
	return report
}

func serve(ln net.Listener, handler http.Handler) *httptest.Server {
	srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: handler}}
	srv.Start()
	return srv
}

func named(t *testing.T, name string) devconnector.Preset {
	t.Helper()
	preset, err := devconnector.PresetNamed(name)
	is.New(t).NoErr(err)
	return preset
}

// failed are the ids of the checks that failed.
func failed(report conform.Report) []string {
	ids := []string{}
	for _, result := range report.Checks {
		if result.Status == conform.Fail {
			ids = append(ids, result.ID)
		}
	}
	return ids
}

// Under each preset exactly those checks fail that its known deviations break (section 19): the document lists them.
func TestPresetsAreToldApart(t *testing.T) {
	tests := deviations(t)
	is.New(t).Equal(len(tests), len(devconnector.PresetNames()))
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			report := check(t, named(t, name), nil, nil)
			is := is.New(t)
			is.Equal(sorted(failed(report)), sorted(want))
			is.Equal(len(report.Checks), len(conform.Catalogue()))
			for _, result := range report.Checks {
				if result.Status == conform.Skip {
					t.Log(result.ID, result.Observed)
				}
			}
		})
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// ideal is a connector without any deviation, which offers every op: it buffers for whoever has gone without a word, and pokes
// again for what came in the cooldown, and after a poke that failed.
func ideal() devconnector.Preset {
	preset := devconnector.Hosted()
	preset.PokeAfterCooldown, preset.PokeHeedsAnswer, preset.BufferUnflipped, preset.AnswersAgain = true, true, true, true
	preset.SupportedOps = append(preset.SupportedOps, "draft")
	return preset
}

func TestAConnectorWithoutFaultsPasses(t *testing.T) {
	is := is.New(t)
	report := check(t, ideal(), nil, nil)
	is.Equal(failed(report), []string{})
	is.Equal(report.Count(conform.Pass), len(conform.Catalogue()))
}
