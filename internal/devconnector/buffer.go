package devconnector

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// instance is one thing that sleeps: a seat, a buffer, a wake URL. c.mu guards all of it.
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
	flipped        bool // buffered for, until the next dial (section 12)

	waiting  []*entry // in order; acked ones go once they are at the front
	byID     map[string]*entry
	next     int             // waiting[:next] has been sent on this socket; stays 0 with a window per chat
	inFlight int             // sent on this socket and not acked
	busy     map[string]bool // chats with an entry in flight
	pending  map[string]int  // unacked entries by chat
	issued   map[string]bool // every buffer id ever given out
	number   int             // of the last entry
	liveSeen int             // live events so far, for LiveSometimes

	lastPoke   time.Time
	pokeAgain  bool      // a repeat of a poke is due
	outboundAt time.Time // when the serial queue of actions is free

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
}

func newInstance(c *Connector, id string) *instance {
	return &instance{c: c, id: id, chats: make(map[string]*chat), byID: make(map[string]*entry),
		busy: make(map[string]bool), pending: make(map[string]int), issued: make(map[string]bool)}
}

// Deliver hands an event to a gateway, as if a user had written it: live, into the buffer, or to nobody. It returns the
// buffer id, "" if there is none. An unknown gateway gets an instance of its own.
func (c *Connector) Deliver(gateway string, event relay.Event) (id string) {
	raw, err := json.Marshal(event)
	if err != nil {
		panic("devconnector: a relay.Event always marshals: " + err.Error())
	}
	return c.DeliverRaw(gateway, raw)
}

// DeliverRaw is Deliver with the event as it is to stand in the frame: any bytes, broken ones too.
func (c *Connector) DeliverRaw(gateway string, event []byte) (id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	inst := c.addressee(gateway)
	if inst == nil {
		return ""
	}
	return inst.deliver(inst.inbound(event))
}

// Forward hands a raw platform request to a gateway, and live to every other connected instance of its tenant
// (section 9). It returns the buffer id, "" if there is none.
func (c *Connector) Forward(gateway string, f relay.Forward) (id string) {
	headers := f.Headers
	if headers == nil {
		headers = [][2]string{}
	}
	body, err := json.Marshal(struct {
		Platform string      `json:"platform"`
		BotID    string      `json:"botId"`
		Method   string      `json:"method"`
		Path     string      `json:"path"`
		Headers  [][2]string `json:"headers"`
		BodyB64  string      `json:"bodyB64"`
		Profile  string      `json:"profile,omitempty"`
	}{f.Platform, f.BotID, f.Method, f.Path, headers, base64.StdEncoding.EncodeToString(f.Body), f.Profile})
	if err != nil {
		panic("devconnector: a relay.Forward always marshals: " + err.Error())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	inst := c.addressee(gateway)
	if inst == nil {
		return ""
	}
	d := delivery{what: ObsPassthrough, member: "forward", body: body}
	for _, other := range c.order {
		if other != inst && other.tenant != "" && other.tenant == inst.tenant && other.open() && !other.flipped {
			d.chat = other.learnInteraction(f)
			other.deliver(d)
		}
	}
	d.chat = inst.learnInteraction(f)
	return inst.deliver(d)
}

// Interrupt asks every connected gateway to cancel that session's turn and returns how many were asked; none where
// the preset never does so.
func (c *Connector) Interrupt(sessionKey, chatID string) (asked int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cfg.Preset.Interrupts {
		return 0
	}
	for _, inst := range c.order {
		if inst.open() {
			inst.sock.send(map[string]string{"type": relay.TypeInterruptIn, "session_key": sessionKey, "chat_id": chatID})
			inst.sock.observe(Observation{What: ObsInterruptIn, Chat: chatID})
			asked++
		}
	}
	return asked
}

// addressee is find for deliveries: a name that nobody has yet becomes an instance.
func (c *Connector) addressee(name string) *instance {
	inst, err := c.find(name)
	if err != nil && name != "" {
		inst = c.gateway(name).inst
	}
	if inst == nil {
		c.observe(Observation{What: ObsDropped, Detail: "several gateways or none, and none was named"})
	}
	return inst
}

// open says whether a socket is there that has its descriptor.
func (i *instance) open() bool { return i.sock != nil && i.sock.described }

// ghost says whether a dead gateway holds the seat.
func (i *instance) ghost() bool { return time.Now().Before(i.ghostUntil) }

func (i *instance) observe(o Observation) {
	o.Instance = i.id
	i.c.observe(o)
}

// seated says whether the connector takes the instance for connected.
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

// deliver decides what becomes of an event (sections 6, 12 and 19).
func (i *instance) deliver(d delivery) (id string) {
	p := &i.c.cfg.Preset
	live := (i.open() || i.ghost()) && !i.flipped
	switch {
	case live && len(i.byID) == 0 && !i.wantsID():
		if i.ghost() {
			i.lost++
			i.observe(Observation{What: ObsLost, Chat: d.chat, MessageID: d.message})
			return ""
		}
		i.live++
		i.sendDelivery(&entry{chat: d.chat, what: d.what, message: d.message, line: d.frame("")})
		return ""
	case live || i.sock != nil || i.flipped || p.BufferUnflipped:
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
	switch i.c.cfg.Preset.LiveIDs {
	case LiveAlways:
		return true
	case LiveSometimes:
		return i.liveSeen%2 == 0
	default:
		return false
	}
}

func (i *instance) buffer(d delivery) (id string) {
	first := len(i.byID) == 0
	i.number++
	id = fmt.Sprintf(i.c.cfg.Preset.BufferIDFormat, i.number)
	e := &entry{id: id, chat: d.chat, what: d.what, message: d.message, line: d.frame(id)}
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
	p := &i.c.cfg.Preset
	at := i.next
	for ; at < len(i.waiting); at++ {
		if p.Window > 0 && i.inFlight >= p.Window || p.WindowPerChat && len(i.busy) == len(i.pending) {
			break
		}
		e := i.waiting[at]
		if e.sent || e.acked || p.WindowPerChat && i.busy[e.chat] {
			continue
		}
		e.sent = true
		i.inFlight++
		i.busy[e.chat] = true
		i.sendDelivery(e)
		e.again = true
	}
	if !p.WindowPerChat { // there, a chat that was passed over has to be looked at again
		i.next = at
	}
}

// sendDelivery puts an entry on the wire, with whatever a fault adds.
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
		i.sock.enqueue(outgoing{data: e.line})
		detail := ""
		if e.again {
			detail = "again"
		}
		i.sock.observe(Observation{What: e.what, Chat: e.chat, MessageID: e.message, BufferID: e.id, Size: len(e.line),
			Detail: detail})
	}
}

