package ledgertest

import (
	"encoding/json"
	"errors"
	"fmt"
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
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(entries[0].Attempts, 1)
	is.Equal(entries[0].Error, "agent: 500")
	is.NoErr(l.Fail(ctx, "a", "agent: 500", true))
	entries, err = Recover(ctx, l)
	is.NoErr(err)
	is.Equal(len(entries), 0)
	is.Equal(one(t, l, entry("a")), ledger.Dead)
}

func deadOnArrival(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Arm)
	e := ledger.Entry{Key: "a", State: ledger.Dead, Error: "too large"}
	is.Equal(one(t, l, e), ledger.State(""))
	entries, err := Recover(t.Context(), l)
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
	shown, err = s.ShowPending(ctx, "c")
	is.NoErr(err)
	is.Equal(string(shown.Body), `{"k":"c"}`)
	for _, key := range []string{"b", "never came"} {
		_, err = s.ShowPending(ctx, key)
		is.True(errors.Is(err, ledger.ErrNoEntry))
	}
}

func retryDead(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	kill(t, is, l, "a", 1)
	e := entry("b")
	e.Seq = 2
	_, err := l.Receive(ctx, e)
	is.NoErr(err)
	is.NoErr(s.RetryDead(ctx, "a", false))
	entries, err := Recover(ctx, l)
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

// killAnswered makes key a dead entry with an answer that has these outcomes.
func killAnswered(t *testing.T, is *is.I, g ledger.Journal, key string, outcomes ...string) {
	t.Helper()
	ctx := t.Context()
	_, err := g.Receive(ctx, entry(key))
	is.NoErr(err)
	is.NoErr(g.Start(ctx, key, ledger.Running))
	var actions []json.RawMessage
	for i := range outcomes {
		actions = append(actions, json.RawMessage(fmt.Sprintf(`{"op":"send","content":"%d"}`, i)))
	}
	is.NoErr(g.Keep(ctx, key, actions))
	for i, outcome := range outcomes {
		if outcome != "" {
			is.NoErr(g.Confirm(ctx, key, i, outcome))
		}
	}
	is.NoErr(g.Fail(ctx, key, "refused", true))
}

// putBack puts key back and returns it as the next run finds it.
func putBack(t *testing.T, is *is.I, s Subject, g ledger.Journal, key string, ask bool) ledger.Entry {
	t.Helper()
	is.NoErr(s.RetryDead(t.Context(), key, ask))
	entries, err := Recover(t.Context(), g)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	e := entries[0]
	is.Equal(e.State, ledger.New)
	is.Equal(e.Attempts, 0)
	is.Equal(e.Error, "")
	is.Equal(string(e.Body), `{"k":"`+key+`"}`)
	return e
}

func deadAnswer(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Arm)
	killAnswered(t, is, g, "a", "ok:7", "refused", "")
	s.Advance(80 * 24 * time.Hour)
	e, err := s.ShowDead(t.Context(), "a")
	is.NoErr(err)
	is.Equal(string(e.Body), `{"k":"a"}`)
	is.Equal(len(e.Actions), 3)
	is.Equal(string(e.Actions[1]), `{"op":"send","content":"1"}`)
	is.Equal(e.Done, []string{"ok:7", "refused", ""})
	is.NoErr(s.DropDead(t.Context(), "a")) // answer and all
	_, err = s.ShowDead(t.Context(), "a")
	is.True(errors.Is(err, ledger.ErrNotDead))
}

func retryAnswer(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	killAnswered(t, is, g, "a", "ok:7", "unknown", "refused", "declined", "skipped", "")
	e := putBack(t, is, s, g, "a", false)
	is.True(!e.Open)
	is.Equal(len(e.Actions), 6)
	is.Equal(string(e.Actions[5]), `{"op":"send","content":"5"}`)
	is.Equal(e.Done, []string{"ok:7", "unknown", "", "", "", ""}) // nothing is sent twice
	is.NoErr(g.Confirm(ctx, "a", 2, "ok"))
	is.NoErr(g.Fail(ctx, "a", "refused again", true))
	shown, err := s.ShowDead(ctx, "a")
	is.NoErr(err)
	is.Equal(shown.Done, []string{"ok:7", "unknown", "ok", "", "", ""})

	_, err = g.Receive(ctx, entry("b")) // a stream: what an attempt that broke has not sent was said again
	is.NoErr(err)
	is.NoErr(g.Extend(ctx, "b", []byte(`{"op":"send"}`)))
	is.NoErr(g.Seal(ctx, "b", []json.RawMessage{ledger.Nothing, []byte(`{"op":"send"}`)}, []string{"skipped", "refused"}))
	is.NoErr(g.Fail(ctx, "b", "refused", true))
	e = putBack(t, is, s, g, "b", false)
	is.Equal(e.Done, []string{"skipped", ""})
	is.True(!e.Open)
}

func retryAsking(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	killAnswered(t, is, g, "a", "refused", "")
	e := putBack(t, is, s, g, "a", true)
	is.True(!e.Open && e.Actions == nil && len(e.Done) == 0) // as if nothing had been answered
	is.NoErr(g.Finish(ctx, "a"))

	killAnswered(t, is, g, "b", "ok:7", "refused", "unknown", "")
	e = putBack(t, is, s, g, "b", true)
	is.True(e.Open) // the agent is told what is there, and goes on
	is.Equal(e.Done, []string{"ok:7", "skipped", "unknown", "skipped"})
	is.Equal(string(e.Actions[2]), `{"op":"send","content":"2"}`)
	is.NoErr(g.Extend(ctx, "b", []byte(`{"op":"send","content":"new"}`)))
	is.NoErr(g.Confirm(ctx, "b", 4, "ok"))
	is.NoErr(g.Finish(ctx, "b"))
}

func retryBroken(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	for i, ask := range []bool{false, true} {
		if i == 0 {
			_, err := g.Receive(ctx, entry("a"))
			is.NoErr(err)
			is.NoErr(g.Extend(ctx, "a", []byte(`{"op":"send"}`)))
			is.NoErr(g.Confirm(ctx, "a", 0, "refused"))
			is.NoErr(g.Extend(ctx, "a", []byte(`{"op":"send"}`)))
		}
		is.NoErr(g.Fail(ctx, "a", "the stream broke", true))
		e := putBack(t, is, s, g, "a", ask)
		is.True(e.Open)
		is.Equal(e.Done, []string{"refused", ""}) // it is not said that the second did not leave
	}
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
		is.True(errors.Is(s.RetryDead(ctx, key, false), ledger.ErrNotDead))
		is.True(errors.Is(s.DropDead(ctx, key), ledger.ErrNotDead))
		_, err := s.ShowDead(ctx, key)
		is.True(errors.Is(err, ledger.ErrNotDead))
	}
	is.True(errors.Is(s.RetryDead(ctx, "empty", false), ledger.ErrNotDead)) // there is no event to answer
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	is.Equal(entries[0].Key, "open")
}
