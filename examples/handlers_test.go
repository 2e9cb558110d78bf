package examples_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const exampleSecret = "whsec_c2VjcmV0LW9mLXRoZS1leGFtcGxl"

// plain is what each plain handler does, whatever language it is in.
func plain(t *testing.T, command ...string) {
	is := is.New(t)
	env := []string{"AGENT_SECRET=" + exampleSecret}
	a := onHTTP(t, env, exampleSecret, command...)
	c := converse(t, a)
	is.Equal(c.say("1", "good morning", nil)[0]["content"], "Hello Ann, you said: good morning")
	thanks := c.say("2", "/thanks", nil)
	is.Equal(thanks[0].Op(), "react")
	is.Equal(thanks[0]["message_id"], "2")
	is.Equal(len(c.say("3", "", nil)), 0)
	late, err := a.Answer(t.Context(), agent.Turn{Late: true, Delivery: agent.Delivery{Key: "k"}, Event: &relay.Event{Text: "hi", Source: relay.Source{UserName: "Bo"}}})
	is.NoErr(err)
	is.Equal(late.Actions[0]["content"], "Sorry for the wait, Bo. You said: hi")

	stranger := onHTTP(t, env, "whsec_c29tZWJvZHkgZWxzZQ==", command...)
	_, err = stranger.Answer(t.Context(), agent.Turn{Event: &relay.Event{}})
	is.Equal(agent.ClassOf(err), agent.Away) // 401: the signature is another's
}

func TestHTTPAgentInGo(t *testing.T) {
	t.Parallel()
	plain(t, rigtest.Build(t, "examples/http-go"))
}

func TestHTTPAgentInPython(t *testing.T) {
	t.Parallel()
	plain(t, tool(t, "python3"), "-B", "http-python/agent.py")
}

