package ledgertest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// recovered is the only unfinished entry.
func recovered(t *testing.T, is *is.I, g ledger.Journal) ledger.Entry {
	t.Helper()
	entries, err := Recover(t.Context(), g)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	return entries[0]
}

func sameWait(is *is.I, got, want ledger.Wait) {
	is.Helper()
	is.True(got.Due.Equal(want.Due))
	is.True(got.Since.Equal(want.Since))
	is.Equal(got.Tries, want.Tries)
	is.Equal(got.Asked, want.Asked)
}

func deferred(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("a"))
	is.NoErr(err)
	sameWait(is, recovered(t, is, g).Wait, ledger.Wait{}) // as the version before has left it, too
	is.NoErr(g.Start(ctx, "a", ledger.Running))
	now := s.Now().Truncate(time.Second)
	w := ledger.Wait{Due: now.Add(time.Minute), Since: now, Tries: 3, Asked: true}
	is.NoErr(g.Defer(ctx, "a", "the agent is away", w, 2))
	e := recovered(t, is, g)
	sameWait(is, e.Wait, w)
	is.Equal(e.State, ledger.New)
	is.Equal(e.Error, "the agent is away")
	is.Equal(e.Attempts, 2)
	is.Equal(string(e.Body), `{"k":"a"}`)
	_, err = g.HandOff(ctx, g.Grant().Plan, true)
	is.NoErr(err)
	s.Advance(2 * time.Minute)

	g = mustAcquire(t, s, ledger.Continue)
	sameWait(is, recovered(t, is, g).Wait, w) // also when it is over
	w = ledger.Wait{Due: now.Add(time.Hour), Since: now, Tries: 4}
	is.NoErr(g.Defer(ctx, "a", "still", w, 2))
	sameWait(is, recovered(t, is, g).Wait, w)
	is.Equal(one(t, g, entry("a")), ledger.New) // a redelivery is known
	is.NoErr(g.Finish(ctx, "a"))
	is.Equal(one(t, g, entry("a")), ledger.Finished)
	is.True(errors.Is(g.Defer(ctx, "a", "late", w, 0), ledger.ErrNoEntry)) // it waits for nothing any more
	is.True(errors.Is(g.Finish(ctx, "a"), ledger.ErrNoEntry))
}

func waitOver(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("a"))
	is.NoErr(err)
	wait := func() {
		t.Helper()
		is.NoErr(g.Defer(ctx, "a", "wait", ledger.Wait{Due: s.Now().Add(time.Hour), Since: s.Now(), Tries: 1, Asked: true}, 0))
	}
	over := func() {
		t.Helper()
		sameWait(is, recovered(t, is, g).Wait, ledger.Wait{})
	}
	wait()
	is.NoErr(g.Keep(ctx, "a", []json.RawMessage{[]byte(`{"op":"send"}`), []byte(`{"op":"send"}`)}))
	over()
	wait()
	is.NoErr(g.Confirm(ctx, "a", 0, "ok"))
	over()
	wait()
	is.NoErr(g.Fail(ctx, "a", "boom", true))
	is.NoErr(s.RetryDead(ctx, "a", false))
	over()
}

func replaced(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("a"))
	is.NoErr(err)
	first := []json.RawMessage{[]byte(`{"op":"send","content":"1"}`), []byte(`{"op":"send","content":"*2"}`)}
	is.NoErr(g.Keep(ctx, "a", first))
	is.NoErr(g.Confirm(ctx, "a", 0, "ok"))
	before := recovered(t, is, g)
	is.NoErr(g.Replace(ctx, "a", 1, []byte(`{"op":"send","content":"2"}`)))
	e := recovered(t, is, g)
	is.Equal(string(e.Actions[0]), `{"op":"send","content":"1"}`)
	is.Equal(string(e.Actions[1]), `{"op":"send","content":"2"}`)
	is.Equal(e.Done, []string{"ok", ""})
	is.Equal(string(before.Actions[1]), `{"op":"send","content":"*2"}`) // what was recovered is the caller's
}

func sealed(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(g.Extend(ctx, "a", []byte(`{"op":"send"}`)))
	is.True(recovered(t, is, g).Open)
	whole := []json.RawMessage{[]byte(`{"op":"send"}`), []byte(`{"op":"send","content":"2"}`)}
	for range 2 { // once or twice, it is the same
		is.NoErr(g.Seal(ctx, "a", whole, []string{"ok:1", ""}))
		e := recovered(t, is, g)
		is.True(!e.Open)
		is.Equal(e.Actions, whole)
		is.Equal(e.Done, []string{"ok:1", ""})
	}
}

func buried(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(g.Keep(ctx, "a", []json.RawMessage{[]byte(`{"op":"send","content":"` + strings.Repeat("x", 10) + `"}`)}))
	is.NoErr(g.Defer(ctx, "a", "flood", ledger.Wait{Due: s.Now(), Since: s.Now(), Tries: 9}, 1))
	is.NoErr(g.Bury(ctx, "a", "the connector refuses it: flood"))
	entries, err := Recover(ctx, g)
	is.NoErr(err)
	is.Equal(len(entries), 0)
	is.Equal(one(t, g, entry("a")), ledger.Dead)
	e, err := s.ShowDead(ctx, "a")
	is.NoErr(err)
	is.Equal(e.Error, "the connector refuses it: flood")
	is.Equal(e.Attempts, 1) // none was added
	is.Equal(len(e.Actions), 1)
	sameWait(is, e.Wait, ledger.Wait{})
}

func owed(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("a"))
	is.NoErr(err)
	own := ledger.Entry{Key: "a/own", Seq: 1, Body: json.RawMessage(`{"k":1}`), Actions: []json.RawMessage{[]byte(`{"op":"send"}`)}}
	is.NoErr(g.Owe(ctx, own))
	is.NoErr(g.Confirm(ctx, "a/own", 0, "ok"))
	is.NoErr(g.Owe(ctx, own)) // it is open: nothing is forgotten
	is.NoErr(g.Finish(ctx, "a"))
	e := recovered(t, is, g)
	is.Equal(e.Key, "a/own")
	is.Equal(e.State, ledger.New)
	is.Equal(string(e.Body), `{"k":1}`)
	is.Equal(len(e.Actions), 1)
	is.Equal(string(e.Actions[0]), `{"op":"send"}`)
	is.Equal(e.Done, []string{"ok"})
	is.True(!e.Open)
	is.NoErr(g.Finish(ctx, "a/own"))
	list, err := s.ListPending(ctx)
	is.NoErr(err)
	is.Equal(len(list), 0)
	is.NoErr(g.Owe(ctx, own)) // anew
	is.Equal(recovered(t, is, g).Done, []string{""})
	_, err = g.HandOff(ctx, g.Grant().Plan, true)
	is.NoErr(err)
	is.True(errors.Is(g.Owe(ctx, own), ledger.ErrLost))
}
