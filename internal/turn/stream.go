package turn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// stream decides which action of a streamed answer leaves next, and when. Every action but an edit is sent as soon as the
// agent has said it. Of the edits of one message only the newest is sent, at most once a second, and its last one always. If
// that one cannot be made, its text goes out as a message: at the end of the stream, or at once if more of the text follows.
//
// It has no lock: the goroutine that calls follow has it. A second goroutine only listens to the agent.
type stream struct {
	chats *chats
	fit   *fitter
	board *action.Board
	kept  func() int // the number of the next action that is kept
	send  func(action.Outgoing) error
	// edit makes an edit once the chat may be edited. If it is not made, again says whether it might be later.
	edit func(context.Context, action.Outgoing) (made, again bool, err error)

	drafts  *drafter
	pending *action.Outgoing // the newest edit, whole; nil: none
	astray  *action.Outgoing // the newest edit of a message that there is not; nil: none
	quiet   bool             // nothing of it is to be sent before the agent goes on
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
	if err == nil {
		err = s.sealDraft()
	}
	if err == nil {
		err = s.sendPending(ctx)
	}
	if err != nil {
		return err
	}
	var owed []action.Outgoing
	for _, edit := range s.board.Owed() {
		owed = append(owed, s.board.Instead(edit))
	}
	if s.astray != nil && !s.board.Has(*s.astray) {
		owed = append(owed, s.fit.shaper.AsMessages(*s.astray)...)
	}
	for _, o := range owed {
		if err := s.do(o); err != nil {
			return err
		}
	}
	for _, o := range s.board.Counters() {
		if err := s.change(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// listen passes on what the agent says, and closes heard at the end.
func listen(ctx context.Context, answer agent.Answer, heard chan<- said) {
	pass := func(a relay.Action, err error) bool {
		_, goesOn := errors.AsType[*agent.Skipped](err)
		select {
		case heard <- said{a, err}:
			return err == nil || goesOn
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
		due := s.due()
		select {
		case n, ok := <-heard:
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			if _, goesOn := errors.AsType[*agent.Skipped](n.err); goesOn {
				s.fit.leaveOut(n.err)
				continue
			}
			if ok && n.err == nil && n.action == nil {
				continue
			}
			return n.action, n.err
		case <-due:
			if err := s.showNow(ctx); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// due tells when what is new of a text that grows may be shown; nil: nothing is new.
func (s *stream) due() <-chan time.Time {
	switch {
	case s.pending != nil && !s.quiet:
		return time.After(time.Until(s.chats.nextEdit(s.pending.Chat())))
	case s.drafts.isNew():
		return time.After(time.Until(s.chats.nextEdit(s.drafts.open.Chat())))
	}
	return nil
}

// take sends the parts of an action, or makes it the pending edit.
func (s *stream) take(ctx context.Context, parts []action.Outgoing) error {
	if len(parts) == 0 {
		return nil
	}
	if s.drafts.grows(parts[0]) {
		return nil
	}
	if err := s.sealDraft(); err != nil {
		return err
	}
	if edit := parts[0]; edit.Op() == "edit" {
		if s.pending != nil && !sameMessage(*s.pending, edit) {
			if err := s.sendPending(ctx); err != nil {
				return err
			}
		}
		s.pending, s.quiet = &edit, false
		return nil
	}
	if err := s.sendPending(ctx); err != nil {
		return err
	}
	if s.drafts.mayDraft(parts) {
		return s.beginDraft(ctx, parts[0])
	}
	for _, part := range parts {
		for _, o := range s.board.Plan(s.fit.shaper, part) {
			if err := s.do(o); err != nil {
				return err
			}
		}
	}
	return nil
}

func sameMessage(a, b action.Outgoing) bool {
	return a.Chat() == b.Chat() && a.Action["message_id"] == b.Action["message_id"]
}

// showNow shows what is new of a text that grows.
func (s *stream) showNow(ctx context.Context) error {
	if s.pending != nil {
		return s.editNow(ctx)
	}
	return s.showDraft(ctx)
}

// editNow sends one edit of those that the pending one is made of. What is new behind them follows its last one.
func (s *stream) editNow(ctx context.Context) error {
	for _, o := range s.board.Plan(s.fit.shaper, *s.pending) {
		if o.Op() == "edit" && o.Of != "" && !s.board.InVain(o) {
			return s.change(ctx, o)
		}
	}
	s.quiet = true
	return nil
}

// sendPending sends what is left of the pending edit, which was its message's last for now.
func (s *stream) sendPending(ctx context.Context) error {
	if s.pending == nil {
		return nil
	}
	plan := s.board.Plan(s.fit.shaper, *s.pending)
	s.pending = nil
	for i, o := range plan {
		if o.Op() != "edit" {
			if err := s.do(o); err != nil {
				return err
			}
			continue
		}
		if !s.board.InVain(o) || s.board.MayPass(o) {
			if err := s.change(ctx, o); err != nil {
				return err
			}
		}
		goesOn := slices.ContainsFunc(plan[i:], func(o action.Outgoing) bool { return o.Op() == "send" })
		if goesOn && s.board.InVain(o) {
			if err := s.do(s.board.Instead(o)); err != nil {
				return err
			}
		}
	}
	return nil
}

// change sends an edit.
func (s *stream) change(ctx context.Context, o action.Outgoing) error {
	made, again, err := s.edit(ctx, o)
	if err != nil {
		return err
	}
	s.board.Note(o, -1)
	switch {
	case made:
	case o.Of == "":
		s.astray = &o
	default:
		s.board.Failed(o, again)
	}
	return nil
}

// do sends an action that is no edit.
func (s *stream) do(o action.Outgoing) error {
	number := s.kept()
	o = s.intoDraft(o)
	err := s.send(o)
	if err == nil {
		s.board.Note(o, number)
	}
	return err
}
