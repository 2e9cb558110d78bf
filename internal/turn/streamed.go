package turn

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// heldAfter is how long an agent that streams waits for its chat.
const heldAfter = 5 * time.Second

// sendStreamed sends the next action of a streamed answer. It is kept first, unless it may be repeated. Once the chat has to
// wait for longer, or the table cannot keep the action, the agent goes on, and what it says is held back until its stream
// has ended: only the record has it.
func (a *attempts) sendStreamed(ctx context.Context, d *delivery, o action.Outgoing) error {
	if d.heldBack {
		return hold(d, o)
	}
	if err := a.untilFreeWhileStreaming(ctx, d, o); err != nil {
		return err
	}
	if d.heldBack {
		return hold(d, o)
	}
	a.pauses.done(nameOf(o, d.Event.Source), d.place)
	if o.Repeatable() {
		_, _, err := a.sender.deliverUnkept(d, o)
		return err
	}
	raws, err := action.Encode([]action.Outgoing{o})
	if err == nil && !d.unkept {
		err = a.journal.extend(d.key, raws[0])
	}
	if errors.Is(err, errDeferred) {
		holdBack(d)
		d.adrift = true
		return hold(d, o)
	}
	if err != nil {
		return err
	}
	return a.sendWhileStreaming(ctx, d, d.answer.extend(raws[0]), o)
}

// editStreamed makes an edit of a streamed answer, once its chat may be edited. If it cannot be made, again says whether it
// might be later: a chat whose edits are throttled is edited again once the pause that was asked for is over, if that is
// soon. While the chat has to wait for long, it is held back.
func (a *attempts) editStreamed(ctx context.Context, d *delivery, o action.Outgoing) (made, again bool, err error) {
	if !d.heldBack {
		if d.answer.isRefused(o) { // its message was
			miss(d, o)
			return true, false, nil
		}
		if o.Of != "" && !a.sender.canEdit(d, o) {
			return false, false, nil
		}
		if !a.chats.takeEdit(ctx, o.Chat()) {
			return false, true, context.Cause(ctx)
		}
		if err := a.untilFreeWhileStreaming(ctx, d, o); err != nil {
			return false, false, err
		}
	}
	if d.heldBack {
		return true, false, hold(d, o)
	}
	defer a.pauses.done(nameOf(o, d.Event.Source), d.place)
	outcome, r, err := a.sender.deliverUnkept(d, o)
	d.answer.shown(target(o), o, outcome)
	again = r != nil && r.Class == action.Transient
	if again {
		a.chats.restEdits(o.Chat(), r.After)
	}
	if outcome == outcomeDeclined {
		miss(d, o)
	}
	return inChat(outcome) || outcome == outcomeDeclined, again, err
}

// draftStreamed shows a state of a draft, once its chat may be edited. seen reports that the chat has it, or may have; refused that
// the platform takes none, and does not decline the chat.
func (a *attempts) draftStreamed(ctx context.Context, d *delivery, o action.Outgoing) (seen, refused bool, err error) {
	if d.heldBack || !a.noteDraft(d, o) || !a.chats.takeEdit(ctx, o.Chat()) {
		return false, false, context.Cause(ctx)
	}
	if err := a.untilFreeWhileStreaming(ctx, d, o); err != nil || d.heldBack {
		return false, false, err
	}
	defer a.pauses.done(nameOf(o, d.Event.Source), d.place)
	outcome, r, err := a.sender.deliverUnkept(d, o)
	return err == nil && inChat(outcome), r != nil && r.Class == action.Permanent, err
}

// noteDraft has the journal know of a draft before it is shown.
func (a *attempts) noteDraft(d *delivery, o action.Outgoing) bool {
	id := o.DraftID()
	if !d.unkept && d.noted != id && !a.journal.draft(d.key, id) {
		return false
	}
	d.noted = id
	return true
}

// sendWhileStreaming is sendKept beside an agent that goes on. What has to wait for longer, or has an outcome that the table
// does not take, is left to sendHeldBack.
func (a *attempts) sendWhileStreaming(ctx context.Context, d *delivery, i int, o action.Outgoing) error {
	short, cancel := context.WithTimeoutCause(ctx, heldAfter, errMustWait)
	defer cancel()
	d.streaming = true
	err := a.sendKept(short, d, i, o)
	d.streaming = false
	if errors.Is(err, errMustWait) || errors.Is(err, errDeferred) && d.answer.outcomes[i] != "" {
		holdBack(d)
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
		holdBack(d)
		return nil
	}
	return err
}

// holdBack has what the agent says from now on sent once its stream has ended.
func holdBack(d *delivery) { d.heldBack, d.heldFrom = true, len(d.answer.actions) }

