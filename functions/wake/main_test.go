package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	runtime "github.com/aws/aws-lambda-go/lambda"
	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/internal/rig/rigtest"
)

// standInVariable makes this test binary a drain function that answers with its event.
const standInVariable = "WAKE_TEST_STAND_IN"

func TestMain(m *testing.M) {
	if os.Getenv(standInVariable) != "" {
		runtime.Start(func(event json.RawMessage) (json.RawMessage, error) { return event, nil })
	}
	goleak.VerifyTestMain(m)
}

// stack is wake and a stand-in for drain, deployed on a local Lambda.
type stack struct {
	*rig.Rig
	drained chan string // the events that reached drain

	mu  sync.Mutex
	log strings.Builder
}

func deploy(t *testing.T, settings map[string]string) *stack {
	t.Helper()
	s := &stack{drained: make(chan string, 10)}
	var err error
	s.Rig, err = rig.Start(rig.Config{
		Wake: &locallambda.Function{Name: "stack-wake", Command: []string{rigtest.Bootstraps(t).Wake}, Env: settings},
		Drain: &locallambda.Function{
			Name: "stack-drain", Command: []string{os.Args[0]}, Timeout: 15 * time.Second,
			Env: map[string]string{standInVariable: "1", "GORACE": "atexit_sleep_ms=0"},
		},
		Host: locallambda.Config{
			Log: func(_, line string) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.log.WriteString(line + "\n")
			},
			Done: func(_ string, result locallambda.Result) { s.drained <- result.FunctionError + string(result.Payload) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

// stop ends all processes, after which the log is complete.
func (s *stack) stop() { s.Close(context.Background()) }

func drainOf(name string) map[string]string {
	return map[string]string{"DORMOUSE_DRAIN_FUNCTION": name}
}

// checkDrained waits for n drains, each started by the wake function's event.
func (s *stack) checkDrained(t *testing.T, n int) {
	t.Helper()
	is := is.New(t)
	for range n {
		select {
		case event := <-s.drained:
			var got struct {
				Reason string    `json:"reason"`
				At     time.Time `json:"at"`
			}
			is.NoErr(json.Unmarshal([]byte(event), &got))
			is.Equal(got.Reason, "wake")
			is.True(time.Since(got.At) < time.Hour)
		case <-time.After(30 * time.Second):
			t.Fatal("drain was not started")
		}
	}
	s.stop()
	is.Equal(len(s.drained), 0) // and no more than that
}

func TestPokesOverHTTP(t *testing.T) {
	is := is.New(t)
	s := deploy(t, drainOf("stack-drain"))
	front := s.Front("stack-wake")
	for _, tt := range []struct {
		method string
		status int
		body   string
	}{
		{http.MethodGet, 202, `{"status":"waking"}`},
		{http.MethodPost, 202, `{"status":"waking"}`},
		{http.MethodHead, 204, ``},
		{http.MethodPut, 405, `{"status":"method not allowed"}`},
	} {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, httptest.NewRequest(tt.method, "/w/the-capability?token=x", strings.NewReader("not read")))
		is.Equal(w.Code, tt.status)
		is.Equal(w.Body.String(), tt.body)
		if tt.status == 405 {
			is.Equal(w.Header().Get("Allow"), "GET, HEAD, POST")
		}
	}
	s.checkDrained(t, 2)
	is.Equal(strings.Count(s.log.String(), `"message":"`+logs.Poke+`"`), 2)
	is.True(!strings.Contains(s.log.String(), "capability"))
}

func TestCannedEvents(t *testing.T) {
	tests := map[string]struct {
		status, drains int
	}{
		"wake-get.json":  {202, 1},
		"wake-post.json": {202, 1},
		"wake-head.json": {204, 0},
		"wake-put.json":  {405, 0},
	}
	is := is.New(t)
	s := deploy(t, drainOf("arn:aws:lambda:us-east-1:000000000000:function:stack-drain"))
	drains := 0
	for name, tt := range tests {
		event, err := os.ReadFile(filepath.Join("..", "..", "events", name))
		is.NoErr(err)
		result, err := s.Invoke(t.Context(), "stack-wake", event)
		is.NoErr(err)
		var response events.APIGatewayV2HTTPResponse
		is.NoErr(json.Unmarshal(result.Payload, &response))
		is.Equal(response.StatusCode, tt.status)
		drains += tt.drains
	}
	s.checkDrained(t, drains)
}

func TestADrainThatIsNotThereIsA503(t *testing.T) {
	is := is.New(t)
	s := deploy(t, drainOf("misspelt"))
	w := httptest.NewRecorder()
	s.Front("stack-wake").ServeHTTP(w, httptest.NewRequest("GET", "/w/the-capability", nil))
	is.Equal(w.Code, 503)
	s.stop()
	is.True(strings.Contains(s.log.String(), "ResourceNotFoundException")) // the log has the reason
	is.True(!strings.Contains(s.log.String(), "capability"))
}

func TestAMissingSettingIsNamed(t *testing.T) {
	is := is.New(t)
	s := deploy(t, drainOf(""))
	result, err := s.Invoke(t.Context(), "stack-wake", []byte(`{}`))
	is.NoErr(err)
	is.Equal(result.FunctionError, "Unhandled")
	is.True(strings.Contains(s.log.String(), "DORMOUSE_DRAIN_FUNCTION is not set")) // complete, as the process has ended
}
