package conform_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/conform"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// fault is one thing that a connector does wrong: by its preset, or by what a proxy before it does to the wire.
type fault struct {
	preset func(*devconnector.Preset)
	dial   func(r *http.Request) (status int)                    // may change a request, upgrades included; a status refuses it
	answer func(r *http.Request, rec *httptest.ResponseRecorder) // changes what a route answers
	up     func(s *session, message string) (pass []string)      // from the gateway
	down   func(s *session, line string) (pass []string)         // from the connector
	close  func(code int, reason string) (int, string)           // of the connector
	deaf   bool                                                  // to pings
	binary func(s *session)
}

// session is one proxied socket.
type session struct {
	near, far *websocket.Conn
	mu        sync.Mutex // guards writes to near
	number    int
	last      atomic.Value // bufferId that went down last
	seen      map[string]int
	poke      func() // the wake URL
}

// tell sends lines to the gateway, as the connector would.
func (s *session) tell(message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.near.WriteMessage(websocket.TextMessage, []byte(message))
}

// end closes the gateway's socket, as the connector would.
func (s *session) end(code int) []string {
	s.near.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
	s.far.NetConn().Close()
	return nil
}

// proxy puts the fault between a gateway and a connector.
func (f fault) proxy(inner http.Handler, poke func()) (handler http.Handler, end func()) {
	var sessions atomic.Int64
	ln := pipenet.Listen()
	srv := serve(ln, inner)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number := int(sessions.Add(1))
		if f.dial != nil {
			if status := f.dial(r); status != 0 {
				w.WriteHeader(status)
				return
			}
		}
		if !websocket.IsWebSocketUpgrade(r) {
			f.route(inner, w, r)
			return
		}
		dialer := websocket.Dialer{NetDialContext: ln.Dial}
		far, resp, err := dialer.DialContext(context.Background(), "ws://connector"+r.URL.Path, http.Header{"Authorization": r.Header["Authorization"]})
		if err != nil {
			if resp == nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			w.WriteHeader(resp.StatusCode)
			return
		}
		upgrader := websocket.Upgrader{}
		near, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		f.pump(&session{near: near, far: far, number: number, seen: map[string]int{}, poke: poke})
	}), srv.Close
}

// route serves what is no upgrade.
func (f fault) route(inner http.Handler, w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	inner.ServeHTTP(rec, r)
	if f.answer != nil {
		f.answer(r, rec)
	}
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes())
}

// says has every answer of one status be of another one.
func says(before, after int) func(*http.Request, *httptest.ResponseRecorder) {
	return func(_ *http.Request, rec *httptest.ResponseRecorder) {
		if rec.Code == before {
			rec.Code = after
		}
	}
}

// tells changes the objects that routes answer.
func tells(how func(object map[string]any)) func(*http.Request, *httptest.ResponseRecorder) {
	return func(_ *http.Request, rec *httptest.ResponseRecorder) {
		object := frameOf(rec.Body.String())
		how(object)
		rec.Body.Reset()
		json.NewEncoder(rec.Body).Encode(object)
	}
}

// at does something on one path alone.
func at(path string, answer func(*http.Request, *httptest.ResponseRecorder)) func(*http.Request, *httptest.ResponseRecorder) {
	return func(r *http.Request, rec *httptest.ResponseRecorder) {
		if r.URL.Path == path {
			answer(r, rec)
		}
	}
}

// misnamed has an op come to the connector under a name that it does not know.
func misnamed(op string, which func(message string) bool) func(*session, string) []string {
	return func(_ *session, m string) []string {
		if which(m) {
			m = strings.ReplaceAll(m, fmt.Sprintf(`"op":%q`, op), `"op":"conform_none"`)
		}
		return []string{m}
	}
}

func always(string) bool { return true }

