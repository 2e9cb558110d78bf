package locallambda

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Invoke runs the function, named as in the Lambda API, and waits for the result. Its error is ErrNotFound, ErrThrottled,
// ErrClosed or ctx's. A function that fails, or cannot be started, is no error but a Result. When ctx ends, Invoke returns
// and the invocation goes on.
func (h *Host) Invoke(ctx context.Context, name string, payload []byte) (Result, error) {
	done, err := h.begin(name, payload, nil)
	if err != nil {
		return Result{}, err
	}
	select {
	case out := <-done:
		return out.result, out.err
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

// outcome is what Invoke returns.
type outcome struct {
	result Result
	err    error
}

// begin starts a synchronous invocation. If hear is not nil, it gets the answer as the process says it.
func (h *Host) begin(name string, payload []byte, hear func(Chunk)) (<-chan outcome, error) {
	fn, err := h.function(name)
	if err != nil {
		return nil, err
	}
	done := make(chan outcome, 1)
	err = h.spawn(func() error {
		if !fn.slots.TryAcquire(1) {
			return ErrThrottled
		}
		return nil
	}, func() {
		result, err := h.run(fn, payload, hear)
		fn.slots.Release(1) // before the caller has the result: it may invoke again at once
		done <- outcome{result, err}
	})
	return done, err
}

// InvokeEvent queues an asynchronous invocation. It runs once the concurrency limit allows it, in any order. If it fails, it
// is run again, as Config says. Results go to Config.Done. Close drops what is still queued.
func (h *Host) InvokeEvent(name string, payload []byte) error {
	fn, err := h.function(name)
	if err != nil {
		return err
	}
	return h.spawn(func() error {
		fn.events.Add(1)
		return nil
	}, func() {
		defer fn.events.Add(-1)
		for attempt := 1; ; attempt++ {
			if fn.slots.Acquire(h.closing, 1) != nil {
				return
			}
			result, err := h.run(fn, payload, nil)
			fn.slots.Release(1)
			if err != nil {
				return
			}
			result.Attempt = attempt
			h.done(fn, result)
			if result.FunctionError == "" || attempt > h.cfg.Retries {
				return
			}
			select {
			case <-h.closing.Done():
				return
			case <-time.After(h.cfg.RetryDelay):
			}
		}
	})
}

// Events is how many asynchronous invocations of the function are queued, running or to be run again. During Config.Done the
// invocation that it is called for counts, too. It is 0 for an unknown function.
func (h *Host) Events(name string) int {
	fn, err := h.function(name)
	if err != nil {
		return 0
	}
	return int(fn.events.Load())
}

// spawn runs work in a goroutine that Close waits for, unless the host is closed or admit has an error.
func (h *Host) spawn(admit func() error, work func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	if admit != nil {
		if err := admit(); err != nil {
			return err
		}
	}
	h.wg.Go(work)
	return nil
}

// run is one invocation. The caller holds a slot. The only error is ErrClosed.
func (h *Host) run(fn *function, payload []byte, hear func(Chunk)) (Result, error) {
	id := requestID()
	s, err := h.acquire(fn)
	if errors.Is(err, ErrClosed) {
		return Result{}, err
	}
	if err != nil {
		return failure(id, "Runtime.InvalidEntrypoint", err.Error()), nil
	}
	result := s.invoke(&job{id: id, payload: payload, hear: hear, finished: make(chan struct{})})
	h.mu.Lock()
	defer h.mu.Unlock()
	if !s.gone {
		fn.idle = append(fn.idle, s)
	}
	return result, nil
}

// acquire takes the warmest idle sandbox, or starts one.
func (h *Host) acquire(fn *function) (*sandbox, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(fn.idle); n > 0 {
		s := fn.idle[n-1]
		fn.idle = fn.idle[:n-1]
		return s, nil
	}
	if h.closed {
		return nil, ErrClosed
	}
	s, err := h.startSandbox(fn)
	if err != nil {
		return nil, err
	}
	fn.sandboxes[s] = struct{}{}
	return s, nil
}

// forget removes a sandbox whose process has ended.
func (h *Host) forget(s *sandbox) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.gone = true
	delete(s.fn.sandboxes, s)
	s.fn.idle = slices.DeleteFunc(s.fn.idle, func(other *sandbox) bool { return other == s })
}

// requestID is a version 4 UUID, as Lambda's request ids are.
func requestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
