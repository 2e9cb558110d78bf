package turn

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// failed records why an attempt has not answered. final reports whether this run stops trying; then err is what answer
// returns.
func (a *attempts) failed(d *delivery, cause error) (final bool, err error) {
	refused, is := errors.AsType[*refusedError](cause)
	switch {
	case isApology(d.key):
		return true, cause
	case is && refused.waited && a.staysWithConnector(d):
		return true, errDeferred
	case is:
		return true, a.bury(d, cause)
	case errors.Is(cause, errSpent):
		return a.postpone(d)
	case agent.ClassOf(cause) == agent.Away:
		return a.absent(d, cause)
	case len(d.set) > 0:
		return true, a.part(d, cause)
	}
	d.attempts++
	dead := d.attempts >= a.cfg.MaxAttempts || agent.ClassOf(cause) == agent.Refused
	d.log.Warn(logs.AttemptFailed, logs.KeyError, cause, logs.KeyAttempt, d.attempts, logs.KeyOf, a.cfg.MaxAttempts)
	d.state = ledger.New
	if dead {
		return true, a.failedForGood(d, cause)
	}
	pause := failurePause(d.attempts)
	if d.volatile {
		pause = min(pause, failurePause(2)) // no later run knows of it
	}
	d.wait = ledger.Wait{Due: time.Now().Add(pause)}
	if d.unkept {
		return false, nil
	}
	err = a.journal.failAndWait(d.key, cause, d.wait, d.attempts)
	return err != nil, err
}

// failedForGood gives a delivery up after its last attempt. It returns what answer returns.
func (a *attempts) failedForGood(d *delivery, cause error) error {
	if err := a.apologise(d, cause); err != nil {
		return err
	}
	if !d.unkept {
		if err := a.journal.fail(d.key, d.session, cause); err != nil {
			return err
		}
	}
	return cause
}

// absent is failed for an agent that is away: no attempt.
func (a *attempts) absent(d *delivery, cause error) (final bool, err error) {
	a.counts.add((*Counts).absent)
	d.state = ledger.New
	limit := a.limit(d)
	var asked time.Duration
	if away, ok := errors.AsType[*agent.Error](cause); ok {
		asked = away.RetryAfter
	}
	next, ok := again(d.wait, time.Now(), absencePause(d.wait.Tries+1, asked), asked > 0, limit)
	if !ok {
		d.log.Warn(logs.AgentUnavailable, logs.KeyError, cause, logs.KeyTries, next.Tries)
		if a.staysWithConnector(d) {
			return true, errDeferred
		}
		return true, a.bury(d, cause)
	}
	d.wait = next
	d.log.Warn(logs.AgentUnavailable, logs.KeyError, cause, logs.KeyTries, next.Tries, logs.KeyIn, time.Until(next.Due).String())
	if !d.unkept {
		a.journal.wait(d.key, cause.Error(), d.wait, d.attempts)
	}
	return false, nil
}

// postpone is failed for a delivery over the day's budget: it waits for the next day. Its chat is told once.
func (a *attempts) postpone(d *delivery) (final bool, err error) {
	if len(d.set) > 0 && !d.joined {
		a.scatter(d)
		return true, errApart // the first waits, and the others behind it
	}
	now := time.Now()
	if a.days.firstToday() {
		d.log.Warn(logs.DaySpent, logs.KeyOf, a.cfg.MaxTurnsPerDay)
	}
	tries := d.wait.Tries
	next, ok := again(d.wait, now, nextDay(now).Sub(now), false, a.cfg.GiveUpAfter)
	stays := a.staysWithConnector(d)
	if !stays && (d.volatile || !ok) {
		return true, a.bury(d, errSpent)
	}
	next.Tries = tries // it was not tried
	d.state, d.wait = ledger.New, next
	a.counts.add(func(c *Counts) { c.Postponed++ })
	if !d.unkept {
		a.journal.wait(d.key, errSpent.Error(), d.wait, d.attempts)
	}
	s := d.Event.Source
	if chat := (chatName{s.Platform, s.ChatID}); !s.IsBot && s.ChatID != "" && a.memos.mayNotice(a.run.ctx, chat) {
		if a.tellAs(d, "/notice", a.cfg.Texts.DayNotice()) {
			a.noticeLater(d, chat)
		}
	}
	if stays {
		return true, errDeferred
	}
	return false, nil
}

