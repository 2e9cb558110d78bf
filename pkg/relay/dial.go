package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// Dial connects, says hello for every front and returns once the first descriptor is in (section 4). It reports every
// fault in cfg at once, joined. If the connector refuses the upgrade, the error is an *UpgradeError; if it closes the
// socket before its descriptor, a *CloseError; if no descriptor comes in time, the error wraps ErrNoDescriptor.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := newConn(cfg)
	limited, cancel := context.WithTimeout(ctx, cfg.HandshakeTimeout)
	defer cancel()
	if err := c.upgrade(limited); err != nil {
		return nil, err
	}
	c.keepAlive()
	c.running.Go(c.read)
	c.running.Go(c.ping)
	c.hello()
	select {
	case <-c.ready:
		return c, nil
	case <-c.done:
		err = c.err
	case <-limited.Done():
		err = fmt.Errorf("%w within %v of dialling: %w", ErrNoDescriptor, cfg.HandshakeTimeout, limited.Err())
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrNoDescriptor, ctx.Err())
		}
	}
	c.socket.Close() // which ends the reader
	c.running.Wait()
	return nil, err
}

// upgrade opens the socket, up to the connector's HTTP 101.
func (c *Conn) upgrade(ctx context.Context) error {
	header := http.Header{"User-Agent": {c.cfg.UserAgent}}
	if c.cfg.Token.Usable() {
		header.Set("Authorization", "Bearer "+c.cfg.Token.Reveal())
	}
	plain, secure := c.cfg.NetDial, c.cfg.NetDial
	if c.cfg.NetDial == nil {
		plain = new(net.Dialer).DialContext
		secure = (&tls.Dialer{Config: &tls.Config{NextProtos: []string{"http/1.1"}}}).DialContext
	}
	stopWatching := func() bool { return true } // reports whether ctx was still good
	batched := func(dial DialFunc) DialFunc {
		return func(_ context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			c.socket = newBatchConn(conn)
			stopWatching = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
			return c.socket, nil
		}
	}
	dialer := websocket.Dialer{
		NetDialContext:    batched(plain),
		NetDialTLSContext: batched(secure),
		ReadBufferSize:    64 << 10, // the acks of what one read brings leave in one write
		WriteBufferSize:   16 << 10,
	}
	// gorilla would look at ctx's deadline but not at its cancellation, and would time out before ctx can say why. So it
	// gets a context that never ends, and the AfterFunc above ends the handshake.
	ws, resp, err := dialer.DialContext(context.WithoutCancel(ctx), c.cfg.URL, header)
	inTime := stopWatching()
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && resp != nil:
		return &UpgradeError{Status: resp.StatusCode}
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("relay: dial: %w: %w", ctx.Err(), err)
	case err != nil:
		return fmt.Errorf("relay: dial: %w", err)
	case !inTime:
		ws.Close()
		return fmt.Errorf("relay: dial: %w", ctx.Err())
	}
	c.ws = ws
	c.socket.answered, c.socket.beforeRead = true, c.publish
	return nil
}

// maxAnswer is how many bytes of the answer to an upgrade are read. What comes behind the answer in one read is not of it.
const maxAnswer = 64 << 10

// errEndlessAnswer ends the reading of an answer to an upgrade that has no end: gorilla and net/http would hold it all.
var errEndlessAnswer = fmt.Errorf("the answer to the upgrade has no end within %d bytes: check that the URL is a connector's", maxAnswer)

// hello introduces every front. A hello that cannot be sent is no error of its own: the socket is broken then, and the
// reader reports why.
func (c *Conn) hello() {
	for _, front := range c.cfg.Fronts {
		if _, ok := c.bots[front.Platform]; !ok {
			c.bots[front.Platform] = front.BotID
		}
		hello := Hello{Type: TypeHello, Platform: front.Platform, BotID: front.BotID}
		if front.Platform == "discord" {
			hello.Manifest = c.cfg.Commands.list
		}
		c.sendFrame(context.Background(), hello) // see above
	}
}
