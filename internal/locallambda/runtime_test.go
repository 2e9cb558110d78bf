package locallambda

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// newProcesslessSandbox has a Runtime API and no process: the tests speak for it.
func newProcesslessSandbox() *sandbox {
	fn := &function{Function: Function{Name: "fn"}, arn: "arn:fn"}
	return &sandbox{fn: fn, jobs: make(chan *job, 1), exited: make(chan struct{})}
}

func call(s *sandbox, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:4711"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.runtimeAPI().ServeHTTP(w, r)
	return w
}

func TestTheRuntimeAPIRefusesWhatIsOutOfTurn(t *testing.T) {
	const next, answers = "/2018-06-01/runtime/invocation/next", "/2018-06-01/runtime/invocation/"
	is := is.New(t)
	s := newProcesslessSandbox()
	is.Equal(call(s, "POST", answers+"id-1/response", `1`).Code, 400) // nothing is in hand
	j := &job{id: "id-1", payload: []byte(`{"n":1}`), finished: make(chan struct{})}
	s.jobs <- j
	w := call(s, "GET", next, "")
	is.Equal(w.Code, 200)
	is.Equal(w.Body.String(), `{"n":1}`)
	is.Equal(w.Header().Get("Lambda-Runtime-Aws-Request-Id"), "id-1")
	is.Equal(call(s, "GET", next, "").Code, 403)                      // the event is not answered
	is.Equal(call(s, "POST", answers+"id-2/response", `1`).Code, 400) // that is another's
	is.Equal(call(s, "POST", answers+"id-1/response", `2`).Code, 202)
	is.Equal(call(s, "POST", answers+"id-1/error", `3`).Code, 403) // answered already
	s.jobs <- &job{id: "id-3", payload: []byte(`{}`), finished: make(chan struct{})}
	is.Equal(call(s, "GET", next, "").Code, 200)
	<-j.finished
	is.Equal(s.result(j, false).Payload, []byte(`2`))
}

// A page in a browser of this machine can reach it: it gets no event, and answers none.
func TestTheRuntimeAPIIsForNoBrowser(t *testing.T) {
	for name, header := range map[string][]string{
		"a foreign origin": {"Origin", "https://evil.example"}, "no origin": {"Origin", "null"}, "another site": {"Sec-Fetch-Site", "cross-site"},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			s := newProcesslessSandbox()
			s.job = &job{id: "id-1", finished: make(chan struct{})}
			is.Equal(call(s, "POST", "/2018-06-01/runtime/invocation/id-1/response", `1`, header...).Code, 403)
			is.True(s.job.answer == nil)
			s.job = nil
			s.jobs <- &job{id: "id-2", payload: []byte(`{}`), finished: make(chan struct{})}
			is.Equal(call(s, "GET", "/2018-06-01/runtime/invocation/next", "", header...).Code, 403)
			is.Equal(len(s.jobs), 1)
		})
	}
	t.Run("a host that was rebound", func(t *testing.T) {
		is := is.New(t)
		s := newProcesslessSandbox()
		s.jobs <- &job{id: "id-2", payload: []byte(`{}`), finished: make(chan struct{})}
		w := httptest.NewRecorder()
		s.runtimeAPI().ServeHTTP(w, httptest.NewRequest("GET", "http://evil.example/2018-06-01/runtime/invocation/next", nil))
		is.Equal(w.Code, 403)
		is.Equal(len(s.jobs), 1)
	})
}

func TestAnAnswerOverTheLimitIsAnError(t *testing.T) {
	is := is.New(t)
	s := newProcesslessSandbox()
	j := &job{id: "id-1", finished: make(chan struct{})}
	s.job = j
	w := call(s, "POST", "/2018-06-01/runtime/invocation/id-1/response", strings.Repeat("x", maxPayload+1))
	is.Equal(w.Code, 413)
	result := s.result(j, false)
	is.Equal(result.FunctionError, "Unhandled")
	is.True(bytes.Contains(result.Payload, []byte("Function.ResponseSizeTooLarge")))
}

