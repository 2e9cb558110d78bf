package cases

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/internal/pipenet"
)

// frame is a message of the connector.
type frame struct {
	at       time.Duration // after the first
	message  string        // one WebSocket text message
	bufferID string        // empty: live
	body     string        // of a forward whose bodyB64 is empty
}

// newFrame takes the buffer id out of the message.
func newFrame(at time.Duration, message string) frame {
	var named struct {
		BufferID string `json:"bufferId"`
	}
	_ = json.Unmarshal([]byte(strings.TrimPrefix(message, "\ufeff")), &named)
	return frame{at: at, message: message, bufferID: named.BufferID}
}

// action is an outbound frame, and what was answered to it.
type action struct {
	op        string
	body      map[string]any
	requestID string
	at        time.Time
	result    map[string]any
	answered  time.Time
}

func (a *action) accepted() bool { return a.result["success"] == true }

// upload is a file that was posted.
type upload struct {
	header http.Header
	body   []byte
}

// connector follows a script. It sends the frames once, those that were buffered again on a later socket until they are
// acked, and accepts what the script does not refuse.
type connector struct {
	t        *testing.T
	script   *script
	listener *pipenet.Listener

	mu      sync.Mutex
	fed     int // frames that have been sent
	first   time.Time
	acked   []string
	actions []*action
	counts  map[string]int // actions by op
	ids     int
	uploads []upload
}

func newConnector(t *testing.T, s *script) *connector {
	c := &connector{t: t, script: s, listener: pipenet.Listen(), counts: map[string]int{}}
	server := &httptest.Server{Listener: c.listener, Config: &http.Server{
		Handler: c, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
	}}
	server.Start()
	t.Cleanup(server.Close)
	return c
}

func (c *connector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/relay":
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			c.t.Error(err)
			return
		}
		defer ws.Close()
		s := &socket{connector: c, ws: ws, ended: make(chan struct{})}
		s.serve()
	case r.URL.Path == "/relay/media" && r.Method == http.MethodPost && c.script.upload != nil:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			c.t.Error(err)
		}
		c.mu.Lock()
		c.uploads = append(c.uploads, upload{r.Header.Clone(), body})
		c.mu.Unlock()
		c.script.upload(w, r)
	default:
		http.NotFound(w, r)
	}
}

// since is how long ago the first frame was sent.
func (c *connector) since() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.first)
}

// unacked are the buffered frames that have been sent and not acked.
func (c *connector) unacked() (list []frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.script.frames[:c.fed] {
		if f.bufferID != "" && !slices.Contains(c.acked, f.bufferID) {
			list = append(list, f)
		}
	}
	return list
}

// tell says what the connector has seen.
func (c *connector) tell(o *outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.acked, o.uploads = c.acked, c.uploads
	for _, a := range c.actions {
		if a.op == "typing" {
			o.typing = append(o.typing, a)
		} else {
			o.actions = append(o.actions, a)
		}
	}
}

// socket is one connection of the gateway.
type socket struct {
	*connector
	ws      *websocket.Conn
	writing sync.Mutex
	ended   chan struct{} // the peer is gone
}

func (s *socket) serve() {
	var feeding sync.WaitGroup
	defer feeding.Wait()
	defer close(s.ended)
	hellos := 0
	for {
		_, message, err := s.ws.ReadMessage()
		if err != nil {
			return
		}
		for line := range strings.Lines(string(message)) {
			var f struct {
				Type      string         `json:"type"`
				Platform  string         `json:"platform"`
				BufferID  string         `json:"bufferId"`
				RequestID string         `json:"requestId"`
				Action    map[string]any `json:"action"`
			}
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				s.t.Errorf("the gateway sent %q: %v", line, err)
				return
			}
			switch f.Type {
			case "hello":
				s.greet(f.Platform)
				if hellos++; hellos == len(s.script.descriptors) {
					feeding.Go(s.feed)
				}
			case "inbound_ack":
				s.mu.Lock()
				s.acked = append(s.acked, f.BufferID)
				s.mu.Unlock()
			case "outbound":
				s.do(f.RequestID, f.Action)
			case "going_idle":
				if s.allFed() {
					s.write(`{"type":"going_idle_ack"}` + "\n")
				}
			}
		}
	}
}

// greet answers a hello.
func (s *socket) greet(platform string) {
	if s.script.greet != nil {
		for _, message := range s.script.greet {
			s.write(message)
		}
		return
	}
	for _, d := range s.script.descriptors {
		if d.platform == platform {
			s.write(`{"type":"descriptor","descriptor":` + string(d.raw) + "}\n")
		}
	}
}

// feed sends the frames, each at its time, and before them what an earlier socket has left unacked.
func (s *socket) feed() {
	s.mu.Lock()
	if s.first.IsZero() {
		s.first = time.Now()
	}
	rest, first := s.script.frames[s.fed:], s.first
	s.mu.Unlock()
	for _, f := range s.unacked() {
		s.write(s.named(f))
	}
	for _, f := range rest {
		select {
		case <-time.After(time.Until(first.Add(f.at))):
		case <-s.ended:
			return
		}
		s.mu.Lock()
		s.fed++
		s.mu.Unlock()
		s.write(s.named(f))
	}
}

// named is a frame as it is sent: with the ids of the prompts that were sent in place of {prompt 1}, {prompt 2} and so on.
func (s *socket) named(f frame) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	message, body, n := f.message, f.body, 0
	for _, a := range s.actions {
		if id, ok := a.body["prompt_id"].(string); ok {
			n++
			name := fmt.Sprintf("{prompt %d}", n)
			message, body = strings.ReplaceAll(message, name, id), strings.ReplaceAll(body, name, id)
		}
	}
	if body != "" {
		body = base64.StdEncoding.EncodeToString([]byte(body))
	}
	return strings.Replace(message, `"bodyB64":""`, `"bodyB64":"`+body+`"`, 1)
}

func (s *socket) allFed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fed == len(s.script.frames)
}

// do takes an action and answers it.
func (s *socket) do(requestID string, body map[string]any) {
	op, _ := body["op"].(string)
	a := &action{op: op, body: body, requestID: requestID, at: time.Now()}
	s.mu.Lock()
	n := s.counts[op]
	s.counts[op]++
	s.ids++
	id := "m-of-the-connector-" + strconv.Itoa(s.ids)
	s.mu.Unlock()
	var told any
	if s.script.result != nil {
		told = s.script.result(a, n)
	}
	if told == nil {
		told = map[string]any{"success": true, "message_id": id}
	}
	filled, err := fill(told, map[string]any{"a new id": id, "the action's": body["message_id"]})
	if err != nil {
		s.t.Error(err)
		return
	}
	a.result, _ = filled.(map[string]any)
	raw, err := json.Marshal(map[string]any{"type": "outbound_result", "requestId": requestID, "result": filled})
	if err != nil {
		s.t.Error(err)
		return
	}
	a.answered = time.Now()
	s.mu.Lock()
	s.actions = append(s.actions, a)
	s.mu.Unlock()
	s.write(string(raw) + "\n")
}

func (s *socket) write(message string) {
	s.writing.Lock()
	defer s.writing.Unlock()
	// A socket whose peer is gone is noticed by its reader.
	_ = s.ws.WriteMessage(websocket.TextMessage, []byte(message))
}
