package locallambda

import (
	"testing"
	"time"

	"github.com/matryer/is"
)

const ms = time.Millisecond

func TestAllowance(t *testing.T) {
	type look struct {
		at, used time.Duration // since the start
		run      bool
		again    time.Duration
	}
	tests := map[string][]look{ // at a quarter: 5 ms of 20
		"burns":                    {{0, 0, true, 5 * ms}, {5 * ms, 5 * ms, false, 15 * ms}, {20 * ms, 5 * ms, true, 5 * ms}, {25 * ms, 10 * ms, false, 15 * ms}},
		"waits":                    {{0, 0, true, 5 * ms}, {5 * ms, 0, true, 5 * ms}, {18 * ms, 1 * ms, true, 2 * ms}},
		"saves nothing by waiting": {{0, 0, true, 5 * ms}, {70 * ms, 0, true, 5 * ms}, {75 * ms, 5 * ms, false, 5 * ms}},
		"pays for what it took":    {{0, 0, true, 5 * ms}, {8 * ms, 8 * ms, false, 12 * ms}, {20 * ms, 8 * ms, true, 2 * ms}, {22 * ms, 10 * ms, false, 18 * ms}},
		"pays over many periods":   {{0, 0, true, 5 * ms}, {19 * ms, 19 * ms, false, 1 * ms}, {20 * ms, 19 * ms, false, 20 * ms}, {60 * ms, 19 * ms, true, 1 * ms}},
		"is not looked at forever": {{0, 5*ms - 1, true, shortestNap}},
	}
	for name, looks := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			start := time.Now()
			a := newAllowance(0.25, start, 0)
			for _, l := range looks {
				run, again := a.check(start.Add(l.at), l.used)
				is.Equal(run, l.run)
				is.Equal(again, l.again)
			}
		})
	}
}
