// Package pipenet is a network in memory, for tests: a listener whose Dial returns one end of a net.Pipe. In a synctest
// bubble a read of it counts as blocked, which a read of a real socket does not.
//
// Accept blocks until somebody dials, and Dial until that is accepted or the context ends. Both return at once after Close.
// Only EndlessHeader starts goroutines. All methods may be called from any goroutine.
package pipenet

import (
	"context"
	"net"
	"sync"
)

// Listener is a net.Listener that only its own Dial reaches.
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen returns a Listener. Close ends it.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial waits until the connection is accepted, the Listener is closed or ctx ends. Network and address are ignored: it
// has the form that net/http takes.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for the next Dial, or for Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial. Connections that were made stay.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is the same for every Listener.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
