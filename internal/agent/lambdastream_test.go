package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// streaming is function, invoked with a response stream.
func streaming(t testing.TB, h http.HandlerFunc) agent.Agent {
	return lambdaAgent(t, "lambda:my-agent:live", h, func(c *lambda.Client) agent.Options { return agent.Options{LambdaStreams: c} })
}

// tell writes one message of an event stream.
func tell(w http.ResponseWriter, kind string, payload []byte, more ...string) {
	message := eventstream.Message{Payload: payload}
	message.Headers.Set(eventstreamapi.MessageTypeHeader, eventstream.StringValue(eventstreamapi.EventMessageType))
	message.Headers.Set(eventstreamapi.EventTypeHeader, eventstream.StringValue(kind))
	for i := 0; i+1 < len(more); i += 2 {
		message.Headers.Set(more[i], eventstream.StringValue(more[i+1]))
	}
	if err := eventstream.NewEncoder().Encode(w, message); err != nil {
		panic(err)
	}
	http.NewResponseController(w).Flush()
}

func chunk(w http.ResponseWriter, text string) { tell(w, "PayloadChunk", []byte(text)) }

// complete ends a stream, with an error if code is not empty.
func complete(w http.ResponseWriter, code, details string) {
	end := map[string]string{}
	if code != "" {
		end["ErrorCode"], end["ErrorDetails"] = code, details
	}
	raw, _ := json.Marshal(end)
	tell(w, "InvokeComplete", raw)
}

// says is a function that streams these chunks.
func says(contentType string, chunks ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for _, text := range chunks {
			chunk(w, text)
		}
		complete(w, "", "")
	}
}

func TestLambdaStreamsAsHTTPAgentsDo(t *testing.T) {
	tests := map[string]struct {
		contentType string
		chunks      []string
		streamed    bool
	}{
		"by its content type":         {"application/x-ndjson", []string{"{\"text\":\"a\"}\n", "{\"text\":\"b\"}\n"}, true},
		"server-sent events":          {"text/event-stream; charset=utf-8", []string{"data: {\"text\":\"a\"}\n\n", "data: {\"text\":\"b\"}\n\n"}, true},
		"by its first line":           {"application/octet-stream", []string{"{\"text\":\"a\"}\n{\"te", "xt\":\"b\"}"}, true},
		"as JSON, by its first line":  {"application/json", []string{"{\"op\":\"send\",\"content\":\"a\"}\n", "{\"text\":\"b\"}"}, true},
		"with a sign of life first":   {"application/octet-stream", []string{"\n", " \n{\"text\":\"a\"}\n{\"text\":\"b\"}\n"}, true},
		"cut anywhere":                {"", strings.Split("{\"text\":\"a\"}\n{\"text\":\"b\"}\n", ""), true},
		"one answer":                  {"application/json", []string{`{"actions":[{"op":"send","content":"a"},`, `{"op":"send","content":"b"}]}`}, false},
		"one answer with a line feed": {"application/json", []string{"{\"actions\":[{\"op\":\"send\",\"content\":\"a\"},{\"op\":\"send\",\"content\":\"b\"}]}\n"}, false},
		"one answer on many lines":    {"application/octet-stream", []string{"{\n \"actions\": [{\"op\":\"send\",\"content\":\"a\"},\n", "{\"op\":\"send\",\"content\":\"b\"}]\n}\n"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			answer, err := streaming(t, says(tt.contentType, tt.chunks...)).Answer(t.Context(), turn("x"))
			is.NoErr(err)
			is.Equal(answer.Stream != nil, tt.streamed)
			actions, err := gather(answer)
			is.NoErr(err)
			is.Equal(actions, []relay.Action{{"op": "send", "content": "a"}, {"op": "send", "content": "b"}})
		})
	}
}

func TestAFunctionThatSaysNothingInAStream(t *testing.T) {
	is := is.New(t)
	for _, chunks := range [][]string{nil, {""}, {"null"}, {"{}"}, {"\n\n"}, {"{}\n"}} {
		answer, err := streaming(t, says("application/octet-stream", chunks...)).Answer(t.Context(), turn("x"))
		is.NoErr(err)
		actions, err := gather(answer)
		is.NoErr(err)
		is.Equal(len(actions), 0)
	}
}

