package main

import (
	"context"
	"time"

	"github.com/dormouse-relay/dormouse/internal/rig"
)

// What a run may take until all is quiet is not measured by the clock, which would fail runs on a machine with other work,
// but by what is done: a run fails that gets no further for so long. Where processes lose their leases of a second or two although
// no fault is injected any more, the machine hardly runs them: then it may take five times as long.
const (
	patience      = 60 * time.Second
	starving      = 5
	quietPatience = 30 * time.Second // of a run without a schedule: shorter than the function's timeout, which would help it
	slow          = 90 * time.Second // runs that take longer are counted
)

// progress is how far a run has got. It only grows, and has an end: each message is journalled, kept and finished once.
type progress struct {
	patience time.Duration
	is       standing // when it last got further
	at       time.Time
}

// standing is how far a run is.
type standing struct {
	done      int
	buffered  int // at the connector: the least so far
	takeovers int // of leases that were not given back
}

func newProgress(patience time.Duration, is standing, now time.Time) *progress {
	return &progress{patience: patience, is: is, at: now}
}

// stalled notes what is done by now, and reports whether that has been all for too long. A message that comes again and
// again, an attempt that fails, a drain that starts and ends are no progress.
func (p *progress) stalled(is standing, now time.Time) bool {
	if is.done > p.is.done || is.buffered < p.is.buffered {
		p.is, p.at = standing{max(is.done, p.is.done), min(is.buffered, p.is.buffered), is.takeovers}, now
	}
	limit := p.patience
	if is.takeovers > p.is.takeovers {
		limit *= starving
	}
	return now.Sub(p.at) >= limit
}

// standing is how far the run is by what the table knows.
func (r *run) standing(buffered int) standing {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &r.history
	done := len(h.journalled) + len(h.kept) + len(h.confirmed) + len(h.finished) + len(h.dead)
	return standing{done, buffered, len(h.takeovers)}
}

// settle lets the schedule fire until nothing is left to do now. A quiet run has no schedule: pokes must do.
// Messages with a later number than newest have to have ended, which a live one is not known to have as long as nobody has it.
func (r *run) settle(ctx context.Context, newest int) (left rest) {
	limit, next := patience, nextTry
	switch {
	case r.weather.quiet:
		limit = quietPatience
	case r.weather.desert:
		limit, next = patience+desertNextTry, desertNextTry
	}
	began := time.Now()
	p := newProgress(limit, r.standing(r.connector.Buffered(r.gateway)), began)
	for n := 0; ; n++ {
		left = r.rest(ctx)
		if r.isOver(left, next, newest) {
			break
		}
		if n%4 == 0 && !r.weather.quiet && r.host.Events(rig.Drain) < 3 {
			r.schedule()
		}
		if n%6 == 0 {
			r.sayAgain()
		}
		if p.stalled(r.standing(left.buffered), time.Now()) {
			r.fault("not quiet, and no further for %s: %s", time.Since(p.at).Round(time.Second), left)
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

// isOver reports whether nothing is left to do now.
func (r *run) isOver(left rest, next time.Duration, newest int) bool {
	return left.quiet(r.sessionOf, next) && r.ended(newest) && len(r.unsaid(true)) == 0 && (len(left.open) > 0 || r.host.Events(rig.Drain) == 0)
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
