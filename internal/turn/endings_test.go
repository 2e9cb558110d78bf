package turn_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/turn"
)

// A turn that the end of a run has cut short is no suspect: the next run does not run it alone, nor count it as an attempt.
func TestATurnThatTheEndCutsShortIsNoSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		ctx, end := context.WithCancel(t.Context())
		defer end()
		b.run = ctx
		b.agent = agentFunc(func(ctx context.Context, _ agent.Turn) (agent.Answer, error) {
			<-ctx.Done()
			return agent.Answer{}, ctx.Err()
		})
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		time.Sleep(time.Second)
		end()
		w.Close()
		left, err := ledgertest.Recover(t.Context(), b.lease)
		is.NoErr(err)
		is.Equal(len(left), 1)
		is.Equal(left[0].State, ledger.New)
		is.Equal(left[0].Attempts, 0)
	})
}

// lostAnswer is a journal that makes the first write of an end, and loses its answer.
type lostAnswer struct {
	ledger.Lease
	lost *atomic.Bool
}

func (lostAnswer) Durable() bool { return true }

func (l lostAnswer) Fail(ctx context.Context, key, reason string, dead bool) error {
	err := l.Lease.Fail(ctx, key, reason, dead)
	if l.lost.CompareAndSwap(false, true) {
		return errors.New("ledger: no answer came")
	}
	return err
}

func TestAnEndWhoseAnswerIsLostIsAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		var lost atomic.Bool
		b.change = func(c *turn.Config) { c.Journal, c.MaxAttempts = lostAnswer{b.lease, &lost}, 1 }
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) { return agent.Answer{}, errors.New("boom") })
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		w.Close()
		is.True(lost.Load())
		is.Equal(w.Counts().Dead, 1)
		is.Equal(w.Counts().Left, 0)
	})
}

func TestFromWhenOnATurnIsLate(t *testing.T) {
	tests := map[string]struct {
		after, age time.Duration
		late       bool
	}{
		"never, without a limit": {0, time.Hour, false},
		"before it":              {2 * time.Hour, 2*time.Hour - time.Second, false},
		"from it on":             {2 * time.Hour, 2 * time.Hour, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := newBench(t, durable(ledger.NewMemory()))
				b.change = func(c *turn.Config) { c.StaleAfter = tt.after }
				var told []agent.Turn
				b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
					told = append(told, tn)
					return agent.Answer{}, nil
				})
				w := b.start()
				w.StopStarting()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				w.Close()
				w = b.startWithin(tt.age)
				idle(w)
				w.Close()
				is.Equal(len(told), 1)
				is.Equal(told[0].Late, tt.late)
			})
		})
	}
}
