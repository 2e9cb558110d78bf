package drain_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/metrics"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What mutants showed that no test demanded (docs/mutants.md), and the log of how a run ends.

// stubborn is a lease that takes no handshake and no opt-out and is not given back, if it shall not.
type stubborn struct {
	ledger.Lease
	fails bool
}

var errStubborn = errors.New("stubborn")

func (s stubborn) HandOff(ctx context.Context, p ledger.Plan, received bool) (asked bool, err error) {
	if s.fails {
		return false, errStubborn
	}
	return s.Lease.HandOff(ctx, p, received)
}

func (s stubborn) Disable(ctx context.Context, by string) error {
	if s.fails {
		return errStubborn
	}
	return s.Lease.Disable(ctx, by)
}

func (s stubborn) SetHandshaken(ctx context.Context, gatewayID string) error {
	if s.fails {
		return errStubborn
	}
	return s.Lease.SetHandshaken(ctx, gatewayID)
}

// said reports whether the log has a line with that message.
func (r *rig) said(msg string) bool { return strings.Contains(r.log.String(), `"msg":"`+msg+`"`) }

// Where the ledger fails, the log says what the ledger does not know. Else it says nothing of that kind.
func TestTheLogSaysWhatTheLedgerDoesNotKnow(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprint("the ledger fails: ", fails), func(t *testing.T) {
			l := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return stubborn{l, fails} })
			bubble(t, setup{ledger: l, pinned: true}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				wait := r.during(answered, func() {
					r.proxy(at("/relay", func(w http.ResponseWriter, req *http.Request) { refusals[0].serve(w, req) }))
					is.NoErr(r.Kick(gateway, 4401, "revoked"))
				})
				rep, _, err := r.run(ledger.Wake, quarter)
				wait()
				is.NoErr(err)
				is.Equal(rep.Status, drain.Revoked)
				is.True(r.said(logs.Revoked))
				is.Equal(r.metricLines(t)[0].Values[metrics.Revoked], 1.0)
				is.Equal(r.replies(), []string{"c1 hello"})
				is.Equal(r.said(logs.HandshakeUnwritten), fails)
				is.Equal(r.said(logs.RevokedUnwritten), fails)
				is.Equal(r.said(logs.LeaseKept), fails)
				is.Equal(r.said(logs.Released), !fails)
				is.Equal(strings.Count(r.log.String(), `"error":"`+errStubborn.Error()+`"`) >= 3, fails)
			})
		})
	}
}

// A run that another socket has ended still has its time: what it knows is written as soon as the table takes it.
func TestARunThatLostItsSeatWritesWhatItKnows(t *testing.T) {
	until := new(time.Time)
	l := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return forgetful{l, until} })
	bubble(t, setup{ledger: l}, func(t *testing.T, r *rig) {
		is := is.New(t)
		*until = time.Now().Add(30 * time.Second) // longer than giving the lease back may take
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		wait := r.during(answered, func() { is.NoErr(r.Kick(gateway, 1000, "replaced")) })
		rep, took, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Replaced)
		is.True(took >= 30*time.Second)
		is.Equal(rep.Unwritten, 0)
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.Equal(o.Pending, 0)
		is.True(!o.Held)
	})
}

// The alarm is for what people miss: a refused edit whose text is sent instead, and what is there already, count under their class
// alone.
func TestTheMetricOfRefusalsIsOfWhatPeopleMiss(t *testing.T) {
	tests := map[string]struct {
		op, class string
		metric    string
		missed    bool
	}{
		"a text":                              {"send", "declined", metrics.Class("declined"), true},
		"an edit, whose text is sent instead": {"edit", "not_found", metrics.Class("cosmetic"), false},
		"an edit that changes nothing":        {"edit", "not_modified", metrics.Class("done"), false},
	}
	answer := agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
		return agent.Answer{Actions: []relay.Action{
			{"op": "send", "content": "a"}, {"op": "edit", "content": "b"},
		}}, nil
	})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{agent: answer}, func(t *testing.T, r *rig) {
				is := is.New(t)
				is.NoErr(r.RefuseAs(devconnector.Refusing{Class: tt.class, Op: tt.op, Count: -1}))
				r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
				_, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				v := r.metricLines(t)[0].Values
				is.True(v[tt.metric] > 0)
				is.Equal(v[metrics.Refused] > 0, tt.missed)
				is.Equal(v[metrics.Revoked], 0.0)
			})
		})
	}
}
