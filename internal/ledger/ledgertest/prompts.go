package ledgertest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// anyAnswer fits any prompt.
func anyAnswer(ledger.Prompt) bool { return true }

func prompts(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	until := s.Now().Add(time.Hour)
	is.NoErr(l.PutPrompt(ctx, ledger.Prompt{ID: "p-1", Ref: `{"step":2}`, Until: until}))
	_, err := l.TakePrompt(ctx, ledger.Press{Prompt: "p-2", Delivery: "d-1", At: s.Now()}, anyAnswer)
	is.True(errors.Is(err, ledger.ErrNoPrompt))
	_, err = l.HandOff(ctx, l.Grant().Plan, true)
	is.NoErr(err)
	l = mustAcquire(t, s, ledger.Continue) // it outlives its run
	for range 2 {
		p, err := l.TakePrompt(ctx, ledger.Press{Prompt: "p-1", Delivery: "d-1", At: s.Now()}, anyAnswer) // an attempt may be repeated
		is.NoErr(err)
		is.Equal(p.ID+p.Ref, `p-1{"step":2}`)
		is.True(p.Until.Sub(until).Abs() < time.Second)
	}
	_, err = l.TakePrompt(ctx, ledger.Press{Prompt: "p-1", Delivery: "d-2", At: s.Now()}, anyAnswer)
	is.True(errors.Is(err, ledger.ErrAnswered))
}

func promptTimeout(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	is.NoErr(l.PutPrompt(ctx, ledger.Prompt{ID: "p", Until: s.Now().Add(time.Minute)}))
	inTime := s.Now().Add(59 * time.Second)
	s.Advance(time.Minute)
	_, err := l.TakePrompt(ctx, ledger.Press{Prompt: "p", Delivery: "d", At: s.Now()}, anyAnswer)
	is.True(errors.Is(err, ledger.ErrNoPrompt))
	s.Advance(24 * time.Hour) // as long as the gateway slept
	_, err = l.TakePrompt(ctx, ledger.Press{Prompt: "p", Delivery: "d", At: s.Now()}, anyAnswer)
	is.True(errors.Is(err, ledger.ErrNoPrompt))
	_, err = l.TakePrompt(ctx, ledger.Press{Prompt: "p", Delivery: "d-2", At: inTime}, anyAnswer)
	is.NoErr(err)
	_, err = l.TakePrompt(ctx, ledger.Press{Prompt: "p", Delivery: "d-3", At: inTime}, anyAnswer)
	is.True(errors.Is(err, ledger.ErrAnswered))
}

func promptAnswered(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	take := func(delivery string) error {
		_, err := l.TakePrompt(ctx, ledger.Press{Prompt: "p", Delivery: delivery, At: s.Now()}, anyAnswer)
		return err
	}
	next := func() { // run, when its lease is over
		t.Helper()
		_, err := l.HandOff(ctx, l.Grant().Plan, true)
		is.NoErr(err)
		l = mustAcquire(t, s, ledger.Continue)
	}
	is.NoErr(l.PutPrompt(ctx, ledger.Prompt{ID: "p", Ref: "r", Until: s.Now().Add(time.Minute)}))
	is.NoErr(take("d-1"))
	next()
	s.Advance(time.Hour) // its time is over, but it was answered in time
	is.NoErr(take("d-1"))
	is.True(errors.Is(take("d-2"), ledger.ErrAnswered))
	is.NoErr(l.PutPrompt(ctx, ledger.Prompt{ID: "p", Ref: "r", Until: s.Now().Add(time.Minute)}))
	is.True(errors.Is(take("d-2"), ledger.ErrAnswered)) // nor is it open again
	s.Advance(ledger.AnsweredLife)
	is.True(errors.Is(take("d-1"), ledger.ErrNoPrompt))
}

func promptAgain(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	put := func(id string, until time.Time) {
		t.Helper()
		is.NoErr(l.PutPrompt(ctx, ledger.Prompt{ID: id, Ref: "r", Until: until}))
	}
	take := func(id, delivery string) bool {
		t.Helper()
		_, err := l.TakePrompt(ctx, ledger.Press{Prompt: id, Delivery: delivery, At: s.Now()}, anyAnswer)
		is.True(err == nil || errors.Is(err, ledger.ErrAnswered) || errors.Is(err, ledger.ErrNoPrompt))
		return err == nil
	}
	put("p", s.Now().Add(time.Hour))
	put("p", s.Now().Add(time.Hour))
	is.True(take("p", "d-1"))
	put("p", s.Now().Add(time.Hour))
	is.True(!take("p", "d-2"))
	is.True(take("p", "d-1"))
	put("q", s.Now().Add(time.Hour))
	put("q", s.Now()) // taken back
	is.True(!take("q", "d-1"))
	is.True(!take(strings.Repeat("x", 5000), "d-1")) // ids come from outside
}

func promptPlace(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	asked := ledger.Prompt{
		ID: "p", Ref: "r", Until: s.Now().Add(time.Hour), Platform: "telegram", Chat: "c1", Options: []string{"yes", "no"},
	}
	is.NoErr(g.PutPrompt(ctx, asked))
	var seen ledger.Prompt
	take := func(id string, fits bool) error {
		_, err := g.TakePrompt(ctx, ledger.Press{Prompt: id, Delivery: "d-1", At: s.Now()}, func(p ledger.Prompt) bool { seen = p; return fits })
		return err
	}
	is.True(errors.Is(take("p", false), ledger.ErrForeign))
	seen.Until = asked.Until
	is.Equal(seen, asked)
	_, err := g.TakePrompt(ctx, ledger.Press{Prompt: "p", Delivery: "d-2", At: s.Now()}, anyAnswer) // it stays open
	is.NoErr(err)
	is.True(errors.Is(take("p", false), ledger.ErrForeign)) // whatever became of it
	is.True(errors.Is(take("p", true), ledger.ErrAnswered))
	is.True(errors.Is(take("q", false), ledger.ErrNoPrompt))
}
