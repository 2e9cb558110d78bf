package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
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
	w.conclude(it, w.attempts(s, it))
}

// conclude ends it: err is nil if it was answered, errLeft if it is for the next run, else why it is dead.
func (w *Worker) conclude(it *item, err error) {
	if err == nil {
		w.finish(it)
		return
	}
	if errors.Is(err, errLeft) {
		w.leave(it)
		return
	}
	w.cfg.Log.Error("message is dead: kept with its error", "delivery", it.key, "attempts", it.attempts, "error", err)
	w.apologise(it)
	w.mu.Lock()
	w.counts.Dead++
	w.endLocked(it, due)
	w.mu.Unlock()
}

// attempts returns nil once it is answered, errLeft if it is for the next run, else why it is dead.
func (w *Worker) attempts(s *session, it *item) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := w.attempt(s, it, ledger.Running)
		if err == nil || errors.Is(err, errLeft) {
			return err
		}
		if over, err := w.failed(it, err); over {
			return err
		}
		select {
		case <-time.After(wait):
		case <-w.closing:
			return errLeft
		case <-w.ctx.Done():
			return errLeft
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
	dead := it.attempts >= w.cfg.MaxAttempts
	log.Warn("attempt failed", "attempt", it.attempts, "of", w.cfg.MaxAttempts)
	it.state = ledger.New
	if !it.unkept {
		if err := w.cfg.Journal.Fail(w.ctx, w.cfg.Epoch, it.key, cause.Error(), dead); err != nil {
			log.Error("a failed attempt could not be journalled: left for the next run", "journal", err)
			return true, errLeft
		}
	}
	if dead {
		return true, cause
	}
	return false, nil
}

// attempt asks the agent, keeps its answer and sends it. as is what the journal is told.
func (w *Worker) attempt(s *session, it *item, as ledger.State) error {
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-w.closing:
		return errLeft
	case <-w.ctx.Done():
		return errLeft
	}
	if it.actions != nil {
		return w.send(it, func() bool { return false })
	}
	if !w.mayStart() {
		return errLeft
	}
	if it.state != as && !it.unkept {
		if err := w.cfg.Journal.Start(w.ctx, w.cfg.Epoch, it.key, as); err != nil {
			w.cfg.Log.Error("a turn's start could not be journalled: left for the next run", "delivery", it.key, "error", err)
			return errLeft
		}
	}
	it.state = as
	ctx, stop := context.WithCancelCause(w.ctx)
	defer stop(nil)
	w.setStop(s, stop)
	defer w.setStop(s, nil)
	stopped := func() bool { return context.Cause(ctx) == errStopped }

	descriptor := w.cfg.Link.Descriptor(it.Event.Source.Platform)
	answer, err := w.ask(ctx, it, descriptor)
	switch {
	case stopped():
		w.cfg.Log.Info("turn stopped", "delivery", it.key, "session", it.session)
		return nil
	case err != nil && w.ctx.Err() != nil:
		return errLeft // our end is not the agent's fault
	case err != nil:
		return err
	}
	actions, err := prepare(it.Event, descriptor, answer)
	if err != nil {
		return err
	}
	if len(actions) == 0 {
		return nil
	}
	if !it.unkept {
		if err := w.cfg.Journal.Keep(w.ctx, w.cfg.Epoch, it.key, actions); err != nil {
			w.cfg.Log.Error("an answer could not be kept, so it is not sent: left for the next run", "delivery", it.key, "error", err)
			return errLeft
		}
	}
	it.actions, it.done = actions, make([]string, len(actions))
	return w.send(it, stopped)
}

// ask runs the agent, with the chat showing typing meanwhile.
func (w *Worker) ask(ctx context.Context, it *item, d relay.Descriptor) (answer agent.Answer, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.cfg.AgentTimeout, errTimeout)
	defer cancel()
	w.mu.Lock()
	w.counts.Turns++
	w.mu.Unlock()
	w.cfg.Log.Info("turn", "delivery", it.key, "session", it.session, "attempt", it.attempts+1)
	var typing sync.WaitGroup
	defer typing.Wait()
	defer cancel()
	typing.Go(func() {
		tick := time.NewTicker(typingEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.typing(it)
			case <-ctx.Done():
				return
			}
		}
	})
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("agent: panicked: %v", p)
		}
	}()
	return w.cfg.Agent.Answer(ctx, agent.Turn{
		Version:    1,
		SessionKey: it.session,
		Event:      it.Event,
		Descriptor: d,
		Delivery: agent.Delivery{
			Key: it.key, Attempt: it.attempts + 1, Buffered: it.BufferID != "", ReceivedAt: it.ReceivedAt,
		},
	})
}