// hold adds an action to what is held back. An edit is put in the place of what it is for: of a message's edits only the
// newest is sent.
func hold(d *delivery, o action.Outgoing) error {
	i := -1
	if o.Op() == "edit" {
		d.missed = withoutEdit(d.missed, o)
		i = d.answer.unsent(o)
	}
	if i >= 0 {
		var before action.Outgoing
		if err := json.Unmarshal(d.answer.actions[i], &before); err != nil {
			return err
		}
		before.Action["content"] = o.Action["content"]
		o = before
	}
	raws, err := action.Encode([]action.Outgoing{o})
	switch {
	case err != nil:
		return err
	case i >= 0:
		d.answer.actions[i] = raws[0]
	default:
		d.answer.extend(raws[0])
	}
	return nil
}

// sendHeldBack is for the end of a stream: if something was held back, the answer is whole now and kept as such, and what was
// held back is sent.
func (a *attempts) sendHeldBack(ctx context.Context, d *delivery) error {
	if !d.heldBack {
		a.keepRefused(d)
		return refusalOf(d)
	}
	if err := a.seal(d); err != nil {
		return err
	}
	if !d.unkept && time.Now().Before(d.wait.Due) {
		a.journal.wait(d.key, "its chat has to be left alone", d.wait, d.attempts)
	}
	d.heldBack, d.adrift = false, false
	d.has.letFilesGo()
	return a.send(ctx, d)
}

// seal keeps a stream that has ended as a whole answer. What earlier attempts have not brought into the chat was said again.
func (a *attempts) seal(d *delivery) error {
	sealed := answer{actions: slices.Clone(d.answer.actions), outcomes: slices.Clone(d.answer.outcomes), shows: d.answer.shows}
	for i, outcome := range sealed.outcomes[:d.streamFrom] {
		switch outcome {
		case "":
			sealed.outcomes[i] = outcomeUnknown // an earlier process may have sent it, and the agent was told so
		case outcomeSkipped:
			sealed.actions[i] = ledger.Nothing
		}
	}
	raws, err := action.Encode(d.missed)
	if err != nil {
		return err
	}
	for i, raw := range raws {
		outcome := outcomeDeclined
		if number, _ := d.missed[i].OfAction(); d.answer.isRefused(d.missed[i]) && sealed.outcomes[number] == outcomeRefused {
			outcome = outcomeSkipped
		}
		sealed.outcomes[sealed.extend(raw)] = outcome
	}
	sealed.streamed = false
	if !d.unkept {
		if err := a.journal.seal(d.key, sealed.actions, sealed.outcomes); err != nil {
			return err
		}
	}
	d.answer, d.missed = sealed, nil
	return nil
}

// keepRefused keeps a stream that has ended and that the connector has not taken all of: whoever puts its message back need
// not have the agent asked again. If it cannot be kept, the agent is.
func (a *attempts) keepRefused(d *delivery) {
	if d.refused == nil || len(d.answer.actions) == 0 {
		return
	}
	if err := a.seal(d); errors.Is(err, ledger.ErrTooLarge) {
		d.log.Warn(logs.ActionNotKept, logs.KeyError, err)
	}
}

// miss notes an edit of a stream that the connector has refused for good, in place of an earlier one of its message.
func miss(d *delivery, o action.Outgoing) { d.missed = append(withoutEdit(d.missed, o), o) }

// withoutEdit is a list of edits without that of the message that o edits.
func withoutEdit(list []action.Outgoing, o action.Outgoing) []action.Outgoing {
	return slices.DeleteFunc(list, func(other action.Outgoing) bool {
		return named(other) == named(o) && target(other) == target(o)
	})
}

// dropUnsent is for a stream that broke: what of this attempt has not been sent is not in the chat, so that the agent says it
// again. If nobody knows what the journal has of it, the error is errDeferred: the next run reads it.
func (a *attempts) dropUnsent(d *delivery) error {
	if d.adrift {
		return errDeferred
	}
	if d.heldBack {
		d.answer.actions, d.answer.outcomes = d.answer.actions[:d.heldFrom], d.answer.outcomes[:d.heldFrom]
		d.board = nil // its numbers are given out again
	}
	d.heldBack, d.missed, d.wait = false, nil, ledger.Wait{}
	for i := d.streamFrom; i < len(d.answer.outcomes); i++ {
		if d.answer.outcomes[i] != "" {
			continue
		}
		d.answer.outcomes[i] = outcomeSkipped
		if d.unkept {
			continue
		}
		if err := a.journal.confirm(d.key, i, outcomeSkipped); err != nil {
			return err
		}
	}
	return nil
}
