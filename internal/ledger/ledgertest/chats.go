package ledgertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// next gives a lease back and takes the next.
func next(t *testing.T, s Subject, l ledger.Lease) ledger.Lease {
	t.Helper()
	if _, err := l.HandOff(t.Context(), l.Grant().Plan, true); err != nil {
		t.Fatalf("hand off: %v", err)
	}
	return mustAcquire(t, s, ledger.Continue)
}

// chat is what is remembered of one.
func chat(t *testing.T, l ledger.Lease, name ledger.ChatName) ledger.Chat {
	t.Helper()
	found, err := l.Chats(t.Context(), name)
	if err != nil {
		t.Fatalf("chats: %v", err)
	}
	return found[name]
}

func chats(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	one, other := ledger.ChatName{Platform: "discord", ID: "c:1"}, ledger.ChatName{Platform: "telegram", ID: "c:1"}
	long := ledger.ChatName{Platform: "slack", ID: strings.Repeat("é", 2000)}
	l := mustAcquire(t, s, ledger.Arm)
	found, err := l.Chats(ctx)
	is.NoErr(err)
	is.Equal(len(found), 0)
	found, err = l.Chats(ctx, one, other, long)
	is.NoErr(err)
	is.Equal(len(found), 0)
	now := s.Now().Truncate(time.Second)
	route := json.RawMessage(`{"platform":"discord","chat_id":"c:1"}`)
	is.NoErr(l.NoteChats(ctx, nil))
	is.NoErr(l.NoteChats(ctx, map[ledger.ChatName]ledger.Chat{
		one:  {Route: route, Routed: now},
		long: {Sorry: now},
	}))
	is.NoErr(l.NoteChats(ctx, map[ledger.ChatName]ledger.Chat{one: {BotTurns: 3, BotsSince: now}}))
	l = next(t, s, l)
	is.NoErr(l.NoteChats(ctx, map[ledger.ChatName]ledger.Chat{
		one: {BotTurns: 4, BotsSince: now, BotsTold: now, Noticed: now.Add(time.Second), NoReact: now.Add(24 * time.Hour)},
	}))
	for range 2 { // in this run, and in the next
		c := chat(t, l, one)
		is.Equal(string(c.Route), string(route)) // a later note leaves it alone
		is.True(c.Routed.Equal(now))
		is.Equal(c.BotTurns, 4)
		is.True(c.BotsSince.Equal(now))
		is.True(c.BotsTold.Equal(now))
		is.True(c.Noticed.Equal(now.Add(time.Second)))
		is.True(c.NoReact.Equal(now.Add(24 * time.Hour)))
		is.True(c.Sorry.IsZero())
		is.True(chat(t, l, long).Sorry.Equal(now))
		found, err := l.Chats(ctx, one, other, long)
		is.NoErr(err)
		is.Equal(len(found), 2) // the chat of the same id on another platform is another
		l = next(t, s, l)
	}
	is.NoErr(l.NoteChats(ctx, map[ledger.ChatName]ledger.Chat{one: {BotTurns: 0, BotsSince: now.Add(time.Hour)}}))
	is.Equal(chat(t, l, one).BotTurns, 0) // another hour begins with none
}

