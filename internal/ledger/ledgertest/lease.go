package ledgertest

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func oneHolder(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Wake)
	_, err := s.Acquire(t.Context(), ask(ledger.Arm))
	is.True(errors.Is(err, ledger.ErrTaken))
	is.NoErr(l.Clear(t.Context()))
	is.NoErr(l.Release(t.Context(), l.Grant().Plan, false))
	next := mustAcquire(t, s, ledger.Arm)
	is.True(next.Grant().Epoch > l.Grant().Epoch)
	is.True(!l.Grant().TakenOver && !next.Grant().TakenOver) // nobody had it, and it was given back
}

func racing(t *testing.T, is *is.I, s Subject) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 64 {
		wg.Go(func() {
			_, err := s.Acquire(t.Context(), ask(ledger.Continue))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, ledger.ErrTaken) {
				t.Errorf("a loser got %v", err)
			}
		})
	}
	wg.Wait()
	is.Equal(won, 1)
}

func deadHolder(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Arm)
	s.Advance(life / 2)
	_, err := s.Acquire(t.Context(), ask(ledger.Arm))
	is.True(errors.Is(err, ledger.ErrTaken))
	s.Advance(life) // 1.5 lives after the last heartbeat: the design's bound
	next := mustAcquire(t, s, ledger.Arm)
	is.True(next.Grant().Epoch > l.Grant().Epoch)
	is.True(next.Grant().TakenOver) // what the dead one knew, nobody has written down
	_, err = next.HandOff(t.Context(), next.Grant().Plan, false)
	is.NoErr(err)
	is.True(!mustAcquire(t, s, ledger.Arm).Grant().TakenOver)
}

func heartbeat(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Arm)
	for range 6 {
		s.Advance(life / 3)
		is.NoErr(l.Heartbeat(t.Context()))
	}
	_, err := s.Acquire(t.Context(), ask(ledger.Arm))
	is.True(errors.Is(err, ledger.ErrTaken))
}

func marks(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Wake)
	_, err := s.Acquire(t.Context(), ask(ledger.Wake))
	is.True(errors.Is(err, ledger.ErrTaken))
	is.True(errors.Is(l.Release(t.Context(), l.Grant().Plan, true), ledger.ErrAsked))
	is.NoErr(l.Heartbeat(t.Context())) // it still holds the lease
	is.NoErr(l.Clear(t.Context()))
	is.NoErr(l.Release(t.Context(), l.Grant().Plan, true))
}

func scheduleMarksNobody(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Wake)
	_, err := s.Acquire(t.Context(), ask(ledger.Schedule))
	is.True(errors.Is(err, ledger.ErrTaken))
	is.NoErr(l.Release(t.Context(), l.Grant().Plan, true))
}

func handOff(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Wake)
	asked, err := l.HandOff(t.Context(), l.Grant().Plan, true)
	is.NoErr(err)
	is.True(!asked)
	l = mustAcquire(t, s, ledger.Continue)
	_, err = s.Acquire(t.Context(), ask(ledger.Wake))
	is.True(errors.Is(err, ledger.ErrTaken))
	asked, err = l.HandOff(t.Context(), l.Grant().Plan, true)
	is.NoErr(err)
	is.True(asked)
	mustAcquire(t, s, ledger.Continue)
}

func oldEpoch(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	old := mustAcquire(t, s, ledger.Arm)
	_, err := old.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(old.PutPrompt(ctx, ledger.Prompt{ID: "asked", Until: s.Now().Add(24 * time.Hour)}))
	s.Advance(2 * life)
	now := mustAcquire(t, s, ledger.Arm)
	writes := map[string]func(ledger.Lease) error{
		"heartbeat":  func(l ledger.Lease) error { return l.Heartbeat(ctx) },
		"clear":      func(l ledger.Lease) error { return l.Clear(ctx) },
		"release":    func(l ledger.Lease) error { return l.Release(ctx, ledger.Plan{}, true) },
		"hand-off":   func(l ledger.Lease) error { _, err := l.HandOff(ctx, ledger.Plan{}, true); return err },
		"handshaken": func(l ledger.Lease) error { return l.SetHandshaken(ctx, "gw") },
		"trouble":    func(l ledger.Lease) error { return l.SetTrouble(ctx, ledger.Trouble{What: "t", Since: time.Now()}) },
		"look again": func(l ledger.Lease) error { _, err := l.LookAgain(ctx, false); return err },
		"declared":   func(l ledger.Lease) error { return l.SetDeclared(ctx, "f") },
		"disable":    func(l ledger.Lease) error { return l.Disable(ctx, "4401") },
		"fresh id":   func(l ledger.Lease) error { _, err := l.TakeFreshID(ctx); return err },
		"receive":    func(l ledger.Lease) error { _, err := l.Receive(ctx, entry("b")); return err },
		"start":      func(l ledger.Lease) error { return l.Start(ctx, "a", ledger.Running) },
		"keep":       func(l ledger.Lease) error { return l.Keep(ctx, "a", []json.RawMessage{[]byte(`{}`)}) },
		"extend":     func(l ledger.Lease) error { return l.Extend(ctx, "a", []byte(`{}`)) },
		"draft":      func(l ledger.Lease) error { return l.Draft(ctx, "a", 7) },
		"confirm":    func(l ledger.Lease) error { return l.Confirm(ctx, "a", 0, "ok") },
		"defer":      func(l ledger.Lease) error { return l.Defer(ctx, "a", "away", ledger.Wait{}, 0) },
		"bury":       func(l ledger.Lease) error { return l.Bury(ctx, "a", "boom") },
		"replace":    func(l ledger.Lease) error { return l.Replace(ctx, "a", 0, []byte(`{}`)) },
		"seal":       func(l ledger.Lease) error { return l.Seal(ctx, "a", nil, nil) },
		"fail":       func(l ledger.Lease) error { return l.Fail(ctx, "a", "boom", true) },
		"finish":     func(l ledger.Lease) error { return l.Finish(ctx, "a") },
		"recover":    func(l ledger.Lease) error { _, err := Recover(ctx, l); return err },
		"take says":  func(l ledger.Lease) error { _, err := l.TakeSays(ctx, taking("b")); return err },
		"prompt": func(l ledger.Lease) error {
			return l.PutPrompt(ctx, ledger.Prompt{ID: "p", Until: s.Now().Add(time.Hour)})
		},
		"take prompt": func(l ledger.Lease) error {
			_, err := l.TakePrompt(ctx, ledger.Press{Prompt: "asked", Delivery: "d", At: s.Now()}, anyAnswer)
			return err
		},
	}
	for name, write := range writes {
		if err := write(old); !errors.Is(err, ledger.ErrLost) {
			t.Errorf("%s under an old epoch: %v, want ErrLost", name, err)
		}
	}
	is.True(!old.GivenBack()) // it was taken away
	entries, err := Recover(ctx, now)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	is.Equal(entries[0].State, ledger.New)
	is.NoErr(now.Clear(ctx))
	is.True(!now.GivenBack())
	is.NoErr(now.Release(ctx, now.Grant().Plan, true))
	is.True(now.GivenBack())
	is.True(errors.Is(now.Heartbeat(ctx), ledger.ErrLost)) // given back is lost, too
	for name, write := range writes {
		if err := write(now); !errors.Is(err, ledger.ErrLost) {
			t.Errorf("%s with a lease that was given back: %v, want ErrLost", name, err)
		}
	}
	next := mustAcquire(t, s, ledger.Arm)
	is.True(!next.Grant().TakenOver)
	for name, write := range writes { // nor once another has it
		if err := write(now); !errors.Is(err, ledger.ErrLost) {
			t.Errorf("%s with a lease that was given back and acquired again: %v, want ErrLost", name, err)
		}
	}
}

