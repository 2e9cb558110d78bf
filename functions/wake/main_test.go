package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
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
)

// standInVariable makes this test binary a drain function that answers with its event.
const standInVariable = "WAKE_TEST_STAND_IN"

var bootstrap string // functions/wake as it is deployed, for this machine

func TestMain(m *testing.M) {
	if os.Getenv(standInVariable) != "" {
		runtime.Start(func(event json.RawMessage) (json.RawMessage, error) { return event, nil })
	}
	dir, err := os.MkdirTemp("", "wake")
	if err != nil {
		panic(err)
	}
	bootstrap = filepath.Join(dir, "bootstrap")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w",
		"-o", bootstrap, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile does it, so that the build cache serves both
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out) + err.Error())
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// stack is wake and a stand-in for drain, deployed on a local Lambda.
type stack struct {
	*locallambda.Host
	drained chan string // the events that reached drain

	mu  sync.Mutex
	log strings.Builder
}

func deploy(t *testing.T, settings map[string]string) *stack {
	t.Helper()
	s := &stack{drained: make(chan string, 10)}
	var err error
	s.Host, err = locallambda.Start(locallambda.Config{
		Functions: []locallambda.Function{
			{Name: "stack-wake", Command: []string{bootstrap}, Env: settings, Memory: 512, Timeout: 15 * time.Second},
			{
				Name: "stack-drain", Command: []string{os.Args[0]}, Memory: 256, Timeout: 15 * time.Second, Concurrency: 1,
				Env: map[string]string{standInVariable: "1", "GORACE": "atexit_sleep_ms=0"},
			},
		},
		Log: func(_, line string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.log.WriteString(line + "\n")
		},
		Done: func(_ string, result locallambda.Result) { s.drained <- result.FunctionError + string(result.Payload) },
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
	is.Equal(strings.Count(s.log.String(), `"msg":"poke"`), 2)
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
	s := deploy(t, nil)
	result, err := s.Invoke(t.Context(), "stack-wake", []byte(`{}`))
	is.NoErr(err)
	is.Equal(result.FunctionError, "Unhandled")
	is.True(strings.Contains(s.log.String(), "DORMOUSE_DRAIN_FUNCTION is not set")) // complete, as the process has ended
}
