package turn

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	defaultGrace = 2 * time.Second // Config.Grace
	recordTime   = 5 * time.Second // how long a write about what has happened may take
)

var errRunOver = errors.New("turn: the run is over")

// lifetime is the time of a worker and of all its goroutines. It has no lock: its fields do not change.
type lifetime struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	beyond context.Context // ends a moment after ctx: until then writes are still made
	stop   func()
}

func newLifetime(ctx context.Context, grace time.Duration) *lifetime {
	run := &lifetime{}
	run.ctx, run.cancel = context.WithCancelCause(ctx)
	beyond, end := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(run.ctx, func() {
		select {
		case <-time.After(grace):
			end()
		case <-beyond.Done():
		}
	})
	run.beyond, run.stop = beyond, func() {
		unhook()
		end()
	}
	return run
}

// start runs f in a goroutine that end waits for.
func (run *lifetime) start(f func()) { run.wg.Go(f) }

// end cancels what runs, and returns once every goroutine has ended.
func (run *lifetime) end() {
	run.cancel(errRunOver)
	run.wg.Wait()
	run.stop()
}

// journalling is the context in which deliveries are journalled: it lasts for a moment beyond the end of the run.
func (run *lifetime) journalling() (context.Context, context.CancelFunc) {
	return context.WithCancel(run.beyond)
}

// recording is the context of a write about what has already happened: it is made even as the run ends, but not later than
// a moment beyond.
func (run *lifetime) recording() (context.Context, context.CancelFunc) {
	return context.WithTimeout(run.beyond, recordTime)
}
