// Package demo shows the whole loop on one machine, and carries a chat through it. A connector and both built functions
// run as processes of their own; what they say is recorded, shown as a timeline and checked.
//
// The commands dormouse demo and dormouse chat call Run and Chat. Both start processes and goroutines, and return when all
// of them have ended. They may run side by side. Nothing here reaches AWS or a chat platform.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/rig"
)

const demoTime = time.Minute

// Config says what the demonstration starts, and how it is shown.
type Config struct {
	Functions string   // folder with wake/bootstrap and drain/bootstrap
	Connector []string // the command that is dormouse connector; flags are put behind it
	Color     bool
	Ledger    ledger.Operator // of Gateway, for Chat: where env says that drain keeps it
}

// Run shows the whole loop on out: a poke, the drain that it starts, an answer to each message, and sleep. Its error says
// what did not happen as it should. Every process that it has started has ended when it returns.
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	screen := screen{out: out, color: cfg.Color}
	ctx, cancel := context.WithTimeoutCause(ctx, demoTime, fmt.Errorf("not done after %s", demoTime))
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s, err := openStage(ctx, cfg, nil, newRecord(fail))
	if err != nil {
		return because(ctx, err)
	}
	p := &play{stage: s, screen: screen}
	if err := errors.Join(p.play(ctx), s.Close()); err != nil {
		return err
	}
	screen.say("\nAll well: each message was answered once, in its chat, and acked once. Every process has ended.")
	return nil
}

// play is the demonstration itself.
type play struct {
	*stage
	screen
}

func (p *play) play(ctx context.Context) error {
	p.say("Dormouse's whole loop on this machine. Connector, wake and drain are processes of their own; the two functions\n"+
		"run as built, under a stand-in for Lambda. The agent is echo. Quiet times are shortened: idle after %s instead\n"+
		"of 20s (%s instead of 3s if nothing came), pokes at least %s apart instead of 60s.\n",
		shortIdle, shortEmpty, shortCooldown)
	asleep, again := Script()

	armed, err := p.act(ctx, act{arm: true, cold: true})
	if err != nil {
		return fmt.Errorf("arming: %w", err)
	}
	p.say("Armed: drain ran once, for %d ms. It provisioned %d platforms, so the connector knows the wake URL.",
		armed.result.Duration.Milliseconds(), len(platforms))
	if err := p.Shutdown(rig.Drain); err != nil {
		return err
	}
	p.say("Gateway asleep: nothing of it runs. Its process is discarded, as Lambda does after a while.\n")

	p.say("%d messages come, and the connector pokes the wake URL. Milliseconds from the poke:", len(asleep))
	first, err := p.act(ctx, act{messages: asleep, cold: true})
	if err != nil {
		return fmt.Errorf("first poke: %w", err)
	}
	p.say("It was a cold start: drain's process took %d ms to be ready.\n", first.result.InitDuration.Milliseconds())

	p.say("Gateway asleep, its process frozen. Another message, second poke: warm, no provisioning.")
	second, err := p.act(ctx, act{messages: again})
	if err != nil {
		return fmt.Errorf("second poke: %w", err)
	}
	if second.pid != first.pid {
		return fmt.Errorf("second poke: another process of drain than before, want the warm one")
	}
	return nil
}

// act is one run of drain.
type act struct {
	arm      bool      // run by an invocation with the reason arm; otherwise by the connector's poke
	cold     bool      // in a new process, which has to provision
	messages []Message // delivered while the gateway sleeps
}

// outcome is what came of an act.
type outcome struct {
	act
	bufferIDs     []string
	result        locallambda.Result
	pid           int // drain's
	scene         scene
	before, after devconnector.State
}

// act runs, shows and checks one.
func (p *play) act(ctx context.Context, a act) (outcome, error) {
	o := outcome{act: a}
	err := because(ctx, p.perform(ctx, &o))
	o.scene = p.cut()
	if err != nil || !a.arm {
		p.show(o.start(), timeline(o.scene, o.words()))
	}
	if err != nil {
		return o, err
	}
	return o, o.check()
}

func (p *play) perform(ctx context.Context, o *outcome) (err error) {
	if o.before, err = p.state(ctx); err != nil {
		return err
	}
	if o.arm {
		o.result, err = p.Invoke(ctx, rig.Drain, []byte(`{"reason":"arm"}`))
	} else {
		o.bufferIDs, err = p.deliver(ctx, o.messages)
	}
	if err != nil {
		return err
	}
	err = p.await(ctx, func(s *scene) bool {
		if !o.arm && len(s.results) > 0 {
			o.result = s.results[0]
		}
		return s.count(devconnector.ObsUpgrade) == s.count(devconnector.ObsClosed) &&
			s.count(devconnector.ObsPoke) == s.count(devconnector.ObsPoked) && s.count(devconnector.ObsPoke) == s.wakes() &&
			s.report() != nil && (o.arm || len(s.results) > 0)
	})
	if err != nil {
		return err
	}
	p.notePIDs()
	if pids := p.PIDs(rig.Drain); len(pids) == 1 {
		o.pid = pids[0]
	}
	o.after, err = p.state(ctx)
	return err
}

// start is the poke, or whatever came first.
func (o *outcome) start() time.Time {
	for _, seen := range o.scene.observations {
		if seen.What == devconnector.ObsPoke {
			return seen.At
		}
	}
	if lines := timeline(o.scene, nil); len(lines) > 0 {
		return lines[0].at
	}
	return time.Time{}
}

// words say of the actions, by request id, where they went and what they said.
func (o *outcome) words() map[string]string {
	words := map[string]string{}
	for _, action := range o.after.Outbounds {
		for _, m := range o.messages {
			if want := m.expectation(); want.Source.ChatID == action.ChatID {
				words[action.RequestID] = m.From
				if action.Op == "send" {
					words[action.RequestID] = fmt.Sprintf("%-31s %s", m.From, action.Content)
				}
			}
		}
	}
	return words
}
