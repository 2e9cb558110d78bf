package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func turn(text string) agent.Turn {
	return agent.Turn{
		Version:    1,
		SessionKey: "agent:main:discord:dm:d1",
		Event:      &relay.Event{Text: text, MessageType: "text", Source: relay.Source{Platform: "discord", ChatID: "d1", ChatType: "dm"}},
		Delivery: agent.Delivery{
			Key: "k1", Attempt: 2, Buffered: true, ReceivedAt: time.Unix(1_800_000_000, 0).UTC(),
			SaidAt: time.Unix(1_799_999_998, 0).UTC(), AgeS: 3,
		},
	}
}

func TestEchoRepeatsTheText(t *testing.T) {
	is := is.New(t)
	got, err := agent.Echo{}.Answer(t.Context(), turn("hi\n there "))
	is.NoErr(err)
	is.Equal(got.Actions, []relay.Action{{"op": "send", "content": "hi\n there "}})
	got, err = agent.Echo{}.Answer(t.Context(), turn(""))
	is.NoErr(err)
	is.Equal(len(got.Actions), 0)
}

func TestDecode(t *testing.T) {
	tests := map[string]struct {
		body string
		want []relay.Action
		err  string // part of the error, "" for none
	}{
		"empty body":          {"", nil, ""},
		"blank body":          {" \n", nil, ""},
		"empty object":        {"{}", nil, ""},
		"text":                {`{"text":"hello"}`, []relay.Action{{"op": "send", "content": "hello"}}, ""},
		"empty text":          {`{"text":""}`, nil, ""},
		"actions":             {`{"actions":[{"op":"send","content":"a"},{"op":"react","emoji":"+1"}]}`, []relay.Action{{"op": "send", "content": "a"}, {"op": "react", "emoji": "+1"}}, ""},
		"no actions":          {`{"actions":[]}`, []relay.Action{}, ""},
		"unknown members":     {`{"text":"a","debug":1}`, []relay.Action{{"op": "send", "content": "a"}}, ""},
		"both":                {`{"text":"a","actions":[{"op":"send"}]}`, nil, "both actions and text"},
		"text, no actions":    {`{"text":"a","actions":[]}`, []relay.Action{{"op": "send", "content": "a"}}, ""},
		"actions, no text":    {`{"text":" ","actions":[{"op":"send"}]}`, []relay.Action{{"op": "send"}}, ""},
		"some, and no text":   {`{"text":"","actions":[{"op":"send"},7]}`, []relay.Action{{"op": "send"}, {}}, ""},
		"a name twice":        {`{"text":"a","text":"b"}`, []relay.Action{{"op": "send", "content": "b"}}, ""},
		"twice in an action":  {`{"actions":[{"op":"send","content":"a","content":"b"}]}`, []relay.Action{{"op": "send", "content": "b"}}, ""},
		"no op":               {`{"actions":[{"content":"a"}]}`, nil, "actions[0] has no op"},
		"op of wrong type":    {`{"actions":[{"op":7}]}`, nil, "actions[0] has no op"},
		"some are no actions": {`{"actions":[{"op":"send"},{"op":7},"send",null]}`, []relay.Action{{"op": "send"}, {}, {}, {}}, ""},
		"action no object":    {`{"actions":["send"]}`, nil, `at "/actions/0": want an object, got a string`},
		"actions no list":     {`{"actions":{"op":"send"}}`, nil, `at "/actions": want a list, got an object`},
		"text no string":      {`{"text":{}}`, nil, `at "/text": want a string, got an object`},
		"a number too big":    {`{"actions":[{"op":"send","x":1e999}]}`, nil, `at "/actions/0/x": want a value in range`},
		"an array":            {`[]`, nil, `at "": want an object, got a list`},
		"something else":      {`{"statusCode":200,"body":"canary"}`, nil, "neither actions nor text"},
		"nothing by name":     {`{"text":null,"actions":null}`, nil, ""},
		"not JSON":            {`<html>secret-canary`, nil, "no valid JSON at byte 0"},
		"two values":          {`{} {}`, nil, "no valid JSON"},
		"a blank text":        {`{"text":" \n "}`, nil, ""},

		"a byte order mark": {"\ufeff" + `{"text":"hello"}`, []relay.Action{{"op": "send", "content": "hello"}}, ""},
		"only the mark":     {"\ufeff", nil, ""},
		"marks and blanks":  {"\n\ufeff\ufeff " + `{"text":"hello"}`, []relay.Action{{"op": "send", "content": "hello"}}, ""},
		"half an emoji":     {`{"text":"a \ud83c"}`, []relay.Action{{"op": "send", "content": "a \ufffd"}}, ""},
		"its other half":    {`{"text":"\udfa9 b"}`, []relay.Action{{"op": "send", "content": "\ufffd b"}}, ""},
		"a whole emoji":     {`{"text":"\ud83c\udfa9"}`, []relay.Action{{"op": "send", "content": "\U0001f3a9"}}, ""},
		"no UTF-8":          {"{\"text\":\"caf\xe9\"}", []relay.Action{{"op": "send", "content": "caf\ufffd"}}, ""},
		"numeric ids": {
			`{"actions":[{"op":"prompt","chat_id":-1009876543210,"reply_to":1290000000000000001,"timeout_s":60,` +
				`"options":[{"id":1,"label":"A"}],"metadata":{"thread_id":7,"n":7}}]}`,
			[]relay.Action{{
				"op": "prompt", "chat_id": "-1009876543210", "reply_to": "1290000000000000001", "timeout_s": 60.0,
				"options":  []any{map[string]any{"id": "1", "label": "A"}},
				"metadata": map[string]any{"thread_id": "7", "n": 7.0},
			}}, "",
		},
		"no numeric id": {`{"actions":[{"op":"send","chat_id":1.5,"message_id":1e3}]}`, []relay.Action{{"op": "send", "chat_id": "1.5", "message_id": 1000.0}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			got, err := agent.Decode([]byte(tt.body))
			if tt.err == "" {
				is.NoErr(err)
				is.Equal(got.Actions, tt.want)
				return
			}
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), tt.err)) // want tt.err in the text
			is.True(!strings.Contains(err.Error(), "canary"))
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"actions":[{"op":"send","content":"a","metadata":{"x":[1,2]}}]}`))
	f.Add([]byte(`{"text":"\ud83d\ude00"}`))
	f.Add([]byte(`{"actions":null,"text":null}`))
	f.Add([]byte(`{"statusCode":200,"body":"{\"text\":\"a\"}"}`)) // what a function behind an HTTP API returns
	f.Add([]byte(`{"text":"a","text":"b"}`))
	f.Add([]byte(`{"text":"cut at the hat \ud83c"}`))
	f.Add([]byte("\ufeff{\"text\":\"caf\xe9\"}"))
	f.Add([]byte(`{"actions":[{"op":"send","content":"a","chat_id":-1009876543210,"reply_to":1e3,"metadata":{"thread_id":7}}]}`))
	f.Add([]byte(`{"actions":[{"op":"prompt","options":[{"id":"a","label":"A"}],"timeout_s":1e999}]}`))
	f.Add([]byte(`{"actions":[{"op":"send","metadata":` + strings.Repeat(`{"a":`, 100) + `1` + strings.Repeat(`}`, 100) + `}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := agent.Decode(body)
		for _, a := range got.Actions {
			if err != nil || a.Op() == "" && len(a) > 0 {
				t.Fatalf("what is no action is not empty, or beside an error: %v %v", a, err)
			}
		}
		if _, err := json.Marshal(got.Actions); err != nil {
			t.Fatalf("what was decoded cannot be journalled: %v", err)
		}
	})
}

