package relay

import (
	"time"

	"github.com/gorilla/websocket"
)

// keepAlive makes the reader answer pings, and take pongs as signs of life. It is called before the reader starts.
func (c *Conn) keepAlive() {
	c.ws.SetPingHandler(func(data string) error {
		if !c.socket.backedUp() { // a peer that only pings and never reads gets no more pongs
			c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Time{})
		}
		return nil
	})
	c.ws.SetPongHandler(func(string) error { return c.extendLife() })
}

// extendLife moves the reader's deadline: until then a pong has to come.
func (c *Conn) extendLife() error {
	return c.ws.SetReadDeadline(time.Now().Add(c.cfg.PingInterval + c.cfg.PongTimeout))
}

// ping is the goroutine that sends pings until the Conn ends.
func (c *Conn) ping() {
	tick := time.NewTicker(c.cfg.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.ws.WriteControl(websocket.PingMessage, nil, time.Time{})
			c.socket.release(false)
		case <-c.done:
			return
		}
	}
}
