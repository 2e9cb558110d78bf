package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
)

// Close sends a close frame with code 1000 and waits for the peer's, or until the socket or ctx ends. The Conn reads on
// meanwhile, and what has come can be received afterwards. Close returns when the Conn's goroutines are gone; its error
// is ctx's. It may be called again, and returns nil after the Conn has ended by itself.
func (c *Conn) Close(ctx context.Context) error {
	c.sendClose()
	var err error
	select {
	case <-c.done:
	case <-ctx.Done():
		err = fmt.Errorf("relay: close: the connector's close frame has not come: %w", ctx.Err())
		c.socket.shutdown(time.Now().Add(closeGrace))
	}
	c.running.Wait()
	return err
}

// Hangup is for a process that is being killed. It writes going_idle and a close frame, as far as ctx leaves time (250 ms
// if it has no deadline), and closes the socket without waiting for an answer.
func (c *Conn) Hangup(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(closeGrace)
	}
	_, err := c.sendFrame(ctx, goingIdle{TypeGoingIdle})
	c.sendClose()
	c.socket.shutdown(deadline)
	c.running.Wait()
	return errors.Join(err, c.socket.failure())
}

// sendClose sends the close frame, once.
func (c *Conn) sendClose() {
	c.mu.Lock()
	first := !c.closing
	c.closing = true
	c.mu.Unlock()
	if first {
		c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Time{})
		c.socket.release(false)
	}
}
