package conform_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// scratch is a small gateway, an echo. fault is the id of the check whose sentence it breaks, or "".
type scratch struct {
	fault string

	ln        *pipenet.Listener
	platforms []string
	secret    relay.Secret
	seen      map[string]bool // messages that were answered
	asked     int             // requestIds given out
	refused   bool            // by the last dial
	mute      bool
	mu        sync.Mutex // guards writes
}

func (s *scratch) breaks(check string) bool { return s.fault == check }

func (s *scratch) run(ctx context.Context, ln *pipenet.Listener, platforms []string) {
	s.ln, s.platforms, s.seen, s.secret = ln, platforms, map[string]bool{}, relay.NewSecret(secret)
	s.provision(ctx)
	token := ""
	for dialled := 0; ctx.Err() == nil; dialled++ {
		if token == "" || !s.breaks("gateway-token") {
			token = s.token()
		} else {
			token = "stale"
		}
		dialer := websocket.Dialer{NetDialContext: ln.Dial}
		ws, resp, err := dialer.DialContext(ctx, "ws://connector/relay", http.Header{"Authorization": {"Bearer " + token}})
		if err != nil {
			if resp != nil {
				resp.Body.Close()
			}
			continue
		}
		stop := context.AfterFunc(ctx, func() { ws.NetConn().Close() })
		end := s.serve(ctx, ws)
		stop()
		ws.Close()
		wait := s.wait(end)
		if wait == 0 {
			<-ctx.Done()
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (s *scratch) token() string {
	return relay.UpgradeToken(gatewayID, s.secret, time.Now(), time.Minute).Reveal()
}

// wait says how long to wait before the next dial; 0: for ever.
func (s *scratch) wait(end websocket.CloseError) time.Duration {
	switch {
	case end.Code == 4401 && s.breaks("gateway-expired"), end.Code == 1008 && s.breaks("gateway-ghost"), end.Code == 1000 && s.breaks("gateway-wake"):
		return 0
	case end.Code == 4401 && end.Text != "expired" && !s.breaks("gateway-revoked"):
		if s.refused {
			return 0
		}
		s.refused = true
	case end.Code == 1013 && !s.breaks("gateway-suspended"):
		return 15 * time.Second
	}
	return time.Second
}

// client reaches the connector under each host.
func (s *scratch) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: s.ln.Dial, DisableKeepAlives: true}}
}

func (s *scratch) provision(ctx context.Context) {
	for n, platform := range s.platforms {
		if n > 0 && s.breaks("gateway-provision") {
			return
		}
		body := fmt.Appendf(nil, `{"gatewayId":%q,"platform":%q,"botId":%q,"gatewayEndpoint":"","routeKeys":[]}`, gatewayID, platform, "bot-"+platform)
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://connector/relay/provision", bytes.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+identity)
		resp, err := s.client().Do(req)
		if err != nil {
			return
		}
		var answer struct{ Secret string }
		if json.NewDecoder(resp.Body).Decode(&answer) == nil && answer.Secret != "" {
			s.secret = relay.NewSecret(answer.Secret)
		}
		resp.Body.Close()
	}
}