// noticeLater has a delivery that waits for the next day looked at before, so that its chat is told after all.
func (a *attempts) noticeLater(d *delivery, chat chatName) {
	a.memos.notNoticed(chat)
	d.wait.Due = sooner(d.wait.Due, time.Now().Add(noticeEvery))
	if !d.unkept {
		a.journal.wait(d.key, errSpent.Error(), d.wait, d.attempts)
	}
}

// staysWithConnector says whether a delivery that nobody keeps is left unacked: nothing of an answer is in the chat.
func (a *attempts) staysWithConnector(d *delivery) bool {
	return d.volatile && d.BufferID != "" && !slices.ContainsFunc(d.answer.outcomes, func(outcome string) bool {
		return outcome == outcomeUnknown || strings.HasPrefix(outcome, outcomeOK)
	})
}

// bury gives a delivery up without an attempt. It returns what answer returns.
func (a *attempts) bury(d *delivery, cause error) error {
	if err := a.apologise(d, cause); err != nil {
		return err
	}
	if d.unkept {
		return cause
	}
	if err := a.journal.bury(d.key, d.session, cause); err != nil {
		return err
	}
	return cause
}

// follow keeps the turn of results that an answer has asked for, which has been sent. It is an entry of its own, and is kept
// before its message is finished: so it is there once, whenever a process dies. An error is what answer returns.
func (a *attempts) follow(d *delivery) error {
	results := d.answer.results()
	if d.next = nil; len(results) == 0 || d.halted {
		return nil
	}
	root, n := resultsNumber(d.key)
	if n >= mostResults {
		return a.bury(d, errResultsChain)
	}
	event := relay.Event{MessageType: "text", MessageID: d.Event.MessageID, Source: d.Event.Source}
	next := &delivery{
		Delivery: relay.Delivery{Kind: relay.KindInbound, ReceivedAt: d.ReceivedAt, Event: &event},
		key:      root + resultsSuffix + strconv.Itoa(n+1), session: d.session, by: d.by, place: d.place, state: ledger.New,
		results: results, unkept: d.unkept, volatile: d.volatile, admitted: true, say: d.say,
	}
	next.log = logTo(a.cfg.Log, next.key, d.session)
	next.typing = a.chats.typingMark(&event, d.session)
	if !d.unkept {
		body, _ := json.Marshal(keptBody{next.Delivery, results, next.say}) // strings and numbers: it marshals
		err := a.journal.receive(ledger.Entry{Key: next.key, Seq: max(0, d.place), State: ledger.New, Body: body})
		if errors.Is(err, ledger.ErrTooLarge) {
			next.unkept, next.volatile = true, true
		} else if err != nil {
			return err
		}
	}
	d.next = next
	return nil
}

// conclude writes down how a turn has ended, which is what answer returned.
func (a *attempts) conclude(d *delivery, err error) ending {
	if isApology(d.key) {
		return a.concludeApology(d, err)
	}
	late := errors.Is(err, errLate)
	dead := err != nil && !late && !errors.Is(err, errDeferred)
	if dead {
		a.logDead(d, err)
	}
	a.pauses.leave(d.place)
	d.typing.clear()
	if err == nil || dead || late {
		a.closeDraft(d)
	}
	switch {
	case late:
		marksOf(d).stay()
		return a.waitLate(asLate(d))
	case err == nil && d.halted:
		marksOf(d).end(markNothing)
		return a.finish(d)
	case err == nil:
		marksOf(d).end(markCheck)
		return a.finish(d)
	case dead:
		marksOf(d).end(markCross)
		a.dropEarly(d)
		if d.apology != nil {
			a.sorry.owes(chatOf(d.Event))
		}
		a.counts.add(func(c *Counts) { c.Dead += messagesOf(d) })
		return endDead
	}
	if d.apology != nil { // it is not dead after all
		d.apology, d.early = nil, true
	}
	marksOf(d).takeOff()
	return a.putOff(d, errors.Is(err, errBehind))
}

