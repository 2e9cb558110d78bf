package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/drain"
)

// answers are what the agent says, by message id.
var answers = map[string]string{
	"text":    `{"text":"a text"}`,
	"actions": `{"actions":[{"op":"send","content":"first"},{"op":"typing"},{"op":"send","content":"second"}]}`,
	"nothing": ``,
	"last":    `{"text":"the last"}`,
}

func TestAnHTTPAgentAnswers(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const agentPath, apology = "canary-of-the-agent", "Sorry, that went wrong."
	var mu sync.Mutex
	turns := map[string][]agent.Turn{} // by message id
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var turn agent.Turn
		if err := json.NewDecoder(r.Body).Decode(&turn); err != nil || r.Method != http.MethodPost || r.URL.Path != "/"+agentPath {
			t.Errorf("%s: %v", r.Method, err)
		}
		id := turn.Event.MessageID
		mu.Lock()
		turns[id] = append(turns[id], turn)
		mu.Unlock()
		answer, ok := answers[id]
		if !ok {
			fmt.Fprint(w, turn.Event.Text) // no answer, and not to end up in a log
			return
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	s := deploy(t, setup{canaries: []string{agentPath}, env: map[string]string{
		"DORMOUSE_AGENT":   server.URL + "/" + agentPath,
		"DORMOUSE_APOLOGY": apology, "DORMOUSE_MAX_ATTEMPTS": "1", // internal/turn has further ones, without waiting for them
	}})
	for n, id := range []string{"text", "failing", "actions", "nothing", "last"} {
		s.Deliver(gateway, event(n, id))
	}
	out := s.run("wake")
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Acked, 5)
	is.Equal(out.Turns, 5)
	is.Equal(out.Dead, 1)
	state := s.State()
	is.Equal(replies(state), []string{"a text", apology, "first", "second", "the last"})
	for n, platform := range []string{"discord", "telegram", "slack", "slack", "discord"} {
		is.Equal(sends(state)[n].ChatID, platform+"-chat")
		is.Equal(sends(state)[n].Metadata["scope_id"], "scope-of-"+platform+"-chat") // of an apology, too
	}
	is.Equal(s.Buffered(gateway), 0)

	mu.Lock()
	defer mu.Unlock()
	is.Equal(len(turns["failing"]), 1)
	is.Equal(turns["failing"][0].Delivery.Attempt, 1)
	turn := turns["text"][0]
	is.Equal(turn.Version, 1)
	is.True(strings.HasPrefix(turn.SessionKey, "agent:main:discord:"))
	is.Equal(turn.Event.Text, eventText+" text")
	is.Equal(turn.Event.Source.ScopeID, "scope-of-discord-chat")
	is.Equal(turn.Descriptor.Platform, "discord")
	is.True(turn.Delivery.Buffered)
	is.True(!turn.Delivery.ReceivedAt.IsZero())
}
