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

// startSet makes a set of entries with those keys that runs.
func startSet(t *testing.T, is *is.I, l ledger.Journal, keys ...string) {
	t.Helper()
	for i, key := range keys {
		e := entry(key)
		e.Seq, e.Session = int64(i), "0a0b0c0d"
		is.Equal(one(t, l, e), ledger.State(""))
	}
	is.NoErr(l.StartSet(t.Context(), keys, ledger.Running, ledger.Day{}))
}

// byKey are the unfinished entries.
func byKey(t *testing.T, is *is.I, l ledger.Journal) map[string]ledger.Entry {
	t.Helper()
	entries, err := Recover(t.Context(), l)
	is.NoErr(err)
	found := map[string]ledger.Entry{}
	for _, e := range entries {
		found[e.Key] = e
	}
	return found
}

// again gives the lease back and takes the next one, which knows nothing but what is written.
func again(t *testing.T, is *is.I, s Subject, l ledger.Lease) ledger.Lease {
	t.Helper()
	_, err := l.HandOff(t.Context(), l.Grant().Plan, true)
	is.NoErr(err)
	return mustAcquire(t, s, ledger.Continue)
}

func sets(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	startSet(t, is, l, "a", "b", "c")
	left, err := Left(ctx, l)
	is.NoErr(err)
	for _, e := range left {
		is.True(e.Suspect) // each runs
	}
	found := byKey(t, is, l)
	is.Equal(found["a"].Set.Leader, "c")
	is.Equal(found["b"].Set.Leader, "c")
	is.Equal(found["c"].Set.Members, []string{"a", "b"})
	is.Equal(found["c"].Set.Leader, "")
	is.NoErr(l.Start(ctx, "c", ledger.New)) // it is left to the next run, as a set
	for _, e := range byKey(t, is, l) {
		is.Equal(e.State, ledger.New)
	}
	l = again(t, is, s, l)
	is.Equal(len(byKey(t, is, l)), 3) // whoever writes to a leader has read it
	is.NoErr(l.Start(ctx, "c", ledger.Running))
	for _, e := range byKey(t, is, l) {
		is.Equal(e.State, ledger.Running)
	}
	is.NoErr(l.Finish(ctx, "c"))
	is.Equal(len(byKey(t, is, l)), 0)
	for _, key := range []string{"a", "b", "c"} {
		is.Equal(one(t, l, entry(key)), ledger.Finished) // each is known by its own key
	}
	is.True(errors.Is(l.Finish(ctx, "c"), ledger.ErrNoEntry))
	is.True(errors.Is(l.StartSet(ctx, []string{"a", "c"}, ledger.Running, ledger.Day{}), ledger.ErrNoEntry))
}

func setsWait(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	for i, key := range []string{"a", "b"} {
		e := entry(key)
		e.Seq, e.Session = int64(i), "0a0b0c0d"
		is.Equal(one(t, l, e), ledger.State(""))
	}
	today := ledger.Day{Date: "2026-11-23", Turns: 7, Most: 10}
	is.NoErr(l.StartSet(ctx, []string{"a", "b"}, ledger.Running, today)) // one turn
	view, err := s.Overview(ctx)
	is.NoErr(err)
	is.Equal(view.Day, today)
	now := s.Now().Truncate(time.Second)
	w := ledger.Wait{Due: now.Add(time.Hour), Since: now, Tries: 2}
	is.NoErr(l.Defer(ctx, "b", "the agent is away", w, 0))
	l = again(t, is, s, l)
	left, err := Left(ctx, l)
	is.NoErr(err)
	is.Equal(len(left), 2)
	for _, e := range left {
		is.True(!e.Suspect && e.Due.Equal(w.Due))
	}
	found := byKey(t, is, l)
	is.Equal(found["a"].Set.Leader, "b") // the set stays
	for _, e := range found {
		sameWait(is, e.Wait, w)
		is.Equal(e.Error, "the agent is away")
	}
	is.NoErr(l.Bury(ctx, "b", "too long"))
	dead, err := s.ListDead(ctx)
	is.NoErr(err)
	is.Equal(len(dead), 2)
	for _, e := range dead {
		is.Equal(e.Error, "too long")
	}
}

func setsAnswer(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	startSet(t, is, l, "a", "b")
	is.NoErr(l.Keep(ctx, "b", []json.RawMessage{[]byte(`{"op":"send"}`), []byte(`{"op":"react"}`)}))
	is.NoErr(l.Confirm(ctx, "b", 0, "ok"))
	l = again(t, is, s, l)
	found := byKey(t, is, l)
	is.Equal(len(found["b"].Actions), 2)
	is.Equal(found["b"].Done, []string{"ok", ""})
	is.True(found["a"].IsBlank()) // the version before asks nobody about it
	is.Equal(found["a"].Done, []string{"skipped"})
	is.True(!found["b"].IsBlank() && found["b"].IsWhole())
	is.NoErr(l.Finish(ctx, "b"))

	startSet(t, is, l, "c", "d") // likewise of a stream
	is.NoErr(l.Extend(ctx, "d", []byte(`{"op":"send"}`)))
	found = byKey(t, is, l)
	is.True(found["c"].Actions == nil && found["d"].Open && !found["d"].IsWhole())
	is.NoErr(l.Seal(ctx, "d", []json.RawMessage{[]byte(`{"op":"send"}`)}, []string{"ok"}))
	found = byKey(t, is, l)
	is.True(found["c"].IsBlank() && found["d"].IsWhole())
	is.Equal(found["d"].Done, []string{"ok"})
}

