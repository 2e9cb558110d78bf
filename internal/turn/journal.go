package turn

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// journal is what is written of a delivery after it has been journalled. It knows keys, no records.
//
// A write that failed has been logged when its method returns, and defers the delivery: then the error is errDeferred.
// keep, extend and replace return ledger.ErrTooLarge as it is, because the next run would meet it as well.
//
// What has happened and could not be written (an outcome, an end) is owed: it is written with the next write that succeeds,
// and by flush. Its lock guards what is owed, and is held for no call.
type journal struct {
	ledger ledger.Journal
	says   ledger.Says
	run    *lifetime
	counts *tally
	log    *slog.Logger

	paying chan struct{} // full while somebody pays
	mu     sync.Mutex
	owed   []debt // in the order in which it happened
}

// debt is a write that is owed.
type debt struct {
	key     string
	action  int    // whose outcome it is; -1: the delivery is finished
	outcome string // of the action
}

// start says that a turn starts, beside others or alone.
func (j *journal) start(key string, as ledger.State) error {
	err := j.insist(func() error { return j.ledger.Start(j.run.ctx, key, as) })
	return j.check(err, logs.StartNotJournalled, key)
}

// count writes the day's count for a turn that no entry has, once: the table that has no entry may take no count either.
func (j *journal) count(key string, day ledger.Day) {
	ctx, cancel := j.run.recording()
	defer cancel()
	if err := j.ledger.StartCounted(ctx, "", ledger.Running, day); err != nil {
		j.log.Warn(logs.TurnNotCounted, logs.KeyDelivery, key, logs.KeyError, err)
	}
}

// startCounted is start with the day's count.
func (j *journal) startCounted(key string, as ledger.State, day ledger.Day) error {
	err := j.insist(func() error { return j.ledger.StartCounted(j.run.ctx, key, as, day) })
	return j.check(err, logs.StartNotJournalled, key)
}

// startSet says that the turn of several deliveries starts, of which the last one leads the others.
func (j *journal) startSet(keys []string, as ledger.State, day ledger.Day) error {
	err := j.insist(func() error { return j.ledger.StartSet(j.run.ctx, keys, as, day) })
	return j.check(err, logs.StartNotJournalled, keys[len(keys)-1])
}

// part ends a set whose turn has failed.
func (j *journal) part(key string, p ledger.Parting) error {
	err := j.insist(func() error { return j.ledger.Part(j.run.ctx, key, p) })
	if errors.Is(err, ledger.ErrNoEntry) {
		return nil // each has ended, or is on its own
	}
	return j.check(err, logs.FailureNotJournalled, key, logs.KeyReason, p.Reason)
}

// keep keeps a whole answer.
func (j *journal) keep(key string, actions []json.RawMessage) error {
	err := j.insist(func() error { return j.ledger.Keep(j.run.ctx, key, actions) })
	return j.fits(err, logs.AnswerNotKept, key)
}

// extend keeps the next action of a streamed answer.
func (j *journal) extend(key string, action json.RawMessage) error {
	return j.fits(j.ledger.Extend(j.run.ctx, key, action), logs.ActionNotKept, key)
}

// draft notes a draft before it is shown. If that cannot be written, the chat sees its text later.
func (j *journal) draft(key string, id int) bool {
	return j.check(j.ledger.Draft(j.run.ctx, key, id), logs.DraftNotNoted, key) == nil
}

// replace keeps an action in the place of another.
func (j *journal) replace(key string, i int, action json.RawMessage) error {
	err := j.insist(func() error { return j.ledger.Replace(j.run.ctx, key, i, action) })
	return j.fits(err, logs.ActionNotKept, key)
}

// oweApology keeps what a chat is to be told. It is made before its message is dead, and so even as the run ends.
func (j *journal) oweApology(e ledger.Entry) error {
	err := j.insist(func() error {
		ctx, cancel := j.run.recording()
		defer cancel()
		return j.ledger.Owe(ctx, e)
	})
	return j.fits(err, logs.ApologyNotKept, e.Key)
}

