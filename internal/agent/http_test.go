package agent_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

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
			if _, goesOn := errors.AsType[*agent.Skipped](err); err != nil && !goesOn {
				return actions, err
			}
			actions = append(actions, a) // nil for what is skipped
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

// The classes are those of docs/agent.
func TestStatusesHaveClasses(t *testing.T) {
	classes := map[agent.Class][]int{
		agent.Away:    {300, 301, 302, 303, 304, 307, 308, 401, 403, 404, 407, 408, 425, 429, 502, 503, 504, 521, 522, 523, 530},
		agent.Failed:  {500, 501, 505, 508, 520, 524, 599},
		agent.Refused: {400, 402, 405, 406, 409, 410, 413, 415, 418, 421, 422, 451, 499},
	}
	for class, statuses := range classes {
		for _, status := range statuses {
			t.Run(strconv.Itoa(status), func(t *testing.T) {
				is := is.New(t)
				requests := 0
				a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
					requests++
					w.WriteHeader(status)
				})
				_, err := a.Answer(t.Context(), turn("x"))
				is.Equal(requests, 1) // whether it is asked again is not decided here
				is.Equal(agent.ClassOf(err), class)
				is.Equal(errors.Is(err, agent.ErrUnavailable), class == agent.Away)
				is.Equal(errors.Is(err, agent.ErrRefused), class == agent.Refused)
				is.True(strings.Contains(err.Error(), fmt.Sprint(" answered HTTP ", status)))
				is.True(strings.Contains(err.Error(), "agent: 127.0.0.1:")) // the host
			})
		}
	}
}

func TestErrorsWithoutAStatusHaveClasses(t *testing.T) {
	unencrypted := httptest.NewServer(http.NotFoundHandler())
	defer unencrypted.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	defer untrusted.Close()
	breaking := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}))
	defer breaking.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	tests := map[string]struct {
		url  string
		want agent.Class
	}{
		"nobody listens":      {"http://" + closed.Addr().String(), agent.Away},
		"no such name":        {"https://agent.invalid/", agent.Away},
		"no TLS":              {"https" + strings.TrimPrefix(unencrypted.URL, "http"), agent.Away},
		"an untrusted name":   {untrusted.URL, agent.Away},
		"no usable URL":       {"http://127.0.0.1:port/", agent.Away},
		"a broken connection": {breaking.URL, agent.Failed}, // the agent has the turn
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			a, done, err := agent.New(tt.url+"?key=url-canary", agent.Options{})
			is.NoErr(err)
			defer done()
			_, err = a.Answer(t.Context(), turn("x"))
			is.True(err != nil)
			t.Log(err)
			is.Equal(agent.ClassOf(err), tt.want)
			is.True(!strings.Contains(err.Error(), "canary"))
		})
	}
}

func TestTimeoutsHaveClasses(t *testing.T) {
	tests := map[string]struct {
		connects bool
		want     agent.Class
	}{
		"before a connection": {false, agent.Away}, // nothing has left
		"after it":            {true, agent.Failed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				tooLong := errors.New("took too long")
				a, done, err := agent.New("http://127.0.0.1/", agent.Options{NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) {
					if tt.connects {
						near, far := net.Pipe()
						context.AfterFunc(ctx, func() { far.Close() })
						return near, nil
					}
					<-ctx.Done()
					return nil, ctx.Err()
				}})
				is.NoErr(err)
				defer done()
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, tooLong)
				defer cancel()
				_, err = a.Answer(ctx, turn("x"))
				is.True(errors.Is(err, tooLong))
				is.Equal(agent.ClassOf(err), tt.want)
			})
		})
	}
}

func TestRetryAfterIsPassedOn(t *testing.T) {
	tests := map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		"0":                             0,
		"soon":                          0,
		"Sat, 01 Jan 2000 00:00:05 GMT": 0, // long ago
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour,
	}
	for value, want := range tests {
		t.Run(value, func(t *testing.T) {
			is := is.New(t)
			a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if value != "" {
					w.Header().Set("Retry-After", value)
				}
				w.WriteHeader(http.StatusTooManyRequests)
			})
			_, err := a.Answer(t.Context(), turn("x"))
			e, ok := errors.AsType[*agent.Error](err)
			is.True(ok)
			is.True((e.RetryAfter - want).Abs() < time.Minute)
			is.Equal(e.RetryAfter > 0, want > 0)
		})
	}
}