func (a *attempts) logDead(d *delivery, err error) {
	log := a.cfg.Log.With(logs.KeyDelivery, d.key, logs.KeyAttempts, d.attempts, logs.KeyError, err)
	if d.volatile && len(d.answer.actions) > 0 { // there is no other trace of it
		answer, _ := json.Marshal(d.answer.actions) // they come out of a journal: they marshal
		log = log.With(logs.KeyAnswer, string(answer))
	}
	log.Error(logs.Dead)
}

// closeDraft makes a message of what the chat has seen of a draft whose turn has ended before: Telegram's is gone after half a
// minute, and Slack's looks as if more were to come.
func (a *attempts) closeDraft(d *delivery) {
	if d.draft != nil && !d.inChats.declined[named(*d.draft)] {
		a.postDraft(*d.draft, "", d.Event.Source.Platform)
	}
	d.draft, d.draftID = nil, 0
}

// finish finishes a delivery in the journal.
func (a *attempts) finish(d *delivery) ending {
	a.finishOthers(d)
	if !d.unkept || d.unsure {
		if err := a.journal.finish(d.key, !d.unkept); err != nil && !d.unsure {
			return endNotRecorded
		}
	}
	a.dropEarly(d)
	a.counts.add(func(c *Counts) { c.Finished += 1 + len(d.set) })
	return endFinished
}

// waitsBehind is why a message waits that could go on.
const waitsBehind = "another message of its session waits"

// putOff defers a delivery to the next run. A turn that the end of this run has cut short is no suspect then. behind says
// that it waits for another one of its session.
func (a *attempts) putOff(d *delivery, behind bool) ending {
	if !d.unkept && !d.answer.complete() && d.state != ledger.New {
		a.journal.unstart(d.key)
	}
	if !d.unkept && d.answer.complete() {
		a.noteEdits(d)
	}
	if behind && !d.unkept && d.wait.Since.IsZero() {
		d.wait.Since = time.Now()
		a.journal.wait(d.key, waitsBehind, d.wait, d.attempts)
	}
	due := d.due
	if d.wait.Due.After(due) {
		due = d.wait.Due
	}
	a.counts.add(func(c *Counts) {
		for _, m := range d.set {
			c.leave(m.ReceivedAt, due, behind)
		}
		c.leave(d.ReceivedAt, due, behind)
	})
	return endDeferred
}

// noteEdits writes down which edits of an answer were made: the next run does not make them again. One that was refused then would
// be said as a message, beside the one that it has changed.
func (a *attempts) noteEdits(d *delivery) {
	for i, raw := range d.answer.actions {
		var o action.Outgoing
		if d.answer.outcomes[i] == "" || json.Unmarshal(raw, &o) != nil || o.Op() != "edit" {
			continue
		}
		if err := a.journal.confirm(d.key, i, d.answer.outcomes[i]); err != nil {
			return
		}
	}
}

// cutShort is what an attempt ends with when the turn's context has ended: nil if the turn was stopped.
func (a *attempts) cutShort(ctx context.Context, d *delivery) error {
	if !stopped(ctx) {
		return errDeferred // the end of the run is not the agent's fault
	}
	d.log.Info(logs.TurnStopped)
	d.halted = true
	return nil
}

// dropEarly drops an apology that an earlier run has kept for a message that has ended without one.
func (a *attempts) dropEarly(d *delivery) {
	if d.early && d.apology == nil {
		_ = a.journal.finish(d.key+apologySuffix, true) // it is owed if it fails
	}
}

// concludeApology is conclude for an apology. What the chat does not take is forgotten: its message is dead, and listed.
func (a *attempts) concludeApology(d *delivery, err error) ending {
	a.pauses.leave(d.place)
	switch {
	case !errors.Is(err, errDeferred):
	case d.unkept:
		d.log.Warn(logs.ChatNotTold, logs.KeyError, err)
		a.sorry.unsaid(chatOf(d.Event))
		return endDeferred
	default:
		return a.putOff(d, errors.Is(err, errBehind))
	}
	if err != nil {
		d.log.Warn(logs.ChatNotTold, logs.KeyError, err)
	}
	if !d.void {
		a.sorry.said(chatOf(d.Event))
	}
	if !d.unkept {
		_ = a.journal.finish(d.key, true) // it is owed if it fails
	}
	return endFinished
}
