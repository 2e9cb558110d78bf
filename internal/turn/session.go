package turn

import (
	"context"
	"errors"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// run works a session's queue until it is empty.
func (w *Worker) run(s *session, key string) {
	for {
		w.mu.Lock()
		if len(s.items) == 0 {
			delete(w.sessions, key)
			w.mu.Unlock()
			return
		}
		it := s.items[0]
		s.items[0] = nil
		s.items = s.items[1:]
		w.mu.Unlock()
		<-it.ready
		if !it.skip {
			<-w.alone
			w.serve(s, it)
		}
	}
}

// serve runs it until it is answered, dead or left.
func (w *Worker) serve(s *session, it *item) {
	if w.overtakes(it) {
		w.conclude(it, errLeft)
		return
	}
	r, over := w.begin(s, it)
	err := w.attempts(r)
	over()
	w.conclude(it, err)
}

// running is an item whose turn runs, or will run again: from its first attempt on it can be stopped, whatever it waits for.
type running struct {
	*item
	ctx     context.Context // ends with errStopped as its cause, or with the run
	started func()          // makes it the one that is stopped with its session
}

func (w *Worker) begin(s *session, it *item) (r running, over func()) {
	ctx, stop := context.WithCancelCause(w.ctx)
	return running{it, ctx, func() { w.setStop(s, stop) }}, func() {
		w.setStop(s, nil)
		stop(nil)
	}
}

func (r running) stopped() bool { return context.Cause(r.ctx) == errStopped }

// cut is what an attempt ends with when its context has ended.
func (w *Worker) cut(r running) error {
	if !r.stopped() {
		return errLeft // our end is not the agent's fault
	}
	w.cfg.Log.Info("turn stopped", "delivery", r.key, "session", r.session)
	return nil
}

// overtakes says whether an earlier delivery of its session was left for the next run, and it can be left as well: a live
// one that no journal has is answered now or never.
func (w *Worker) overtakes(it *item) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.behind[it.session] && (!it.unkept || it.BufferID != "")
}

// conclude ends it: err is nil if it was answered, errLeft if it is for the next run, else why it is dead.
func (w *Worker) conclude(it *item, err error) {
	dead := err != nil && !errors.Is(err, errLeft)
	if dead {
		w.cfg.Log.Error("message is dead: kept with its error", "delivery", it.key, "attempts", it.attempts, "error", err)
		w.apologise(it)
	}
	w.typingOver(it)
	switch {
	case err == nil:
		w.finish(it)
	case dead:
		w.mu.Lock()
		w.counts.Dead++
		w.endLocked(it, due)
		w.mu.Unlock()
	default:
		w.leave(it)
	}
}

// attempts returns nil once it is answered or stopped, errLeft if it is for the next run, else why it is dead.
func (w *Worker) attempts(r running) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := w.attempt(r, ledger.Running)
		if err == nil || errors.Is(err, errLeft) {
			return err
		}
		if over, err := w.failed(r.item, err); over {
			return err
		}
		select {
		case <-time.After(wait):
		case <-w.closing:
			return errLeft
		case <-r.ctx.Done():
			return w.cut(r)
		}
	}
}

// failed books a failed attempt; over means that there shall be no other in this run.
func (w *Worker) failed(it *item, cause error) (over bool, err error) {
	it.tries++
	log := w.cfg.Log.With("delivery", it.key, "session", it.session, "error", cause)
	if errors.Is(cause, agent.ErrUnavailable) {
		log.Warn("the agent is out of reach: no attempt is counted")
		if it.tries >= w.cfg.MaxAttempts {
			return true, errLeft
		}
		return false, nil
	}
	it.attempts++
	dead := it.attempts >= w.cfg.MaxAttempts || errors.Is(cause, agent.ErrRefused)
	log.Warn("attempt failed", "attempt", it.attempts, "of", w.cfg.MaxAttempts)
	it.state = ledger.New
	if !it.unkept {
		if err := w.cfg.Journal.Fail(w.ctx, it.key, cause.Error(), dead); err != nil {
			log.Error("a failed attempt could not be journalled: left for the next run", "journal", err)
			return true, errLeft
		}
	}
	if dead {
		return true, cause
	}
	return false, nil
}

// finish ends a delivery that is done with.
func (w *Worker) finish(it *item) {
	if !it.unkept || it.unsure {
		ctx, cancel := w.lasting()
		defer cancel()
		if err := w.cfg.Journal.Finish(ctx, it.key); err != nil && !it.unsure {
			w.cfg.Log.Error("answered, but not journalled as finished: the next run may send the answer again",
				"delivery", it.key, "error", err)
			w.mu.Lock()
			w.endLocked(it, void)
			w.mu.Unlock()
			return
		}
	}
	w.mu.Lock()
	w.counts.Finished++
	w.endLocked(it, due)
	w.mu.Unlock()
}

// leave gives a delivery to the next run. What was cut short by our own end is no suspect then.
func (w *Worker) leave(it *item) {
	if !it.unkept && !it.whole() && it.state != ledger.New {
		ctx, cancel := w.lasting()
		defer cancel()
		if err := w.cfg.Journal.Start(ctx, it.key, ledger.New); err != nil {
			w.cfg.Log.Warn("the next run will take a turn for a suspect that was only cut short", "delivery", it.key, "error", err)
		}
	}
	w.mu.Lock()
	w.counts.Left++
	w.behind[it.session] = true
	w.endLocked(it, void)
	w.mu.Unlock()
}

// mayStart says whether a whole turn still fits.
func (w *Worker) mayStart() bool {
	select {
	case <-w.closing:
		return false
	default:
		return w.cfg.Deadline.IsZero() || time.Until(w.cfg.Deadline) >= w.cfg.AgentTimeout
	}
}

// graced is the context of a write that may go on for a moment when the run ends.
func (w *Worker) graced() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	stop := context.AfterFunc(w.ctx, func() {
		select {
		case <-time.After(2 * time.Second):
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// lasting is the context of writes about what has already happened: they are made even as the run ends.
func (w *Worker) lasting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(w.ctx), 5*time.Second)
}
