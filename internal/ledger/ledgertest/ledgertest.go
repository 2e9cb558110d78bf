// Package ledgertest is what every ledger must pass.
package ledgertest

import (
	"bytes"
	"context"
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

// Subject is an empty ledger and the clock that it goes by.
type Subject struct {
	ledger.Ledger
	Now     func() time.Time
	Advance func(time.Duration)
}

const life = 30 * time.Second

// Run puts ledgers to the test. start calls its argument once, with a fresh one.
func Run(t *testing.T, start func(*testing.T, func(*testing.T, Subject))) {
	tests := map[string]func(*testing.T, *is.I, Subject){
		"one holder at a time":                        oneHolder,
		"racing acquirers have one winner":            racing,
		"a dead holder's lease is free after a life":  deadHolder,
		"a heartbeat renews it":                       heartbeat,
		"a loser marks the holder":                    marks,
		"a schedule marks nobody":                     scheduleMarksNobody,
		"a hand-off ignores the mark, and tells it":   handOff,
		"an old epoch writes nothing":                 oldEpoch,
		"a schedule runs when a sweep is due":         schedule,
		"a schedule takes up what a dead holder left": scheduleAfterDeath,
		"empty looks have a budget":                   budget,
		"receiving gives every token back":            budgetBack,
		"a revoked instance stays off":                disabled,
		"a handshake is remembered":                   handshaken,
		"a declared policy is remembered":             declared,
		"fresh ids are limited":                       freshIDs,
		"an instance at a glance":                     overview,
		"a delivery is new once":                      receive,
		"an answer is kept with its outcomes":         keep,
		"a streamed answer grows and stays open":      extend,
		"a dead delivery is not recovered":            dead,
		"recovery is in arrival order":                recovery,
		"recovery is by arrival, not by receipt":      arrivalOrder,
		"what is not finished is kept for ever":       keptForEver,
		"a delivery may be dead on arrival":           deadOnArrival,
		"concurrent receipts of one delivery":         receiveAtOnce,
		"many are received in one call":               receiveMany,
		"a big event and its answer come back whole":  big,
		"the dead are listed and shown":               graveyard,
		"a dead delivery is put back in its place":    retryDead,
		"a dropped one is finished":                   dropDead,
		"what is not dead is left alone":              notDead,
		"a prompt belongs to its first answer":        prompts,
		"a prompt's time runs out":                    promptTimeout,
		"an answered prompt is known as answered":     promptAnswered,
		"a prompt put again is not open again":        promptAgain,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			start(t, func(t *testing.T, s Subject) { test(t, is.New(t), s) })
		})
	}
}

// Wrap returns l with wrap put around each lease that it gives: for tests of what a ledger's failures lead to.
func Wrap(l ledger.Ledger, wrap func(ledger.Lease) ledger.Lease) ledger.Ledger {
	return wrapped{l, wrap}
}

type wrapped struct {
	ledger.Ledger
	wrap func(ledger.Lease) ledger.Lease
}

func (w wrapped) Acquire(ctx context.Context, ask ledger.Ask) (ledger.Lease, error) {
	l, err := w.Ledger.Acquire(ctx, ask)
	if err != nil {
		return nil, err
	}
	return w.wrap(l), nil
}

func ask(r ledger.Reason) ledger.Ask {
	return ledger.Ask{Reason: r, Owner: "run-1", Life: life}
}

func mustAcquire(t *testing.T, s Subject, r ledger.Reason) ledger.Lease {
	t.Helper()
	g, err := s.Acquire(t.Context(), ask(r))
	if err != nil {
		t.Fatalf("acquire for %s: %v", r, err)
	}
	return g
}

func oneHolder(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Wake)
	_, err := s.Acquire(t.Context(), ask(ledger.Arm))
	is.True(errors.Is(err, ledger.ErrTaken))
	is.NoErr(g.Clear(t.Context()))
	is.NoErr(g.Release(t.Context(), g.Grant().Plan, false))
	next := mustAcquire(t, s, ledger.Arm)
	is.True(next.Grant().Epoch > g.Grant().Epoch)
	is.True(!g.Grant().TakenOver && !next.Grant().TakenOver) // nobody had it, and it was given back
}

