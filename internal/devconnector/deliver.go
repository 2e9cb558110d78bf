package devconnector

import (
	"encoding/base64"
	"encoding/json"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Deliver hands an event to a gateway, as if a user had written it: live, into the buffer, or to nobody. It returns the
// buffer id, "" if there is none. An unknown gateway gets an instance of its own.
func (c *Connector) Deliver(gateway string, event relay.Event) (id string) {
	raw, err := json.Marshal(event)
	if err != nil {
		panic("devconnector: a relay.Event always marshals: " + err.Error())
	}
	return c.DeliverRaw(gateway, raw)
}

// DeliverRaw is Deliver for an event as it is put into the frame: any bytes, also broken JSON.
func (c *Connector) DeliverRaw(gateway string, event []byte) (id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	inst := c.addressee(gateway)
	if inst == nil {
		return ""
	}
	return inst.deliver(inst.inbound(event))
}

// Forward hands a raw platform request to a gateway. Every other connected instance of its tenant gets it live (section 9).
// It returns the buffer id, "" if there is none.
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

// Interrupt asks every connected gateway to cancel that session's turn. It returns how many were asked: none if the preset
// sends no interrupts.
func (c *Connector) Interrupt(sessionKey, chatID string) (asked int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.preset().Interrupts {
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

// addressee is find for deliveries: it makes an instance for a name that is not known.
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
