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

const goodbye = 300 * time.Millisecond

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
// 300 ms, and waits for no answer: without going_idle the connector would go on sending live messages to nobody.
// Then the run ends, whatever it is at, and gives the lease back, so that the next one need not wait until it runs out;
// Terminate returns when it has, or when ctx ends.
func (d *Drainer) Terminate(ctx context.Context) {
	d.mu.Lock()
	conn, cancel, over := d.conn, d.cancel, d.over
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
	cancel(errTerminated)
	select {
	case <-over:
	case <-ctx.Done():
	}
}
