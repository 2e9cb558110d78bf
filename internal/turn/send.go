package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// errMustWait means that a suspect, beside which nothing runs, would have to wait for its chat.
var errMustWait = errors.New("turn: its chat has to be left alone for a while")

// send sends the kept actions that have no outcome yet, until ctx ends; then its error is ctx's cause. It is a
// *refusedError if the connector does not take them all, and errDeferred if they have to wait for another run.
func (a *attempts) send(ctx context.Context, d *delivery) error {
	for i := range d.answer.actions {
		if d.answer.outcomes[i] != "" {
			continue
		}
		var o action.Outgoing
		if err := json.Unmarshal(d.answer.actions[i], &o); err != nil {
			return fmt.Errorf("turn: a kept action cannot be read: %w", err)
		}
		if d.answer.idle(o) {
			d.answer.outcomes[i] = outcomeOK
			continue
		}
		if err := a.sendInTime(ctx, d, i, o); err != nil {
			return err
		}
		if err := a.sendIfLost(ctx, d, i, o); err != nil {
			return err
		}
		d.answer.show(i, o)
	}
	return refusalOf(d)
}

// sendInTime is sendKept, for an edit once its chat may be edited. If that is far, the edit cannot be made.
func (a *attempts) sendInTime(ctx context.Context, d *delivery, i int, o action.Outgoing) error {
	far := o.Op() == "edit" && (o.Of == "" || a.sender.canEdit(d, o)) && !a.chats.takeEdit(ctx, o.Chat())
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case far:
		d.answer.outcomes[i] = outcomeRefused
		return nil
	}
	return a.sendKept(ctx, d, i, o)
}

// sendIfLost sends the text of an edit that could not be made as a message, if it was its message's last. It is kept first.
func (a *attempts) sendIfLost(ctx context.Context, d *delivery, i int, o action.Outgoing) error {
	if action.IsOver(o, a.cfg.Texts) || !d.answer.lost(i, o) {
		return nil
	}
	parts := a.chats.shaper(d.Event, d.session).AsMessages(o)
	raws, err := action.Encode(parts[:1])
	if err == nil && !d.unkept {
		err = a.journal.replace(d.key, i, raws[0])
	}
	if err != nil {
		return err
	}
	d.answer.actions[i], d.answer.outcomes[i] = raws[0], ""
	return a.sendInstead(ctx, d, i, parts)
}

// sendKept sends the kept action number i until it has an outcome. What the connector refuses for now is sent again, in its
// order, once its pause is over.
func (a *attempts) sendKept(ctx context.Context, d *delivery, i int, o action.Outgoing) error {
	chat := nameOf(o, d.Event.Source)
	for first := true; ; first = false {
		if err := a.untilFree(ctx, d, chat); err != nil {
			if d.doubtful == i+1 { // no later run knows that this final draft may be there
				return a.sender.settle(d, i, o, outcomeUnknown)
			}
			return err
		}
		if d.wait.Tries > 0 {
			a.counts.add(func(c *Counts) { c.Retried++ })
		}
		r, err := a.sender.deliverKept(d, i, o)
		if r == nil || d.answer.outcomes[i] != "" {
			d.wait = ledger.Wait{}
			a.pauses.done(chat, d.place)
			if first && r != nil && err == nil && a.restForEdit(ctx, d, i, o, r) {
				continue
			}
			return err
		}
		if r.mayPass() {
			err := a.sendLater(d, chat, r)
			if err == nil {
				continue
			}
			if r.Class == action.Transient && d.doubtful != i+1 {
				a.pauses.done(chat, d.place)
				a.dropPrompt(d, i, o)
				return err
			}
		}
		a.pauses.done(chat, d.place)
		return a.refusedForGood(ctx, d, i, o, r)
	}
}

// refusedForGood ends the kept action number i: something is sent in its place, or the message will be dead.
func (a *attempts) refusedForGood(ctx context.Context, d *delivery, i int, o action.Outgoing, r *refusal) error {
	if d.doubtful == i+1 && r.Class != action.Declined { // a final draft that may be there: a plain send would be its text again
		return a.sender.settle(d, i, o, outcomeUnknown)
	}
	instead, err := a.instead(d, i, o, r)
	if err != nil {
		return err
	}
	if len(instead) > 0 {
		return a.sendInstead(ctx, d, i, instead)
	}
	d.refused = r.final(d.refused)
	a.dropPrompt(d, i, o)
	return a.sender.settle(d, i, o, r.outcome())
}