func chatsAtOnce(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	now := s.Now().Truncate(time.Second)
	notes := map[ledger.ChatName]ledger.Chat{}
	name := func(i int) ledger.ChatName { return ledger.ChatName{Platform: "discord", ID: fmt.Sprint("c", i)} }
	for i := range 250 { // more than a transaction holds
		notes[name(i)] = ledger.Chat{Route: json.RawMessage(`{"n":"` + strings.Repeat("r", 2000) + `"}`), Routed: now}
	}
	var wg sync.WaitGroup
	errs := make(chan error, 5)
	wg.Go(func() { errs <- l.NoteChats(ctx, notes) })
	for range 4 {
		wg.Go(func() {
			errs <- l.NoteChats(ctx, map[ledger.ChatName]ledger.Chat{name(7): {Sorry: now}, name(8): {Noticed: now}})
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		is.NoErr(err)
	}
	var names []ledger.ChatName
	for i := range 250 {
		names = append(names, name(i))
	}
	found, err := l.Chats(ctx, names...)
	is.NoErr(err)
	is.Equal(len(found), 250)
	is.Equal(len(found[name(7)].Route), 2008)
	is.True(found[name(7)].Sorry.Equal(now))
	is.True(found[name(8)].Noticed.Equal(now))
}

func chatForgotten(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	name := ledger.ChatName{Platform: "discord", ID: "c1"}
	l := mustAcquire(t, s, ledger.Arm)
	is.NoErr(l.NoteChats(ctx, map[ledger.ChatName]ledger.Chat{name: {Route: json.RawMessage(`{}`), Routed: s.Now()}}))
	s.Advance(ledger.ChatLife - time.Minute)
	l = mustAcquire(t, s, ledger.Arm)
	is.Equal(string(chat(t, l, name).Route), `{}`)
	is.NoErr(l.NoteChats(ctx, map[ledger.ChatName]ledger.Chat{name: {Sorry: s.Now()}}))
	s.Advance(2 * time.Minute)
	l = mustAcquire(t, s, ledger.Arm)
	c := chat(t, l, name)
	is.True(c.Routed.IsZero()) // the route's own time is over
	is.Equal(len(c.Route), 0)
	is.True(!c.Sorry.IsZero())
	s.Advance(ledger.ChatLife)
	l = mustAcquire(t, s, ledger.Arm)
	found, err := l.Chats(ctx, name)
	is.NoErr(err)
	is.Equal(len(found), 0)
}

func counted(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	is.Equal(l.Grant().Day, ledger.Day{})
	is.Equal(l.Grant().Limited, ledger.Limited{})
	_, err := l.Receive(ctx, entry("a"))
	is.NoErr(err)
	is.NoErr(l.StartCounted(ctx, "a", ledger.Running, ledger.Day{Date: "2026-11-27", Turns: 1, Most: 9}))
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(entries[0].State, ledger.Running)
	is.NoErr(l.StartCounted(ctx, "", ledger.Running, ledger.Day{Date: "2026-11-27", Turns: 2, Most: 9})) // no entry has it
	is.NoErr(l.SetLimited(ctx, ledger.Limited{Date: "2026-11-27", Messages: 5}))
	l = next(t, s, l)
	is.Equal(l.Grant().Day, ledger.Day{Date: "2026-11-27", Turns: 2, Most: 9})
	is.Equal(l.Grant().Limited, ledger.Limited{Date: "2026-11-27", Messages: 5})
	is.NoErr(l.StartCounted(ctx, "a", ledger.Alone, ledger.Day{Date: "2026-11-27", Turns: 1, Most: 9})) // less than is there
	o, err := s.Overview(ctx)
	is.NoErr(err)
	is.Equal(o.Day, ledger.Day{Date: "2026-11-27", Turns: 2, Most: 9})
	is.Equal(o.Limited, ledger.Limited{Date: "2026-11-27", Messages: 5})
	is.NoErr(l.StartCounted(ctx, "a", ledger.Running, ledger.Day{Date: "2026-11-28", Turns: 1, Most: 3}))
	is.Equal(next(t, s, l).Grant().Day, ledger.Day{Date: "2026-11-28", Turns: 1, Most: 3})
	l = mustAcquireAfter(t, s)
	is.True(errors.Is(l.StartCounted(ctx, "b", ledger.Running, ledger.Day{Date: "2026-11-28", Turns: 2}), ledger.ErrNoEntry))
}

// mustAcquireAfter takes the lease once the one before has run out.
func mustAcquireAfter(t *testing.T, s Subject) ledger.Lease {
	t.Helper()
	s.Advance(2 * life)
	return mustAcquire(t, s, ledger.Arm)
}

func countedAtOnce(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	l := mustAcquire(t, s, ledger.Arm)
	const n = 20
	for i := range n {
		e := entry(fmt.Sprint("e", i))
		e.Seq = int64(i)
		is.Equal(one(t, l, e), ledger.State(""))
	}
	var wg sync.WaitGroup
	errs := make(chan error, 2*n)
	for i := range n {
		wg.Go(func() {
			errs <- l.StartCounted(ctx, fmt.Sprint("e", i), ledger.Running, ledger.Day{Date: "2026-11-27", Turns: i + 1, Most: n})
		})
		wg.Go(func() { errs <- l.Heartbeat(ctx) }) // writes to the same item
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		is.NoErr(err)
	}
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(len(entries), n)
	for _, e := range entries {
		is.Equal(e.State, ledger.Running)
	}
	is.Equal(next(t, s, l).Grant().Day.Turns, n) // in whatever order they were written
}

func loserNotes(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	name := ledger.ChatName{Platform: "discord", ID: "c1"}
	loser := mustAcquire(t, s, ledger.Arm)
	_, err := loser.Receive(ctx, entry("a"))
	is.NoErr(err)
	l := mustAcquireAfter(t, s)
	day := ledger.Day{Date: "2026-11-27", Turns: 7, Most: 9}
	is.True(errors.Is(loser.NoteChats(ctx, map[ledger.ChatName]ledger.Chat{name: {Sorry: s.Now()}}), ledger.ErrLost))
	is.True(errors.Is(loser.StartCounted(ctx, "a", ledger.Running, day), ledger.ErrLost))
	is.True(errors.Is(loser.StartCounted(ctx, "", ledger.Running, day), ledger.ErrLost))
	is.True(errors.Is(loser.SetLimited(ctx, ledger.Limited{Date: day.Date, Messages: 1}), ledger.ErrLost))
	is.True(chat(t, l, name).Sorry.IsZero())
	o, err := s.Overview(ctx)
	is.NoErr(err)
	is.Equal(o.Day, ledger.Day{})
	is.Equal(o.Limited, ledger.Limited{})
	entries, err := Recover(ctx, l)
	is.NoErr(err)
	is.Equal(entries[0].State, ledger.New)
	l = next(t, s, l)
	_, err = l.HandOff(ctx, l.Grant().Plan, true)
	is.NoErr(err)
	_, err = l.Chats(ctx, name)
	is.True(errors.Is(err, ledger.ErrLost)) // what was given back reads nothing
}
