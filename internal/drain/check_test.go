package drain_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func TestACheckSaysWhatItFound(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		rep, took, err := r.run(ledger.Check, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Empty)
		is.Equal(rep.Error+rep.Hinder, "")
		is.Equal(rep.Check.Identity.Auth, "env")
		is.Equal(rep.Check.Gateway, gateway)
		is.Equal(rep.Check.Agent.Said, agent.TrialText)
		is.Equal(rep.Check.Clock.Error, "")
		is.Equal(rep.Check.Clock.AheadMS, int64(0))
		is.True(took < 10*time.Second)
		is.Equal(len(r.replies()), 0) // the trial is in no chat
	})
}

// A check meets what a drain would, and does not wait for better times.
func TestACheckIsNoFailureAndDoesNotWait(t *testing.T) {
	refuse := func(status int, path string) func(r *rig) {
		return func(r *rig) {
			r.proxy(func(w http.ResponseWriter, req *http.Request) bool {
				if req.URL.Path != path {
					return false
				}
				http.Error(w, "no", status)
				return true
			})
		}
	}
	tests := map[string]struct {
		setup   setup
		prepare func(*rig)
		hinder  string
		status  drain.Status
		said    string
	}{
		"the connector is down":  {setup{}, func(r *rig) { r.reach(false) }, drain.Unreachable, drain.Failed, "connection refused"},
		"a path that is not its": {setup{pinned: true}, refuse(404, "/relay"), drain.Unreachable, drain.Failed, "HTTP status 404"},
		"a secret that is wrong": {setup{pinned: true}, refuse(401, "/relay"), drain.NotLetIn, drain.Failed, "HTTP status 401"},
		"an identity not taken":  {setup{}, refuse(401, "/relay/provision"), string(drain.IdentityRefused), drain.Failed, "401"},
		"the lease is another's": {setup{}, func(r *rig) {
			_, err := r.ledger.Acquire(r.t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "another", Life: time.Minute})
			if err != nil {
				r.t.Error(err)
			}
		}, "", drain.Taken, "held by another drain"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, tt.setup, func(t *testing.T, r *rig) {
				is := is.New(t)
				tt.prepare(r)
				rep, took, err := r.run(ledger.Check, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, tt.status)
				is.Equal(rep.Hinder, tt.hinder)
				is.True(strings.Contains(rep.Error, tt.said))
				is.True(took < 10*time.Second)
				is.Equal(rep.Check.Gateway, "")
				o, err := r.ledger.Overview(t.Context())
				is.NoErr(err)
				is.True(!o.Asked) // whoever looks wakes nobody
			})
		})
	}
}

func TestACheckTellsHowTheAgentFails(t *testing.T) {
	for class, err := range map[string]error{
		"away": fmt.Errorf("%w: connection refused", agent.ErrUnavailable), "refused": fmt.Errorf("%w: 400", agent.ErrRefused),
		"failed": fmt.Errorf("500"),
	} {
		bad := agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) { return agent.Answer{}, err })
		bubble(t, setup{agent: bad}, func(t *testing.T, r *rig) {
			is := is.New(t)
			rep, _, err := r.run(ledger.Check, quarter)
			is.NoErr(err)
			is.Equal(rep.Check.Agent.Class, class)
			is.Equal(rep.Status, drain.Empty) // that is the agent's, not the connector's
		})
	}
}

// Who asks does not wait for an agent that is away: what is left is handed on.
func TestACheckDoesNotStayForWhatWaits(t *testing.T) {
	a := &awayAgent{away: true}
	bubble(t, setup{ledger: durable(ledger.NewMemory()), agent: a}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		rep, took, err := r.run(ledger.Check, quarter)
		is.NoErr(err)
		is.True(took < 30*time.Second)
		is.Equal(rep.Status, drain.HandedOff)
		is.Equal(rep.Error+rep.Hinder, "")
		is.Equal(rep.Left, 1)
		is.Equal(r.Buffered(gateway), 0) // it is in the journal
	})
}
