package drain

import (
	"context"
	"time"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// setOpen tells Terminate which socket is open. It is false if Terminate has come and gone.
func (d *Drainer) setOpen(conn *relay.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn = conn
	return !d.terminated
}

// startDialling tells Terminate that a socket is about to be there, until done is called.
func (d *Drainer) startDialling() (done func()) {
	ended := make(chan struct{})
	d.mu.Lock()
	d.dialling = ended
	d.mu.Unlock()
	return func() { close(ended) }
}

// goodbye is how long it may take to say it, and greeting how long a handshake that is under way may take before.
const (
	goodbye  = 300 * time.Millisecond
	greeting = 150 * time.Millisecond
)

// begin tells Terminate of a run that has the lease, until over is called.
func (d *Drainer) begin(cancel context.CancelCauseFunc) (over func()) {
	done := make(chan struct{})
	d.mu.Lock()
	d.cancel, d.over = cancel, done
	terminated := d.terminated
	d.mu.Unlock()
	if terminated {
		cancel(errTerminated)
	}
	return func() {
		d.mu.Lock()
		d.cancel, d.over = nil, nil
		d.mu.Unlock()
		close(done)
	}
}

// Terminate is for a process that Lambda is about to kill. It writes going_idle and a close frame to the open socket, within
// 300 ms, and waits for no answer: without going_idle the connector would go on sending live messages to nobody. A handshake
// that is under way may end before, as the connector may have let us in already; then the run says the same.
// Then the run ends, whatever it is at, and gives the lease back, so that the next one need not wait until it runs out;
// Terminate returns when it has, or when ctx ends.
func (d *Drainer) Terminate(ctx context.Context) {
	d.mu.Lock()
	conn, cancel, over, dialling := d.conn, d.cancel, d.over, d.dialling
	d.terminated = true
	d.mu.Unlock()
	if conn != nil {
		hangingUp, stop := context.WithTimeout(ctx, goodbye)
		conn.Hangup(hangingUp)
		stop()
	}
	if cancel == nil {
		return
	}
	if conn == nil && dialling != nil {
		select {
		case <-dialling:
		case <-time.After(greeting):
		case <-ctx.Done():
		}
	}
	cancel(errTerminated)
	select {
	case <-over:
	case <-ctx.Done():
	}
}
