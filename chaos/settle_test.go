package main

import (
	"testing"
	"time"

	"github.com/matryer/is"
)

func TestARunThatGetsNoFurtherHasStalled(t *testing.T) {
	type look struct {
		after          time.Duration
		done, buffered int
	}
	tests := map[string]struct {
		looks []look
		want  time.Duration // of the look that finds it stalled; zero: none does
	}{
		"nothing happens":    {[]look{{20 * time.Second, 0, 9}, {59 * time.Second, 0, 9}, {60 * time.Second, 0, 9}}, 60 * time.Second},
		"slow, but on":       {[]look{{50 * time.Second, 1, 9}, {100 * time.Second, 2, 9}, {159 * time.Second, 3, 9}}, 0},
		"the buffer empties": {[]look{{50 * time.Second, 0, 8}, {100 * time.Second, 0, 7}}, 0},
		"what was acked comes again": {[]look{{30 * time.Second, 0, 8}, {60 * time.Second, 0, 9}, {90 * time.Second, 0, 8}},
			90 * time.Second},
		"on, then no further": {[]look{{50 * time.Second, 5, 9}, {109 * time.Second, 5, 9}, {110 * time.Second, 5, 9}}, 110 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			p := newProgress(time.Minute, 9, start)
			var found time.Duration
			for _, l := range tt.looks {
				if p.stalled(l.done, l.buffered, start.Add(l.after)) && found == 0 {
					found = l.after
				}
			}
			is.New(t).Equal(found, tt.want)
		})
	}
}
