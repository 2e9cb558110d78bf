package agent_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
)

func TestAnAnswerMaySayThatItComesLater(t *testing.T) {
	tests := map[string]struct {
		body string
		want time.Duration
		err  string
	}{
		"two hours":       {`{"later":"2h"}`, 2 * time.Hour, ""},
		"a day":           {`{"later":"24h"}`, 24 * time.Hour, ""},
		"a blank text":    {`{"text":" ","later":"90s"}`, 90 * time.Second, ""},
		"no actions":      {`{"actions":[],"later":"1h30m"}`, 90 * time.Minute, ""},
		"null":            {`{"later":null}`, 0, ""},
		"too long":        {`{"later":"24h1s"}`, 0, "later: 24h0m1s is too long; want at most 24h0m0s"},
		"no time":         {`{"later":"soon"}`, 0, `later: "soon" is no time; want one such as`},
		"nothing":         {`{"later":"0s"}`, 0, "is no time"},
		"the past":        {`{"later":"-2h"}`, 0, "is no time"},
		"a number":        {`{"later":7200}`, 0, "want a string"},
		"beside a text":   {`{"text":"On it.","later":"2h"}`, 0, "beside it"},
		"beside actions":  {`{"actions":[{"op":"send","content":"On it."}],"later":"2h"}`, 0, "beside it"},
		"actions, and no": {`{"actions":[{"op":"send","content":"a"},5],"later":"soon"}`, 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			answer, err := agent.Decode([]byte(tt.body))
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || answer.Later != tt.want {
				t.Errorf("got %v, %v; want %s and %q", answer, err, tt.want, tt.err)
			}
		})
	}
}

// Whatever way an answer comes, it may be announced: also as the one record of a stream.
func TestAnAnnouncementMayComeAsAStream(t *testing.T) {
	for name, tt := range map[string]struct{ kind, body string }{
		"one answer":     {"application/json", `{"later":"2h"}`},
		"a line":         {"application/x-ndjson", "{\"later\":\"2h\"}\n"},
		"an event":       {"text/event-stream", "data: {\"later\":\"2h\"}\n\n"},
		"over two lines": {"application/x-ndjson", "{\"later\":\n\"2h\"}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.Write([]byte(tt.body))
			}))
			defer srv.Close()
			a, done, err := agent.New(srv.URL, agent.Options{})
			is.NoErr(err)
			defer done()
			answer, err := a.Answer(t.Context(), turn("hi"))
			is.NoErr(err)
			if answer.Stream == nil {
				is.Equal(answer.Later, 2*time.Hour)
				return
			}
			for action, err := range answer.Stream {
				is.Equal(len(action), 0)
				l, is2 := errors.AsType[*agent.LaterError](err)
				is.True(is2)
				is.Equal(l.After, 2*time.Hour)
			}
		})
	}
}
