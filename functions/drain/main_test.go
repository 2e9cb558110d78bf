// Package main_test runs the built drain function as Lambda would, against a connector on loopback. Package drain tests
// the same decisions in a synctest bubble; here it is the process, its environment, its output and its sockets.
package main_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	gateway       = "gw-1"
	drainFunction = "stack-drain"
	wakeFunction  = "stack-wake"
	patience      = time.Minute // with anything that is to happen, on a busy machine

	identityToken = "canary-of-the-identity"
	wakePath      = "canary-of-the-wake-path"
	eventText     = "canary-of-the-text" // each message begins with it
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "12") // for the most part these tests wait, for other processes and for time to pass
	goleak.VerifyTestMain(m)
}

// setup is what a test changes of the ordinary stack.
type setup struct {
	change   func(*devconnector.Preset)      // of the hosted connector
	before   func(http.Handler) http.Handler // stands before the connector; nil: nothing does
	between  func(string) (string, error)    // what drain dials in place of the connector's URL; nil: that
	env      map[string]string               // of drain
	timeout  time.Duration                   // of drain; default a minute
	wake     bool                            // the wake URL leads to the wake function; else pokes are taken and forgotten
	canaries []string                        // further words that must not be seen
	identify devconnector.IdentifyFunc       // of further identity tokens; nil: there are none
	pinned   string                          // the gateway's secret, known to the connector; empty: it has to provision
	drain    string                          // its bootstrap; empty: this version's
	both     bool                            // two drains may run at once, as with a table

	unsearched bool // the table is too large to be looked through
}

// stack is a connector on loopback, and both functions deployed on a local Lambda.
type stack struct {
	*devconnector.Connector
	t       *testing.T
	host    *rig.Rig
	built   rig.Bootstraps
	temp    string
	env     map[string]string // of drain
	setup   setup
	done    chan outcome // asynchronous invocations of drain
	stopped sync.Once

	mu       sync.Mutex
	requests int             // that the connector got
	output   []string        // lines of both functions
	results  []string        // what drain answered
	canaries map[string]bool // secrets, and what else is nobody's business
}

// outcome is how a drain ended.
type outcome struct {
	locallambda.Result
	drain.Report // zero if the function failed
}

func deploy(t *testing.T, s setup) *stack {
	t.Helper()
	preset := devconnector.Hosted()
	if s.change != nil {
		s.change(&preset)
	}
	st := &stack{t: t, setup: s, built: rigtest.Bootstraps(t), temp: t.TempDir(), done: make(chan outcome, 100), canaries: map[string]bool{}}
	st.built.Drain = cmp.Or(s.drain, st.built.Drain)
	for _, word := range append(s.canaries, identityToken, wakePath, eventText) {
		st.canaries[word] = true
	}
	known := devconnector.Gateway{ID: gateway, Tenant: "tenant-1", Asleep: true}
	if s.pinned != "" {
		known.Secrets = []relay.Secret{relay.NewSecret(s.pinned)}
		st.canaries[s.pinned] = true
	}
	env := map[string]string{
		"GATEWAY_RELAY_ID":             gateway,
		"GATEWAY_RELAY_IDENTITY_TOKEN": identityToken,
		"GATEWAY_RELAY_PLATFORMS":      "discord,telegram,slack,whatsapp",
		"GATEWAY_RELAY_BOT_IDS": `{"discord":{"botId":"bot-discord"},"telegram":{"botId":"bot-telegram"},` +
			`"slack":{"botId":"bot-slack"},"whatsapp":{"botId":"bot-whatsapp"}}`,
		"DORMOUSE_ALLOW_ENV_SECRETS": "1",
		"DORMOUSE_IDLE_AFTER":        "500ms",
		"DORMOUSE_EMPTY_AFTER":       "500ms",
		"DORMOUSE_POKE_COOLDOWN":     "0",
		"DORMOUSE_LOG_LEVEL":         "debug",
		"TMPDIR":                     st.temp,
		"HOME":                       st.temp,
	}
	maps.Copy(env, s.env)
	st.env = env
	if s.timeout == 0 {
		s.timeout = time.Minute
	}
	concurrency := 1 // as deployed without a table
	if s.both {
		concurrency = 2
	}
	var err error
	st.host, err = rig.Start(rig.Config{
		Drain: &locallambda.Function{
			Name: drainFunction, Command: []string{st.built.Drain}, Env: env, Timeout: s.timeout, Concurrency: concurrency,
		},
		Wake: &locallambda.Function{
			Name: wakeFunction, Command: []string{st.built.Wake}, Timeout: 30 * time.Second,
			Env: map[string]string{"DORMOUSE_LOG_LEVEL": "debug"},
		},
		Host: locallambda.Config{
			Log: func(_, line string) {
				st.mu.Lock()
				defer st.mu.Unlock()
				st.output = append(st.output, line)
			},
			Done: func(_ string, result locallambda.Result) { st.done <- st.outcome(result) },
		},
		Connector: &devconnector.Config{
			Preset:     preset,
			Gateways:   []devconnector.Gateway{known},
			Identities: map[string]string{identityToken: "tenant-1"},
			Identify:   s.identify,
		},
		Before: func(connector http.Handler) http.Handler {
			if s.before != nil {
				connector = s.before(connector)
			}
			return st.count(connector)
		},
		Between:  s.between,
		Secret:   st.note,
		WakePath: "/w/" + wakePath,
		Deaf:     !s.wake,
	})
	if err != nil {
		t.Fatal(err)
	}
	st.Connector = st.host.Connector
	t.Cleanup(st.stop)
	return st
}

