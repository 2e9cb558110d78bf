package page

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// tell is what a log line says of a delivery.
func (w *ways) tell(x *way, l *LogLine) {
	said := w.said[l.text(logs.KeyRequest)]
	switch l.Msg {
	case logs.Journalled:
		x.step(l.At, false, "journalled under its key")
		x.advance(WayKept)
	case logs.SeenEnded, logs.SeenRunning:
		x.step(l.At, false, "%s (the first is %s)", l.Msg, l.text(logs.KeyState))
		x.State, x.Why = WaySeen, l.Msg
	case logs.Turn:
		x.Attempts = int(l.number(logs.KeyAttempt))
		x.step(l.At, false, "its turn starts: attempt %d", x.Attempts)
		x.State, x.Why, x.Next = WayAsked, "", 0
	case logs.TurnStopped:
		x.step(l.At, false, "stopped by a person")
		x.State = WayStopped
	case logs.Reply:
		x.outcome(l, "ok", said)
		w.replied(x, l)
	case logs.OutcomeUnknown:
		x.outcome(l, "unknown", said)
		x.step(l.At, true, "%s: %s", l.text(logs.KeyOp), l.Msg)
		x.State = WayAnswered
	case logs.ActionRefused:
		x.outcome(l, "refused", said)
		x.step(l.At, true, "the connector refuses %s as %s: %s", l.text(logs.KeyOp), l.text(logs.KeyClass), l.Error)
	case logs.ActionWaits:
		x.outcome(l, "waits", said)
		x.wait(l, cmp.Or(lastError(x), "the connector refused it for now"))
	case logs.AgentUnavailable, logs.AttemptFailed:
		x.step(l.At, true, "%s: %s", l.Msg, l.Error)
		x.wait(l, l.Error)
	case logs.Dead, logs.SetAside:
		x.step(l.At, true, "dead: %s", cmp.Or(l.Error, l.text(logs.KeyReason)))
		x.State, x.Why, x.Next = WayDead, cmp.Or(l.Error, l.text(logs.KeyReason)), 0
	default:
		if l.Level == "WARN" || l.Level == "ERROR" {
			x.step(l.At, true, "%s", strings.Trim(l.Msg+": "+l.Error, ": "))
		}
	}
}

// replied is an action that the connector has carried out.
func (w *ways) replied(x *way, l *LogLine) {
	op, mid := l.text(logs.KeyOp), l.text(logs.KeyMessageID)
	if op == "typing" || op == "react" {
		return
	}
	x.step(l.At, false, "%s is in the chat", op)
	if x.State != WayStopped && x.State != WayDead {
		x.State = WayAnswered
	}
	if mid != "" {
		w.m.changeLocked(x.Chat+"/"+mid, func(msg *Message) { msg.Key = x.ID })
	}
}

func (x *way) wait(l *LogLine, why string) {
	x.State, x.Why = WayWaiting, why
	if in, err := time.ParseDuration(l.text(logs.KeyIn)); err == nil {
		x.Next = ms(l.At.Add(in))
	}
}

func lastError(x *way) string {
	for _, d := range slices.Backward(x.done) {
		if d.Error != "" {
			return d.Error
		}
	}
	return ""
}

// WayPage is all that is known of a delivery.
type WayPage struct {
	Way
	Steps     []Step          `json:"steps"`
	Done      []Done          `json:"done"`
	Exchanges []Exchange      `json:"exchanges"`
	Event     json.RawMessage `json:"event,omitempty"`
	Forward   bool            `json:"forward,omitempty"` // the event is a raw request of the platform
	Lines     []LogLine       `json:"lines"`
	Curl      string          `json:"curl,omitempty"` // puts its last turn to the agent
}

