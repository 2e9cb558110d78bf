package relay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// read is the goroutine that reads until the socket ends. It waits for nothing but the socket.
func (c *Conn) read() {
	decoder := Decoder{Limit: c.cfg.SizeLimit}
	chunk := make([]byte, 32<<10)
	err := c.extendLife()
	for err == nil {
		var message io.Reader
		_, message, err = c.ws.NextReader()
		for err == nil {
			var n int
			n, err = message.Read(chunk)
			decoder.feed(chunk[:n], c.handle)
		}
		if err == io.EOF { // the end of this message only
			decoder.endMessage(c.handle)
			err = nil
		}
	}
	c.publish()
	c.socket.shutdown(time.Now().Add(closeGrace)) // writes out the last acks and the answer to a close frame
	<-c.socket.finished
	c.err = c.cause(err)
	close(c.done)
}

// cause is the error that ended the Conn, given the one that ended the reading.
func (c *Conn) cause(err error) error {
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	broken := &CloseError{Code: websocket.CloseAbnormalClosure}
	frame, framed := errors.AsType[*websocket.CloseError](err)
	timeout, _ := errors.AsType[net.Error](err)
	switch failed := c.socket.failure(); {
	case closing:
		return net.ErrClosed
	case framed && frame.Code != websocket.CloseAbnormalClosure:
		return &CloseError{Code: frame.Code, Reason: c.cfg.redact(frame.Text)}
	case failed != nil:
		return fmt.Errorf("%w: write: %w", broken, failed)
	case timeout != nil && timeout.Timeout():
		return fmt.Errorf("%w: no pong within %v of a ping", broken, c.cfg.PongTimeout)
	}
	return fmt.Errorf("%w: read: %w", broken, err)
}

// handle takes one frame. The reader calls it, so it waits for nothing.
func (c *Conn) handle(f *Frame) {
	c.frames.Add(1)
	if f.Fault != "" {
		c.skip(f)
	}
	switch {
	case f.Kind == KindInterrupt && c.cfg.Interrupted != nil:
		f.ReceivedAt = time.Now()
		c.cfg.Interrupted(f.Delivery)
	case f.Kind != 0:
		c.batch = append(c.batch, c.keep(f.Delivery))
	case f.Fault != "":
	case f.Type == TypeResult:
		c.resolve(f.RequestID, answer{f.Result})
	case f.Type == TypeDescriptor:
		c.describe(*f.Descriptor)
	default: // TypeGoingIdleAck: the decoder gives every other type a fault
		c.publish() // what came before the ack is in the queue before GoIdle returns
		c.becomeIdle()
	}
}

// keep is a delivery as it goes into the batch, with a line of its own if it is to wait as that.
func (c *Conn) keep(d Delivery) Delivery {
	switch n := len(d.line); {
	case !c.folding:
		d.line = nil
	case n > lineBlock/4:
		d.line = bytes.Clone(d.line)
	case n > 0:
		if n > cap(c.lines)-len(c.lines) {
			c.lines = make([]byte, 0, lineBlock)
		}
		start := len(c.lines)
		c.lines = append(c.lines, d.line...)
		d.line = c.lines[start:len(c.lines):len(c.lines)]
	}
	return d
}

// lineBlock is how much memory the lines of deliveries get at once.
const lineBlock = 64 << 10

// skip counts an unusable frame and logs the first of its kind.
func (c *Conn) skip(f *Frame) {
	if f.Fault == faultType {
		c.unknownTypes.Add(1)
	} else {
		c.malformed.Add(1)
	}
	if !c.logged[f.Fault] {
		c.logged[f.Fault] = true
		c.cfg.Log.Warn("frame skipped, further ones like it are not logged", "fault", f.Fault, "buffered", f.BufferID != "")
	}
	if f.RequestID != "" {
		c.resolve(f.RequestID, answer{})
	}
}

// publish moves the reader's batch into the queue. The reader calls it when it is about to wait, so that a caller wakes
// once for everything that came together.
func (c *Conn) publish() {
	if len(c.batch) > 0 {
		now := time.Now()
		for i := range c.batch {
			c.batch[i].ReceivedAt = now
			if c.cfg.Arrived != nil {
				c.cfg.Arrived(c.batch[i])
			}
		}
		c.mu.Lock()
		for _, d := range c.batch {
			c.enqueue(d)
		}
		if c.queue.crowded() || c.dropping {
			c.tellCrowded()
		}
		c.folding = c.queue.folds()
		c.mu.Unlock()
		clear(c.batch)
		c.batch = c.batch[:0]
		select {
		case c.arrived <- struct{}{}:
		default:
		}
	}
}

// enqueue adds a delivery to the queue. A buffered one that does not fit is dropped, and every later one with it: the connector
// keeps them, and an end of the Conn before the first ack would bring the same ones again. A live one that does not fit is lost;
// an end of the Conn would lose all that is on its way, results too. mu is held.
func (c *Conn) enqueue(d Delivery) {
	switch buffered := d.BufferID != ""; {
	case buffered && c.dropping:
		c.dropped.Add(1)
	case c.queue.push(d):
	case buffered:
		c.dropping = true
		c.dropped.Add(1)
	default:
		if c.lost.Add(1) == 1 {
			c.cfg.Log.Error("a live delivery is lost: more wait than there is room for; further ones are counted", "waiting", c.queue.len())
		}
	}
}

// tellCrowded closes crowded, once. The reader calls it.
func (c *Conn) tellCrowded() {
	select {
	case <-c.crowded:
	default:
		close(c.crowded)
	}
}
