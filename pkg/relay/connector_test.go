package relay_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipeListener is a net.Listener whose dial returns one end of a net.Pipe.
type pipeListener struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
	writes   atomic.Int64 // by those who dialled
}

func newPipeListener() *pipeListener {
	return &pipeListener{accepted: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.accepted <- far:
		return countingConn{near, &l.writes}, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// connector is a fake: the upgrade is real, the wire an in-memory pipe, so it also runs in a synctest bubble.
type connector struct {
	listener *pipeListener
	status   int        // of a refused upgrade; 0 takes it
	peers    chan *peer // one for each upgrade taken
}

func newConnector(t testing.TB) *connector {
	c := &connector{listener: newPipeListener(), peers: make(chan *peer, 1)}
	srv := &httptest.Server{Listener: c.listener, Config: &http.Server{Handler: http.HandlerFunc(c.upgrade)}}
	srv.Start()
	t.Cleanup(srv.Close)
	return c
}

func (c *connector) upgrade(w http.ResponseWriter, r *http.Request) {
	if c.status != 0 {
		http.Error(w, r.Header.Get("Authorization"), c.status) // a connector without manners
		return
	}
	upgrader := websocket.Upgrader{EnableCompression: true}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c.peers <- &peer{ws: ws, header: r.Header, lines: make(chan string, 10_000), ended: make(chan error, 1)}
}

func (c *connector) config() relay.Config {
	return relay.Config{
		URL:     "ws://connector/relay",
		Fronts:  []relay.Front{{Platform: "discord", BotID: "bot-d"}},
		NetDial: c.listener.dial,
	}
}

// peer is the connector's end of one socket.
type peer struct {
	ws     *websocket.Conn
	header http.Header
	lines  chan string // what has come, once it listens; closed at the end
	ended  chan error  // why it was the end
	writes *atomic.Int64
}

// listen starts reading. What is not exactly one line to a message shows as such in lines.
func (p *peer) listen() {
	go func() {
		defer close(p.lines)
		for {
			_, message, err := p.ws.ReadMessage()
			if err != nil {
				p.ended <- err
				return
			}
			line, found := bytes.CutSuffix(message, []byte("\n"))
			if !found || bytes.Contains(line, []byte("\n")) {
				line = []byte("not one line: " + string(message))
			}
			p.lines <- string(line)
		}
	}()
}

// send writes each line as one message.
func (p *peer) send(t testing.TB, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if err := p.ws.WriteMessage(websocket.TextMessage, []byte(line+"\n")); err != nil {
			t.Error(err)
			return
		}
	}
}

// sendAtOnce puts the messages into one write.
func (p *peer) sendAtOnce(t testing.TB, lines ...string) {
	t.Helper()
	var out []byte
	for _, line := range lines {
		out = append(out, 0x81, 126, byte((len(line)+1)>>8), byte(len(line)+1))
		out = append(append(out, line...), '\n')
	}
	if _, err := p.ws.NetConn().Write(out); err != nil {
		t.Error(err)
	}
}

func (p *peer) close(code int, reason string) {
	p.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Time{})
}

// dialDeaf returns a Conn that has its descriptor, and the connector's end, which has read one hello and then nothing
// more until it is told to listen. Options may change the Config.
func dialDeaf(t testing.TB, options ...func(*relay.Config)) (*relay.Conn, *peer) {
	t.Helper()
	c := newConnector(t)
	cfg := c.config()
	for _, option := range options {
		option(&cfg)
	}
	met := make(chan *peer, 1)
	go func() {
		p := <-c.peers
		p.ws.ReadMessage()
		p.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"descriptor","descriptor":{"platform":"discord"}}`+"\n"))
		met <- p
	}()
	conn, err := relay.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := <-met
	p.writes = &c.listener.writes
	t.Cleanup(func() { hangUp(conn, p) })
	return conn, p
}

// dial is dialDeaf, and the peer listens.
func dial(t testing.TB, options ...func(*relay.Config)) (*relay.Conn, *peer) {
	t.Helper()
	conn, p := dialDeaf(t, options...)
	p.listen()
	return conn, p
}

// hangUp ends both ends, whatever the test has left them at.
func hangUp(conn *relay.Conn, p *peer) {
	p.ws.Close()
	conn.Close(context.Background())
}

// inbound is a buffered event; text is its text.
func inbound(bufferID, text string) string {
	return `{"type":"inbound","event":{"text":"` + text + `","source":{"platform":"discord","chat_id":"c"}},"bufferId":"` +
		bufferID + `"}`
}

func ack(bufferID string) string { return `{"type":"inbound_ack","bufferId":"` + bufferID + `"}` }

// requestID finds the id in an outbound line.
func requestID(line string) string {
	_, rest, _ := strings.Cut(line, `"requestId":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

func succeed(line string) string {
	return `{"type":"outbound_result","requestId":"` + requestID(line) + `","result":{"success":true,"message_id":"m"}}`
}

func send(content string) relay.Outbound {
	return relay.Outbound{Platform: "discord", Action: relay.Action{"op": "send", "chat_id": "c", "content": content}}
}

// receive wants n deliveries at once, without a wait.
func receive(t testing.TB, conn *relay.Conn, n int) []relay.Delivery {
	t.Helper()
	is := is.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []relay.Delivery
	for range n {
		d, err := conn.Receive(ctx)
		is.NoErr(err)
		got = append(got, d)
	}
	return got
}

// ending waits for the error that ends a Conn whose deliveries have all been received.
func ending(t testing.TB, conn *relay.Conn) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	_, err := conn.Receive(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("the Conn has not ended")
	}
	return err
}