func TestAnErrorKeepsTheAgentsFirstWords(t *testing.T) {
	long := strings.Repeat("ä", 300)
	tests := map[string]struct{ body, want string }{
		"nothing":            {"", "answered HTTP 500"},
		"a reason":           {`{"error":"no such key"}`, `answered HTTP 500: {"error":"no such key"}`},
		"control characters": {"a\r\n\tb\x00\x1b[31mc\u202e\u009bd", "answered HTTP 500: a b[31mcd"},
		"no UTF-8":           {"a\xff\xfeb", "answered HTTP 500: ab"},
		"much":               {long, "answered HTTP 500: " + long[:200]},
		"our URL":            {"Cannot POST /turn?key=url-canary, nor /turn with url-canary", "answered HTTP 500: Cannot POST [redacted], nor [redacted] with [redacted]"},
		"packed":             {zipped("a reason"), "answered HTTP 500: a reason"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			a := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusInternalServerError)
				io.WriteString(w, tt.body)
			})
			_, err := a.Answer(t.Context(), turn("x"))
			is.True(err != nil)
			_, text, _ := strings.Cut(err.Error(), "127.0.0.1:")
			_, text, _ = strings.Cut(text, " ")
			is.Equal(text, tt.want)
		})
	}
}

func TestTheSigningSecretIsInNoError(t *testing.T) {
	is := is.New(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "you sign with "+signingSecret, http.StatusUnauthorized)
	}))
	defer srv.Close()
	a, done, err := agent.New(srv.URL, agent.Options{Secret: relay.NewSecret(signingSecret)})
	is.NoErr(err)
	defer done()
	_, err = a.Answer(t.Context(), turn("x"))
	is.True(strings.Contains(err.Error(), "you sign with whsec_[redacted]"))
}

// zipped is text as gzip has it.
func zipped(text string) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func TestPackedAnswersAreUnpacked(t *testing.T) {
	tests := map[string]struct {
		encoding, kind, body string
		want                 string // the content, or part of the error
		fails                bool
	}{
		"told":               {"gzip", "application/json", zipped(`{"text":"hello"}`), "hello", false},
		"told otherwise":     {"X-GZIP", "application/json", zipped(`{"text":"hello"}`), "hello", false},
		"not told":           {"", "application/json", zipped(`{"text":"hello"}`), "hello", false},
		"told and not so":    {"gzip", "application/json", `{"text":"hello"}`, "hello", false},
		"told and empty":     {"gzip", "application/json", "", "", false},
		"none":               {"identity", "application/json", `{"text":"hello"}`, "hello", false},
		"a character set":    {"UTF-8", "application/json", `{"text":"hello"}`, "hello", false},
		"a stream":           {"gzip", "application/x-ndjson", zipped(`{"text":"hello"}` + "\n"), "hello", false},
		"not known here":     {"br", "application/json", `canary`, `Content-Encoding "br", want none or gzip`, true},
		"cut":                {"gzip", "application/json", zipped(`{"text":"hello"}`)[:20], "reading the answer", true},
		"more than it looks": {"gzip", "application/json", zipped(`{"text":"` + strings.Repeat("x", 6<<20) + `"}`), "answer is over", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			answer, err := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				if tt.encoding != "" {
					w.Header().Set("Content-Encoding", tt.encoding)
				}
				io.WriteString(w, tt.body)
			}).Answer(t.Context(), turn("x"))
			if tt.fails {
				is.True(err != nil && strings.Contains(err.Error(), tt.want))
				is.True(!strings.Contains(err.Error(), "canary"))
				is.Equal(agent.ClassOf(err), agent.Failed)
				return
			}
			is.NoErr(err)
			actions, err := gather(answer)
			is.NoErr(err)
			text := ""
			for _, a := range actions {
				text += a["content"].(string)
			}
			is.Equal(text, tt.want)
		})
	}
}

func TestAny2xxIsAnAnswer(t *testing.T) {
	for status, body := range map[int]string{200: `{"text":"a"}`, 201: `{"text":"a"}`, 202: `{"text":"a"}`, 203: `{"text":"a"}`, 206: `{"text":"a"}`, 299: `{"text":"a"}`, 204: "", 205: ""} {
		is := is.New(t)
		answer, err := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}).Answer(t.Context(), turn("x"))
		is.NoErr(err)
		is.Equal(len(answer.Actions) == 1, body != "")
	}
}

