package main

import (
	"testing"
	"time"

	"github.com/matryer/is"
)

func TestARunThatGetsNoFurtherHasStalled(t *testing.T) {
	type look struct {
		after time.Duration
		is    standing
	}
	tests := map[string]struct {
		looks []look
		want  time.Duration // of the look that finds it stalled; zero: none does
	}{
		"nothing happens":    {[]look{{20 * time.Second, standing{0, 9, 0}}, {59 * time.Second, standing{0, 9, 0}}, {60 * time.Second, standing{0, 9, 0}}}, 60 * time.Second},
		"slow, but on":       {[]look{{50 * time.Second, standing{1, 9, 0}}, {100 * time.Second, standing{2, 9, 0}}, {159 * time.Second, standing{3, 9, 0}}}, 0},
		"the buffer empties": {[]look{{50 * time.Second, standing{0, 8, 0}}, {100 * time.Second, standing{0, 7, 0}}}, 0},
		"what was acked comes again": {[]look{{30 * time.Second, standing{0, 8, 0}}, {60 * time.Second, standing{0, 9, 0}}, {90 * time.Second, standing{0, 8, 0}}},
			90 * time.Second},
		"the machine is too slow for a lease": {[]look{{90 * time.Second, standing{0, 9, 1}}, {299 * time.Second, standing{0, 9, 7}},
			{300 * time.Second, standing{0, 9, 8}}}, 300 * time.Second},
		"it was, before":      {[]look{{30 * time.Second, standing{1, 9, 5}}, {90 * time.Second, standing{1, 9, 5}}}, 90 * time.Second},
		"on, then no further": {[]look{{50 * time.Second, standing{5, 9, 0}}, {109 * time.Second, standing{5, 9, 0}}, {110 * time.Second, standing{5, 9, 0}}}, 110 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			p := newProgress(time.Minute, standing{buffered: 9}, start)
			var found time.Duration
			for _, l := range tt.looks {
				if p.stalled(l.is, start.Add(l.after)) && found == 0 {
					found = l.after
				}
			}
			is.New(t).Equal(found, tt.want)
		})
	}
}
