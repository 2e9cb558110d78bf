package turn

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// An agent may say that its answer comes later (design 4, late answers). Then the message stays in the journal, waiting for
// that, and its session goes on. What comes is a say (says.go).

// LateReason is what the reason begins with for which such a message waits. Restore knows the message by it.
const LateReason = "late answer until "

var errNoLateAnswer = errors.New("the agent has said that its answer comes later, and none, or not the last part of it, came in time")

// errLate is what a turn ends with whose answer comes later.
var errLate = errors.New("turn: the answer comes later")

// isLate reports whether an unfinished entry waits for a late answer.
func isLate(e ledger.Entry) bool {
	return strings.HasPrefix(e.Error, LateReason) && !e.Wait.Due.IsZero() && len(e.Actions) == 0
}

// later is failed for an agent whose answer comes later. It returns what answer returns.
func (a *attempts) later(d *delivery, l *agent.LaterError) error {
	a.counts.add((*Counts).heard)
	if d.unkept {
		return a.bury(d, fmt.Errorf("%w, and nothing keeps the message until then", l))
	}
	now := time.Now()
	until := now.Add(l.After)
	w := ledger.Wait{Due: until, Since: now}
	if err := a.journal.defers(d.key, LateReason+until.UTC().Format(time.RFC3339), w, d.attempts); err != nil {
		return err
	}
	d.state, d.late = ledger.New, until
	d.log.Info(logs.AnswersLater, logs.KeyUntil, until)
	return errLate
}

// waitLate has a message wait for its late answer.
func (a *attempts) waitLate(m late) ending {
	a.lates.add(m)
	if a.cfg.Look != nil {
		a.cfg.Look() // it may be there
	}
	return endLate
}

// tooLate gives up a message whose late answer has not come. If it has ended as the last part came at that moment, that is its
// answer, and nobody is told that there was none.
func (a *attempts) tooLate(d *delivery) error {
	d.state = ledger.New
	if err := a.apologise(d, errNoLateAnswer); err != nil {
		return err
	}
	err := a.journal.buryLate(d.key, d.session, errNoLateAnswer)
	if !errors.Is(err, ledger.ErrNoEntry) {
		return cmp.Or(err, errNoLateAnswer)
	}
	if d.apology != nil {
		d.apology, d.early = nil, true
	}
	d.halted, d.mark = true, nil // the last part has its mark
	return nil
}

// buryLate is bury for a message that may have been finished by its answer: then the error is ledger.ErrNoEntry.
func (j *journal) buryLate(key, session string, cause error) error {
	err := j.insist(func() error {
		ctx, cancel := j.run.recording()
		defer cancel()
		err := j.ledger.Bury(ctx, key, cause.Error())
		if !errors.Is(err, ledger.ErrNoEntry) {
			return err
		}
		found, failed := j.says.Known(ctx, key) // a try before may have buried it, and been reported as failed
		switch {
		case failed != nil:
			return failed
		case found[key].State == ledger.Dead:
			return nil
		}
		return err
	})
	if errors.Is(err, ledger.ErrNoEntry) {
		return err
	}
	return j.check(err, logs.FailureNotJournalled, key, logs.KeySession, session, logs.KeyReason, cause.Error())
}

// laterOf is the answer that an attempt ended with, if that says that there is none yet.
func laterOf(said agent.Answer) error {
	if said.Later <= 0 {
		return nil
	}
	return &agent.LaterError{After: said.Later}
}