// seal keeps a streamed answer that is whole.
func (j *journal) seal(key string, actions []json.RawMessage, outcomes []string) error {
	err := j.insist(func() error { return j.ledger.Seal(j.run.ctx, key, actions, outcomes) })
	return j.fits(err, logs.AnswerNotKept, key)
}

// confirm says what became of an action. The next action must not leave before that is known.
func (j *journal) confirm(key string, i int, outcome string) error {
	err := j.insist(func() error { return j.record(debt{key, i, outcome}) })
	if err == nil {
		return nil
	}
	j.log.Error(logs.OutcomeNotJournalled, logs.KeyDelivery, key, logs.KeyError, err)
	j.owe(debt{key, i, outcome})
	return errDeferred
}

// insistOnEnd is insist for a write that ends the entry: one that was made and reported as failed leaves no entry open.
func (j *journal) insistOnEnd(write func() error) error {
	failed := false
	return j.insist(func() error {
		err := write()
		if failed && errors.Is(err, ledger.ErrNoEntry) {
			return nil
		}
		failed = failed || err != nil
		return err
	})
}

// insistence is how long a write that fails is tried again, while its delivery waits.
const insistence = 30 * time.Second

// insist makes a write that may be made twice, again and again if it fails, unless that is no use.
func (j *journal) insist(write func() error) error {
	for wait, begun := time.Second, time.Now(); ; wait = min(2*wait, 4*time.Second) {
		err := write()
		switch {
		case err == nil, errors.Is(err, ledger.ErrLost), errors.Is(err, ledger.ErrTooLarge),
			errors.Is(err, ledger.ErrNoEntry), time.Since(begun)+wait > insistence:
			return err
		}
		select {
		case <-time.After(wait):
		case <-j.run.ctx.Done():
			return err
		}
	}
}

// fail counts a failed attempt, which was the last.
func (j *journal) fail(key, session string, cause error) error {
	err := j.insistOnEnd(func() error { return j.ledger.Fail(j.run.ctx, key, cause.Error(), true) })
	return j.check(err, logs.FailureNotJournalled, key, logs.KeySession, session, logs.KeyReason, cause.Error())
}

// defers has a delivery wait. It is not read again before it is due.
func (j *journal) defers(key, reason string, w ledger.Wait, attempts int) error {
	err := j.insist(func() error {
		ctx, cancel := j.run.recording()
		defer cancel()
		return j.ledger.Defer(ctx, key, reason, w, attempts)
	})
	return j.check(err, logs.WaitNotJournalled, key)
}

// failAndWait counts a failed attempt, which another one follows.
func (j *journal) failAndWait(key string, cause error, w ledger.Wait, attempts int) error {
	err := j.insist(func() error { return j.ledger.Defer(j.run.ctx, key, cause.Error(), w, attempts) })
	return j.check(err, logs.FailureNotJournalled, key, logs.KeyReason, cause.Error())
}

// bury gives a delivery up without an attempt.
func (j *journal) bury(key, session string, cause error) error {
	err := j.insistOnEnd(func() error {
		ctx, cancel := j.run.recording()
		defer cancel()
		return j.ledger.Bury(ctx, key, cause.Error())
	})
	return j.check(err, logs.FailureNotJournalled, key, logs.KeySession, session, logs.KeyReason, cause.Error())
}

// wait says when a delivery may be tried again. If that cannot be written, the next run tries it at once.
func (j *journal) wait(key, reason string, w ledger.Wait, attempts int) {
	ctx, cancel := j.run.recording()
	defer cancel()
	if err := j.ledger.Defer(ctx, key, reason, w, attempts); err != nil {
		j.log.Warn(logs.WaitNotJournalled, logs.KeyDelivery, key, logs.KeyError, err)
		return
	}
	j.pay(ctx)
}

// finish finishes a delivery, even as the run ends. With owe it is owed if that fails. Its error is the ledger's.
func (j *journal) finish(key string, owe bool) error {
	err := j.record(debt{key: key, action: -1})
	if err != nil && owe {
		j.log.Error(logs.FinishNotJournalled, logs.KeyDelivery, key, logs.KeyError, err)
		j.owe(debt{key: key, action: -1})
	}
	return err
}