// send sends the kept actions that have no outcome yet. It returns nil or errLeft: what was sent is never sent again.
func (w *Worker) send(it *item, stopped func() bool) error {
	platform, _ := it.Event.Source.Routing()
	for i, raw := range it.actions {
		if it.done[i] != "" {
			continue
		}
		if stopped() {
			return nil
		}
		var action relay.Action
		if err := json.Unmarshal(raw, &action); err != nil {
			return fmt.Errorf("turn: a kept action cannot be read: %w", err)
		}
		out := relay.Outbound{RequestID: requestID(it.key, i), Platform: platform, Action: action}
		result, err := w.cfg.Link.Do(w.ctx, out)
		outcome, sent := w.outcome(it, i, action, result, err)
		if !sent {
			return errLeft
		}
		it.done[i] = outcome
		if harmless(action.Op()) || it.unkept || !slices.Contains(it.done, "") {
			continue // Finish is about to say so
		}
		if err := w.confirm(it, i, outcome); err != nil {
			w.cfg.Log.Error("an action's outcome could not be journalled: left for the next run", "delivery", it.key, "error", err)
			return errLeft
		}
	}
	return nil
}

func (w *Worker) confirm(it *item, action int, outcome string) error {
	ctx, cancel := w.lasting()
	defer cancel()
	return w.cfg.Journal.Confirm(ctx, w.cfg.Epoch, it.key, action, outcome)
}

// outcome books what became of an action; sent is false if it never left.
func (w *Worker) outcome(it *item, i int, a relay.Action, r relay.Result, err error) (outcome string, sent bool) {
	log := w.cfg.Log.With("delivery", it.key, "session", it.session, "action", i, "op", a.Op())
	refusal, refused := errors.AsType[*relay.OpError](err)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.counts.Outbound++
		log.Info("reply", "message_id", r.MessageID)
		return "ok", true
	case errors.Is(err, relay.ErrOutcomeUnknown):
		w.counts.Unknown++
		log.Warn("no answer to an action: it may have reached the chat and is not sent again", "error", err)
		return "unknown", true
	case refused:
		w.counts.Outbound++
		log.Warn("the connector refused an action", "code", refusal.Code, "error", refusal.Message)
		return "refused", true
	default:
		log.Warn("an action could not be sent: left for the next run", "error", err)
		return "", false
	}
}

// finish ends a delivery that is done with.
func (w *Worker) finish(it *item) {
	if !it.unkept {
		ctx, cancel := w.lasting()
		defer cancel()
		if err := w.cfg.Journal.Finish(ctx, w.cfg.Epoch, it.key); err != nil {
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
	if !it.unkept && it.actions == nil && it.state != ledger.New {
		ctx, cancel := w.lasting()
		defer cancel()
		if err := w.cfg.Journal.Start(ctx, w.cfg.Epoch, it.key, ledger.New); err != nil {
			w.cfg.Log.Warn("the next run will take a turn for a suspect that was only cut short", "delivery", it.key, "error", err)
		}
	}
	w.mu.Lock()
	w.counts.Left++
	w.endLocked(it, void)
	w.mu.Unlock()
}

func (w *Worker) apologise(it *item) {
	if w.cfg.Apology == "" {
		return
	}
	d := w.cfg.Link.Descriptor(it.Event.Source.Platform)
	parts, err := prepare(it.Event, d, agent.Answer{Actions: []relay.Action{{"op": "send", "content": w.cfg.Apology}}})
	if err != nil {
		w.cfg.Log.Warn("no apology", "error", err)
		return
	}
	apology := &item{body: it.body, key: it.key + "/apology", session: it.session, unkept: true, actions: parts, done: make([]string, len(parts))}
	w.send(apology, func() bool { return false })
}

func (w *Worker) typing(it *item) {
	source := it.Event.Source
	if !w.cfg.Link.Descriptor(source.Platform).Supports("typing") {
		return
	}
	action := relay.Action{"op": "typing"}
	if err := address(action, source); err != nil {
		return // an event without a chat
	}
	platform, _ := source.Routing()
	w.cfg.Link.Post(relay.Outbound{Platform: platform, Action: action})
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

// lasting is the context of writes about what has already happened: they are made even as the run ends.
func (w *Worker) lasting() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(w.ctx), 5*time.Second)
}
