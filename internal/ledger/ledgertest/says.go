package ledgertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func say(key string) ledger.Say {
	return ledger.Say{Key: key, Body: json.RawMessage(`{"say":"` + key + `"}`)}
}

// put puts a say and returns what was found of it.
func put(t *testing.T, s Subject, key string) ledger.SayState {
	t.Helper()
	found, err := s.PutSay(t.Context(), say(key))
	if err != nil {
		t.Fatalf("putting %s: %v", key, err)
	}
	return found
}

// waits returns the keys of the says that wait.
func waits(t *testing.T, l ledger.Lease) (keys []string) {
	t.Helper()
	list, err := l.Says(t.Context())
	if err != nil {
		t.Fatalf("reading the says: %v", err)
	}
	for _, s := range list {
		if string(s.Body) != string(say(s.Key).Body) {
			t.Fatalf("the say %s has the body %s", s.Key, s.Body)
		}
		keys = append(keys, s.Key)
	}
	return keys
}

func taking(key string) ledger.Taking {
	return ledger.Taking{Say: key, Entry: entry("say:" + key)}
}

func sayOnce(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	is.Equal(put(t, s, "a"), ledger.SayNew) // nobody has the lease
	is.Equal(put(t, s, "a"), ledger.SayWaits)
	o, err := s.Overview(ctx)
	is.NoErr(err)
	is.Equal(o.Says, 1)
	is.True(!o.SaidAt.IsZero())
	l := mustAcquire(t, s, ledger.Speak)
	is.Equal(waits(t, l), []string{"a"})
	states, err := l.TakeSays(ctx, taking("a"))
	is.NoErr(err)
	is.Equal(states, []ledger.State{""})
	is.Equal(put(t, s, "a"), ledger.SayTaken)
	is.Equal(len(waits(t, l)), 0)
	o, err = s.Overview(ctx)
	is.NoErr(err)
	is.Equal(o.Says, 0)
	is.True(o.SaidAt.IsZero())
	states, err = l.TakeSays(ctx, taking("a")) // by somebody who does not know that
	is.NoErr(err)
	is.Equal(states, []ledger.State{ledger.New})
	is.NoErr(l.Finish(ctx, "say:a"))
	s.Advance(ledger.SayLife - time.Minute)
	is.Equal(put(t, s, "a"), ledger.SayTaken)
	s.Advance(2 * time.Minute)
	is.Equal(put(t, s, "a"), ledger.SayNew) // after 30 days it may be said again
	l = mustAcquireAfter(t, s)
	is.Equal(waits(t, l), []string{"a"})
	s.Advance(2 * ledger.SayLife)
	is.Equal(put(t, s, "a"), ledger.SayWaits) // what waits is kept for ever
}

func sayBecomesEntry(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	for _, key := range []string{"answered", "asked", "dead", "last"} {
		put(t, s, key)
	}
	l := mustAcquire(t, s, ledger.Speak)
	is.Equal(one(t, l, entry("root")), ledger.State(""))
	answered, dead, last := taking("answered"), taking("dead"), taking("last")
	answered.Entry.Seq, answered.Entry.Actions = 1, []json.RawMessage{json.RawMessage(`{"op":"send","content":"a"}`)}
	dead.Entry.State, dead.Entry.Error = ledger.Dead, "no such chat"
	asked := taking("asked")
	asked.Entry.Seq = 2
	last.Entry.Seq, last.Of, last.Ends = 3, "root", true
	states, err := l.TakeSays(ctx, answered, asked, dead, last)
	is.NoErr(err)
	is.Equal(states, []ledger.State{"", "", "", ""})
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(len(entries), 3) // and not the dead one, nor root
	is.Equal(entries[0].Key, "say:answered")
	is.Equal(len(entries[0].Actions), 1)
	is.Equal(entries[0].Done, []string{""})
	is.NoErr(l.Confirm(ctx, "say:answered", 0, "ok"))
	is.Equal(entries[1].Key, "say:asked")
	is.Equal(len(entries[1].Actions), 0)
	is.NoErr(l.Keep(ctx, "say:asked", answered.Entry.Actions))
	list, err := s.ListDead(ctx)
	is.NoErr(err)
	is.Equal(list[0].Error, "no such chat")
	known, err := l.Known(ctx, "say:answered", "say:dead", "root", "never")
	is.NoErr(err)
	is.Equal(len(known), 3)
	is.Equal(known["root"].State, ledger.Finished)
	is.Equal(known["say:dead"].State, ledger.Dead)
	is.Equal(string(known["say:dead"].Body), string(dead.Entry.Body)) // the dead keep it
	is.Equal(known["say:answered"].State, ledger.New)
}

