package wake_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	runtime "github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/wake"
)

var _ runtime.Handler = (*wake.Handler)(nil)

// lambdaFunc answers attempt n, counted from 1, at starting the drain.
type lambdaFunc func(ctx context.Context, n int) error

type lambdaAPI struct {
	answer lambdaFunc
	calls  []lambda.InvokeInput
	opts   lambda.Options
}

func (l *lambdaAPI) Invoke(
	ctx context.Context, in *lambda.InvokeInput, opts ...func(*lambda.Options),
) (*lambda.InvokeOutput, error) {
	l.calls = append(l.calls, *in)
	for _, opt := range opts {
		opt(&l.opts)
	}
	if l.answer == nil {
		return &lambda.InvokeOutput{StatusCode: http.StatusAccepted}, nil
	}
	return &lambda.InvokeOutput{StatusCode: http.StatusAccepted}, l.answer(ctx, len(l.calls))
}

func httpError(status int) error {
	return &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
		Err:      errors.New(http.StatusText(status)),
	}
}

func event(t testing.TB, method string) []byte {
	t.Helper()
	var request events.APIGatewayV2HTTPRequest
	request.Version = "2.0"
	request.RawPath = "/w/the-capability"
	request.Body = "a body that nobody reads"
	request.RequestContext.HTTP.Method = method
	request.RequestContext.HTTP.Path = "/w/the-capability"
	raw, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func invoke(t testing.TB, h *wake.Handler, event []byte) events.APIGatewayV2HTTPResponse {
	t.Helper()
	raw, err := h.Invoke(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	var response events.APIGatewayV2HTTPResponse
	if err := json.Unmarshal(raw, &response); err != nil {
		t.Fatal(err)
	}
	return response
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestMethods(t *testing.T) {
	tests := map[string]struct {
		status int
		starts int
		body   string
		allow  string
	}{
		"GET":     {202, 1, `{"status":"waking"}`, ""},
		"POST":    {202, 1, `{"status":"waking"}`, ""},
		"HEAD":    {204, 0, "", ""},
		"PUT":     {405, 0, `{"status":"method not allowed"}`, "GET, HEAD, POST"},
		"DELETE":  {405, 0, `{"status":"method not allowed"}`, "GET, HEAD, POST"},
		"OPTIONS": {405, 0, `{"status":"method not allowed"}`, "GET, HEAD, POST"},
		"get":     {405, 0, `{"status":"method not allowed"}`, "GET, HEAD, POST"},
	}
	for method, tt := range tests {
		t.Run(method, func(t *testing.T) {
			is := is.New(t)
			api := &lambdaAPI{}
			response := invoke(t, wake.New(api, "drain", discard()), event(t, method))
			is.Equal(response.StatusCode, tt.status)
			is.Equal(response.Body, tt.body)
			is.Equal(response.Headers["Allow"], tt.allow)
			is.Equal(len(api.calls), tt.starts) // drains started
		})
	}
}

func TestFunctionURLEventIsAPoke(t *testing.T) {
	is := is.New(t)
	var request events.LambdaFunctionURLRequest
	request.Version = "2.0"
	request.RequestContext.HTTP.Method = "GET"
	raw, err := json.Marshal(request)
	is.NoErr(err)
	is.Equal(invoke(t, wake.New(&lambdaAPI{}, "drain", discard()), raw).StatusCode, 202)
}

func TestDrainIsStartedAsynchronouslyWithReasonAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		api := &lambdaAPI{}
		invoke(t, wake.New(api, "stack-drain", discard()), event(t, "GET"))
		is.Equal(*api.calls[0].FunctionName, "stack-drain")
		is.Equal(api.calls[0].InvocationType, types.InvocationTypeEvent)
		is.Equal(string(api.calls[0].Payload), `{"reason":"wake","at":"2000-01-01T00:00:00Z"}`) // the bubble's clock
		is.Equal(api.opts.Retryer, aws.NopRetryer{})                                            // one loop of attempts, ours
	})
}

func TestAPassingFaultIsTriedAgain(t *testing.T) {
	faults := map[string]error{
		"throttled":        &types.TooManyRequestsException{},
		"429":              httpError(429),
		"being updated":    httpError(409),
		"500":              httpError(500),
		"503":              httpError(503),
		"network":          io.ErrUnexpectedEOF,
		"attempt timeout":  context.DeadlineExceeded,
		"request time-out": httpError(408),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				api := &lambdaAPI{answer: func(_ context.Context, n int) error {
					if n < 4 {
						return fault
					}
					return nil
				}}
				start := time.Now()
				is.Equal(invoke(t, wake.New(api, "drain", discard()), event(t, "GET")).StatusCode, 202)
				is.Equal(len(api.calls), 4)
				is.Equal(time.Since(start), 700*time.Millisecond) // 100 + 200 + 400
			})
		})
	}
}

