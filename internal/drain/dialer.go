package drain

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"slices"
	"sync"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// dialer dials the connector, for provisioning and for the socket. It can open connections ahead, while the lease is
// asked for, so that their TCP and TLS handshakes cost no time afterwards.
type dialer struct {
	dial relay.DialFunc
	addr string

	mu        sync.Mutex
	ahead     []chan net.Conn // each gives one connection, or nil if dialling failed
	encrypted func()          // is called when a connection has TLS; may be nil
}

// newDialer returns the dialer for a connector. dial opens one connection, with TLS where the URL asks for it; nil means
// the network.
func newDialer(connector relay.BaseURL, dial relay.DialFunc) *dialer {
	d := &dialer{dial: dial}
	u, err := url.Parse(connector.RelayURL())
	if err != nil {
		return d // relay.Dial says what is wrong with it
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	}
	d.addr = net.JoinHostPort(u.Hostname(), port)
	switch {
	case dial != nil:
	case u.Scheme == "wss":
		d.dial = d.dialTLS
	default:
		d.dial = new(net.Dialer).DialContext
	}
	return d
}

func (d *dialer) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&tls.Dialer{Config: &tls.Config{NextProtos: []string{"http/1.1"}}}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	tell := d.encrypted
	d.mu.Unlock()
	if tell != nil {
		tell()
	}
	return conn, nil
}

// onTLS has f called for each connection from now on that has TLS. The run before is told no more.
func (d *dialer) onTLS(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.encrypted = f
}

// open opens n connections ahead. closeUnused closes those of them that were not taken: they would age while the sandbox
// is frozen.
func (d *dialer) open(ctx context.Context, n int) (closeUnused func()) {
	ctx, cancel := context.WithCancel(ctx)
	opening := make([]chan net.Conn, n)
	var dialling sync.WaitGroup
	for i := range opening {
		c := make(chan net.Conn, 1)
		opening[i] = c
		dialling.Go(func() {
			conn, err := d.dial(ctx, "tcp", d.addr)
			if err != nil {
				conn = nil // DialContext dials again, and returns the error
			}
			c <- conn
		})
	}
	d.mu.Lock()
	d.ahead = append(d.ahead, opening...)
	d.mu.Unlock()
	return func() {
		cancel()
		dialling.Wait()
		for _, c := range d.withdraw(opening) {
			if conn := <-c; conn != nil {
				conn.Close()
			}
		}
	}
}

// DialContext hands out a connection that was opened ahead, or dials.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if c := d.take(addr); c != nil {
		select {
		case conn := <-c:
			if conn != nil {
				return conn, nil
			}
		case <-ctx.Done():
			d.mu.Lock()
			d.ahead = append(d.ahead, c)
			d.mu.Unlock()
			return nil, context.Cause(ctx)
		}
	}
	return d.dial(ctx, network, addr)
}

// take returns the oldest connection that was opened ahead; nil if there is none to addr.
func (d *dialer) take(addr string) chan net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if addr != d.addr || len(d.ahead) == 0 {
		return nil
	}
	c := d.ahead[0]
	d.ahead = d.ahead[1:]
	return c
}

// withdraw takes those of opening that nobody has taken.
func (d *dialer) withdraw(opening []chan net.Conn) (unused []chan net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ahead = slices.DeleteFunc(d.ahead, func(c chan net.Conn) bool {
		found := slices.Contains(opening, c)
		if found {
			unused = append(unused, c)
		}
		return found
	})
	return unused
}
