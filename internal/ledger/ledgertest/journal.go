package ledgertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func receive(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Arm)
	found := func() ledger.State {
		t.Helper()
		return one(t, l, entry("a"))
	}
	is.Equal(found(), ledger.State(""))
	is.Equal(found(), ledger.New)
	is.NoErr(l.Start(t.Context(), "a", ledger.Running))
	is.Equal(found(), ledger.Running)
	is.NoErr(l.Finish(t.Context(), "a"))
	is.Equal(found(), ledger.Finished)
}

func keep(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	_, err := l.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(l.Start(ctx, "a", ledger.Running))
	is.NoErr(l.Keep(ctx, "a", []json.RawMessage{[]byte(`{"op":"send"}`), []byte(`{"op":"react"}`)}))
	is.NoErr(l.Confirm(ctx, "a", 0, "ok"))
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	e := entries[0]
	is.Equal(e.State, ledger.Running)
	is.Equal(string(e.Body), `{"k":"a"}`)
	is.Equal(len(e.Actions), 2)
	is.Equal(string(e.Actions[1]), `{"op":"react"}`)
	is.Equal(e.Done, []string{"ok", ""})
	is.NoErr(l.Finish(ctx, "a"))
	for _, key := range []string{"a", "never there"} { // what is not open takes no outcome, no action and no other one
		is.True(errors.Is(l.Confirm(ctx, key, 0, "ok"), ledger.ErrNoEntry))
		is.True(errors.Is(l.Extend(ctx, key, []byte(`{"op":"send"}`)), ledger.ErrNoEntry))
		is.True(errors.Is(l.Replace(ctx, key, 0, []byte(`{"op":"send"}`)), ledger.ErrNoEntry))
	}
}

func extend(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	_, err := l.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(l.Start(ctx, "a", ledger.Running))
	is.NoErr(l.Extend(ctx, "a", []byte(`{"op":"send","content":"1"}`)))
	is.NoErr(l.Confirm(ctx, "a", 0, "ok"))
	is.NoErr(l.Fail(ctx, "a", "the stream broke", false)) // what was sent stays known
	is.NoErr(l.Start(ctx, "a", ledger.Running))
	is.NoErr(l.Extend(ctx, "a", []byte(`{"op":"send","content":"2"}`)))
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	e := entries[0]
	is.True(e.Open)
	is.Equal(e.Attempts, 1)
	is.Equal(len(e.Actions), 2)
	is.Equal(string(e.Actions[0]), `{"op":"send","content":"1"}`)
	is.Equal(string(e.Actions[1]), `{"op":"send","content":"2"}`)
	is.Equal(e.Done, []string{"ok", ""})
	is.NoErr(l.Finish(ctx, "a"))
	is.Equal(one(t, l, entry("a")), ledger.Finished)
}

func draft(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	_, err := l.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(l.Start(ctx, "a", ledger.Running))
	loaded := func() ledger.Entry {
		t.Helper()
		entries, err := l.Load(ctx, "a")
		is.NoErr(err)
		is.Equal(len(entries), 1)
		return entries[0]
	}
	is.Equal(loaded().Draft, 0)
	is.NoErr(l.Draft(ctx, "a", 1<<31-1))
	is.NoErr(l.Draft(ctx, "a", 7)) // the newest counts
	is.NoErr(l.Fail(ctx, "a", "the stream broke", false))
	_, err = l.HandOff(ctx, l.Grant().Plan, true)
	is.NoErr(err)
	l = mustAcquire(t, s, ledger.Continue)
	is.Equal(loaded().Draft, 7)
	is.NoErr(l.Extend(ctx, "a", []byte(`{"op":"draft"}`)))
	is.NoErr(l.Confirm(ctx, "a", 0, "ok"))
	is.Equal(loaded().Draft, 7) // its caller knows what that was
	is.NoErr(l.Fail(ctx, "a", "boom", true))
	is.True(errors.Is(l.Draft(ctx, "a", 8), ledger.ErrNoEntry))
	is.NoErr(s.Ledger.RetryDead(ctx, "a", false))
	is.Equal(loaded().Draft, 0) // what the chat has of it stays
	is.NoErr(l.Finish(ctx, "a"))
	is.True(errors.Is(l.Draft(ctx, "a", 8), ledger.ErrNoEntry))
	is.True(errors.Is(l.Draft(ctx, "never there", 8), ledger.ErrNoEntry))
}

