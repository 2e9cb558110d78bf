package devconnector_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
)

// control makes one request to the control API.
func control(r *rig, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	req.Host = "127.0.0.1:8788"
	w := httptest.NewRecorder()
	r.c.Control().ServeHTTP(w, req)
	return w
}

func TestControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		w := control(r, "POST", "/deliver",
			`{"count":2,"event":{"text":"hi","message_id":5,"source":{"platform":"discord","chat_id":"c"}}}`)
		is.Equal(w.Code, 200)
		is.Equal(strings.TrimSpace(w.Body.String()), `{"buffer_ids":["buf-1","buf-2"]}`)
		w = control(r, "POST", "/forward",
			`{"gateway":"gw-1","forward":{"platform":"telegram","method":"POST","path":"/x","bodyB64":"aGk="}}`)
		is.Equal(w.Code, 200)

		p := r.connect()
		for _, message := range []string{"5-1", "5-2"} {
			frame := p.expect("inbound")
			is.Equal(frame["event"].(map[string]any)["message_id"], message)
			p.ack(frame["bufferId"].(string))
		}
		forward := p.expect("passthrough_forward")
		is.Equal(forward["forward"].(map[string]any)["bodyB64"], "aGk=")
		p.ack(forward["bufferId"].(string))

		w = control(r, "POST", "/interrupt", `{"session_key":"k","chat_id":"c"}`)
		is.Equal(strings.TrimSpace(w.Body.String()), `{"asked":1}`)
		p.expect("interrupt_inbound")

		var state devconnector.State
		is.NoErr(json.Unmarshal(control(r, "GET", "/state", "").Body.Bytes(), &state))
		is.Equal(len(state.Acks), 3)
		is.True(state.Instance(id).Connected)

		is.Equal(control(r, "POST", "/fault", `{"name":"expire"}`).Code, 204)
		code, reason := p.closed()
		is.Equal(code, 4401)
		is.Equal(reason, "expired")
	})
}

func TestControlRefuses(t *testing.T) {
	tests := map[string]struct {
		path, body string
		want       int
	}{
		"an unknown fault":   {"/fault", `{"name":"nonsense"}`, 400},
		"no JSON":            {"/fault", `x`, 400},
		"no event":           {"/deliver", `{}`, 400},
		"an unknown gateway": {"/deliver", `{"gateway":"nobody","event":{}}`, 404},
		"bad base64":         {"/forward", `{"forward":{"bodyB64":"%"}}`, 400},
		"another path":       {"/nothing", `{}`, 404},
		"another method":     {"/state", `{}`, 405},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				r := start(t, devconnector.Config{})
				is.Equal(control(r, "POST", tt.path, tt.body).Code, tt.want)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, devconnector.Config{})
		w := control(r, "POST", "/fault", `{"name":"revoke"}`, "Origin", "https://page.example")
		is.New(t).Equal(w.Code, 403)
		for host, want := range map[string]int{"rebound.example": 403, "10.0.0.1:8788": 403, "127.0.0.1:8788": 200, "localhost": 200, "[::1]:8788": 200} {
			req := httptest.NewRequest("GET", "/state", nil)
			req.Host = host
			w := httptest.NewRecorder()
			r.c.Control().ServeHTTP(w, req)
			is.New(t).Equal(w.Code, want)
		}
	})
}

func TestControlStreamsEventsFromTheFirstOneOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		r := start(t, devconnector.Config{})
		r.c.Deliver(id, event("c", "m1")) // before anybody looks
		ln := pipenet.Listen()
		srv := &httptest.Server{Listener: ln, Config: &http.Server{Handler: r.c.Control()}}
		srv.Start()
		client := http.Client{Transport: &http.Transport{DialContext: ln.Dial, DisableKeepAlives: true}}
		resp, err := client.Get("http://localhost/events")
		is.NoErr(err)
		is.Equal(resp.Header.Get("Content-Type"), "application/x-ndjson")
		lines := bufio.NewScanner(resp.Body)
		next := func() (o devconnector.Observation) {
			is.True(lines.Scan())
			is.NoErr(json.Unmarshal(lines.Bytes(), &o))
			return o
		}
		is.Equal(next().What, "buffered")
		is.Equal(next().What, "poke")
		is.Equal(next().What, "poked")
		r.c.Deliver(id, event("c", "m2"))
		o := next()
		is.Equal(o.MessageID, "m2")
		is.Equal(o.Seq, 4)
		is.NoErr(r.c.Close(t.Context())) // ends the stream
		is.True(!lines.Scan())
		resp.Body.Close()
		srv.Close()
	})
}
