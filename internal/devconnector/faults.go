package devconnector

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// PokeLoss is a way in which a poke never comes (section 19).
type PokeLoss string

const (
	LostInCooldown PokeLoss = "cooldown" // suppressed, as if one had gone out a moment ago
	LostInFlip     PokeLoss = "flip"     // the event is buffered without a poke, as between going_idle and the socket's end
	LostByFailure  PokeLoss = "failed"   // it is answered 500 on the way, and counts as sent
)

// faults are those that act on something later; all others act at once. c.mu guards them.
type faults struct {
	withholdSecret     bool
	garbage            bool
	losePoke           PokeLoss
	downUntil          time.Time
	withholdDescriptor int
	withholdIdleAck    int // negative: all
	duplicate          int
	ignoreAcks         int
	chop               int
	delayResults       time.Duration
	delayOp            string // whose results; empty: all
	delayIdleAck       time.Duration
	refuse             []*Refusing
	unanswered         opFault
}

// opFault applies to the next n actions of an op. "" is any op, and a negative n means all.
type opFault struct {
	op string
	n  int
}

func (f *opFault) take(op string) bool {
	if f.n == 0 || f.op != "" && f.op != op {
		return false
	}
	if f.n > 0 {
		f.n--
	}
	return true
}

func (f *faults) takePokeLoss() PokeLoss {
	way := f.losePoke
	f.losePoke = ""
	return way
}

// Drop cuts the gateway's socket without a close frame.
func (c *Connector) Drop(gateway string) error {
	return c.onSocket("drop", gateway, func(s *socket) { s.cut() })
}

// Kick closes the gateway's socket with a code and a reason. Nothing else changes: the next dial is accepted.
func (c *Connector) Kick(gateway string, code int, reason string) error {
	return c.onSocket("kick", gateway, func(s *socket) { s.kick(code, reason) })
}

// Expire closes the gateway's socket with 4401 "expired", as a connector does when the token has expired.
func (c *Connector) Expire(gateway string) error {
	return c.onSocket("expire", gateway, func(s *socket) { s.kick(4401, reasonExpired) })
}

// Revoke closes the gateway's socket as the preset says and refuses its dials, its provisioning and its other requests
// until Restore.
func (c *Connector) Revoke(gateway string) error {
	return c.onInstance("revoke", gateway, func(i *instance) {
		i.revoked = true
		if i.sock != nil {
			i.sock.kick(c.preset().RevokedCode, c.preset().RevokedReason)
		}
	})
}

// Restore ends what Revoke, Suspend and Ghost have begun.
func (c *Connector) Restore(gateway string) error {
	return c.onInstance("restore", gateway, func(i *instance) {
		i.revoked = false
		i.suspendedUntil, i.ghostUntil = time.Time{}, time.Time{}
	})
}

// Suspend closes the gateway's socket with 1013, and for d also every new one.
func (c *Connector) Suspend(gateway string, d time.Duration) error {
	return c.onInstance("suspend", gateway, func(i *instance) {
		i.suspendedUntil = time.Now().Add(d)
		if i.sock != nil {
			i.sock.kick(1013, "suspended")
		}
	})
}

// Ghost cuts the gateway's socket, but for d the connector behaves as if it were alive: dials are closed with 1008, live
// events are lost, and no poke is sent (section 19; real connectors do so for up to 91 s).
func (c *Connector) Ghost(gateway string, d time.Duration) error {
	return c.onInstance("ghost", gateway, func(i *instance) {
		i.ghostUntil = time.Now().Add(d)
		if i.sock != nil {
			i.sock.cut()
		}
		c.later(d, func() { // its end is a change: Wait looks again, and what waits may be poked for
			c.touch()
			if c.preset().Poke == PokeWaiting {
				i.pokeWhileWaiting()
			}
		})
	})
}

// Forget makes every secret of the gateway invalid, as if the connector had lost or rotated them: dials are refused until
// the gateway provisions or enrolls again.
func (c *Connector) Forget(gateway string) error {
	return c.onInstance("forget", gateway, func(i *instance) {
		for _, id := range i.gateways {
			c.gateways[id].secrets = []rotated{{value: randomSecret()}}
		}
	})
}

// Oversize delivers an event whose text has size bytes, as Deliver does.
func (c *Connector) Oversize(gateway string, size int) error {
	return c.onInstance("oversize", gateway, func(i *instance) {
		const form = `{"text":%q,"message_id":"oversize-%d","source":` +
			`{"platform":"relay","chat_id":"oversize","chat_type":"dm","user_id":"oversize"}}`
		event := fmt.Appendf(nil, form, strings.Repeat("x", size), size)
		i.deliver(i.inbound(event))
	})
}

// Duplicate sends the next n deliveries twice.
func (c *Connector) Duplicate(n int) { c.set("duplicate", func(f *faults) { f.duplicate = n }) }