func (s *stack) count(connector http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		s.mu.Unlock()
		connector.ServeHTTP(w, r)
	})
}

func (s *stack) note(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.canaries[secret] = true
}

// stop ends everything, after which the output is complete, and looks through it for canaries.
func (s *stack) stop() {
	s.stopped.Do(func() {
		arguments, environ := s.process("cmdline"), s.process("environ")
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.host.Close(ctx); err != nil {
			s.t.Error(err)
		}
		for _, breach := range s.State().Breaches {
			s.t.Errorf("breach of the contract: %s", breach)
		}
		s.search("the output", s.lines()...)
		s.search("a result", s.results...)
		s.search("the arguments", arguments...)
		s.search("the environment", slices.DeleteFunc(environ, s.configured)...)
		s.searchTable()
		s.searchFiles()
		if s.t.Failed() {
			s.t.Log(strings.Join(s.lines(), "\n"))
		}
	})
}

// process is what a file of /proc says of the processes, where there is one, string by string.
func (s *stack) process(file string) (list []string) {
	for _, pid := range append(s.host.PIDs(drainFunction), s.host.PIDs(wakeFunction)...) {
		raw, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
		list = append(list, strings.Split(string(raw), "\x00")...)
	}
	return list
}

// configured says whether a variable is one that the deployment itself gives a canary in: the wake URL, an agent's, and,
// for development, a secret.
func (s *stack) configured(variable string) bool {
	name, value, _ := strings.Cut(variable, "=")
	inside := []string{
		"GATEWAY_RELAY_WAKE_URL", "GATEWAY_RELAY_IDENTITY_TOKEN", "GATEWAY_RELAY_SECRET", "GATEWAY_RELAY_IDP_CLIENT_SECRET",
		"DORMOUSE_AGENT_SECRET", "DORMOUSE_AGENT",
	}
	if name == "GATEWAY_RELAY_WAKE_URL" && value == s.host.WakeURL {
		return true
	}
	return slices.Contains(inside, name) && value == s.env[name]
}

func (s *stack) search(where string, texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for canary := range s.canaries {
		if canary == "" {
			continue
		}
		encoded := base64.StdEncoding.EncodeToString([]byte(canary))
		for _, text := range texts {
			if strings.Contains(text, canary) || strings.Contains(text, strings.TrimRight(encoded, "=")) {
				s.t.Errorf("%s shows %s: %s", where, canary, text)
			}
		}
	}
}

// searchFiles looks at what the processes have written: they have a folder for it, and the one they were started in.
func (s *stack) searchFiles() {
	err := filepath.WalkDir(s.temp, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		s.search(path, path, string(content))
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
	for _, bootstrap := range []string{s.built.Drain, s.built.Wake} {
		if entries, err := os.ReadDir(filepath.Dir(bootstrap)); err != nil || len(entries) != 1 {
			s.t.Errorf("beside the bootstrap: %v %v", entries, err)
		}
	}
}

func (s *stack) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.output)
}

// msg is the part of a line that names the event.
func msg(event string) string { return fmt.Sprintf(`"message":%q`, event) }

