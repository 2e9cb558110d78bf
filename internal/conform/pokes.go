package conform

import (
	"errors"
	"fmt"
	"time"
)

func checkPoke(t *trial) error {
	t.unpoked()
	if err := t.asleep(); err != nil {
		return err
	}
	if err := t.write(t.chat(), "message 1"); err != nil {
		return err
	}
	poke, ok := t.poked(t.pokeWait())
	if ok {
		t.facts.note("poke", poke)
	}
	switch {
	case !ok:
		return fmt.Errorf("no poke within %v", t.pokeWait())
	case poke.Method != "GET" || poke.Body > 0:
		return fmt.Errorf("a %s with %d bytes", poke.Method, poke.Body)
	}
	return nil
}

func checkPokeOnce(t *trial) error {
	t.unpoked()
	if err := t.asleep(); err != nil {
		return err
	}
	for n := range 3 {
		if err := t.write(t.chat(), fmt.Sprint("message ", n+1)); err != nil {
			return err
		}
	}
	if _, ok := t.poked(t.pokeWait()); !ok {
		return fmt.Errorf("no poke within %v", t.pokeWait())
	}
	began := time.Now()
	t.facts.note("cooldown", t.cfg.Cooldown)
	if _, again := t.poked(t.cfg.Cooldown / 2); again {
		t.facts.note("poke-interval", time.Since(began))
		return fmt.Errorf("a second poke within %v", t.cfg.Cooldown/2)
	}
	return nil
}

func checkPokeOpen(t *trial) error {
	t.unpoked()
	p, err := t.idler()
	if err != nil {
		return err
	}
	if err := t.write(t.chat(), "message 1"); err != nil {
		return err
	}
	if err := p.silent("on the socket, instead of a poke"); err != nil {
		return err
	}
	p.leave()
	if _, ok := t.poked(t.pokeWait()); !ok {
		return fmt.Errorf("no poke within %v", t.pokeWait())
	}
	return nil
}

func checkPokeCooldown(t *trial) error {
	t.unpoked()
	if err := t.asleep(); err != nil {
		return err
	}
	if err := t.write(t.chat(), "message 1"); err != nil {
		return err
	}
	if _, ok := t.poked(t.pokeWait()); !ok {
		return fmt.Errorf("no poke for the first message within %v", t.pokeWait())
	}
	p, err := t.connect()
	if err != nil {
		return err
	}
	if err := p.inTurn(1); err != nil {
		return err
	}
	if err := p.idle(); err != nil {
		return err
	}
	p.leave()
	if err := t.write(t.chat(), "message 2"); err != nil {
		return err
	}
	if _, ok := t.poked(2 * t.cfg.Cooldown); !ok {
		return fmt.Errorf("no poke for a message in the cooldown within %v", 2*t.cfg.Cooldown)
	}
	return nil
}

func checkPokeFailed(t *trial) error {
	t.unpoked()
	t.cfg.Wakes.failing.Store(true)
	t.after = func() { t.cfg.Wakes.failing.Store(false) }
	if err := t.asleep(); err != nil {
		return err
	}
	if err := t.write(t.chat(), "message 1"); err != nil {
		return err
	}
	if _, ok := t.poked(t.pokeWait()); !ok {
		return &skipped{"no poke came that could fail: poke-get says so"}
	}
	t.cfg.Wakes.failing.Store(false)
	if _, ok := t.poked(2 * t.cfg.Cooldown); !ok {
		return fmt.Errorf("no poke after one that was answered 500 within %v", 2*t.cfg.Cooldown)
	}
	return nil
}

func checkPokeConnected(t *trial) error {
	p, err := t.calm()
	if err != nil {
		return err
	}
	t.forgetPokes()
	if err := t.write(t.chat(), "message 1"); err != nil {
		return err
	}
	f, err := p.inbound()
	if err != nil {
		return err
	}
	if id := f.bufferID(); id != "" {
		p.ack(id)
	}
	if _, ok := t.poked(t.cfg.Quiet); ok {
		return errors.New("it was poked")
	}
	return nil
}
