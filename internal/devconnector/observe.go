package devconnector

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What happened.
const (
	ObsProvision    = "provision" // Status, Platform; Detail: "issued", "withheld" or the refusal
	ObsEnroll       = "enroll"
	ObsPolicy       = "policy"
	ObsUpload       = "upload"
	ObsRefused      = "refused" // a dial with a bad credential; Detail: "expired" or "unauthorized"
	ObsUpgrade      = "upgrade"
	ObsHello        = "hello"
	ObsDescriptor   = "descriptor"
	ObsBuffered     = "buffered"
	ObsDropped      = "dropped"     // an event for nobody
	ObsLost         = "lost"        // an event written to a ghost
	ObsInbound      = "inbound"     // sent; without BufferID live; Detail "again": a redelivery
	ObsPassthrough  = "passthrough" // likewise
	ObsInterruptIn  = "interrupt_inbound"
	ObsInboundAck   = "inbound_ack"
	ObsAckIgnored   = "ack_ignored" // nothing in flight has that id
	ObsOutbound     = "outbound"    // Size: bytes of its content
	ObsResult       = "outbound_result"
	ObsInterrupt    = "interrupt"
	ObsGoingIdle    = "going_idle"
	ObsGoingIdleAck = "going_idle_ack"
	ObsClosed       = "closed" // Code, By; Detail: the reason
	ObsPoke         = "poke"   // Detail: scheme and host of the wake URL
	ObsPoked        = "poked"  // Status; 0: no answer
	ObsPokeLost     = "poke_lost"
	ObsFault        = "fault"
	ObsBreach       = "breach" // the gateway broke the contract
)

const (
	byGateway   = "gateway"
	byConnector = "connector"
)

