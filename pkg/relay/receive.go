package relay

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Receive returns the next delivery, interrupts first. It waits until there is one, until the Conn ends or until ctx does.
// Once the Conn has ended it returns what is left in the queue and then, each time, the error that ended it: a
// *CloseError, or net.ErrClosed after Close and Hangup. It is for one caller at a time.
func (c *Conn) Receive(ctx context.Context) (Delivery, error) {
	for ended := false; ; {
		c.mu.Lock()
		d, ok := c.queue.pop()
		c.mu.Unlock()
		switch {
		case ok:
			return unfold(d), nil
		case ended:
			return Delivery{}, c.err
		}
		select {
		case <-c.arrived:
		case <-c.done:
			ended = true
		case <-ctx.Done():
			return Delivery{}, fmt.Errorf("relay: receive: %w", ctx.Err())
		}
	}
}

// unfold decodes a delivery that waited as a line. Any other is as it was.
func unfold(d Delivery) Delivery {
	if d.line == nil {
		return d
	}
	var f Frame
	f.decodeLine(d.line)
	f.setKind()
	f.ReceivedAt = d.ReceivedAt
	return f.Delivery
}

// Ack tells the connector that a buffered delivery has been taken (section 6): it will not come again. Call it once the
// delivery is kept somewhere. Ack waits only while the peer does not read what was sent before. For an empty id, that of
// a live delivery, it sends nothing.
func (c *Conn) Ack(bufferID string) error {
	if bufferID == "" {
		return nil
	}
	line := make([]byte, 0, len(ackPrefix)+len(bufferID)+len("\"\"}\n")) // enough, unless the id has escapes
	line, err := jsontext.AppendQuote(append(line, ackPrefix...), bufferID)
	if err != nil {
		return fmt.Errorf("relay: ack of %q: no connector can have sent this id: %w", bufferID, err)
	}
	if _, err = c.send(context.Background(), append(line, "}\n"...)); err != nil {
		return err
	}
	c.mu.Lock()
	last := c.queue.len() == 0 // if more is queued, its acks can leave with this one
	c.mu.Unlock()
	c.socket.release(last)
	return nil
}

const ackPrefix = `{"type":"` + TypeInboundAck + `","bufferId":` // written by hand: most of what is sent are acks
