package drain_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// wallClock is a wall clock that can be set.
type wallClock struct{ ahead atomic.Int64 }

func (c *wallClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// on has r's drains look at that clock.
func (c *wallClock) on(r *rig) {
	r.parts.Wall = c.now
	r.drainer = drain.New(r.settings, *r.parts)
}

// While a sandbox is frozen its monotonic clock stands still, and its heartbeats with it: nothing but the wall clock tells that
// another drain may have the lease.
func TestWhoWasFrozenThroughTheLeaseSendsNothing(t *testing.T) {
	for name, frozen := range map[string]time.Duration{"for less": 19 * time.Second, "for longer": 21 * time.Second} {
		t.Run(name, func(t *testing.T) {
			var clock wallClock
			freezes := agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
				clock.ahead.Store(int64(frozen))
				return agent.Echo{}.Answer(ctx, tn)
			})
			bubble(t, setup{agent: freezes, ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
				is := is.New(t)
				clock.on(r)
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				_, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				if frozen < 20*time.Second { // two thirds of a lease
					is.Equal(r.replies(), []string{"c1 hello"})
					return
				}
				is.Equal(r.replies(), nil)
				clock.ahead.Store(0)
				next := r.coldStart(t)
				time.Sleep(time.Minute) // until the lease has run out
				_, _, err = next.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(r.replies(), []string{"c1 hello"})
			})
		})
	}
}

// A wall clock that is set back does not make a lease younger.
func TestAWallClockThatIsSetBackKeepsNoLease(t *testing.T) {
	var clock wallClock
	l := ledgertest.Wrap(ledger.NewMemory(), (&thief{fail: true}).wrap) // no heartbeat succeeds
	bubble(t, setup{ledger: l}, func(t *testing.T, r *rig) {
		is := is.New(t)
		clock.on(r)
		r.WithholdIdleAck(-1)
		time.AfterFunc(time.Second, func() { clock.ahead.Store(-int64(time.Hour)) })
		rep, took, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Taken)
		is.Equal(took, 20*time.Second)
	})
}

// outcomes is a journal that takes no outcome while it is away, and counts those that it takes.
type outcomes struct {
	away  atomic.Bool
	taken atomic.Int64
}

func (o *outcomes) wrap(l ledger.Lease) ledger.Lease { return outcomesLease{l, o} }

type outcomesLease struct {
	ledger.Lease
	*outcomes
}

func (outcomesLease) Durable() bool { return true }

func (l outcomesLease) Confirm(ctx context.Context, key string, i int, outcome string) error {
	if l.away.Load() {
		return errors.New("ledger: throttled")
	}
	l.taken.Add(1)
	return l.Lease.Confirm(ctx, key, i, outcome)
}

// saysTwo is an agent whose second part may only leave once the first one's outcome is written.
var saysTwo = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
	return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "one"}, {"op": "send", "content": "two"}}}, nil
})

// An outcome that could not be written is written when the run ends, in each of its ways of ending; else the next run would
// send what has reached the chat.
func TestOutcomesAreWrittenWhenTheRunEnds(t *testing.T) {
	tests := map[string]struct {
		back   func(r *rig, o *outcomes) (wait func()) // when the table takes outcomes again
		limit  time.Duration
		atIdle int64 // outcomes that the table has when the connector reads going_idle; negative: any
		status drain.Status
	}{
		"before going idle": {func(r *rig, o *outcomes) func() {
			time.AfterFunc(50*time.Second, func() { o.away.Store(false) }) // it was insisted on for 30 s, and is owed since
			return func() {}
		}, quarter, 1, drain.Drained},
		"before the lease is given back": {func(r *rig, o *outcomes) func() {
			r.DelayIdleAck(time.Second)
			return r.during(goesIdle, func() { o.away.Store(false) })
		}, quarter, 0, drain.Drained},
		"at SIGTERM": {func(r *rig, o *outcomes) func() {
			return r.during(answered, func() {
				time.Sleep(5 * time.Second) // between two of its tries
				o.away.Store(false)
				ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
				defer cancel()
				r.drainer.Terminate(ctx)
			})
		}, quarter, -1, drain.HandedOff},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var o outcomes
			o.away.Store(true)
			bubble(t, setup{ledger: ledgertest.Wrap(ledger.NewMemory(), o.wrap), agent: saysTwo}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				back := tt.back(r, &o)
				var atIdle int64
				idle := r.during(goesIdle, func() { atIdle = o.taken.Load() })
				rep, _, err := r.run(ledger.Wake, tt.limit)
				back()
				idle()
				is.NoErr(err)
				is.Equal(rep.Status, tt.status)
				is.True(tt.atIdle < 0 || atIdle == tt.atIdle)
				is.Equal(o.taken.Load(), int64(1))
				is.Equal(rep.Unwritten, 0)
				is.True(!strings.Contains(r.log.String(), logs.Unwritten))
				next := r.coldStart(t)
				_, _, err = next.run(ledger.Arm, quarter)
				is.NoErr(err)
				is.Equal(r.replies(), []string{"c1 one", "c1 two"}) // each once
			})
		})
	}
}

func goesIdle(s devconnector.State) bool { return len(s.Idles) > 0 }

// once is a lease whose first heartbeat takes long, and whose others fail.
type once struct {
	ledger.Lease
	beats *int
}

func (l once) Heartbeat(ctx context.Context) error {
	if *l.beats++; *l.beats > 1 {
		return errors.New("ledger: throttled")
	}
	time.Sleep(9 * time.Second)
	return l.Lease.Heartbeat(ctx)
}

// Two thirds of a lease run from the start of the last good heartbeat: its answer may have come late.
func TestAHeartbeatCountsFromItsStart(t *testing.T) {
	beats := 0
	l := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return once{l, &beats} })
	bubble(t, setup{ledger: l}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.WithholdIdleAck(-1)
		rep, took, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Taken)
		is.Equal(took, 30*time.Second) // it started at 10 s, and was answered at 19 s
	})
}
