package ledgertest

import (
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// kill makes key a dead entry that has been tried once.
func kill(t *testing.T, is *is.I, l ledger.Journal, key string, seq int64) {
	t.Helper()
	e := entry(key)
	e.Seq, e.State = seq, ledger.Running
	_, err := l.Receive(t.Context(), e)
	is.NoErr(err)
	is.NoErr(l.Fail(t.Context(), key, "agent: 500", true))
}

func dead(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	_, err := l.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(l.Fail(ctx, "a", "agent: 500", false))
	entries, err := l.Recover(ctx)
	is.NoErr(err)
	is.Equal(entries[0].Attempts, 1)
	is.Equal(entries[0].Error, "agent: 500")
	is.NoErr(l.Fail(ctx, "a", "agent: 500", true))
	entries, err = l.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 0)
	is.Equal(one(t, l, entry("a")), ledger.Dead)
}

func deadOnArrival(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Arm)
	e := ledger.Entry{Key: "a", State: ledger.Dead, Error: "too large"}
	is.Equal(one(t, l, e), ledger.State(""))
	entries, err := l.Recover(t.Context())
	is.NoErr(err)
	is.Equal(len(entries), 0)
	is.Equal(one(t, l, e), ledger.Dead)
}

func graveyard(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	none, err := s.ListDead(ctx)
	is.NoErr(err)
	is.Equal(len(none), 0)
	l := mustAcquire(t, s, ledger.Arm)
	kill(t, is, l, "b", 2)
	died := s.Now()
	s.Advance(time.Second)
	_, err = l.Receive(ctx, ledger.Entry{Key: "a", Seq: 1, State: ledger.Dead, Error: "too large"})
	is.NoErr(err)
	_, err = l.Receive(ctx, entry("c"))
	is.NoErr(err)
	_, err = l.HandOff(ctx, l.Grant().Plan, true)
	is.NoErr(err)

	list, err := s.ListDead(ctx) // the operator needs no lease
	is.NoErr(err)
	is.Equal(len(list), 2)
	is.Equal(list[0].Key+list[1].Key, "ba") // the longest dead first
	is.Equal(list[0].State, ledger.Dead)
	is.Equal(list[0].Error, "agent: 500")
	is.Equal(list[0].Attempts, 1)
	is.True(list[0].Died.Sub(died).Abs() < time.Second)
	is.Equal(len(list[0].Body), 0)
	is.Equal(list[1].Error, "too large")
	shown, err := s.ShowDead(ctx, "b")
	is.NoErr(err)
	is.Equal(string(shown.Body), `{"k":"b"}`)
	is.Equal(shown.Error, "agent: 500")
}

func retryDead(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	kill(t, is, l, "a", 1)
	e := entry("b")
	e.Seq = 2
	_, err := l.Receive(ctx, e)
	is.NoErr(err)
	is.NoErr(s.RetryDead(ctx, "a"))
	entries, err := l.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 2)
	a := entries[0] // in arrival order
	is.Equal(a, ledger.Entry{Key: "a", Seq: a.Seq, State: ledger.New, Body: a.Body, Done: a.Done})
	is.Equal(string(a.Body), `{"k":"a"}`)
	list, err := s.ListDead(ctx)
	is.NoErr(err)
	is.Equal(len(list), 0)
	is.NoErr(l.Finish(ctx, "a"))
	is.Equal(one(t, l, entry("a")), ledger.Finished)
}

func dropDead(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	kill(t, is, l, "a", 1)
	is.NoErr(s.DropDead(ctx, "a"))
	list, err := s.ListDead(ctx)
	is.NoErr(err)
	is.Equal(len(list), 0)
	_, err = s.ShowDead(ctx, "a")
	is.True(errors.Is(err, ledger.ErrNotDead))
	is.True(errors.Is(s.DropDead(ctx, "a"), ledger.ErrNotDead))
	is.Equal(one(t, l, entry("a")), ledger.Finished)
}

func notDead(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	_, err := l.Receive(ctx, entry("open"))
	is.NoErr(err)
	_, err = l.Receive(ctx, ledger.Entry{Key: "empty", State: ledger.Dead, Error: "too large"})
	is.NoErr(err)
	for _, key := range []string{"open", "unknown"} {
		is.True(errors.Is(s.RetryDead(ctx, key), ledger.ErrNotDead))
		is.True(errors.Is(s.DropDead(ctx, key), ledger.ErrNotDead))
		_, err := s.ShowDead(ctx, key)
		is.True(errors.Is(err, ledger.ErrNotDead))
	}
	is.True(errors.Is(s.RetryDead(ctx, "empty"), ledger.ErrNotDead)) // there is no event to answer
	entries, err := l.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	is.Equal(entries[0].Key, "open")
}