// pump carries messages until both ends have closed.
func (f fault) pump(s *session) {
	if f.deaf {
		s.near.SetPingHandler(func(string) error { return nil })
	}
	var both sync.WaitGroup
	both.Go(func() {
		defer s.near.NetConn().Close()
		for {
			_, message, err := s.far.ReadMessage()
			if err != nil {
				end, ok := errors.AsType[*websocket.CloseError](err)
				if ok && end.Code != websocket.CloseAbnormalClosure {
					code, reason := end.Code, end.Text
					if f.close != nil {
						code, reason = f.close(code, reason)
					}
					s.near.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
				}
				return
			}
			for line := range strings.Lines(string(message)) {
				pass := []string{line}
				if f.down != nil {
					pass = f.down(s, line)
				}
				for _, message := range pass {
					s.tell(message)
				}
			}
		}
	})
	defer both.Wait()
	defer s.far.NetConn().Close()
	for {
		kind, message, err := s.near.ReadMessage()
		if err != nil {
			end, ok := errors.AsType[*websocket.CloseError](err)
			if ok && end.Code != websocket.CloseAbnormalClosure {
				s.far.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(end.Code, end.Text), time.Now().Add(time.Second))
			}
			return
		}
		if kind == websocket.BinaryMessage && f.binary != nil {
			f.binary(s)
			continue
		}
		pass := []string{string(message)}
		if f.up != nil {
			pass = f.up(s, string(message))
		}
		for _, message := range pass {
			if s.far.WriteMessage(kind, []byte(message)) != nil {
				return
			}
		}
	}
}

// frameOf reads a line.
func frameOf(line string) map[string]any {
	var f map[string]any
	if json.Unmarshal([]byte(line), &f) != nil {
		return map[string]any{}
	}
	return f
}

func lineOf(f map[string]any) []string {
	raw, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return []string{string(raw) + "\n"}
}

// change alters the frames of a type on their way to the gateway.
func change(kind string, how func(f map[string]any)) func(*session, string) []string {
	return func(_ *session, line string) []string {
		f := frameOf(line)
		if f["type"] != kind {
			return []string{line}
		}
		how(f)
		return lineOf(f)
	}
}

// drop loses frames on their way to the gateway.
func drop(lost func(s *session, f map[string]any) bool) func(*session, string) []string {
	return func(s *session, line string) []string {
		if lost(s, frameOf(line)) {
			return nil
		}
		return []string{line}
	}
}

// endsOn closes the socket when a message of the gateway is so.
func endsOn(code int, bad func(message string) bool) func(*session, string) []string {
	return func(s *session, message string) []string {
		if bad(message) {
			return s.end(code)
		}
		return []string{message}
	}
}

func member(f map[string]any, name string) map[string]any {
	object, _ := f[name].(map[string]any)
	if object == nil {
		return map[string]any{}
	}
	return object
}

// token is what a dial shows: gateway id and expiry.
func token(r *http.Request) (id string, exp int64) {
	raw, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	parts := strings.Split(string(raw), ":")
	if len(parts) != 3 {
		return "", 0
	}
	exp, _ = strconv.ParseInt(parts[1], 10, 64)
	return parts[0], exp
}

// letsIn gives a dial a good token.
func letsIn(which func(r *http.Request) bool) func(*http.Request) int {
	return func(r *http.Request) int {
		if which(r) {
			r.Header.Set("Authorization", "Bearer "+
				relay.UpgradeToken(gatewayID, relay.NewSecret(secret), time.Now(), time.Minute).Reveal())
		}
		return 0
	}
}

func refusal(f map[string]any) bool {
	return f["type"] == "outbound_result" && member(f, "result")["success"] == false
}

