package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const conformSecret = "conform-canary"

// subject is a development connector on loopback, whose gateway gw-7 is pinned, and its control API.
func subject(t *testing.T, preset string) (url, control string) {
	t.Helper()
	p, err := devconnector.PresetNamed(preset)
	is.New(t).NoErr(err)
	c := devconnector.New(devconnector.Config{Preset: p, Identities: map[string]string{"identity": "t", "stranger": "u"},
		Enrollments: map[string]string{"enrollment": "t"}, Gateways: []devconnector.Gateway{
			{ID: "gw-7", Tenant: "t", Secrets: []relay.Secret{relay.NewSecret(conformSecret)}},
		}})
	outside, inside := httptest.NewServer(c), httptest.NewServer(c.Control())
	t.Cleanup(func() {
		if err := c.Close(t.Context()); err != nil {
			t.Log(err) // the test's context has ended
		}
		outside.Close()
		inside.Close()
	})
	return outside.URL, inside.URL
}

func conforms(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	t.Setenv(secretVariable, conformSecret)
	t.Setenv(identityVariable, "")
	return dormouse(t.Context(), append([]string{"conform", "connector", "--timeout", "400ms"}, args...)...)
}

func TestConformTellsWhatAConnectorDoesOtherwise(t *testing.T) {
	is := is.New(t)
	url, control := subject(t, "agentsync")
	junit, html := filepath.Join(t.TempDir(), "out.xml"), filepath.Join(t.TempDir(), "out.html")
	code, out, errs := conforms(t, url, "--gateway-id", "gw-7", "--json", "--junit", junit, "--html", html, "--inject", control,
		"--only", "upgrade-signature", "--only", "hello-each", "--only", "live-without-id", "--only", "poke-get")
	t.Log(errs)
	is.Equal(code, 3)
	says(t, errs, "not as the contract says: upgrade-signature, live-without-id")
	var report conform.Report
	is.NoErr(json.Unmarshal([]byte(out), &report))
	is.Equal(len(report.Checks), 5) // with the gate
	first := report.Checks[1]
	is.Equal(first.ID, "upgrade-signature")
	is.Equal(first.Section, 13)
	is.Equal(first.Level, conform.Must)
	is.Equal(first.Status, conform.Fail)
	is.Equal(first.Observed, "HTTP 401 to the upgrade")
	is.Equal(first.Frames, []string{"> GET /relay (upgrade)", "< HTTP 401 to the upgrade"})
	is.Equal(report.Checks[4].Status, conform.Skip) // no --wake-listen
	is.True(!strings.Contains(out+errs, conformSecret))

	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	page, err := os.ReadFile(html)
	is.NoErr(err)
	says(t, string(page), "Conformance of "+url, "HTTP 401 to the upgrade", "2 passed, 2 failed, 1 skipped")
	is.True(!strings.Contains(string(page), conformSecret))
	raw, err := os.ReadFile(junit)
	is.NoErr(err)
	is.NoErr(xml.Unmarshal(raw, &suite))
	is.Equal([]int{suite.Tests, suite.Failures, suite.Skipped}, []int{5, 2, 1})
	is.Equal(suite.Cases[1].Failure.Message, "HTTP 401 to the upgrade")
}