func racing(t *testing.T, is *is.I, s Subject) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 64 {
		wg.Go(func() {
			_, err := s.Acquire(t.Context(), ask(ledger.Continue))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, ledger.ErrTaken) {
				t.Errorf("a loser got %v", err)
			}
		})
	}
	wg.Wait()
	is.Equal(won, 1)
}

func deadHolder(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Arm)
	s.Advance(life / 2)
	_, err := s.Acquire(t.Context(), ask(ledger.Arm))
	is.True(errors.Is(err, ledger.ErrTaken))
	s.Advance(life) // 1.5 lives after the last heartbeat: the design's bound
	next := mustAcquire(t, s, ledger.Arm)
	is.True(next.Grant().Epoch > g.Grant().Epoch)
	is.True(next.Grant().TakenOver) // what the dead one knew, nobody has written down
	_, err = next.HandOff(t.Context(), next.Grant().Plan, false)
	is.NoErr(err)
	is.True(!mustAcquire(t, s, ledger.Arm).Grant().TakenOver)
}

func heartbeat(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Arm)
	for range 6 {
		s.Advance(life / 3)
		is.NoErr(g.Heartbeat(t.Context()))
	}
	_, err := s.Acquire(t.Context(), ask(ledger.Arm))
	is.True(errors.Is(err, ledger.ErrTaken))
}

func marks(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Wake)
	_, err := s.Acquire(t.Context(), ask(ledger.Wake))
	is.True(errors.Is(err, ledger.ErrTaken))
	is.True(errors.Is(g.Release(t.Context(), g.Grant().Plan, true), ledger.ErrAsked))
	is.NoErr(g.Heartbeat(t.Context())) // it still holds the lease
	is.NoErr(g.Clear(t.Context()))
	is.NoErr(g.Release(t.Context(), g.Grant().Plan, true))
}

func scheduleMarksNobody(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Wake)
	_, err := s.Acquire(t.Context(), ask(ledger.Schedule))
	is.True(errors.Is(err, ledger.ErrTaken))
	is.NoErr(g.Release(t.Context(), g.Grant().Plan, true))
}

func handOff(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Wake)
	asked, err := g.HandOff(t.Context(), g.Grant().Plan, true)
	is.NoErr(err)
	is.True(!asked)
	g = mustAcquire(t, s, ledger.Continue)
	_, err = s.Acquire(t.Context(), ask(ledger.Wake))
	is.True(errors.Is(err, ledger.ErrTaken))
	asked, err = g.HandOff(t.Context(), g.Grant().Plan, true)
	is.NoErr(err)
	is.True(asked)
	mustAcquire(t, s, ledger.Continue)
}

func oldEpoch(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	old := mustAcquire(t, s, ledger.Arm)
	_, err := old.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(old.PutPrompt(ctx, ledger.Prompt{ID: "asked", Until: s.Now().Add(24 * time.Hour)}))
	s.Advance(2 * life)
	now := mustAcquire(t, s, ledger.Arm)
	writes := map[string]func(ledger.Lease) error{
		"heartbeat":  func(l ledger.Lease) error { return l.Heartbeat(ctx) },
		"clear":      func(l ledger.Lease) error { return l.Clear(ctx) },
		"release":    func(l ledger.Lease) error { return l.Release(ctx, ledger.Plan{}, true) },
		"hand-off":   func(l ledger.Lease) error { _, err := l.HandOff(ctx, ledger.Plan{}, true); return err },
		"handshaken": func(l ledger.Lease) error { return l.SetHandshaken(ctx, "gw") },
		"declared":   func(l ledger.Lease) error { return l.SetDeclared(ctx, "f") },
		"disable":    func(l ledger.Lease) error { return l.Disable(ctx, "4401") },
		"fresh id":   func(l ledger.Lease) error { _, err := l.TakeFreshID(ctx); return err },
		"receive":    func(l ledger.Lease) error { _, err := l.Receive(ctx, entry("b")); return err },
		"start":      func(l ledger.Lease) error { return l.Start(ctx, "a", ledger.Running) },
		"keep":       func(l ledger.Lease) error { return l.Keep(ctx, "a", []json.RawMessage{[]byte(`{}`)}) },
		"extend":     func(l ledger.Lease) error { return l.Extend(ctx, "a", []byte(`{}`)) },
		"confirm":    func(l ledger.Lease) error { return l.Confirm(ctx, "a", 0, "ok") },
		"fail":       func(l ledger.Lease) error { return l.Fail(ctx, "a", "boom", true) },
		"finish":     func(l ledger.Lease) error { return l.Finish(ctx, "a") },
		"recover":    func(l ledger.Lease) error { _, err := l.Recover(ctx); return err },
		"prompt": func(l ledger.Lease) error {
			return l.PutPrompt(ctx, ledger.Prompt{ID: "p", Until: s.Now().Add(time.Hour)})
		},
		"take prompt": func(l ledger.Lease) error { _, err := l.TakePrompt(ctx, "asked", "d"); return err },
	}
	for name, write := range writes {
		if err := write(old); !errors.Is(err, ledger.ErrLost) {
			t.Errorf("%s under an old epoch: %v, want ErrLost", name, err)
		}
	}
	is.True(!old.GivenBack()) // it was taken away
	entries, err := now.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	is.Equal(entries[0].State, ledger.New)
	is.NoErr(now.Clear(ctx))
	is.True(!now.GivenBack())
	is.NoErr(now.Release(ctx, now.Grant().Plan, true))
	is.True(now.GivenBack())
	is.True(errors.Is(now.Heartbeat(ctx), ledger.ErrLost)) // given back is lost, too
	for name, write := range writes {
		if err := write(now); !errors.Is(err, ledger.ErrLost) {
			t.Errorf("%s with a lease that was given back: %v, want ErrLost", name, err)
		}
	}
	next := mustAcquire(t, s, ledger.Arm)
	is.True(!next.Grant().TakenOver)
	for name, write := range writes { // nor once another has it
		if err := write(now); !errors.Is(err, ledger.ErrLost) {
			t.Errorf("%s with a lease that was given back and acquired again: %v, want ErrLost", name, err)
		}
	}
}