// What belongs to an entry is taken only while that is unfinished: then nothing of it is written, whatever was read before.
func sayOfEntry(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	for _, key := range []string{"first", "last", "other", "after"} {
		put(t, s, key)
	}
	l := mustAcquire(t, s, ledger.Speak)
	is.Equal(one(t, l, entry("root")), ledger.State(""))
	is.Equal(one(t, l, entry("given up")), ledger.State(""))
	of := func(key, root string, seq int64, ends bool) ledger.Taking {
		take := taking(key)
		take.Entry.Seq, take.Of, take.Ends = seq, root, ends
		return take
	}
	states, err := l.TakeSays(ctx, of("first", "root", 2, false), of("last", "root", 3, true), of("after", "root", 4, false))
	is.NoErr(err)
	is.Equal(states, []ledger.State{"", "", ledger.Ended}) // in their order, also in one call
	is.Equal(waits(t, l), []string{"other", "after"})
	is.NoErr(l.Bury(ctx, "given up", "too late"))
	for _, ends := range []bool{true, false} {
		states, err = l.TakeSays(ctx, of("other", "given up", 5, ends), of("after", "root", 6, ends))
		is.NoErr(err)
		is.Equal(states, []ledger.State{ledger.Ended, ledger.Ended})
	}
	is.Equal(waits(t, l), []string{"other", "after"})
	put(t, s, "plain")
	states, err = l.TakeSays(ctx, taking("plain"), of("other", "given up", 7, false))
	is.NoErr(err)
	is.Equal(states, []ledger.State{"", ledger.Ended}) // what is taken beside it is taken
	is.Equal(waits(t, l), []string{"other", "after"})
	known, err := l.Known(ctx, "say:first", "say:last", "say:other", "say:after", "root", "given up")
	is.NoErr(err)
	is.Equal(len(known), 4)
	is.Equal(known["root"].State, ledger.Finished)
	is.Equal(known["given up"].State, ledger.Dead)
	states, err = l.TakeSays(ctx, of("last", "root", 3, true)) // what was taken stays taken
	is.NoErr(err)
	is.Equal(states, []ledger.State{ledger.New})
}

func sayMark(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Wake)
	is.True(!l.Said())
	_, err := s.Acquire(ctx, ask(ledger.Wake)) // a poke
	is.True(errors.Is(err, ledger.ErrTaken))
	is.NoErr(l.Heartbeat(ctx))
	is.True(!l.Said()) // is no say
	for _, key := range []string{"a", "b"} {
		put(t, s, key)
		_, err = s.Acquire(ctx, ask(ledger.Speak))
		is.True(errors.Is(err, ledger.ErrTaken))
		is.NoErr(l.Heartbeat(ctx))
		is.True(l.Said()) // also where the mark stood
		is.Equal(len(waits(t, l)), len(key)+int(key[0]-'a'))
		is.True(!l.Said())
	}
	is.True(errors.Is(l.Release(ctx, l.Grant().Plan, true), ledger.ErrAsked))
	put(t, s, "c")
	_, err = s.Acquire(ctx, ask(ledger.Speak))
	is.True(errors.Is(err, ledger.ErrTaken))
	is.NoErr(l.Clear(ctx)) // takes the mark away, and tells
	is.True(l.Said())
	is.Equal(len(waits(t, l)), 3)
	put(t, s, "d")
	_, err = s.Acquire(ctx, ask(ledger.Speak))
	is.True(errors.Is(err, ledger.ErrTaken))
	is.True(errors.Is(l.Release(ctx, l.Grant().Plan, true), ledger.ErrAsked))
	is.True(l.Said()) // the refusal tells, too
}

func sayOrder(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	const n = 120 // more than one transaction, and one page of bodies
	for i := range n {
		put(t, s, fmt.Sprint("k", (i*7)%n))
		s.Advance(time.Millisecond)
	}
	l := mustAcquire(t, s, ledger.Speak)
	keys := waits(t, l)
	is.Equal(len(keys), n)
	var list []ledger.Taking
	for i, key := range keys {
		is.Equal(key, fmt.Sprint("k", (i*7)%n)) // by arrival
		next := taking(key)
		next.Entry.Seq = int64(i + 1)
		list = append(list, next)
	}
	states, err := l.TakeSays(ctx, list...)
	is.NoErr(err)
	is.Equal(len(states), n)
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(len(entries), n)
	is.Equal(entries[n-1].Key, "say:"+keys[n-1])
	is.Equal(len(waits(t, l)), 0)
}

func sayAtOnce(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Arm)
	var wg sync.WaitGroup
	found := make(chan ledger.SayState, 16)
	for range 16 {
		wg.Go(func() {
			state, err := s.PutSay(t.Context(), say("a"))
			if err != nil {
				t.Error(err)
			}
			found <- state
		})
	}
	wg.Wait()
	close(found)
	fresh := 0
	for state := range found {
		if state == ledger.SayNew {
			fresh++
		}
	}
	is.Equal(fresh, 1)
	is.Equal(waits(t, l), []string{"a"})
}

func sayByLoser(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	put(t, s, "a")
	loser := mustAcquire(t, s, ledger.Arm)
	l := mustAcquireAfter(t, s)
	_, err := loser.TakeSays(ctx, taking("a"))
	is.True(errors.Is(err, ledger.ErrLost))
	is.Equal(waits(t, l), []string{"a"})
	_, err = l.HandOff(ctx, l.Grant().Plan, true)
	is.NoErr(err)
	_, err = l.Says(ctx)
	is.True(errors.Is(err, ledger.ErrLost))
	_, err = l.Known(ctx, "say:a")
	is.True(errors.Is(err, ledger.ErrLost))
}

func saySwitchedOff(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	is.NoErr(l.Disable(ctx, "4401"))
	_, err := l.HandOff(ctx, l.Grant().Plan, false)
	is.NoErr(err)
	is.Equal(put(t, s, "a"), ledger.SayNew)
	_, err = s.Acquire(ctx, ask(ledger.Speak))
	is.True(errors.Is(err, ledger.ErrDisabled))
	is.NoErr(s.Enable(ctx))
	is.Equal(waits(t, mustAcquire(t, s, ledger.Arm)), []string{"a"})
}

func sayWithoutToken(t *testing.T, is *is.I, s Subject) {
	for range ledger.Tokens {
		l := mustAcquire(t, s, ledger.Wake)
		_, err := l.HandOff(t.Context(), l.Grant().Plan, false)
		is.NoErr(err)
	}
	_, err := s.Acquire(t.Context(), ask(ledger.Wake))
	is.True(errors.Is(err, ledger.ErrNotDue))
	mustAcquire(t, s, ledger.Speak) // it has work: it is no empty look
}
