package ledger_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
)

func TestMemory(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T, test func(*testing.T, ledgertest.Subject)) {
		synctest.Test(t, func(t *testing.T) {
			test(t, ledgertest.Subject{Ledger: ledger.NewMemory(), Now: time.Now, Advance: time.Sleep})
		})
	})
}

func TestMemoryForgetsTheOldestOnly(t *testing.T) {
	is := is.New(t)
	m := ledger.NewMemory()
	g, err := m.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "run", Life: time.Hour})
	is.NoErr(err)
	const many = 1<<14 + 10
	for i := range many {
		key := fmt.Sprint(i)
		_, err := g.Receive(t.Context(), ledger.Entry{Key: key})
		is.NoErr(err)
		is.NoErr(g.Finish(t.Context(), key))
	}
	found := func(i int) ledger.State {
		states, err := g.Receive(t.Context(), ledger.Entry{Key: fmt.Sprint(i)})
		is.NoErr(err)
		return states[0]
	}
	is.Equal(found(many-1), ledger.Finished)
	is.Equal(found(10), ledger.Finished)
	is.Equal(found(9), ledger.State("")) // pushed out: new again
}

func TestSweepsAndBudgetAreExact(t *testing.T) {
	is := is.New(t)
	now := time.Unix(1_800_000_000, 0)
	full := time.Time{}
	for range ledger.Tokens {
		next, ok := ledger.SpendToken(full, now)
		is.True(ok)
		full = next
	}
	_, ok := ledger.SpendToken(full, now.Add(ledger.Refill-time.Second))
	is.True(!ok)
	_, ok = ledger.SpendToken(full, now.Add(ledger.Refill))
	is.True(ok)
}
