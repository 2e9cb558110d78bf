package page

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// States of a delivery, as a page has them.
const (
	WayBuffered = "buffered"     // the connector keeps it
	WaySent     = "sent"         // it is on its way to the gateway, or was lost on it
	WayNobody   = "lost"         // the connector had nobody to give it to
	WayKept     = "journalled"   // the gateway has it
	WayAsked    = "asked"        // its turn runs
	WayAnswered = "answered"     // something of its answer is in the chat
	WaySilent   = "said nothing" // its turn is over, and nothing was said
	WayDone     = "done"         // it needed no turn, such as a command to stop
	WayStopped  = "stopped"
	WayWaiting  = "waiting"
	WayDead     = "dead"
	WayDropped  = "dropped"
	WaySeen     = "seen before" // it repeats another
)

// Step is one thing that happened to a delivery.
type Step struct {
	At   float64 `json:"at"`
	Text string  `json:"text"`
	Bad  bool    `json:"bad,omitempty"`
}

// Done is an action of its answer, and what became of it.
type Done struct {
	Op      string  `json:"op"`
	Request string  `json:"request,omitempty"`
	At      float64 `json:"at"`
	Outcome string  `json:"outcome"` // ok, unknown, refused, waits
	Class   string  `json:"class,omitempty"`
	Error   string  `json:"error,omitempty"`
	MID     string  `json:"mid,omitempty"`
	Content string  `json:"content,omitempty"`
	Tries   int     `json:"tries,omitempty"`
}

// Way is a delivery, from the buffer to its finish.
type Way struct {
	ID       string  `json:"id"` // delivery-, and a number
	Key      string  `json:"key,omitempty"`
	Chat     string  `json:"chat,omitempty"`
	MID      string  `json:"mid,omitempty"`
	Name     string  `json:"name,omitempty"`
	Text     string  `json:"text"`
	At       float64 `json:"at"`
	State    string  `json:"state"`
	Why      string  `json:"why,omitempty"`
	Next     float64 `json:"next,omitempty"` // when it is tried again
	Buffer   string  `json:"buffer,omitempty"`
	Attempts int     `json:"attempts,omitempty"`
	Actions  int     `json:"actions,omitempty"`
	Repeats  int     `json:"repeats,omitempty"`  // deliveries of it that were recognised
	Replayed string  `json:"replayed,omitempty"` // the id of the way that this one repeats
	With     string  `json:"with,omitempty"`     // the id of the way whose turn is its turn, too
}

// way is a Way with what only its own page shows.
type way struct {
	Way
	steps     []Step
	done      []Done
	exchanges []Exchange
	event     json.RawMessage
	forward   bool   // event is a raw request of the platform
	members   []*way // the others of its turn
	touched   time.Time
}

// ways are the deliveries that a Model knows.
type ways struct {
	m        *Model
	all      map[string]*way
	byKey    map[string]*way
	byBuffer map[string]*way
	order    []*way
	said     map[string]devconnector.Outbound // by request id
	early    map[string][]devstage.Exchange   // by key, of ways that are not known by theirs yet
	number   int
}

func (w *ways) init(m *Model) {
	*w = ways{m: m, all: map[string]*way{}, byKey: map[string]*way{}, byBuffer: map[string]*way{}, said: map[string]devconnector.Outbound{},
		early: map[string][]devstage.Exchange{}}
}

func (w *ways) show(x *way) {
	for _, member := range x.members { // what becomes of one becomes of all
		member.State, member.Why, member.Next, member.Attempts = x.State, x.Why, x.Next, x.Attempts
		w.show(member)
	}
	w.m.entries.put(KindWay, x.ID, x.Way)
	first := w.all[x.Replayed]
	if x.Chat == "" || x.MID == "" || first != nil && first.MID == x.MID { // the message is the first one's
		return
	}
	w.m.changeLocked(x.Chat+"/"+x.MID, func(msg *Message) { msg.State, msg.Key = x.State, x.ID })
}

func (w *ways) begin(at time.Time) *way {
	w.number++
	x := &way{Way: Way{ID: fmt.Sprintf("delivery-%d", w.number), At: ms(at), State: WaySent}}
	w.all[x.ID] = x
	w.order = append(w.order, x)
	if len(w.order) > most[KindWay] {
		old := w.order[0]
		w.order = w.order[1:]
		delete(w.all, old.ID)
		delete(w.byKey, old.Key)
		delete(w.byBuffer, old.Buffer)
	}
	return x
}

func (x *way) step(at time.Time, bad bool, format string, args ...any) {
	x.touched = at
	x.steps = append(x.steps, Step{ms(at), fmt.Sprintf(format, args...), bad})
}

// delivering shows something that is about to be handed to the connector, and returns its id. replayed is the id of what it
// repeats.
func (m *Model) delivering(at time.Time, message Message, event json.RawMessage, forward bool, replayed string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	x := m.ways.begin(at)
	x.Chat, x.MID, x.Name, x.Text = message.Chat, message.MID, message.Name, shorten(cmp.Or(message.Text, message.Note), 200)
	x.event, x.forward, x.Replayed = event, forward, replayed
	m.ways.show(x)
	return x.ID
}

// delivered notes under which id the connector has buffered it.
func (m *Model) delivered(id, buffer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x := m.ways.all[id]; x != nil && buffer != "" {
		x.Buffer = buffer
		m.ways.byBuffer[buffer] = x
	}
}