func TestExtensionRegistration(t *testing.T) {
	const path = "/2020-01-01/extension/register"
	tests := map[string]struct {
		name, body string
		status     int
	}{
		"as aws-lambda-go does it": {"GoLangEnableSIGTERM", `{"events":null}`, http.StatusOK},
		"without events":           {"mine", `{"events":[]}`, http.StatusOK},
		"with events":              {"mine", `{"events":["INVOKE"]}`, http.StatusBadRequest},
		"without a name":           {"", `{}`, http.StatusBadRequest},
		"junk":                     {"mine", `[`, http.StatusBadRequest},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			s := newProcesslessSandbox()
			w := call(s, "POST", path, tt.body, "Lambda-Extension-Name", tt.name)
			is.Equal(w.Code, tt.status)
			is.Equal(s.sigterm, tt.status == http.StatusOK)
			is.Equal(w.Header().Get("Lambda-Extension-Identifier") != "", tt.status == http.StatusOK)
		})
	}
}

func FuzzRuntimeAPI(f *testing.F) { // whatever a process sends is answered, and its API lives on
	f.Add("POST", "/2018-06-01/runtime/invocation/id-1/response", []byte(`{"ok":true}`))
	f.Add("POST", "/2018-06-01/runtime/invocation/id-1/error", []byte(`{"errorType":"x"}`))
	f.Add("POST", "/2018-06-01/runtime/invocation/%2e%2e/error", []byte{})
	f.Add("POST", "/2018-06-01/runtime/init/error", []byte(`null`))
	f.Add("POST", "/2020-01-01/extension/register", []byte(`{"events":{"a":1}}`))
	f.Add("PUT", "/", []byte("\xff"))
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		r, err := http.NewRequest(method, "http://api"+path, bytes.NewReader(body))
		if err != nil || r.URL.Host != "api" || strings.HasSuffix(r.URL.Path, "/next") { // those wait for an event
			t.Skip()
		}
		r.Host = "127.0.0.1:4711"
		r.Header.Set("Lambda-Extension-Name", "x")
		s := newProcesslessSandbox()
		s.job = &job{id: "id-1", finished: make(chan struct{})}
		w := httptest.NewRecorder()
		s.runtimeAPI().ServeHTTP(w, r)
		if w.Code < 200 || w.Code > 499 {
			t.Fatalf("status %d", w.Code)
		}
		answered := s.job.answer != nil
		if answered != (w.Code == http.StatusAccepted && !strings.HasSuffix(r.URL.Path, "/init/error")) {
			t.Fatalf("status %d, answered: %v", w.Code, answered)
		}
	})
}

func FuzzRespond(f *testing.F) { // an answer is written whole, or not at all
	for _, answer := range []string{
		`{"statusCode":202,"headers":{"Allow":"GET"},"body":"x"}`, `{"statusCode":200,"body":"!","isBase64Encoded":true}`,
		`{"statusCode":"200"}`, `{"statusCode":1e9}`, `{"headers":{"a b":"c\r\nd"},"statusCode":200}`, `null`, `7`, ``, `{`,
		`{"statusCode":304,"body":"x","cookies":["a=b"]}`,
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		w := httptest.NewRecorder()
		w.Code = 0
		if written := respond(w, answer); written != (w.Code != 0) {
			t.Fatalf("written: %v, status %d", written, w.Code)
		}
		if w.Code == 0 && w.Body.Len()+len(w.Header()) > 0 {
			t.Fatalf("refused, and yet %q %v", w.Body, w.Header())
		}
	})
}

func TestABase64BodyIsDecoded(t *testing.T) {
	is := is.New(t)
	w := httptest.NewRecorder()
	body := base64.StdEncoding.EncodeToString([]byte{0, 255})
	is.True(respond(w, []byte(`{"statusCode":200,"isBase64Encoded":true,"body":"`+body+`"}`)))
	is.Equal(w.Body.Bytes(), []byte{0, 255})
}