// faults has one for each check that breaks its sentence.
var faults = map[string]fault{
	"upgrade-token":     {dial: func(*http.Request) int { return http.StatusUnauthorized }},
	"upgrade-no-expiry": {dial: func(r *http.Request) int { id, exp := token(r); return map[bool]int{true: 401}[id != "" && exp == 0] }},
	"upgrade-signature": {dial: letsIn(func(r *http.Request) bool {
		id, exp := token(r)
		return id == gatewayID && exp > time.Now().Unix()
	})},
	"upgrade-unknown-gateway": {dial: letsIn(func(r *http.Request) bool { id, _ := token(r); return id == "conform-stranger" })},
	"upgrade-no-token":        {dial: letsIn(func(r *http.Request) bool { return r.Header.Get("Authorization") == "" })},
	"upgrade-expired":         {close: func(code int, _ string) (int, string) { return code, "unauthorized" }},
	"upgrade-leeway": {dial: letsIn(func(r *http.Request) bool {
		_, exp := token(r)
		return exp < time.Now().Unix() && exp > time.Now().Add(-2*time.Minute).Unix()
	})},
	"upgrade-path": {dial: func(r *http.Request) int { r.URL.Path = strings.TrimSuffix(r.URL.Path, "/"); return 0 }},
	"hello-each": {down: drop(func(s *session, f map[string]any) bool {
		s.seen["descriptor"] += map[bool]int{true: 1}[f["type"] == "descriptor"]
		return f["type"] == "descriptor" && s.seen["descriptor"] > 1
	})},
	"hello-platform":    {down: change("descriptor", func(f map[string]any) { member(f, "descriptor")["platform"] = "relay" })},
	"hello-without-bot": {up: endsOn(1008, func(m string) bool { return strings.Contains(m, `"botId":""`) })},
	"descriptor-fields": {down: change("descriptor", func(f map[string]any) { delete(member(f, "descriptor"), "label") })},
	"descriptor-length": {down: change("descriptor", func(f map[string]any) { member(f, "descriptor")["max_message_length"] = 0 })},
	"descriptor-ops":    {down: change("descriptor", func(f map[string]any) { delete(member(f, "descriptor"), "supported_ops") })},
	"frames-known": {down: func(_ *session, line string) []string {
		if frameOf(line)["type"] == "descriptor" {
			return []string{line, `{"type":"presence"}` + "\n"}
		}
		return []string{line}
	}},
	"seat-one":   {close: func(int, string) (int, string) { return 1011, "" }},
	"seat-newer": {preset: func(p *devconnector.Preset) { p.SecondSocket = devconnector.SeatRefuse }},
	"frames-newline": {down: func(_ *session, line string) []string {
		return []string{strings.TrimSuffix(line, "\n"), "\n"}
	}},
	"frames-joined": {up: func(_ *session, m string) []string {
		first, _, _ := strings.Cut(m, "\n")
		return []string{first + "\n"}
	}},
	"frames-cut": {up: func(_ *session, m string) []string {
		if !strings.HasSuffix(m, "\n") {
			return nil
		}
		return []string{m}
	}},
	"frames-blank":  {up: endsOn(1007, func(m string) bool { return strings.HasPrefix(m, "\n") })},
	"frames-binary": {binary: func(s *session) { s.end(1003) }},
	"frames-unknown": {up: func(s *session, m string) []string {
		if strings.Contains(m, "conform_no_such_frame") {
			s.tell(`{"type":"error","error":"unknown frame type"}` + "\n")
		}
		return []string{m}
	}},
	"frames-bad-json": {up: endsOn(1007, func(m string) bool { return !strings.HasSuffix(strings.TrimSpace(m), "}") && len(m) < 60 })},
	"frames-fields":   {up: endsOn(1008, func(m string) bool { return strings.Contains(m, `"conform":{"a"`) })},
	"frames-large":    {up: endsOn(1009, func(m string) bool { return len(m) > 900_000 })},
	"frames-larger":   {preset: func(p *devconnector.Preset) { p.MaxFrame = 1 << 20 }},
	"ping":            {deaf: true},
	"live-inbound":    {down: change("inbound", func(f map[string]any) { f["event"] = []any{f["event"]} })},
	"live-source":     {down: change("inbound", func(f map[string]any) { delete(member(member(f, "event"), "source"), "chat_topic") })},
	"live-without-id": {preset: func(p *devconnector.Preset) { p.LiveIDs = devconnector.LiveSometimes }},
	"action-send":     {down: change("outbound_result", func(f map[string]any) { delete(member(f, "result"), "message_id") })},
	"action-result": {down: func(_ *session, line string) []string {
		if frameOf(line)["type"] == "outbound_result" {
			return []string{line, line}
		}
		return []string{line}
	}},
	"upgrade-malformed": {dial: letsIn(func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer conform" })},
	"hello-several":     {down: change("descriptor", func(f map[string]any) { member(f, "descriptor")["platform"] = "discord" })},
	"hello-strange": {down: drop(func(_ *session, f map[string]any) bool {
		return member(f, "descriptor")["platform"] == "conform-platform"
	})},
	"descriptor-optional":  {down: change("descriptor", func(f map[string]any) { member(f, "descriptor")["pii_safe"] = "no" })},
	"frames-object":        {up: endsOn(1007, func(m string) bool { return strings.Contains(m, "[1]") })},
	"frames-types":         {up: endsOn(1007, func(m string) bool { return strings.Contains(m, `"requestId":[]`) })},
	"frames-cut-character": {binary: func(s *session) { s.end(1007) }},
	"ping-kept":            {preset: func(p *devconnector.Preset) { p.PingEvery, p.PongWithin = 50*time.Second, 40*time.Second }},
	"seat-frozen":          {preset: func(p *devconnector.Preset) { p.SecondSocket = devconnector.SeatRefuse }},
	"live-order": {down: change("inbound", func(f map[string]any) {
		event := member(f, "event")
		event["text"] = strings.NewReplacer("message 2", "message 3", "message 3", "message 2").Replace(fmt.Sprint(event["text"]))
	})},
	"op-edit":   {up: misnamed("edit", always)},
	"op-delete": {up: misnamed("delete", always)},
	"op-react":  {up: misnamed("react", func(m string) bool { return strings.Contains(m, `"remove":true`) })},
	"op-typing": {up: misnamed("typing", always)},
	"op-info":   {down: change("outbound_result", func(f map[string]any) { delete(member(f, "result"), "chat_info") })},
	"op-thread": {down: change("outbound_result", func(f map[string]any) { delete(member(f, "result"), "thread_id") })},
	"op-rename": {up: misnamed("thread_rename", always)},
	"op-draft":  {up: misnamed("draft", func(m string) bool { return strings.Contains(m, `"final":true`) })},
	"op-media":  {up: misnamed("send_media", always)},
	"action-many": {down: drop(func(s *session, f map[string]any) bool {
		s.seen[fmt.Sprint(f["type"])]++
		return f["type"] == "outbound_result" && s.seen["outbound_result"] == 3
	})},
	"action-again": {preset: func(p *devconnector.Preset) { p.AnswersAgain = false }},
	"refusal-fields": {down: change("outbound_result", func(f map[string]any) {
		if refusal(f) {
			member(f, "result")["retry_after"] = "soon"
		}
	})},
	"poke-failed": {preset: func(p *devconnector.Preset) { p.PokeHeedsAnswer = false }},
	"poke-connected": {down: func(s *session, line string) []string {
		if frameOf(line)["type"] == "inbound" {
			s.poke()
		}
		return []string{line}
	}},
	"idle-again": {down: drop(func(s *session, f map[string]any) bool {
		s.seen[fmt.Sprint(f["type"])]++
		return f["type"] == "going_idle_ack" && s.seen["going_idle_ack"] == 2
	})},
	"idle-hello": {down: func(s *session, line string) []string {
		s.seen[fmt.Sprint(frameOf(line)["type"])]++
		if frameOf(line)["type"] == "descriptor" && s.seen["descriptor"] == 2 {
			return []string{line, `{"type":"inbound","event":{"text":"message 1","source":{"chat_id":"conform.idle-hello.x"}}}` + "\n"}
		}
		return []string{line}
	}},
	"buffer-unsaid": {preset: func(p *devconnector.Preset) { p.BufferUnflipped = false }},

	"provision-secret":     {answer: at("/relay/provision", tells(func(o map[string]any) { o["secret"] = "another" }))},
	"provision-identity":   {answer: says(401, 200)},
	"provision-incomplete": {answer: says(400, 200)},
	"provision-repeat":     {preset: func(p *devconnector.Preset) { p.RotationWindow = 0 }},
	"provision-flag": {answer: tells(func(o map[string]any) {
		if o["secretIssued"] == false {
			o["secretIssued"] = "false"
		}
	})},
	"provision-platforms": {answer: func(_ *http.Request, rec *httptest.ResponseRecorder) {
		if frameOf(rec.Body.String())["secretIssued"] == false {
			rec.Code = http.StatusConflict
		}
	}},
	"provision-colons": {dial: func(r *http.Request) int {
		raw, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		return map[bool]int{true: http.StatusUnauthorized}[strings.Count(string(raw), ":") > 2]
	}},
	"provision-stranger": {answer: func(r *http.Request, rec *httptest.ResponseRecorder) {
		if rec.Code == http.StatusForbidden {
			rec.Code = http.StatusOK
			tells(func(o map[string]any) { o["secret"] = "its secret" })(r, rec)
		}
	}},
	"provision-wake": {preset: func(p *devconnector.Preset) { p.Poke = devconnector.PokeNone }},
	"seat-others":    {preset: func(p *devconnector.Preset) { p.NoCredentials = true }},
	"enroll-secret":  {answer: at("/relay/enroll", tells(func(o map[string]any) { o["secret"] = "another" }))},
	"enroll-refused": {answer: says(403, 400)},
	"policy-taken":   {answer: says(200, 202)},
	"policy-token":   {answer: says(401, 200)},
	"expired-open":   {close: func(code int, _ string) (int, string) { return code, "unauthorized" }},
	"revoked-open":   {preset: func(p *devconnector.Preset) { p.RevokedCode = 4403 }},
	"revoked-dial":   {close: func(int, string) (int, string) { return 1000, "" }},
	"suspended": {close: func(code int, reason string) (int, string) {
		if code == 1013 {
			return 1000, ""
		}
		return code, reason
	}},

	"media-upload":   {answer: tells(func(o map[string]any) { delete(o, "id") })},
	"media-size":     {preset: func(p *devconnector.Preset) { p.MediaSize = false }},
	"media-download": {answer: func(_ *http.Request, rec *httptest.ResponseRecorder) { rec.Header().Set("Content-Type", "text/html") }},
	"media-filename": {dial: func(r *http.Request) int {
		return map[bool]int{true: http.StatusBadRequest}[len(r.Header.Get("X-Media-Filename")) > 200]
	}},
	"media-token": {dial: letsIn(func(r *http.Request) bool { return r.Method == http.MethodGet && r.Header.Get("Authorization") == "" })},
	"media-empty": {answer: says(400, 200)},
	"media-largest": {dial: func(r *http.Request) int {
		return map[bool]int{true: http.StatusRequestEntityTooLarge}[r.ContentLength == 25<<20]
	}},
	"media-limit":   {answer: says(413, 200)},
	"media-unknown": {answer: says(404, 200)},
	"media-stranger": {dial: letsIn(func(r *http.Request) bool {
		id, _ := token(r)
		return strings.HasPrefix(r.URL.Path, "/relay/media/") && id != gatewayID
	})},

	"prompt-kinds": {up: misnamed("prompt", func(m string) bool { return strings.Contains(m, "clarify") })},
	"prompt-ids":   {up: misnamed("prompt", func(m string) bool { return strings.Contains(m, strings.Repeat("o", 32)) })},
	"prompt-response": {down: change("inbound", func(f map[string]any) {
		member(f, "event")["prompt_response"] = "a"
	})},
	"forward-live":      {down: change("passthrough_forward", func(f map[string]any) { member(f, "forward")["headers"] = map[string]any{} })},
	"forward-buffered":  {down: change("passthrough_forward", func(f map[string]any) { delete(f, "bufferId") })},
	"forward-passes":    {preset: func(p *devconnector.Preset) { p.ForwardsPass = false }},
	"interrupt-inbound": {preset: func(p *devconnector.Preset) { p.Interrupts = false }},

	"action-unknown":    {down: change("outbound_result", succeeds("unsupported op"))},
	"action-incomplete": {down: change("outbound_result", succeeds("missing"))},
	"egress-refused":    {preset: func(p *devconnector.Preset) { p.Routing = devconnector.RouteAny }},
	"egress-code": {down: change("outbound_result", func(f map[string]any) {
		if refusal(f) {
			f["result"] = map[string]any{"success": false, "error": "no"}
		}
	})},
	"action-each": {down: change("descriptor", func(f map[string]any) {
		member(f, "descriptor")["supported_ops"] = []string{"send", "task_card"}
	})},
	"action-platform": {up: func(_ *session, m string) []string {
		return []string{strings.ReplaceAll(m, `,"platform":"conform-platform"`, "")}
	}},
	"interrupt": {up: endsOn(1008, func(m string) bool { return strings.Contains(m, `"interrupt"`) })},
	"ack-stray": {up: endsOn(1008, func(m string) bool { return strings.Contains(m, `"bufferId":1234567`) })},

	"poke-get":      {preset: func(p *devconnector.Preset) { p.PokeMethod = http.MethodPost }},
	"poke-once":     {preset: func(p *devconnector.Preset) { p.Poke, p.PokeCooldown = devconnector.PokeAny, 0 }},
	"poke-open":     {preset: func(p *devconnector.Preset) { p.PokeWhileConnected = false }},
	"poke-cooldown": {preset: func(p *devconnector.Preset) { p.PokeAfterCooldown = false }},
	"idle-ack":      {down: drop(func(_ *session, f map[string]any) bool { return f["type"] == "going_idle_ack" })},
	"idle-flip":     {preset: func(p *devconnector.Preset) { p.FlipOnIdle = false }},
	"idle-window": {down: drop(func(_ *session, f map[string]any) bool {
		return f["type"] == "inbound" && strings.Contains(fmt.Sprint(member(f, "event")["source"]), "idle-window")
	})},
	"buffer-away": {down: change("inbound", func(f map[string]any) { f["bufferId"] = 7 })},
	"buffer-order": {down: change("inbound", func(f map[string]any) {
		event := member(f, "event")
		event["text"] = strings.NewReplacer("message 1", "message 2", "message 2", "message 1").Replace(fmt.Sprint(event["text"]))
	})},
	"buffer-chat":  {preset: func(p *devconnector.Preset) { p.WindowPerChat, p.TurnLimit = true, time.Hour }},
	"buffer-gated": {preset: func(p *devconnector.Preset) { p.Window = 2 }},
	"buffer-live":  {down: drop(func(_ *session, f map[string]any) bool { return f["type"] == "inbound" && f["bufferId"] == nil })},
	"buffer-acked": {up: func(_ *session, m string) []string {
		if frameOf(m)["type"] == "inbound_ack" {
			return nil
		}
		return []string{m}
	}},
	"buffer-again": {
		down: func(s *session, line string) []string {
			f := frameOf(line)
			if f["bufferId"] != nil {
				f["bufferId"] = fmt.Sprintf("%v/%d", f["bufferId"], s.number)
				return lineOf(f)
			}
			return []string{line}
		},
		up: func(s *session, m string) []string {
			return []string{strings.ReplaceAll(m, fmt.Sprintf("/%d\"", s.number), `"`)}
		},
	},
	"buffer-wrong-ack": {
		down: func(s *session, line string) []string {
			if id, ok := frameOf(line)["bufferId"].(string); ok {
				s.last.Store(id)
			}
			return []string{line}
		},
		up: func(s *session, m string) []string {
			if frameOf(m)["type"] == "inbound_ack" && s.last.Load() != nil {
				return []string{fmt.Sprintf(`{"type":"inbound_ack","bufferId":%q}`+"\n", s.last.Load())}
			}
			return []string{m}
		},
	},
	"buffer-idle-first": {up: func(s *session, m string) []string {
		if frameOf(m)["type"] == "going_idle" {
			s.tell(`{"type":"going_idle_ack"}` + "\n")
			if s.last.Load() != nil {
				return nil
			}
		}
		return []string{m}
	}, down: func(s *session, line string) []string {
		f := frameOf(line)
		if id, ok := f["bufferId"].(string); ok {
			s.last.Store(id)
		}
		if f["type"] == "going_idle_ack" {
			return nil
		}
		return []string{line}
	}},
}

// succeeds makes a success of refusals with such a text.
func succeeds(text string) func(map[string]any) {
	return func(f map[string]any) {
		if refusal(f) && strings.Contains(fmt.Sprint(member(f, "result")["error"]), text) {
			f["result"] = map[string]any{"success": true}
		}
	}
}

// Each check finds the fault that breaks its sentence, and passes without it.
func TestEachCheckFindsItsFault(t *testing.T) {
	var ids []string
	for _, c := range conform.Catalogue() {
		ids = append(ids, c.ID)
	}
	is.New(t).Equal(slices.Sorted(maps.Keys(faults)), sorted(ids))
	for id, f := range faults {
		t.Run(id, func(t *testing.T) {
			is := is.New(t)
			is.Equal(failed(check(t, ideal(), []string{id}, fault{}.proxy)), []string{})
			preset := ideal()
			if f.preset != nil {
				f.preset(&preset)
			}
			report := check(t, preset, []string{id}, f.proxy)
			is.True(slices.Contains(failed(report), id))
			found := report.Checks[len(report.Checks)-1]
			is.True(found.Observed != "")
			is.True(len(found.Frames) > 0)
			is.True(!bytes.Contains([]byte(fmt.Sprint(report)), []byte(secret)))
		})
	}
}
