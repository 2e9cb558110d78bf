package main_test

import (
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/metrics"
	"github.com/dormouse-relay/dormouse/internal/metrics/emftest"
)

// The built function writes what CloudWatch reads, through the handler that it has on Lambda, whatever its log level is.
func TestTheBuiltDrainWritesItsMetrics(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := deploy(t, setup{env: map[string]string{"DORMOUSE_LOG_LEVEL": "error"}})
	s.Deliver(gateway, event(0, "m0"))
	s.run("wake")
	s.run("schedule") // not due
	s.stop()
	var found []emftest.Line
	for _, raw := range s.lines() {
		line, ok, err := emftest.Check([]byte(raw))
		is.NoErr(err)
		if ok {
			found = append(found, line)
		}
	}
	is.Equal(len(found), 1)
	is.Equal(found[0].Dimensions[metrics.Drains], []string{metrics.StackOf(drainFunction), "drained"})
	is.Equal(found[0].Values[metrics.Received], 1.0)
	is.True(found[0].Values[metrics.BilledSeconds] > 0.5) // with the time that it lingered
}
