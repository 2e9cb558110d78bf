package turn

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// sender sends actions over the link, and confirms what became of each. It has no lock: what it remembers is in the record.
//
// It sends an action at most once. An action that has left has an outcome, also if no result came (outcomeUnknown). An
// action that could not leave defers the delivery: the error is errDeferred.
type sender struct {
	link    Link
	journal *journal
	prompts *prompts
	chats   *chats
	files   *files
	counts  *tally
	run     *lifetime
}

// deliverKept delivers the kept action number i, and confirms its outcome.
func (s *sender) deliverKept(d *delivery, i int, o action.Outgoing) error {
	outcome, sent := s.deliver(d, requestID(d.key, i), o)
	if !sent {
		return errDeferred
	}
	d.answer.outcomes[i] = outcome
	switch {
	case d.unkept, o.Repeatable():
		return nil
	case d.answer.complete() && d.answer.settled():
		return nil // it was the last: the delivery is about to be finished
	}
	return s.journal.confirm(d.key, i, outcome)
}

// deliverUnkept delivers an action that may be repeated and is not kept.
func (s *sender) deliverUnkept(d *delivery, o action.Outgoing) error {
	if _, sent := s.deliver(d, "", o); !sent {
		return errDeferred
	}
	return nil
}

// deliver sends one action and returns what became of it; sent is false if it never left. If the connector cannot send a
// file, it sends a text in its place.
func (s *sender) deliver(d *delivery, requestID string, o action.Outgoing) (outcome string, sent bool) {
	outcome, sent = s.put(d, requestID, o.Clone())
	if outcome == outcomeRefused && o.Op() == "send_media" {
		return s.putText(d, requestID, o)
	}
	return outcome, sent
}

// put sends one action, which it may change.
func (s *sender) put(d *delivery, requestID string, o action.Outgoing) (outcome string, sent bool) {
	op, chat := o.Op(), o.Chat()
	log := d.log.With(logs.KeyOp, op, logs.KeyRequest, requestID)
	if d.inChats.declined[chat] {
		log.Warn(logs.ChatDeclined)
		return outcomeDeclined, true
	}
	if (op == "edit" || op == "delete") && o.Action["message_id"] == nil {
		if d.inChats.newest[chat] == "" {
			log.Warn(logs.NoMessageKnown)
			return outcomeSkipped, true
		}
		o.Action["message_id"] = d.inChats.newest[chat]
	}
	if op == "prompt" && !s.prompts.put(d.key, d.Event.Source, o) {
		return "", false
	}
	result, err := s.link.Do(s.run.ctx, relay.Outbound{
		RequestID: requestID, Platform: o.FramePlatform(d.Event.Source.Platform), Action: o.Action,
	})
	if _, refused := errors.AsType[*relay.OpError](err); refused && op == "prompt" {
		s.prompts.drop(d.key, d.Event.Source, o)
	}
	outcome, sent = s.judge(log, op, result, err)
	d.inChats.note(op, chat, outcome)
	return outcome, sent
}

// judge counts and logs what Link.Do has returned for an action, and says what it means.
func (s *sender) judge(log *slog.Logger, op string, result relay.Result, err error) (outcome string, sent bool) {
	refusal, refused := errors.AsType[*relay.OpError](err)
	switch {
	case err == nil:
		s.counts.add(func(c *Counts) { c.Outbound++ })
		log.Info(logs.Reply, logs.KeyMessageID, result.MessageID)
		if result.MessageID == "" {
			return outcomeOK, true
		}
		return outcomeOK + ":" + result.MessageID, true
	case errors.Is(err, relay.ErrOutcomeUnknown):
		s.counts.add(func(c *Counts) { c.Unknown++ })
		log.Warn(logs.OutcomeUnknown, logs.KeyError, err)
		return outcomeUnknown, true
	case refused:
		s.counts.add(func(c *Counts) { c.Outbound++ })
		log.Warn(logs.ActionRefused, logs.KeyCode, refusal.Code, logs.KeyError, refusal.Message)
		declined := (relay.Result{Code: refusal.Code, Error: refusal.Message}).Declined()
		if declined && op != "react" && op != "typing" {
			return outcomeDeclined, true
		}
		return outcomeRefused, true
	default:
		log.Warn(logs.ActionNotSent, logs.KeyError, err)
		return "", false
	}
}

// putText sends the text for a send_media that the connector has refused, under request ids that a successor makes as well.
func (s *sender) putText(d *delivery, requestID string, media action.Outgoing) (outcome string, sent bool) {
	outcome = outcomeRefused
	link := s.files.publicLink(media)
	for i, text := range s.chats.shaper(d.Event, d.session).TextInstead(media, link) {
		if outcome, sent = s.put(d, hash(requestID, fmt.Sprint(i)), text.Clone()); !sent {
			return "", false
		}
	}
	return outcome, true
}