func TestALineOfALambdaStreamComesBeforeTheNextIsSaid(t *testing.T) {
	for _, contentType := range []string{"application/x-ndjson", "application/octet-stream"} {
		is := is.New(t)
		heard := make(chan struct{})
		var path string
		a := streaming(t, func(w http.ResponseWriter, r *http.Request) {
			path = r.URL.Path
			w.Header().Set("Content-Type", contentType)
			chunk(w, "{\"text\":\"a\"}\n")
			select {
			case <-heard:
			case <-time.After(10 * time.Second):
				t.Error("the first line was held back")
			}
			chunk(w, "{\"text\":\"b\"}\n")
			complete(w, "", "")
		})
		answer, err := a.Answer(t.Context(), turn("x"))
		is.NoErr(err)
		var texts []any
		for action, err := range answer.Stream {
			is.NoErr(err)
			if texts = append(texts, action["content"]); len(texts) == 1 {
				close(heard)
			}
		}
		is.Equal(texts, []any{"a", "b"})
		is.Equal(path, "/2021-11-15/functions/my-agent:live/response-streaming-invocations")
	}
}

func TestFaultsOfALambdaStream(t *testing.T) {
	raised := `{"errorType":"ValueError","errorMessage":"no such dice"}`
	lines := func(end func(w http.ResponseWriter)) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			chunk(w, "{\"text\":\"a\"}\n{\"text\":\"can")
			end(w)
		}
	}
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string
		said    int
		class   agent.Class
	}{
		"throttled":   {fault(429, "TooManyRequestsException"), "throttled (TooManyRequestsException)", 0, agent.Away},
		"not allowed": {fault(403, "AccessDeniedException"), "role must allow it", 0, agent.Away},
		"not there":   {fault(404, "ResourceNotFoundException"), "want the name or ARN", 0, agent.Away},
		"it raised at once": {func(w http.ResponseWriter, _ *http.Request) { complete(w, "Unhandled", raised) },
			`my-agent:live failed with "ValueError"`, 0, agent.Failed},
		"it raised":       {lines(func(w http.ResponseWriter) { complete(w, "Unhandled", raised) }), `my-agent:live failed with "ValueError"`, 1, agent.Failed},
		"without details": {lines(func(w http.ResponseWriter) { complete(w, "Function.Unhandled", "") }), `failed with "Function.Unhandled"`, 1, agent.Failed},
		"its time was up": {lines(func(w http.ResponseWriter) {
			complete(w, "Sandbox.Timedout", "Task timed out after 3.00 seconds")
		}), "ran into its own timeout", 1, agent.Failed},
		"the connection broke": {lines(func(http.ResponseWriter) { panic(http.ErrAbortHandler) }), "reading the answer", 1, agent.Failed},
		"it never ended":       {lines(func(http.ResponseWriter) {}), "unexpected EOF", 1, agent.Failed},
		"no event stream":      {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("canary ", 99)) }, "reading the answer", 0, agent.Failed},
		"Lambda's own fault": {lines(func(w http.ResponseWriter) {
			message := eventstream.Message{}
			message.Headers.Set(eventstreamapi.MessageTypeHeader, eventstream.StringValue(eventstreamapi.ErrorMessageType))
			message.Headers.Set(eventstreamapi.ErrorCodeHeader, eventstream.StringValue("InternalFailure"))
			if err := eventstream.NewEncoder().Encode(w, message); err != nil {
				panic(err)
			}
		}), "InternalFailure", 1, agent.Failed},
		"an event of a later version": {lines(func(w http.ResponseWriter) {
			tell(w, "Something", nil)
			complete(w, "Unhandled", raised)
		}), `failed with "ValueError"`, 1, agent.Failed},
		"junk": {says("application/json", `"canary"`), "want an object, got a string", 0, agent.Failed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the throttled one waits between its requests
			is := is.New(t)
			answer, err := streaming(t, tt.handler).Answer(t.Context(), turn("x"))
			var actions []relay.Action
			if err == nil {
				actions, err = gather(answer)
			}
			is.True(err != nil)
			t.Log(err)
			is.True(strings.Contains(err.Error(), tt.want)) // want tt.want in the text
			is.True(!strings.Contains(err.Error(), "canary"))
			is.Equal(len(actions), tt.said) // a line that was cut is not said
			is.Equal(agent.ClassOf(err), tt.class)
		})
	}
}

