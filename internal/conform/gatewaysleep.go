package conform

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
)

// gatewaySleepChecks are about the buffer, and about going to sleep.
var gatewaySleepChecks = []Check{
	{
		ID: "gateway-ack", Suite: Sleep, Section: 6, Level: Must,
		Sentence: "a buffered message is acked by its id, and answered",
		Quote:    "The reference sends `inbound_ack` after its handler returns, for every inbound frame whose `bufferId` is not empty",
		gateway: func(g *subject) error {
			m, err := g.buffered(nil)
			if err != nil {
				return err
			}
			if err := g.acked(m.buffer); err != nil {
				return err
			}
			_, err = g.answer(m)
			return err
		},
	},
	{
		ID: "gateway-once", Suite: Sleep, Section: 6, Level: Must,
		Sentence: "a message that comes twice is answered once",
		Quote:    "also for duplicates that it drops",
		gateway:  checkGatewayOnce,
	},
	{
		ID: "gateway-again", Suite: Sleep, Section: 6, Level: Must,
		Sentence: "a message whose ack was lost comes again on the next socket, is acked again, and is not answered again",
		Quote:    "A failed ack is ignored, and the entry comes again.",
		gateway:  checkGatewayAgain,
	},
	{
		ID: "gateway-order", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "each of several buffered messages is acked, those of a chat in their order",
		Quote:    "After a reconnect the connector drains its buffer in order, one entry per ack (ack-gated), and then goes live.",
		gateway:  checkGatewayOrder,
	},
	{
		ID: "gateway-idle", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "a gateway that leaves by itself has had its going_idle acked before",
		Quote:    "never stop without the ack",
		needs:    needs{slow: true},
		gateway:  checkGatewayIdle,
	},
	{
		ID: "gateway-wake", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "a gateway that has gone to sleep and is poked dials, and answers what waits",
		Quote:    "be able to\n  reconnect on a wake",
		needs:    needs{slow: true},
		gateway:  checkGatewayWake,
	},
	{
		ID: "gateway-idle-unacked", Suite: Sleep, Section: 12, Level: Must,
		Sentence: "a gateway whose going_idle is not acked does not leave for it",
		Quote:    "Without the ack it stays connected, returns false and does not sleep.",
		needs:    needs{slow: true},
		gateway:  checkGatewayIdleUnacked,
	},
}

func checkGatewayOnce(g *subject) error {
	g.c.Duplicate(1)
	m, err := g.buffered(nil)
	if err != nil {
		return err
	}
	if _, err := g.answer(m); err != nil {
		return err
	}
	g.quiet(g.cfg.Quiet)
	if n := len(sends(g.c.State(), m)); n > 1 {
		return fmt.Errorf("%d answers", n)
	}
	return nil
}

func checkGatewayIdle(g *subject) error {
	last, err := g.leaves()
	if err != nil {
		return err
	}
	for _, idle := range g.c.State().Idles {
		if idle.Socket == last.ID && idle.Acked {
			return nil
		}
	}
	return fmt.Errorf("socket %d ended by %s with %d, without going_idle", last.ID, last.By, last.Code)
}

// leaves waits until the gateway has gone by itself, and returns its last socket.
func (g *subject) leaves() (last devconnector.Socket, err error) {
	if _, _, err := g.exchange(); err != nil {
		return last, err
	}
	if !g.until(g.cfg.Leave, func(s devconnector.State) bool {
		last = s.Sockets[len(s.Sockets)-1]
		return !last.Open && !s.Instance(g.cfg.Gateway).Connected
	}) {
		return last, &skipped{fmt.Sprintf("it does not sleep: it is connected after %v", g.cfg.Leave)}
	}
	return last, nil
}

func checkGatewayAgain(g *subject) error {
	g.c.IgnoreAcks(1)
	defer g.c.IgnoreAcks(0)
	m, err := g.buffered(nil)
	if err != nil {
		return err
	}
	if !g.until(g.cfg.Redial, func(s devconnector.State) bool {
		return slices.ContainsFunc(s.Observations, func(o devconnector.Observation) bool {
			return o.What == devconnector.ObsAckIgnored && o.BufferID == m.buffer
		})
	}) {
		return fmt.Errorf("no inbound_ack of %s within %v", m.buffer, g.cfg.Redial)
	}
	g.until(g.cfg.Wait, func(s devconnector.State) bool { return len(sends(s, m)) > 0 }) // what it has to say is not cut off
	if err := g.cut(); err != nil {
		return err
	}
	if err := g.acked(m.buffer); err != nil {
		return fmt.Errorf("again: %w", err)
	}
	if _, err := g.answer(m); err != nil {
		return err
	}
	g.quiet(g.cfg.Quiet)
	if n := len(sends(g.c.State(), m)); n > 1 {
		return fmt.Errorf("%d answers", n)
	}
	return nil
}

func checkGatewayOrder(g *subject) error {
	if err := g.idle(); err != nil {
		return err
	}
	one, other := g.newChat(), g.newChat()
	var ids []string
	for _, chat := range []string{one, one, other, one} {
		ids = append(ids, g.writeIn(chat, nil).buffer)
	}
	if err := g.resume(); err != nil {
		return err
	}
	if ids[0] == "" {
		return &skipped{"the connector buffers nothing"}
	}
	for _, id := range ids {
		if err := g.acked(id); err != nil {
			return err
		}
	}
	var order []string
	for _, ack := range g.c.State().Acks {
		if slices.Contains(ids, ack.BufferID) && ack.BufferID != ids[2] {
			order = append(order, ack.BufferID)
		}
	}
	if want := []string{ids[0], ids[1], ids[3]}; !slices.Equal(order, want) {
		return fmt.Errorf("acked %v, not %v", order, want)
	}
	return nil
}

func checkGatewayWake(g *subject) error {
	if _, err := g.leaves(); err != nil {
		return err
	}
	pokes := len(g.c.State().Pokes)
	m := g.write(nil)
	if m.buffer == "" {
		return &skipped{"the connector buffers nothing"}
	}
	_, err := g.answer(m)
	if err != nil && len(g.c.State().Pokes) == pokes {
		return &skipped{"the connector sent no poke"}
	}
	return err
}

func checkGatewayIdleUnacked(g *subject) error {
	g.c.WithholdIdleAck(1)
	defer g.c.WithholdIdleAck(0)
	last, err := g.leaves()
	if err != nil {
		return err
	}
	said := false
	for _, idle := range g.c.State().Idles {
		if idle.Socket == last.ID && idle.Acked {
			return nil
		}
		said = said || idle.Socket == last.ID
	}
	if !said {
		return &skipped{"it said no going_idle: gateway-idle says so"}
	}
	return errors.New("it left although its going_idle was not acked")
}
