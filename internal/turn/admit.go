package turn

import (
	"context"
	"errors"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// errSpent means that the day's budget of turns is used up.
var errSpent = errors.New("the day's budget of turns (DORMOUSE_MAX_TURNS_PER_DAY) is used up")

// hasBudget reports whether a budget decides on the delivery's turn: then it does not start before it is counted.
func (a *attempts) hasBudget(d *delivery) bool {
	return a.days.counts() || a.cfg.BotTurns != 0 && d.Event.Source.IsBot
}

// admit says whether a delivery may have a turn. That is no error for a bot's message that is over its chat's budget: it is
// finished unanswered. Else the error is errSpent.
func (a *attempts) admit(ctx context.Context, d *delivery) (ok bool, err error) {
	if !a.days.left(turnPlace(d)) {
		return false, errSpent
	}
	s := d.Event.Source
	before := d.admitted || d.attempts > 0 || d.wait.Tries > 0 || d.suspect // it has had its turn counted
	d.admitted = true
	if !s.IsBot || before {
		return true, nil
	}
	ok, tell := a.memos.botTurn(ctx, chatName{s.Platform, s.ChatID})
	if tell {
		d.log.Warn(logs.BotsLimited, logs.KeyOf, max(a.cfg.BotTurns, 0))
	}
	if !ok {
		a.counts.add(func(c *Counts) { c.Limited += 1 + len(d.set) })
	}
	return ok, nil
}

// begin says that a turn starts, in the state as: to the journal, if that does not say so, and to the day's budget.
func (a *attempts) begin(d *delivery, as ledger.State) error {
	if len(d.set) > 0 && !d.joined {
		return a.startSet(d, as)
	}
	if !a.days.counts() {
		if d.state == as || d.unkept {
			return nil
		}
		return a.journal.start(d.key, as)
	}
	day, ok := a.days.take(turnPlace(d))
	if !ok {
		return errSpent
	}
	if d.unkept {
		a.journal.count(d.key, day)
		return nil // no loss over a count: it may be answered now or never
	}
	err := a.journal.startCounted(d.key, as, day)
	if err != nil {
		a.days.giveBack(day)
	}
	return err
}