func TestTheTurnsContextEndsALambdaStream(t *testing.T) {
	is := is.New(t)
	stopped := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ended := make(chan struct{})
	a := streaming(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.Copy(io.Discard, r.Body) // so that the server sees the client go
		chunk(w, "{\"text\":\"a\"}\n")
		<-r.Context().Done()
	})
	answer, err := a.Answer(ctx, turn("x"))
	is.NoErr(err)
	for action, err := range answer.Stream {
		if action != nil {
			cancel(stopped)
			continue
		}
		is.True(errors.Is(err, stopped))
	}
	<-ended
}

// An answer whose stream nobody ranges over leaves no goroutine behind once its turn is over: TestMain looks.
func TestALambdaStreamThatNobodyHears(t *testing.T) {
	is := is.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := streaming(t, says("application/x-ndjson", "{\"text\":\"a\"}\n", "{\"text\":\"b\"}\n")).Answer(ctx, turn("x"))
	is.NoErr(err)
	cancel()
}

// doer answers requests without a network.
type doer func(w http.ResponseWriter)

func (d doer) Do(*http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	d(recorder)
	return recorder.Result(), nil
}

// However the chunks are cut, the answer is the same.
func FuzzLambdaStream(f *testing.F) {
	f.Add([]byte("{\"text\":\"a\"}\n{\"op\":\"send\",\"content\":\"b\"}\n"), uint8(3))
	f.Add([]byte("\n{\"actions\":[]}\n"), uint8(1))
	f.Add([]byte("{\n}\n"), uint8(2))
	f.Add([]byte("\xef\xbb\xbf{}\n\n{\"text\":1}"), uint8(9))
	f.Fuzz(func(t *testing.T, said []byte, size uint8) {
		answered := func(n int) string {
			client := lambda.New(lambda.Options{
				Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("id", "key", ""),
				HTTPClient: doer(func(w http.ResponseWriter) {
					for rest := said; len(rest) > 0; rest = rest[min(n, len(rest)):] {
						chunk(w, string(rest[:min(n, len(rest))]))
					}
					complete(w, "", "")
				}),
			})
			answer, err := agent.NewLambda("f", client, client).Answer(t.Context(), turn("x"))
			var actions []relay.Action
			if err == nil {
				actions, err = gather(answer)
			}
			return fmt.Sprint(len(actions), actions, err)
		}
		is.New(t).Equal(answered(max(int(size), 1)), answered(max(len(said), 1)))
	})
}

// bodies are the requests' bodies.
type bodies struct {
	doer
	sent []io.ReadCloser
}

func (b *bodies) Do(req *http.Request) (*http.Response, error) {
	b.sent = append(b.sent, req.Body)
	return b.doer.Do(req)
}

// The SDK closes a request's body as the answer begins. net/http, if it still looks for the body's end, takes what a closed body
// writes for a broken request and closes the connection under a stream.
func TestTheBodyOfAnInvocationEndsQuietly(t *testing.T) {
	is := is.New(t)
	requests := &bodies{doer: func(w http.ResponseWriter) { complete(w, "", "") }}
	client := lambda.New(lambda.Options{
		Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("id", "key", ""), HTTPClient: requests,
	})
	_, err := agent.NewLambda("f", client, client).Answer(t.Context(), turn("x"))
	is.NoErr(err)
	requests.doer = func(w http.ResponseWriter) { io.WriteString(w, "{}") }
	_, err = agent.NewLambda("f", client, nil).Answer(t.Context(), turn("x"))
	is.NoErr(err)
	is.Equal(len(requests.sent), 2)
	for _, body := range requests.sent { // which is closed
		_, err := io.Copy(io.Discard, body)
		is.NoErr(err)
	}
}
