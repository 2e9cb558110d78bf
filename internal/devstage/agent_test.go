package devstage_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devstage"
)

// script is an agent in a file of its own: it answers with what its file says.
func script(t *testing.T, says string) (dir string, a devstage.Agent) {
	t.Helper()
	dir = t.TempDir()
	write(t, dir, says)
	self, err := os.Executable()
	is.New(t).NoErr(err)
	return dir, devstage.Agent{Command: []string{self}, Dir: dir, Env: []string{agentVariable + "=agent.txt"}, Watch: []string{dir}}
}

func write(t *testing.T, dir, says string) {
	t.Helper()
	next := filepath.Join(dir, ".next") // as editors do: a file is never seen half written
	is.New(t).NoErr(os.WriteFile(next, []byte(says), 0o600))
	is.New(t).NoErr(os.Rename(next, filepath.Join(dir, "agent.txt")))
}

// agentVariable makes the test's own program an agent: it names the file with its answer, which is read at its start.
const agentVariable = "DEVSTAGE_TEST_AGENT"

func actAsAgent(file string) {
	says, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	if string(says) == "die" {
		os.Stderr.WriteString("I cannot go on\n")
		os.Exit(7)
	}
	os.Stdout.WriteString("listening\n")
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"text":"` + string(says) + `"}`))
	})))
}

// is waits until the agent is in a state, and returns it.
func untilAgent(t *testing.T, s *devstage.Stage, ok func(devstage.AgentState) bool) {
	t.Helper()
	await(t, s, func(events []devstage.Event) bool {
		return slices.ContainsFunc(events, func(e devstage.Event) bool { return e.Agent != nil && ok(*e.Agent) })
	})
}

func TestAnAgentIsStartedAndAnewWhenItsFileChanges(t *testing.T) {
	is := is.New(t)
	dir, agent := script(t, "one")
	s := start(t, devstage.Config{Agent: agent})
	s.Connector().Deliver("", hello("1", "hi"))
	is.Equal(replies(t, s, 1), []string{"one"})
	write(t, dir, "two")
	untilAgent(t, s, func(a devstage.AgentState) bool {
		return a.What == devstage.AgentRunning && a.Starts == 2 && a.Why == "agent.txt has changed"
	})
	s.Connector().Deliver("", hello("2", "hi"))
	is.Equal(replies(t, s, 2)[1], "two")
	is.Equal(s.Agent().Watched, 1)
	s.RestartAgent()
	untilAgent(t, s, func(a devstage.AgentState) bool { return a.Starts == 3 && a.Why == "by hand" })
	events, _ := s.Log().Since(0)
	is.True(slices.ContainsFunc(events, func(e devstage.Event) bool {
		return e.Line != nil && *e.Line == devstage.Line{From: devstage.FromAgent, Text: "listening"}
	}))
}

// A message that comes while the agent is being started waits for it, and not for the backoff of one that is away.
func TestATurnWaitsForAnAgentThatIsBeingStarted(t *testing.T) {
	is := is.New(t)
	dir, agent := script(t, "die")
	s := start(t, devstage.Config{Agent: agent})
	untilAgent(t, s, func(a devstage.AgentState) bool { return a.What == devstage.AgentExited && a.Why == "exit status 7" })
	s.Connector().Deliver("", hello("1", "hi"))
	await(t, s, func(events []devstage.Event) bool {
		return slices.ContainsFunc(events, func(e devstage.Event) bool { return e.Exchange != nil })
	})
	write(t, dir, "well again")
	is.Equal(replies(t, s, 1), []string{"well again"})
	is.Equal(len(s.Exchanges("")), 1) // one attempt
}

func TestWhatAnAgentSaysIsKeptBesideItsTurn(t *testing.T) {
	is := is.New(t)
	var signed string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		signed = r.Header.Get("webhook-signature")
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.WriteHeader(http.StatusCreated)
		for _, line := range []string{`{"op":"send","content":"half"}`, `{"op":"edit","content":"whole"}`} {
			w.Write([]byte(line + "\n"))
			http.NewResponseController(w).Flush()
		}
	}))
	defer server.Close()
	s := start(t, devstage.Config{Agent: devstage.Agent{URL: server.URL + "/secret-path"}, Settings: map[string]devstage.Given{
		"DORMOUSE_AGENT_SECRET": {Value: "whsec_c2VjcmV0LW9mLXRoZS1zdGFnZQ==", Source: "the test"},
	}})
	s.Connector().Deliver("", hello("1", "hi"))
	replies(t, s, 1)
	await(t, s, func(events []devstage.Event) bool {
		return slices.ContainsFunc(events, func(e devstage.Event) bool { return e.Exchange != nil && !e.Exchange.Ended.IsZero() })
	})
	e := s.Exchanges("")[0]
	is.True(strings.Contains(string(e.Turn), `"text":"hi"`))
	is.Equal(string(e.Answer), "{\"op\":\"send\",\"content\":\"half\"}\n{\"op\":\"edit\",\"content\":\"whole\"}\n")
	is.Equal(e.Status, http.StatusCreated)
	is.Equal(e.ContentType, "application/x-ndjson")
	is.True(signed != "")                               // the signature passes
	is.True(!strings.Contains(s.Agent().URL, "secret")) // a path may be a credential
	for _, setting := range s.Settings() {
		is.True(!strings.Contains(setting.Value, "whsec"))
		if setting.Name == "DORMOUSE_AGENT_SECRET" {
			is.Equal(setting, devstage.Setting{Name: "DORMOUSE_AGENT_SECRET", Value: "set, not shown", Source: "the test", Secret: true})
		}
		if setting.Name == "DORMOUSE_MAX_ATTEMPTS" {
			is.Equal(setting, devstage.Setting{Name: "DORMOUSE_MAX_ATTEMPTS", Value: "3", Source: "default"})
		}
	}
}

func TestAnAgentThatIsNotThereIsAway(t *testing.T) {
	is := is.New(t)
	s := start(t, devstage.Config{Agent: devstage.Agent{URL: "http://127.0.0.1:1/"}})
	s.Connector().Deliver("", hello("1", "hi"))
	await(t, s, func(events []devstage.Event) bool {
		return slices.ContainsFunc(events, func(e devstage.Event) bool {
			return e.Exchange != nil && e.Exchange.Status == http.StatusBadGateway && strings.Contains(e.Exchange.Error, "connection refused")
		})
	})
	pending, err := s.Ledger().ListPending(t.Context())
	is.NoErr(err)
	is.Equal(len(pending), 1)
	is.Equal(pending[0].Attempts, 0) // it waits, which is no attempt
	_, err = devstage.Start(t.Context(), devstage.Config{Dir: t.TempDir(), Agent: devstage.Agent{URL: "gopher://x"}})
	is.True(err != nil)
}

func TestAnAgentThatCannotBeStartedIsSaid(t *testing.T) {
	is := is.New(t)
	s := start(t, devstage.Config{Agent: devstage.Agent{Command: []string{"no-such-agent"}}})
	untilAgent(t, s, func(a devstage.AgentState) bool {
		return a.What == devstage.AgentExited && strings.Contains(a.Why, "no-such-agent")
	})
	is.Equal(s.Agent().What, devstage.AgentExited)
}
