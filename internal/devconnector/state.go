package devconnector

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// records is what a State is made of. A list that only grows is handed out without a copy; those whose entries change are
// copied.
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
	commands   []Command
}

// State returns a snapshot.
func (c *Connector) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state()
}

func (c *Connector) state() State {
	s := State{
		Preset:       c.preset().Name,
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
		Commands:     slices.Clip(c.commands),
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

// OutboundNumber returns the action that the ObsOutbound of that number is about, from 0. ok is false if there is none.
func (c *Connector) OutboundNumber(n int) (o Outbound, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < 0 || n >= len(c.outbounds) {
		return o, false
	}
	return c.outbounds[n], true
}

// Acks returns every ack that took an entry out of the buffer.
func (c *Connector) Acks() []Ack { return c.State().Acks }

// Pokes returns every poke.
func (c *Connector) Pokes() []Poke { return c.State().Pokes }

// Sockets returns every accepted upgrade.
func (c *Connector) Sockets() []Socket { return c.State().Sockets }

// Buffered says how many entries wait for an instance's ack, whether they are in flight or not.
func (c *Connector) Buffered(gateway string) int { return c.State().Instance(gateway).Buffered }

// Wait blocks until ok returns true, or ctx ends: then the error wraps ctx's. It calls ok at once and after each change;
// ok must not call the Connector's methods.
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
			return fmt.Errorf("devconnector: Wait: its condition did not hold in time: %w", ctx.Err())
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

// touch wakes those that wait for a change. Call with c.mu held.
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

// report calls Config.Observe without holding c.mu, so that Observe may call the Connector.
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
