package devconnector

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// frame is every member that a gateway's frame may have (section 5).
type frame struct {
	Type       string          `json:"type"`
	Platform   string          `json:"platform"`
	BotID      string          `json:"botId"`
	Manifest   json.RawMessage `json:"command_manifest"`
	RequestID  string          `json:"requestId"`
	Action     json.RawMessage `json:"action"`
	BufferID   json.RawMessage `json:"bufferId"`
	SessionKey string          `json:"session_key"`
	Reason     *string         `json:"reason"`
}

// decodeFrame wants names spelled exactly. encoding/json also takes them in upper case, which would hide a gateway's
// mistake.
func decodeFrame(line []byte) (frame, bool) {
	var f frame
	// Escaped lone surrogates are valid JSON and come with text that was cut.
	err := jsonv2.Unmarshal(line, &f, jsontext.AllowInvalidUTF8(true))
	if err != nil || line[0] != '{' || !utf8.Valid(line) {
		return frame{}, false
	}
	return f, true
}

// handle takes one frame from the gateway.
func (s *socket) handle(line []byte) {
	f, ok := decodeFrame(line)
	if !ok {
		s.breach("malformed frame")
		return
	}
	switch f.Type {
	case relay.TypeHello:
		s.hello(f)
	case relay.TypeOutbound:
		s.outbound(f)
	case relay.TypeInboundAck:
		s.inboundAck(f)
	case relay.TypeGoingIdle:
		s.goingIdle()
	case relay.TypeInterrupt:
		record := Interrupt{At: time.Now(), Gateway: s.gateway, SessionKey: f.SessionKey}
		if f.Reason != nil {
			record.Reason = *f.Reason
		}
		s.c.interrupts = append(s.c.interrupts, record)
		s.observe(Observation{What: ObsInterrupt})
	default:
		s.breach("unknown frame type")
	}
}

// breach notes that the gateway did something that the contract does not have.
func (s *socket) breach(what string) {
	s.c.breaches = append(s.c.breaches, what)
	s.observe(Observation{What: ObsBreach, Detail: what})
	if s.c.preset().ErrorFrames {
		s.send(map[string]string{"type": "error", "error": what})
	}
}

func (s *socket) observe(o Observation) {
	o.Gateway, o.Socket = s.gateway, s.id
	if s.inst != nil {
		o.Instance = s.inst.id
	}
	s.c.observe(o)
}

// hello answers a descriptor. The socket's first one ends the buffered-only flip and starts the drain (section 12).
func (s *socket) hello(f frame) {
	s.bots[f.Platform] = f.BotID
	s.c.hellos = append(s.c.hellos, Hello{At: time.Now(), Gateway: s.gateway, Socket: s.id, Platform: f.Platform,
		BotID: f.BotID, Manifest: len(f.Manifest) > 0})
	s.observe(Observation{What: ObsHello, Platform: f.Platform, Detail: s.register(f)})
	if s.c.faults.withholdDescriptor > 0 {
		s.c.faults.withholdDescriptor--
		return
	}
	first := !s.described
	s.described = true
	s.send(map[string]any{"type": relay.TypeDescriptor, "descriptor": s.c.preset().descriptor(f.Platform)})
	s.observe(Observation{What: ObsDescriptor, Platform: f.Platform})
	s.inst.sinceHello = 0
	if first {
		for _, line := range s.c.preset().OddFrames {
			s.enqueue(outgoing{data: []byte(line + "\n")})
		}
		s.inst.flipped = false
	}
	s.inst.pump()
}

// inboundAck removes the entry, so that the next one can be sent. An id that is not in flight changes nothing (section 19).
func (s *socket) inboundAck(f frame) {
	var id string
	if json.Unmarshal(f.BufferID, &id) != nil {
		s.observe(Observation{What: ObsAckIgnored})
		s.breach("inbound_ack whose bufferId is not a string")
		return
	}
	if s.c.faults.ignoreAcks > 0 {
		s.c.faults.ignoreAcks--
		s.observe(Observation{What: ObsAckIgnored, BufferID: id})
		return
	}
	if !s.inst.ack(id) {
		known := s.inst.issued[id]
		o := Observation{What: ObsAckIgnored}
		if known {
			o.BufferID = id
		}
		s.observe(o)
		if !known {
			s.breach("inbound_ack of an unknown bufferId")
		}
		return
	}
	s.c.acks = append(s.c.acks, Ack{At: time.Now(), Gateway: s.gateway, Socket: s.id, BufferID: id})
	s.observe(Observation{What: ObsInboundAck, BufferID: id})
	s.inst.pump()
}

// goingIdle flips the instance, if the preset does so, and acks (section 12).
func (s *socket) goingIdle() {
	c := s.c
	withheld := c.faults.withholdIdleAck != 0
	c.idles = append(c.idles, Idle{At: time.Now(), Gateway: s.gateway, Socket: s.id, Acked: !withheld,
		InFlight: s.inst.inFlight})
	s.observe(Observation{What: ObsGoingIdle})
	if withheld {
		if c.faults.withholdIdleAck > 0 {
			c.faults.withholdIdleAck--
		}
		return
	}
	if c.preset().FlipOnIdle {
		s.inst.flipped = true
	}
	s.after(c.faults.delayIdleAck, func() {
		s.send(map[string]string{"type": relay.TypeGoingIdleAck})
		s.observe(Observation{What: ObsGoingIdleAck})
	})
}

// after runs do now if d is 0, else d later if the socket is still there.
func (s *socket) after(d time.Duration, do func()) {
	if d <= 0 {
		do()
		return
	}
	s.c.later(d, func() {
		if !s.detached {
			do()
		}
	})
}
