package examples_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"
)

// reply is what an endpoint answers.
type reply struct {
	status int
	header http.Header
	body   string
}

func streamed(lines ...string) reply {
	return reply{status: http.StatusOK, body: strings.Join(lines, "\n")}
}

// The cases that are shared with other parts are in internal/cases; these are the other shapes of the same kinds.
func TestOpenAIAgentReadsWhatEndpointsSend(t *testing.T) {
	t.Parallel()
	const stop = `data: {"choices":[{"delta":{},"finish_reason":"stop"}]}`
	hello := `data: {"choices":[{"delta":{"content":"Hello"}}]}`
	tests := map[string]struct {
		endpoint reply
		status   int
		text     string // of the last action, or of the body if it is no 200
		broken   bool
	}{
		"null content":      {streamed(`data: {"choices":[{"delta":{"content":null}}]}`, hello, stop), 200, "Hello", false},
		"a null delta":      {streamed(hello, `data: {"choices":[{"delta":null,"finish_reason":"stop"}]}`), 200, "Hello", false},
		"null choices":      {streamed(hello, stop, `data: {"choices":null,"usage":{}}`), 200, "Hello", false},
		"no choices":        {streamed(hello, stop, `data: {"usage":{}}`, `data: [DONE]`), 200, "Hello", false},
		"thoughts":          {streamed(`data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}`, hello, stop), 200, "Hello", false},
		"an empty list":     {streamed(`data: {"choices":[{"delta":{"content":[]}}]}`, hello, stop), 200, "Hello", false},
		"a part of null":    {streamed(`data: {"choices":[{"delta":{"content":[{"type":"text","text":null}]}}]}`, hello, stop), 200, "Hello", false},
		"a byte order mark": {streamed("\ufeff"+hello, stop), 200, "Hello", false},
		"comments":          {streamed(": wait", "", "event: x", "id: 1", "retry: 5", hello, "", stop), 200, "Hello", false},
		"no blank":          {streamed(strings.Replace(hello, ": ", ":", 1), "data:[DONE]"), 200, "Hello", false},
		"carriage returns":  {streamed(hello+"\r\n\r", stop+"\r"), 200, "Hello", false},
		"half an emoji":     {streamed(`data: {"choices":[{"delta":{"content":"\ud83c"}}]}`, `data: {"choices":[{"delta":{"content":"\udfa9"}}]}`, stop), 200, "🎩", false},
		"one JSON value":    {streamed(`{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}`), 200, "Hello", false},
		"JSON over lines":   {streamed("\ufeff{", `"choices": [`, `{"message": {"content": [{"type":"text","text":"Hello"}]}}]`, "}"), 200, "Hello", false},
		"nothing to say":    {streamed(stop), 200, "", false},

		"an error at once":     {streamed(`data: {"error":{"message":"overloaded"}}`), 500, "overloaded", false},
		"an error with status": {streamed(`data: {"error":{"message":"slow down","code":429}}`), 429, "slow down", false},
		"an error as text":     {streamed(`data: {"error":"no room"}`), 500, "no room", false},
		"an error as JSON":     {streamed(`{"error":{"message":"no room","code":"busy"}}`), 500, "no room", false},
		"an error after words": {streamed(hello, `data: {"error":{"message":"overloaded"}}`), 200, "Hello", true},
		"broken off":           {streamed(hello), 200, "Hello", true},
		"broken JSON":          {streamed(hello, `data: {"choices":[`), 200, "Hello", true},
		"a list":               {streamed(`data: []`), 500, "broke off", false}, // no chunk
		"nothing":              {streamed(), 500, "broke off", false},
		"a web page":           {streamed("<html>"), 500, "broke off", false},

		"a wrong key":  {reply{401, nil, `{"error":"no such key: key-canary"}`}, 401, "no such key: [key]", false},
		"a throttle":   {reply{429, http.Header{"Retry-After": {"7"}}, "slow down"}, 429, "slow down", false},
		"a bad status": {reply{503, nil, "down\nfor\x00 a while"}, 503, "down for", false},
		"a redirect":   {reply{302, http.Header{"Location": {"/elsewhere"}}, ""}, 502, "answers 302", false},
	}
	var mu sync.Mutex
	var next reply
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path != "/v1/chat/completions" {
			t.Errorf("the key went to %s", r.URL.Path)
		}
		mu.Lock()
		defer mu.Unlock()
		for name, values := range next.header {
			w.Header()[name] = values
		}
		w.WriteHeader(next.status)
		_, _ = io.WriteString(w, next.body)
	}))
	defer model.Close()
	log := &stderr{}
	url := listening(t, log, []string{"OPENAI_BASE_URL=" + model.URL + "/v1", "OPENAI_API_KEY=key-canary"},
		tool(t, "python3"), "-B", "openai/agent.py")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			mu.Lock()
			next = tt.endpoint
			mu.Unlock()
			res, err := http.Post(url, "application/json", strings.NewReader(
				`{"session_key":"`+name+`","event":{"text":"hi"},"descriptor":{"supports_edit":true},"delivery":{}}`))
			is.NoErr(err)
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			is.Equal(err != nil, tt.broken)
			is.Equal(res.StatusCode, tt.status)
			is.Equal(res.Header.Get("Retry-After"), tt.endpoint.header.Get("Retry-After"))
			if tt.status != http.StatusOK {
				is.True(strings.Contains(string(body), tt.text)) // the body says why
				log.await(t, tt.text)                            // and so does the log
				return
			}
			is.Equal(lastContent(t, body), tt.text)
		})
	}
	http.DefaultClient.CloseIdleConnections()
	log.mu.Lock()
	defer log.mu.Unlock()
	is.New(t).True(!strings.Contains(log.b.String(), "canary"))
}

// stderr is what a process writes while it runs.
type stderr struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *stderr) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// await waits until text has been written.
func (s *stderr) await(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		found := strings.Contains(s.b.String(), text)
		s.mu.Unlock()
		if found {
			return
		}
	}
	t.Errorf("%q is not in the log", text)
}

// lastContent is that of the last whole line of a streamed answer.
func lastContent(t *testing.T, body []byte) string {
	t.Helper()
	var a struct{ Content string }
	for line := range bytes.Lines(body) {
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
	}
	return a.Content
}
