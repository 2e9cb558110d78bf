package drain

import (
	"context"
	"errors"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// release gives the lease back if nobody has asked for another look, else it returns ledger.ErrAsked. Such a look is one that
// a poke asked for, so it takes a token; without one the lease is given back all the same, the mark stands, and the schedule
// looks.
func (r *run) release(ctx context.Context) error {
	r.settle(ctx)
	if stopped := r.stopped(ctx); stopped != nil {
		return stopped
	}
	r.noteRefusals(ctx)
	r.noteLimited(ctx)
	received := r.counts().Received > 0
	err := r.heart.silence(func() error { return r.lease.Release(ctx, r.plan(nil), received) })
	if errors.Is(err, ledger.ErrAsked) && r.lease.Said() { // there is something to say: that is no empty look
		r.inbox.look()
		return err
	}
	if errors.Is(err, ledger.ErrAsked) {
		again, failed := r.lease.LookAgain(ctx, received)
		if failed != nil {
			return failed
		}
		if again {
			r.log.Info(logs.AskedAgain)
			r.poked = true
			return err
		}
		err = r.heart.silence(func() error {
			_, err := r.lease.HandOff(ctx, r.plan(nil), received)
			return err
		})
	}
	if err == nil {
		r.log.Info(logs.Released)
	}
	return err
}

// giveBack gives the lease back after a run that ended with err, unless loop has, and hands on what is left. It returns
// how the drain ended.
func (r *run) giveBack(err error) error {
	if r.lease.GivenBack() || isLost(err) {
		return err
	}
	has := r.times.giveBack(errors.Is(err, errDeadline))
	ctx, cancel := context.WithTimeout(context.Background(), has)
	defer cancel()
	if errors.Is(err, errTerminated) {
		r.flush(ctx)
	} else {
		settling, enough := context.WithTimeout(ctx, has-min(has/3, time.Second)) // the rest is for the lease
		r.settle(settling)
		enough()
	}
	if r.phase == revoked {
		r.log.Error(logs.Revoked, logs.KeyGateway, r.access.name(), logs.KeyError, err)
		if err := r.lease.Disable(ctx, err.Error()); err != nil {
			r.log.Error(logs.RevokedUnwritten, logs.KeyError, err)
		}
	}
	r.noteTrouble(ctx, err)
	r.noteRefusals(ctx)
	r.noteLimited(ctx)
	c := r.counts()
	// What came before another socket took the seat fills no budget: it may take it each time, and each time send something first.
	asked, failed := r.lease.HandOff(ctx, r.plan(err), c.Received > 0 && !errors.Is(err, errReplaced))
	if failed != nil {
		r.log.Error(logs.LeaseKept, logs.KeyError, failed)
	} else {
		r.log.Info(logs.Released)
	}
	if !errors.Is(err, errDeadline) {
		return err
	}
	if r.phase.met() && !r.flipped {
		r.figures.unflipped()
		r.log.Warn(logs.LeftUnflipped)
	}
	if r.flipped && c.Left == c.Waiting && !asked && !r.lease.Said() {
		return nil
	}
	r.handOn(ctx)
	return err
}

// handOn invokes drain once more for what is left, unless that would get nowhere.
func (r *run) handOn(ctx context.Context) {
	c := r.counts()
	switch {
	case r.Again == nil:
		r.log.Warn(logs.NoHandOff)
	case c.Received == 0 && c.Finished == 0:
		r.log.Warn(logs.NoProgress)
	case r.req.Hop >= r.settings.MaxHandoffs:
		r.log.Warn(logs.LastHop)
	default:
		if err := r.Again(ctx, Request{Reason: ledger.Continue, Hop: r.req.Hop + 1}); err != nil {
			r.log.Error(logs.HandOffFailed, logs.KeyError, err)
		}
	}
}

// flushTime is how long what is owed to the journal may hold up going idle, and the end of a process that is being killed.
const flushTime = time.Second

// flush writes to the journal what is known and could not be written before.
func (r *run) flush(ctx context.Context) {
	if r.worker == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	r.worker.Flush(ctx)
}

// mostSettling is how long a run without a deadline waits until the journal takes what is known.
const mostSettling = time.Minute

// settle writes to the journal what is known and could not be written before, until it is written or ctx ends.
func (r *run) settle(ctx context.Context) {
	if r.worker == nil {
		return
	}
	if r.times.end.IsZero() {
		limited, cancel := context.WithTimeout(ctx, mostSettling)
		defer cancel()
		ctx = limited
	}
	r.worker.Settle(ctx)
}

// noteRefusals writes down what the connector has refused, for an operator to see. Nothing new is no write.
func (r *run) noteRefusals(ctx context.Context) {
	c := r.counts()
	sum := c.Retried
	byClass := map[string]int{}
	for class, n := range c.Refused {
		byClass[string(class)] = n
		sum += n
	}
	if sum == r.noted {
		return
	}
	if err := r.lease.SetRefusals(ctx, ledger.Refusals{At: time.Now(), ByClass: byClass, Retried: c.Retried}); err != nil {
		r.log.Warn(logs.RefusalsUnwritten, logs.KeyError, err)
		return
	}
	r.noted = sum
}

// noteLimited writes down how many messages of bots this day's runs have not answered. Nothing new is no write.
func (r *run) noteLimited(ctx context.Context) {
	c := r.counts()
	if c.Limited == r.notedLimited {
		return
	}
	day := ledger.Limited{Date: ledger.DateOf(time.Now()), Messages: c.Limited}
	if before := r.lease.Grant().Limited; before.Date == day.Date {
		day.Messages += before.Messages
	}
	if err := r.lease.SetLimited(ctx, day); err != nil {
		r.log.Warn(logs.LimitedUnwritten, logs.KeyError, err)
		return
	}
	r.notedLimited = c.Limited
}

// plan says when the next sweep is due, after a run that ended with err. What is left can bring it forward, to when the
// first of it is due, but not closer than the first interval; it never pushes it back.
func (r *run) plan(err error) ledger.Plan {
	plan := r.planned(err)
	plan.After = r.tell(err)
	c := r.counts()
	if c.Left == 0 && !r.lease.Said() {
		return plan
	}
	now := time.Now()
	at := later(c.Due, now.Add(r.settings.Sweep))
	if plan.Every == 0 {
		plan.Every = r.settings.Sweep
	}
	if plan.At.After(at) || plan.At.Before(now) {
		plan.At, plan.Why = at, whyLeft
	}
	return plan
}

// planned is the plan for what comes unasked.
func (r *run) planned(err error) ledger.Plan {
	plan := r.lease.Grant().Plan
	scheduled := r.req.Reason == ledger.Schedule
	switch {
	// After the first interval where something was received, or may have been by a holder that died and wrote no plan, or
	// where the connector may be sending to nobody. It is not if another socket took the seat.
	case r.counts().Received > 0, plan.Every == 0, r.lease.Grant().TakenOver,
		!r.flipped && !(scheduled && errors.Is(err, errReplaced)) && !r.identityRefusedBefore(err):
		plan.Every, plan.Why = r.settings.Sweep, r.whySoon(err)
	case scheduled && !plan.At.After(time.Now().Add(ledger.SweepEarly)):
		plan.Every, plan.Why = min(2*plan.Every, r.settings.SweepMax), whyLonger
	default:
		return plan // a look that nobody planned, for a poke or the mark, moves no plan
	}
	plan.At = time.Now().Add(plan.Every)
	return plan
}

// Why the next sweep is due when it is, in words.
const (
	whyReceived  = "the first interval after something was received"
	whyTakenOver = "the first interval after a drain that died"
	whyUnflipped = "the first interval after a run that the connector did not end"
	whyLonger    = "nothing was received: the interval is doubled"
	whyLeft      = "something that waits is due then"
	whyFirst     = "the first interval"
)

// whySoon is why the next sweep is due after the first interval.
func (r *run) whySoon(err error) string {
	switch {
	case r.counts().Received > 0:
		return whyReceived
	case r.lease.Grant().TakenOver:
		return whyTakenOver
	case !r.flipped && err != nil:
		return whyUnflipped
	}
	return whyFirst
}
