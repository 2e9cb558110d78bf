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
	log   *slog.Logger

	mu   sync.Mutex
	good time.Time // when the last good heartbeat was started
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
		start := time.Now()
		err := h.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			h.mu.Lock()
			h.good = start
			h.mu.Unlock()
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

func (h *heart) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.life/3)
	defer cancel()
	return h.lease.Heartbeat(ctx)
}

// check returns an error once the lease may be another drain's. Both clocks count: the monotonic one stands still while
// a sandbox is frozen, the wall clock may be set.
func (h *heart) check() error {
	h.mu.Lock()
	good := h.good
	h.mu.Unlock()
	now := time.Now()
	if age := max(now.Sub(good), now.Round(0).Sub(good.Round(0))); age >= h.life*2/3 {
		return fmt.Errorf("%w: the last good heartbeat is %s old", errLeaseLost, age.Round(time.Millisecond))
	}
	return nil
}
