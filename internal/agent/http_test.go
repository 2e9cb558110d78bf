package agent_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const signingSecret = "whsec_" + "c2VjcmV0LWNhbmFyeS1vZi10aGUtYWdlbnQ="

// gather takes all that an answer says, streamed or not.
func gather(answer agent.Answer) (actions []relay.Action, err error) {
	actions = answer.Actions
	if answer.Stream != nil {
		for a, err := range answer.Stream {
			if err != nil {
				return actions, err
			}
			actions = append(actions, a)
		}
	}
	return actions, nil
}

func TestHTTPSignsTheTurn(t *testing.T) {
	is := is.New(t)
	verifier, err := standardwebhooks.NewWebhook(signingSecret)
	is.NoErr(err)
	var verified error
	var id string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		verified, id = verifier.Verify(body, r.Header), r.Header.Get("webhook-id")
	}))
	defer srv.Close()
	a, done, err := agent.New(srv.URL, agent.Options{Secret: relay.NewSecret(signingSecret + "\n")})
	is.NoErr(err)
	defer done()
	_, err = a.Answer(t.Context(), turn("x"))
	is.NoErr(err)
	is.NoErr(verified)
	is.Equal(id, "k1") // the delivery's key

	_, _, err = agent.New(srv.URL, agent.Options{Secret: relay.NewSecret("whsec_canary*")})
	is.True(err != nil)
	is.True(!strings.Contains(err.Error(), "canary"))
}

func TestHTTPAsksAgain(t *testing.T) {
	tests := map[string]struct {
		statuses    []int // one for each request, then 200
		requests    int
		err         string
		unavailable bool
		refused     bool
	}{
		"after a timeout":         {[]int{408}, 2, "", false, false},
		"too early":               {[]int{425}, 2, "", false, false},
		"after a throttle":        {[]int{429, 429}, 3, "", false, false},
		"after a server's fault":  {[]int{500, 503}, 3, "", false, false},
		"three times at most":     {[]int{500, 502, 503, 504}, 3, "answered HTTP 503", false, false},
		"throttled all the while": {[]int{429, 429, 429}, 3, "answered HTTP 429", true, false},
		"not after a refusal":     {[]int{400}, 1, "answered HTTP 400", false, true},
		"not where nobody is":     {[]int{404}, 1, "answered HTTP 404", false, true},
		"not after a redirect":    {[]int{301}, 1, "answered HTTP 301", false, false},
		"not after any success":   {[]int{202}, 1, "answered HTTP 202", false, false},
		"a throttle and no more":  {[]int{429, 410}, 2, "answered HTTP 410", false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			var mu sync.Mutex
			var ids []string
			a := serve(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				ids = append(ids, r.Header.Get("webhook-id"))
				if n := len(ids) - 1; n < len(tt.statuses) {
					w.Header().Set("Retry-After", "0")
					w.WriteHeader(tt.statuses[n])
					io.WriteString(w, "canary")
					return
				}
				io.WriteString(w, `{"text":"done"}`)
			})
			answer, err := a.Answer(t.Context(), turn("x"))
			is.Equal(len(ids), tt.requests)
			is.Equal(len(slices.Compact(ids)), 1) // all under the same id
			is.Equal(errors.Is(err, agent.ErrUnavailable), tt.unavailable)
			is.Equal(errors.Is(err, agent.ErrRefused), tt.refused)
			if tt.err == "" {
				is.NoErr(err)
				is.Equal(len(answer.Actions), 1)
				return
			}
			is.True(err != nil && strings.Contains(err.Error(), tt.err))
			is.True(!strings.Contains(err.Error(), "canary"))
		})
	}
}

func TestRetryAfterIsHonouredWithinTheAttempt(t *testing.T) {
	is := is.New(t)
	requests := 0
	a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests++
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	_, err := a.Answer(ctx, turn("x"))
	is.True(errors.Is(err, agent.ErrUnavailable))
	is.Equal(requests, 1) // the next would be too late: the message waits elsewhere
	is.True(time.Since(start) < 30*time.Second)
}

func TestABrokenConnectionIsAskedAgain(t *testing.T) {
	is := is.New(t)
	requests := 0
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if requests++; requests == 1 {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		io.WriteString(w, `{"text":"done"}`)
	})
	answer, err := a.Answer(t.Context(), turn("x"))
	is.NoErr(err)
	is.Equal(len(answer.Actions), 1)
	is.Equal(requests, 2)
}

