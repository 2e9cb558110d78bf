package relay

import (
	"context"
	"net"
	"runtime"
	"sync"
	"time"
)

const (
	writeTimeout = 30 * time.Second       // for one write to the socket
	closeGrace   = 250 * time.Millisecond // for the last write, after which the socket is closed
	roomy        = 64 << 10               // bytes waiting to be written beyond which writers wait, see room
)

// gatherer is a net.Conn whose writes leave together: while the reader is busy with what it has read they are collected,
// and when it is about to wait for more they leave in one write. A goroutine of its own makes that write, unless a writer
// chooses to; the reader never does, so that a peer that does not read cannot stop us from reading.
type gatherer struct {
	net.Conn
	beforeRead func() error // called by the reader before it waits; its error is the Read's

	mu       sync.Mutex
	changed  sync.Cond // something below has
	pending  []byte
	spare    []byte // becomes pending while that is written
	writing  bool   // somebody writes to the socket
	taken    int64  // bytes that have ever left pending for the socket
	reading  bool   // the reader waits: nothing may be held back
	closing  bool   // what is pending gets one last write, then the socket is closed
	closeBy  time.Time
	err      error // of the write that failed; there is none after it
	finished chan struct{}
}

func newGatherer(conn net.Conn) *gatherer {
	g := &gatherer{Conn: conn, beforeRead: func() error { return nil }, finished: make(chan struct{})}
	g.changed.L = &g.mu
	go g.flush()
	return g
}

// Read is for one goroutine, the reader.
func (g *gatherer) Read(b []byte) (int, error) {
	if err := g.beforeRead(); err != nil {
		return 0, err
	}
	g.setReading(true)
	// Whoever has been handed something may act on it first. On one core this saves a wait in the poller if the answer
	// comes at once, and a reader that always finds more to read would starve the caller until it overruns.
	runtime.Gosched()
	n, err := g.Conn.Read(b)
	g.setReading(false)
	return n, err
}

func (g *gatherer) setReading(reading bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reading = reading
	if g.due() {
		g.changed.Broadcast()
	}
}

// Write only collects, and so never waits; leave or the next Read lets it go.
func (g *gatherer) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.closed(); err != nil {
		return 0, err
	}
	g.pending = append(g.pending, b...)
	return len(b), nil
}

// leave lets what has been written go unless the reader is busy. If it is to be direct the caller may have to wait for
// the socket.
func (g *gatherer) leave(direct bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.due():
	case direct && !g.closing:
		g.writeOut()
	default:
		g.changed.Broadcast()
	}
}

// room waits until there is room for another message.
func (g *gatherer) room(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pending) >= roomy {
		defer context.AfterFunc(ctx, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.changed.Broadcast()
		})()
	}
	for len(g.pending) >= roomy && g.closed() == nil && ctx.Err() == nil {
		g.changed.Wait()
	}
	if err := g.closed(); err != nil {
		return err
	}
	return ctx.Err()
}

func (g *gatherer) closed() error {
	if g.err == nil && g.closing {
		return net.ErrClosed
	}
	return g.err
}

// full says that writers would have to wait.
func (g *gatherer) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.pending) >= roomy
}

// failure is the error of the write that failed, if one has.
func (g *gatherer) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// end is where the next byte written comes to stand in all that is written.
func (g *gatherer) end() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.taken + int64(len(g.pending))
}

// left says whether the byte at that offset may have reached the socket.
func (g *gatherer) left(offset int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return offset < g.taken
}

func (g *gatherer) due() bool {
	return !g.writing && (g.closing || g.err == nil && (g.reading && len(g.pending) > 0 || len(g.pending) >= roomy))
}

// flush is the goroutine that writes. It ends once the socket is closed.
func (g *gatherer) flush() {
	defer close(g.finished)
	defer g.Conn.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	for last := false; !last; {
		for !g.due() {
			g.changed.Wait()
		}
		last = g.closing
		if len(g.pending) > 0 && g.err == nil {
			g.writeOut()
		}
	}
}

// writeOut writes what is pending. It lets go of mu meanwhile.
func (g *gatherer) writeOut() {
	if !g.closing {
		g.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	out := g.pending
	g.pending = g.spare[:0]
	g.taken += int64(len(out))
	g.writing = true
	if len(out) >= roomy {
		g.changed.Broadcast() // there is room again
	}
	g.mu.Unlock()
	n, err := g.Conn.Write(out)
	g.mu.Lock()
	g.writing = false
	if err != nil {
		g.err = err
		g.taken -= int64(len(out) - n)
		g.Conn.SetReadDeadline(time.Now().Add(closeGrace)) // a close frame that says why may still be there
	}
	if g.spare = out; cap(out) > 4*roomy {
		g.spare = nil
	}
	if g.err != nil || g.closing || len(g.pending) > 0 {
		g.changed.Broadcast()
	}
}

// shutdown lets flush write what is pending until the deadline and then close the socket. It waits for neither. Of
// several deadlines the earliest counts.
func (g *gatherer) shutdown(deadline time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing && !deadline.Before(g.closeBy) {
		return
	}
	g.closing, g.closeBy = true, deadline
	g.Conn.SetWriteDeadline(deadline)
	g.changed.Broadcast()
}

// Close closes the socket without another write.
func (g *gatherer) Close() error {
	g.shutdown(time.Now())
	<-g.finished
	return nil
}

// SetWriteDeadline does nothing: each write to the socket gets its deadline when it is made.
func (g *gatherer) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline does not put off the end that a failed write has set.
func (g *gatherer) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed() != nil {
		return nil
	}
	return g.Conn.SetReadDeadline(t)
}