func recovery(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	var want []string
	for run := range 2 { // arrival order holds across runs
		var wg sync.WaitGroup
		for i := run * 60; i < (run+1)*60; i++ {
			if i%10 != 0 {
				want = append(want, fmt.Sprint("m", i))
			}
			wg.Go(func() {
				e := entry(fmt.Sprint("m", i))
				e.Seq = int64(i)
				if _, err := l.Receive(ctx, e); err != nil {
					t.Errorf("receive: %v", err)
				}
				if i%10 != 0 {
					return
				}
				if err := l.Finish(ctx, e.Key); err != nil {
					t.Errorf("finish: %v", err)
				}
			})
		}
		wg.Wait()
		_, err := l.HandOff(ctx, l.Grant().Plan, true)
		is.NoErr(err)
		l = mustAcquire(t, s, ledger.Continue)
	}
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	var keys []string
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	is.Equal(keys, want)
}

func arrivalOrder(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	put := func(key string, seq int64) {
		t.Helper()
		e := entry(key)
		e.Seq = seq
		_, err := l.Receive(ctx, e)
		is.NoErr(err)
	}
	put("c", 3)
	put("a", 1)
	put("b", 2)
	_, err := l.HandOff(ctx, l.Grant().Plan, true)
	is.NoErr(err)
	l = mustAcquire(t, s, ledger.Continue)
	put("e", 2)
	put("d", 1) // an earlier epoch comes first, whatever the numbers
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	var keys string
	for _, e := range entries {
		keys += e.Key
	}
	is.Equal(keys, "abcde")
}

func keptForEver(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	_, err := l.Receive(ctx, entry("a"), entry("b"))
	is.NoErr(err)
	is.NoErr(l.Start(ctx, "b", ledger.Running))
	is.NoErr(l.Keep(ctx, "b", []json.RawMessage{[]byte(`{"op":"send"}`)}))
	s.Advance(10 * 24 * time.Hour)
	l = mustAcquire(t, s, ledger.Schedule)
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(len(entries), 2)
	is.Equal(string(entries[0].Body), `{"k":"a"}`)
	is.Equal(len(entries[1].Actions), 1)
	is.Equal(one(t, l, entry("a")), ledger.New) // a redelivery is still known
}

func receiveAtOnce(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Arm)
	const copies, messages = 3, 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := map[string]int{}
	for i := range copies * messages {
		wg.Go(func() {
			e := entry(fmt.Sprint("m", i%messages))
			e.Seq = int64(i)
			states, err := l.Receive(t.Context(), e)
			if err != nil {
				t.Errorf("receive: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(states) == 1 && states[0] == "" {
				fresh[e.Key]++
			}
		})
	}
	wg.Wait()
	is.Equal(len(fresh), messages)
	for _, n := range fresh {
		is.Equal(n, 1) // one receipt finds it new
	}
}

func receiveMany(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	is.Equal(one(t, l, entry("m7")), ledger.State(""))
	is.NoErr(l.Finish(ctx, "m7"))
	var entries []ledger.Entry
	var want []ledger.State
	for i := range 250 { // more than a transaction holds
		e := entry(fmt.Sprint("m", i))
		e.Seq = int64(i)
		entries, want = append(entries, e), append(want, "")
	}
	want[7] = ledger.Finished
	entries = append(entries, entries[3]) // one that comes twice
	want = append(want, ledger.New)
	states, err := l.Receive(ctx, entries...)
	is.NoErr(err)
	is.Equal(states, want)
	found, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(len(found), 249)
	entries = slices.Delete(entries[:250], 7, 8)
	for i, e := range found {
		is.Equal(e.Key, entries[i].Key) // in order of arrival
	}
	states, err = l.Receive(ctx)
	is.NoErr(err)
	is.Equal(len(states), 0)
}

func big(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	text := strings.Repeat("All work and no play. ", 20_000)
	body := json.RawMessage(`{"text":"` + text + `"}`)
	action := json.RawMessage(`{"op":"send","content":"` + text + `"}`)
	_, err := l.Receive(ctx, ledger.Entry{Key: "a", State: ledger.Running, Body: body})
	is.NoErr(err)
	is.NoErr(l.Keep(ctx, "a", []json.RawMessage{action, action}))
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	is.True(bytes.Equal(entries[0].Body, body))
	is.Equal(len(entries[0].Actions), 2)
	is.True(bytes.Equal(entries[0].Actions[1], action))
}
