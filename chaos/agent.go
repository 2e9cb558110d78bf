package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// lines are what the agent answers to a message, each a send of its own: as one whole answer, or as a stream.
func (m message) lines() (lines []string, streamed bool) {
	switch m.number % 10 {
	case 3:
		return []string{m.id(), m.id() + " and more"}, false
	case 7, 9:
		return []string{m.id(), m.id() + " and more"}, true
	}
	return []string{m.id()}, false
}

func (r *run) serveAgent(w http.ResponseWriter, req *http.Request) {
	asked := time.Now()
	var t agent.Turn
	if err := json.NewDecoder(req.Body).Decode(&t); err != nil {
		return // cut off with its process
	}
	io.Copy(io.Discard, req.Body)
	r.mu.Lock()
	r.seen["turns asked of the agent"]++
	if !r.calm.Load() {
		r.seen["turns asked of it in the storm"]++
	}
	kept, ok := r.history.kept[t.Delivery.Key]
	if ok && kept.Before(asked) && !r.frozen { // one that wakes up late may ask before it knows that it has lost
		r.wrong = append(r.wrong, fmt.Sprintf("%s: the agent is asked although its answer is kept", t.Event.MessageID))
	}
	r.mu.Unlock()
	if r.lucky("agent slow", r.weather.slowTurn) {
		time.Sleep(r.between(50, 600))
	}
	switch {
	case r.lucky("agent kills the process", r.weather.killTurn):
		r.host.Kill(rig.Drain)
		panic(http.ErrAbortHandler)
	case r.lucky("agent answers 500", r.weather.failTurn/2):
		w.WriteHeader(http.StatusInternalServerError)
	case r.lucky("agent answers nonsense", r.weather.failTurn/2):
		io.WriteString(w, "nonsense")
	default:
		r.answer(w, t)
	}
}

// answer answers whole or line by line. In a stream that was cut short it goes on behind the lines that certainly arrived.
func (r *run) answer(w http.ResponseWriter, t agent.Turn) {
	var m message
	fmt.Sscanf(t.Event.MessageID, "%d-%d", &m.session, &m.number)
	lines, streamed := m.lines()
	if !streamed {
		var actions []relay.Action
		for _, line := range lines {
			actions = append(actions, relay.Action{"op": "send", "content": line})
		}
		json.NewEncoder(w).Encode(map[string]any{"actions": actions})
		return
	}
	for _, sent := range t.Delivery.Sent {
		if sent.MessageID != "" && len(lines) > 0 {
			lines = lines[1:]
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	for _, line := range lines {
		fmt.Fprintf(w, "{\"text\":%q}\n", line)
		http.NewResponseController(w).Flush()
		if r.lucky("agent slow within a stream", r.weather.slowTurn) {
			time.Sleep(r.between(50, 600))
		}
		if r.lucky("agent breaks off a stream", r.weather.failTurn/2) {
			panic(http.ErrAbortHandler)
		}
	}
}