// ack takes an entry out of the buffer; false if no such entry is in flight, which changes nothing.
func (i *instance) ack(id string) bool {
	e := i.byID[id]
	if e == nil || !e.sent {
		return false
	}
	delete(i.byID, id)
	delete(i.busy, e.chat)
	if i.pending[e.chat]--; i.pending[e.chat] == 0 {
		delete(i.pending, e.chat)
	}
	i.inFlight--
	e.acked, e.line = true, nil
	for len(i.waiting) > 0 && i.waiting[0].acked {
		i.waiting[0] = nil
		i.waiting = i.waiting[1:]
		i.next = max(i.next-1, 0)
	}
	return true
}

// rewind makes everything unacked unsent again, for the next socket.
func (i *instance) rewind() {
	i.next, i.inFlight = 0, 0
	clear(i.busy)
	for _, e := range i.waiting {
		e.sent = false
	}
}

// inbound makes an event's delivery and notes who writes where, by which actions are routed later (section 10).
func (i *instance) inbound(event []byte) delivery {
	d := delivery{what: ObsInbound, member: "event", body: event}
	var seen struct {
		MessageID any `json:"message_id"`
		Source    struct {
			Platform any `json:"platform"`
			ChatID   any `json:"chat_id"`
			ChatType any `json:"chat_type"`
			ChatName any `json:"chat_name"`
			ScopeID  any `json:"scope_id"`
			UserID   any `json:"user_id"`
		} `json:"source"`
	}
	dec := json.NewDecoder(bytes.NewReader(event))
	dec.UseNumber()
	if dec.Decode(&seen) != nil {
		return d
	}
	src := seen.Source
	d.chat, d.message = text(src.ChatID), text(seen.MessageID)
	i.learn(text(src.Platform), d.chat, text(src.ChatType), text(src.ChatName), text(src.ScopeID), text(src.UserID))
	return d
}

// learnInteraction does the same for a Discord interaction (section 9).
func (i *instance) learnInteraction(f relay.Forward) (chatID string) {
	type user struct {
		ID any `json:"id"`
	}
	var seen struct {
		ChannelID any  `json:"channel_id"`
		GuildID   any  `json:"guild_id"`
		User      user `json:"user"`
		Member    struct {
			User user `json:"user"`
		} `json:"member"`
	}
	if f.Platform != "discord" || json.Unmarshal(f.Body, &seen) != nil {
		return ""
	}
	kind := "dm"
	if text(seen.GuildID) != "" {
		kind = "group"
	}
	author := text(seen.Member.User.ID)
	if author == "" {
		author = text(seen.User.ID)
	}
	i.learn("discord", text(seen.ChannelID), kind, "", text(seen.GuildID), author)
	return text(seen.ChannelID)
}

func (i *instance) learn(platform, id, kind, name, scope, user string) {
	if id == "" {
		return
	}
	known := i.chats[id]
	if known == nil {
		known = &chat{scopes: make(map[string]bool), users: make(map[string]bool)}
		i.chats[id] = known
	}
	for _, fact := range []struct {
		into *string
		now  string
	}{{&known.platform, platform}, {&known.kind, kind}, {&known.name, name}} {
		if fact.now != "" {
			*fact.into = fact.now
		}
	}
	if scope != "" {
		known.scopes[scope] = true
	}
	if user != "" {
		known.users[user] = true
	}
}

// text is a string, or a number's decimal text; anything else is "".
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return ""
	}
}
