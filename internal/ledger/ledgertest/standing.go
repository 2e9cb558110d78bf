package ledgertest

import (
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func disabled(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Wake)
	is.NoErr(l.Disable(t.Context(), "4401 unauthorized"))
	is.NoErr(l.Release(t.Context(), l.Grant().Plan, true))
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
	l := mustAcquire(t, s, ledger.Wake)
	is.Equal(l.Grant().Standing.Handshaken, "")
	is.NoErr(l.SetHandshaken(t.Context(), "gw-1"))
	is.NoErr(l.Release(t.Context(), l.Grant().Plan, true))
	is.Equal(mustAcquire(t, s, ledger.Wake).Grant().Standing.Handshaken, "gw-1")
}

func declared(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Wake)
	is.Equal(l.Grant().Standing.Declared, "")
	is.NoErr(l.SetDeclared(t.Context(), "f-1"))
	is.NoErr(l.Release(t.Context(), l.Grant().Plan, true))
	is.Equal(mustAcquire(t, s, ledger.Wake).Grant().Standing.Declared, "f-1")
}

func trouble(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Arm)
	is.Equal(l.Grant().Standing.Trouble, ledger.Trouble{})
	want := ledger.Trouble{What: "replaced", Since: s.Now(), Said: "1000 replaced"}
	is.NoErr(l.SetTrouble(t.Context(), want))
	is.NoErr(l.Release(t.Context(), l.Grant().Plan, true))
	l = mustAcquire(t, s, ledger.Arm)
	got := l.Grant().Standing.Trouble
	is.True(got.Since.Sub(want.Since).Abs() < time.Second)
	got.Since = want.Since
	is.Equal(got, want)
	is.True(!l.Grant().Standing.Disabled)
	is.NoErr(l.SetTrouble(t.Context(), ledger.Trouble{}))
	is.NoErr(l.Release(t.Context(), l.Grant().Plan, true))
	is.Equal(mustAcquire(t, s, ledger.Arm).Grant().Standing.Trouble, ledger.Trouble{})
}

