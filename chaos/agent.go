package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
	m := r.askedAbout(t, asked)
	if m == nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	if r.lucky("agent slow", r.weather.slowTurn) {
		time.Sleep(r.between(50, 600))
	}
	switch {
	case m.kind == hopeless:
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
	case m.kind.streamed():
		r.stream(w, t, m)
	default:
		json.NewEncoder(w).Encode(map[string]any{"actions": m.actions()})
	}
}

// askedAbout checks a turn, and finds the message that it is about.
func (r *run) askedAbout(t agent.Turn, asked time.Time) *message {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen["turns asked of the agent"]++
	if !r.calm.Load() {
		r.seen["turns asked of it in the storm"]++
	}
	wrong := func(format string, args ...any) {
		r.wrong = append(r.wrong, t.Event.MessageID+": "+fmt.Sprintf(format, args...))
	}
	m := r.byID[t.Event.MessageID]
	if m == nil {
		wrong("the agent is asked about what nobody wrote")
		return nil
	}
	if lack := m.lacks(t); lack != "" {
		wrong("%s", lack)
	}
	if r.stoppedAround(asked) { // a process that wakes up late may ask before it knows that it has lost
		return m
	}
	for what, at := range map[string]time.Time{
		"its answer is kept": r.history.kept[m.key], "it is finished": r.history.finished[m.key], "it is dead": r.history.dead[m.key],
	} {
		if !at.IsZero() && at.Before(asked) {
			wrong("the agent is asked although %s", what)
		}
	}
	return m
}

// lacks says what a turn lacks of its message; empty: nothing.
func (m *message) lacks(t agent.Turn) string {
	switch {
	case m.kind == pressed && (t.Prompt == nil || t.Prompt.Ref != m.asked || t.Prompt.OptionID != "yes"):
		return fmt.Sprintf("the answer to a question comes as %+v", t.Prompt)
	case m.attached && (len(t.Media) != 1 || t.Media[0].Error == "" && string(t.Media[0].Data) != attachment):
		return fmt.Sprintf("a file comes as %+v", t.Media)
	case len(t.Event.Text) < m.padding:
		return fmt.Sprintf("%d bytes of text come as %d", m.padding, len(t.Event.Text))
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

// stream answers piece by piece. If an attempt before was cut short, it goes on behind what has certainly arrived.
func (r *run) stream(w http.ResponseWriter, t agent.Turn, m *message) {
	arrived := 0
	for _, sent := range t.Delivery.Sent {
		if sent.MessageID != "" {
			arrived++
		}
	}
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
