package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// agentServer listens on an address of its own, which nobody else takes while it is away.
type agentServer struct {
	server *http.Server
	addr   string
	wg     sync.WaitGroup

	mu     sync.Mutex
	ln     net.Listener // nil while it is away
	closed bool
}

func newAgentServer(seed uint64, handler http.HandlerFunc) (*agentServer, error) {
	ln, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+seed>>16%254, seed>>8%256, 1+seed%254))
	if err != nil {
		return nil, err
	}
	a := &agentServer{server: &http.Server{Handler: handler}, addr: ln.Addr().String(), ln: ln}
	a.wg.Go(func() { a.server.Serve(ln) })
	return a, nil
}

// leave closes the listener: who connects is refused. Turns that run end.
func (a *agentServer) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ln != nil {
		a.server.SetKeepAlivesEnabled(false)
		a.ln.Close()
		a.ln = nil
	}
}

func (a *agentServer) comeBack() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ln != nil || a.closed {
		return nil
	}
	ln, err := net.Listen("tcp", a.addr)
	if err != nil {
		return err
	}
	a.ln = ln
	a.server.SetKeepAlivesEnabled(true)
	a.wg.Go(func() { a.server.Serve(ln) })
	return nil
}

func (a *agentServer) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.server.Close()
	a.wg.Wait()
}

// awayStatuses are answers of an agent that is not there; 0 is no answer at all.
var awayStatuses = []int{0, 0, 503, 502, 404, 429}

func (r *run) serveAgent(w http.ResponseWriter, req *http.Request) {
	asked := time.Now()
	if status := int(r.awayStatus.Load()); status != 0 {
		w.WriteHeader(status)
		return
	}
	var t agent.Turn
	if err := json.NewDecoder(req.Body).Decode(&t); err != nil {
		return // cut off with its process
	}
	io.Copy(io.Discard, req.Body)
	all := r.askedAbout(t, asked)
	if all == nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	last := len(all) - 1
	m := all[last].together(all[:last])
	if r.lucky("agent slow", r.weather.slowTurn) {
		time.Sleep(r.between(50, 600))
	}
	switch {
	case slices.ContainsFunc(all, (*message).isHopeless):
		w.WriteHeader(http.StatusUnprocessableEntity)
	case r.lucky("agent kills the process", r.weather.killTurn):
		r.host.Kill(rig.Drain)
		panic(http.ErrAbortHandler)
	case r.lucky("agent answers 500", r.weather.failTurn/2):
		r.agentFailed(m)
		w.WriteHeader(http.StatusInternalServerError)
	case r.lucky("agent answers nonsense", r.weather.failTurn/2):
		r.agentFailed(m)
		io.WriteString(w, "nonsense")
	case m.kind == late:
		r.announce(m)
		io.WriteString(w, `{"later":"1h"}`)
	case m.kind.streamed():
		r.stream(w, t, m)
	default:
		json.NewEncoder(w).Encode(map[string]any{"actions": m.actions()})
	}
}

// askedAbout checks a turn, and finds the messages that it is about, which may be several.
func (r *run) askedAbout(t agent.Turn, asked time.Time) (all []*message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen["turns asked of the agent"]++
	if !r.calm.Load() {
		r.seen["turns asked of it in the storm"]++
	}
	wrong := func(format string, args ...any) {
		r.wrong = append(r.wrong, t.Event.MessageID+": "+fmt.Sprintf(format, args...))
	}
	events := t.Events
	if len(events) == 0 {
		events = []*relay.Event{t.Event}
	} else {
		r.seen["turns that are several messages"]++
	}
	for _, e := range events {
		m := r.byID[e.MessageID]
		if m == nil {
			wrong("the agent is asked about what nobody wrote")
			return nil
		}
		all = append(all, m)
	}
	if lack := lacks(all, t); lack != "" {
		wrong("%s", lack)
	}
	if r.stoppedAround(asked) { // a process that wakes up late may ask before it knows that it has lost
		return all
	}
	for _, m := range all {
		for what, at := range map[string]time.Time{
			"its answer is kept": r.history.kept[m.key], "it is finished": r.history.finished[m.key], "it is dead": r.history.dead[m.key],
		} {
			if !at.IsZero() && at.Before(asked) {
				wrong("the agent is asked about %s although %s", m, what)
			}
		}
	}
	return all
}