func setsParted(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	startSet(t, is, l, "a", "b")
	now := s.Now().Truncate(time.Second)
	w := ledger.Wait{Due: now.Add(2 * time.Second)}
	is.NoErr(l.Part(ctx, "b", ledger.Parting{State: ledger.New, Reason: "agent: 500", Wait: w}))
	l = again(t, is, s, l)
	found := byKey(t, is, l)
	for _, e := range found {
		is.Equal(e.Set, ledger.Set{Single: true})
		is.Equal(e.State, ledger.New)
		is.Equal(e.Attempts, 0) // nobody knows whose fault it was
		is.Equal(e.Error, "agent: 500")
		is.True(e.Wait.Due.Equal(w.Due))
		is.True(e.Actions == nil)
	}
	is.NoErr(l.Start(ctx, "b", ledger.Running))
	is.NoErr(l.Finish(ctx, "b"))
	is.Equal(len(byKey(t, is, l)), 1) // a goes its own way
	is.True(errors.Is(l.Part(ctx, "b", ledger.Parting{}), ledger.ErrNoEntry))
}

func setsPartedSent(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	startSet(t, is, l, "a", "b")
	is.NoErr(l.Extend(ctx, "b", []byte(`{"op":"send","content":"long"}`)))
	is.NoErr(l.Confirm(ctx, "b", 0, "ok:m-1"))
	l = again(t, is, s, l) // its process has died
	is.Equal(len(byKey(t, is, l)), 2)
	is.NoErr(l.Part(ctx, "b", ledger.Parting{
		State: ledger.Running, Sent: []json.RawMessage{[]byte(`{"op":"send"}`)}, Outcomes: []string{"ok:m-1"},
	}))
	found := byKey(t, is, l)
	is.Equal(found["a"].State, ledger.Running) // each is a suspect
	is.True(found["a"].Open)
	is.Equal(found["a"].Done, []string{"ok:m-1"})
	is.Equal(string(found["a"].Actions[0]), `{"op":"send"}`)
	is.Equal(string(found["b"].Actions[0]), `{"op":"send","content":"long"}`) // the leader's is what it was
	is.NoErr(l.Extend(ctx, "a", []byte(`{"op":"send","content":"more"}`)))
	is.Equal(len(byKey(t, is, l)["a"].Actions), 2)
}

func setsPutBack(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	for round, named := range []int{0, 2, 0, 2} { // whichever is named
		ask := round > 1
		key := func(i int) string { return fmt.Sprint("m", round, i) }
		a, b, c := key(0), key(1), key(2)
		startSet(t, is, l, a, b, c)
		is.NoErr(l.Keep(ctx, c, []json.RawMessage{[]byte(`{"op":"send"}`)}))
		is.NoErr(l.Confirm(ctx, c, 0, "refused"))
		is.NoErr(l.Bury(ctx, c, "the connector refuses it"))
		is.NoErr(s.DropDead(ctx, b)) // the others are put back without it
		is.NoErr(s.RetryDead(ctx, key(named), ask))
		l = again(t, is, s, l)
		found := byKey(t, is, l)
		is.Equal(len(found), 2)
		is.Equal(found[a].Set.Leader, c)
		is.Equal(found[c].Set.Members, []string{a, b})
		is.Equal(found[a].IsBlank(), !ask)
		is.Equal(found[c].IsWhole(), !ask)
		for _, e := range found {
			is.True(e.State == ledger.New && e.Error == "" && e.Wait == ledger.Wait{})
		}
		is.NoErr(l.Finish(ctx, c))
		dead, err := s.ListDead(ctx)
		is.NoErr(err)
		is.Equal(len(dead), 0)
	}
}

func setsPutBackAlone(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	startSet(t, is, l, "a", "b")
	is.NoErr(l.Bury(ctx, "b", "the agent was away for too long"))
	is.NoErr(s.RetryDead(ctx, "a", false))
	found := byKey(t, is, l)
	is.Equal(len(found), 1)
	is.Equal(found["a"].Set, ledger.Set{})
	is.NoErr(s.RetryDead(ctx, "b", false))
	is.Equal(byKey(t, is, l)["b"].Set, ledger.Set{})

	startSet(t, is, l, "c", "d")
	is.NoErr(l.Keep(ctx, "d", []json.RawMessage{[]byte(`{"op":"send"}`)}))
	is.NoErr(l.Bury(ctx, "d", "the connector refuses it"))
	is.NoErr(s.DropDead(ctx, "d"))
	is.NoErr(s.RetryDead(ctx, "c", false)) // its leader is gone, and the answer with it
	c := byKey(t, is, l)["c"]
	is.Equal(c.Set, ledger.Set{})
	is.True(c.Actions == nil)
}

func setsLarge(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	var keys []string
	for i := range 25 {
		keys = append(keys, fmt.Sprint("m", i))
	}
	startSet(t, is, l, keys...)
	is.NoErr(l.Keep(ctx, "m24", []json.RawMessage{[]byte(`{"op":"send"}`)}))
	is.NoErr(l.Finish(ctx, "m24"))
	is.Equal(len(byKey(t, is, l)), 0)
}
