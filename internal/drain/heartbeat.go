package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// heart keeps the lease alive. The lease counts as lost once two thirds of a life have passed since the last good
// heartbeat was started, however late its answer came: nobody else can have it before a whole life has passed. Its
// methods may be called from any goroutine.
type heart struct {
	lease interface{ Heartbeat(context.Context) error }
	life  time.Duration
	now   clocks
	log   *slog.Logger
	after func() // is called after a good heartbeat; nil: nobody wants to know

	mu     sync.Mutex
	good   moment             // when the last good heartbeat was started
	quiet  bool               // the lease is being given back: no heartbeat starts
	cancel context.CancelFunc // of the heartbeat that is on its way
	over   chan struct{}      // closed once that heartbeat is over; nil: there was none yet
}

// beat renews the lease every third of its life until ctx ends; it calls lost if the lease is lost.
func (h *heart) beat(ctx context.Context, lost func(error)) {
	tick := time.NewTicker(h.life / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := h.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if h.after != nil {
				h.after()
			}
			continue
		case errors.Is(err, ledger.ErrLost):
			lost(fmt.Errorf("%w: %w", errLeaseLost, err))
			return
		}
		h.log.Warn(logs.HeartbeatFailed, logs.KeyError, err)
		if err := h.check(); err != nil {
			lost(err)
			return
		}
	}
}

// renew makes one heartbeat, unless the lease is being given back. What became of one that silence has cancelled means
// nothing: it is no error.
func (h *heart) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.life/3)
	defer cancel()
	start, over := h.now(), make(chan struct{})
	defer close(over)
	h.mu.Lock()
	quiet := h.quiet
	h.cancel, h.over = cancel, over
	h.mu.Unlock()
	if quiet {
		return nil
	}
	err := h.lease.Heartbeat(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.good = start
	case h.quiet:
		return nil
	}
	return err
}

// silence keeps heartbeats away while giveBack gives the lease back, and after that if it succeeds: the table would tell a
// heartbeat that comes behind it that the lease is lost, and the run would end for that.
func (h *heart) silence(giveBack func() error) error {
	h.mu.Lock()
	h.quiet = true
	cancel, over := h.cancel, h.over
	h.mu.Unlock()
	if over != nil {
		cancel()
		<-over
	}
	err := giveBack()
	h.mu.Lock()
	h.quiet = err == nil
	h.mu.Unlock()
	return err
}

// check returns an error once the lease may be another drain's.
func (h *heart) check() error {
	h.mu.Lock()
	good := h.good
	h.mu.Unlock()
	if age := h.now().since(good); age >= h.life*2/3 {
		return fmt.Errorf("%w: the last good heartbeat is %s old", errLeaseLost, age.Round(time.Millisecond))
	}
	return nil
}

// moment is one time by both clocks.
type moment struct{ monotonic, wall time.Time }

// since is how long ago a moment was, by the clock that says more: the monotonic one stands still while a sandbox is frozen,
// the wall clock may be set.
func (m moment) since(earlier moment) time.Duration {
	return max(m.monotonic.Sub(earlier.monotonic), m.wall.Sub(earlier.wall))
}

// clocks reads both.
type clocks func() moment

// newClocks reads time.Now, and wall as the wall clock; nil: time.Now, too.
func newClocks(wall func() time.Time) clocks {
	return func() moment {
		now := time.Now()
		if wall == nil {
			return moment{now, now.Round(0)}
		}
		return moment{now, wall().Round(0)}
	}
}
