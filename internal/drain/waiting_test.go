package drain_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

func TestGoingIdleWaitsForWhatIsDueSoon(t *testing.T) {
	bubble(t, setup{ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		is.NoErr(r.RefuseAs(devconnector.Refusing{Class: "rate_limited", Op: "send", Count: 1, RetryAfter: 44 * time.Second}))
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(rep.Refused, map[action.Class]int{action.Transient: 1})
		is.Equal(rep.Retried, 1)
		is.Equal(rep.Left, 0)
		is.Equal(r.replies(), []string{"c1 hello", "c1 hello"}) // refused, and then not
	})
}

func TestWhatIsNotDueSoonIsLeftAndBringsTheNextSweepForward(t *testing.T) {
	bubble(t, setup{ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		is.NoErr(r.RefuseAs(devconnector.Refusing{Class: "rate_limited", Op: "send", Count: 1, RetryAfter: 20 * time.Minute}))
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		begun := time.Now()
		rep, took, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(rep.Left, 1)
		is.True(took < 2*time.Minute) // it keeps nobody awake
		is.Equal(len(r.handedOn()), 0)
		for range 2 { // the first sweep is for what came; the second, in 10 minutes more, is brought forward
			o, err := r.ledger.Overview(t.Context())
			is.NoErr(err)
			time.Sleep(time.Until(o.Plan.At))
			rep, _, err = r.run(ledger.Schedule, quarter)
			is.NoErr(err)
			is.Equal(rep.Left, 1)
			is.Equal(rep.Turns+rep.Retried, 0)
		}
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.True(o.Plan.At.Sub(begun) < 23*time.Minute) // not closer than 5 minutes to the one before
		time.Sleep(time.Until(o.Plan.At))
		_, _, err = r.run(ledger.Schedule, quarter)
		is.NoErr(err)
		is.Equal(r.replies(), []string{"c1 hello", "c1 hello"})
	})
}

// sluggish is a lease whose writes of outcomes and ends take their time, and fail once the run is over.
type sluggish struct {
	ledger.Lease
	takes time.Duration
	late  *int // writes that were cut off by nothing
}

func (sluggish) Durable() bool { return true }

func (s sluggish) Finish(ctx context.Context, key string) error {
	select {
	case <-time.After(s.takes):
		return s.Lease.Finish(ctx, key)
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		*s.late++
		return errors.New("nobody cut it off")
	}
}

func TestNoWriteOutlivesTheInvocation(t *testing.T) {
	for name, takes := range map[string]time.Duration{"a slow table": 4 * time.Second, "a table that hangs": time.Hour} {
		t.Run(name, func(t *testing.T) {
			late := 0
			l := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return sluggish{l, takes, &late} })
			bubble(t, setup{ledger: l}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				rep, took, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.True(took <= quarter)
				is.Equal(late, 0)
				is.Equal(r.replies(), []string{"c1 hello"})
				is.Equal(rep.Unwritten == 0, takes < time.Minute)
			})
		})
	}
}

// forgetful is a lease that takes no end of a delivery for a while.
type forgetful struct {
	ledger.Lease
	until *time.Time
}

func (forgetful) Durable() bool { return true }

func (f forgetful) Finish(ctx context.Context, key string) error {
	if time.Now().Before(*f.until) {
		return errors.New("throttled")
	}
	return f.Lease.Finish(ctx, key)
}

// What was seen is written down if the table takes it before the invocation ends, however late that is.
func TestWhatIsKnownIsWrittenBeforeTheInvocationEnds(t *testing.T) {
	tests := map[string]struct {
		back  time.Duration // the table is well again, from the start
		wrote bool
	}{
		"soon":              {20 * time.Second, true},
		"after minutes":     {8 * time.Minute, true},
		"in its last words": {quarter - 2*time.Second, true},
		"never":             {2 * quarter, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			until := new(time.Time)
			l := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return forgetful{l, until} })
			bubble(t, setup{ledger: l}, func(t *testing.T, r *rig) {
				is := is.New(t)
				begun := time.Now()
				*until = begun.Add(tt.back)
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				rep, took, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Drained)
				is.True(took <= quarter)
				is.Equal(rep.Unwritten == 0, tt.wrote)
				o, err := r.ledger.Overview(t.Context())
				is.NoErr(err)
				is.True(!o.Held) // the lease is given back in any case
				is.Equal(o.Pending == 0, tt.wrote)
				is.Equal(r.replies(), []string{"c1 hello"})
			})
		})
	}
}

