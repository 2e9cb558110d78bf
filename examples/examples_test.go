// Package examples_test runs each example as a process of its own and talks to it as drain does.
package examples_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const patience = time.Minute // with anything that is to happen, on a busy machine

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // these tests wait for processes
	goleak.VerifyTestMain(m)
}

func TestExamplesAreShort(t *testing.T) {
	for path, limit := range map[string]int{
		"lambda-go/main.go": 80, "lambda-go-stream/main.go": 80, "http-go/main.go": 120, "http-python/agent.py": 120, "http-ts/agent.ts": 120,
		"approval/agent.py": 120, "openai-tools/agent.py": 120,
		"lambda-python/agent.py": 80, "http-node/agent.mjs": 80, "openai/agent.py": 120, "connector/connector.py": 400,
	} {
		raw, err := os.ReadFile(path)
		if n := strings.Count(string(raw), "\n"); err != nil || n >= limit {
			t.Errorf("%s has %d lines, want under %d: %v", path, n, limit, err)
		}
	}
}

// tool finds a program. Without it the test is skipped, in CI it fails.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("CI has no %s", name)
	}
	if err != nil {
		t.Skipf("skipped: no %s here", name)
	}
	if name == "python3" { // past wrappers, which want a home
		out, err := exec.CommandContext(t.Context(), path, "-c", "import sys; print(sys.executable)").Output()
		if err != nil {
			t.Fatal(err)
		}
		path = strings.TrimSpace(string(out))
	}
	return path
}

// onLambda runs command as the function of a lambda: agent.
func onLambda(t *testing.T, command ...string) agent.Agent {
	t.Helper()
	is := is.New(t)
	host, err := locallambda.Start(locallambda.Config{
		Functions: []locallambda.Function{{Name: "agent", Command: command, Memory: 256, Timeout: patience, Concurrency: 1}},
		Log:       func(_, line string) { t.Log(line) },
	})
	is.NoErr(err)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := host.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	client := lambda.New(lambda.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(host.URL()), HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("id", "key", ""),
	})
	return agent.NewLambda("agent", client, client)
}

// onHTTP starts command, which says on its first line what port it listens on.
func onHTTP(t *testing.T, env []string, secret string, command ...string) agent.Agent {
	t.Helper()
	is := is.New(t)
	a, done, err := agent.New(listening(t, t.Output(), env, command...), agent.Options{Secret: relay.NewSecret(secret)})
	is.NoErr(err)
	t.Cleanup(done)
	return a
}

// listening starts command as onHTTP does and returns its URL.
func listening(t *testing.T, stderr io.Writer, env []string, command ...string) string {
	t.Helper()
	is := is.New(t)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(append(os.Environ(), "PORT=0"), env...)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	is.NoErr(err)
	is.NoErr(cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	is.NoErr(err)
	var port int
	_, err = fmt.Sscanf(line, "listening on %d", &port)
	is.NoErr(err)
	return fmt.Sprintf("http://127.0.0.1:%d/", port)
}

// chat is a connector's end of the wire.
type chat struct {
	mu   sync.Mutex
	outs []relay.Action
}

func (c *chat) Do(_ context.Context, out relay.Outbound) (relay.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outs = append(c.outs, out.Action)
	return relay.Result{Success: true, MessageID: fmt.Sprint("m", len(c.outs))}, nil
}

func (*chat) Post(relay.Outbound) {}
func (*chat) Ack(string)          {}

func (*chat) WaitDescriptors(context.Context) {}

func (*chat) Descriptor(platform string) relay.Descriptor {
	return relay.Descriptor{
		Platform: platform, MaxMessageLength: 2000, LenUnit: "chars", MarkdownDialect: "discord", SupportsEdit: true,
		SupportedOps: []string{"send", "edit", "typing", "react", "prompt"},
	}
}

// conversation runs turns of a.
type conversation struct {
	*chat
	t      *testing.T
	worker *turn.Worker
	user   string // who speaks; empty: u1
}

func converse(t *testing.T, a agent.Agent) *conversation {
	t.Helper()
	return converseOn(t, a, ledger.NewMemory())
}

// converseOn is converse for a gateway whose ledger may have been another one's.
func converseOn(t *testing.T, a agent.Agent, memory ledger.Ledger) *conversation {
	t.Helper()
	is := is.New(t)
	lease, err := memory.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "test", Life: time.Nanosecond})
	is.NoErr(err)
	c := &conversation{chat: &chat{}, t: t}
	c.worker = turn.New(t.Context(), turn.Config{
		Journal: lease, Prompts: lease, Agent: a, Link: c.chat,
		Log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
		Instance: "inst", Concurrency: 8, MaxAttempts: 2, AgentTimeout: patience,
	})
	t.Cleanup(c.worker.Close)
	c.worker.Recover(ledger.Page{})
	return c
}

