package main

import (
	"context"
	"time"

	"github.com/dormouse-relay/dormouse/internal/rig"
)

// What a run may take until all is quiet is not measured by the clock, which would fail runs on a machine with other work,
// but by what is done: a run fails that gets no further for so long.
const (
	patience      = 60 * time.Second
	quietPatience = 30 * time.Second // of a run without a schedule: shorter than the function's timeout, which would help it
	slow          = 90 * time.Second // runs that take longer are counted
)

// progress is how far a run has got. It only grows, and has an end: each message is journalled, kept and finished once.
type progress struct {
	patience time.Duration
	done     int
	buffered int // the least so far
	at       time.Time
}

func newProgress(patience time.Duration, buffered int, now time.Time) *progress {
	return &progress{patience: patience, buffered: buffered, at: now}
}

// stalled notes what is done by now, and reports whether that has been all for too long. A message that comes again and
// again, an attempt that fails, a drain that starts and ends are no progress.
func (p *progress) stalled(done, buffered int, now time.Time) bool {
	if done > p.done || buffered < p.buffered {
		p.done, p.buffered, p.at = max(done, p.done), min(buffered, p.buffered), now
	}
	return now.Sub(p.at) >= p.patience
}

// done is how much the table knows to be done.
func (r *run) done() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &r.history
	return len(h.journalled) + len(h.kept) + len(h.confirmed) + len(h.finished) + len(h.dead)
}

// settle lets the schedule fire until nothing is left to do now. A quiet run has no schedule: pokes must do.
// Messages with a later number than newest have to have ended, which a live one is not known to have as long as nobody has it.
func (r *run) settle(ctx context.Context, newest int) (left rest) {
	limit := patience
	if r.weather.quiet {
		limit = quietPatience
	}
	began := time.Now()
	p := newProgress(limit, r.connector.Buffered(r.gateway), began)
	for n := 0; ; n++ {
		left = r.rest(ctx)
		if left.quiet(r.sessionOf) && r.ended(newest) && (len(left.open) > 0 || r.host.Events(rig.Drain) == 0) {
			break
		}
		if n%4 == 0 && !r.weather.quiet && r.host.Events(rig.Drain) < 3 {
			r.schedule()
		}
		if p.stalled(r.done(), left.buffered, time.Now()) {
			r.fault("not quiet, and no further for %s: %s", limit, left)
			break
		}
		if !pause(ctx, 200*time.Millisecond) {
			break
		}
	}
	if time.Since(began) > slow {
		r.mu.Lock()
		r.seen["times that it took more than "+slow.String()+" to become quiet"]++
		r.mu.Unlock()
	}
	return left
}

// ended reports whether all messages behind the one with that number are finished or dead.
func (r *run) ended(newest int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.sent {
		if m.number > newest && r.history.finished[m.key].IsZero() && r.history.dead[m.key].IsZero() {
			return false
		}
	}
	return true
}
