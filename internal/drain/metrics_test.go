package drain_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/metrics"
	"github.com/dormouse-relay/dormouse/internal/metrics/emftest"
	"github.com/dormouse-relay/dormouse/internal/version"
)

// metricLines are the lines of metrics so far, each held against the published schema.
func (r *rig) metricLines(t *testing.T) (lines []emftest.Line) {
	t.Helper()
	for raw := range strings.Lines(r.log.String()) {
		line, ok, err := emftest.Check([]byte(raw))
		if err != nil {
			t.Fatal(err, raw)
		}
		if ok {
			lines = append(lines, line)
		}
	}
	return lines
}

// away is an agent that cannot be reached while it is set.
type awayAgent struct{ away bool }

func (a *awayAgent) Answer(ctx context.Context, turn agent.Turn) (agent.Answer, error) {
	if a.away {
		return agent.Answer{}, fmt.Errorf("%w: connection refused", agent.ErrUnavailable)
	}
	return agent.Echo{}.Answer(ctx, turn)
}

func TestARunWritesOneLineOfMetrics(t *testing.T) {
	bubble(t, setup{env: map[string]string{"AWS_LAMBDA_FUNCTION_NAME": "gw-drain", "DORMOUSE_ALLOW_ENV_SECRETS": "1"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.drainer.Started(40 * time.Millisecond)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		at := time.Now()
		time.Sleep(70 * time.Millisecond)
		rep, took, err := r.request(drain.Request{Reason: ledger.Wake, At: at}, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		lines := r.metricLines(t)
		is.Equal(len(lines), 1)
		v := lines[0].Values
		is.Equal(lines[0].Dimensions[metrics.Drains], []string{"gw", "drained"})
		is.Equal(lines[0].Dimensions[metrics.Answered], []string{"gw"})
		is.Equal(v[metrics.Drains]+v[metrics.Wakes]+v[metrics.Received]+v[metrics.Answered], 4.0)
		is.True(v[metrics.PokeToAck] >= 70 && v[metrics.PokeToReply] >= v[metrics.PokeToAck])
		is.True(v[metrics.BilledSeconds] >= took.Seconds()+0.04 && v[metrics.BilledSeconds] < took.Seconds()+0.05)
		_, asleep := v[metrics.Dead]
		is.True(!asleep) // what is zero costs nothing

		_, took, err = r.run(ledger.Arm, quarter)
		is.NoErr(err)
		v = r.metricLines(t)[1].Values
		is.True(v[metrics.BilledSeconds] < took.Seconds()+0.01) // the process is billed once
		is.Equal(v[metrics.Wakes], 0.0)
	})
}

func TestAFiringThatIsNotDueWritesNoMetrics(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, _, err := r.run(ledger.Arm, quarter)
		is.NoErr(err)
		rep, _, err := r.run(ledger.Schedule, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.NotDue)
		is.Equal(len(r.metricLines(t)), 1)
	})
}

func TestAPokeOfAGatewayThatIsAwakeIsCoalesced(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		_, err := r.ledger.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "another", Life: time.Minute})
		is.NoErr(err)
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Taken)
		v := r.metricLines(t)[0].Values
		is.Equal(v[metrics.Coalesced], 1.0)
		is.Equal(v[metrics.Wakes], 1.0)
	})
}

func TestWhatWaitsIsMeasuredWithItsAge(t *testing.T) {
	a := &awayAgent{away: true}
	bubble(t, setup{ledger: durable(ledger.NewMemory()), agent: a}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		began := time.Now()
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.True(!o.Plan.After.Away.IsZero())
		first := o.Plan.After.Away
		for range 6 {
			time.Sleep(5 * time.Minute)
			_, _, err = r.run(ledger.Schedule, quarter)
			is.NoErr(err)
		}
		lines := r.metricLines(t)
		v := lines[len(lines)-1].Values
		is.Equal(v[metrics.Waiting], 1.0)
		is.True(v[metrics.OldestWaiting] >= (25 * time.Minute).Seconds())
		is.True(v[metrics.OldestWaiting] <= time.Since(began).Seconds())
		o, err = r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.Equal(o.Plan.After.Away, first) // since the first time

		a.away = false
		time.Sleep(time.Hour)
		_, _, err = r.run(ledger.Schedule, quarter)
		is.NoErr(err)
		o, err = r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.True(o.Plan.After.Away.IsZero())
		is.Equal(o.Pending, 0)
	})
}

func TestALedgerKnowsHowTheLastRunEnded(t *testing.T) {
	bubble(t, setup{pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		ending := func() ledger.Ending {
			o, err := r.ledger.Overview(t.Context())
			is.NoErr(err)
			return o.Plan.After
		}
		_, _, err := r.run(ledger.Arm, quarter)
		is.NoErr(err)
		end := ending()
		is.Equal(end.Status+" "+end.Error+end.Hinder.What, "empty ")
		is.Equal(end.Version, version.String())
		is.Equal(end.Contact, time.Now())
		met := end.Contact

		time.Sleep(time.Hour)
		r.reach(false)
		began := time.Now()
		_, _, err = r.run(ledger.Arm, quarter)
		is.True(err != nil)
		end = ending()
		is.Equal(end.Status, "failed")
		is.Equal(end.Hinder.What, drain.Unreachable)
		is.True(strings.Contains(end.Error, "connection refused"))
		is.Equal(end.Contact, met)
		since := end.Hinder.Since
		is.True(since.After(began))
		_, _, err = r.run(ledger.Arm, quarter)
		is.True(err != nil)
		is.Equal(ending().Hinder.Since, since) // it is the same one

		r.reach(true)
		_, _, err = r.run(ledger.Arm, quarter)
		is.NoErr(err)
		is.Equal(ending().Hinder, ledger.Trouble{})
	})
}

// A connector whose pokes do not arrive is only heard by sweeps: that can be seen.
func TestALedgerKnowsWhetherPokesArrive(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		ending := func() ledger.Ending {
			o, err := r.ledger.Overview(t.Context())
			is.NoErr(err)
			return o.Plan.After
		}
		_, _, err := r.run(ledger.Schedule, quarter)
		is.NoErr(err)
		is.True(ending().Poked.IsZero() && ending().Swept.IsZero()) // it found nothing
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		time.Sleep(time.Hour)
		_, _, err = r.run(ledger.Schedule, quarter)
		is.NoErr(err)
		is.True(ending().Poked.IsZero() && !ending().Swept.IsZero())
		r.Deliver(gateway, event("discord", "c1", "m2", "hello"))
		_, _, err = r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.True(ending().Poked.After(ending().Swept))
	})
}