// SendGarbage sends every line of Garbage before the next delivery.
func (c *Connector) SendGarbage() { c.set("garbage", func(f *faults) { f.garbage = true }) }

// DelayIdleAck delays every going_idle_ack by d, but not the flip; 0 ends it.
func (c *Connector) DelayIdleAck(d time.Duration) {
	c.set("delay_idle_ack", func(f *faults) { f.delayIdleAck = d })
}

// WithholdIdleAck ignores the next n going_idle: there is neither flip nor ack. Negative: all; 0 ends it.
func (c *Connector) WithholdIdleAck(n int) {
	c.set("withhold_idle_ack", func(f *faults) { f.withholdIdleAck = n })
}

// WithholdDescriptor does not answer the next n hellos.
func (c *Connector) WithholdDescriptor(n int) {
	c.set("withhold_descriptor", func(f *faults) { f.withholdDescriptor = n })
}

// WithholdSecret, while on, makes provisioning answer secretIssued:false for gateway ids that have a secret already.
func (c *Connector) WithholdSecret(on bool) {
	c.set("withhold_secret", func(f *faults) { f.withholdSecret = on })
}

// LeaveUnanswered applies the next n actions of an op and never answers them. "" is any op. Negative: all; 0 ends it.
func (c *Connector) LeaveUnanswered(op string, n int) {
	c.set("unanswered", func(f *faults) { f.unanswered = opFault{op, n} })
}

// LosePoke loses the next poke that would be sent.
func (c *Connector) LosePoke(way PokeLoss) { c.set("lose_poke", func(f *faults) { f.losePoke = way }) }

func (c *Connector) set(name string, change func(*faults)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.faults)
	c.observe(Observation{What: ObsFault, Detail: name})
}

func (c *Connector) onInstance(name, gateway string, do func(*instance)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	inst, err := c.find(gateway)
	if err != nil {
		return err
	}
	inst.observe(Observation{What: ObsFault, Detail: name})
	do(inst)
	return nil
}

func (c *Connector) onSocket(name, gateway string, do func(*socket)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	inst, err := c.find(gateway)
	if err != nil {
		return err
	}
	if inst.sock == nil {
		return fmt.Errorf("devconnector: %s: %s is not connected", name, inst.id)
	}
	inst.observe(Observation{What: ObsFault, Detail: name})
	do(inst.sock)
	return nil
}

// Fault is a fault by name, for the control API. What a fault does not need is ignored.
type Fault struct {
	Name    string  `json:"name"`
	Gateway string  `json:"gateway"`
	Count   int     `json:"count"`   // default 1; negative: all
	Seconds float64 `json:"seconds"` // default 90 for ghost, suspend and down, else 0
	Size    int     `json:"size"`    // bytes; default 5 MiB
	Code    int     `json:"code"`    // default 1011
	Reason  string  `json:"reason"`
	Op      string  `json:"op"`    // default any
	Chat    string  `json:"chat"`  // default any
	Class   string  `json:"class"` // for refuse: one of RefusalClasses; Seconds is the time to wait that the refusal names
	After   int     `json:"after"` // for refuse: how many actions pass first
	Way     string  `json:"way"`   // cooldown, flip or failed
	Off     bool    `json:"off"`   // ends a fault that lasts
}