// unstart says that a turn has not started after all, even as the run ends.
func (j *journal) unstart(key string) {
	ctx, cancel := j.run.recording()
	defer cancel()
	if err := j.ledger.Start(ctx, key, ledger.New); err != nil {
		j.log.Warn(logs.SuspectStays, logs.KeyDelivery, key, logs.KeyError, err)
	}
}

// record writes what has happened, even as the run ends, and then what is owed.
func (j *journal) record(what debt) error {
	ctx, cancel := j.run.recording()
	defer cancel()
	err := j.write(ctx, what)
	if err == nil {
		j.pay(ctx)
	}
	return err
}

func (j *journal) write(ctx context.Context, what debt) error {
	if what.action < 0 {
		err := j.ledger.Finish(ctx, what.key)
		if errors.Is(err, ledger.ErrNoEntry) {
			return nil // an earlier try was made, and its answer was lost
		}
		return err
	}
	return j.ledger.Confirm(ctx, what.key, what.action, what.outcome)
}

// owe notes a write that has failed. What is known of an action of a delivery is no news once the delivery is finished.
func (j *journal) owe(what debt) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.owed = append(j.owed, what)
}

// pay writes what is owed, unless somebody else does that.
func (j *journal) pay(ctx context.Context) {
	select {
	case j.paying <- struct{}{}:
		j.payAll(ctx) // what fails stays owed
		<-j.paying
	default:
	}
}

// flush writes what is owed, after somebody else if need be, until one write fails.
func (j *journal) flush(ctx context.Context) error {
	select {
	case j.paying <- struct{}{}:
		defer func() { <-j.paying }()
		return j.payAll(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle is flush until nothing is owed, unless that is no use.
func (j *journal) settle(ctx context.Context) {
	for wait := time.Second / 4; ; wait = min(2*wait, 4*time.Second) {
		trying, cancel := context.WithTimeout(ctx, recordTime)
		err := j.flush(trying)
		cancel()
		if err == nil || errors.Is(err, ledger.ErrLost) {
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// payAll writes what is owed, of each delivery until one write fails. Its error is the last one's.
func (j *journal) payAll(ctx context.Context) (failed error) {
	j.mu.Lock()
	owed := slices.Clone(j.owed)
	j.mu.Unlock()
	refused := map[string]bool{}
	for _, next := range owed {
		if refused[next.key] {
			continue
		}
		if err := j.write(ctx, next); err != nil && !errors.Is(err, ledger.ErrNoEntry) {
			refused[next.key], failed = true, err
			if errors.Is(err, ledger.ErrLost) || ctx.Err() != nil {
				return failed
			}
			continue
		}
		j.mu.Lock()
		j.owed = slices.DeleteFunc(j.owed, func(what debt) bool { return what == next })
		j.mu.Unlock()
	}
	return failed
}

// giveUp logs and counts what is still owed, as nothing will be written any more.
func (j *journal) giveUp() {
	j.mu.Lock()
	owed := j.owed
	j.owed = nil
	j.mu.Unlock()
	for _, what := range owed {
		log := j.log.With(logs.KeyDelivery, what.key)
		if what.action >= 0 {
			log = log.With(logs.KeyNumber, what.action, logs.KeyOutcome, what.outcome)
		}
		log.Error(logs.Unwritten)
		j.counts.add(func(c *Counts) { c.Unwritten++ })
	}
}

// fits is check for what may be too large.
func (j *journal) fits(err error, event, key string) error {
	if errors.Is(err, ledger.ErrTooLarge) {
		return err
	}
	return j.check(err, event, key)
}

// check logs a write that failed. After one that was made, what is owed is written.
func (j *journal) check(err error, event, key string, more ...any) error {
	if err == nil {
		ctx, cancel := j.run.recording()
		defer cancel()
		j.pay(ctx)
		return nil
	}
	j.log.With(logs.KeyDelivery, key).With(more...).Error(event, logs.KeyError, err)
	return errDeferred
}