// So is what a run knows that ends for another reason, with most of its invocation left: it keeps the lease for that.
func TestWhatIsKnownIsWrittenWhereTheRunEndsEarly(t *testing.T) {
	for _, status := range []drain.Status{drain.Replaced, drain.Revoked} {
		t.Run(string(status), func(t *testing.T) {
			until := new(time.Time)
			l := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return forgetful{l, until} })
			bubble(t, setup{ledger: l, pinned: true}, func(t *testing.T, r *rig) {
				is := is.New(t)
				*until = time.Now().Add(time.Minute)
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				wait := r.during(answered, func() {
					if status == drain.Replaced {
						is.NoErr(r.Kick(gateway, 4000, "replaced by a new dial"))
						return
					}
					is.NoErr(r.Revoke(gateway))
				})
				rep, took, err := r.run(ledger.Wake, quarter)
				wait()
				is.NoErr(err)
				is.Equal(rep.Status, status)
				is.Equal(rep.Unwritten, 0)
				is.True(took >= time.Minute && took < 2*time.Minute)
				o, err := r.ledger.Overview(t.Context())
				is.NoErr(err)
				is.True(!o.Held)
				is.Equal(o.Pending, 0)
			})
		})
	}
}

// A message that waits behind another one of its session is in the journal with the reason, and leaving it there is nothing
// to warn of.
func TestWhatWaitsBehindAnotherMessageSaysSo(t *testing.T) {
	env := map[string]string{"DORMOUSE_MERGE": "off"}
	bubble(t, setup{ledger: durable(ledger.NewMemory()), env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		is.NoErr(r.RefuseAs(devconnector.Refusing{Class: "rate_limited", Op: "send", Count: 1, RetryAfter: 20 * time.Minute}))
		r.Deliver(gateway, event("discord", "c1", "m1", "one"))
		r.Deliver(gateway, event("discord", "c1", "m2", "two"))
		r.Deliver(gateway, event("discord", "c1", "m3", "three"))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Left, 3)
		open, err := r.ledger.ListPending(t.Context())
		is.NoErr(err)
		is.Equal(len(open), 3)
		for _, e := range open {
			is.True(e.Error != "" && !e.Wait.Since.IsZero()) // as status shows it
		}
		is.True(!strings.Contains(r.log.String(), "journalled: lease is lost") && !strings.Contains(r.log.String(), logs.WaitNotJournalled))
		time.Sleep(25 * time.Minute)
		_, _, err = r.run(ledger.Schedule, quarter)
		is.NoErr(err)
		is.Equal(r.replies(), []string{"c1 one", "c1 one", "c1 two", "c1 three"})
	})
}

// A live message that has come is journalled before the run ends, however slow the table is: there is no other trace of it.
func TestWhatHasComeIsJournalledWhereTheRunEndsEarly(t *testing.T) {
	slow := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return patientTable{l} })
	env := map[string]string{"DORMOUSE_MERGE": "off"}
	bubble(t, setup{ledger: durable(slow), awake: true, pinned: true, env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		const many = 50
		wait := r.during(dialled(1), func() {
			for n := range many {
				r.Deliver(gateway, event("discord", fmt.Sprint("c", n), fmt.Sprint("m", n), "hello"))
			}
			time.Sleep(100 * time.Millisecond)
			is.NoErr(r.Kick(gateway, 4000, "replaced by a new dial"))
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Replaced)
		is.True(len(r.replies()) < many)
		_, _, err = r.run(ledger.Arm, quarter)
		is.NoErr(err)
		is.Equal(len(r.replies()), many)
	})
}

// patientTable is a journal that takes five deliveries a second, unless its caller gives up.
type patientTable struct{ ledger.Lease }

func (l patientTable) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	select {
	case <-time.After(time.Duration(len(entries)) * 200 * time.Millisecond):
		return l.Lease.Receive(ctx, entries...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