func schedule(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Schedule) // the first firing arms
	plan := ledger.Plan{At: s.Now().Add(20 * time.Minute), Every: 20 * time.Minute}
	is.NoErr(g.Release(t.Context(), plan, false))
	s.Advance(15 * time.Minute)
	_, err := s.Acquire(t.Context(), ask(ledger.Schedule))
	is.True(errors.Is(err, ledger.ErrNotDue))
	s.Advance(90 * time.Second)
	g = mustAcquire(t, s, ledger.Schedule)
	is.Equal(g.Grant().Plan.Every, plan.Every)
	is.True(g.Grant().Plan.At.Sub(plan.At).Abs() < time.Second)
}

func scheduleAfterDeath(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Arm)
	is.NoErr(g.Release(t.Context(), ledger.Plan{At: s.Now().Add(24 * time.Hour), Every: time.Hour}, false))
	g = mustAcquire(t, s, ledger.Arm)
	s.Advance(2 * life)
	is.True(mustAcquire(t, s, ledger.Schedule).Grant().Epoch > g.Grant().Epoch)
}

func budget(t *testing.T, is *is.I, s Subject) {
	plan := ledger.Plan{At: s.Now().Add(24 * time.Hour), Every: time.Hour}
	look := func() error {
		g, err := s.Acquire(t.Context(), ask(ledger.Wake))
		if err != nil {
			return err
		}
		return g.Release(t.Context(), plan, false)
	}
	for range ledger.Tokens {
		is.NoErr(look())
	}
	is.True(errors.Is(look(), ledger.ErrNotDue)) // the budget is spent
	// The poke was only marked: the schedule's next firing is a sweep, due or not.
	g := mustAcquire(t, s, ledger.Schedule)
	is.NoErr(g.Clear(t.Context()))
	is.NoErr(g.Release(t.Context(), plan, false))
	s.Advance(ledger.Refill + time.Second)
	is.NoErr(look()) // one token is back
	is.True(errors.Is(look(), ledger.ErrNotDue))
}

func budgetBack(t *testing.T, is *is.I, s Subject) {
	for range 2 {
		for i := range ledger.Tokens {
			g := mustAcquire(t, s, ledger.Wake)
			is.NoErr(g.Release(t.Context(), g.Grant().Plan, i == ledger.Tokens-1))
		}
	}
}

