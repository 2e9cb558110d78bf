package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const firstRetry, lastRetry = time.Second, 10 * time.Second // the wait before an attempt doubles from one to the other

// attempts asks the agent about a delivery, keeps the answer, has it sent, and finishes the delivery. It has no lock.
//
// Three things hold at every moment for a delivery that is in the journal, so that the next run can go on after a death:
// the agent is asked only once the journal has the delivery as running; an action that is not repeatable leaves only once
// the journal has kept it; a second such action leaves only once the outcome of the first is confirmed.
type attempts struct {
	cfg     Config
	gate    *gate
	chats   *chats
	files   *files
	prompts *prompts
	journal *journal
	sender  *sender
	counts  *tally
	run     *lifetime
}

// answer tries a delivery until it is answered or stopped, which is nil, deferred, which is errDeferred, or given up,
// which is any other error. ctx is the turn's; started says that the turn can be seen from outside.
func (a *attempts) answer(ctx context.Context, d *delivery, started func()) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := a.attempt(ctx, d, started, ledger.Running)
		if err == nil || errors.Is(err, errDeferred) {
			return err
		}
		if final, err := a.failed(d, err); final {
			return err
		}
		select {
		case <-time.After(wait):
		case <-a.gate.closing:
			return errDeferred
		case <-ctx.Done():
			return a.cutShort(ctx, d)
		}
	}
}

// answerAlone gives a suspect one attempt. again means that it failed and is to be tried again, beside others; else err is
// what answer returns.
func (a *attempts) answerAlone(ctx context.Context, d *delivery, started func()) (again bool, err error) {
	if d.state == ledger.Alone {
		if final, err := a.failed(d, errDiedAlone); final {
			return false, err
		}
	}
	err = a.attempt(ctx, d, started, ledger.Alone)
	if err == nil || errors.Is(err, errDeferred) {
		return false, err
	}
	final, err := a.failed(d, err)
	return !final, err
}

// attempt waits for attachments and a slot, and tries. The journal is told that the turn runs in the state as.
func (a *attempts) attempt(ctx context.Context, d *delivery, started func(), as ledger.State) error {
	var media []agent.Media
	if !d.answer.complete() && a.gate.mayStart() {
		fetched, release, err := a.files.attach(ctx, d.log, d.Event, d.typing, started)
		switch {
		case err != nil && ctx.Err() != nil:
			return a.cutShort(ctx, d)
		case err != nil:
			return err
		}
		defer release()
		media = fetched
	}
	release, err := a.gate.enter(ctx)
	if err == nil {
		defer release()
		err = a.try(ctx, d, started, as, media)
	}
	if ctx.Err() != nil && (err != nil || stopped(ctx)) {
		return a.cutShort(ctx, d)
	}
	return err
}

// try is an attempt that has its slot.
func (a *attempts) try(ctx context.Context, d *delivery, started func(), as ledger.State, media []agent.Media) error {
	if d.answer.complete() {
		started()
		return a.send(ctx, d)
	}
	if !a.gate.mayStart() {
		return errDeferred
	}
	if d.state != as && !d.unkept {
		if err := a.journal.start(d.key, as); err != nil {
			return err
		}
	}
	d.state = as
	prompt, use := a.prompts.take(d.Event, d.key, d.session)
	switch use {
	case promptUnreadable:
		return errDeferred
	case promptForeign, promptTaken:
		return nil
	case promptClosed:
		a.tell(d, promptClosedText)
		return nil
	}
	d.typing.hidden = false
	started()
	return a.turn(ctx, d, prompt, media)
}

// turn is one turn of the agent, during which the chat shows typing.
func (a *attempts) turn(ctx context.Context, d *delivery, prompt *agent.Prompt, media []agent.Media) error {
	asking, cancel := context.WithTimeoutCause(ctx, a.cfg.AgentTimeout, errTimeout)
	a.counts.add(func(c *Counts) { c.Turns++ })
	d.log.Info(logs.Turn, logs.KeyAttempt, d.attempts+1)
	var typing sync.WaitGroup
	typing.Go(func() { d.typing.keepShowing(asking) })
	stopTyping := func() {
		cancel()
		typing.Wait()
	}
	defer stopTyping()

	a.cfg.Link.WaitDescriptors(asking)
	shaper := a.chats.shaper(d.Event, d.session)
	said, err := a.ask(asking, d, prompt, media, shaper.Descriptor)
	if err != nil {
		return err
	}
	fit := &fitter{shaper: shaper, files: a.files, log: d.log}
	defer func() { a.counts.add(func(c *Counts) { c.Cut += fit.cut() }) }()
	if said.Stream != nil || d.answer.streamed {
		s := &stream{
			chats: a.chats,
			fit:   fit,
			send:  func(o action.Outgoing) error { return a.sendStreamed(d, o) },
		}
		if err := s.follow(asking, cancel, said); err != nil {
			return err
		}
		return s.finish(ctx) // the agent was done in time
	}
	actions, err := fit.all(asking, said.Actions)
	if err != nil {
		return err
	}
	stopTyping()
	if err := a.keep(ctx, d, actions); err != nil || stopped(ctx) {
		return err
	}
	return a.send(ctx, d)
}

// ask asks the agent. If the agent panics, the attempt has failed.
func (a *attempts) ask(
	ctx context.Context, d *delivery, prompt *agent.Prompt, media []agent.Media, descriptor relay.Descriptor,
) (said agent.Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("agent: panicked: %v", p)
		}
	}()
	turn := agent.Turn{
		Version: 1, Kind: agent.KindMessage, SessionKey: d.session,
		Event: d.Event, Context: d.Event.ContextText(), Prompt: prompt, Media: media, Forward: d.Forward, Descriptor: descriptor,
		Delivery: agent.Delivery{
			Key: d.key, Attempt: d.attempts + 1, Buffered: d.BufferID != "", ReceivedAt: d.ReceivedAt, Sent: d.answer.sent(),
		},
	}
	if d.Forward != nil {
		turn.Kind = agent.KindPassthrough
	}
	return a.cfg.Agent.Answer(ctx, turn)
}