// fetch asks for an attachment.
func (s *scratch) fetch(ctx context.Context, at string) {
	u, err := url.Parse(at)
	if err != nil || s.breaks("gateway-media") {
		return
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if u.Host == "connector" || s.breaks("gateway-media-elsewhere") {
		req.Header.Set("Authorization", "Bearer "+s.token())
	}
	if resp, err := s.client().Do(req); err == nil {
		resp.Body.Close()
	}
}

// socket is one connection of a scratch gateway.
type socket struct {
	*scratch
	ctx  context.Context
	ws   *websocket.Conn
	sent map[string]string // lines, by requestId
}

// serve answers until the socket ends, and says how. After a minute of silence it goes to sleep.
func (s *scratch) serve(ctx context.Context, ws *websocket.Conn) websocket.CloseError {
	c := &socket{s, ctx, ws, map[string]string{}}
	if s.breaks("gateway-hello") {
		c.send(`{"type":"interrupt","session_key":"k","reason":null}`)
	}
	for n, platform := range s.platforms {
		if n == 0 || !s.breaks("gateway-several") {
			c.send(`{"type":"hello","platform":%q,"botId":%q}`, platform, "bot-"+platform)
		}
	}
	var rest []byte
	for {
		leave := time.AfterFunc(time.Minute, c.leave)
		_, raw, err := ws.ReadMessage()
		leave.Stop()
		if err != nil {
			if end, ok := errors.AsType[*websocket.CloseError](err); ok {
				return *end
			}
			return websocket.CloseError{Code: 1006}
		}
		if s.breaks("gateway-large") && len(raw) > 100_000 {
			return websocket.CloseError{Code: 1009}
		}
		if rest = append(rest, raw...); s.breaks("gateway-cut") {
			rest = append(bytes.Clone(raw), '\n')
		}
		for {
			line, after, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				break
			}
			rest = after
			if code := c.take(bytes.Clone(line)); code != 0 {
				return websocket.CloseError{Code: code}
			}
		}
	}
}

func (c *socket) leave() {
	if c.breaks("gateway-idle") {
		c.ws.NetConn().Close()
		return
	}
	c.send(`{"type":"going_idle"}`)
	time.AfterFunc(time.Minute, func() { c.send(`{"type":"going_idle"}`) })
	if c.breaks("gateway-idle-unacked") {
		time.AfterFunc(time.Second, func() { c.ws.NetConn().Close() })
	}
}

// take handles a line. A code ends the socket.
func (c *socket) take(line []byte) (code int) {
	f := frameOf(string(line))
	id, _ := f["bufferId"].(string)
	switch f["type"] {
	case "inbound":
		event := member(f, "event")
		if member(event, "source")["chat_id"] == nil {
			return 0
		}
		if id != "" && !c.breaks("gateway-ack") && !c.breaks("gateway-order") {
			c.send(`{"type":"inbound_ack","bufferId":%q}`, id)
		}
		c.event(event)
	case "outbound_result":
		c.result(fmt.Sprint(f["requestId"]), member(f, "result"))
	case "passthrough_forward":
		if id != "" && !c.breaks("gateway-forward") {
			c.send(`{"type":"inbound_ack","bufferId":%q}`, id)
		}
		if c.breaks("gateway-autocomplete") || c.breaks("gateway-prompt-button") {
			c.sayIn(f)
		}
	case "interrupt_inbound":
		if c.breaks("gateway-interrupt") {
			c.mute = true // it does not answer the next message
		}
	case "descriptor":
		if _, odd := member(f, "descriptor")["conform"]; odd && c.breaks("gateway-descriptor") {
			return 1002
		}
	case "going_idle_ack":
		return 1000
	case nil:
		if c.breaks("gateway-garbage") && len(line) > 0 {
			return 1006
		}
	}
	return 0
}

// sayIn says something in the channel of an interaction.
func (c *socket) sayIn(f map[string]any) {
	var forward struct {
		Body []byte `json:"bodyB64"`
	}
	raw, _ := json.Marshal(f["forward"])
	if json.Unmarshal(raw, &forward) == nil {
		c.say("discord", fmt.Sprint(frameOf(string(forward.Body))["channel_id"]), nil, "hi")
	}
}

// event answers a message.
func (c *socket) event(event map[string]any) {
	source, key := member(event, "source"), fmt.Sprint(event["message_id"])
	again := c.seen[key] && !c.breaks("gateway-once") && !c.breaks("gateway-again")
	_, chosen := event["prompt_response"]
	switch {
	case c.mute:
		c.mute = false
		return
	case again, c.breaks("gateway-answer"), chosen && !c.breaks("gateway-prompt"),
		source["user_name"] == nil && c.breaks("gateway-sparse"):
		return
	}
	c.seen[key], c.refused = true, false
	urls, _ := event["media_urls"].([]any)
	for _, at := range urls {
		c.fetch(c.ctx, fmt.Sprint(at))
	}
	platform, text := fmt.Sprint(source["platform"]), fmt.Sprint(event["text"])
	for len(text) > 1000 && !c.breaks("gateway-split") {
		c.reply(platform, event, text[:1000])
		text = text[1000:]
	}
	c.reply(platform, event, text)
}

