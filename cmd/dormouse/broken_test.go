package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devissuer"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// broken is a gateway as dormouse host runs it, with moto's table and the development connector, and something wrong.
type broken struct {
	*rig.Rig
	t     *testing.T
	book  *dynamo.Ledger
	agent *httptest.Server // nil: echo answers
}

// breakage is what a test changes of a gateway that is well.
type breakage struct {
	env      map[string]string
	secret   string                    // that the connector knows of this gateway
	identify devconnector.IdentifyFunc // who it believes
	noTable  bool
	path     string // put behind the connector's URL
}

const brokenGateway = "gw-1"

func newBroken(t *testing.T, b breakage) *broken {
	t.Helper()
	is := is.New(t)
	moto := os.Getenv("DORMOUSE_TEST_MOTO")
	if moto == "" {
		t.Skip("DORMOUSE_TEST_MOTO is not set: make test sets it where there is Python")
	}
	noAccount(t, map[string]string{"AWS_ENDPOINT_URL": moto})
	table := "broken-" + rand.Text()
	client := dynamo.NewClient(aws.Config{
		Region: "eu-central-1", BaseEndpoint: &moto, Credentials: credentials.NewStaticCredentialsProvider("AKID", "sk", ""),
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	if !b.noTable {
		_, err := client.CreateTable(t.Context(), dynamo.Definition(table))
		is.NoErr(err)
	}
	env := map[string]string{
		"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "sk", "AWS_SESSION_TOKEN": "", "AWS_REGION": "eu-central-1",
		"AWS_ENDPOINT_URL_DYNAMODB": moto, "DORMOUSE_TABLE": table, "GATEWAY_RELAY_ID": brokenGateway,
		"GATEWAY_RELAY_PLATFORMS": "telegram", "GATEWAY_RELAY_BOT_IDS": `{"telegram":{"botId":"1"}}`,
		"GATEWAY_RELAY_IDENTITY_TOKEN": defaultIdentity, "DORMOUSE_ALLOW_ENV_SECRETS": "1", "DORMOUSE_EMPTY_AFTER": "100ms",
		"DORMOUSE_IDLE_AFTER": "100ms", "DORMOUSE_POKE_COOLDOWN": "0",
	}
	maps.Copy(env, b.env)
	known := devconnector.Gateway{ID: brokenGateway, Tenant: "dev", Asleep: true}
	if b.secret != "" {
		known.Secrets = []relay.Secret{relay.NewSecret(b.secret)}
	}
	identities := map[string]string{defaultIdentity: "dev"}
	if b.identify != nil {
		identities = nil
	}
	built := rigtest.Bootstraps(t)
	r, err := rig.Start(rig.Config{
		Between: func(url string) (string, error) { return url + b.path, nil },
		Wake:    &locallambda.Function{Name: localWake, Command: []string{built.Wake}},
		Drain:   &locallambda.Function{Name: localDrain, Command: []string{built.Drain}, Env: env, Shown: operatorVariables},
		Connector: &devconnector.Config{
			Gateways: []devconnector.Gateway{known}, Identities: identities, Identify: b.identify,
			Poke: func(context.Context, string) (int, error) { return http.StatusAccepted, nil }, // none arrives
		},
	})
	is.NoErr(err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		is.NoErr(r.Close(ctx))
	})
	t.Setenv("AWS_ENDPOINT_URL_LAMBDA", r.URL())
	return &broken{Rig: r, t: t, book: dynamo.New(client, table, brokenGateway)}
}

// say has users say something while the gateway sleeps.
func (b *broken) say(texts ...string) {
	for _, text := range texts {
		b.Connector.Deliver(brokenGateway, relay.Event{
			Text: text, MessageType: "text", MessageID: text, Source: relay.Source{Platform: "telegram", ChatID: text, ChatType: "dm", UserID: "7"},
		})
	}
}

// run runs drain for a reason.
func (b *broken) run(reason string) {
	b.t.Helper()
	_, err := b.Invoke(b.t.Context(), localDrain, []byte(`{"reason":"`+reason+`"}`))
	is.New(b.t).NoErr(err)
}

// status and doctor are what these commands print, and the exit code of the latter.
func (b *broken) status() string {
	b.t.Helper()
	code, raw, _ := dormouse(b.t.Context(), "status", "--stack", localStack, "--json")
	_, out, errs := dormouse(b.t.Context(), "status", "--stack", localStack)
	var v struct {
		State   string
		Version string `json:"command_version"`
	}
	if code == 0 && (json.Unmarshal([]byte(raw), &v) != nil || !strings.HasPrefix(out, brokenGateway+": "+v.State) || v.Version == "") {
		b.t.Errorf("as JSON it is %s", raw) // programs see the same word
	}
	return out + errs
}

func (b *broken) doctor() (int, string) {
	b.t.Helper()
	code, out, errs := dormouse(b.t.Context(), "doctor", "--stack", localStack)
	return code, out + errs
}

// line is the line of what doctor printed about something, with what to do under it.
func line(out, verdict, what string) string {
	lines := strings.Split(out, "\n")
	i := slices.IndexFunc(lines, func(l string) bool {
		fields := strings.Fields(l)
		return len(fields) > 0 && fields[0] == verdict && strings.Contains(l, " "+what+" ")
	})
	if i < 0 {
		return ""
	}
	return strings.Join(lines[i:min(i+2, len(lines))], "\n")
}

// answering is an agent that says the same to all, and to ask again tomorrow: else drain would wait for it.
func answering(t *testing.T, status, body string) *httptest.Server {
	t.Helper()
	code, err := strconv.Atoi(status)
	is.New(t).NoErr(err)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Retry-After", "7200")
		w.WriteHeader(code)
		io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// Each is a way in which a gateway is broken: what doctor and status say is the cause, in words.
func TestWhatIsBrokenIsNamed(t *testing.T) {
	const nowhere = "http://127.0.0.1:9"
	tests := map[string]struct {
		breakage  breakage
		agent     string // its answer to all, as "CODE BODY"
		prepare   func(t *testing.T, b *broken)
		verdict   string // of doctor's line
		about     string // what that line is about
		doctor    []string
		status    []string
		cannotRun bool // status can say nothing but why
	}{
		"connector down": {
			breakage: breakage{env: map[string]string{"GATEWAY_RELAY_URL": nowhere}}, verdict: "bad", about: "connector",
			doctor: []string{"connector unreachable:", "connection refused", "-> is it up, and is GATEWAY_RELAY_URL right"},
			status: []string{"gw-1: connector unreachable since 2", "connection refused", "is GATEWAY_RELAY_URL right"},
		},
		"wrong URL path": {
			breakage: breakage{secret: "right", path: "/other", env: map[string]string{"GATEWAY_RELAY_SECRET": "right"}},
			verdict:  "bad", about: "connector",
			doctor: []string{"404", "-> there is no relay at this path"},
			status: []string{"gw-1: connector unreachable since 2", "404"},
		},
		"bot ids that cannot be read": {
			breakage: breakage{env: map[string]string{"GATEWAY_RELAY_BOT_IDS": "telegram:1", "DORMOUSE_AGENT": "http://127.0.0.1:9/"}},
			verdict:  "warn", about: "settings",
			doctor: []string{"GATEWAY_RELAY_BOT_IDS is not a JSON object or a list of PLATFORM=ID", "-> if it is not meant so, put it right"},
			status: []string{"gw-1: asleep"},
		},
		"agent down": {
			agent: "503 closed for today", verdict: "bad", about: "agent",
			prepare: func(_ *testing.T, b *broken) { b.say("hello"); b.run("wake"); b.agent.Close() },
			doctor:  []string{"away:", "connection refused", "-> is it up, and is DORMOUSE_AGENT right?"},
			status:  []string{"gw-1: agent away since 2", "waiting     1 of the pending", "closed for today"},
		},
		"agent 401": {
			agent: "401 who are you", verdict: "bad", about: "agent",
			prepare: func(_ *testing.T, b *broken) { b.say("hello"); b.run("wake") },
			doctor:  []string{"away:", "401", "who are you", "-> it does not accept the signature"},
			status:  []string{"gw-1: agent away since 2", "401", "who are you"},
		},
		"wrong secret": {
			breakage: breakage{secret: "right", env: map[string]string{"GATEWAY_RELAY_SECRET": "wrong"}}, verdict: "bad", about: "connector",
			doctor: []string{"credentials refused:", "-> the connector has never let these credentials in"},
			status: []string{"gw-1: credentials refused since 2", "is the secret the one that it issued"},
		},
		"no identity": {
			breakage: breakage{env: map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": "", "GATEWAY_RELAY_URL": "https://connector.example"}},
			verdict:  "bad", about: "settings",
			doctor: []string{"GATEWAY_RELAY_IDENTITY", "-> put it right in the stack's parameters"},
			status: []string{"gw-1: never run"},
		},
		"token refused": {
			breakage: breakage{env: map[string]string{"GATEWAY_RELAY_IDENTITY_TOKEN": "stranger"}}, verdict: "bad", about: "connector",
			doctor: []string{"identity refused:", "401", "-> no opt-out"},
			status: []string{"gw-1: identity refused since 2", "401"},
		},
		"table missing": {
			breakage: breakage{noTable: true}, verdict: "bad", about: "table",
			doctor: []string{"from drain: ", "there is no table broken-", "-> deploy again, which makes it, or set DORMOUSE_TABLE"},
			status: []string{"there is no table broken-", "check DORMOUSE_TABLE"}, cannotRun: true,
		},
		"disabled": {
			prepare: func(t *testing.T, b *broken) {
				l, err := b.book.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: time.Minute})
				is.New(t).NoErr(err)
				is.New(t).NoErr(l.Disable(t.Context(), "4401 unauthorized"))
				_, err = l.HandOff(t.Context(), l.Grant().Plan, false)
				is.New(t).NoErr(err)
			},
			verdict: "bad", about: "connector",
			doctor: []string{"the gateway is disabled", "then: dormouse enable"},
			status: []string{"gw-1: disabled since 2", "4401 unauthorized", "dormouse enable"},
		},
		"seat taken": {
			prepare: func(t *testing.T, b *broken) {
				b.run("wake")
				is.New(t).NoErr(b.Connector.Ghost(brokenGateway, time.Hour))
			},
			verdict: "bad", about: "seat",
			doctor: []string{"another socket, or its ghost, holds the seat", "-> another socket has this gateway's seat"},
			status: []string{"gw-1: seat taken by another since 2", "stop the other deployment"},
		},
		"lease held by a dead drain": {
			prepare: func(t *testing.T, b *broken) {
				b.book.Now = func() time.Time { return time.Now().Add(-25 * time.Second) }
				_, err := b.book.Acquire(t.Context(), ledger.Ask{
					Reason: ledger.Wake, Owner: "local-drain, for wake, since 2026-01-02T03:04:05Z, run ABCDEFGH", Life: 30 * time.Second,
				})
				is.New(t).NoErr(err)
				b.book.Now = time.Now
			},
			verdict: "bad", about: "lease",
			doctor: []string{"held by local-drain, for wake", "probably dead", "the next drain takes over once the lease is free"},
			status: []string{"gw-1: draining since 2026-01-02T03:04:05Z", "it has not renewed its lease for 2", "so it has probably died"},
		},
		"poke never arriving": {
			prepare: func(_ *testing.T, b *broken) { b.say("hello"); b.run("schedule") },
			verdict: "bad", about: "pokes",
			doctor: []string{"do not arrive: a sweep found messages that no poke had told of (last poke never)", "does the connector have this gateway's wake URL?"},
			status: []string{"gw-1: asleep", "pokes       do not arrive", "Does the connector have this gateway's wake URL?"},
		},
		"messages dead": {
			agent:   "400 no such thing",
			prepare: func(_ *testing.T, b *broken) { b.say("hello"); b.run("wake") },
			verdict: "bad", about: "dead",
			doctor: []string{"1 messages were given up", "-> dormouse dead list says why"},
			status: []string{"dead        1 messages: dormouse dead list"},
		},
		"budget used up": {
			breakage: breakage{env: map[string]string{"DORMOUSE_MAX_TURNS_PER_DAY": "1"}},
			prepare:  func(_ *testing.T, b *broken) { b.say("one", "two"); b.run("wake") },
			verdict:  "bad", about: "budget",
			doctor: []string{"1 of 1 turns today", "-> used up: what comes waits until 00:00 UTC"},
			status: []string{"gw-1: budget used up", "1 of 1 turns today", "raise DORMOUSE_MAX_TURNS_PER_DAY"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var agent *httptest.Server
			if code, body, ok := strings.Cut(tt.agent, " "); ok {
				agent = answering(t, code, body)
				tt.breakage.env = map[string]string{"DORMOUSE_AGENT": agent.URL}
			}
			b := newBroken(t, tt.breakage)
			b.agent = agent
			if tt.prepare != nil {
				tt.prepare(t, b)
			}
			check(t, b, tt.verdict, tt.about, tt.doctor, tt.status, tt.cannotRun)
		})
	}
}

// check holds what doctor and status print against what they are to name.
func check(t *testing.T, b *broken, verdict, about string, doctor, status []string, cannotRun bool) {
	t.Helper()
	code, out := b.doctor()
	if code != exitFound {
		t.Errorf("doctor exits with %d:\n%s", code, out)
	}
	said := line(out, verdict, about)
	for _, want := range doctor {
		if !strings.Contains(said, want) {
			t.Errorf("doctor does not say %q of %s:\n%s", want, about, out)
		}
	}
	told := b.status()
	for _, want := range status {
		if !strings.Contains(told, want) {
			t.Errorf("status does not say %q:\n%s", want, told)
		}
	}
	if cannotRun != strings.HasPrefix(told, "dormouse: ") {
		t.Errorf("status: %s", told)
	}
}

// The token is there and the connector trusts its issuer, but not for this audience: what was shown says so.
func TestAnAudienceThatIsWrongIsNamed(t *testing.T) {
	is := is.New(t)
	var issuer *devissuer.Issuer
	issuing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { issuer.ServeHTTP(w, r) }))
	t.Cleanup(issuing.Close)
	var err error
	issuer, err = devissuer.New(issuing.URL)
	is.NoErr(err)
	b := newBroken(t, breakage{
		env: map[string]string{
			"GATEWAY_RELAY_IDENTITY_TOKEN": "", "GATEWAY_RELAY_IDENTITY": "aws", "GATEWAY_RELAY_IDENTITY_AUDIENCE": "https://wrong.example",
			"AWS_ENDPOINT_URL_STS": issuing.URL,
		},
		identify: devconnector.OIDC{
			Issuer: issuing.URL, Audience: "https://connector.example", Subject: issuer.Subject, Tenant: "dev",
			Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		}.Identify(),
	})
	check(t, b, "bad", "identity", []string{
		"audience https://wrong.example", "issuer " + issuing.URL, "good until 2", "-> the connector does not accept this token",
	}, []string{"gw-1: identity refused since 2", `for audience "https://wrong.example"`}, false)
	_, out := b.doctor()
	is.True(strings.Contains(line(out, "ok", "account"), "the account issues web identity tokens: yes"))
}

// A gateway that is well has no bad line, and the messages that waited are answered.
func TestAGatewayThatIsWellIsSaidToBe(t *testing.T) {
	is := is.New(t)
	b := newBroken(t, breakage{})
	b.run("wake")
	code, out := b.doctor()
	t.Log(out)
	is.Equal(code, 0)
	is.True(!strings.Contains(out, "bad "))
	for _, what := range []string{"settings", "wake URL", "version", "identity", "clock", "connector", "seat", "agent", "table", "lease", "pokes", "dead"} {
		is.True(line(out, "ok", what) != "")
	}
	is.True(strings.HasPrefix(b.status(), "gw-1: asleep\n  connector   knows it as gw-1, heard last 2"))
}
