package turn

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// mustApologise says whether the chat of a message that is dead is to be told: not if the chat is what refused it, or has
// something of the answer, or a bot has written it, or the chat has been told within the hour.
func (a *attempts) mustApologise(d *delivery, cause error) bool {
	refused, is := errors.AsType[*refusedError](cause)
	switch {
	case a.cfg.Apology == "", d.Event.Source.IsBot, d.say != nil:
		return false
	case is && (refused.chat || refused.waited):
		return false
	case is && slices.ContainsFunc(d.answer.outcomes, func(outcome string) bool { return strings.HasPrefix(outcome, outcomeOK) }):
		return false
	}
	return a.sorry.mayTell(a.run.ctx, chatOf(d.Event))
}

// isVoid reports whether a delivery is an apology that is not to be said: its chat is told by another one, or its message is not
// dead. One of an earlier run may be of a message whose late answer came at the moment in which it would have been given up.
func (a *attempts) isVoid(ctx context.Context, d *delivery) (bool, error) {
	if !isApology(d.key) {
		return false, nil
	}
	chat := chatOf(d.Event)
	if d.inherited > 0 && a.cfg.Says != nil {
		root := strings.TrimSuffix(d.key, apologySuffix)
		found, err := a.cfg.Says.Known(ctx, root)
		if err != nil {
			d.log.Warn(logs.NotLoaded, logs.KeyError, err)
			return false, errDeferred
		}
		if found[root].State == ledger.Finished {
			a.sorry.unsaid(chat)
			return true, nil
		}
	}
	return !a.sorry.mayBeSaid(ctx, chat, d.key), nil
}

// apologise makes what the chat of a message is told that is about to be dead. It is an entry of its own, with a whole answer,
// and is kept before the message is: so it goes the way of any answer, also in later runs. What
// cannot be kept now leaves the message as it is, for the next run: then the error is errDeferred.
func (a *attempts) apologise(d *delivery, cause error) error {
	if d.apology = nil; !a.mustApologise(d, cause) {
		return nil
	}
	shaper := a.chats.shaper(d.Event, d.session)
	parts, err := shaper.ShapeAll([]relay.Action{{"op": "send", "content": a.cfg.Apology}})
	if d.draft == nil { // else what the chat has seen of it stays
		intoDraft(parts, shaper, d.Event.Source.ChatID, d.draftID)
	}
	var raws []json.RawMessage
	if err == nil {
		raws, err = action.Encode(parts)
	}
	if err != nil {
		a.cfg.Log.Warn(logs.ChatNotTold, logs.KeyDelivery, d.key, logs.KeyError, err)
		return nil
	}
	key := d.key + apologySuffix
	d.apology = &delivery{
		Delivery: relay.Delivery{Kind: relay.KindInbound, ReceivedAt: d.ReceivedAt, Event: &relay.Event{
			MessageType: "text", MessageID: d.Event.MessageID, Source: d.Event.Source,
		}},
		key: key, session: d.session, by: d.by, log: logTo(a.cfg.Log, key, d.session), place: d.place, typing: d.typing,
		state: ledger.New, answer: answer{actions: raws, outcomes: make([]string, len(raws))},
		unkept: d.unkept, volatile: d.volatile,
	}
	if d.unkept {
		return nil
	}
	body, _ := json.Marshal(d.apology.Delivery) // strings and numbers: it marshals
	err = a.journal.oweApology(ledger.Entry{
		Key: key, Seq: max(0, d.place), Session: sessionHash(d.session), Body: body, Actions: raws,
	})
	if errors.Is(err, ledger.ErrTooLarge) {
		d.apology.unkept, d.apology.volatile = true, true
		return nil
	}
	return err
}
