package page

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/prices"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

// The functions by the names that a page has for them.
const (
	wakeName  = "wake"
	drainName = "drain"
	connector = "connector"
	rigWake   = rig.Wake
	rigDrain  = rig.Drain
)

// Cost is what was used so far, and what that costs at list prices.
type Cost struct {
	Dollars       float64 `json:"dollars"`
	Drains        int     `json:"drains,omitempty"`
	Invocations   int     `json:"invocations"`
	Seconds       float64 `json:"seconds"` // of both functions, init included
	InitSeconds   float64 `json:"init_seconds"`
	LingerSeconds float64 `json:"linger_seconds"` // drains that waited for more to come
	Writes        float64 `json:"writes,omitempty"`
	Reads         float64 `json:"reads,omitempty"`
	GBSeconds     float64 `json:"gb_seconds"`
}

// invoked counts an invocation of a function that has memory MB in the template.
func (c *Cost) invoked(r locallambda.Result, memory int) {
	seconds := (r.InitDuration + r.Duration).Seconds()
	c.Invocations++
	c.Seconds += seconds
	c.InitSeconds += r.InitDuration.Seconds()
	c.GBSeconds += prices.GBSeconds(seconds, float64(cmp.Or(r.Memory, memory)))
	c.price()
}

func (c *Cost) add(other Cost) {
	c.Invocations += other.Invocations
	c.Seconds += other.Seconds
	c.InitSeconds += other.InitSeconds
	c.GBSeconds += other.GBSeconds
	c.price()
}

func (c *Cost) price() {
	c.Dollars = prices.Use{GBSeconds: c.GBSeconds, Requests: float64(c.Invocations), Writes: c.Writes, Reads: c.Reads}.Dollars()
}

// UsedTable tells how many units of a table were used so far.
func (m *Model) UsedTable(writes, reads float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &m.life.now.Cost
	c.Writes, c.Reads = writes, reads
	c.price()
	m.life.showNow()
}

// observe marks what the connector has seen of a drain.
func (d *Drain) observe(o devconnector.Observation) {
	mark := func(what, format string, args ...any) {
		d.mark(o.At, connector, what, fmt.Sprintf(format, args...), false)
	}
	switch o.What {
	case devconnector.ObsPoke:
		mark("poke", "poke")
	case devconnector.ObsPoked:
		d.mark(o.At, connector, "poked", poked(o.Status), o.Status/100 != 2)
	case devconnector.ObsProvision:
		mark("provisioned", "provision: %s, %s", o.Platform, o.Detail)
	case devconnector.ObsHello:
		mark("hello", "hello: %s", o.Platform)
	case devconnector.ObsInbound, devconnector.ObsPassthrough:
		d.Received++
		d.work(o.At)
		mark("inbound", "a message goes to the gateway%s", map[bool]string{true: ", live"}[o.BufferID == ""])
	case devconnector.ObsInboundAck:
		d.work(o.At)
		mark("ack", "ack")
	case devconnector.ObsOutbound:
		d.work(o.At)
		if o.Op == "typing" {
			mark("typing", "typing")
			return
		}
		if o.Op != "react" {
			d.Replies++
		}
		mark("reply", "%s", o.Op)
	case devconnector.ObsGoingIdleAck:
		mark("going_idle_ack", "going_idle_ack")
	case devconnector.ObsClosed:
		mark("closed", "closed with %d, by the %s", o.Code, o.By)
	case devconnector.ObsRefused, devconnector.ObsBreach:
		d.mark(o.At, connector, o.What, strings.TrimSpace(o.What+" "+o.Detail), true)
	}
}

func poked(status int) string {
	if status == 0 {
		return "the poke has no answer"
	}
	return fmt.Sprintf("the poke is answered %d", status)
}

// failureOf is why an invocation failed, in a line.
func failureOf(r locallambda.Result) string {
	var fault struct {
		Message string `json:"errorMessage"`
	}
	_ = json.Unmarshal(r.Payload, &fault)
	_, text, found := strings.Cut(fault.Message, " Error: ")
	if !found {
		text = fault.Message
	}
	return text
}

func unmarshal(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		return nil
	}
	return json.Unmarshal(raw, into)
}

// observe takes what the connector has seen.
func (l *life) observe(o devconnector.Observation) {
	switch o.What {
	case devconnector.ObsPoke:
		l.poke(o.At)
	case devconnector.ObsPokeLost:
		if l.run == nil {
			l.become(Asleep, o.At, lostPokes[o.Detail])
		}
	case devconnector.ObsDescriptor:
		l.become(Connected, o.At, "")
	case devconnector.ObsGoingIdle:
		l.become(GoingIdle, o.At, "")
	case devconnector.ObsClosed:
		if l.now.Word == Connected && l.run != nil {
			l.become(Waking, o.At, "the socket ended: drain dials again")
		}
	case devconnector.ObsBuffered:
		l.now.Buffered++
		l.showNow()
	case devconnector.ObsInboundAck:
		l.now.Buffered = max(0, l.now.Buffered-1)
		l.showNow()
	}
	if d := l.run; d != nil {
		d.observe(o)
		l.show(d)
	}
}

func (l *life) poke(at time.Time) {
	if l.run != nil {
		return
	}
	l.run = l.begin(at)
	l.last = l.run
	l.now.Drain = l.run.ID
	l.become(Waking, at, "")
}

// lostPokes say what becomes of a message whose poke was lost.
var lostPokes = map[string]string{
	string(devconnector.LostInCooldown): "a message waits without a poke: the connector had poked a moment ago. A sweep finds it",
	string(devconnector.LostInFlip):     "a message waits without a poke: it came between going_idle and the socket's end. A sweep finds it",
	"ghost":                             "a message waits without a poke: the connector takes a dead socket for alive. A sweep finds it",
	"no wake URL":                       "a message waits without a poke: the connector knows no wake URL yet",
}