func disabled(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Wake)
	is.NoErr(g.Disable(t.Context(), "4401 unauthorized"))
	is.NoErr(g.Release(t.Context(), g.Grant().Plan, true))
	for _, r := range []ledger.Reason{ledger.Wake, ledger.Schedule, ledger.Arm, ledger.Continue} {
		_, err := s.Acquire(t.Context(), ask(r))
		is.True(errors.Is(err, ledger.ErrDisabled))
	}
	standing, err := s.Standing(t.Context())
	is.NoErr(err)
	is.True(standing.Disabled)
	is.True(!standing.DisabledAt.IsZero())
	is.Equal(standing.DisabledBy, "4401 unauthorized")
	is.NoErr(s.Enable(t.Context()))
	is.True(!mustAcquire(t, s, ledger.Wake).Grant().Standing.Disabled)
}

func handshaken(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Wake)
	is.Equal(g.Grant().Standing.Handshaken, "")
	is.NoErr(g.SetHandshaken(t.Context(), "gw-1"))
	is.NoErr(g.Release(t.Context(), g.Grant().Plan, true))
	is.Equal(mustAcquire(t, s, ledger.Wake).Grant().Standing.Handshaken, "gw-1")
}

func declared(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Wake)
	is.Equal(g.Grant().Standing.Declared, "")
	is.NoErr(g.SetDeclared(t.Context(), "f-1"))
	is.NoErr(g.Release(t.Context(), g.Grant().Plan, true))
	is.Equal(mustAcquire(t, s, ledger.Wake).Grant().Standing.Declared, "f-1")
}

func freshIDs(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Arm)
	taken := 0
	for range 12 * 2 { // every half hour of half a day
		ok, err := g.TakeFreshID(t.Context())
		is.NoErr(err)
		if ok {
			taken++
		}
		s.Advance(30 * time.Minute)
	}
	is.Equal(taken, 10)
	s.Advance(24 * time.Hour)
	ok, err := g.TakeFreshID(t.Context())
	is.NoErr(err)
	is.True(ok)
}

func entry(key string) ledger.Entry {
	return ledger.Entry{Key: key, State: ledger.New, Body: json.RawMessage(`{"k":"` + key + `"}`)}
}

// one receives an entry and returns the state that was found of it.
func one(t *testing.T, g ledger.Journal, e ledger.Entry) ledger.State {
	t.Helper()
	states, err := g.Receive(t.Context(), e)
	if err != nil || len(states) != 1 {
		t.Fatalf("receive: %d states, %v", len(states), err)
	}
	return states[0]
}

func receive(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Arm)
	found := func() ledger.State {
		t.Helper()
		return one(t, g, entry("a"))
	}
	is.Equal(found(), ledger.State(""))
	is.Equal(found(), ledger.New)
	is.NoErr(g.Start(t.Context(), "a", ledger.Running))
	is.Equal(found(), ledger.Running)
	is.NoErr(g.Finish(t.Context(), "a"))
	is.Equal(found(), ledger.Finished)
}

func keep(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(g.Start(ctx, "a", ledger.Running))
	is.NoErr(g.Keep(ctx, "a", []json.RawMessage{[]byte(`{"op":"send"}`), []byte(`{"op":"react"}`)}))
	is.NoErr(g.Confirm(ctx, "a", 0, "ok"))
	entries, err := g.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	e := entries[0]
	is.Equal(e.State, ledger.Running)
	is.Equal(string(e.Body), `{"k":"a"}`)
	is.Equal(len(e.Actions), 2)
	is.Equal(string(e.Actions[1]), `{"op":"react"}`)
	is.Equal(e.Done, []string{"ok", ""})
}

func extend(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(g.Start(ctx, "a", ledger.Running))
	is.NoErr(g.Extend(ctx, "a", []byte(`{"op":"send","content":"1"}`)))
	is.NoErr(g.Confirm(ctx, "a", 0, "ok"))
	is.NoErr(g.Fail(ctx, "a", "the stream broke", false)) // what was sent stays known
	is.NoErr(g.Start(ctx, "a", ledger.Running))
	is.NoErr(g.Extend(ctx, "a", []byte(`{"op":"send","content":"2"}`)))
	entries, err := g.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	e := entries[0]
	is.True(e.Open)
	is.Equal(e.Attempts, 1)
	is.Equal(len(e.Actions), 2)
	is.Equal(string(e.Actions[0]), `{"op":"send","content":"1"}`)
	is.Equal(string(e.Actions[1]), `{"op":"send","content":"2"}`)
	is.Equal(e.Done, []string{"ok", ""})
	is.NoErr(g.Finish(ctx, "a"))
	is.Equal(one(t, g, entry("a")), ledger.Finished)
}

