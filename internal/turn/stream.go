package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// streaming is an answer on its way from the agent to the chat.
type streaming struct {
	*Worker
	it     *item
	edit   []action.Outgoing // the newest edit and the sends that follow it; nil: none
	edited bool              // the edit itself has been sent
}

// next is what the agent said last.
type next struct {
	action relay.Action
	err    error
}

// stream sends actions as they come. Sends are kept one by one before they leave. Edits are not: of those of one message
// the newest is sent at most once a second; the last is left for the caller to settle.
func (w *Worker) stream(
	ctx context.Context, cancel func(), it *item, s action.Shaper, answer agent.Answer,
) (last *streaming, err error) {
	said := make(chan next)
	var listening sync.WaitGroup
	defer listening.Wait()
	defer cancel() // which ends the agent's request, and so its stream
	listening.Go(func() { listen(ctx, answer, said) })
	st := &streaming{Worker: w, it: it}
	for n := 0; ; n++ {
		a, err := st.wait(ctx, said)
		if a == nil || err != nil {
			return st, err
		}
		parts, err := s.Shape(n, a)
		if err == nil {
			parts, err = w.upload(ctx, it, s, parts)
		}
		if err != nil {
			return st, err
		}
		if len(parts) == 0 {
			continue // a file that has no text in its place either
		}
		if err := st.take(ctx, parts); err != nil {
			return st, err
		}
	}
}

// listen passes on what the agent says, and closes said at the end.
func listen(ctx context.Context, answer agent.Answer, said chan<- next) {
	pass := func(a relay.Action, err error) bool {
		select {
		case said <- next{a, err}:
			return err == nil
		case <-ctx.Done():
			return false
		}
	}
	defer close(said)
	defer func() {
		if p := recover(); p != nil {
			pass(nil, fmt.Errorf("agent: panicked: %v", p))
		}
	}()
	for a, err := range concat(answer) {
		if !pass(a, err) {
			return
		}
	}
}

func concat(answer agent.Answer) iter.Seq2[relay.Action, error] {
	return func(yield func(relay.Action, error) bool) {
		for _, a := range answer.Actions {
			if !yield(a, nil) {
				return
			}
		}
		if answer.Stream != nil {
			answer.Stream(yield)
		}
	}
}

// wait returns the next action, nil at the end. Meanwhile it sends an edit whose time has come.
func (st *streaming) wait(ctx context.Context, said <-chan next) (relay.Action, error) {
	for {
		var due <-chan time.Time
		if st.edit != nil && !st.edited {
			due = time.After(time.Until(st.nextEdit(st.edit[0])))
		}
		select {
		case n, ok := <-said:
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			if ok && n.err == nil && n.action == nil {
				continue
			}
			return n.action, n.err
		case <-due:
			if err := st.sendEdit(ctx); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take sends an action, or lets an edit wait for its time.
func (st *streaming) take(ctx context.Context, parts []action.Outgoing) error {
	if parts[0].Op() == "edit" {
		if st.edit != nil && !sameMessage(st.edit[0], parts[0]) {
			if err := st.settle(ctx); err != nil {
				return err
			}
		}
		st.edit, st.edited = parts, false
		return nil
	}
	if err := st.settle(ctx); err != nil {
		return err
	}
	for _, p := range parts {
		if err := st.sendKept(p); err != nil {
			return err
		}
	}
	return nil
}

func sameMessage(a, b action.Outgoing) bool {
	return a.Chat() == b.Chat() && a.Action["message_id"] == b.Action["message_id"]
}

// settle sends what is left of the newest edit, which was its message's last.
func (st *streaming) settle(ctx context.Context) error {
	if st.edit == nil {
		return nil
	}
	if err := st.sendEdit(ctx); err != nil {
		return err
	}
	more := st.edit[1:]
	st.edit = nil
	for _, p := range more {
		if err := st.sendKept(p); err != nil {
			return err
		}
	}
	return nil
}

func (st *streaming) sendEdit(ctx context.Context) error {
	if st.edited {
		return nil
	}
	if !st.pace(ctx, st.edit[0]) {
		return context.Cause(ctx)
	}
	st.edited = true
	if _, sent := st.deliver(st.it, "", st.edit[0]); !sent {
		return errLeft
	}
	return nil
}

// sendKept keeps an action and sends it.
func (st *streaming) sendKept(o action.Outgoing) error {
	it := st.it
	if o.Repeatable() {
		if _, sent := st.deliver(it, "", o); !sent {
			return errLeft
		}
		return nil
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("agent: an action cannot be encoded: %w", err)
	}
	if !it.unkept {
		err := st.cfg.Journal.Extend(st.ctx, it.key, raw)
		if errors.Is(err, ledger.ErrTooLarge) {
			return err // in the next run, too
		}
		if err != nil {
			st.cfg.Log.Error("an action could not be kept, so it is not sent: left for the next run", "delivery", it.key, "error", err)
			return errLeft
		}
	}
	i := len(it.actions)
	it.actions, it.done, it.open = append(it.actions, raw), append(it.done, ""), true
	outcome, sent := st.deliver(it, requestID(it.key, i), o)
	if !sent {
		return errLeft
	}
	it.done[i] = outcome
	if it.unkept {
		return nil
	}
	return st.confirm(it, i, outcome)
}
