package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// function returns a lambda: agent that is h, behind the real client.
func function(t testing.TB, h http.HandlerFunc) agent.Agent {
	return lambdaAgent(t, "lambda:my-agent:live", h, func(*lambda.Client) agent.Options { return agent.Options{} })
}

// lambdaAgent returns the agent of that address, whose Lambda is h, behind the real client. With says what else it has.
func lambdaAgent(t testing.TB, address string, h http.HandlerFunc, with func(*lambda.Client) agent.Options) agent.Agent {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	client := lambda.New(lambda.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(srv.URL), HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("id", "key", ""),
	})
	o := with(client)
	o.Lambda = client
	a, done, err := agent.New(address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return a
}

func fault(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amzn-ErrorType", code)
		w.WriteHeader(status)
		io.WriteString(w, `{"Type":"User","message":"canary"}`)
	}
}

func functionError(payload string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Function-Error", "Unhandled")
		io.WriteString(w, payload)
	}
}

func TestLambdaIsInvokedWithTheTurn(t *testing.T) {
	is := is.New(t)
	var got agent.Turn
	var path, kind string
	a := function(t, func(w http.ResponseWriter, r *http.Request) {
		path, kind = r.URL.Path, r.Header.Get("X-Amz-Invocation-Type")
		json.NewDecoder(r.Body).Decode(&got)
		io.WriteString(w, `{"text":"pong"}`)
	})
	answer, err := a.Answer(t.Context(), turn("ping"))
	is.NoErr(err)
	is.Equal(answer.Actions, []relay.Action{{"op": "send", "content": "pong"}})
	is.Equal(path, "/2015-03-31/functions/my-agent:live/invocations")
	is.True(kind == "" || kind == "RequestResponse")
	is.Equal(got.Event.Text, "ping")
}

func TestLambdaMayReturnNothing(t *testing.T) {
	is := is.New(t)
	for _, payload := range []string{"", "null", "{}"} {
		answer, err := function(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, payload) }).Answer(t.Context(), turn("x"))
		is.NoErr(err)
		is.Equal(len(answer.Actions), 0)
	}
}

func TestLambdaFaultsAreToldApart(t *testing.T) {
	tests := map[string]struct {
		handler     http.HandlerFunc
		want        string
		requests    int
		unavailable bool
		refused     bool
	}{
		"throttled":     {fault(429, "TooManyRequestsException"), "throttled (TooManyRequestsException)", 3, true, false},
		"not ready":     {fault(409, "SnapStartNotReadyException"), "not ready", 1, true, false},
		"being updated": {fault(409, "ResourceConflictException"), "not ready", 1, true, false},
		"too large":     {fault(413, "RequestTooLargeException"), "the turn is too large", 1, false, true},
		"not allowed":   {fault(403, "AccessDeniedException"), "role must allow it", 1, true, false},
		"not there":     {fault(404, "ResourceNotFoundException"), "want the name or ARN", 1, true, false},
		"a wrong clock": {fault(400, "RequestExpired"), "not signed as AWS wants it", 1, true, false},
		"a bad request": {fault(400, "InvalidRequestContentException"), "HTTP 400 (InvalidRequestContentException)", 1, false, true},
		"overloaded":    {fault(503, "ServiceUnavailable"), "HTTP 503 (ServiceUnavailable)", 1, true, false},
		"Lambda's own":  {fault(500, "ServiceException"), "HTTP 500 (ServiceException)", 1, false, false},
		"it raised": {
			functionError(`{"errorType":"ValueError","errorMessage":"no such\u001b[2J\nmodel: ` + strings.Repeat("x", 300) + `canary"}`),
			`my-agent:live failed with "ValueError", its own log says more: no such[2J model: xxx`, 1, false, false,
		},
		"it raised nothing that has words": {
			functionError(`{"errorType":"Error"}`), `my-agent:live failed with "Error", its own log says more`, 1, false, false,
		},
		"it died": {
			functionError(`{"errorMessage":"RequestId: 7 Error: Runtime exited with error: exit status 1","errorType":"Runtime.ExitError"}`),
			`failed with "Runtime.ExitError", its own log says more: RequestId: 7 Error: Runtime exited`, 1, false, false,
		},
		"its error is junk": {
			functionError(`canary`), `my-agent:live failed with ""`, 1, false, false,
		},
		"its time was up": {
			functionError(`{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 1 Error: Task timed out after 3.00 seconds"}`),
			"ran into its own timeout", 1, false, false,
		},
		"an older runtime's time was up": {
			functionError(`{"errorMessage":"2026-11-23T18:00:00Z 1 Task timed out after 3.00 seconds"}`), "ran into its own timeout", 1, false, false,
		},
		"returned too much": {functionError(`{"errorType":"Function.ResponseSizeTooLarge"}`), "returned is over", 1, false, false},
		"returned junk":     {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `"canary"`) }, "want an object, got a string", 1, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the throttled one waits between its requests
			is := is.New(t)
			requests := 0
			_, err := function(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				tt.handler(w, r)
			}).Answer(t.Context(), turn("x"))
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), tt.want)) // want tt.want in the text
			is.True(!strings.Contains(err.Error(), "canary"))
			is.Equal(requests, tt.requests)
			is.Equal(errors.Is(err, agent.ErrUnavailable), tt.unavailable)
			is.Equal(errors.Is(err, agent.ErrRefused), tt.refused)
		})
	}
}

