package turn

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// stream decides which action of a streamed answer leaves next, and when. Every action but an edit is sent as soon as the
// agent has said it. Of the edits of one message only the newest is sent, at most once a second, and its last one always.
//
// It has no lock: the goroutine that calls follow has it. A second goroutine only listens to the agent.
type stream struct {
	chats *chats
	fit   *fitter
	send  func(action.Outgoing) error

	pending []action.Outgoing // the newest edit and the sends that follow it; nil: none
	edited  bool              // the edit itself has been sent
}

// said is what the agent has said last.
type said struct {
	action relay.Action
	err    error
}

// follow sends an answer's actions as the agent says them, until the agent has no more or ctx ends. Pending edits are left
// for sendPending. cancel ends ctx, which ends the agent's request.
func (s *stream) follow(ctx context.Context, cancel func(), answer agent.Answer) error {
	heard := make(chan said)
	var listening sync.WaitGroup
	defer listening.Wait()
	defer cancel()
	listening.Go(func() { listen(ctx, answer, heard) })
	for n := 0; ; n++ {
		a, err := s.next(ctx, heard)
		if a == nil || err != nil {
			return err
		}
		parts, err := s.fit.next(ctx, n, a)
		if err != nil {
			return err
		}
		if err := s.take(ctx, parts); err != nil {
			return err
		}
	}
}

// finish sends what is left once the agent has no more. ctx is the turn's.
func (s *stream) finish(ctx context.Context) error {
	rest, err := s.fit.end(ctx)
	if err == nil {
		err = s.take(ctx, rest)
	}
	if err != nil {
		return err
	}
	return s.sendPending(ctx)
}

// listen passes on what the agent says, and closes heard at the end.
func listen(ctx context.Context, answer agent.Answer, heard chan<- said) {
	pass := func(a relay.Action, err error) bool {
		select {
		case heard <- said{a, err}:
			return err == nil
		case <-ctx.Done():
			return false
		}
	}
	defer close(heard)
	defer func() {
		if p := recover(); p != nil {
			pass(nil, fmt.Errorf("agent: panicked: %v", p))
		}
	}()
	for a, err := range all(answer) {
		if !pass(a, err) {
			return
		}
	}
}

// all is an answer's actions and those of its stream behind them.
func all(answer agent.Answer) iter.Seq2[relay.Action, error] {
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

// next waits for the agent's next action, which is nil at the end. Meanwhile it sends an edit whose time has come.
func (s *stream) next(ctx context.Context, heard <-chan said) (relay.Action, error) {
	for {
		var due <-chan time.Time
		if s.pending != nil && !s.edited {
			due = time.After(time.Until(s.chats.nextEdit(s.pending[0].Chat())))
		}
		select {
		case n, ok := <-heard:
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			if ok && n.err == nil && n.action == nil {
				continue
			}
			return n.action, n.err
		case <-due:
			if err := s.sendEdit(ctx); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take sends the parts of an action, or makes them the pending edit.
func (s *stream) take(ctx context.Context, parts []action.Outgoing) error {
	if len(parts) == 0 {
		return nil
	}
	if parts[0].Op() == "edit" {
		if s.pending != nil && !sameMessage(s.pending[0], parts[0]) {
			if err := s.sendPending(ctx); err != nil {
				return err
			}
		}
		s.pending, s.edited = parts, false
		return nil
	}
	if err := s.sendPending(ctx); err != nil {
		return err
	}
	return s.sendAll(parts)
}

func sameMessage(a, b action.Outgoing) bool {
	return a.Chat() == b.Chat() && a.Action["message_id"] == b.Action["message_id"]
}

// sendPending sends what is left of the pending edit, which was its message's last.
func (s *stream) sendPending(ctx context.Context) error {
	if s.pending == nil {
		return nil
	}
	if err := s.sendEdit(ctx); err != nil {
		return err
	}
	more := s.pending[1:]
	s.pending = nil
	return s.sendAll(more)
}

// sendEdit sends the pending edit once the chat may be edited, unless that has been done.
func (s *stream) sendEdit(ctx context.Context) error {
	if s.edited {
		return nil
	}
	if !s.chats.takeEdit(ctx, s.pending[0].Chat()) {
		return context.Cause(ctx)
	}
	s.edited = true
	return s.send(s.pending[0])
}

func (s *stream) sendAll(list []action.Outgoing) error {
	for _, o := range list {
		if err := s.send(o); err != nil {
			return err
		}
	}
	return nil
}
