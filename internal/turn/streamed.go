package turn

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
)

// sendStreamed sends the next action of a streamed answer. It is kept first, unless it may be repeated. While the chat has
// to wait for long, the agent goes on, and what it says is kept for later.
func (a *attempts) sendStreamed(ctx context.Context, d *delivery, o action.Outgoing) error {
	if o.Repeatable() && !d.heldBack {
		if err := a.untilFreeWhileStreaming(ctx, d, o); err != nil {
			return err
		}
		if !d.heldBack {
			defer a.pauses.done(nameOf(o, d.Event.Source), d.place)
			_, _, err := a.sender.deliverUnkept(d, o)
			return err
		}
	}
	if done, err := a.fold(d, o); done || err != nil {
		return err
	}
	raws, err := action.Encode([]action.Outgoing{o})
	if err == nil && !d.unkept {
		err = a.journal.extend(d.key, raws[0])
	}
	if err != nil {
		return err
	}
	i := d.answer.extend(raws[0])
	if d.heldBack {
		return nil
	}
	return a.sendWhileStreaming(ctx, d, i, o)
}

// editStreamed makes an edit of a streamed answer, once its chat may be edited. If it cannot be made, again says whether it
// might be later. While the chat has to wait for long, it is kept for later.
func (a *attempts) editStreamed(ctx context.Context, d *delivery, o action.Outgoing) (made, again bool, err error) {
	if !d.heldBack {
		if o.Of != "" && !a.sender.canEdit(d, o) {
			return false, false, nil
		}
		if !a.chats.takeEdit(ctx, o.Chat()) {
			return false, false, context.Cause(ctx)
		}
		if err := a.untilFreeWhileStreaming(ctx, d, o); err != nil {
			return false, false, err
		}
	}
	if d.heldBack {
		return true, false, a.sendStreamed(ctx, d, o)
	}
	defer a.pauses.done(nameOf(o, d.Event.Source), d.place)
	outcome, r, err := a.sender.deliverUnkept(d, o)
	d.answer.shown(target(o), o, outcome)
	return inChat(outcome) || outcome == outcomeDeclined, r != nil && r.Class == action.Transient, err
}

// sendWhileStreaming is sendKept beside an agent that goes on: once the action has to wait, it is left to sendHeldBack.
func (a *attempts) sendWhileStreaming(ctx context.Context, d *delivery, i int, o action.Outgoing) error {
	short, cancel := context.WithTimeoutCause(ctx, heldAfter, errMustWait)
	defer cancel()
	d.streaming = true
	err := a.sendKept(short, d, i, o)
	d.streaming = false
	if errors.Is(err, errMustWait) {
		d.heldBack = true
		return nil
	}
	d.answer.show(i, o)
	return err
}

// untilFreeWhileStreaming is untilFree beside an agent that goes on. If that takes too long, heldBack is set.
func (a *attempts) untilFreeWhileStreaming(ctx context.Context, d *delivery, o action.Outgoing) error {
	short, cancel := context.WithTimeoutCause(ctx, heldAfter, errMustWait)
	defer cancel()
	d.streaming = true
	err := a.untilFree(short, d, nameOf(o, d.Event.Source))
	d.streaming = false
	if errors.Is(err, errMustWait) {
		d.heldBack = true
		return nil
	}
	return err
}

// fold puts an edit of what is held back in its place: of a message's edits only the newest is sent.
func (a *attempts) fold(d *delivery, edit action.Outgoing) (done bool, err error) {
	if !d.heldBack || edit.Op() != "edit" {
		return false, nil
	}
	i := d.answer.unsent(edit)
	if i < 0 {
		return false, nil
	}
	var before action.Outgoing
	if err := json.Unmarshal(d.answer.actions[i], &before); err != nil {
		return false, err
	}
	before.Action["content"] = edit.Action["content"]
	raws, err := action.Encode([]action.Outgoing{before})
	if err == nil && !d.unkept {
		err = a.journal.replace(d.key, i, raws[0])
	}
	if err == nil {
		d.answer.actions[i] = raws[0]
	}
	return err == nil, err
}

// heldAfter is how long an agent that streams waits for its chat.
const heldAfter = 5 * time.Second

// sendHeldBack is for the end of a stream: it sends what had to wait.
func (a *attempts) sendHeldBack(ctx context.Context, d *delivery) error {
	if !d.heldBack {
		return refusalOf(d)
	}
	if !d.unkept {
		if err := a.journal.seal(d.key); err != nil {
			return err
		}
		if time.Now().Before(d.wait.Due) {
			a.journal.wait(d.key, "the chat has to be left alone for a while", d.wait, d.attempts)
		}
	}
	d.answer.streamed, d.heldBack = false, false
	d.has.letFilesGo()
	return a.send(ctx, d)
}