// invoker stands in for the client.
type invoker func(ctx context.Context) (*lambda.InvokeOutput, error)

func (f invoker) Invoke(ctx context.Context, _ *lambda.InvokeInput, _ ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	return f(ctx)
}

func TestATurnTooLargeForLambdaIsNotSent(t *testing.T) {
	is := is.New(t)
	a := agent.NewLambda("f", invoker(func(context.Context) (*lambda.InvokeOutput, error) {
		t.Error("it was sent")
		return nil, errors.New("sent")
	}), nil)
	_, err := a.Answer(t.Context(), turn(strings.Repeat("x", 6<<20)))
	is.True(errors.Is(err, agent.ErrRefused))
}

func TestALambdaOutOfReachIsNoAttempt(t *testing.T) {
	is := is.New(t)
	a := agent.NewLambda("f", invoker(func(context.Context) (*lambda.InvokeOutput, error) {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}), nil)
	_, err := a.Answer(t.Context(), turn("x"))
	is.True(errors.Is(err, agent.ErrUnavailable))
}

// A connection that breaks after the turn has left may have run the function.
func TestLambdaConnectionsHaveClasses(t *testing.T) {
	is := is.New(t)
	var requests atomic.Int64
	_, err := function(t, func(http.ResponseWriter, *http.Request) {
		requests.Add(1)
		panic(http.ErrAbortHandler)
	}).Answer(t.Context(), turn("x"))
	is.True(err != nil)
	is.Equal(agent.ClassOf(err), agent.Failed)
	is.Equal(requests.Load(), int64(1))

	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close() // nobody listens there now
	a := agent.NewLambda("f", lambda.New(lambda.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(srv.URL), Credentials: credentials.NewStaticCredentialsProvider("id", "key", ""),
	}), nil)
	_, err = a.Answer(t.Context(), turn("x"))
	is.True(strings.Contains(err.Error(), "connection refused"))
	is.Equal(agent.ClassOf(err), agent.Away)
}

func TestTheTurnsContextEndsTheInvocation(t *testing.T) {
	is := is.New(t)
	stopped := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(t.Context())
	a := agent.NewLambda("f", invoker(func(ctx context.Context) (*lambda.InvokeOutput, error) {
		cancel(stopped)
		<-ctx.Done()
		return nil, ctx.Err()
	}), nil)
	_, err := a.Answer(ctx, turn("x"))
	is.True(errors.Is(err, stopped))
}

func TestATurnThatIsTooLargeForLambdaGoesWithoutItsFiles(t *testing.T) {
	is := is.New(t)
	var got agent.Turn
	a := function(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		io.WriteString(w, `{"text":"ok"}`)
	})
	tn := turn(strings.Repeat("x", 3<<20))
	tn.Media = []agent.Media{{Media: relay.Media{URL: "u", Size: 3 << 20}, Data: make([]byte, 3<<20)}, {Media: relay.Media{URL: "v"}}}
	_, err := a.Answer(t.Context(), tn)
	is.NoErr(err)
	is.Equal(len(got.Media), 2)
	is.Equal(got.Media[0].Data, nil)
	is.True(strings.Contains(got.Media[0].Error, "left out"))
	is.Equal(got.Media[0].Size, int64(3<<20))
	is.Equal(got.Media[1].Error, "")
	is.Equal(len(tn.Media[0].Data), 3<<20) // the caller's turn is whole
}
