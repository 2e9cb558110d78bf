package drain_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
)

// every is the interval of the sweep that is planned.
func (r *rig) every(t *testing.T) time.Duration {
	t.Helper()
	o, err := r.ledger.Overview(t.Context())
	is.New(t).NoErr(err)
	return o.Plan.Every
}

// mark leaves a mark, as a poke that found the budget spent does.
func (r *rig) mark(t *testing.T) {
	t.Helper()
	is := is.New(t)
	g, err := r.ledger.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "test", Life: time.Minute})
	is.NoErr(err)
	_, err = r.ledger.Acquire(t.Context(), ledger.Ask{Reason: ledger.Wake, Owner: "test", Life: time.Minute})
	is.True(errors.Is(err, ledger.ErrTaken))
	_, err = g.HandOff(t.Context(), g.Grant().Plan, false)
	is.NoErr(err)
}

// die takes the lease and lets it run out.
func (r *rig) die(t *testing.T) {
	t.Helper()
	_, err := r.ledger.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "test", Life: time.Minute})
	is.New(t).NoErr(err)
	time.Sleep(2 * time.Minute)
}

func TestWhatTheNextSweepIsPlannedBy(t *testing.T) {
	tests := map[string]struct {
		reason  ledger.Reason
		prepare func(*testing.T, *rig)
		want    time.Duration // after 10 minutes
	}{
		"a look that found nothing": {ledger.Schedule, nil, 20 * time.Minute},
		"a poke for nothing":        {ledger.Wake, nil, 10 * time.Minute},
		"something was received": {ledger.Schedule, func(_ *testing.T, r *rig) {
			r.Deliver(gateway, event("discord", "c1", "m2", "hello"))
		}, 5 * time.Minute},
		"the connector is out of reach":           {ledger.Schedule, func(_ *testing.T, r *rig) { r.reach(false) }, 5 * time.Minute},
		"the holder before died":                  {ledger.Wake, func(t *testing.T, r *rig) { r.die(t) }, 5 * time.Minute},
		"the holder before died, and a sweep saw": {ledger.Schedule, func(t *testing.T, r *rig) { r.die(t) }, 5 * time.Minute},
		"another socket took the seat": {ledger.Schedule, func(t *testing.T, r *rig) {
			wait := r.during(connected, func() { r.Kick(gateway, 1000, "replaced") })
			t.Cleanup(wait)
		}, 20 * time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				_, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(r.every(t), 5*time.Minute)
				time.Sleep(5 * time.Minute)
				_, _, err = r.run(ledger.Schedule, quarter)
				is.NoErr(err)
				is.Equal(r.every(t), 10*time.Minute)
				time.Sleep(10 * time.Minute)
				if tt.prepare != nil {
					tt.prepare(t, r)
				}
				r.run(tt.reason, quarter)
				is.Equal(r.every(t), tt.want)
			})
		})
	}
}

func TestALookForTheMarkMovesNoSweep(t *testing.T) {
	bubble(t, setup{env: map[string]string{"DORMOUSE_SWEEP": "30m"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		before, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		time.Sleep(5 * time.Minute)
		r.mark(t)
		rep, _, err := r.run(ledger.Schedule, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		after, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		after.Plan.After = before.Plan.After // how the run itself ended is told
		is.Equal(after.Plan, before.Plan)    // else what came without a poke would wait for an hour
		is.True(!after.Asked)
	})
}

// durable is a ledger whose journal says that it outlives the process.
func durable(l ledger.Ledger) ledger.Ledger {
	return ledgertest.Wrap(l, func(l ledger.Lease) ledger.Lease { return durableLease{l} })
}

type durableLease struct{ ledger.Lease }

func (durableLease) Durable() bool { return true }

func TestATurnThatIsLeftIsTakenUpSoon(t *testing.T) {
	var mu sync.Mutex
	up := false
	away := agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
		mu.Lock()
		defer mu.Unlock()
		if !up {
			return agent.Answer{}, fmt.Errorf("%w: connection refused", agent.ErrUnavailable)
		}
		return agent.Echo{}.Answer(ctx, tn)
	})
	bubble(t, setup{agent: away, ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(r.Buffered(gateway), 0)       // it is in the journal
		for _, tries := range []int{1, 1, 2} { // 80, 160, 320 s behind the ones before; then 20 s early is waited for
			time.Sleep(5 * time.Minute)
			rep, _, err := r.run(ledger.Schedule, quarter)
			is.NoErr(err)
			is.Equal(rep.Recovered, 1)
			is.Equal(rep.Left, 1)
			is.True(rep.Turns <= tries)
			before, err := r.ledger.Overview(t.Context())
			is.NoErr(err)
			is.True(time.Until(before.Plan.At) >= 4*time.Minute) // a sweep is as long behind the drain's start
			is.True(time.Until(before.Plan.At) <= 10*time.Minute)
		}
		mu.Lock()
		up = true
		mu.Unlock()
		time.Sleep(time.Minute)
		rep, _, err := r.run(ledger.Arm, quarter) // whatever wakes it
		is.NoErr(err)
		is.Equal(rep.Turns, 0)
		plan, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		time.Sleep(time.Until(plan.Plan.At))
		_, _, err = r.run(ledger.Schedule, quarter)
		is.NoErr(err)
		is.Equal(r.replies(), []string{"c1 hello"})
	})
}

func TestLongIdles(t *testing.T) {
	bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		began := time.Now()
		// The schedule fires every 5 minutes, on the clock.
		fire := func() drain.Status {
			time.Sleep(time.Until(began.Add(time.Since(began).Truncate(5*time.Minute) + 5*time.Minute)))
			rep, _, err := r.run(ledger.Schedule, quarter)
			is.NoErr(err)
			return rep.Status
		}
		// sweeps fires for so many hours, and returns after how many minutes there was a look.
		sweeps := func(hours int) (looks []int) {
			start := time.Now().Truncate(5 * time.Minute)
			for range 12 * hours {
				if status := fire(); status != drain.NotDue {
					is.Equal(status, drain.Empty)
					looks = append(looks, int(time.Since(start).Minutes()))
				}
			}
			return looks
		}
		// pokes pokes so often, and returns how many dialled.
		pokes := func(n int) (looks int) {
			for range n {
				rep, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				if rep.Status != drain.NotDue {
					looks++
				}
			}
			return looks
		}
		talk := func(id string) {
			r.Deliver(gateway, event("discord", "c1", id, "hello"))
			rep, _, err := r.run(ledger.Wake, quarter)
			is.NoErr(err)
			is.Equal(rep.Received, 1)
		}

		talk("m1")
		is.Equal(sweeps(5), []int{5, 15, 35, 75, 135, 195, 255}) // 5, 10, 20, 40, and then 60 apart

		is.Equal(pokes(30), 10) // somebody has the wake URL
		sockets := len(r.State().Sockets)
		is.Equal(pokes(1), 0)
		is.Equal(fire(), drain.Empty)  // the poke was marked, so the schedule looks
		is.Equal(fire(), drain.NotDue) // once
		is.Equal(len(r.State().Sockets), sockets+1)
		is.Equal(pokes(5), 1) // ten minutes later: a token comes back every 6
		time.Sleep(time.Hour + time.Minute)
		is.Equal(pokes(12), 10) // all of them after an hour

		time.Sleep(6 * time.Minute)
		talk("m2") // with the one token there is
		is.Equal(pokes(12), 10)
		is.Equal(r.replies(), []string{"c1 hello", "c1 hello"})
	})
}