// Way returns all that is known of a delivery, by the id of its Way or by its key.
func (m *Model) Way(id string) (p WayPage, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := cmp.Or(m.ways.all[id], m.ways.byKey[id])
	if x == nil {
		return p, false
	}
	exchanges := x.exchanges
	if leader := m.ways.all[x.With]; leader != nil {
		exchanges = leader.exchanges
	}
	p = WayPage{
		Way: x.Way, Steps: append([]Step{}, x.steps...), Done: append([]Done{}, x.done...),
		Exchanges: append([]Exchange{}, exchanges...), Event: x.event, Forward: x.forward,
		Lines: m.linesOf(func(l *LogLine) bool { return x.Key != "" && strings.HasPrefix(l.Delivery, x.Key) }),
	}
	if n := len(exchanges); n > 0 && m.about.Agent != "" {
		p.Curl = curl(m.about.Agent, exchanges[n-1].Turn)
	}
	return p, true
}

// DrainLines returns the log lines of a drain, by its id.
func (m *Model) DrainLines(id string) ([]LogLine, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.life.drains[id]
	if d == nil {
		return nil, false
	}
	return m.linesOf(func(l *LogLine) bool { return d.Request != "" && l.Request == d.Request }), true
}

// Exchange is one request to the agent.
type Exchange struct {
	ID      int             `json:"id"`
	At      float64         `json:"at"`
	MS      float64         `json:"ms"` // 0: it goes on
	FirstMS float64         `json:"first_ms,omitempty"`
	Attempt int             `json:"attempt"`
	Turn    json.RawMessage `json:"turn"`
	Status  int             `json:"status"` // 0: no answer
	Type    string          `json:"type,omitempty"`
	Answer  string          `json:"answer"`
	Cut     bool            `json:"cut,omitempty"`
	Error   string          `json:"error,omitempty"`
}

// Exchange tells of a request to the agent that has begun, been answered or ended.
func (m *Model) Exchange(e devstage.Exchange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key, _, _ := strings.Cut(e.Key, "/")
	x := m.ways.byKey[key]
	if x != nil {
		m.ways.join(x, e)
	}
	if e.Ended.IsZero() || e.Trial {
		return
	}
	if x == nil { // its log line is on the way
		m.ways.early[key] = append(m.ways.early[key], e)
		return
	}
	x.exchange(e)
	m.ways.show(x)
}

// join notes which messages are one turn: that of the last one.
func (w *ways) join(leader *way, e devstage.Exchange) {
	var turn struct {
		Events []struct {
			MessageID string `json:"message_id"`
		} `json:"events"`
	}
	if len(leader.members) > 0 || json.Unmarshal(e.Turn, &turn) != nil || len(turn.Events) < 2 {
		return
	}
	for _, event := range turn.Events[:len(turn.Events)-1] {
		for _, x := range slices.Backward(w.order) {
			if x.MID == event.MessageID && x.MID != "" && x.Key != "" && x != leader && x.With == "" && x.State != WaySeen {
				x.With = leader.ID
				x.step(e.Began, false, "it is one turn with %d others", len(turn.Events)-1)
				leader.members = append(leader.members, x)
				break
			}
		}
	}
	leader.step(e.Began, false, "it is one turn with %d others that waited", len(turn.Events)-1)
	w.show(leader)
}

func (x *way) exchange(e devstage.Exchange) {
	took := e.Ended.Sub(e.Began)
	own := Exchange{
		ID: e.ID, At: ms(e.Began), MS: float64(took.Microseconds()) / 1000, Attempt: e.Attempt, Turn: e.Turn, Status: e.Status,
		Type: e.ContentType, Answer: string(e.Answer), Cut: e.Cut, Error: e.Error,
	}
	if !e.Answered.IsZero() {
		own.FirstMS = float64(e.Answered.Sub(e.Began).Microseconds()) / 1000
	}
	x.exchanges = append(x.exchanges, own)
	switch {
	case e.Error != "":
		x.step(e.Ended, true, "no whole answer after %d ms: %s", took.Milliseconds(), e.Error)
	default:
		x.step(e.Ended, e.Status/100 != 2, "the agent answers HTTP %d after %d ms", e.Status, took.Milliseconds())
	}
}
