package turn

import (
	"cmp"
	"errors"
	"log/slog"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// sender sends actions over the link, and confirms what became of each. It has no lock: what it remembers is in the record.
//
// It sends an action once. An action that has left has an outcome, also if no result came (outcomeUnknown), unless the
// connector has refused it: what that leads to is decided in send.go. An action that could not leave defers the delivery:
// the error is errDeferred.
type sender struct {
	link    Link
	journal *journal
	prompts *prompts
	memos   *memos
	counts  *tally
	run     *lifetime
}

// refusal is what the connector has said of an action that it did not take.
type refusal struct {
	action.Refusal
	op    string
	words string
}

// mayPass says whether the same action may pass later. A file that is refused, and nobody knows why, becomes a text.
func (r *refusal) mayPass() bool {
	return r.Class == action.Transient || r.Class == action.Unclear && r.op != "send_media"
}

// outcome is the action's if it is not sent again.
func (r *refusal) outcome() string {
	if r.Class == action.Declined {
		return outcomeDeclined
	}
	return outcomeRefused
}

// final is the error of a message with such an action. The first one stays.
func (r *refusal) final(first *refusedError) *refusedError {
	if first != nil {
		return first
	}
	return &refusedError{op: r.op, words: r.words, chat: r.Class == action.Declined}
}

// deliverKept sends the kept action number i, and confirms its outcome. If it was refused it has none, unless it is an edit or
// another one that nobody misses.
func (s *sender) deliverKept(d *delivery, i int, o action.Outgoing) (*refusal, error) {
	outcome, refused, sent := s.put(d, requestID(d.key, i), o.Clone())
	if o.IsFinalDraft() && outcome == outcomeUnknown { // once more is harmless
		d.doubtful = i + 1
		outcome, refused, sent = s.put(d, requestID(d.key, i), o.Clone())
	}
	switch {
	case !sent && d.doubtful == i+1: // no later run knows that it may be there
		outcome = outcomeUnknown
	case !sent:
		return nil, errDeferred
	case outcome == "":
		return refused, nil
	}
	return refused, s.settle(d, i, o, outcome)
}

// settle gives the kept action number i its outcome.
func (s *sender) settle(d *delivery, i int, o action.Outgoing, outcome string) error {
	d.answer.outcomes[i] = outcome
	d.inChats.note(o, outcome)
	switch {
	case d.unkept, o.Repeatable():
		return nil
	case d.answer.complete() && d.answer.settled() && d.refused == nil && d.answer.results() == nil:
		return nil // it was the last: the delivery is about to be finished
	}
	return s.journal.confirm(d.key, i, outcome)
}

// deliverUnkept delivers an action that may be repeated and is not kept.
func (s *sender) deliverUnkept(d *delivery, o action.Outgoing) (outcome string, r *refusal, err error) {
	outcome, r, sent := s.put(d, "", o.Clone())
	if !sent {
		return "", nil, errDeferred
	}
	d.inChats.note(o, outcome)
	return outcome, r, nil
}

// put sends one action, which it may change, and returns what became of it; sent is false if it never left.
func (s *sender) put(d *delivery, requestID string, o action.Outgoing) (outcome string, r *refusal, sent bool) {
	op, chat := o.Op(), named(o)
	log := d.log.With(logs.KeyOp, op, logs.KeyRequest, requestID)
	if d.inChats.declined[chat] {
		log.Warn(logs.ChatDeclined)
		if d.refused == nil && hasWords(o) {
			d.refused = &refusedError{op: op, words: "its chat was declined", chat: true}
		}
		return outcomeDeclined, nil, true
	}
	if why := s.needless(d, o); why != "" {
		if why == logs.NoThread && hasWords(o) { // else they would be lost, and the message answered
			log.Warn(why)
			d.refused = (&refusal{op: op, words: "nobody knows the thread that it is for"}).final(d.refused)
			return outcomeRefused, nil, true
		}
		if op == "react" {
			log.Info(why)
		} else {
			log.Warn(why)
		}
		return outcomeSkipped, nil, true
	}
	if o.Aimed() {
		o = o.At(d.answer.threadID(o), cmp.Or(o.Platform, d.Event.Source.Platform))
	}
	if op == "prompt" && !s.prompts.put(d.key, d.Event.Source, o) {
		return "", nil, false
	}
	result, err := s.link.Do(s.run.ctx, relay.Outbound{
		RequestID: requestID, Platform: o.FramePlatform(d.Event.Source.Platform), Action: o.Action,
	})
	if op == "react" && refusesReacts(err) {
		s.memos.noReact(nameOf(o, d.Event.Source))
	}
	outcome, r, sent = s.judge(log, o, result, err)
	if outcome == outcomeDeclined && hasWords(o) {
		d.refused = r.final(d.refused)
	}
	return outcome, r, sent
}

// needless says why an action is not sent; empty: it is, and what it is for is filled in.
func (s *sender) needless(d *delivery, o action.Outgoing) (why string) {
	switch op := o.Op(); {
	case o.Aimed() && d.answer.threadID(o) == "":
		return logs.NoThread
	case op == "react" && !s.memos.mayReact(s.run.ctx, nameOf(o, d.Event.Source)):
		return logs.NoReact
	case op == "edit" && o.Of != "" && !s.canEdit(d, o):
		return logs.CannotEdit
	case op != "edit" && op != "delete" || o.Action["message_id"] != nil:
		return ""
	}
	id := d.inChats.newest[named(o)]
	if number, ok := o.OfAction(); ok {
		id = d.answer.messageID(number)
	}
	if id == "" {
		return logs.NoMessageKnown
	}
	o.Action["message_id"] = id
	return ""
}

// hasWords says whether a chat lacks a part of the answer if an action is not carried out.
func hasWords(o action.Outgoing) bool { return !o.Repeatable() || o.Op() == "edit" }

// refusesReacts reports whether what Link.Do has returned for a react says that the chat will never take one.
func refusesReacts(err error) bool {
	said, refused := errors.AsType[*relay.OpError](err)
	if !refused {
		return false
	}
	class := action.ClassOf("react", said.Result()).Class
	return class == action.Permanent || class == action.Declined
}

// canEdit says whether a message can be edited: its platform offers edits, and its id is known.
func (s *sender) canEdit(d *delivery, o action.Outgoing) bool {
	platform := o.Platform
	if platform == "" {
		platform = d.Event.Source.Platform
	}
	if !action.CanEdit(s.link.Descriptor(platform)) {
		return false
	}
	number, ok := o.OfAction()
	return !ok || d.answer.messageID(number) != ""
}

// judge counts and logs what Link.Do has returned for an action, and says what it means.
func (s *sender) judge(
	log *slog.Logger, o action.Outgoing, result relay.Result, err error,
) (outcome string, r *refusal, sent bool) {
	said, refused := errors.AsType[*relay.OpError](err)
	switch {
	case err == nil:
		s.counts.add(func(c *Counts) { c.Outbound++ })
		log.Info(logs.Reply, logs.KeyMessageID, result.MessageID)
		return accepted(o, result), nil, true
	case errors.Is(err, relay.ErrOutcomeUnknown):
		s.counts.add(func(c *Counts) { c.Unknown++ })
		log.Warn(logs.OutcomeUnknown, logs.KeyError, err)
		return outcomeUnknown, nil, true
	case !refused:
		log.Warn(logs.ActionNotSent, logs.KeyError, err)
		return "", nil, false
	}
	means := action.ClassOf(o.Op(), said.Result())
	log = log.With(logs.KeyClass, means.Class)
	if means.Class == action.Unknown {
		s.counts.add(func(c *Counts) { c.Unknown++ })
		log.Warn(logs.OutcomeUnknown, logs.KeyError, said)
		return outcomeUnknown, nil, true
	}
	counted := means.Class
	if o.Repeatable() && counted != action.Done {
		counted = action.Cosmetic
	}
	s.counts.add(func(c *Counts) {
		c.Outbound++
		c.refuse(counted)
	})
	r = &refusal{Refusal: means, op: o.Op(), words: cmp.Or(said.Message, said.Code, "it gives no reason")}
	switch {
	case means.Class == action.Done:
		log.Info(logs.ActionRefused, logs.KeyCode, said.Code, logs.KeyError, said.Message)
		return outcomeOK, nil, true
	case !o.Repeatable():
		log.Warn(logs.ActionRefused, logs.KeyCode, said.Code, logs.KeyError, said.Message)
		return "", r, true
	case r.op == "react", r.op == "typing":
		log.Info(logs.ActionRefused, logs.KeyCode, said.Code, logs.KeyError, said.Message)
		return outcomeRefused, nil, true
	}
	log.Warn(logs.ActionRefused, logs.KeyCode, said.Code, logs.KeyError, said.Message)
	return r.outcome(), r, true
}