func dead(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(g.Fail(ctx, "a", "agent: 500", false))
	entries, err := g.Recover(ctx)
	is.NoErr(err)
	is.Equal(entries[0].Attempts, 1)
	is.Equal(entries[0].Error, "agent: 500")
	is.NoErr(g.Fail(ctx, "a", "agent: 500", true))
	entries, err = g.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 0)
	is.Equal(one(t, g, entry("a")), ledger.Dead)
}

func recovery(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
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
				if _, err := g.Receive(ctx, e); err != nil {
					t.Errorf("receive: %v", err)
				}
				if i%10 != 0 {
					return
				}
				if err := g.Finish(ctx, e.Key); err != nil {
					t.Errorf("finish: %v", err)
				}
			})
		}
		wg.Wait()
		_, err := g.HandOff(ctx, g.Grant().Plan, true)
		is.NoErr(err)
		g = mustAcquire(t, s, ledger.Continue)
	}
	entries, err := g.Recover(ctx)
	is.NoErr(err)
	var keys []string
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	is.Equal(keys, want)
}

func deadOnArrival(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Arm)
	e := ledger.Entry{Key: "a", State: ledger.Dead, Error: "too large"}
	is.Equal(one(t, g, e), ledger.State(""))
	entries, err := g.Recover(t.Context())
	is.NoErr(err)
	is.Equal(len(entries), 0)
	is.Equal(one(t, g, e), ledger.Dead)
}

func arrivalOrder(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	put := func(key string, seq int64) {
		t.Helper()
		e := entry(key)
		e.Seq = seq
		_, err := g.Receive(ctx, e)
		is.NoErr(err)
	}
	put("c", 3)
	put("a", 1)
	put("b", 2)
	_, err := g.HandOff(ctx, g.Grant().Plan, true)
	is.NoErr(err)
	g = mustAcquire(t, s, ledger.Continue)
	put("e", 2)
	put("d", 1) // an earlier epoch comes first, whatever the numbers
	entries, err := g.Recover(ctx)
	is.NoErr(err)
	var keys string
	for _, e := range entries {
		keys += e.Key
	}
	is.Equal(keys, "abcde")
}

func keptForEver(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("a"), entry("b"))
	is.NoErr(err)
	is.NoErr(g.Start(ctx, "b", ledger.Running))
	is.NoErr(g.Keep(ctx, "b", []json.RawMessage{[]byte(`{"op":"send"}`)}))
	s.Advance(10 * 24 * time.Hour)
	g = mustAcquire(t, s, ledger.Schedule)
	entries, err := g.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 2)
	is.Equal(string(entries[0].Body), `{"k":"a"}`)
	is.Equal(len(entries[1].Actions), 1)
	is.Equal(one(t, g, entry("a")), ledger.New) // a redelivery is still known
}

