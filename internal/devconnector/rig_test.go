package devconnector_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	id       = "gw-1"
	secret   = "s3cret-canary"
	identity = "identity-canary"
	wakeURL  = "https://wake.example/w/path-canary"
)

// rig is a Connector on an in-memory listener, with its pokes caught.
type rig struct {
	t     testing.TB
	c     *devconnector.Connector
	ln    *pipenet.Listener
	pokes chan string // URLs poked

	mu     sync.Mutex
	status int // what the wake URL answers; 0: nothing before its time is up
}

func pinned() devconnector.Gateway {
	return devconnector.Gateway{ID: id, Tenant: "t", Secrets: []relay.Secret{relay.NewSecret(secret)}, WakeURL: wakeURL}
}

// start serves a Connector with one pinned gateway, asleep, unless cfg names others.
func start(t testing.TB, cfg devconnector.Config) *rig {
	r := &rig{t: t, ln: pipenet.Listen(), pokes: make(chan string, 100), status: http.StatusAccepted}
	if cfg.Gateways == nil {
		gw := pinned()
		gw.Asleep = true
		cfg.Gateways = []devconnector.Gateway{gw}
	}
	if cfg.Identities == nil {
		cfg.Identities = map[string]string{identity: "t", "other-identity": "other"}
	}
	if cfg.Poke == nil {
		cfg.Poke = r.poke
	}
	r.c = devconnector.New(cfg)
	srv := &httptest.Server{Listener: r.ln, Config: &http.Server{Handler: r.c}}
	srv.Start()
	t.Cleanup(func() {
		if err := r.c.Close(context.Background()); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return r
}

func (r *rig) poke(ctx context.Context, url string) (int, error) {
	r.pokes <- url
	r.mu.Lock()
	status := r.status
	r.mu.Unlock()
	if status == 0 {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return status, nil
}

func (r *rig) answerPokes(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// poked says how many pokes came since it was last asked, once everything has settled.
func (r *rig) poked() int {
	synctest.Wait()
	n := len(r.pokes)
	for range n {
		<-r.pokes
	}
	return n
}

// mint is a third reading of section 2.
func mint(id, secret string, exp int64) string {
	signed := fmt.Sprintf("%s:%d", id, exp)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return base64.RawURLEncoding.EncodeToString([]byte(signed + ":" + hex.EncodeToString(mac.Sum(nil))))
}

func freshToken() string { return mint(id, secret, time.Now().Unix()+300) }

// peer is a bare WebSocket client.
type peer struct {
	t      testing.TB
	ws     *websocket.Conn
	frames chan map[string]any
	ended  chan struct{}
	err    error // once ended
}

func (r *rig) upgrade(path, token string) (*websocket.Conn, int, error) {
	dialer := websocket.Dialer{NetDialContext: r.ln.Dial}
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	ws, resp, err := dialer.Dial("ws://connector"+path, header)
	if resp == nil {
		return nil, 0, err
	}
	return ws, resp.StatusCode, err
}

// dial opens a socket without saying hello.
func (r *rig) dial(token string) *peer {
	r.t.Helper()
	ws, status, err := r.upgrade("/relay", token)
	if err != nil {
		r.t.Fatalf("dial: HTTP %d: %v", status, err)
	}
	p := &peer{t: r.t, ws: ws, frames: make(chan map[string]any, 10_000), ended: make(chan struct{})}
	go p.read()
	r.t.Cleanup(func() {
		ws.Close()
		<-p.ended
	})
	return p
}

// connect dials, says hello for each platform and takes the descriptors.
func (r *rig) connect(platforms ...string) *peer {
	r.t.Helper()
	if platforms == nil {
		platforms = []string{"discord"}
	}
	p := r.dial(freshToken())
	for _, platform := range platforms {
		p.hello(platform)
	}
	for range platforms {
		p.expect("descriptor")
	}
	known, _ := devconnector.PresetNamed(r.c.State().Preset) // a preset of one's own sends no odd frames
	for range known.OddFrames {
		p.expect("error")
	}
	return p
}

func preset(t testing.TB, name string) devconnector.Preset {
	t.Helper()
	p, err := devconnector.PresetNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// buffering are the presets that buffer at all.
func buffering(t testing.TB) []string {
	return slices.DeleteFunc(devconnector.PresetNames(), func(name string) bool { return preset(t, name).LiveOnly })
}

// checking are the presets that look at credentials.
func checking(t testing.TB) []string {
	return slices.DeleteFunc(devconnector.PresetNames(), func(name string) bool { return preset(t, name).NoCredentials })
}

func (p *peer) read() {
	defer close(p.ended)
	var buf []byte
	for {
		_, message, err := p.ws.ReadMessage()
		if err != nil {
			p.err = err
			return
		}
		buf = append(buf, message...)
		for {
			line, rest, ok := bytes.Cut(buf, []byte("\n"))
			if !ok {
				break
			}
			buf = rest
			var frame map[string]any
			if json.Unmarshal(line, &frame) != nil {
				frame = map[string]any{"type": "garbage"}
			}
			p.frames <- frame
		}
	}
}

// next waits for a frame.
func (p *peer) next() map[string]any {
	p.t.Helper()
	select {
	case frame := <-p.frames:
		return frame
	default:
	}
	select {
	case frame := <-p.frames:
		return frame
	case <-p.ended:
		p.t.Fatalf("the socket ended: %v", p.err)
		return nil
	}
}

// expect waits for a frame, which has to be of that type.
func (p *peer) expect(kind string) map[string]any {
	p.t.Helper()
	frame := p.next()
	if frame["type"] != kind {
		p.t.Fatalf("got %v, want a %s", frame, kind)
	}
	return frame
}

// bufferID waits for an inbound and returns its buffer id.
func (p *peer) bufferID() string {
	p.t.Helper()
	buffered, _ := p.expect("inbound")["bufferId"].(string)
	return buffered
}

// quiet says whether nothing more comes.
func (p *peer) quiet() bool {
	synctest.Wait()
	return len(p.frames) == 0
}

func (p *peer) send(line string) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.TextMessage, []byte(line+"\n")); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) hello(platform string) {
	p.t.Helper()
	p.send(fmt.Sprintf(`{"type":"hello","platform":%q,"botId":"bot-%s"}`, platform, platform))
}

func (p *peer) ack(bufferID string) {
	p.t.Helper()
	p.send(fmt.Sprintf(`{"type":"inbound_ack","bufferId":%q}`, bufferID))
}

// goIdle asks to be buffered for, and takes the ack.
func (p *peer) goIdle() {
	p.t.Helper()
	p.send(`{"type":"going_idle"}`)
	p.expect("going_idle_ack")
}

// leave ends the socket with a close frame.
func (p *peer) leave() {
	p.t.Helper()
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := p.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)); err != nil {
		p.t.Fatal(err)
	}
	<-p.ended
	synctest.Wait()
}

// closed waits for the end and returns the close code and reason; 1006 if there was no close frame.
func (p *peer) closed() (code int, reason string) {
	<-p.ended
	var end *websocket.CloseError
	if errors.As(p.err, &end) && end.Code != websocket.CloseAbnormalClosure {
		return end.Code, end.Text
	}
	return websocket.CloseAbnormalClosure, ""
}

// do sends an action and returns its result.
func (p *peer) do(platform, bot, action string) map[string]any {
	p.t.Helper()
	p.send(outbound(fmt.Sprintf("%032x", len(action)), platform, bot, action))
	return p.expect("outbound_result")["result"].(map[string]any)
}

func outbound(request, platform, bot, action string) string {
	tags := ""
	if platform != "" {
		tags = fmt.Sprintf(`,"platform":%q`, platform)
	}
	if bot != "" {
		tags += fmt.Sprintf(`,"botId":%q`, bot)
	}
	return fmt.Sprintf(`{"type":"outbound","requestId":%q,"action":%s%s}`, request, action, tags)
}

// event is a message in a Discord channel of guild-1, by user-1.
func event(chat, message string) relay.Event {
	return relay.Event{Text: "text-canary " + message, MessageType: "text", MessageID: message, Source: relay.Source{
		Platform: "discord", ChatID: chat, ChatType: "group", UserID: "user-1", UserName: "Ann", ScopeID: "guild-1"}}
}

// fetch makes an HTTP request and returns status and body.
func (r *rig) fetch(method, path, bearer string, body []byte, headers ...string) (int, []byte, http.Header) {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://connector"+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DialContext: r.ln.Dial, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, got, resp.Header
}