var faultsByName = map[string]func(*Connector, Fault) error{
	"drop":                func(c *Connector, f Fault) error { return c.Drop(f.Gateway) },
	"kick":                func(c *Connector, f Fault) error { return c.Kick(f.Gateway, f.Code, f.Reason) },
	"expire":              func(c *Connector, f Fault) error { return c.Expire(f.Gateway) },
	"revoke":              func(c *Connector, f Fault) error { return c.Revoke(f.Gateway) },
	"restore":             func(c *Connector, f Fault) error { return c.Restore(f.Gateway) },
	"suspend":             func(c *Connector, f Fault) error { return c.Suspend(f.Gateway, f.duration(90)) },
	"ghost":               func(c *Connector, f Fault) error { return c.Ghost(f.Gateway, f.duration(90)) },
	"take_for_idle":       func(c *Connector, f Fault) error { return c.TakeForIdle(f.Gateway) },
	"forget":              func(c *Connector, f Fault) error { return c.Forget(f.Gateway) },
	"oversize":            func(c *Connector, f Fault) error { return c.Oversize(f.Gateway, f.Size) },
	"ignore_acks":         func(c *Connector, f Fault) error { c.IgnoreAcks(f.Count); return nil },
	"chop":                func(c *Connector, f Fault) error { c.Chop(f.Count); return nil },
	"duplicate":           func(c *Connector, f Fault) error { c.Duplicate(f.Count); return nil },
	"garbage":             func(c *Connector, f Fault) error { c.SendGarbage(); return nil },
	"delay_results":       func(c *Connector, f Fault) error { c.DelayResultsOf(f.Op, f.duration(0)); return nil },
	"delay_idle_ack":      func(c *Connector, f Fault) error { c.DelayIdleAck(f.duration(0)); return nil },
	"withhold_idle_ack":   func(c *Connector, f Fault) error { c.WithholdIdleAck(f.Count); return nil },
	"withhold_descriptor": func(c *Connector, f Fault) error { c.WithholdDescriptor(f.Count); return nil },
	"withhold_secret":     func(c *Connector, f Fault) error { c.WithholdSecret(!f.Off); return nil },
	"refuse": func(c *Connector, f Fault) error {
		return c.RefuseAs(Refusing{
			Class: f.Class, Op: f.Op, Chat: f.Chat, After: f.After, Count: f.Count, RetryAfter: f.duration(0),
		})
	},
	"down":       func(c *Connector, f Fault) error { c.Down(f.duration(90)); return nil },
	"restart":    func(c *Connector, _ Fault) error { c.Restart(); return nil },
	"unanswered": func(c *Connector, f Fault) error { c.LeaveUnanswered(f.Op, f.Count); return nil },
	"lose_poke": func(c *Connector, f Fault) error {
		if way := PokeLoss(f.Way); slices.Contains([]PokeLoss{LostInCooldown, LostInFlip, LostByFailure}, way) {
			c.LosePoke(way)
			return nil
		}
		return fmt.Errorf("devconnector: lose_poke: no way %q: take one of cooldown, flip, failed", f.Way)
	},
}

// FaultNames lists what Inject takes.
func FaultNames() []string {
	names := make([]string, 0, len(faultsByName))
	for name := range faultsByName {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Inject calls the method of that name. The error for an unknown name lists the known ones.
func (c *Connector) Inject(f Fault) error {
	do := faultsByName[f.Name]
	if do == nil {
		return fmt.Errorf("devconnector: no fault %q: take one of %s", f.Name, strings.Join(FaultNames(), ", "))
	}
	if f.Count == 0 {
		f.Count = 1
	}
	if f.Code == 0 {
		f.Code = 1011
	}
	if f.Size == 0 {
		f.Size = 5 << 20
	}
	if f.Off {
		f.Count, f.Seconds = 0, 0
	}
	return do(c, f)
}

func (f Fault) duration(preset float64) time.Duration {
	if f.Seconds == 0 && !f.Off {
		f.Seconds = preset
	}
	return time.Duration(f.Seconds * float64(time.Second))
}

// garbageIDs are the buffer ids within Garbage. A gateway may ack them, so that they do not come again.
var garbageIDs = []string{"garbage-1", "garbage-2", "garbage-3", "garbage-4", "garbage-5"}

var garbage = []string{
	`{`,
	`}`,
	`not json at all`,
	`null`,
	`true`,
	`42`,
	`"inbound"`,
	`[]`,
	`[{"type":"inbound","event":{}}]`,
	`{}`,
	`{"type":null}`,
	`{"type":7}`,
	`{"type":"no_such_frame","event":{}}`,
	`{"type":"inbound"`,
	`{"type":"inbound","event":{"text":"cut off`,
	`{"type":"inbound","event":[],"bufferId":"garbage-1"}`,
	`{"type":"inbound","event":"hello","bufferId":"garbage-2"}`,
	`{"type":"inbound","event":{"text":"x","source":[]},"bufferId":"garbage-3"}`,
	`{"type":"inbound","event":null,"bufferId":"garbage-4"}`,
	`{"type":"passthrough_forward","forward":7,"bufferId":"garbage-5"}`,
	`{"type":"passthrough_forward"}`,
	`{"type":"inbound","event":{},"bufferId":{"not":"an id"}}`,
	`{"type":"descriptor","descriptor":"none"}`,
	`{"type":"descriptor"}`,
	`{"type":"outbound_result","requestId":7,"result":{}}`,
	`{"type":"outbound_result","requestId":"nobody-asked","result":[]}`,
	`{"type":"interrupt_inbound","session_key":{},"chat_id":[]}`,
	`{"type":"inbound","event":{},}`,
	"{\"type\":\"inbound\",\"event\":{\"text\":\"\xff\xfe\"",
	"\x00\x01\x02",
	strings.Repeat(`{"type":`, 200),
}

// Garbage returns more than two dozen lines, without their newlines, that a gateway must survive.
func Garbage() []string { return slices.Clone(garbage) }

func (s *socket) sendGarbage() {
	for _, id := range garbageIDs {
		s.inst.issued[id] = true
	}
	for _, line := range garbage {
		s.enqueue(outgoing{data: []byte(line + "\n")})
	}
}
