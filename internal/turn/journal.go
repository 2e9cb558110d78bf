package turn

import (
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// journal is what is written of a delivery after it has been journalled. It knows keys, no records, and has no lock.
//
// A write that failed has been logged when its method returns, and defers the delivery: then the error is errDeferred.
// keep and extend return ledger.ErrTooLarge as it is, because the next run would meet it as well.
type journal struct {
	ledger ledger.Journal
	run    *lifetime
	log    *slog.Logger
}

// start says that a turn starts, beside others or alone.
func (j *journal) start(key string, as ledger.State) error {
	return j.check(j.ledger.Start(j.run.ctx, key, as), logs.StartNotJournalled, key)
}

// keep keeps a whole answer.
func (j *journal) keep(key string, actions []json.RawMessage) error {
	return j.fits(j.ledger.Keep(j.run.ctx, key, actions), logs.AnswerNotKept, key)
}

// extend keeps the next action of a streamed answer.
func (j *journal) extend(key string, action json.RawMessage) error {
	return j.fits(j.ledger.Extend(j.run.ctx, key, action), logs.ActionNotKept, key)
}

// confirm says what became of an action.
func (j *journal) confirm(key string, i int, outcome string) error {
	ctx, cancel := j.run.recording()
	defer cancel()
	return j.check(j.ledger.Confirm(ctx, key, i, outcome), logs.OutcomeNotJournalled, key)
}

// fail counts a failed attempt.
func (j *journal) fail(key, session string, cause error, dead bool) error {
	err := j.ledger.Fail(j.run.ctx, key, cause.Error(), dead)
	return j.check(err, logs.FailureNotJournalled, key, logs.KeySession, session, logs.KeyReason, cause.Error())
}

// finish finishes a delivery, even as the run ends. It logs nothing, and its error is the ledger's.
func (j *journal) finish(key string) error {
	ctx, cancel := j.run.recording()
	defer cancel()
	return j.ledger.Finish(ctx, key)
}

// unstart says that a turn has not started after all, even as the run ends.
func (j *journal) unstart(key string) {
	ctx, cancel := j.run.recording()
	defer cancel()
	if err := j.ledger.Start(ctx, key, ledger.New); err != nil {
		j.log.Warn(logs.SuspectStays, logs.KeyDelivery, key, logs.KeyError, err)
	}
}

// fits is check for what may be too large.
func (j *journal) fits(err error, event, key string) error {
	if errors.Is(err, ledger.ErrTooLarge) {
		return err
	}
	return j.check(err, event, key)
}

func (j *journal) check(err error, event, key string, more ...any) error {
	if err == nil {
		return nil
	}
	j.log.With(logs.KeyDelivery, key).With(more...).Error(event, logs.KeyError, err)
	return errDeferred
}
