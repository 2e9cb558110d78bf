package conform

import (
	"fmt"
	"strconv"
	"strings"
)

// inTurn takes n buffered messages, each after the ack of the one before it, and then no more.
func (p *peer) inTurn(n int) error {
	for i := range n {
		if _, err := p.acks(i + 1); err != nil {
			return err
		}
	}
	return p.silent("once more")
}

func checkIdleHello(t *trial) error {
	p, err := t.idler()
	if err != nil {
		return err
	}
	if err := t.write(t.chat(), "message 1"); err != nil {
		return err
	}
	if f, ok := p.await(t.cfg.Quiet, p.isOurs); ok && f.line != "" {
		return &skipped{"it is not idle after going_idle_ack: idle-flip says so"}
	}
	if err := p.answersHello("going_idle_ack"); err != nil {
		return err
	}
	return p.silent("after a further hello")
}

func checkUnsaid(t *trial) error {
	p, err := t.calm()
	if err != nil {
		return err
	}
	p.leave()
	t.pause(t.cfg.Quiet) // until the connector knows
	if err := t.write(t.chat(), "message 1"); err != nil {
		return err
	}
	if p, err = t.connect(); err != nil {
		return err
	}
	_, err = p.acks(1)
	return err
}

func checkFlip(t *trial) error {
	p, err := t.idler()
	if err != nil {
		return err
	}
	if err := t.write(t.chat(), "message 1"); err != nil {
		return err
	}
	return p.silent("after going_idle_ack")
}

func checkWindow(t *trial) error {
	p, err := t.idler()
	if err != nil {
		return err
	}
	if err := t.write(t.chat(), "message 1"); err != nil {
		return err
	}
	if f, ok := p.await(t.cfg.Quiet, p.isOurs); ok && f.bufferID() == "" {
		return nil // idle-flip says so; it is not lost
	}
	p.leave()
	if p, err = t.connect(); err != nil {
		return err
	}
	return p.inTurn(1)
}

func checkGated(t *trial) error {
	chat := t.chat()
	p, err := t.buffered(chat, chat, t.chat())
	if err != nil {
		return err
	}
	f, err := p.takes(1)
	if err != nil {
		return err
	}
	t.facts.note("buffer-id", f.bufferID())
	t.facts.note("in-flight", inFlightOne)
	if early := p.early(); len(early) > 0 {
		t.facts.note("in-flight", inFlightChat)
		for _, other := range early {
			if _, of := other.said(); of == chat {
				t.facts.note("in-flight", inFlightMany)
			}
			p.ack(other.bufferID())
		}
		return fmt.Errorf("%d more came before the ack of message 1", len(early))
	}
	p.ack(f.bufferID())
	return p.rest(2, 3)
}

// early takes the messages of this trial that come while none has to.
func (p *peer) early() (list []frame) {
	for {
		f, ok := p.await(p.t.cfg.Quiet, p.isOurs)
		if !ok {
			return list
		}
		list = append(list, f)
	}
}

// rest takes and acks the messages from one number to another.
func (p *peer) rest(from, to int) error {
	for n := from; n <= to; n++ {
		if _, err := p.acks(n); err != nil {
			return err
		}
	}
	return nil
}

func checkLiveAgain(t *trial) error {
	p, err := t.buffered(t.chat())
	if err != nil {
		return err
	}
	if err := p.inTurn(1); err != nil {
		return err
	}
	if err := t.write(t.chat(), "message 2"); err != nil {
		return err
	}
	f, err := p.inbound()
	if id := f.bufferID(); id != "" {
		p.ack(id)
	}
	return err
}

func checkAcked(t *trial) error {
	p, err := t.buffered(t.chat())
	if err != nil {
		return err
	}
	if err := p.inTurn(1); err != nil {
		return err
	}
	p.leave()
	if p, err = t.connect(); err != nil {
		return err
	}
	return p.silent("again after its ack")
}

func checkAgain(t *trial) error {
	p, err := t.buffered(t.chat())
	if err != nil {
		return err
	}
	first, err := p.takes(1)
	if err != nil {
		return err
	}
	p.cut()
	_, again, err := t.again("the cut")
	if err != nil {
		return err
	}
	if again.bufferID() != first.bufferID() {
		return fmt.Errorf("it came as %q and again as %q", first.bufferID(), again.bufferID())
	}
	return nil
}

// again connects once more and takes and acks message 1, which came before what.
func (t *trial) again(what string) (*peer, frame, error) {
	p, err := t.connect()
	if err != nil {
		return nil, frame{}, err
	}
	f, err := p.acks(1)
	if err != nil {
		return nil, frame{}, fmt.Errorf("after %s: %w", what, err)
	}
	return p, f, nil
}

func checkWrongAck(t *trial) error {
	p, err := t.buffered(t.chat(), t.chat())
	if err != nil {
		return err
	}
	first, err := p.takes(1)
	if err != nil {
		return err
	}
	p.ack("conform-no-such")
	p.ack(first.bufferID() + " ")
	p.send(`{"type":"inbound_ack"}`)
	if _, err := strconv.ParseUint(first.bufferID(), 10, 53); err == nil {
		p.send(`{"type":"inbound_ack","bufferId":%s}`, strings.TrimLeft(first.bufferID(), "0"))
	}
	p.await(t.cfg.Quiet, func(frame) bool { return false })
	p.leave()
	p, _, err = t.again("acks of other ids")
	if err != nil {
		return err
	}
	_, err = p.acks(2)
	return err
}

func checkIdleFirst(t *trial) error {
	p, err := t.buffered(t.chat(), t.chat())
	if err != nil {
		return err
	}
	f, err := p.takes(1)
	if err != nil {
		return err
	}
	if err := p.idle(); err != nil {
		return err
	}
	p.ack(f.bufferID())
	if err := p.silent("after going_idle_ack and the ack of message 1"); err != nil {
		return err
	}
	p.leave()
	if p, err = t.connect(); err != nil {
		return err
	}
	_, err = p.acks(2)
	return err
}
