package conform

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// Poke is one request that came to the wake URL.
type Poke struct {
	Method, Path, UserAgent string
	Body                    int  // bytes
	Signed                  bool // by a header of the connector's
}

// Wakes is a handler for the wake URL. It answers 202, or 500 while pokes have to fail.
type Wakes struct {
	pokes   chan Poke
	failing atomic.Bool
}

// NewWakes makes a Wakes, which keeps the last thousand pokes at most.
func NewWakes() *Wakes { return &Wakes{pokes: make(chan Poke, 1000)} }

func (w *Wakes) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body := make([]byte, 4096)
	n, _ := r.Body.Read(body)
	select {
	case w.pokes <- Poke{
		Method: r.Method, Path: r.URL.Path, UserAgent: r.UserAgent(), Body: n, Signed: r.Header.Get("X-Relay-Signature") != "",
	}:
	default:
	}
	if w.failing.Load() {
		rw.WriteHeader(http.StatusInternalServerError)
		return
	}
	rw.WriteHeader(http.StatusAccepted)
}

// poked waits for a poke.
func (t *trial) poked(d time.Duration) (Poke, bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case poke := <-t.cfg.Wakes.pokes:
		t.trace("<", fmt.Sprintf("%s to the wake URL, %d bytes", poke.Method, poke.Body))
		return poke, true
	case <-timer.C:
	case <-t.ctx.Done():
	}
	return Poke{}, false
}

// pokeWait is longer than other waits: some connectors look every 10 s whether something waits.
func (t *trial) pokeWait() time.Duration { return 3 * t.cfg.Wait }

// unpoked waits until the next poke is not held back, and forgets those so far. Checks that call it come first in their suite,
// or are slow.
func (t *trial) unpoked() {
	if t.cfg.Slow {
		t.pause(t.cfg.Cooldown)
	}
	t.forgetPokes()
}

func (t *trial) forgetPokes() {
	for {
		select {
		case <-t.cfg.Wakes.pokes:
		default:
			return
		}
	}
}

// pause lets time pass.
func (t *trial) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
	}
}