func TestStreamsHaveManyNames(t *testing.T) {
	want := []relay.Action{{"op": "send", "content": "one"}, {"op": "edit", "content": "two"}}
	const one, two = `{"text":"one"}`, `{"op":"edit","content":"two"}`
	tests := map[string]struct{ kind, body string }{
		"x-ndjson":     {"application/x-ndjson", one + "\n" + two + "\n"},
		"ndjson":       {"application/ndjson", "\ufeff" + one + "\r\n\r\n" + two},
		"jsonl":        {"application/jsonl; charset=utf-8", one + "\n" + two + "\n"},
		"jsonlines":    {"application/jsonlines", one + "\n" + two + "\n"},
		"x-jsonlines":  {"Application/X-JSONLines", one + "\n" + two + "\n"},
		"text/jsonl":   {"text/jsonl", one + "\n" + two + "\n"},
		"x-json-lines": {"application/x-json-lines", one + "\n" + two + "\n"},
		"stream+json":  {"application/stream+json", one + "\n" + two + "\n"},
		"says nothing": {"application/x-ndjson", "{}\n" + one + "\nnull\n{\"text\":null}\n" + two + "\n"},
		"json-seq":     {"application/json-seq", "\x1e" + one + "\n\x1e" + two + "\n"},
		"over lines":   {"application/json-seq", "\x1e{\n\"text\":\n\"one\"}\n\x1e" + two},
		"separators":   {"application/json-seq", "\ufeff\x1e\x1e" + one + "\n" + two + "\n\x1e\n"},
		"events":       {"text/event-stream", "data: " + one + "\n\ndata: " + two + "\n\n"},
		"event fields": {"text/event-stream;charset=utf-8", "\ufeff: hi\nid: 1\nevent: message\nretry: 5\ndata:" + one + "\r\n\r\n\ndata\n\ndata:\n\ndata: " + two + "\n\ndata: [DONE]\n\n"},
		"data lines":   {"text/event-stream", "data: {\ndata: \"text\": \"one\"\ndata: }\n\ndata: " + two},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			answer, err := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				io.WriteString(w, tt.body)
			}).Answer(t.Context(), turn("x"))
			is.NoErr(err)
			is.True(answer.Stream != nil)
			got, err := gather(answer)
			is.NoErr(err)
			is.Equal(got, want)
		})
	}
}

func TestAKeptConnectionThatTheAgentClosesIsNoFailure(t *testing.T) {
	is := is.New(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	is.NoErr(err)
	var serving sync.WaitGroup
	defer serving.Wait()
	defer ln.Close()
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(conn)
			if r, err := http.ReadRequest(in); err == nil {
				io.Copy(io.Discard, r.Body)
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"text\":\"a\"}")
				in.Peek(1) // each connection closes as its second turn comes
			}
			conn.Close()
		}
	})
	a, done, err := agent.New("http://"+ln.Addr().String(), agent.Options{})
	is.NoErr(err)
	defer done()
	for range 3 {
		answer, err := a.Answer(t.Context(), turn("x"))
		is.NoErr(err)
		is.Equal(len(answer.Actions), 1)
	}
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
		"nothing but junk":  {"<html>\n<canary>\n", "", "line 1 of the answer is not", 0},
		"cut at its end":    {`{"text":"a"}` + "\n" + `{"text":"can`, "", "line 2 of the answer is not", 1},
		"no object":         {`"canary"` + "\n7\n", "", "line 1 of the answer is not", 0},
		"no action":         {"\n" + `{"txt":"canary"}`, "", "line 2 of the answer has neither op nor text", 0},
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

func TestABlankTextInAStreamSaysNothing(t *testing.T) {
	is := is.New(t)
	answer, err := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, `{"text":""}`+"\n"+`{"text":" \n"}`+"\n"+`{"text":"a"}`)
	}).Answer(t.Context(), turn("x"))
	is.NoErr(err)
	got, err := gather(answer)
	is.NoErr(err)
	is.Equal(got, []relay.Action{{"op": "send", "content": "a"}})
}