func receiveAtOnce(t *testing.T, is *is.I, s Subject) {
	g := mustAcquire(t, s, ledger.Arm)
	const copies, messages = 3, 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := map[string]int{}
	for i := range copies * messages {
		wg.Go(func() {
			e := entry(fmt.Sprint("m", i%messages))
			e.Seq = int64(i)
			states, err := g.Receive(t.Context(), e)
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
	g := mustAcquire(t, s, ledger.Arm)
	is.Equal(one(t, g, entry("m7")), ledger.State(""))
	is.NoErr(g.Finish(ctx, "m7"))
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
	states, err := g.Receive(ctx, entries...)
	is.NoErr(err)
	is.Equal(states, want)
	found, err := g.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(found), 249)
	entries = slices.Delete(entries[:250], 7, 8)
	for i, e := range found {
		is.Equal(e.Key, entries[i].Key) // in order of arrival
	}
	states, err = g.Receive(ctx)
	is.NoErr(err)
	is.Equal(len(states), 0)
}

func big(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	text := strings.Repeat("All work and no play. ", 20_000)
	body := json.RawMessage(`{"text":"` + text + `"}`)
	action := json.RawMessage(`{"op":"send","content":"` + text + `"}`)
	_, err := g.Receive(ctx, ledger.Entry{Key: "a", State: ledger.Running, Body: body})
	is.NoErr(err)
	is.NoErr(g.Keep(ctx, "a", []json.RawMessage{action, action}))
	entries, err := g.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	is.True(bytes.Equal(entries[0].Body, body))
	is.Equal(len(entries[0].Actions), 2)
	is.True(bytes.Equal(entries[0].Actions[1], action))
}

// kill makes key a dead entry that has been tried once.
func kill(t *testing.T, is *is.I, g ledger.Journal, key string, seq int64) {
	t.Helper()
	e := entry(key)
	e.Seq, e.State = seq, ledger.Running
	_, err := g.Receive(t.Context(), e)
	is.NoErr(err)
	is.NoErr(g.Fail(t.Context(), key, "agent: 500", true))
}

func graveyard(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	none, err := s.ListDead(ctx)
	is.NoErr(err)
	is.Equal(len(none), 0)
	g := mustAcquire(t, s, ledger.Arm)
	kill(t, is, g, "b", 2)
	died := s.Now()
	s.Advance(time.Second)
	_, err = g.Receive(ctx, ledger.Entry{Key: "a", Seq: 1, State: ledger.Dead, Error: "too large"})
	is.NoErr(err)
	_, err = g.Receive(ctx, entry("c"))
	is.NoErr(err)
	_, err = g.HandOff(ctx, g.Grant().Plan, true)
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
	g := mustAcquire(t, s, ledger.Arm)
	kill(t, is, g, "a", 1)
	e := entry("b")
	e.Seq = 2
	_, err := g.Receive(ctx, e)
	is.NoErr(err)
	is.NoErr(s.RetryDead(ctx, "a"))
	entries, err := g.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 2)
	a := entries[0] // in arrival order
	is.Equal(a, ledger.Entry{Key: "a", Seq: a.Seq, State: ledger.New, Body: a.Body, Done: a.Done})
	is.Equal(string(a.Body), `{"k":"a"}`)
	list, err := s.ListDead(ctx)
	is.NoErr(err)
	is.Equal(len(list), 0)
	is.NoErr(g.Finish(ctx, "a"))
	is.Equal(one(t, g, entry("a")), ledger.Finished)
}

func dropDead(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	kill(t, is, g, "a", 1)
	is.NoErr(s.DropDead(ctx, "a"))
	list, err := s.ListDead(ctx)
	is.NoErr(err)
	is.Equal(len(list), 0)
	_, err = s.ShowDead(ctx, "a")
	is.True(errors.Is(err, ledger.ErrNotDead))
	is.True(errors.Is(s.DropDead(ctx, "a"), ledger.ErrNotDead))
	is.Equal(one(t, g, entry("a")), ledger.Finished)
}

func notDead(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	_, err := g.Receive(ctx, entry("open"))
	is.NoErr(err)
	_, err = g.Receive(ctx, ledger.Entry{Key: "empty", State: ledger.Dead, Error: "too large"})
	is.NoErr(err)
	for _, key := range []string{"open", "unknown"} {
		is.True(errors.Is(s.RetryDead(ctx, key), ledger.ErrNotDead))
		is.True(errors.Is(s.DropDead(ctx, key), ledger.ErrNotDead))
		_, err := s.ShowDead(ctx, key)
		is.True(errors.Is(err, ledger.ErrNotDead))
	}
	is.True(errors.Is(s.RetryDead(ctx, "empty"), ledger.ErrNotDead)) // there is no event to answer
	entries, err := g.Recover(ctx)
	is.NoErr(err)
	is.Equal(len(entries), 1)
	is.Equal(entries[0].Key, "open")
}

func prompts(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	until := s.Now().Add(time.Hour)
	is.NoErr(g.PutPrompt(ctx, ledger.Prompt{ID: "p-1", Ref: `{"step":2}`, Until: until}))
	_, err := g.TakePrompt(ctx, "p-2", "d-1")
	is.True(errors.Is(err, ledger.ErrNoPrompt))
	_, err = g.HandOff(ctx, g.Grant().Plan, true)
	is.NoErr(err)
	g = mustAcquire(t, s, ledger.Continue) // it outlives its run
	for range 2 {
		p, err := g.TakePrompt(ctx, "p-1", "d-1") // an attempt may be repeated
		is.NoErr(err)
		is.Equal(p.ID+p.Ref, `p-1{"step":2}`)
		is.True(p.Until.Sub(until).Abs() < time.Second)
	}
	_, err = g.TakePrompt(ctx, "p-1", "d-2")
	is.True(errors.Is(err, ledger.ErrAnswered))
}

func promptTimeout(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	is.NoErr(g.PutPrompt(ctx, ledger.Prompt{ID: "p", Until: s.Now().Add(time.Minute)}))
	s.Advance(time.Minute)
	_, err := g.TakePrompt(ctx, "p", "d")
	is.True(errors.Is(err, ledger.ErrNoPrompt))
}

func promptAnswered(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	take := func(delivery string) error {
		_, err := g.TakePrompt(ctx, "p", delivery)
		return err
	}
	next := func() { // run, when its lease is over
		t.Helper()
		_, err := g.HandOff(ctx, g.Grant().Plan, true)
		is.NoErr(err)
		g = mustAcquire(t, s, ledger.Continue)
	}
	is.NoErr(g.PutPrompt(ctx, ledger.Prompt{ID: "p", Ref: "r", Until: s.Now().Add(time.Minute)}))
	is.NoErr(take("d-1"))
	next()
	s.Advance(time.Hour) // its time is over, but it was answered in time
	is.NoErr(take("d-1"))
	is.True(errors.Is(take("d-2"), ledger.ErrAnswered))
	is.NoErr(g.PutPrompt(ctx, ledger.Prompt{ID: "p", Ref: "r", Until: s.Now().Add(time.Minute)}))
	is.True(errors.Is(take("d-2"), ledger.ErrAnswered)) // nor is it open again
	s.Advance(ledger.AnsweredLife)
	is.True(errors.Is(take("d-1"), ledger.ErrNoPrompt))
}

func promptAgain(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	g := mustAcquire(t, s, ledger.Arm)
	put := func(id string, until time.Time) {
		t.Helper()
		is.NoErr(g.PutPrompt(ctx, ledger.Prompt{ID: id, Ref: "r", Until: until}))
	}
	take := func(id, delivery string) bool {
		t.Helper()
		_, err := g.TakePrompt(ctx, id, delivery)
		is.True(err == nil || errors.Is(err, ledger.ErrAnswered) || errors.Is(err, ledger.ErrNoPrompt))
		return err == nil
	}
	put("p", s.Now().Add(time.Hour))
	put("p", s.Now().Add(time.Hour))
	is.True(take("p", "d-1"))
	put("p", s.Now().Add(time.Hour))
	is.True(!take("p", "d-2"))
	is.True(take("p", "d-1"))
	put("q", s.Now().Add(time.Hour))
	put("q", s.Now()) // taken back
	is.True(!take("q", "d-1"))
	is.True(!take(strings.Repeat("x", 5000), "d-1")) // ids come from outside
}

func overview(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	glance := func() ledger.Overview {
		t.Helper()
		o, err := s.Overview(ctx)
		is.NoErr(err)
		return o
	}
	is.Equal(glance(), ledger.Overview{})
	g := mustAcquire(t, s, ledger.Arm)
	is.NoErr(g.SetHandshaken(ctx, "gw-1"))
	for _, key := range []string{"a", "b", "c"} {
		_, err := g.Receive(ctx, entry(key))
		is.NoErr(err)
	}
	is.NoErr(g.Finish(ctx, "a"))
	is.NoErr(g.Fail(ctx, "b", "agent: 500", true))
	_, err := s.Acquire(ctx, ask(ledger.Wake))
	is.True(errors.Is(err, ledger.ErrTaken))
	o := glance()
	is.True(o.Held && o.Until.After(s.Now()))
	is.True(o.Asked)
	is.Equal(o.Pending, 1) // neither the finished one nor the dead
	is.Equal(o.Standing.Handshaken, "gw-1")
	is.True(o.Ended.IsZero())

	at := s.Now().Add(20 * time.Minute)
	_, err = g.HandOff(ctx, ledger.Plan{At: at, Every: 20 * time.Minute}, true)
	is.NoErr(err)
	o = glance()
	is.True(!o.Held)
	is.True(o.Plan.At.Sub(at).Abs() < time.Second)
	is.True(s.Now().Sub(o.Ended).Abs() < time.Minute)
	mustAcquire(t, s, ledger.Arm)
	s.Advance(2 * life)
	is.True(!glance().Held) // its holder has died
}
