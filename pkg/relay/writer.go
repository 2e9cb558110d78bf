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
	roomy        = 64 << 10               // if more bytes wait to be written, writers wait, see waitRoom
)

// batchConn is a net.Conn that batches writes. While the reader is busy with what it has read, writes are collected; when
// the reader is about to wait for more, they leave in one write. A goroutine, flush, makes that write, or a writer that
// asks for it with release. The reader never writes, so a peer that does not read cannot stop us from reading.
type batchConn struct {
	net.Conn
	beforeRead func() // the reader calls it before it waits
	answered   bool   // the answer to the upgrade has been read; the reader's, as is received
	received   int    // bytes that have been read before that

	mu       sync.Mutex
	changed  sync.Cond // signals a change of what is below
	pending  []byte    // collected, not yet written
	spare    []byte    // the other buffer: it takes the place of pending while that is written
	writing  bool      // a write to the socket is under way
	taken    int64     // bytes that have left pending for the socket, in all
	reading  bool      // the reader waits, so nothing may be held back
	closing  bool      // one last write of what is pending, then the socket is closed
	closeBy  time.Time // the deadline of that write
	err      error     // of the write that failed; none is made after it
	finished chan struct{}
}

func newBatchConn(conn net.Conn) *batchConn {
	b := &batchConn{Conn: conn, beforeRead: func() {}, finished: make(chan struct{})}
	b.changed.L = &b.mu
	go b.flush()
	return b
}

// Read is for one goroutine, the reader.
func (b *batchConn) Read(buf []byte) (int, error) {
	if !b.answered && b.received >= maxAnswer {
		return 0, errEndlessAnswer
	}
	b.beforeRead()
	b.setReading(true)
	// Let a caller that has just been handed something act on it first. On one core this saves a wait in the poller if
	// its answer comes at once. Without it, a reader that always finds more to read would starve the caller until the
	// queue overruns.
	runtime.Gosched()
	n, err := b.Conn.Read(buf)
	if !b.answered {
		b.received += n
	}
	b.setReading(false)
	return n, err
}

func (b *batchConn) setReading(reading bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = reading
	if b.due() {
		b.changed.Broadcast()
	}
}

// Write only collects, so it never waits. What it collects leaves by release, or when the reader waits.
func (b *batchConn) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.closed(); err != nil {
		return 0, err
	}
	b.pending = append(b.pending, p...)
	return len(p), nil
}

// release writes out what is pending, unless the reader is busy. If direct, the caller writes itself and may have to wait
// for the socket; otherwise flush does it.
func (b *batchConn) release(direct bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.due():
	case direct && !b.closing:
		b.writeOut()
	default:
		b.changed.Broadcast()
	}
}

// waitRoom waits until there is room for another message.
func (b *batchConn) waitRoom(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) >= roomy {
		defer context.AfterFunc(ctx, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.changed.Broadcast()
		})()
	}
	for len(b.pending) >= roomy && b.closed() == nil && ctx.Err() == nil {
		b.changed.Wait()
	}
	if err := b.closed(); err != nil {
		return err
	}
	return ctx.Err()
}

// closed is why nothing can be written any more, or nil.
func (b *batchConn) closed() error {
	if b.err == nil && b.closing {
		return net.ErrClosed
	}
	return b.err
}

// backedUp reports whether writers would have to wait.
func (b *batchConn) backedUp() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pending) >= roomy
}

// failure is the error of the write that failed, if one has.
func (b *batchConn) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// end is the offset of the next byte in the stream of all that is written.
func (b *batchConn) end() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken + int64(len(b.pending))
}

// mayHaveLeft reports whether the byte at that offset may have reached the socket.
func (b *batchConn) mayHaveLeft(offset int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return offset < b.taken
}

// due reports whether a write has to be made now.
func (b *batchConn) due() bool {
	return !b.writing && (b.closing || b.err == nil && (b.reading && len(b.pending) > 0 || len(b.pending) >= roomy))
}

// flush is the goroutine that writes. It closes the socket and ends after shutdown.
func (b *batchConn) flush() {
	defer close(b.finished)
	defer b.Conn.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	for last := false; !last; {
		for !b.due() {
			b.changed.Wait()
		}
		last = b.closing
		if len(b.pending) > 0 && b.err == nil {
			b.writeOut()
		}
	}
}

// writeOut writes what is pending. It holds mu before and after the write, not during it.
func (b *batchConn) writeOut() {
	if !b.closing {
		b.Conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	out := b.pending
	b.pending = b.spare[:0]
	b.taken += int64(len(out))
	b.writing = true
	if len(out) >= roomy {
		b.changed.Broadcast() // there is room again
	}
	b.mu.Unlock()
	n, err := b.Conn.Write(out)
	b.mu.Lock()
	b.writing = false
	if err != nil {
		b.err = err
		b.taken -= int64(len(out) - n)
		b.Conn.SetReadDeadline(time.Now().Add(closeGrace)) // a close frame that says why may still be there to read
	}
	if b.spare = out; cap(out) > 4*roomy {
		b.spare = nil
	}
	if b.err != nil || b.closing || len(b.pending) > 0 {
		b.changed.Broadcast()
	}
}

// shutdown makes flush write what is pending until the deadline and then close the socket. It waits for neither. Of
// several deadlines the earliest counts.
func (b *batchConn) shutdown(deadline time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing && !deadline.Before(b.closeBy) {
		return
	}
	b.closing, b.closeBy = true, deadline
	b.Conn.SetWriteDeadline(deadline)
	b.changed.Broadcast()
}

// Close closes the socket without another write.
func (b *batchConn) Close() error {
	b.shutdown(time.Now())
	<-b.finished
	return nil
}

// SetWriteDeadline does nothing: each write to the socket gets its deadline when it is made.
func (b *batchConn) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline sets the deadline, unless a failed write or shutdown has set the last one.
func (b *batchConn) SetReadDeadline(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed() != nil {
		return nil
	}
	return b.Conn.SetReadDeadline(t)
}
