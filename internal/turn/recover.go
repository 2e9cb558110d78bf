package turn

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// Recover queues what earlier runs left, which is what Journal.Recover returns, in the order it arrived and before anything
// that Take brings. What was running when a process died is a suspect: suspects run first, one at a time, each marked
// before it starts.
func (w *Worker) Recover(entries []ledger.Entry) {
	var left []*delivery
	var receipts []*receipt
	suspects := 0
	entries, early := withoutEarly(entries)
	for n, e := range entries {
		d, err := w.restore(e)
		if err != nil {
			w.cfg.Log.Error(logs.EntryUnreadable, logs.KeyDelivery, e.Key, logs.KeyError, err)
			w.counts.add(func(c *Counts) { c.Dead++ })
			w.run.start(func() { w.journal.bury(e.Key, "", fmt.Errorf("the entry cannot be read: %w", err)) })
			continue
		}
		d.place = int64(n - len(entries))
		if chat, waits := waitsFor(d); waits {
			w.schedule.attempts.pauses.refused(chat, d.place, d.wait.Due, d.wait.Asked)
		}
		if d.suspect {
			suspects++
		}
		if d.early = early[d.key]; isApology(d.key) {
			w.schedule.attempts.sorry.owes(chatOf(d.Event))
		}
		w.counts.add(func(c *Counts) { c.Recovered++ })
		left, receipts = append(left, d), append(receipts, d.receipt)
	}
	w.intake.adopt(receipts)
	if len(entries) > 0 {
		w.cfg.Log.Info(logs.TakingUp, logs.KeyMessages, len(entries), logs.KeySuspects, suspects)
	}
	w.schedule.resume(left)
}

// restore makes the record of a delivery from its entry.
func (w *Worker) restore(e ledger.Entry) (*delivery, error) {
	d := &delivery{
		key: e.Key, state: e.State, attempts: e.Attempts, ready: make(chan struct{}),
		receipt: &receipt{key: e.Key, ackAtEnd: !w.cfg.Journal.Durable()},
		answer:  answer{actions: e.Actions, outcomes: e.Done, streamed: e.Open},
		wait:    e.Wait, volatile: !w.cfg.Journal.Durable(), inherited: len(e.Actions),
	}
	if e.Unreadable != nil {
		return nil, e.Unreadable
	}
	var body keptBody
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return nil, err
	}
	d.Delivery, d.results = body.Delivery, body.Results
	if d.Event == nil {
		return nil, errors.New("the entry has no event")
	}
	if e.Error == errSpent.Error() && w.schedule.attempts.days.more() {
		d.wait.Due = time.Time{} // the budget was raised
	}
	d.session = d.Event.SessionKey()
	d.log = logTo(w.cfg.Log, d.key, d.session)
	d.stop = isStop(w.cfg.Stop, d.Event)
	d.suspect = !d.stop && !d.answer.complete() && d.state != ledger.New
	d.inChats = d.answer.inChats()
	d.refused = d.answer.refused(e.Error)
	d.typing = w.chats.typingMark(d.Event, d.session)
	d.mark = w.schedule.attempts.marks.of(d.Event, d.session, d.state != ledger.New || len(d.answer.actions) > 0)
	if d.results != nil {
		d.mark = nil
	}
	if len(d.answer.actions) > 0 {
		d.typing.hidden = false // without a prompt that was open there would be no answer
	}
	return d, nil
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
