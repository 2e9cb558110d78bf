package devconnector

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// instance is what sleeps: it has a seat, a buffer and a wake URL. c.mu guards all of it.
type instance struct {
	c        *Connector
	id       string
	tenant   string
	wakeURL  string
	gateways []string
	chats    map[string]*chat

	sock           *socket // who holds the seat
	ghostUntil     time.Time
	suspendedUntil time.Time
	revoked        bool
	flipped        bool // its events are buffered until the next dial (section 12)

	waiting    []*entry // in order; an acked entry is removed once it is at the front
	byID       map[string]*entry
	next       int              // waiting[:next] has been sent on this socket; stays 0 with a window per chat
	inFlight   int              // sent on this socket and not acked
	busy       map[string]bool  // chats with an entry in flight
	pending    map[string]int   // unacked entries by chat
	turns      map[string]*turn // of chats whose eyes are not off yet, with Preset.TurnLimit
	sinceHello int              // entries sent since the last hello
	forwards   int              // unacked entries that hold up nothing, with Preset.ForwardsPass
	issued     map[string]bool  // every buffer id that was ever used
	number     int              // of the last entry
	liveSeen   int              // live events so far, for LiveSometimes

	lastPoke   time.Time
	pokeAgain  bool      // a repeat of a poke is due
	outboundAt time.Time // when the serial queue of actions is free again

	live, dropped, lost int // frames without a bufferId; events for nobody; events for a ghost
}

// chat is what the connector knows of a chat from the events that it delivered.
type chat struct {
	platform, name, kind string
	scopes, users        map[string]bool
}

type entry struct {
	id, chat, what string
	message        string // message_id, for the observer
	line           []byte
	sent           bool // in flight on the present socket
	again          bool // has been sent before
	acked          bool
	passes         bool // it holds up nothing
}

func newInstance(c *Connector, id string) *instance {
	return &instance{c: c, id: id, chats: make(map[string]*chat), byID: make(map[string]*entry),
		busy: make(map[string]bool), turns: make(map[string]*turn), pending: make(map[string]int), issued: make(map[string]bool)}
}

// open says whether a socket is up and its descriptor was sent.
func (i *instance) open() bool { return i.sock != nil && i.sock.described }

// ghost says whether a dead gateway holds the seat.
func (i *instance) ghost() bool { return time.Now().Before(i.ghostUntil) }

func (i *instance) observe(o Observation) {
	o.Instance = i.id
	i.c.observe(o)
}

// seated says whether the connector believes that the instance is connected.
func (i *instance) seated() bool { return i.sock != nil || i.ghost() }

type delivery struct {
	what, member  string // the frame's observation, and the member that holds body
	body          []byte
	chat, message string
}

// frame makes the line of a delivery; the buffer id comes last.
func (d delivery) frame(bufferID string) []byte {
	body := d.body
	if bytes.ContainsAny(body, "\r\n") { // a frame is one line
		body = []byte(strings.NewReplacer("\r", " ", "\n", " ").Replace(string(body)))
	}
	kind := relay.TypeInbound
	if d.what == ObsPassthrough {
		kind = relay.TypePassthrough
	}
	line := fmt.Appendf(nil, `{"type":%q,%q:%s`, kind, d.member, body)
	if bufferID != "" {
		line = fmt.Appendf(line, `,"bufferId":%q`, bufferID)
	}
	return append(line, '}', '\n')
}

// deliver decides whether an event is sent live, buffered or dropped (sections 6, 12 and 19).
func (i *instance) deliver(d delivery) (id string) {
	p := i.c.preset()
	live := (i.open() || i.ghost()) && !i.flipped
	switch {
	case live && i.holding() == 0 && !i.wantsID():
		if i.ghost() {
			i.lost++
			i.observe(Observation{What: ObsLost, Chat: d.chat, MessageID: d.message})
			return ""
		}
		i.live++
		i.sendDelivery(&entry{chat: d.chat, what: d.what, message: d.message, line: d.frame("")})
		return ""
	case !p.LiveOnly && (live || i.sock != nil || i.flipped || p.BufferUnflipped):
		return i.buffer(d)
	default:
		i.dropped++
		i.observe(Observation{What: ObsDropped, Chat: d.chat, MessageID: d.message,
			Detail: "not connected and not idle"})
		return ""
	}
}