// Node runs TypeScript as it is from 22.18 on. What the compiler makes of it runs in any Node.
func TestHTTPAgentInTypeScript(t *testing.T) {
	t.Parallel()
	node := tool(t, "node")
	out, err := exec.CommandContext(t.Context(), node, "--version").Output()
	var major, minor int
	if _, scanned := fmt.Sscanf(string(out), "v%d.%d", &major, &minor); err != nil || scanned != nil {
		t.Fatalf("node --version says %q: %v", out, err)
	}
	t.Run("as it is", func(t *testing.T) {
		if major < 22 || major == 22 && minor < 18 {
			t.Skipf("skipped: node %s runs no TypeScript, 22.18 does", strings.TrimSpace(string(out)))
		}
		plain(t, node, "--disable-warning=ExperimentalWarning", "http-ts/agent.ts")
	})
	t.Run("compiled", func(t *testing.T) {
		is := is.New(t)
		dir := t.TempDir()
		is.NoErr(os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type":"module"}`), 0o600))
		said, err := tsc(t, "--outDir", dir, "--rewriteRelativeImportExtensions", "http-ts/agent.ts")
		if err != nil {
			t.Fatalf("%v:\n%s", err, said)
		}
		plain(t, node, filepath.Join(dir, "agent.js"))
	})
}

// What the schemas do not know, and what they demand, are faults to the compiler.
func TestTypesFindFaultsInATypeScriptAgent(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	types, err := filepath.Abs("types/dormouse.d.ts")
	is.NoErr(err)
	raw, err := os.ReadFile("http-ts/agent.ts")
	is.NoErr(err)
	whole := strings.Replace(string(raw), "../types/dormouse.d.ts", types, 1)
	faults := []struct{ old, text, want string }{
		{`emoji: "👍"`, `emoij: "👍"`, "'emoij' does not exist"},
		{`op: "react", emoji: "👍"`, `op: "react"`, "'emoji' is missing"},
		{`op: "react"`, `op: "reakt"`, `"reakt"`},
		{`turn.late`, `turn.is_late`, "'is_late' does not exist"},
		{`const { text, source }`, `const { words: text, source }`, "'words' does not exist"},
		{`return {}; // nothing to`, `return 7; // nothing to`, "'7'"},
		{"{ text: `Hello", "{ content: `Hello", "'content' does not exist"},
		{`const server =`, `enum Broken { A } const server =`, "erasableSyntaxOnly"}, // Node would not run it
		{`const server =`, `const other =`, "name 'server'"},                         // also without our types
	}
	dir := t.TempDir()
	args := []string{"--noEmit", "--allowImportingTsExtensions", "--skipLibCheck"}
	for i, fault := range faults {
		is.Equal(strings.Count(whole, fault.old), 1)
		file := filepath.Join(dir, fmt.Sprintf("fault%d.ts", i))
		is.NoErr(os.WriteFile(file, []byte(strings.Replace(whole, fault.old, fault.text, 1)), 0o600))
		args = append(args, file)
	}
	said, err := tsc(t, args...)
	is.True(err != nil)
	for i, fault := range faults {
		_, found, _ := strings.Cut(said, fmt.Sprintf("fault%d.ts(", i))
		found, _, _ = strings.Cut(found, "fault")
		if !strings.Contains(found, fault.want) {
			t.Errorf("%s: tsc says %q, want %q", fault.text, found, fault.want)
		}
	}
}

// tsc runs the compiler that DORMOUSE_TYPESCRIPT names (make test and make test-typescript fetch it), with node.
func tsc(t *testing.T, args ...string) (said string, err error) {
	t.Helper()
	dir := os.Getenv("DORMOUSE_TYPESCRIPT")
	if dir == "" && os.Getenv("CI") == "true" {
		t.Fatal("CI has no compiler for TypeScript: DORMOUSE_TYPESCRIPT is empty (make test-typescript)")
	}
	if dir == "" {
		t.Skip("skipped: no compiler for TypeScript here (make test-typescript, which needs npm)")
	}
	modules := filepath.Join(dir, "node_modules")
	cmd := exec.CommandContext(t.Context(), tool(t, "node"), append([]string{
		filepath.Join(modules, "typescript", "bin", "tsc"), "--pretty", "false", "--strict", "--noUncheckedIndexedAccess",
		"--target", "es2022", "--module", "es2022", "--moduleResolution", "bundler", "--erasableSyntaxOnly", "--verbatimModuleSyntax",
		"--typeRoots", filepath.Join(modules, "@types"), "--types", "node",
	}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestAnApprovalOutlivesBothProcesses(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	command := []string{tool(t, "python3"), "-B", "approval/agent.py"}
	env := []string{"APPROVERS=u2"}
	memory := ledger.NewMemory()
	asking := converseOn(t, onHTTP(t, env, "", command...), memory)
	asked := asking.say("1", "/deploy 1.4", nil)
	is.Equal(asked[0].Op(), "prompt")
	is.Equal(asked[0]["timeout_s"], float64(30*86400))
	id := asked[0]["prompt_id"].(string)
	asking.worker.Close() // the gateway's process is gone

	later := converseOn(t, onHTTP(t, env, "", command...), memory) // and the agent's is another one
	refused := later.say("2", "/yes", &relay.PromptResponse{PromptID: id, OptionID: "yes"})
	is.Equal(refused[0]["content"], "Ann may not decide that.")
	is.Equal(refused[1].Op(), "prompt") // the press has used up the question
	again := refused[1]["prompt_id"].(string)
	is.True(again != id)
	later.user = "u2"
	is.Equal(later.say("3", "/yes", &relay.PromptResponse{PromptID: again, OptionID: "yes"})[0]["content"], "Ann deploys 1.4, which Ann asked for.")
	is.Equal(len(later.say("4", "/yes", &relay.PromptResponse{PromptID: again, OptionID: "yes"})), 0) // it has been answered
}

// model is an endpoint that rolls a die before it replies.
type model struct {
	t     *testing.T
	mu    sync.Mutex
	asked [][]map[string]any // messages
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Messages []map[string]any
		Tools    []map[string]any
		Stream   bool
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !in.Stream || len(in.Tools) != 2 {
		m.t.Errorf("%v, %d tools", err, len(in.Tools))
	}
	m.mu.Lock()
	m.asked = append(m.asked, in.Messages)
	m.mu.Unlock()
	delta := func(delta map[string]any, finish any) {
		raw, _ := json.Marshal(map[string]any{"choices": []any{map[string]any{"delta": delta, "finish_reason": finish}}})
		fmt.Fprintf(w, "data: %s\n\n", raw)
		http.NewResponseController(w).Flush()
	}
	call := func(id, name, arguments string) map[string]any {
		return map[string]any{"tool_calls": []any{map[string]any{
			"index": 0, "id": id, "function": map[string]any{"name": name, "arguments": arguments},
		}}}
	}
	last := in.Messages[len(in.Messages)-1]
	switch text, _ := last["content"].(string); {
	case text == "teapot":
		w.WriteHeader(http.StatusTeapot)
	case text == "break":
		delta(map[string]any{"content": "I was "}, nil)
		panic(http.ErrAbortHandler)
	case last["role"] == "user":
		delta(map[string]any{"content": "Let me roll. "}, nil)
		delta(call("call-1", "roll", ""), nil)
		delta(call("", "", `{"sides":`), nil)
		delta(call("", "", `20}`), nil)
		delta(map[string]any{}, "tool_calls")
	default:
		delta(map[string]any{"content": "It has " + fmt.Sprint(len(text) > 0) + " sides."}, nil)
		delta(map[string]any{}, "stop")
	}
	io.WriteString(w, "data: [DONE]\n\n")
}

func TestOpenAIAgentWithTools(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	m := &model{t: t}
	endpoint := httptest.NewServer(m)
	defer endpoint.Close()
	a := onHTTP(t, []string{"OPENAI_BASE_URL=" + endpoint.URL + "/v1", "OPENAI_API_KEY=key"}, "", tool(t, "python3"), "-B", "openai-tools/agent.py")
	c := converse(t, a)
	got := c.say("1", "roll a big one", nil)
	is.Equal(got[0].Op(), "send")
	is.Equal(got[0]["content"], "Let me roll. ")
	is.Equal(got[len(got)-1]["content"], "Let me roll. It has true sides.")
	is.Equal(len(m.asked), 2)
	messages := m.asked[1]
	is.Equal(len(messages), 3) // what was said, the call, and its result
	calls := messages[1]["tool_calls"].([]any)
	is.Equal(calls[0].(map[string]any)["function"], map[string]any{"name": "roll", "arguments": `{"sides":20}`})
	is.Equal(messages[2]["tool_call_id"], "call-1")
	var rolled struct{ Sides, Shows int }
	is.NoErr(json.Unmarshal([]byte(messages[2]["content"].(string)), &rolled))
	is.True(rolled.Sides == 20 && rolled.Shows >= 1 && rolled.Shows <= 20)

	c.say("2", "again", nil)
	is.Equal(len(m.asked[2]), 3) // the turn before, and this one

	_, err := gather(t, a, "teapot")
	is.Equal(agent.ClassOf(err), agent.Refused) // the endpoint's status is passed on
	said, err := gather(t, a, "break")
	is.Equal(len(said), 1)
	is.Equal(agent.ClassOf(err), agent.Failed)
	is.True(err != nil)
}

// gather asks for one answer, streamed or not.
func gather(t *testing.T, a agent.Agent, text string) (said []relay.Action, err error) {
	t.Helper()
	answer, err := a.Answer(t.Context(), agent.Turn{SessionKey: text, Event: &relay.Event{Text: text}})
	if err != nil {
		return nil, err
	}
	said = answer.Actions
	if answer.Stream != nil {
		for action, err := range answer.Stream {
			if err != nil {
				return said, err
			}
			said = append(said, action)
		}
	}
	return said, nil
}
