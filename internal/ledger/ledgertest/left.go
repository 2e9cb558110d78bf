package ledgertest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func unread(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	put := func(key, session string, state ledger.State, seq int64) {
		t.Helper()
		e := entry(key)
		e.Session, e.State, e.Seq = session, state, seq
		is.Equal(one(t, l, e), ledger.State(""))
	}
	put("a", "0000000a", ledger.New, 1)
	put("b", "0000000b", ledger.Running, 2)
	put("c", "", ledger.New, 3)
	put("d", "0000000a", ledger.New, 4)
	put("e", "0000000e", ledger.Dead, 5)
	put("f", "0000000f", ledger.New, 6)
	is.NoErr(l.Finish(ctx, "f"))
	left := func() []ledger.Left {
		t.Helper()
		found, err := Left(ctx, l)
		is.NoErr(err)
		for i := range found {
			is.True(found[i].Due.IsZero() || found[i].Due.Equal(found[i].Due.Truncate(time.Second)))
			if !found[i].Due.IsZero() {
				found[i].Due = found[i].Due.UTC()
			}
		}
		return found
	}
	a, b := ledger.Left{Key: "a", Session: "0000000a"}, ledger.Left{Key: "b", Session: "0000000b", Suspect: true}
	c, d := ledger.Left{Key: "c"}, ledger.Left{Key: "d", Session: "0000000a"}
	is.Equal(left(), []ledger.Left{a, b, c, d})

	is.NoErr(l.Start(ctx, "a", ledger.Running))
	is.NoErr(l.StartCounted(ctx, "d", ledger.Alone, ledger.Day{Date: "2026-11-23", Turns: 1, Most: 5}))
	is.NoErr(l.Start(ctx, "b", ledger.New)) // not started after all
	a.Suspect, b.Suspect, d.Suspect = true, false, true
	is.Equal(left(), []ledger.Left{a, b, c, d})

	due := s.Now().Add(time.Hour)
	is.NoErr(l.Defer(ctx, "a", "it waits", ledger.Wait{Due: due, Since: s.Now(), Tries: 1}, 1))
	is.NoErr(l.Fail(ctx, "d", "boom", false))
	a.Suspect, a.Due, d.Suspect = false, due.Truncate(time.Second).UTC(), false
	is.Equal(left(), []ledger.Left{a, b, c, d})

	_, err := l.HandOff(ctx, l.Grant().Plan, true)
	is.NoErr(err)
	l = mustAcquire(t, s, ledger.Continue)
	is.Equal(left(), []ledger.Left{a, b, c, d}) // a later run finds the same
	is.NoErr(l.Start(ctx, "a", ledger.Running)) // also of an entry that it has not read
	is.NoErr(l.Fail(ctx, "b", "boom", true))
	a.Suspect = true
	found := left()
	is.Equal(len(found), 3)
	is.True(found[0].Suspect)

	is.NoErr(s.RetryDead(ctx, "b", false)) // back in its place
	is.Equal(left()[1], ledger.Left{Key: "b", Session: "0000000b"})
}

func load(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	for i, key := range []string{"a", "b", "c"} {
		e := entry(key)
		e.Seq, e.Session, e.Buffer = int64(i), "00000001", "buf-"+key
		is.Equal(one(t, l, e), ledger.State(""))
	}
	is.NoErr(l.Keep(ctx, "a", []json.RawMessage{[]byte(`{"op":"send"}`)}))
	is.NoErr(l.Finish(ctx, "b"))
	entries, err := l.Load(ctx, "c", "b", "nobody", "a")
	is.NoErr(err)
	is.Equal(len(entries), 2)
	is.Equal(entries[0].Key, "c")
	is.Equal(string(entries[0].Body), `{"k":"c"}`)
	is.Equal(entries[1].Key, "a")
	is.Equal(len(entries[1].Actions), 1)
	for _, e := range entries {
		is.Equal(e.Session+e.Buffer, "") // the caller has them in the body
		is.NoErr(e.Unreadable)
	}
	entries, err = l.Load(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 0)
	_, err = l.HandOff(ctx, l.Grant().Plan, true)
	is.NoErr(err)
	_, err = l.Load(ctx, "a")
	is.True(errors.Is(err, ledger.ErrLost))
}
