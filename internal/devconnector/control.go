package devconnector

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/dormouse-relay/dormouse/internal/loopback"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Control is the Connector's own API, for a command line. Serve it on loopback only: it asks for no credential. Bodies are
// JSON; "gateway" may be left out if there is only one.
//
//	POST /deliver    {"gateway","event":{...},"count":1}  -> {"buffer_ids":[...]}, "" for one that is not buffered;
//	                 with a count of 2 or more, "-1", "-2", ... is added to the event's message_id
//	POST /forward    {"gateway","forward":{"platform","botId","method","path","headers","bodyB64","profile"}}
//	POST /interrupt  {"session_key","chat_id"}            -> {"asked":n}
//	POST /fault      {"name",...}: a Fault                -> 204
//	GET  /state      a State
//	GET  /events     one Observation a line, from the first one on, until the caller disconnects
func (c *Connector) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /deliver", c.controlDeliver)
	mux.HandleFunc("POST /forward", c.controlForward)
	mux.HandleFunc("POST /interrupt", c.controlInterrupt)
	mux.HandleFunc("POST /fault", c.controlFault)
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, c.State()) })
	mux.HandleFunc("GET /events", c.controlEvents)
	return loopback.Guard(mux) // a page in the operator's browser can reach loopback, too
}

func (c *Connector) controlDeliver(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Gateway string          `json:"gateway"`
		Event   json.RawMessage `json:"event"`
		Count   int             `json:"count"`
	}
	if !decodeBody(w, r, &body) {
		return
	}
	if len(body.Event) == 0 || body.Count < 0 {
		fail(w, http.StatusBadRequest, "event is required, and count is not negative")
		return
	}
	if !c.known(w, body.Gateway) {
		return
	}
	ids := make([]string, 0, max(body.Count, 1))
	for n := range max(body.Count, 1) {
		event := []byte(body.Event)
		if body.Count > 1 {
			event = numbered(event, n+1)
		}
		ids = append(ids, c.DeliverRaw(body.Gateway, event))
	}
	answer(w, http.StatusOK, map[string][]string{"buffer_ids": ids})
}

// numbered adds a number to an event's message_id, if the event is an object that has one.
func numbered(event []byte, n int) []byte {
	var members map[string]any
	dec := json.NewDecoder(bytes.NewReader(event))
	dec.UseNumber()
	if dec.Decode(&members) != nil || text(members["message_id"]) == "" {
		return event
	}
	members["message_id"] = fmt.Sprintf("%s-%d", text(members["message_id"]), n)
	raw, err := json.Marshal(members)
	if err != nil {
		return event
	}
	return raw
}

// known says whether there is a gateway of that name. If not, it has answered 404.
func (c *Connector) known(w http.ResponseWriter, gateway string) bool {
	c.mu.Lock()
	_, err := c.find(gateway)
	c.mu.Unlock()
	if err != nil {
		fail(w, http.StatusNotFound, err.Error())
	}
	return err == nil
}

func (c *Connector) controlForward(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Gateway string `json:"gateway"`
		Forward struct {
			Platform string      `json:"platform"`
			BotID    string      `json:"botId"`
			Method   string      `json:"method"`
			Path     string      `json:"path"`
			Headers  [][2]string `json:"headers"`
			BodyB64  string      `json:"bodyB64"`
			Profile  string      `json:"profile"`
		} `json:"forward"`
	}
	if !decodeBody(w, r, &body) || !c.known(w, body.Gateway) {
		return
	}
	f := body.Forward
	raw, err := base64.StdEncoding.DecodeString(f.BodyB64)
	if err != nil {
		fail(w, http.StatusBadRequest, "forward.bodyB64 is not base64")
		return
	}
	id := c.Forward(body.Gateway, relay.Forward{Platform: f.Platform, BotID: f.BotID, Method: f.Method, Path: f.Path,
		Headers: f.Headers, Body: raw, Profile: f.Profile})
	answer(w, http.StatusOK, map[string][]string{"buffer_ids": {id}})
}

func (c *Connector) controlInterrupt(w http.ResponseWriter, r *http.Request) {
	var body struct {
		SessionKey string `json:"session_key"`
		ChatID     string `json:"chat_id"`
	}
	if decodeBody(w, r, &body) {
		answer(w, http.StatusOK, map[string]int{"asked": c.Interrupt(body.SessionKey, body.ChatID)})
	}
}

func (c *Connector) controlFault(w http.ResponseWriter, r *http.Request) {
	var fault Fault
	if !decodeBody(w, r, &fault) {
		return
	}
	if err := c.Inject(fault); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *Connector) controlEvents(w http.ResponseWriter, r *http.Request) {
	if !c.enter() {
		fail(w, http.StatusServiceUnavailable, "the connector is closed")
		return
	}
	defer c.wg.Done()
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	defer context.AfterFunc(c.ctx, func() { flush.SetWriteDeadline(time.Now()) })() // a reader that has stopped reading
	for next := 0; ; {
		c.mu.Lock()
		fresh, changed := c.log[next:], c.change()
		c.mu.Unlock()
		for _, o := range fresh {
			if lines.Encode(o) != nil {
				return
			}
		}
		next += len(fresh)
		if flush.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-c.ctx.Done():
			return
		}
	}
}