func TestAfter8SecondsThePokeIsAnswered503(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		api := &lambdaAPI{answer: func(context.Context, int) error { return httpError(500) }}
		start := time.Now()
		response := invoke(t, wake.New(api, "drain", discard()), event(t, "POST"))
		is.Equal(response.StatusCode, 503)
		is.Equal(response.Body, `{"status":"the drain could not be started"}`)
		is.Equal(time.Since(start), 8*time.Second)
		is.Equal(len(api.calls), 11) // 0, 0.1, 0.3, 0.7, 1.5 s, then every second
	})
}

func TestASilentLambdaIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		api := &lambdaAPI{answer: func(ctx context.Context, n int) error {
			if n == 1 {
				<-ctx.Done() // the packet that never arrives
				return ctx.Err()
			}
			return nil
		}}
		start := time.Now()
		is.Equal(invoke(t, wake.New(api, "drain", discard()), event(t, "GET")).StatusCode, 202)
		is.Equal(time.Since(start), 3100*time.Millisecond)
	})
}

func TestTheInvocationsOwnDeadlineEndsItEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		api := &lambdaAPI{answer: func(context.Context, int) error { return httpError(500) }}
		start := time.Now()
		raw, err := wake.New(api, "drain", discard()).Invoke(ctx, event(t, "GET"))
		is.NoErr(err)
		is.True(strings.Contains(string(raw), `"statusCode":503`))
		is.Equal(time.Since(start), 2*time.Second)
	})
}

func TestAFinalRefusalIsNotTriedAgain(t *testing.T) {
	for _, status := range []int{400, 403, 404, 413} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			is := is.New(t)
			api := &lambdaAPI{answer: func(context.Context, int) error { return httpError(status) }}
			is.Equal(invoke(t, wake.New(api, "drain", discard()), event(t, "GET")).StatusCode, 503)
			is.Equal(len(api.calls), 1)
		})
	}
}

func TestTheLogNeverShowsTheCapability(t *testing.T) {
	for _, answer := range []lambdaFunc{nil, func(context.Context, int) error { return httpError(403) }} {
		for _, method := range []string{"GET", "POST", "HEAD", "PUT", ""} {
			is := is.New(t)
			var out bytes.Buffer
			log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
			invoke(t, wake.New(&lambdaAPI{answer: answer}, "drain", log), event(t, method))
			is.True(!strings.Contains(out.String(), "capability"))
			is.True(!strings.Contains(out.String(), "nobody reads"))
			is.Equal(out.Len() == 0, method == "HEAD") // everything else is logged
		}
	}
}

func FuzzInvoke(f *testing.F) { // any event is answered, and only a GET or a POST starts a drain
	for _, method := range []string{"GET", "POST", "HEAD", "PUT", "", "\xff"} {
		f.Add(event(f, method))
	}
	for _, junk := range []string{
		``, `null`, `[]`, `"GET"`, `{}`, `{"requestContext":null}`, `{"requestContext":{"http":[]}}`,
		`{"requestContext":{"http":{"method":7}}}`, `{"requestContext":{"http":{"method":"GET"}},"body":{"a":1}}`,
		`{"requestContext":{"http":{"method":"GET","method":"PUT"}}}`, `{"requestContext":`, `{"httpMethod":"GET"}`,
		`{"version":"2.0","requestContext":{"http":{"method":"GET"}},"headers":3,"cookies":"x","isBase64Encoded":"?"}`,
	} {
		f.Add([]byte(junk))
	}
	f.Fuzz(func(t *testing.T, event []byte) {
		api := &lambdaAPI{}
		response := invoke(t, wake.New(api, "drain", discard()), event)
		started := response.StatusCode == 202
		if started != (len(api.calls) == 1) || len(api.calls) > 1 {
			t.Fatalf("status %d with %d drains started", response.StatusCode, len(api.calls))
		}
		switch response.StatusCode {
		case 202, 204, 400, 405:
		default:
			t.Fatalf("status %d", response.StatusCode)
		}
	})
}