func freshIDs(t *testing.T, is *is.I, s Subject) {
	l := mustAcquire(t, s, ledger.Arm)
	taken := 0
	for range 12 * 2 { // every half hour of half a day
		ok, err := l.TakeFreshID(t.Context())
		is.NoErr(err)
		if ok {
			taken++
		}
		s.Advance(30 * time.Minute)
	}
	is.Equal(taken, 10)
	s.Advance(24 * time.Hour)
	ok, err := l.TakeFreshID(t.Context())
	is.NoErr(err)
	is.True(ok)
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
	l := mustAcquire(t, s, ledger.Arm)
	is.NoErr(l.SetHandshaken(ctx, "gw-1"))
	for _, key := range []string{"a", "b", "c"} {
		_, err := l.Receive(ctx, entry(key))
		is.NoErr(err)
	}
	is.NoErr(l.Finish(ctx, "a"))
	is.NoErr(l.Fail(ctx, "b", "agent: 500", true))
	since, due := s.Now().Add(-time.Hour).Truncate(time.Second), s.Now().Add(time.Hour).Truncate(time.Second)
	is.NoErr(l.Defer(ctx, "c", "flood", ledger.Wait{Due: due, Since: since, Tries: 3}, 1))
	pending, err := s.ListPending(ctx)
	is.NoErr(err)
	is.Equal(len(pending), 1)
	is.Equal(pending[0].Key+pending[0].Error, "cflood")
	is.Equal(pending[0].Attempts, 1)
	is.True(pending[0].Wait.Due.Equal(due) && pending[0].Wait.Since.Equal(since))
	is.Equal(pending[0].Wait.Tries, 3)
	is.Equal(len(pending[0].Body), 0)
	refused := ledger.Refusals{At: since, ByClass: map[string]int{"transient": 4, "declined": 1}, Retried: 3}
	is.NoErr(l.SetRefusals(ctx, refused))
	is.Equal(glance().Refusals.ByClass, refused.ByClass)
	is.True(glance().Refusals.At.Equal(since))
	is.Equal(glance().Refusals.Retried, 3)
	_, err = s.Acquire(ctx, ask(ledger.Wake))
	is.True(errors.Is(err, ledger.ErrTaken))
	o := glance()
	is.True(o.Held && o.Until.After(s.Now()))
	is.True(o.Asked)
	is.Equal(o.Pending, 1) // neither the finished one nor the dead
	is.Equal(o.Standing.Handshaken, "gw-1")
	is.True(o.Ended.IsZero())

	at := s.Now().Add(20 * time.Minute)
	is.Equal(o.Holder, ask(ledger.Arm).Owner)
	is.True(o.Beat.Sub(s.Now()).Abs() < time.Minute)
	is.NoErr(l.PutPrompt(ctx, ledger.Prompt{ID: "q-1", Until: s.Now().Add(time.Hour)}))
	is.NoErr(l.PutPrompt(ctx, ledger.Prompt{ID: "q-2", Until: s.Now().Add(time.Hour)}))
	_, err = l.TakePrompt(ctx, ledger.Press{Prompt: "q-2", Delivery: "c", At: s.Now()}, func(ledger.Prompt) bool { return true })
	is.NoErr(err)
	_, err = l.HandOff(ctx, ledger.Plan{At: at, Every: 20 * time.Minute}, true)
	is.NoErr(err)
	o = glance()
	is.Equal(o.Prompts, 1) // the other one is answered
	is.True(!o.Held && o.Holder == "")
	is.True(o.Plan.At.Sub(at).Abs() < time.Second)
	is.True(s.Now().Sub(o.Ended).Abs() < time.Minute)
	mustAcquire(t, s, ledger.Arm)
	s.Advance(2 * life)
	is.True(!glance().Held) // its holder has died
	is.Equal(glance().Holder, ask(ledger.Arm).Owner)
}

// What operators see of the last run. What an ending does not say is forgotten, but for when the connector was heard.
func endings(t *testing.T, is *is.I, s Subject) {
	ctx := t.Context()
	met := s.Now().Add(-time.Minute).Truncate(time.Second)
	full := ledger.Plan{At: s.Now().Add(time.Hour), Every: time.Hour, Why: "a look that found nothing", After: ledger.Ending{
		Status: "failed", Error: "drain: gave up", Contact: met, Version: "1.2.3", Away: met, Poked: met, Swept: met,
		Hinder: ledger.Trouble{What: "unreachable", Since: met, Said: "connection refused"},
	}}
	same := func(got, want ledger.Ending) {
		t.Helper()
		is.True(got.Contact.Equal(want.Contact) && got.Away.Equal(want.Away) && got.Hinder.Since.Equal(want.Hinder.Since))
		is.True(got.Poked.Equal(want.Poked) && got.Swept.Equal(want.Swept))
		got.Contact, got.Away, got.Hinder.Since = want.Contact, want.Away, want.Hinder.Since
		got.Poked, got.Swept = want.Poked, want.Swept
		is.Equal(got, want)
	}
	l := mustAcquire(t, s, ledger.Arm)
	_, err := l.HandOff(ctx, full, false)
	is.NoErr(err)
	o, err := s.Overview(ctx)
	is.NoErr(err)
	is.Equal(o.Plan.Why, full.Why)
	same(o.Plan.After, full.After)
	l = mustAcquire(t, s, ledger.Arm)
	same(l.Grant().Plan.After, full.After)
	is.NoErr(l.Release(ctx, ledger.Plan{At: full.At, Every: time.Hour, After: ledger.Ending{Status: "empty"}}, false))
	o, err = s.Overview(ctx)
	is.NoErr(err)
	is.Equal(o.Plan.Why, "")
	same(o.Plan.After, ledger.Ending{Status: "empty", Contact: met, Poked: met, Swept: met})
}
