package turn

import (
	"context"
	"sync"
	"time"
)

// gate is what a turn passes before it starts: it may be shut, the deadline may be near, and only so many turns run side
// by side. It has no lock: its channels do.
type gate struct {
	slots    chan struct{} // one token per turn that runs
	answered chan struct{} // one per turn that has given its slot to the next one while its answer is kept and sent
	closing  chan struct{} // closed by shut
	shutOnce sync.Once
	deadline time.Time // zero: none
	need     time.Duration
}

func newGate(cfg Config) *gate {
	return &gate{
		slots: make(chan struct{}, cfg.Concurrency), answered: make(chan struct{}, cfg.Concurrency), closing: make(chan struct{}),
		deadline: cfg.Deadline, need: cfg.AgentTimeout,
	}
}

// shutNow says whether the gate is shut.
func (g *gate) shutNow() bool {
	select {
	case <-g.closing:
		return true
	default:
		return false
	}
}

func (g *gate) shut() { g.shutOnce.Do(func() { close(g.closing) }) }

// free says whether a turn would get a slot at once.
func (g *gate) free() bool { return len(g.slots) < cap(g.slots) }

// mayStart says whether a whole turn still fits.
func (g *gate) mayStart() bool {
	select {
	case <-g.closing:
		return false
	default:
		return g.deadline.IsZero() || time.Until(g.deadline) >= g.need
	}
}

// enter waits for a slot. It fails with errDeferred if the gate is shut, and with ctx's cause if ctx ends.
func (g *gate) enter(ctx context.Context) (release func(), err error) {
	return g.acquire(ctx, g.slots)
}

// acquire puts a token into sem as enter does; release takes it out again.
func (g *gate) acquire(ctx context.Context, sem chan struct{}) (release func(), err error) {
	select {
	case sem <- struct{}{}:
		return func() { <-sem }, nil
	case <-g.closing:
		return nil, errDeferred
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
