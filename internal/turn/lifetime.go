package turn

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	journalGrace = 2 * time.Second // how long a delivery may still be journalled when the run ends
	recordGrace  = 5 * time.Second // how long a write about what has happened may take, then or before
)

var errRunOver = errors.New("turn: the run is over")

// lifetime is the time of a worker and of all its goroutines. It has no lock: its fields do not change.
type lifetime struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

func newLifetime(ctx context.Context) *lifetime {
	run := &lifetime{}
	run.ctx, run.cancel = context.WithCancelCause(ctx)
	return run
}

// start runs f in a goroutine that end waits for.
func (run *lifetime) start(f func()) { run.wg.Go(f) }

// end cancels what runs, and returns once every goroutine has ended.
func (run *lifetime) end() {
	run.cancel(errRunOver)
	run.wg.Wait()
}

// journalling is the context in which deliveries are journalled: it lasts for a moment beyond the end of the run.
func (run *lifetime) journalling() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(run.ctx))
	stop := context.AfterFunc(run.ctx, func() {
		select {
		case <-time.After(journalGrace):
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// recording is the context of a write about what has already happened: it is made even as the run ends.
func (run *lifetime) recording() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(run.ctx), recordGrace)
}