// logged counts the lines with all of the parts. It stops the stack: before that, lines may still be on their way.
func (s *stack) logged(parts ...string) (n int) {
	s.stop()
	for _, line := range s.lines() {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			n++
		}
	}
	return n
}

func (s *stack) requestCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *stack) outcome(result locallambda.Result) outcome {
	s.mu.Lock()
	s.results = append(s.results, string(result.Payload))
	s.mu.Unlock()
	out := outcome{Result: result}
	if result.FunctionError == "" {
		if err := json.Unmarshal(result.Payload, &out.Report); err != nil || bytes.Contains(result.Payload, []byte("\n")) {
			s.t.Errorf("not one JSON line: %s", result.Payload)
		}
	}
	return out
}

// start invokes drain for reason. wait returns how that ended.
func (s *stack) start(reason string) (wait func() outcome) {
	s.t.Helper()
	type end struct {
		result locallambda.Result
		err    error
	}
	ended := make(chan end, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		result, err := s.host.Invoke(ctx, drainFunction, fmt.Appendf(nil, `{"reason":%q}`, reason))
		ended <- end{result, err}
	}()
	return func() outcome {
		s.t.Helper()
		e := <-ended
		if e.err != nil {
			s.t.Fatal(e.err)
		}
		return s.outcome(e.result)
	}
}

// run invokes drain for reason and waits for its end, which must not be an error.
func (s *stack) run(reason string) outcome {
	s.t.Helper()
	out := s.start(reason)()
	if out.FunctionError != "" {
		s.t.Fatalf("drain failed: %s", out.Payload)
	}
	return out
}

// await waits until the connector's state is as ok wants it.
func (s *stack) await(ok func(devconnector.State) bool) devconnector.State {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Wait(ctx, ok); err != nil {
		s.t.Fatal(err)
	}
	return s.State()
}

// awaitEvent waits for the end of an asynchronous invocation of drain.
func (s *stack) awaitEvent() outcome {
	s.t.Helper()
	select {
	case out := <-s.done:
		return out
	case <-time.After(patience):
		s.t.Fatal("no asynchronous invocation ended")
		return outcome{}
	}
}

// event is a message in a chat of the n-th platform; the chat is named after the platform, its scope after the chat.
func event(n int, id string) relay.Event {
	platform := []string{"discord", "telegram", "slack", "whatsapp"}[n%4]
	return relay.Event{
		Text: eventText + " " + id, MessageType: "text", MessageID: id,
		Source: relay.Source{
			Platform: platform, ChatID: platform + "-chat", ChatType: "group", UserID: platform + "-user", UserName: "Ann",
			ScopeID: "scope-of-" + platform + "-chat",
		},
	}
}

// sends are the messages that reached chats, in order.
func sends(s devconnector.State) (list []devconnector.Outbound) {
	for _, out := range s.Outbounds {
		if out.Op == "send" {
			list = append(list, out)
		}
	}
	return list
}

// replies are their texts, without what all have in common.
func replies(s devconnector.State) (list []string) {
	for _, out := range sends(s) {
		list = append(list, strings.TrimPrefix(out.Content, eventText+" "))
	}
	return list
}

func acked(n int) func(devconnector.State) bool {
	return func(s devconnector.State) bool { return len(s.Acks) >= n }
}

func connected(s devconnector.State) bool { return s.Instance(gateway).Connected }

// holder is an agent that answers each turn with the turn's text; one kind of them only once release is closed, so that the
// gateway is connected until then.
type holder struct {
	url     string
	asked   chan struct{} // such a turn has come
	release chan struct{}
}

// holdingAgent holds the turns whose text has the word.
func holdingAgent(t *testing.T, word string) holder {
	h := holder{asked: make(chan struct{}, 10), release: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var turn struct{ Event struct{ Text string } }
		if err := json.NewDecoder(r.Body).Decode(&turn); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, r.Body) // unless it is read, the server does not notice that the client is gone
		if strings.Contains(turn.Event.Text, word) {
			h.asked <- struct{}{}
			select {
			case <-h.release:
			case <-r.Context().Done():
			}
		}
		json.NewEncoder(w).Encode(map[string]string{"text": turn.Event.Text})
	}))
	t.Cleanup(server.Close)
	h.url = server.URL
	return h
}

// await waits until a turn is held.
func (h holder) await(t *testing.T) {
	t.Helper()
	select {
	case <-h.asked:
	case <-time.After(patience):
		t.Fatal("the agent was not asked")
	}
}