// Observation is one thing that happened. It never holds a token, a secret, an event's text or a wake URL's path.
type Observation struct {
	Seq       int       `json:"seq"` // from 1
	At        time.Time `json:"at"`
	What      string    `json:"what"`
	Instance  string    `json:"instance,omitempty"`
	Gateway   string    `json:"gateway,omitempty"`
	Socket    int       `json:"socket,omitempty"` // from 1
	Platform  string    `json:"platform,omitempty"`
	Chat      string    `json:"chat,omitempty"`
	Op        string    `json:"op,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	MessageID string    `json:"message_id,omitempty"`
	BufferID  string    `json:"buffer_id,omitempty"`
	Code      int       `json:"code,omitempty"`
	Status    int       `json:"status,omitempty"`
	Size      int       `json:"size,omitempty"` // bytes
	By        string    `json:"by,omitempty"`   // gateway or connector
	Detail    string    `json:"detail,omitempty"`
}

// Outbound is an action as it came, and what was answered.
type Outbound struct {
	At        time.Time      `json:"at"`
	Gateway   string         `json:"gateway"`
	Socket    int            `json:"socket"`
	RequestID string         `json:"request_id"`
	Repeated  bool           `json:"repeated,omitempty"` // that requestId came before
	Platform  string         `json:"platform,omitempty"`
	BotID     string         `json:"bot_id,omitempty"`
	Op        string         `json:"op"`
	ChatID    string         `json:"chat_id,omitempty"`
	Content   string         `json:"content,omitempty"`
	Metadata  map[string]any `json:"metadata,omitempty"`
	Action    relay.Action   `json:"action"`
	Result    relay.Result   `json:"result"`
	Answered  bool           `json:"answered"` // false: a fault keeps the result back
}

// Ack is an inbound_ack that took an entry out of the buffer.
type Ack struct {
	At       time.Time `json:"at"`
	Gateway  string    `json:"gateway"`
	Socket   int       `json:"socket"`
	BufferID string    `json:"buffer_id"`
}

// Hello is one hello frame.
type Hello struct {
	At       time.Time `json:"at"`
	Gateway  string    `json:"gateway"`
	Socket   int       `json:"socket"`
	Platform string    `json:"platform"`
	BotID    string    `json:"bot_id,omitempty"`
	Manifest bool      `json:"manifest,omitempty"` // it carried a command_manifest
}

// Idle is one going_idle frame.
type Idle struct {
	At       time.Time `json:"at"`
	Gateway  string    `json:"gateway"`
	Socket   int       `json:"socket"`
	Acked    bool      `json:"acked"`     // false: a fault keeps the ack back, and nothing flipped
	InFlight int       `json:"in_flight"` // entries without an ack at that moment
}

// Interrupt is an interrupt frame from the gateway.
type Interrupt struct {
	At         time.Time `json:"at"`
	Gateway    string    `json:"gateway"`
	SessionKey string    `json:"session_key"`
	Reason     string    `json:"reason,omitempty"`
}

// Provision is one request to /relay/provision.
type Provision struct {
	At          time.Time `json:"at"`
	Gateway     string    `json:"gateway"`
	Platform    string    `json:"platform"`
	BotID       string    `json:"bot_id,omitempty"`
	Instance    string    `json:"instance,omitempty"`  // instanceId as it came
	WakeHost    string    `json:"wake_host,omitempty"` // scheme and host of wakeUrl
	DisplayName string    `json:"display_name,omitempty"`
	RouteKeys   []string  `json:"route_keys,omitempty"`
	Status      int       `json:"status"`
	Issued      bool      `json:"issued"` // the answer carried a secret
}

// Policy is one request to /relay/policy.
type Policy struct {
	At                 time.Time `json:"at"`
	Gateway            string    `json:"gateway"`
	Platform           string    `json:"platform"`
	RequireAddress     bool      `json:"requireAddress"`
	FreeResponseScopes []string  `json:"freeResponseScopes"`
	AllowOtherBots     bool      `json:"allowOtherBots"`
}

// Poke is one request to a wake URL.
type Poke struct {
	At       time.Time `json:"at"`
	Instance string    `json:"instance"`
	Host     string    `json:"host"`             // scheme and host
	Status   int       `json:"status,omitempty"` // of the answer; 0: none yet
	Failed   bool      `json:"failed,omitempty"` // no answer came
}

// Socket is one accepted upgrade.
type Socket struct {
	ID      int       `json:"id"` // from 1
	At      time.Time `json:"at"`
	Gateway string    `json:"gateway,omitempty"` // empty: refused
	Open    bool      `json:"open"`
	Code    int       `json:"code,omitempty"` // how it closed; 1006: without a close frame
	Reason  string    `json:"reason,omitempty"`
	By      string    `json:"by,omitempty"` // gateway or connector
}

// Instance is what sleeps, as it is now.
type Instance struct {
	ID        string   `json:"id"`
	Tenant    string   `json:"tenant,omitempty"`
	Gateways  []string `json:"gateways"`
	WakeHost  string   `json:"wake_host,omitempty"` // scheme and host
	Connected bool     `json:"connected"`           // a socket that has its descriptor
	Ghost     bool     `json:"ghost,omitempty"`
	Flipped   bool     `json:"flipped"`
	Revoked   bool     `json:"revoked,omitempty"`
	Buffered  int      `json:"buffered"`  // entries without an ack
	InFlight  int      `json:"in_flight"` // of these, sent on the present socket
	Live      int      `json:"live"`      // events sent without a buffer id
	Dropped   int      `json:"dropped"`   // events for nobody
	Lost      int      `json:"lost"`      // events written to a ghost
}

// State is a snapshot. Its lists are in order and complete; do not change what is in them.
type State struct {
	Preset     string      `json:"preset"`
	Instances  []Instance  `json:"instances"`
	Sockets    []Socket    `json:"sockets"`
	Hellos     []Hello     `json:"hellos"`
	Acks       []Ack       `json:"acks"`
	Outbounds  []Outbound  `json:"outbounds"`
	Interrupts []Interrupt `json:"interrupts"`
	Idles      []Idle      `json:"going_idles"`
	Pokes      []Poke      `json:"pokes"`
	Provisions []Provision `json:"provisions"`
	Policies   []Policy    `json:"policies"`
	Breaches   []string    `json:"breaches"`

	Observations []Observation `json:"-"`
}

// Instance returns the instance with that id or gateway, the only one for "", or a zero Instance.
func (s State) Instance(name string) Instance {
	for _, inst := range s.Instances {
		if inst.ID == name || slices.Contains(inst.Gateways, name) || name == "" && len(s.Instances) == 1 {
			return inst
		}
	}
	return Instance{}
}

// Count says how often something happened.
func (s State) Count(what string) (n int) {
	for _, o := range s.Observations {
		if o.What == what {
			n++
		}
	}
	return n
}

// records is what a State is made of. Lists that only grow are handed out as they are, the others copied.
type records struct {
	log        []Observation
	sockets    []Socket // changes
	hellos     []Hello
	acks       []Ack
	outbounds  []Outbound
	interrupts []Interrupt
	idles      []Idle
	pokes      []Poke // changes
	provisions []Provision
	policies   []Policy
	breaches   []string
}

// State returns a snapshot.
func (c *Connector) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state()
}

func (c *Connector) state() State {
	s := State{
		Preset:       c.cfg.Preset.Name,
		Sockets:      slices.Clone(c.sockets),
		Hellos:       slices.Clip(c.hellos),
		Acks:         slices.Clip(c.acks),
		Outbounds:    slices.Clip(c.outbounds),
		Interrupts:   slices.Clip(c.interrupts),
		Idles:        slices.Clip(c.idles),
		Pokes:        slices.Clone(c.pokes),
		Provisions:   slices.Clip(c.provisions),
		Policies:     slices.Clip(c.policies),
		Breaches:     slices.Clip(c.breaches),
		Observations: slices.Clip(c.log),
	}
	for _, i := range c.order {
		s.Instances = append(s.Instances, Instance{
			ID: i.id, Tenant: i.tenant, Gateways: slices.Clone(i.gateways), WakeHost: host(i.wakeURL),
			Connected: i.open(), Ghost: i.ghost(), Flipped: i.flipped, Revoked: i.revoked,
			Buffered: len(i.byID), InFlight: i.inFlight, Live: i.live, Dropped: i.dropped, Lost: i.lost,
		})
	}
	return s
}

// Outbounds returns every action so far.
func (c *Connector) Outbounds() []Outbound { return c.State().Outbounds }

// Acks returns every ack that counted.
func (c *Connector) Acks() []Ack { return c.State().Acks }

// Pokes returns every poke.
func (c *Connector) Pokes() []Poke { return c.State().Pokes }

// Sockets returns every accepted upgrade.
func (c *Connector) Sockets() []Socket { return c.State().Sockets }

// Buffered says how many entries wait for an instance's ack, in flight or not.
func (c *Connector) Buffered(gateway string) int { return c.State().Instance(gateway).Buffered }

// Wait returns nil once ok holds. It looks at once and then after each change, without polling; ok must not call the
// Connector's methods. The error wraps ctx's.
func (c *Connector) Wait(ctx context.Context, ok func(State) bool) error {
	for {
		c.mu.Lock()
		state, changed := c.state(), c.change()
		c.mu.Unlock()
		if ok(state) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("devconnector: what was waited for has not happened: %w", ctx.Err())
		}
	}
}

// change returns a channel that the next change closes. Call with c.mu held.
func (c *Connector) change() <-chan struct{} {
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

// touch wakes whoever waits for a change. Call with c.mu held.
func (c *Connector) touch() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// observe notes that something happened. Call with c.mu held.
func (c *Connector) observe(o Observation) {
	o.Seq, o.At = len(c.log)+1, time.Now()
	c.log = append(c.log, o)
	c.touch()
}

func (c *Connector) recordProvision(p Provision, fault string) {
	p.At = time.Now()
	c.provisions = append(c.provisions, p)
	detail := fault
	switch {
	case p.Issued:
		detail = "issued"
	case fault == "":
		detail = "withheld"
	}
	c.observe(Observation{What: ObsProvision, Gateway: p.Gateway, Platform: p.Platform, Status: p.Status, Detail: detail})
}

// report tells the observer, outside of the lock, so that it may call us.
func (c *Connector) report() {
	defer close(c.done)
	for next := 0; ; {
		c.mu.Lock()
		fresh, changed, finished := c.log[next:], c.change(), c.finished
		c.mu.Unlock()
		for _, o := range fresh {
			c.cfg.Observe(o)
		}
		next += len(fresh)
		if len(fresh) > 0 {
			continue
		}
		if finished {
			return
		}
		<-changed
	}
}
