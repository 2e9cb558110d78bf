package conform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	largestTrace = 400 // characters of a frame in Result.Frames
	mostTraces   = 200
)

// trial is one run of one check.
type trial struct {
	ctx   context.Context
	cfg   Config
	check Check
	peers []*peer
	chats int
	facts facts
	after func() // undoes what the check did; nil: nothing

	mu     sync.Mutex // guards frames
	frames []string
}

// close undoes what has to be undone, ends the trial's sockets, and waits for their readers.
func (t *trial) close() {
	if t.after != nil {
		t.after()
	}
	for _, p := range t.peers {
		p.leave()
	}
}

func (t *trial) trace(way, line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if line = strings.TrimRight(line, "\n"); len([]rune(line)) > largestTrace {
		line = fmt.Sprintf("%s... (%d bytes)", string([]rune(line)[:largestTrace]), len(line))
	}
	if len(t.frames) < mostTraces {
		t.frames = append(t.frames, way+" "+line)
	}
}

// ending is how a socket ended; code 0: it has not.
type ending struct {
	code   int
	reason string
}

func (e ending) String() string {
	switch {
	case e.code == 0:
		return "no close"
	case e.code == websocket.CloseAbnormalClosure:
		return "the connection broke without a close frame"
	}
	return strings.TrimSpace(fmt.Sprintf("close %d %s", e.code, e.reason))
}

// peer is one socket to the connector.
type peer struct {
	t      *trial
	ws     *websocket.Conn
	got    chan frame
	ended  chan struct{}
	end    ending // once ended
	pongs  chan string
	frozen atomic.Bool  // it answers no ping
	pinged atomic.Bool  // by the connector
	kinds  map[int]bool // of messages, once ended or quiet
	ragged bool         // a message that did not end in a newline
	mu     sync.Mutex
}

// refused is a dial that got no socket.
type refused struct {
	status int // of HTTP; 0: nobody answered
	err    error
}

func (r *refused) Error() string {
	if r.status == 0 {
		return fmt.Sprintf("the connector cannot be reached: %v", r.err)
	}
	return fmt.Sprintf("HTTP %d to the upgrade", r.status)
}

// token is a fresh upgrade token, or "".
func (t *trial) token() string {
	if !t.cfg.Secret.Usable() {
		return ""
	}
	return relay.UpgradeToken(t.cfg.GatewayID, t.cfg.Secret, time.Now(), 5*time.Minute).Reveal()
}

// dial opens a socket with a fresh token. Without an error it is open.
func (t *trial) dial() (*peer, error) { return t.dialWith(t.token(), "") }

// dialWith opens a socket. suffix goes behind the path.
func (t *trial) dialWith(token, suffix string) (*peer, error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.Wait)
	defer cancel()
	dialer := websocket.Dialer{NetDialContext: t.cfg.NetDial, HandshakeTimeout: t.cfg.Wait}
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	t.trace(">", "GET /relay"+suffix+" (upgrade)")
	ws, resp, err := dialer.DialContext(ctx, relay.NewBaseURL(t.cfg.URL).RelayURL()+suffix, header)
	if err != nil {
		refusal := &refused{err: err}
		if resp != nil {
			refusal.status = resp.StatusCode
			resp.Body.Close()
		}
		t.trace("<", refusal.Error())
		return nil, refusal
	}
	t.trace("<", "HTTP 101")
	p := &peer{t: t, ws: ws, got: make(chan frame, 4096), ended: make(chan struct{}), pongs: make(chan string, 16), kinds: map[int]bool{}}
	ws.SetPongHandler(func(data string) error {
		select {
		case p.pongs <- data:
		default:
		}
		return nil
	})
	pong := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		p.pinged.Store(true)
		if p.frozen.Load() {
			return nil
		}
		return pong(data)
	})
	go p.read()
	t.peers = append(t.peers, p)
	return p, nil
}

func (p *peer) read() {
	defer close(p.ended)
	var rest []byte
	for {
		kind, message, err := p.ws.ReadMessage()
		if err != nil {
			p.end = ending{code: websocket.CloseAbnormalClosure}
			if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
				p.end = ending{closed.Code, closed.Text}
			}
			p.t.trace("<", p.end.String())
			return
		}
		p.mu.Lock()
		p.kinds[kind] = true
		p.ragged = p.ragged || !bytes.HasSuffix(message, []byte("\n"))
		p.mu.Unlock()
		rest = append(rest, message...)
		for {
			line, after, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				break
			}
			rest = after
			if line = bytes.TrimSpace(line); len(line) > 0 {
				p.take(string(line))
			}
		}
	}
}

