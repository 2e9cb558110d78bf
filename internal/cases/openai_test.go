package cases

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// withGateway is behind the id of a case whose agent has the gateway before it.
const withGateway = " with the gateway"

// completion is what a case expects of the example agent for an OpenAI-compatible endpoint.
type completion struct {
	Status     *int         `json:"agent_status"`
	From       *int         `json:"agent_status_from"`
	To         *int         `json:"agent_status_to"`
	Not        []int        `json:"agent_status_not"`
	Whole      *bool        `json:"whole"`
	Text       *string      `json:"text"`
	Begins     *string      `json:"text_begins"`
	IsNot      *string      `json:"text_is_not"`
	Requests   *int64       `json:"endpoint_requests"`
	Stderr     *string      `json:"agent_stderr_names"`
	AnyOf      []completion `json:"any_of"`
	BehindOurs *fronted     `json:"with_gateway"`
}

// fronted is what it expects with the gateway before the agent.
type fronted struct {
	Requests *int64 `json:"endpoint_requests"`
	AtLeast  *int64 `json:"endpoint_requests_at_least"`
	Chat     []text `json:"chat"`
	Delivery oneOf  `json:"delivery"`
}

// said is the answer to one request to the agent.
type said struct {
	status   int
	header   http.Header
	body     []byte
	whole    bool
	text     string // of the last send or edit
	requests int64  // at the endpoint
	stderr   string
}

// check says what is not as expected of the agent alone.
func (e *completion) check(got said) (f faults) {
	if e.Status != nil && got.status != *e.Status {
		f.addf("the agent answers %d, want %d", got.status, *e.Status)
	}
	if e.From != nil && got.status < *e.From || e.To != nil && got.status > *e.To {
		f.addf("the agent answers %d, want %d to %d", got.status, *e.From, *e.To)
	}
	if slices.Contains(e.Not, got.status) {
		f.addf("the agent answers %d", got.status)
	}
	if e.Whole != nil && got.whole != *e.Whole {
		f.addf("the answer is whole: %v", got.whole)
	}
	if !e.hasText(got.text) {
		f.addf("the text is %q", got.text)
	}
	if e.Requests != nil && got.requests != *e.Requests {
		f.addf("%d requests at the endpoint, want %d", got.requests, *e.Requests)
	}
	if e.Stderr != nil && !strings.Contains(got.stderr, *e.Stderr) {
		f.addf("the agent writes %q, want %q in it", got.stderr, *e.Stderr)
	}
	return f
}

func (e *completion) hasText(text string) bool {
	return (e.Text == nil || text == *e.Text) && (e.Begins == nil || strings.HasPrefix(text, *e.Begins)) &&
		(e.IsNot == nil || text != *e.IsNot)
}

// check says what is not as expected behind the gateway.
func (e *fronted) check(o *outcome, requests int64) (f faults) {
	if e == nil {
		return nil
	}
	if e.Requests != nil && requests != *e.Requests || e.AtLeast != nil && requests < *e.AtLeast {
		f.addf("%d requests at the endpoint", requests)
	}
	want := reply{Chat: e.Chat, Delivery: e.Delivery}
	return append(f, want.check(o, "chars")...)
}

// options are the objects of which one has to hold as a whole.
func (e *completion) options() []completion {
	if e.AnyOf != nil {
		return e.AnyOf
	}
	return []completion{*e}
}

func TestOpenAI(t *testing.T) {
	type given struct {
		Turn     json.RawMessage `json:"turn"`
		Endpoint struct {
			Status int    `json:"status"`
			Type   string `json:"content_type"`
			Body   string `json:"body"`
		} `json:"endpoint"`
	}
	for _, c := range load[given, completion](t, "openai.json") {
		start := func(t *testing.T) *example {
			return startExample(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.Given.Endpoint.Type)
				w.WriteHeader(c.Given.Endpoint.Status)
				_, _ = io.WriteString(w, c.Given.Endpoint.Body)
			})
		}
		var alone said
		t.Run(c.ID, func(t *testing.T) {
			a := start(t)
			alone = a.ask(t, c.Given.Turn)
			a.stop()
			alone.requests, alone.stderr = a.requests.Load(), a.stderr.String()
			judge(t, c.ID, least(c.Expect.options(), func(e *completion) faults { return e.check(alone) }))
		})
		var turn struct {
			Event      json.RawMessage `json:"event"`
			Descriptor descriptor      `json:"descriptor"`
		}
		if err := json.Unmarshal(c.Given.Turn, &turn); err != nil {
			t.Fatal(err)
		}
		t.Run(c.ID+withGateway, func(t *testing.T) {
			a := start(t)
			var o *outcome
			bubble(t, func(t *testing.T) {
				s := &script{
					descriptors: []descriptor{turn.Descriptor}, frames: []frame{inbound(turn.Event, "b-1")},
					answer: func(w http.ResponseWriter, _ *http.Request, turn *request) { a.pass(t, w, turn) },
				}
				o = s.play(t, "with a table")
			})
			judge(t, c.ID+withGateway, least(c.Expect.options(), func(e *completion) faults {
				return append(e.check(alone), e.BehindOurs.check(o, a.requests.Load())...)
			}))
		})
	}
}

// example is the agent as a process of its own, with its endpoint.
type example struct {
	url      string
	requests atomic.Int64 // at the endpoint
	stderr   strings.Builder
	stop     func() // after which stderr is whole, and may be read
}

// startExample runs examples/openai. Without Python the test is skipped, in CI it fails.
func startExample(t *testing.T, endpoint http.HandlerFunc) *example {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("skipped: no python3 here")
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &example{}
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		endpoint(w, r)
	}))
	t.Cleanup(model.Close)
	cmd := exec.Command(python, "-B", "../../examples/openai/agent.py")
	cmd.Env = append(os.Environ(), "PORT=0", "OPENAI_BASE_URL="+model.URL+"/v1", "OPENAI_API_KEY=key-canary")
	cmd.Stderr = &a.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		a.stop()
		if strings.Contains(a.stderr.String(), "canary") {
			t.Error("the agent writes its key")
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		a.stop()
		t.Fatalf("%v: %s", err, a.stderr.String())
	}
	var port int
	if _, err := fmt.Sscanf(line, "listening on %d", &port); err != nil {
		t.Fatal(err)
	}
	a.url = fmt.Sprintf("http://127.0.0.1:%d/", port)
	return a
}

// ask posts a turn. The connection is not kept: in a bubble an idle one would hold the time back.
func (a *example) ask(t *testing.T, turn []byte) (got said) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Post(a.url, "application/json", bytes.NewReader(turn))
	if err != nil {
		t.Log(err) // it fell over: no status
		return got
	}
	defer res.Body.Close()
	got.status, got.header = res.StatusCode, res.Header
	got.body, err = io.ReadAll(res.Body)
	got.whole = err == nil
	for line := range bytes.Lines(got.body) {
		var act struct {
			Op      string `json:"op"`
			Content string `json:"content"`
		}
		if json.Unmarshal(line, &act) == nil && (act.Op == "send" || act.Op == "edit") {
			got.text = act.Content
		}
	}
	return got
}

// pass hands a turn of the bubble to the process and its answer back, broken off where that was.
func (a *example) pass(t *testing.T, w http.ResponseWriter, turn *request) {
	raw, err := json.Marshal(turn.turn)
	if err != nil {
		t.Error(err)
	}
	got := a.ask(t, raw)
	if got.status == 0 {
		panic(http.ErrAbortHandler)
	}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if value := got.header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(got.status)
	_, _ = w.Write(got.body)
	if !got.whole {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}