// lacks says what a turn lacks of its messages; empty: nothing.
func lacks(all []*message, t agent.Turn) string {
	padding, files, m := 0, 0, all[len(all)-1]
	for _, m := range all {
		padding += m.padding
		if m.attached {
			files++
		}
		if !strings.Contains(t.Event.Text, fmt.Sprint(m.number)) && m.kind != pressed {
			return fmt.Sprintf("%s is not in its text", m)
		}
	}
	switch {
	case t.Event.MessageID != m.id():
		return fmt.Sprintf("it is led by %s, not by its last message", t.Event.MessageID)
	case m.kind == pressed && (len(all) > 1 || t.Prompt == nil || t.Prompt.Ref != m.asked || t.Prompt.OptionID != "yes"):
		return fmt.Sprintf("the answer to a question comes as %+v, of %d messages", t.Prompt, len(all))
	case len(t.Media) != files:
		return fmt.Sprintf("%d files come as %d", files, len(t.Media))
	case len(t.Event.Text) < padding:
		return fmt.Sprintf("%d bytes of text come as %d", padding, len(t.Event.Text))
	}
	return lacksFile(t)
}

func lacksFile(t agent.Turn) string {
	for _, file := range t.Media {
		if file.Error == "" && string(file.Data) != attachment {
			return fmt.Sprintf("a file comes as %+v", file)
		}
	}
	return ""
}

func (r *run) agentFailed(m *message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures[m.key]++
}

// actions are a whole answer.
func (m *message) actions() (list []relay.Action) {
	switch m.kind {
	case asking:
		return []relay.Action{{
			"op": "prompt", "prompt_kind": "choice", "content": m.part(0), "ref": m.id(),
			"options": []map[string]string{{"id": "yes", "label": "Yes"}, {"id": "no", "label": "No"}},
		}}
	case filing:
		return []relay.Action{
			{"op": "send_media", "media_kind": "document", "data": []byte(attachment), "mime": "text/plain", "filename": "log.txt",
				"content": m.part(0)},
			{"op": "send", "content": m.part(1)},
		}
	case amended:
		return []relay.Action{{"op": "send", "content": m.part(0)}, {"op": "edit", "content": m.part(1)}}
	}
	for _, text := range m.wants() {
		list = append(list, relay.Action{"op": "send", "content": text})
	}
	return list
}

// stream answers piece by piece. If an attempt before was cut short, it goes on behind what has certainly arrived: not behind
// what has arrived of an answer to others, too.
func (r *run) stream(w http.ResponseWriter, t agent.Turn, m *message) {
	arrived := r.arrived(t, m)
	w.Header().Set("Content-Type", "application/x-ndjson")
	for n := range 2 + int(m.kind-stream) { // a growing one has a part more
		op := "send"
		if m.kind == growing && n > 0 {
			op = "edit"
		} else if n < arrived {
			continue
		}
		fmt.Fprintf(w, "{\"op\":%q,\"content\":%q}\n", op, m.part(n))
		if err := http.NewResponseController(w).Flush(); errors.Is(err, http.ErrAbortHandler) {
			return
		}
		if r.lucky("agent slow within a stream", r.weather.slowTurn) {
			time.Sleep(r.between(50, 600))
		}
		if r.lucky("agent breaks off a stream", r.weather.failTurn/2) {
			r.agentFailed(m)
			panic(http.ErrAbortHandler)
		}
	}
}

// arrived is how many texts of the answer the chat has.
func (r *run) arrived(t agent.Turn, m *message) (n int) {
	if len(t.Delivery.Sent) == 0 {
		return 0
	}
	texts := map[string]string{} // of the platform's messages, as they were sent
	for _, out := range r.connector.Outbounds() {
		if out.Applied && out.Op != "edit" {
			texts[out.MessageID] = out.Content
		}
	}
	for _, sent := range t.Delivery.Sent {
		if _, ok := m.says(texts[sent.MessageID]); ok && sent.MessageID != "" {
			n++
		}
	}
	return n
}