// say delivers a message and returns the actions that come of it.
func (c *conversation) say(id, text string, answer *relay.PromptResponse) []relay.Action {
	c.t.Helper()
	c.mu.Lock()
	before := len(c.outs)
	c.mu.Unlock()
	event := &relay.Event{Text: text, MessageType: "text", MessageID: id, PromptResponse: answer, Source: relay.Source{
		Platform: "discord", ChatID: "c1", ChatType: "group", UserID: cmp.Or(c.user, "u1"), UserName: "Ann", ScopeID: "g1",
	}}
	if err := c.worker.Take(relay.Delivery{Kind: relay.KindInbound, Event: event, ReceivedAt: time.Now()}); err != nil {
		c.t.Fatal(err)
	}
	limit := time.After(patience)
	for c.worker.Busy() {
		select {
		case <-c.worker.Changed():
		case <-limit:
			c.t.Fatal("the turn does not end")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outs[before:]
}

func TestLambdaAgentInGo(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	c := converse(t, onLambda(t, rigtest.Build(t, "examples/lambda-go")))
	is.Equal(c.say("1", "good morning", nil)[0]["content"], "Hello Ann, you said: good morning")
	thanks := c.say("2", "/thanks", nil)
	is.Equal(thanks[0].Op(), "react")
	is.Equal(thanks[0]["message_id"], "2")
	is.Equal(len(c.say("3", "", nil)), 0)
}

func TestLambdaAgentInGoStreams(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	a := onLambda(t, rigtest.Build(t, "examples/lambda-go-stream"))
	answer, err := a.Answer(t.Context(), agent.Turn{Event: &relay.Event{Text: "one two  three"}})
	is.NoErr(err)
	is.True(answer.Stream != nil)
	var said []relay.Action
	for action, err := range answer.Stream {
		is.NoErr(err)
		said = append(said, action)
	}
	is.Equal(said, []relay.Action{
		{"op": "send", "content": "one"}, {"op": "edit", "content": "one two"}, {"op": "edit", "content": "one two three"},
	})
	c := converse(t, a)
	got := c.say("1", "the build is green", nil)
	is.Equal(got[0]["content"], "the")
	is.Equal(got[len(got)-1].Op(), "edit")
	is.Equal(got[len(got)-1]["content"], "the build is green")
	is.Equal(len(c.say("2", "", nil)), 0)
}

func TestLambdaAgentInPython(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	python := tool(t, "python3")
	runtime, err := filepath.Abs("testdata/runtime.py")
	is.NoErr(err)
	dir, err := filepath.Abs("lambda-python")
	is.NoErr(err)
	c := converse(t, onLambda(t, python, "-B", runtime, dir))
	is.Equal(c.say("1", "good morning", nil)[0]["content"], "Hello Ann, you said: good morning")
	roll := c.say("2", "/roll 20", nil)
	is.Equal(len(roll), 2)
	is.Equal(roll[1].Op(), "edit")
	is.True(strings.HasPrefix(roll[1]["content"].(string), "A die with 20 sides shows "))
	is.Equal(c.say("3", "/roll many", nil)[0]["content"], "The dice got lost, please roll again.") // what it raised was an attempt
	is.Equal(len(c.say("4", "", nil)), 0)
}

func TestHTTPAgentInNodeAsksForApproval(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const secret = "whsec_c2VjcmV0LW9mLXRoZS1leGFtcGxl"
	env := []string{"AGENT_SECRET=" + secret}
	a := onHTTP(t, env, secret, tool(t, "node"), "http-node/agent.mjs")
	c := converse(t, a)
	is.Equal(c.say("1", "hi", nil)[0]["content"], "You said: hi")
	asked := c.say("2", "/deploy 1.4", nil)
	is.Equal(asked[0].Op(), "prompt")
	id := asked[0]["prompt_id"].(string)
	answer := c.say("3", "/yes", &relay.PromptResponse{PromptID: id, OptionID: "yes"})
	is.Equal(answer[0]["content"], "Ann deploys 1.4.")
	is.Equal(len(c.say("4", "/no", &relay.PromptResponse{PromptID: id, OptionID: "no"})), 0) // it has been answered

	stranger := onHTTP(t, env, "whsec_c29tZWJvZHkgZWxzZQ==", tool(t, "node"), "http-node/agent.mjs")
	_, err := stranger.Answer(t.Context(), agent.Turn{Event: &relay.Event{}})
	is.Equal(agent.ClassOf(err), agent.Away) // 401: the signature is another's, which is the deployment's fault
}

func TestOpenAIAgentStreamsEdits(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var mu sync.Mutex
	var asked [][]string // contents of the messages
	first, edited := make(chan struct{}), make(chan struct{})
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Messages []struct{ Role, Content string }
			Stream   bool
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !in.Stream || r.URL.Path != "/v1/chat/completions" ||
			r.Header.Get("Authorization") != "Bearer key" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		var contents []string
		for _, m := range in.Messages {
			contents = append(contents, m.Content)
		}
		mu.Lock()
		asked = append(asked, contents)
		n := len(asked)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		for i, piece := range []string{"", "The ", "build ", "is ", "green."} {
			raw, _ := json.Marshal(map[string]any{"choices": []any{map[string]any{"delta": map[string]any{"content": piece}}}})
			fmt.Fprintf(w, "data: %s\n\n", raw)
			http.NewResponseController(w).Flush()
			if n == 1 && i == 1 {
				<-first // the first words are in the chat before the rest is made
			}
			if n == 1 && i == 2 {
				<-edited
			}
			if n == 3 && i == 3 {
				panic(http.ErrAbortHandler) // the model's connection breaks
			}
		}
		io.WriteString(w, "data: {\"choices\":[]}\n\ndata: [DONE]\n\n")
	}))
	defer model.Close()
	a := onHTTP(t, []string{"OPENAI_BASE_URL=" + model.URL + "/v1/", "OPENAI_API_KEY=key"}, "", tool(t, "python3"), "-B", "openai/agent.py")
	c := converse(t, a)
	var watching sync.WaitGroup
	watching.Go(func() {
		defer close(edited)
		c.await(t, "The ")
		close(first)
		c.await(t, "The build ")
	})
	got := c.say("1", "is it green?", nil)
	watching.Wait()
	is.Equal(got[0].Op(), "send")
	is.Equal(got[0]["content"], "The ")
	is.True(len(got) > 2)
	for _, a := range got[1:] {
		is.Equal(a.Op(), "edit")
		is.Equal(a["message_id"], "m1")
	}
	is.Equal(got[len(got)-1]["content"], "The build is green.")

	c.say("2", "sure?", nil)
	is.Equal(asked[1], []string{"is it green?", "The build is green.", "sure?"}) // it remembers the session

	broken := c.say("3", "and now?", nil) // the second attempt goes on in the message of the first
	is.Equal(len(asked), 4)
	is.Equal(broken[0].Op(), "send")
	for _, a := range broken[1:] {
		is.Equal(a.Op(), "edit")
		is.Equal(a["message_id"], "m"+fmt.Sprint(len(c.outs)-len(broken)+1))
	}
	is.Equal(broken[len(broken)-1]["content"], "The build is green.")
	is.Equal(asked[3][len(asked[3])-1], "and now?")
}

// await waits until a content is in the chat.
func (c *conversation) await(t *testing.T, content string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		found := slices.ContainsFunc(c.outs, func(a relay.Action) bool { return a["content"] == content })
		c.mu.Unlock()
		if found {
			return
		}
	}
	t.Errorf("%q is not in the chat", content)
}
