package dynamo_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
)

const life = 30 * time.Second

func ask(r ledger.Reason) ledger.Ask { return ledger.Ask{Reason: r, Owner: "run", Life: life} }

func acquire(t *testing.T, l *dynamo.Ledger, r ledger.Reason) ledger.Lease {
	t.Helper()
	g, err := l.Acquire(t.Context(), ask(r))
	is.New(t).NoErr(err)
	return g
}

func TestEachStepIsOneCall(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	l, c := tbl.ledger("inst")
	calls := func(want ...string) {
		t.Helper()
		is.Equal(tbl.http.take(), want)
	}
	tbl.http.take()
	g := acquire(t, l, ledger.Wake)
	calls("UpdateItem")
	entries, err := ledgertest.Recover(ctx, g)
	is.NoErr(err)
	is.Equal(len(entries), 0)
	calls("Query")

	// An ordinary buffered message with an answer of one action.
	_, err = g.Receive(ctx, ledger.Entry{Key: "a", State: ledger.Running, Body: []byte(`{}`)})
	is.NoErr(err)
	is.NoErr(g.Keep(ctx, "a", []jsonValue{[]byte(`{"op":"send"}`)}))
	is.NoErr(g.Finish(ctx, "a"))
	calls("TransactWriteItems", "TransactWriteItems", "TransactWriteItems")

	states, err := g.Receive(ctx, ledger.Entry{Key: "a", State: ledger.Running, Body: []byte(`{}`)})
	is.NoErr(err)
	is.Equal(states, []ledger.State{ledger.Finished})
	calls("TransactWriteItems") // a redelivery

	is.NoErr(g.Heartbeat(ctx))
	calls("UpdateItem")
	is.NoErr(g.Clear(ctx))
	calls("UpdateItem")
	is.NoErr(g.Release(ctx, ledger.Plan{At: c.now().Add(time.Hour), Every: time.Hour}, true))
	calls("UpdateItem")
	_, err = l.Acquire(ctx, ask(ledger.Schedule))
	is.True(errors.Is(err, ledger.ErrNotDue))
	calls("UpdateItem") // refused by its condition

	acquire(t, l, ledger.Wake)
	calls("UpdateItem")
	_, err = l.Acquire(ctx, ask(ledger.Schedule))
	is.True(errors.Is(err, ledger.ErrTaken))
	calls("UpdateItem")
	_, err = l.Acquire(ctx, ask(ledger.Wake))
	is.True(errors.Is(err, ledger.ErrTaken))
	calls("UpdateItem", "UpdateItem") // the second is the mark
}

func TestAWakeIsAnsweredWhateverTheHolderDoes(t *testing.T) {
	tbl := newTable(t, nil)
	l, _ := tbl.ledger("inst")
	for range 5 {
		is := is.New(t)
		g := acquire(t, l, ledger.Arm)
		is.NoErr(g.Clear(t.Context()))
		var wg sync.WaitGroup
		var mu sync.Mutex
		var won []ledger.Lease
		for range 16 {
			wg.Go(func() {
				g, err := l.Acquire(t.Context(), ask(ledger.Continue))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, g)
				} else if !errors.Is(err, ledger.ErrTaken) {
					t.Errorf("a poke got %v", err)
				}
			})
		}
		released := g.Release(t.Context(), g.Grant().Plan, true)
		wg.Wait()
		if released == nil {
			is.Equal(len(won), 1) // nobody had marked it, so one of the sixteen takes over
			g = won[0]
		} else {
			is.True(errors.Is(released, ledger.ErrAsked))
			is.Equal(len(won), 0) // the holder looks again
		}
		asked, err := g.HandOff(t.Context(), g.Grant().Plan, true)
		is.NoErr(err)
		is.True(asked) // by those that did not get it
	}
}

func TestClocksMayDifferByTheMargin(t *testing.T) {
	for life, margin := range map[time.Duration]time.Duration{
		9 * time.Second: 3 * time.Second, life: 10 * time.Second, time.Minute: 10 * time.Second,
	} {
		t.Run(life.String(), func(t *testing.T) {
			is := is.New(t)
			tbl := newTable(t, nil)
			holder, slow := tbl.ledger("inst")
			other, fast := tbl.ledger("inst")
			arm := ask(ledger.Arm)
			arm.Life = life
			fast.advance(margin)
			g, err := holder.Acquire(t.Context(), arm)
			is.NoErr(err)
			for range 3 {
				for _, c := range []*clock{slow, fast} {
					c.advance(life - time.Millisecond)
				}
				_, err := other.Acquire(t.Context(), arm)
				is.True(errors.Is(err, ledger.ErrTaken))
				is.NoErr(g.Heartbeat(t.Context()))
			}
			fast.advance(life) // life and margin, as the slower clock sees it
			taken, err := other.Acquire(t.Context(), arm)
			is.NoErr(err)
			is.True(taken.Grant().Epoch > g.Grant().Epoch)
			is.True(errors.Is(g.Heartbeat(t.Context()), ledger.ErrLost))
		})
	}
}

func TestAStalledHolderWritesNothingAfterATakeover(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	tbl := newTable(t, nil)
	stalled, c := tbl.ledger("inst")
	next, _ := tbl.ledger("inst")
	next.Now = c.now
	old := acquire(t, stalled, ledger.Arm)

	var mu sync.Mutex
	var written []string
	over := make(chan struct{}) // closed once the lease has changed hands
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := string(rune('a'+worker)) + time.Duration(i).String()
				late := false
				select {
				case <-over:
					late = true
				default:
				}
				_, err := old.Receive(ctx, ledger.Entry{Key: key, Seq: int64(i), Body: []byte(`{}`)})
				if errors.Is(err, ledger.ErrLost) {
					return
				}
				if err != nil || late {
					t.Errorf("a stalled holder's write after the takeover: %v", err)
					return
				}
				mu.Lock()
				written = append(written, key)
				mu.Unlock()
			}
		})
	}
	for range 5 { // some writes are under way
		is.NoErr(old.Heartbeat(ctx))
	}
	c.advance(2 * life)
	g := acquire(t, next, ledger.Arm)
	close(over)
	entries, err := ledgertest.Recover(ctx, g) // while the stalled one is still at it
	is.NoErr(err)
	wg.Wait()
	var recovered []string
	for _, e := range entries {
		recovered = append(recovered, e.Key)
	}
	slices.Sort(recovered)
	slices.Sort(written)
	is.Equal(recovered, written) // what was said to be written was, before the takeover, and nothing else
}

func TestInstancesShareATableAndNothingElse(t *testing.T) {
	is := is.New(t)
	tbl := newTable(t, nil)
	one, _ := tbl.ledger("one")
	two, _ := tbl.ledger("two")
	g := acquire(t, one, ledger.Arm)
	_, err := g.Receive(t.Context(), ledger.Entry{Key: "a", Body: []byte(`{}`)})
	is.NoErr(err)
	is.NoErr(g.Disable(t.Context(), "4401"))
	g = acquire(t, two, ledger.Arm)
	entries, err := ledgertest.Recover(t.Context(), g)
	is.NoErr(err)
	is.Equal(len(entries), 0)
}
