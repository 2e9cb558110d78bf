package drain_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
)

// Whether a connector hands out one entry after the other or all at once, and whatever a table takes for each: lines that were
// buffered while we slept are one turn, and acked one by one.
func TestLinesBufferedWhileAsleepAreOneTurn(t *testing.T) {
	for name, window := range map[string]int{"one at a time": 1, "four at a time": 4, "all at once": 0} {
		t.Run(name, func(t *testing.T) {
			slow := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return slowTable{l, 20 * time.Millisecond} })
			s := setup{
				ledger: durable(slow),
				change: func(p *devconnector.Preset) { p.Window, p.WindowPerChat = window, false },
			}
			bubble(t, s, func(t *testing.T, r *rig) {
				is := is.New(t)
				for n := range 5 {
					r.Deliver(gateway, event("discord", "c1", fmt.Sprint("m", n), fmt.Sprint(n)))
				}
				rep, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Drained)
				is.Equal(rep.Turns, 1)
				is.Equal(r.replies(), []string{"c1 0\n1\n2\n3\n4"})
				is.Equal(len(r.State().Acks), 5)
				is.Equal(rep.Answered, 5)
			})
		})
	}
}
