package relay

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gorilla/websocket"
)

// sendFrame sends frame as one line of JSON. It waits only while too much is waiting to be written, at most until ctx
// ends.
func (c *Conn) sendFrame(ctx context.Context, frame any) (start int64, err error) {
	line, err := json.Marshal(frame, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return 0, fmt.Errorf("relay: not sent: cannot be written as JSON: %w", err)
	}
	defer c.socket.release(false)
	return c.send(ctx, append(line, '\n'))
}

// send puts one line, as one message, into the batch that is written next. It returns the message's offset in the stream
// of all that is written, which mayHaveLeft takes. The caller releases the batch.
func (c *Conn) send(ctx context.Context, line []byte) (start int64, err error) {
	if err := c.socket.waitRoom(ctx); err != nil {
		return 0, c.unsent(err)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	start = c.socket.end()
	if err := c.ws.WriteMessage(websocket.TextMessage, line); err != nil {
		return 0, c.unsent(err)
	}
	return start, nil
}

// unsent is the error for a frame that did not leave: the Conn's own end says more than a failed write.
func (c *Conn) unsent(err error) error {
	select {
	case <-c.done:
		err = c.err
	default:
	}
	return fmt.Errorf("relay: not sent: %w", err)
}