// find finds the newest way of a message that has no key of the journal yet.
func (w *ways) find(mid, buffer string) *way {
	if x := w.byBuffer[buffer]; x != nil && buffer != "" {
		return x
	}
	for _, x := range slices.Backward(w.order) {
		if mid != "" && x.MID == mid && x.Key == "" {
			return x
		}
	}
	return nil
}

// observe takes what the connector has seen.
func (w *ways) observe(o devconnector.Observation) {
	x := w.find(o.MessageID, o.BufferID)
	if x == nil && o.BufferID != "" && o.What == devconnector.ObsBuffered {
		x = w.begin(o.At) // somebody else's delivery, such as a fault's
		x.MID, x.Text = o.MessageID, "a message of "+cmp.Or(o.Chat, "nobody's chat")
	}
	if x == nil {
		return
	}
	if o.BufferID != "" && x.Buffer == "" {
		x.Buffer = o.BufferID
		w.byBuffer[o.BufferID] = x
	}
	switch o.What {
	case devconnector.ObsBuffered:
		x.step(o.At, false, "the connector buffers it as %s", o.BufferID)
		x.advance(WayBuffered)
	case devconnector.ObsInbound, devconnector.ObsPassthrough:
		how := "live, without a buffer id"
		if o.BufferID != "" {
			how = strings.TrimSpace("from the buffer, as " + o.BufferID + " " + o.Detail)
		}
		x.step(o.At, false, "it goes to the gateway, %s", how)
		x.advance(WaySent)
	case devconnector.ObsDropped, devconnector.ObsLost:
		x.step(o.At, true, "%s: %s", o.What, cmp.Or(o.Detail, "nobody got it"))
		x.advance(WayNobody)
	case devconnector.ObsInboundAck:
		x.step(o.At, false, "the gateway acks %s: the connector forgets it", o.BufferID)
	default:
		return
	}
	w.show(x)
}

// ranks order the states before a turn: what is told late changes nothing.
var ranks = map[string]int{WaySent: 1, WayBuffered: 2, WayNobody: 3, WayKept: 4, WayAsked: 5}

// advance goes on to an earlier state than the turn's end, unless the delivery is past it.
func (x *way) advance(state string) {
	now, known := ranks[x.State]
	switch {
	case state == WaySent && x.State == WayBuffered: // it leaves the buffer
	case !known || ranks[state] < now:
		return
	}
	x.State = state
}

// outbound remembers an action, for the line that says whose it is.
func (w *ways) outbound(o devconnector.Outbound) {
	if o.RequestID == "" || o.Op == "typing" {
		return
	}
	if len(w.said) > most[KindMessage] {
		clear(w.said)
	}
	w.said[o.RequestID] = o
}

// log takes a line of a function's log that is about a delivery.
func (w *ways) log(l *LogLine) {
	key, _, _ := strings.Cut(l.Delivery, "/") // of a turn of results: its message's
	if key == "" {
		return
	}
	x := w.byKey[key]
	if first := slices.Contains([]string{logs.Journalled, logs.SeenRunning, logs.SeenEnded, logs.SetAside}, l.Msg); first || x == nil {
		x = w.identified(l, key, x)
	}
	w.tell(x, l)
	w.show(x)
}

// identified finds the delivery that a key belongs to, by the ids that the other sides know it by.
func (w *ways) identified(l *LogLine, key string, known *way) *way {
	found := w.find(l.text(logs.KeyMessageID), l.text(logs.KeyBufferID))
	switch {
	case found == nil && known != nil:
		return known
	case found == nil:
		found = w.begin(l.At)
		found.MID, found.Text = l.text(logs.KeyMessageID), cmp.Or(l.text(logs.KeySession), "a message")
	}
	if known != nil && known != found { // a repeat of it
		known.Repeats++
		known.step(l.At, false, "it came again: %s", l.Msg)
		w.show(known)
		found.Replayed = cmp.Or(found.Replayed, known.ID)
		found.Key = key
		return found
	}
	found.Key = key
	w.byKey[key] = found
	for _, e := range w.early[key] {
		found.exchange(e)
	}
	delete(w.early, key)
	return found
}

// outcome notes what became of an action.
func (x *way) outcome(l *LogLine, outcome string, said devconnector.Outbound) {
	d := Done{
		Op: l.text(logs.KeyOp), Request: l.text(logs.KeyRequest), At: ms(l.At), Outcome: outcome, Class: l.text(logs.KeyClass),
		Error: l.Error, MID: cmp.Or(l.text(logs.KeyMessageID), said.MessageID), Content: shorten(said.Content, 300), Tries: 1,
	}
	if i := slices.IndexFunc(x.done, func(other Done) bool { return d.Request != "" && other.Request == d.Request }); i >= 0 {
		before := x.done[i]
		d.Tries, d.Class, d.Error = before.Tries, cmp.Or(d.Class, before.Class), cmp.Or(d.Error, before.Error)
		if outcome != "waits" {
			d.Tries++
		}
		if outcome == "ok" {
			d.Class, d.Error = "", ""
		}
		x.done[i] = d
		return
	}
	x.done = append(x.done, d)
	x.Actions = len(x.done)
}

// decode reads an event or an interaction as the gateway does.
func decode(raw json.RawMessage, forward bool) (*relay.Event, error) {
	if !forward {
		return relay.DecodeEvent(raw)
	}
	return (&relay.Forward{Platform: "discord", Body: raw}).Interaction()
}