// serve returns an agent whose other side is h.
func serve(t *testing.T, h http.HandlerFunc) agent.Agent {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	a, done, err := agent.New(srv.URL+"/turn?key=url-canary", agent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return a
}

func TestHTTPPostsTheTurn(t *testing.T) {
	is := is.New(t)
	var got map[string]any
	var contentType string
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		contentType = r.Header.Get("Content-Type")
		json.NewDecoder(r.Body).Decode(&got)
		io.WriteString(w, `{"text":"pong"}`)
	})
	answer, err := a.Answer(t.Context(), turn("ping"))
	is.NoErr(err)
	is.Equal(answer.Actions, []relay.Action{{"op": "send", "content": "pong"}})
	is.Equal(contentType, "application/json")
	is.Equal(got["version"], 1.0)
	is.Equal(got["session_key"], "agent:main:discord:dm:d1")
	event := got["event"].(map[string]any)
	is.Equal(event["text"], "ping")
	is.Equal(event["source"].(map[string]any)["chat_id"], "d1")
	is.Equal(got["delivery"], map[string]any{"key": "k1", "attempt": 2.0, "buffered": true, "received_at": "2027-01-15T08:00:00Z",
		"said_at": "2027-01-15T07:59:58Z", "age_s": 3.0})
	is.True(got["descriptor"] != nil)
}

// What an agent says with a 2xx is a user's text, which no error quotes.
func TestHTTPAnswersThatAreNone(t *testing.T) {
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"junk": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<p>canary") }, "no valid JSON"},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		}, "reading the answer"},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.Repeat(" ", 6<<20+1))
		}, "answer is over"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			_, err := serve(t, tt.handler).Answer(t.Context(), turn("x"))
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), tt.want))            // want tt.want in the text
			is.True(strings.Contains(err.Error(), "(from 127.0.0.1:")) // and the host
			is.True(!strings.Contains(err.Error(), "canary"))
			is.Equal(agent.ClassOf(err), agent.Failed)
		})
	}
}

func TestNoContentIsNoAnswer(t *testing.T) {
	is := is.New(t)
	got, err := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }).Answer(t.Context(), turn("x"))
	is.NoErr(err)
	is.Equal(len(got.Actions), 0)
}

func TestARefusedConnectionIsNoAttempt(t *testing.T) {
	is := is.New(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	is.NoErr(err)
	is.NoErr(ln.Close()) // nobody listens there now
	a, done, err := agent.New("http://"+ln.Addr().String()+"/url-canary", agent.Options{})
	is.NoErr(err)
	defer done()
	_, err = a.Answer(t.Context(), turn("x"))
	is.True(errors.Is(err, agent.ErrUnavailable))
	is.True(!strings.Contains(err.Error(), "canary"))
}

func TestTheTurnsContextEndsTheRequest(t *testing.T) {
	is := is.New(t)
	arrived, gone := make(chan struct{}), make(chan struct{})
	a := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
		close(gone)
	})
	stopped := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-arrived
		cancel(stopped)
	}()
	_, err := a.Answer(ctx, turn("x"))
	is.True(errors.Is(err, stopped))
	<-gone
}