func (c *socket) reply(platform string, event map[string]any, text string) {
	source := member(event, "source")
	more := map[string]any{"reply_to": event["message_id"], "metadata": map[string]any{"user_id": source["user_id"], "scope_id": source["scope_id"]}}
	if c.breaks("gateway-reply-to") {
		more["reply_to"] = nil
	}
	if c.breaks("gateway-routing") {
		more["metadata"] = map[string]any{}
	}
	c.say(platform, fmt.Sprint(source["chat_id"]), more, text)
}

// say sends a text to a chat.
func (c *socket) say(platform, chat string, more map[string]any, text string) {
	op := "send"
	if c.breaks("gateway-ops") {
		op = "task_card"
		defer func() { c.act(platform, chat, more, "send", text) }()
	}
	c.act(platform, chat, more, op, text)
}

func (c *socket) act(platform, chat string, more map[string]any, op, text string) {
	c.asked++
	id := fmt.Sprintf("%032x", c.asked)
	switch {
	case c.breaks("gateway-frames"):
		id = fmt.Sprint(c.asked)
	case c.breaks("gateway-requests"):
		id = strings.Repeat("a", 32)
	}
	action := map[string]any{"op": op, "chat_id": chat, "content": text}
	for name, value := range more {
		action[name] = value
	}
	f := map[string]any{"type": "outbound", "requestId": id, "action": action, "platform": platform, "botId": "bot-" + platform}
	if c.breaks("gateway-platform") {
		delete(f, "platform")
		delete(f, "botId")
	}
	if c.breaks("gateway-bot") {
		c.send(`{"type":"outbound","requestId":"%032x","action":{"op":"typing","chat_id":%q},"platform":%q,"botId":"bot-another"}`, c.asked<<32, chat, platform)
	}
	line, _ := json.Marshal(f)
	c.sent[id] = string(line)
	c.send("%s", line)
	if c.breaks("gateway-late") {
		time.AfterFunc(30*time.Second, func() { c.send("%s", strings.Replace(string(line), id, strings.Repeat("c", 32), 1)) })
	}
}

// result sends again what was refused in a way that calls for it.
func (c *socket) result(id string, result map[string]any) {
	line, known := c.sent[id]
	declined, ambiguous := result["code"] == "egress_declined", result["ambiguous"] == true
	repeat := !declined && !ambiguous && !c.breaks("gateway-limited") ||
		declined && c.breaks("gateway-declined") || ambiguous && c.breaks("gateway-ambiguous")
	if known && result["success"] == false && repeat {
		delete(c.sent, id)
		c.send("%s", strings.Replace(line, id, strings.Repeat("b", 32), 1))
	}
}

func (s *socket) send(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format+"\n", args...))
}

// lenient takes actions for each chat, so that a fault breaks no more than its own sentence.
func lenient() devconnector.Preset {
	preset := devconnector.Hosted()
	preset.Routing = devconnector.RouteAny
	return preset
}

// Each check of gateways passes without the fault, and finds it.
func TestEachGatewayCheckFindsItsFault(t *testing.T) {
	for _, c := range conform.GatewayCatalogue() {
		t.Run(c.ID, func(t *testing.T) {
			report := checkGateway(t, lenient(), []string{c.ID}, new(scratch).run)
			if last := report.Checks[len(report.Checks)-1]; last.Status != conform.Pass {
				t.Errorf("without the fault: %s %s: %s\n%s", last.Status, last.ID, last.Observed, strings.Join(last.Frames, "\n"))
			}
			report = checkGateway(t, lenient(), []string{c.ID}, (&scratch{fault: c.ID}).run)
			if last := report.Checks[len(report.Checks)-1]; last.ID != c.ID && c.ID != "gateway-answer" || last.Status != conform.Fail {
				t.Errorf("%s %s: %s\n%s", last.Status, last.ID, last.Observed, strings.Join(last.Frames, "\n"))
			}
		})
	}
}