func TestConnectionsAreKept(t *testing.T) {
	is := is.New(t)
	var mu sync.Mutex
	connections := 0
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, `{"text":"a"}`+"\n")
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if s == http.StateNew {
			connections++
		}
	}
	srv.Start()
	defer srv.Close()
	a, done, err := agent.New(srv.URL, agent.Options{})
	is.NoErr(err)
	defer done()
	for range 20 {
		answer, err := a.Answer(t.Context(), turn("x"))
		is.NoErr(err)
		_, err = gather(answer)
		is.NoErr(err)
	}
	mu.Lock()
	defer mu.Unlock()
	is.Equal(connections, 1)
}

func TestAStreamIsReadLineByLine(t *testing.T) {
	is := is.New(t)
	more := make(chan struct{})
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson; charset=utf-8")
		io.WriteString(w, `{"text":"one"}`+"\r\n\n")
		http.NewResponseController(w).Flush()
		select {
		case <-more:
		case <-r.Context().Done():
		}
		io.WriteString(w, `{"op":"edit","content":"two"}`+"\n"+`{"op":"react","emoji":"+1"}`) // the last without its end
	})
	answer, err := a.Answer(t.Context(), turn("x"))
	is.NoErr(err)
	is.True(answer.Stream != nil)
	var got []relay.Action
	for action, err := range answer.Stream {
		is.NoErr(err)
		if got = append(got, action); len(got) == 1 {
			close(more) // the first line is here before the second was written
		}
	}
	is.Equal(got, []relay.Action{
		{"op": "send", "content": "one"}, {"op": "edit", "content": "two"}, {"op": "react", "emoji": "+1"},
	})
}

func TestStreamsThatGoWrong(t *testing.T) {
	tests := map[string]struct {
		body   string
		length string // that the header claims
		want   string
		before int // actions until then
	}{
		"junk":              {`{"text":"a"}` + "\n" + `<canary>` + "\n", "", "line 2 of the answer is not", 1},
		"no action":         {"\n" + `{"txt":"canary"}`, "", "line 2 of the answer has neither op nor text", 0},
		"an empty text":     {`{"text":""}`, "", "line 1 of the answer has an empty text", 0},
		"a whole answer":    {`{"actions":[{"op":"send","content":"canary"}]}`, "", "has neither op nor text", 0},
		"an array":          {`[]`, "", "want an object, got a list", 0},
		"a line too long":   {`{"text":"` + strings.Repeat("x", 1<<20) + `"}`, "", "a line of the answer is over", 0},
		"cut within a line": {`{"text":"a"}` + "\n" + `{"text":"can`, "100", "reading the answer", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			answer, err := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/x-ndjson")
				if tt.length != "" {
					w.Header().Set("Content-Length", tt.length)
				}
				io.WriteString(w, tt.body)
			}).Answer(t.Context(), turn("x"))
			is.NoErr(err)
			got, err := gather(answer)
			is.Equal(len(got), tt.before)
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), tt.want)) // want tt.want in the text
			is.True(!strings.Contains(err.Error(), "canary"))
		})
	}
}

func TestTheTurnsContextEndsTheStream(t *testing.T) {
	is := is.New(t)
	gone := make(chan struct{})
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, `{"text":"one"}`+"\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	stopped := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	answer, err := a.Answer(ctx, turn("x"))
	is.NoErr(err)
	n := 0
	for _, err = range answer.Stream {
		if n++; n == 1 {
			cancel(stopped)
		}
	}
	is.True(errors.Is(err, stopped))
	<-gone
}

func FuzzStream(f *testing.F) { // each line is an action with an op, or an error without its text
	f.Add([]byte(`{"text":"a"}`))
	f.Add([]byte(`{"op":"edit","content":"\ud83d\ude00","metadata":{"x":[1,2]}}`))
	f.Add([]byte(`{"op":7,"text":null}`))
	f.Add([]byte(`{"op":"send","op":"edit"}`))
	f.Add([]byte("{\"text\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := agent.DecodeLine(line)
		if (err == nil) != (a.Op() != "") {
			t.Fatalf("%v beside %v", a, err)
		}
		if err != nil && len(line) > 64 && strings.Contains(err.Error(), string(line)) {
			t.Fatalf("the error quotes the line: %v", err)
		}
	})
}