// What is wrong with one record voids no other: the stream is read to its end.
func TestAnAnswerIsNotVoidForATrifleInItsStream(t *testing.T) {
	const one, two = `{"text":"one"}`, `{"op":"edit","content":"two"}`
	acts := `{"actions":[` + `{"op":"send","content":"one"},` + two + `]}`
	tests := map[string]struct {
		kind, body string
		skipped    int
	}{
		"junk between":             {"application/x-ndjson", one + "\nWARN: model is slow\n" + two + "\n", 1},
		"junk before":              {"application/x-ndjson", "Listening on 8080\n" + one + "\n" + two, 1},
		"junk behind":              {"application/x-ndjson", one + "\n" + two + "\n</html>\n", 1},
		"much junk":                {"application/x-ndjson", one + "\n" + strings.Repeat("x\n", 500) + two, 20},
		"a line too long":          {"application/x-ndjson", one + "\n" + strings.Repeat("x", 3<<20) + "\n" + two, 1},
		"half an object":           {"application/x-ndjson", one + "\n{\"op\":\"edit\",\n" + two + "\n", 1},
		"junk in events":           {"text/event-stream", "data: " + one + "\n\ndata: ping\n\ndata: " + two + "\n\n", 1},
		"junk in a sequence":       {"application/json-seq", "\x1e" + one + "\n\x1e{\"op\n\x1e" + two + "\n", 1},
		"CRLF and a mark":          {"application/x-ndjson", "\ufeff" + one + "\r\n\r\n" + two + "\r\n", 0},
		"comments and retry":       {"text/event-stream", ": keep-alive\n\nretry: 3000\nevent: answer\nid: 7\ndata: " + one + "\n\n: ping\n\nevent: answer\ndata: " + two + "\n\nevent: done\ndata: [DONE]\n\n", 0},
		"a whole answer":           {"application/x-ndjson", acts, 0},
		"one that is indented":     {"application/x-ndjson", "{\n  \"actions\": [\n    {\"op\": \"send\", \"content\": \"one\"},\n    " + two + "\n  ]\n}\n", 0},
		"one as events":            {"text/event-stream", acts, 0},
		"one in an event":          {"text/event-stream", "data: " + acts + "\n\n", 0},
		"one as a sequence":        {"application/json-seq", acts + "\n", 0},
		"lines said to be events":  {"text/event-stream", one + "\n" + two + "\n", 0},
		"events said to be lines":  {"application/x-ndjson", "data: " + one + "\n\ndata: " + two + "\n\n", 0},
		"a sequence said as lines": {"application/x-ndjson", "\x1e" + one + "\n\x1e" + two + "\n", 0},
		"nothing between them":     {"application/stream+json", one + two, 0},
		"names twice":              {"application/x-ndjson", `{"text":"x","text":"one"}` + "\n" + two, 0},
		"nulls":                    {"application/x-ndjson", "null\n" + one + "\n{}\n" + two + "\nnull", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			answer, err := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				io.WriteString(w, tt.body)
			}).Answer(t.Context(), turn("x"))
			is.NoErr(err)
			var got []relay.Action
			skipped := 0
			for a, err := range answer.Stream {
				if err != nil {
					_, goesOn := errors.AsType[*agent.Skipped](err)
					is.True(goesOn)
					is.True(strings.Contains(err.Error(), "of the answer is"))
					skipped++
					continue
				}
				got = append(got, a)
			}
			is.Equal(got, []relay.Action{{"op": "send", "content": "one"}, {"op": "edit", "content": "two"}})
			is.Equal(skipped, tt.skipped)
		})
	}
}

func TestWhatIsNoObjectInAStreamIsNoAction(t *testing.T) {
	is := is.New(t)
	answer, err := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, `"a"`+"\n"+`{"text":"b"}`+"\n"+`[{"text":"c"}]`+"\n"+`{"text":"d"}`)
	}).Answer(t.Context(), turn("x"))
	is.NoErr(err)
	got, err := gather(answer)
	is.NoErr(err)
	is.Equal(got, []relay.Action{nil, {"op": "send", "content": "b"}, nil, {"op": "send", "content": "d"}}) // nil: skipped
}

func FuzzDecodeLine(f *testing.F) { // each line is an action with an op, nothing, or an error without its text
	f.Add([]byte(`{"text":"a"}`))
	f.Add([]byte(`{"op":"edit","content":"\ud83d\ude00","metadata":{"x":[1,2]}}`))
	f.Add([]byte(`{"op":7,"text":null}`))
	f.Add([]byte(`{"op":"send","op":"edit"}`))
	f.Add([]byte(`{"op":"edit","content":"Oh \ud83c","chat_id":-1009876543210}`)) // cut within an emoji
	f.Add([]byte("\ufeff{\"text\":\" \"}"))
	f.Add([]byte("{\"text\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := agent.DecodeLine(line)
		if a != nil && (err != nil || a.Op() == "") {
			t.Fatalf("%v beside %v", a, err)
		}
		if err != nil && len(line) > 64 && strings.Contains(err.Error(), string(line)) {
			t.Fatalf("the error quotes the line: %v", err)
		}
		if raw, err := json.Marshal(a); err != nil || !utf8.Valid(raw) {
			t.Fatalf("what was decoded cannot be journalled: %v", err)
		}
	})
}
