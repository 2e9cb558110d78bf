package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

var errLeaseLost = errors.New("drain: the lease is lost: another drain owns the instance")

// isLost says whether an error is the loss of the lease.
func isLost(err error) bool { return errors.Is(err, errLeaseLost) || errors.Is(err, ledger.ErrLost) }

// heart keeps the lease alive. It counts as lost once two thirds of a life have passed since the last good heartbeat
// was started, however late that one's answer came: nobody else can have it before a whole life.
type heart struct {
	lease interface{ Heartbeat(context.Context) error }
	life  time.Duration
	log   *slog.Logger

	mu   sync.Mutex
	good time.Time // when the last good heartbeat was started
}

// beat renews the lease every third of its life until ctx ends; it calls lost once if it is lost.
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
		h.log.Warn("heartbeat failed", "error", err)
		if err := h.fresh(); err != nil {
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

// fresh refuses once the lease may be somebody else's. Both clocks count: the monotonic one stands still while a
// sandbox is frozen, the wall clock may be set.
func (h *heart) fresh() error {
	h.mu.Lock()
	good := h.good
	h.mu.Unlock()
	now := time.Now()
	if age := max(now.Sub(good), now.Round(0).Sub(good.Round(0))); age >= h.life*2/3 {
		return fmt.Errorf("%w: the last good heartbeat is %s old", errLeaseLost, age.Round(time.Millisecond))
	}
	return nil
}