// dropPrompt forgets a question that the connector has refused for good. One that an earlier process may have sent stays
// open: somebody may press its buttons.
func (a *attempts) dropPrompt(d *delivery, i int, o action.Outgoing) {
	if o.Op() == "prompt" && i >= d.inherited {
		a.prompts.drop(d.key, d.Event.Source, o)
	}
}

// restForEdit waits for the pause of an edit that was throttled and is its message's last, and has it made once more. It is
// false if there is no such edit, or the pause is long.
func (a *attempts) restForEdit(ctx context.Context, d *delivery, i int, o action.Outgoing, r *refusal) bool {
	if o.Op() != "edit" || r.Class != action.Transient {
		return false
	}
	a.chats.restEdits(o.Chat(), max(r.After, editEvery))
	if !d.answer.lost(i, o) || !a.chats.takeEdit(ctx, o.Chat()) {
		return false
	}
	d.answer.outcomes[i] = ""
	return true
}

// untilFree waits until the delivery may send something to a chat. Meanwhile it has no slot, and its session may rest. What
// no later run knows of waits for patience at most.
func (a *attempts) untilFree(ctx context.Context, d *delivery, chat chatName) error {
	begun := time.Now()
	for {
		until, changed, ok := a.pauses.enter(chat, d.place)
		if ok {
			if d.streaming {
				return nil // its agent runs all the time
			}
			err := d.has.slot(ctx)
			if err != nil {
				a.pauses.done(chat, d.place)
			}
			return err
		}
		if d.alone {
			return errMustWait
		}
		if !d.streaming {
			d.has.letGo()
		}
		if !time.Now().Before(until) {
			until = time.Time{} // somebody else goes first
		}
		a.noteWait(d, until)
		if !d.volatile && time.Until(until) > workAhead {
			marksOf(d).takeOff()
		}
		if err := a.waitFor(ctx, d, until, changed, begun); err != nil {
			d.due = until
			return err
		}
	}
}

// noteWait writes down when a delivery first had to wait, if that is for the chat's pause and for long: what waits behind
// another one gives up no later than that.
func (a *attempts) noteWait(d *delivery, until time.Time) {
	if !d.wait.Since.IsZero() || d.volatile || d.streaming || time.Until(until) <= workAhead {
		return
	}
	d.wait.Since = time.Now()
	a.journal.wait(d.key, "its chat has to be left alone", d.wait, d.attempts)
}

// waitFor waits until a time, or until changed is closed. It fails if the delivery has waited for too long since begun.
func (a *attempts) waitFor(ctx context.Context, d *delivery, until time.Time, changed <-chan struct{}, begun time.Time) error {
	if !d.volatile {
		if d.answer.complete() {
			a.unload(d, until)
		}
		return a.rests.sit(ctx, d.session, !d.streaming, until, changed)
	}
	if d.wait.Tries > 0 {
		begun = d.wait.Since
	}
	tooLong := &refusedError{op: "none is sent", words: "its chat has to be left alone for longer than it can wait", waited: true}
	limited, cancel := context.WithDeadlineCause(ctx, begun.Add(a.limit(d)), tooLong)
	defer cancel()
	return a.rests.sit(limited, d.session, false, until, changed)
}

// limit is how long a delivery waits for its agent, or a chat.
func (a *attempts) limit(d *delivery) time.Duration {
	if d.volatile {
		return min(patience, a.cfg.GiveUpAfter)
	}
	return a.cfg.GiveUpAfter
}

// sendLater makes a delivery and its chat wait after a refusal that may pass. It fails with the refusal if that has gone on
// for too long.
func (a *attempts) sendLater(d *delivery, chat chatName, r *refusal) error {
	limit := a.limit(d)
	pause := refusalPause(d.wait.Tries+1, r.After)
	next, ok := again(d.wait, time.Now(), pause, r.After > 0, limit)
	if !ok || r.Class == action.Unclear && pause > workAhead {
		refused := r.final(nil)
		refused.waited = true
		return refused
	}
	d.wait = next
	a.pauses.refused(chat, d.place, next.Due, next.Asked)
	d.log.Info(logs.ActionWaits, logs.KeyOp, r.op, logs.KeyIn, time.Until(next.Due).String(), logs.KeyTries, next.Tries)
	if !d.unkept && !d.answer.streamed {
		a.journal.wait(d.key, r.words, d.wait, d.attempts)
	}
	return nil
}

