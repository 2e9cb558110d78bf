package drain

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// link is what turns see of the sockets: the one that is up, or the wait for the next one. Its methods may be called from
// any goroutine.
type link struct {
	guard    func() error // refuses actions once the lease may be another drain's
	onAck    func()       // is called after each ack
	onResult func()       // is called after each action that the connector took
	onTyping func()       // is called after each typing that was sent

	mu      sync.Mutex
	conn    *relay.Conn
	last    *relay.Conn   // the newest one, for its descriptors; it may have ended
	changed chan struct{} // closed at the next connect or disconnect
}

func newLink() *link { return &link{changed: make(chan struct{})} }

// connect makes conn the socket that is up; disconnect says that there is none.
func (l *link) connect(conn *relay.Conn) { l.set(conn) }
func (l *link) disconnect()              { l.set(nil) }

func (l *link) set(conn *relay.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
	if conn != nil {
		l.last = conn
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) current() (*relay.Conn, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn, l.changed
}

// up waits for a socket.
func (l *link) up(ctx context.Context) (*relay.Conn, error) {
	for {
		conn, changed := l.current()
		if conn != nil && !isClosed(conn) {
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func isClosed(conn *relay.Conn) bool {
	select {
	case <-conn.Done():
		return true
	default:
		return false
	}
}

// Do sends an action over the socket that is up. If that one ended before the action was sent, it is sent over the next.
func (l *link) Do(ctx context.Context, out relay.Outbound) (relay.Result, error) {
	for {
		conn, err := l.up(ctx)
		if err != nil {
			return relay.Result{}, err
		}
		if err := l.guard(); err != nil {
			return relay.Result{}, err
		}
		result, err := conn.Do(ctx, out)
		if err == nil {
			l.onResult()
		}
		if err == nil || wasSent(err) || !endsSoon(ctx, conn) {
			return result, err
		}
	}
}

// endsSoon reports whether a socket is over over which an action could not be sent. A write may fail a moment before the
// reader has seen the end.
func endsSoon(ctx context.Context, conn *relay.Conn) bool {
	select {
	case <-conn.Done():
		return true
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	return isClosed(conn)
}

// Post sends an action whose result and loss matter to nobody.
func (l *link) Post(out relay.Outbound) {
	if conn, _ := l.current(); conn != nil && l.guard() == nil {
		conn.Post(out)
		if out.Action.Op() == "typing" {
			l.onTyping()
		}
	}
}

// Ack acks on the socket that is up. Without one nothing is sent, and the connector sends the delivery again.
func (l *link) Ack(bufferID string) {
	if conn, _ := l.current(); conn != nil && conn.Ack(bufferID) == nil {
		l.onAck()
	}
}

// Descriptor is what the newest socket has for a platform.
func (l *link) Descriptor(platform string) relay.Descriptor {
	l.mu.Lock()
	conn := l.last
	l.mu.Unlock()
	return conn.Descriptor(platform)
}

// WaitDescriptors waits for the newest socket's other descriptors.
func (l *link) WaitDescriptors(ctx context.Context) {
	l.mu.Lock()
	conn := l.last
	l.mu.Unlock()
	conn.WaitDescriptors(ctx)
}

// wasSent reports whether an action was sent although Do failed: it was refused, or its outcome is unknown.
func wasSent(err error) bool {
	_, refused := errors.AsType[*relay.OpError](err)
	return refused || errors.Is(err, relay.ErrOutcomeUnknown)
}