// wantsID says whether the next live frame carries a buffer id.
func (i *instance) wantsID() bool {
	i.liveSeen++
	switch i.c.preset().LiveIDs {
	case LiveAlways:
		return true
	case LiveSometimes:
		return i.liveSeen%2 == 0
	default:
		return false
	}
}

func (i *instance) buffer(d delivery) (id string) {
	first := i.holding() == 0
	i.number++
	id = fmt.Sprintf(i.c.preset().BufferIDFormat, i.number)
	e := &entry{id: id, chat: d.chat, what: d.what, message: d.message, line: d.frame(id),
		passes: i.c.preset().ForwardsPass && d.what == ObsPassthrough}
	if e.passes {
		i.forwards++
	}
	i.makeRoom(e.chat)
	i.waiting = append(i.waiting, e)
	i.byID[id] = e
	i.pending[e.chat]++
	i.issued[id] = true
	i.observe(Observation{What: ObsBuffered, Chat: d.chat, MessageID: d.message, BufferID: id})
	i.pump()
	i.considerPoke(first)
	return id
}

// pump sends what the window allows, in order.
func (i *instance) pump() {
	if !i.open() || i.flipped {
		return
	}
	p := i.c.preset()
	at := i.next
	for ; at < len(i.waiting); at++ {
		if i.full() || p.WindowPerChat && len(i.busy) == len(i.pending) {
			break
		}
		e := i.waiting[at]
		if e.sent || e.acked || p.WindowPerChat && (i.busy[e.chat] || i.turns[e.chat] != nil) {
			continue
		}
		e.sent = true
		i.sinceHello++
		if !e.passes {
			i.inFlight++
		}
		i.busy[e.chat] = true
		i.beginTurn(e.chat)
		i.sendDelivery(e)
		e.again = true
	}
	if !p.WindowPerChat { // with a window per chat, a chat that was skipped has to be looked at again
		i.next = at
	}
}

// sendDelivery sends an entry, and what a fault adds to it.
func (i *instance) sendDelivery(e *entry) {
	faults := &i.c.faults
	if faults.garbage {
		faults.garbage = false
		i.sock.sendGarbage()
	}
	copies := 1
	if faults.duplicate > 0 {
		faults.duplicate--
		copies = 2
	}
	for range copies {
		messages := [][]byte{e.line}
		if faults.chop > 0 {
			faults.chop--
			messages = chopped(e.line)
		}
		for _, message := range messages {
			i.sock.enqueue(outgoing{data: message})
		}
		detail := ""
		if e.again {
			detail = "again"
		}
		i.sock.observe(Observation{What: e.what, Chat: e.chat, MessageID: e.message, BufferID: e.id, Size: len(e.line),
			Detail: detail})
	}
}

// ack takes an entry out of the buffer. It returns false, and changes nothing, if no such entry is in flight.
func (i *instance) ack(id string) bool {
	e := i.byID[id]
	if e == nil || !e.sent {
		return false
	}
	i.forget(e)
	return true
}

// forget takes an entry out of the buffer, whether it is in flight or not.
func (i *instance) forget(e *entry) {
	delete(i.byID, e.id)
	if e.sent {
		delete(i.busy, e.chat)
	}
	if i.pending[e.chat]--; i.pending[e.chat] == 0 {
		delete(i.pending, e.chat)
	}
	switch {
	case e.passes:
		i.forwards--
	case e.sent:
		i.inFlight--
	}
	e.acked, e.line = true, nil
	for len(i.waiting) > 0 && i.waiting[0].acked {
		i.waiting[0] = nil
		i.waiting = i.waiting[1:]
		i.next = max(i.next-1, 0)
	}
}

// full says whether nothing more may be sent for now. What comes live is not held up by HelloLimit: nothing waits beside it.
func (i *instance) full() bool {
	p := i.c.preset()
	return p.Window > 0 && i.inFlight >= p.Window || p.HelloLimit > 0 && i.sinceHello >= p.HelloLimit && len(i.byID) > 1
}

// holding counts the unacked entries that hold up what is behind them.
func (i *instance) holding() int { return len(i.byID) - i.forwards }

// rewind marks every unacked entry as not sent, so that the next socket gets it again.
func (i *instance) rewind() {
	i.next, i.inFlight = 0, 0
	clear(i.busy)
	for _, e := range i.waiting {
		if e.sent && !e.acked {
			delete(i.turns, e.chat) // its turn begins anew
		}
		e.sent = false
	}
}