func (p *peer) take(line string) {
	p.t.trace("<", line)
	var f frame
	if json.Unmarshal([]byte(line), &f) != nil {
		f = frame{Type: "(no frame)"}
	}
	f.line = line
	select {
	case p.got <- f:
	default: // more than any check looks at
	}
}

// leave ends the socket with a close frame.
func (p *peer) leave() {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	p.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
	}
	p.cut()
}

// cut ends the connection without a close frame.
func (p *peer) cut() {
	p.ws.NetConn().Close()
	<-p.ended
}

// send writes a frame, whose newline it adds.
func (p *peer) send(format string, args ...any) { p.raw(fmt.Sprintf(format, args...) + "\n") }

func (p *peer) raw(message string) { p.write(websocket.TextMessage, message) }

func (p *peer) write(kind int, message string) {
	p.t.trace(">", message)
	_ = p.ws.SetWriteDeadline(time.Now().Add(p.t.cfg.Wait))
	_ = p.ws.WriteMessage(kind, []byte(message)) // the reader sees what comes of a failure
}

// next waits at most d for a frame. ok is false if none came.
func (p *peer) next(d time.Duration) (f frame, ok bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case f = <-p.got:
		return f, true
	default:
	}
	select {
	case f = <-p.got:
		return f, true
	case <-p.ended:
		select {
		case f = <-p.got:
			return f, true
		default:
			return frame{}, false
		}
	case <-timer.C:
	case <-p.t.ctx.Done():
	}
	return frame{}, false
}

// await waits at most d for a frame that is wanted, and passes over others. What comes for a chat that is not this trial's is
// acked, so that it holds up nothing.
func (p *peer) await(d time.Duration, wanted func(frame) bool) (frame, bool) {
	deadline := time.Now().Add(d)
	for {
		f, ok := p.next(time.Until(deadline))
		if !ok {
			return frame{}, false
		}
		if wanted(f) {
			return f, true
		}
		p.clear(f)
	}
}

// clear acks a delivery that is left over from something else.
func (p *peer) clear(f frame) {
	if f.bufferID() == "" || f.Type != relay.TypeInbound && f.Type != relay.TypePassthrough {
		return
	}
	if !p.t.owns(f.about()) {
		p.ack(f.bufferID())
	}
}

// expect waits for a frame of that type.
func (p *peer) expect(kind string) (frame, error) {
	f, ok := p.await(p.t.cfg.Wait, func(f frame) bool { return f.Type == kind })
	if !ok {
		return frame{}, p.nothing("no " + kind)
	}
	return f, nil
}

// closes waits for the connector's close.
func (p *peer) closes() ending {
	timer := time.NewTimer(p.t.cfg.Wait)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.end
	case <-timer.C:
		return ending{}
	}
}

// open says whether the socket still is.
func (p *peer) open() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// nothing is the failure of something that did not come.
func (p *peer) nothing(what string) error {
	if !p.open() {
		return fmt.Errorf("%s, but %v", what, p.end)
	}
	return fmt.Errorf("%s within %v", what, p.t.cfg.Wait)
}

func (p *peer) hello(platform string) {
	p.send(`{"type":"hello","platform":%q,"botId":%q}`, platform, p.t.cfg.BotID)
}

func (p *peer) ack(id string) { p.send(`{"type":"inbound_ack","bufferId":%q}`, id) }

// act sends an action and waits for its result.
func (p *peer) act(platform, action string) (map[string]any, error) {
	return p.actAs(requestID(), platform, action)
}

func (p *peer) actAs(id, platform, action string) (map[string]any, error) {
	tag := ""
	if platform != "" {
		tag = fmt.Sprintf(`,"platform":%q`, platform)
	}
	p.send(`{"type":"outbound","requestId":%q,"action":%s%s}`, id, action, tag)
	f, ok := p.await(p.t.cfg.Wait, func(f frame) bool { return f.Type == relay.TypeResult && f.RequestID == id })
	if !ok {
		return nil, p.nothing("no outbound_result of that requestId")
	}
	var result map[string]any
	if json.Unmarshal(f.Result, &result) != nil || result == nil {
		return nil, fmt.Errorf("a result that is no object: %s", f.line)
	}
	return result, nil
}