// keep keeps a whole answer, unless the turn has been stopped.
func (a *attempts) keep(ctx context.Context, d *delivery, list []action.Outgoing) error {
	actions, err := action.Encode(list)
	if err != nil || len(actions) == 0 || stopped(ctx) {
		return err
	}
	if !d.unkept {
		err = a.journal.keep(d.key, actions)
	}
	if err == nil {
		d.answer = answer{actions: actions, outcomes: make([]string, len(actions))}
	}
	return err
}

// send sends the kept actions that have no outcome yet, until ctx ends; then its error is ctx's cause. Any other error is
// errDeferred, as what was sent is never sent again.
func (a *attempts) send(ctx context.Context, d *delivery) error {
	for i, raw := range d.answer.actions {
		if d.answer.outcomes[i] != "" {
			continue
		}
		var o action.Outgoing
		if err := json.Unmarshal(raw, &o); err != nil {
			return fmt.Errorf("turn: a kept action cannot be read: %w", err)
		}
		if o.Op() == "edit" {
			a.chats.takeEdit(ctx, o.Chat())
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := a.sender.deliverKept(d, i, o); err != nil {
			return err
		}
	}
	return nil
}

// sendStreamed sends the next action of a streamed answer. It is kept first, unless it may be repeated.
func (a *attempts) sendStreamed(d *delivery, o action.Outgoing) error {
	if o.Repeatable() {
		return a.sender.deliverUnkept(d, o)
	}
	raws, err := action.Encode([]action.Outgoing{o})
	if err == nil && !d.unkept {
		err = a.journal.extend(d.key, raws[0])
	}
	if err != nil {
		return err
	}
	return a.sender.deliverKept(d, d.answer.extend(raws[0]), o)
}

// tell sends a text of our own to the delivery's chat, once. It goes as the answer to a delivery that no journal has.
func (a *attempts) tell(d *delivery, text string) {
	parts, err := a.chats.shaper(d.Event, d.session).ShapeAll([]relay.Action{{"op": "send", "content": text}})
	if err != nil {
		a.cfg.Log.Warn(logs.ChatNotTold, logs.KeyError, err)
		return
	}
	key := d.key + "/apology"
	note := &delivery{
		Delivery: d.Delivery, key: key, session: d.session, log: logTo(a.cfg.Log, key, d.session), unkept: true,
		answer: answer{outcomes: make([]string, len(parts))}, inChats: chatState{declined: d.inChats.declined},
	}
	for i, o := range parts {
		if a.run.ctx.Err() != nil || a.sender.deliverKept(note, i, o) != nil {
			return
		}
	}
}

// failed records a failed attempt. final reports whether this run stops trying; then err is what answer returns.
func (a *attempts) failed(d *delivery, cause error) (final bool, err error) {
	d.tries++
	if errors.Is(cause, agent.ErrUnavailable) {
		d.log.Warn(logs.AgentUnavailable, logs.KeyError, cause)
		if d.tries >= a.cfg.MaxAttempts {
			return true, errDeferred
		}
		return false, nil
	}
	d.attempts++
	dead := d.attempts >= a.cfg.MaxAttempts || errors.Is(cause, agent.ErrRefused)
	d.log.Warn(logs.AttemptFailed, logs.KeyError, cause, logs.KeyAttempt, d.attempts, logs.KeyOf, a.cfg.MaxAttempts)
	d.state = ledger.New
	if !d.unkept {
		if err := a.journal.fail(d.key, d.session, cause, dead); err != nil {
			return true, err
		}
	}
	if dead {
		return true, cause
	}
	return false, nil
}

// cutShort is what an attempt ends with when the turn's context has ended: nil if the turn was stopped.
func (a *attempts) cutShort(ctx context.Context, d *delivery) error {
	if !stopped(ctx) {
		return errDeferred // the end of the run is not the agent's fault
	}
	d.log.Info(logs.TurnStopped)
	return nil
}

// conclude writes down how a turn has ended, which is what answer returned, and tells the chat if the message is dead.
func (a *attempts) conclude(d *delivery, err error) ending {
	dead := err != nil && !errors.Is(err, errDeferred)
	if dead {
		a.cfg.Log.Error(logs.Dead, logs.KeyDelivery, d.key, logs.KeyAttempts, d.attempts, logs.KeyError, err)
		if a.cfg.Apology != "" {
			a.tell(d, a.cfg.Apology)
		}
	}
	d.typing.clear()
	switch {
	case err == nil:
		return a.finish(d)
	case dead:
		a.counts.add(func(c *Counts) { c.Dead++ })
		return endDead
	}
	return a.putOff(d)
}

// finish finishes a delivery in the journal.
func (a *attempts) finish(d *delivery) ending {
	if !d.unkept || d.unsure {
		if err := a.journal.finish(d.key); err != nil && !d.unsure {
			a.cfg.Log.Error(logs.FinishNotJournalled, logs.KeyDelivery, d.key, logs.KeyError, err)
			return endNotRecorded
		}
	}
	a.counts.add(func(c *Counts) { c.Finished++ })
	return endFinished
}

// putOff defers a delivery to the next run. A turn that the end of this run has cut short is no suspect then.
func (a *attempts) putOff(d *delivery) ending {
	if !d.unkept && !d.answer.complete() && d.state != ledger.New {
		a.journal.unstart(d.key)
	}
	a.counts.add(func(c *Counts) { c.Left++ })
	return endDeferred
}
