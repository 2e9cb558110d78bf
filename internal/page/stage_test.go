package page_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/page"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
)

const patience = 30 * time.Second

// scene is a whole page: a stage with an agent that plays parts, and a server on loopback.
type scene struct {
	stage   *devstage.Stage
	machine *page.Machine
	url     string // with the token
	base    string
	stopped chan struct{} // the agent's turn was cancelled
	seen    chan struct{} // the agent may answer "a little later": what is there until then has been seen
}

func set(value string) devstage.Given { return devstage.Given{Value: value, Source: "the test"} }

const token = "page-token-canary"

// open starts a stage with its page, and arms the gateway. There is no schedule: what a drain leaves that has lost its lease stays
// until somebody arms the gateway.
func open(t *testing.T, settings map[string]devstage.Given) *scene {
	t.Helper()
	s := &scene{stopped: make(chan struct{}, 10), seen: make(chan struct{}, 1)}
	agent := httptest.NewServer(http.HandlerFunc(s.play))
	t.Cleanup(agent.Close)
	built := rigtest.Bootstraps(t)
	all := map[string]devstage.Given{"DORMOUSE_IDLE_AFTER": set("1s"), "DORMOUSE_GIVE_UP_AFTER": set("6s"), "DORMOUSE_OUTBOUND_TIMEOUT": set("1s")}
	maps.Copy(all, settings)
	var err error
	s.stage, err = devstage.Start(t.Context(), devstage.Config{
		Wake: []string{built.Wake}, Drain: []string{built.Drain}, Dir: t.TempDir(), Agent: devstage.Agent{URL: agent.URL}, Schedule: -1,
		Settings: all,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.stage.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	s.machine = page.NewMachine(s.stage, "test")
	t.Cleanup(s.machine.Close)
	server := page.New(page.Config{Model: s.machine.Model(), Acts: s.machine.Acts(), Files: s.machine, Token: token})
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		server.Close()
		web.Close()
	})
	s.base, s.url = web.URL, server.URL(web.URL)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.stage.Arm(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// tellTheEnd prints the last of what connector and functions have said.
func (s *scene) tellTheEnd(t *testing.T) {
	events, _ := s.stage.Log().Since(0)
	for _, e := range events[max(0, len(events)-150):] {
		switch at := e.At.Format("15:04:05.000"); {
		case e.Line != nil:
			t.Log(at, e.Line.From, strings.TrimSpace(e.Line.Text))
		case e.Observation != nil:
			o := e.Observation
			t.Log(at, "connector", o.What, o.Op, o.Chat, o.MessageID, o.BufferID, o.Detail)
		}
	}
}

const (
	dot     = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==" // a PNG
	hostile = `<img src=x onerror="window.pwned=1"><script>window.pwned=2</script> [link](javascript:window.pwned=3) ` +
		"<a href=\"javascript:window.pwned=4\">x</a> \x1b[31mred\x1b[0m \x1b]0;title\x07 \u202eright to left ||<b>spoiler</b>||"
)

// play is the agent.
func (s *scene) play(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var turn agent.Turn
	if json.Unmarshal(body, &turn) != nil || turn.Event == nil {
		http.Error(w, "no turn", http.StatusBadRequest)
		return
	}
	text := turn.Event.Text
	say := func(actions ...map[string]any) { json.NewEncoder(w).Encode(map[string]any{"actions": actions}) }
	send := func(content string) map[string]any { return map[string]any{"op": "send", "content": content} }
	switch {
	case turn.Prompt != nil:
		say(send("You chose " + turn.Prompt.OptionID + "."))
	case len(turn.Media) > 0:
		say(send(fmt.Sprintf("I have %s with %d bytes.", turn.Media[0].Filename, len(turn.Media[0].Data))))
	case strings.HasPrefix(text, "wait"):
		select {
		case <-r.Context().Done():
			s.stopped <- struct{}{}
		case <-time.After(patience):
		}
	case text == "a little later":
		select {
		case <-s.seen:
		case <-time.After(patience):
		}
		say(send("Here I am."))
	case text == "ask me":
		say(map[string]any{"op": "prompt", "prompt_kind": "choice", "content": "Deploy **1.4** to production?", "ref": "r", "options": []map[string]string{
			{"id": "yes", "label": "Deploy", "style": "primary"}, {"id": "no", "label": "Not now", "style": "danger"}}})
	case text == "a file, please":
		png, _ := base64.StdEncoding.DecodeString(dot)
		say(map[string]any{"op": "send_media", "media_kind": "image", "data": png, "mime": "image/png", "filename": "dot.png", "content": "A dot"})
	case text == "no":
		http.Error(w, "not that", http.StatusUnprocessableEntity)
	case text == "evil":
		say(send(hostile))
	case text == "long":
		say(send(strings.Repeat("All work and no play makes a dull bot. ", 120)))
	case text == "a thread":
		say(map[string]any{"op": "thread_create", "thread_name": "Release 1.4"}, map[string]any{"op": "send", "content": "It is out.", "chat_id": map[string]int{"of": 0}})
	case text == "grow":
		w.Header().Set("Content-Type", "application/x-ndjson")
		lines := json.NewEncoder(w)
		for i, words := range []string{"Let me see", "Let me see ... the last build", "Let me see ... the last build is **green**."} {
			action := map[string]any{"op": "edit", "content": words}
			if i == 0 {
				action["op"] = "send"
			}
			lines.Encode(action)
			http.NewResponseController(w).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	default:
		say(send("You said: " + text))
	}
}

// page5000 is one of many messages.
func page5000(n int) page.Message {
	return page.Message{Chat: "whatsapp/120363000000000001@g.us", MID: fmt.Sprint("many-", n), At: float64(time.Now().UnixMilli()), Name: "Joan",
		Text: fmt.Sprintf("message %d%s", n, strings.Repeat(" and more words", n%7))}
}
