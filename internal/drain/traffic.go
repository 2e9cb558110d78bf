package drain

import (
	"sync"
	"time"
)

// traffic is what has come on one socket. One goroutine notes it, another reads it.
type traffic struct {
	changed chan struct{} // receives after note

	mu       sync.Mutex
	received int
	buffered int       // those that were buffered
	last     time.Time // when the newest came
}

func newTraffic() *traffic { return &traffic{changed: make(chan struct{}, 1)} }

func (t *traffic) note(buffered bool) {
	t.mu.Lock()
	t.received++
	if buffered {
		t.buffered++
	}
	t.last = time.Now()
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

func (t *traffic) read() (received, buffered int, last time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.received, t.buffered, t.last
}

func (t *traffic) count() int {
	received, _, _ := t.read()
	return received
}