func schedule(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Schedule) // the first firing arms
	plan := ledger.Plan{At: s.Now().Add(20 * time.Minute), Every: 20 * time.Minute}
	is.NoErr(l.Release(t.Context(), plan, false))
	s.Advance(15 * time.Minute)
	_, err := s.Acquire(t.Context(), ask(ledger.Schedule))
	is.True(errors.Is(err, ledger.ErrNotDue))
	s.Advance(90 * time.Second)
	l = mustAcquire(t, s, ledger.Schedule)
	is.Equal(l.Grant().Plan.Every, plan.Every)
	is.True(l.Grant().Plan.At.Sub(plan.At).Abs() < time.Second)
}

func scheduleAfterDeath(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Arm)
	is.NoErr(l.Release(t.Context(), ledger.Plan{At: s.Now().Add(24 * time.Hour), Every: time.Hour}, false))
	l = mustAcquire(t, s, ledger.Arm)
	s.Advance(2 * life)
	is.True(mustAcquire(t, s, ledger.Schedule).Grant().Epoch > l.Grant().Epoch)
}

func budget(t *testing.T, is *is.I, s Subject) {
	plan := ledger.Plan{At: s.Now().Add(24 * time.Hour), Every: time.Hour}
	look := func() error {
		l, err := s.Acquire(t.Context(), ask(ledger.Wake))
		if err != nil {
			return err
		}
		return l.Release(t.Context(), plan, false)
	}
	for range ledger.Tokens {
		is.NoErr(look())
	}
	is.True(errors.Is(look(), ledger.ErrNotDue)) // the budget is spent
	// The poke was only marked: the schedule's next firing is a sweep, due or not.
	l := mustAcquire(t, s, ledger.Schedule)
	is.NoErr(l.Clear(t.Context()))
	is.NoErr(l.Release(t.Context(), plan, false))
	s.Advance(ledger.Refill + time.Second)
	is.NoErr(look()) // one token is back
	is.True(errors.Is(look(), ledger.ErrNotDue))
}

func budgetBack(t *testing.T, is *is.I, s Subject) {
	for range 2 {
		for i := range ledger.Tokens {
			l := mustAcquire(t, s, ledger.Wake)
			is.NoErr(l.Release(t.Context(), l.Grant().Plan, i == ledger.Tokens-1))
		}
	}
}

func lookAgain(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Wake) // the first token
	again := func(received bool) bool {
		t.Helper()
		ok, err := l.LookAgain(t.Context(), received)
		is.NoErr(err)
		return ok
	}
	for range ledger.Tokens - 1 {
		is.True(again(false))
	}
	is.True(!again(false))
	is.True(again(true)) // all come back when something is received
	for range ledger.Tokens - 1 {
		is.True(again(false))
	}
	is.True(!again(false))
	s.Advance(ledger.Refill)
	is.NoErr(l.Heartbeat(t.Context()))
	is.True(again(false))
	is.True(!again(false))
	is.NoErr(l.Release(t.Context(), ledger.Plan{At: s.Now().Add(time.Hour), Every: time.Hour}, false))
	_, err := s.Acquire(t.Context(), ask(ledger.Wake)) // it is the same budget
	is.True(errors.Is(err, ledger.ErrNotDue))
}

func holder(t *testing.T, is *is.I, s Subject) {
	want := ask(ledger.Arm)
	mustAcquire(t, s, ledger.Arm)
	_, err := s.Acquire(t.Context(), ask(ledger.Arm))
	held, ok := errors.AsType[*ledger.HeldError](err)
	is.True(ok)
	is.Equal(held.By, want.Owner)
	is.True(held.Until.After(s.Now()))
}
