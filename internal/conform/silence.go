package conform

import (
	"errors"
	"fmt"
	"time"
)

// silenceChecks are about sockets that are silent for long, and so are slow.
var silenceChecks = []Check{
	{
		ID: "ping-kept", Suite: Core, Section: 3, Level: Must,
		Sentence: "a socket on which the gateway only answers pings is still there after two minutes",
		Quote:    "It sets a ping every 30 s and a pong deadline of 60 s",
		needs:    needs{slow: true},
		run: func(t *trial) error {
			p, err := t.connect()
			if err != nil {
				return err
			}
			t.pause(t.cfg.Silence)
			t.facts.note("pings", p.pinged.Load())
			return p.answersHello("two silent minutes")
		},
	},
	{
		ID: "seat-frozen", Suite: Core, Section: 19, Level: Must,
		Sentence: "a gateway that dials anew is let in within two minutes, although its old process is frozen and answers no ping",
		Quote:    "a gateway process frozen or killed without a FIN holds the seat for up to 91 s",
		needs:    needs{slow: true},
		run:      checkFrozen,
	},
}

func checkFrozen(t *trial) error {
	old, err := t.connect()
	if err != nil {
		return err
	}
	old.frozen.Store(true)
	for began := time.Now(); time.Since(began) < t.cfg.Silence; t.pause(t.cfg.Silence / 12) {
		p, err := t.dial()
		if err != nil {
			return err
		}
		if p.answersHello("a dial beside a frozen process") == nil {
			return nil
		}
		if p.open() || !takesSeat(p.end) {
			return errors.New(p.end.String())
		}
	}
	return fmt.Errorf("no dial was let in within %v", t.cfg.Silence)
}