// instead is what is sent in place of an action that never passes as it is: nothing, or a text. It is kept first.
func (a *attempts) instead(d *delivery, i int, o action.Outgoing, r *refusal) (parts []action.Outgoing, err error) {
	plain, changed := o.Plain()
	switch {
	case r.Class == action.Declined:
		return nil, nil
	case o.IsFinalDraft():
		parts = []action.Outgoing{o.Undrafted()}
	case r.Class == action.Markup && changed:
		parts = []action.Outgoing{plain}
	case o.Op() == "send_media":
		parts = a.chats.shaper(d.Event, d.session).TextInstead(o, a.files.publicLink(o))
	}
	if len(parts) == 0 {
		return nil, nil
	}
	raws, err := action.Encode(parts[:1])
	if err == nil && !d.unkept {
		err = a.journal.replace(d.key, i, raws[0])
	}
	if err == nil && i < len(d.answer.actions) {
		d.answer.actions[i] = raws[0]
	}
	return parts, err
}

// sendInstead sends what is in the place of the kept action number i: the first part under its request id, and what is
// beyond it under one of its own.
func (a *attempts) sendInstead(ctx context.Context, d *delivery, i int, parts []action.Outgoing) error {
	if err := a.sendKept(ctx, d, i, parts[0]); err != nil {
		return err
	}
	for n, o := range parts[1:] {
		note := aside(d, fmt.Sprint(d.key, "/", i, "/", n), d.log)
		if err := a.sendKept(ctx, note, 0, o); err != nil {
			return err
		}
		if d.inChats.declined = note.inChats.declined; d.refused == nil {
			d.refused = note.refused
		}
	}
	return nil
}

// tellAs sends a text of our own to the delivery's chat. It goes as the answer to a delivery that no journal has, with a name
// behind its key: what is refused for now is tried again, for patience at most. later reports whether the chat would take it
// another time.
func (a *attempts) tellAs(d *delivery, name, text string) (later bool) {
	parts, err := a.chats.shaper(d.Event, d.session).ShapeAll([]relay.Action{{"op": "send", "content": text}})
	if err != nil {
		a.cfg.Log.Warn(logs.ChatNotTold, logs.KeyError, err)
		return false
	}
	key := d.key + name
	note := aside(d, key, logTo(a.cfg.Log, key, d.session))
	note.has = &holding{} // it needs no slot
	for i, o := range parts {
		note.answer.outcomes = append(note.answer.outcomes, "")
		err := context.Cause(a.run.ctx)
		if err == nil {
			err = a.sendKept(a.run.ctx, note, i, o)
		}
		if err != nil {
			note.log.Warn(logs.ChatNotTold, logs.KeyError, err)
			refused, is := errors.AsType[*refusedError](err)
			return i == 0 && (!is || refused.waited)
		}
	}
	return false
}

// refusalOf is the delivery's *refusedError as an error.
func refusalOf(d *delivery) error {
	if d.refused == nil {
		return nil
	}
	return d.refused
}

// aside is a record for something of our own to the delivery's chats. No journal has it.
func aside(d *delivery, key string, log *slog.Logger) *delivery {
	return &delivery{
		Delivery: d.Delivery, key: key, session: d.session, log: log, unkept: true, volatile: true,
		answer: answer{outcomes: []string{""}}, inChats: chatState{declined: d.inChats.declined}, place: d.place, has: d.has,
		typing: d.typing, alone: d.alone,
	}
}

// waitsFor is the chat that a delivery waits for, if it is a chat. Also if the time is over: the oldest goes first.
func waitsFor(d *delivery) (chat chatName, waits bool) {
	i := slices.Index(d.answer.outcomes, "")
	if !d.answer.complete() || i < 0 || d.wait.Tries == 0 {
		return chatName{}, false
	}
	var o action.Outgoing
	if err := json.Unmarshal(d.answer.actions[i], &o); err != nil {
		return chatName{}, false
	}
	return nameOf(o, d.Event.Source), true
}
