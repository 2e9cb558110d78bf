package drain_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/metrics"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What mutants showed that no test demanded (docs/mutants.md).

func TestAnOrdinaryRunWarnsOfNothing(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		for line := range strings.Lines(r.log.String()) {
			if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
				t.Error(line)
			}
		}
	})
}

// A handshake is remembered under the id that was enrolled, which need not be the configured one.
func TestAHandshakeIsTheEnrolledIds(t *testing.T) {
	const enrolled = "gw-enrolled"
	s, v := stored("hosted")
	v.secret = identity.Encode(provision.Credentials{GatewayID: enrolled, Secret: relay.NewSecret(pinnedSecret)})
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Register(devconnector.Gateway{ID: enrolled, Tenant: "tenant-1", Secrets: []relay.Secret{relay.NewSecret(pinnedSecret)}})
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		standing, err := r.ledger.Standing(t.Context())
		is.NoErr(err)
		is.Equal(standing.Handshaken, enrolled)
	})
}

// notesRefusals counts how often what the connector refused is written down.
type notesRefusals struct {
	ledger.Lease
	made *int
}

func (l notesRefusals) SetRefusals(ctx context.Context, r ledger.Refusals) error {
	*l.made++
	return l.Lease.SetRefusals(ctx, r)
}

func TestRefusalsAreWrittenDownOnceIfThereAreAny(t *testing.T) {
	made := 0
	l := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return notesRefusals{l, &made} })
	bubble(t, setup{ledger: l}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(made, 0)
		is.NoErr(r.RefuseAs(devconnector.Refusing{Class: "rate_limited", Op: "send", Count: 1}))
		r.Deliver(gateway, event("discord", "c1", "m2", "hello"))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Retried, 1)
		is.Equal(made, 1)
	})
}

func TestThePokesMillisecondsAreThoseBeforeTheRunToo(t *testing.T) {
	bubble(t, setup{agent: slowly(2 * time.Second)}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		at := time.Now()
		time.Sleep(300 * time.Millisecond)
		rep, _, err := r.request(drain.Request{Reason: ledger.Wake, At: at}, quarter)
		is.NoErr(err)
		is.True(*rep.MS.FirstReply >= 2000)
		is.Equal(r.metricLines(t)[0].Values[metrics.PokeToReply], float64(300+*rep.MS.FirstReply))
	})
}

// Of a very short invocation a third is kept for the hand-off, a third for the last turn, and the first third is served.
func TestAVeryShortInvocationServesForAThirdOfItsTime(t *testing.T) {
	bubble(t, setup{ledger: durable(ledger.NewMemory()), awake: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		wait := r.during(connected, func() {
			time.Sleep(4 * time.Second)
			r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		})
		_, _, err := r.run(ledger.Wake, 15*time.Second)
		wait()
		is.NoErr(err)
		is.Equal(r.replies(), []string{"c1 hello"})
	})
}
