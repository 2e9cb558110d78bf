package relay

import (
	"context"
	"fmt"
)

// GoIdle asks the connector to buffer from now on, and returns nil once the connector has agreed (section 12). Until then,
// and shortly after, deliveries may still come: receive them before you close.
//
// After an error nobody knows whether the connector buffers. GoIdle may then be called again: it asks again, and a late
// answer to the earlier call counts.
func (c *Conn) GoIdle(ctx context.Context) error {
	c.mu.Lock()
	late, acked := c.idle, c.idleAcked
	c.askedIdle, c.idle = true, false
	c.mu.Unlock()
	if _, err := c.sendFrame(ctx, goingIdle{TypeGoingIdle}); err != nil || late {
		return err
	}
	select {
	case <-acked:
	case <-ctx.Done():
		return fmt.Errorf("relay: no going_idle_ack, the connector may still deliver live: %w", ctx.Err())
	case <-c.done:
		select {
		case <-acked: // just before the end
		default:
			return c.err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = false // this call returns for the ack that set it
	return nil
}

// goingIdle asks the connector to buffer (section 12).
type goingIdle struct {
	Type string `json:"type"` // TypeGoingIdle
}

// becomeIdle takes a going_idle_ack. One that nobody asked for changes nothing. The reader calls it.
func (c *Conn) becomeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.askedIdle {
		return
	}
	c.idle = true
	close(c.idleAcked)
	c.idleAcked = make(chan struct{})
}