func TestConformWithABaselineFailsForWhatIsNewOrHealed(t *testing.T) {
	url, _ := subject(t, "agentsync")
	tests := map[string]struct {
		baseline string
		code     int
		want     string
	}{
		"known":     {`{"known":[{"id":"upgrade-signature","reason":"by HTTP"}]}`, 0, ""},
		"new":       {`{"known":[]}`, 3, "not as the contract says: upgrade-signature"},
		"sometimes": {`{"known":[{"id":"upgrade-signature","reason":"by HTTP"},{"id":"hello-each","reason":"x","sometimes":true}]}`, 0, ""},
		"healed":    {`{"known":[{"id":"upgrade-signature","reason":"by HTTP"},{"id":"hello-each","reason":"x"}]}`, 3, "healed, take them out of the baseline: hello-each"},
		"skipped":   {`{"known":[{"id":"upgrade-signature","reason":"by HTTP"},{"id":"poke-get","reason":"x"}]}`, 0, ""},
		"no check":  {`{"known":[{"id":"nonsense","reason":"x"}]}`, 2, `names "nonsense"`},
		"twice":     {`{"known":[{"id":"ping","reason":"x"},{"id":"ping","reason":"x"}]}`, 2, `names "ping"`},
		"no reason": {`{"known":[{"id":"ping","reason":" "}]}`, 2, "no reason for ping"},
		"no JSON":   {`known`, 2, `{"known":[{"id","reason"}]}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			file := filepath.Join(t.TempDir(), "baseline.json")
			is.NoErr(os.WriteFile(file, []byte(tt.baseline), 0o600))
			code, _, errs := conforms(t, url, "--gateway-id", "gw-7", "--baseline", file,
				"--only", "upgrade-signature", "--only", "hello-each", "--only", "poke-get")
			is.Equal(code, tt.code)
			says(t, errs, tt.want)
		})
	}
}

func TestConformProvisionsAndIsPoked(t *testing.T) {
	is := is.New(t)
	url, control := subject(t, "hosted")
	t.Setenv(secretVariable, "")
	t.Setenv(identityVariable, "identity")
	code, out, errs := dormouse(t.Context(), "conform", "connector", url, "--gateway-id", "fresh", "--wake-listen", "127.0.0.1:0",
		"--inject", control, "--only", "poke-get", "--only", "buffer-away")
	t.Log(errs)
	is.Equal(code, 0)
	says(t, out, "pass  poke-get", "3 passed, 0 failed, 0 skipped")
}

// Each suite is run from the command line, with everything that its checks need.
func TestConformRunsEachSuite(t *testing.T) {
	for name, value := range map[string]string{secretVariable: "", identityVariable: "identity", strangerVariable: "stranger", redeemVariable: "enrollment"} {
		t.Setenv(name, value)
	}
	for _, suite := range []string{"identity", "media", "prompts"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			url, control := subject(t, "hosted")
			code, out, errs := dormouse(t.Context(), "conform", "connector", url, "--gateway-id", "fresh", "--wake-listen", "127.0.0.1:0",
				"--inject", control, "--suite", suite, "--json")
			t.Log(errs)
			is.Equal(code, 0)
			var report conform.Report
			is.NoErr(json.Unmarshal([]byte(out), &report))
			for _, result := range report.Checks {
				if result.Status == conform.Skip {
					is.True(strings.Contains(result.Observed, "--slow") || strings.Contains(result.Observed, "--platform")) // nothing else is missing
				}
			}
			for _, canary := range []string{"identity", "stranger", "enrollment"} {
				is.True(!strings.Contains(out+errs, "Bearer "+canary))
			}
		})
	}
}

// A command may stand for the platform, too.
func TestConformInjectsByACommand(t *testing.T) {
	is := is.New(t)
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not here, which this test has for a platform's command")
	}
	url, control := subject(t, "hosted")
	code, out, errs := conforms(t, url, "--gateway-id", "gw-7", "--only", "live-inbound", "--inject", "curl -sf --data-binary @- "+control+"/deliver #")
	t.Log(errs)
	is.Equal(code, 0)
	says(t, out, "pass  live-inbound")
	code, out, _ = conforms(t, url, "--gateway-id", "gw-7", "--only", "live-inbound", "--json", "--inject", "echo no platform; false")
	is.Equal(code, 0)
	says(t, out, `"status": "skip"`, "no platform")
}

func TestConformIsNotFooledByAConnectorThatLetsNobodyIn(t *testing.T) {
	is := is.New(t)
	closed := httptest.NewServer(http.NotFoundHandler())
	defer closed.Close()
	code, out, errs := conforms(t, closed.URL)
	is.Equal(code, 3)
	says(t, errs, "not as the contract says: upgrade-token")
	says(t, out, "0 passed, 1 failed", "HTTP 404 to the upgrade")
}

func TestConformMistakes(t *testing.T) {
	tests := map[string][]string{
		"give its URL": {},
		"take one of core, sleep, identity, media, prompts, all": {"http://127.0.0.1:1", "--suite", "nonsense"},
		`no check "nonsense"`:          {"http://127.0.0.1:1", "--only", "nonsense"},
		"--cooldown is -1s":            {"http://127.0.0.1:1", "--cooldown=-1s"},
		"--timeout is -1s":             {"http://127.0.0.1:1", "--timeout=-1s"},
		"without --wake-listen":        {"http://127.0.0.1:1", "--wake-url", "http://wake.example/"},
		"--baseline: open testdata/no": {"http://127.0.0.1:1", "--baseline", "testdata/no"},
	}
	for want, args := range tests {
		t.Run(want, func(t *testing.T) {
			code, _, errs := conforms(t, args...)
			is.New(t).Equal(code, 2)
			says(t, errs, want)
		})
	}
}

func TestConformListsTheCatalogue(t *testing.T) {
	is := is.New(t)
	code, out, _ := conforms(t, "--list")
	is.Equal(code, 0)
	for _, c := range conform.Catalogue() {
		is.True(slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
			return strings.HasPrefix(line, c.ID+" ") && strings.HasSuffix(line, c.Sentence)
		}))
	}
	code, out, _ = conforms(t, "--list", "--json")
	is.Equal(code, 0)
	var list struct{ Checks []conform.Check }
	is.NoErr(json.Unmarshal([]byte(out), &list))
	is.Equal(len(list.Checks), len(conform.Catalogue()))
	is.True(list.Checks[0].Quote != "")
}

// actsAsGateway has the test's own program be a gateway, for dormouse conform gateway. The value is what it does wrong.
const actsAsGateway = "DORMOUSE_TEST_GATEWAY"

// actAsGateway answers until it is ended.
func actAsGateway() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer os.Exit(0)
	defer stop()
	for ctx.Err() == nil {
		conn, err := relay.Dial(ctx, relay.Config{
			URL:    relay.NewBaseURL(os.Getenv("GATEWAY_RELAY_URL")).RelayURL(),
			Token:  relay.UpgradeToken(os.Getenv("GATEWAY_RELAY_ID"), relay.NewSecret(os.Getenv("GATEWAY_RELAY_SECRET")), time.Now(), time.Minute),
			Fronts: []relay.Front{{Platform: os.Getenv("GATEWAY_RELAY_PLATFORMS"), BotID: "1"}},
		})
		for err == nil {
			var d relay.Delivery
			if d, err = conn.Receive(ctx); err != nil || d.Kind != relay.KindInbound {
				continue
			}
			if d.BufferID != "" {
				_ = conn.Ack(d.BufferID)
			}
			platform, metadata := d.Event.Source.Routing()
			reply := relay.Action{"op": "send", "chat_id": d.Event.Source.ChatID, "content": "hi", "metadata": metadata, "reply_to": d.Event.MessageID}
			if os.Getenv(actsAsGateway) == "no reply" {
				delete(reply, "reply_to")
			}
			_ = conn.Post(relay.Outbound{Platform: platform, Action: reply})
		}
	}
}

func gatewayConforms(t *testing.T, fault string, args ...string) (code int, out, errs string) {
	t.Helper()
	t.Setenv(actsAsGateway, fault)
	program, err := os.Executable()
	is.New(t).NoErr(err)
	args = append([]string{"conform", "gateway", "--preset", "rustcell", "--only", "gateway-token", "--only", "gateway-reply-to"}, args...)
	return dormouse(t.Context(), append(args, "--", program)...)
}

func TestConformTellsWhatAGatewayDoesOtherwise(t *testing.T) {
	is := is.New(t)
	code, out, errs := gatewayConforms(t, "none")
	t.Log(errs)
	is.Equal(code, 0)
	says(t, out, "pass  gateway-answer", "3 passed, 0 failed, 0 skipped")
	code, out, errs = gatewayConforms(t, "no reply", "--json")
	is.Equal(code, 3)
	says(t, errs, "not as the contract says: gateway-reply-to")
	says(t, out, `"observed": "reply_to <nil>"`)
}

func TestConformGatewayMistakes(t *testing.T) {
	tests := map[string]struct {
		code int
		args []string
	}{
		"give the command that runs one behind --": {2, nil},
		"or --wait":                {2, []string{"--wait", "--", "true"}},
		`no check "nonsense"`:      {2, []string{"--only", "nonsense", "--", "sleep", "60"}},
		"--preset":                 {2, []string{"--preset", "nonsense", "--", "true"}},
		"has to run until it gets": {1, []string{"--", "false"}},
		"starting the gateway":     {1, []string{"--", "testdata/none"}},
		"address with --listen":    {1, []string{"--listen", "192.0.2.1:1", "--", "true"}},
	}
	for want, tt := range tests {
		t.Run(want, func(t *testing.T) {
			code, _, errs := dormouse(t.Context(), append([]string{"conform", "gateway"}, tt.args...)...)
			is.New(t).Equal(code, tt.code)
			says(t, errs, want)
		})
	}
}
