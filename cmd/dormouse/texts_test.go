package main

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// An error names its cause and the next step. These are those that people met first.

func (b *broken) arm(args ...string) (int, string) {
	b.t.Helper()
	code, out, errs := dormouse(b.t.Context(), append([]string{"arm", "--stack", localStack}, args...)...)
	return code, out + errs
}

func says(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
}

func TestArmShowsTheFaultsOfTheSettings(t *testing.T) {
	b := newBroken(t, breakage{env: map[string]string{
		"DORMOUSE_IDLE_AFTER": "soon", "GATEWAY_RELAY_IDENTITY_TOKEN": "", "GATEWAY_RELAY_URL": "https://connector.example",
	}})
	code, said := b.arm()
	is.New(t).Equal(code, exitFailed)
	says(t, said, "local-drain does not start, as its settings have faults:", "\n  DORMOUSE_IDLE_AFTER is \"soon\"",
		"GATEWAY_RELAY_IDENTITY", "deploy again (docs/settings.md")
}

func TestArmNamesTheHolderOfTheLease(t *testing.T) {
	is := is.New(t)
	b := newBroken(t, breakage{})
	_, err := b.book.Acquire(t.Context(), ledger.Ask{Reason: ledger.Wake, Owner: "local-drain, for wake, since 2026-01-02T03:04:05Z, run A", Life: time.Minute})
	is.NoErr(err)
	code, said := b.arm()
	is.Equal(code, exitFailed)
	says(t, said, "another drain holds the lease of this gateway (local-drain, for wake, since 2026-01-02T03:04:05Z, run A), until 2",
		"it takes what waits; try again when it has ended, or use --wait")
}

func TestArmTellsOfAMessageThatDied(t *testing.T) {
	is := is.New(t)
	a := answering(t, "400", "no such thing")
	b := newBroken(t, breakage{env: map[string]string{"DORMOUSE_AGENT": a.URL}})
	b.say("hello")
	code, said := b.arm()
	is.Equal(code, exitFound) // it is armed, and that is not all
	says(t, said, "drain: drained: 1 received, 0 recovered, 0 answered, 1 died, 0 left\n", "died  agent: 127.0.0.1:", "HTTP 400",
		"no such thing", "armed\n", "1 of its messages died in this run: dormouse dead list says why")
}

func TestArmSaysWhatWaitsAndWhatWasRecovered(t *testing.T) {
	is := is.New(t)
	a := answering(t, "503", "closed for today")
	b := newBroken(t, breakage{env: map[string]string{"DORMOUSE_AGENT": a.URL}})
	b.say("hello")
	code, said := b.arm()
	is.Equal(code, 0)
	says(t, said, "1 received, 0 recovered, 0 answered, 0 died, 1 left\n", "left  agent: ", "(next try 2")
	_, said = b.arm()
	says(t, said, "0 received, 1 recovered, 0 answered, 0 died, 1 left\n")
}

func TestArmSaysWhatRevokedMeans(t *testing.T) {
	is := is.New(t)
	b := newBroken(t, breakage{secret: "right", env: map[string]string{"GATEWAY_RELAY_SECRET": "right"}})
	b.run("wake")
	is.NoErr(b.Connector.Revoke(brokenGateway))
	_, said := b.arm()
	says(t, said, "drain: revoked: the connector refuses this gateway for good, and it is off from now on (", "4401",
		"enroll it anew (dormouse rotate), then: dormouse enable")
	_, said = b.arm()
	says(t, said, "drain: disabled: the connector has refused this gateway for good, and it stays off")
}

func TestAnAgentsErrorHasItsHostAndItsWords(t *testing.T) {
	is := is.New(t)
	for status, want := range map[string][]string{
		"500 out of cheese":                     {"HTTP 500", "out of cheese"},
		"200 <!DOCTYPE html><title>Log in":      {"answer is not JSON but a page (HTML)", "not a login or a proxy before it?"},
		`200 {"choices":[{"message":"hello"}]}`: {"has neither actions nor text", "or {} to say nothing"},
	} {
		code, body, _ := strings.Cut(status, " ")
		a, done, err := agent.New(answering(t, code, body).URL, agent.Options{})
		is.NoErr(err)
		_, err = agent.Trial(t.Context(), a)
		done()
		says(t, err.Error(), append(want, "agent: ")...)
	}
}

func TestAKeyThatIsNotDeadIsToldWhereToLook(t *testing.T) {
	is := is.New(t)
	b := newBroken(t, breakage{})
	for _, what := range []string{"show", "retry", "drop"} {
		code, _, errs := dormouse(t.Context(), "dead", what, "nonsense", "--stack", localStack)
		is.Equal(code, exitFailed)
		says(t, errs, "no dead message with the key nonsense can be had", "dormouse dead list shows those that are dead")
	}
	_ = b
}

func TestNoCredentialsIsSaidAtOnce(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	noAccount(t, map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none,
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "",
	})
	for _, what := range []string{"status", "arm", "doctor", "logs"} {
		code, _, errs := dormouse(t.Context(), what, "--stack", "gw")
		is.New(t).Equal(code, exitFailed)
		says(t, errs, "no AWS credentials: set AWS_PROFILE (after aws sso login or aws configure), or AWS_ACCESS_KEY_ID")
	}
}

func TestTheDevelopmentConnectorKnowsAStranger(t *testing.T) {
	is := is.New(t)
	var seen []devconnector.Observation
	c := devconnector.New(devconnector.Config{
		Gateways: []devconnector.Gateway{{ID: "gw-1"}}, Observe: func(o devconnector.Observation) { seen = append(seen, o) },
	})
	err := c.Kick("gw-9", 1000, "x")
	says(t, err.Error(), `no such gateway, or several where none was named: "gw-9": known are gw-1`, "once it has provisioned")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://connector/relay", nil)
	is.NoErr(err)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket",
		"Authorization": "Bearer " + relay.UpgradeToken("gw-9", relay.NewSecret("s"), time.Now(), time.Minute).Reveal(),
	} {
		req.Header.Set(name, value)
	}
	c.ServeHTTP(discard{}, req)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	is.NoErr(c.Close(ctx))
	says(t, seen[0].Detail, `unauthorized: the gateway that it names is not known here (known are gw-1): it has to provision or enroll first`)
}

// discard is a response that nobody reads.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
