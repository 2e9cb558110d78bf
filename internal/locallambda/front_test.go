package locallambda_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/dormouse-relay/dormouse/internal/pipenet"
	"github.com/matryer/is"
)

func newFront(t *testing.T) (*host, *httptest.Server) {
	t.Helper()
	fn := function("web")
	fn.Concurrency = 1
	h := startFunctions(t, fn)
	srv := httptest.NewServer(h.Front("web"))
	t.Cleanup(srv.Close)
	return h, srv
}

func request(t *testing.T, method, url, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, strings.TrimSpace(string(answer))
}

func TestFrontMakesAPayload2Event(t *testing.T) {
	is := is.New(t)
	_, srv := newFront(t)
	response, answer := request(t, "POST", srv.URL+"/event?a=1&b=2&a=3", `{"x":1}`, http.Header{
		"Content-Type": {"application/json; charset=utf-8"},
		"X-Many":       {"one", "two"},
		"Cookie":       {"k=v; l=w"},
		"User-Agent":   {"node"},
	})
	is.Equal(response.StatusCode, 418)
	is.Equal(response.Header.Get("X-Tea"), "yes")
	is.Equal(response.Header.Values("Set-Cookie"), []string{"a=b", "c=d"})

	var got events.APIGatewayV2HTTPRequest
	is.NoErr(json.Unmarshal([]byte(answer), &got))
	domain := strings.TrimPrefix(srv.URL, "http://")
	is.Equal(got.Version, "2.0")
	is.Equal(got.RouteKey, "$default")
	is.Equal(got.RawPath, "/event")
	is.Equal(got.RawQueryString, "a=1&b=2&a=3")
	is.Equal(got.QueryStringParameters, map[string]string{"a": "1,3", "b": "2"})
	is.Equal(got.Cookies, []string{"k=v", "l=w"})
	is.Equal(got.Headers["host"], domain)
	is.Equal(got.Headers["x-many"], "one,two")
	is.Equal(got.Headers["content-type"], "application/json; charset=utf-8")
	is.Equal(got.Headers["cookie"], "") // they have a place of their own
	is.Equal(got.Body, `{"x":1}`)
	is.True(!got.IsBase64Encoded)
	context := got.RequestContext
	is.Equal(context.HTTP, events.APIGatewayV2HTTPRequestContextHTTPDescription{
		Method: "POST", Path: "/event", Protocol: "HTTP/1.1", SourceIP: "127.0.0.1", UserAgent: "node",
	})
	is.Equal(context.DomainName, domain)
	is.Equal(context.Stage, "$default")
	is.True(context.RequestID != "")
	at, err := time.Parse("02/Jan/2006:15:04:05 -0700", context.Time)
	is.NoErr(err)
	is.Equal(at.Unix(), context.TimeEpoch/1000)
}

func TestFrontEncodesABodyThatIsNoText(t *testing.T) {
	tests := map[string]struct {
		contentType, body, want string
		encoded                 bool
	}{
		"binary":           {"application/octet-stream", "\x00\xff", "AP8=", true},
		"unnamed":          {"", "text", "dGV4dA==", true},
		"broken UTF-8":     {"text/plain", "\xff", "/w==", true},
		"text":             {"text/plain", "text", "text", false},
		"none":             {"", "", "", false},
		"XML":              {"application/xml", "<x/>", "<x/>", false},
		"text of any kind": {"text/csv; header=present", "a,b", "a,b", false},
	}
	_, srv := newFront(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			_, answer := request(t, "POST", srv.URL+"/event", tt.body, http.Header{"Content-Type": {tt.contentType}})
			var got events.APIGatewayV2HTTPRequest
			is.NoErr(json.Unmarshal([]byte(answer), &got))
			is.Equal(got.Body, tt.want)
			is.Equal(got.IsBase64Encoded, tt.encoded)
		})
	}
}

func TestFrontAnswers(t *testing.T) {
	tests := map[string]struct {
		method, path string
		status       int
		body         string
	}{
		"a response":             {"GET", "/text", 202, "plain"},
		"an empty response":      {"HEAD", "/empty", 204, ""},
		"anything else, as JSON": {"GET", "/", 200, `["no","response"]`},
		"a function error":       {"GET", "/error", 500, `{"message":"Internal Server Error"}`},
		"a status out of range":  {"GET", "/odd-status", 500, `{"message":"Internal Server Error"}`},
		"a body that is no code": {"GET", "/odd-body", 500, `{"message":"Internal Server Error"}`},
	}
	_, srv := newFront(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			response, answer := request(t, tt.method, srv.URL+tt.path, "", nil)
			is.Equal(response.StatusCode, tt.status)
			is.Equal(answer, tt.body)
		})
	}
}

func TestFrontRefusesWhatItCannotRun(t *testing.T) {
	is := is.New(t)
	h, srv := newFront(t)
	g := newGate(t)
	through := make(chan *http.Response, 1)
	go func() {
		response, _ := request(t, "GET", srv.URL+"/gate", "", http.Header{"Gate": {g.Addr().String()}})
		through <- response
	}()
	busy := g.running(t)
	response, answer := request(t, "GET", srv.URL+"/", "", nil)
	is.Equal(response.StatusCode, 503) // at the concurrency limit
	is.Equal(answer, `{"message":"Service Unavailable"}`)
	open(t, busy)
	is.Equal(wait(t, through).StatusCode, 200)

	w := httptest.NewRecorder()
	h.Front("web").ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", 7<<20))))
	is.Equal(w.Code, 413)
	w = httptest.NewRecorder()
	h.Front("nobody").ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	is.Equal(w.Code, 500)
}

func TestFrontDoesNotWaitForASlowBody(t *testing.T) {
	h := startFunctions(t)
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		listener := pipenet.Listen()
		srv := &http.Server{Handler: h.Front("nobody")}
		go srv.Serve(listener)
		defer srv.Close()
		conn, err := listener.Dial(t.Context(), "", "")
		is.NoErr(err)
		defer conn.Close()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
			for {
				if _, err := io.WriteString(conn, "x"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		began := time.Now()
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		is.NoErr(err)
		is.Equal(response.StatusCode, http.StatusRequestTimeout)
		is.Equal(time.Since(began), 30*time.Second)
		srv.Close()
		conn.Close()
		<-sent
	})
}
