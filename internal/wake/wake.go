// Package wake is the poke handler: it starts the drain and knows nothing else.
//
// A poke comes through an HTTP API or a function URL in payload format 2.0. Its body, headers and path are never read:
// it is unsigned, so nothing in it is believed, and the path makes the wake URL a capability, so it is not logged.
//
// aws-lambda-go calls the Handler for each poke. It blocks on one thing, the asynchronous invocation of drain, for at most
// 8 s. It starts no goroutines and may be called from any.
package wake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/dormouse-relay/dormouse/internal/logs"
)

// A failed poke may never come again (section 19), so wake retries for as long as it can: a connector waits 10 s for the
// answer.
const (
	patience       = 8 * time.Second
	attemptTimeout = 3 * time.Second
	firstBackoff   = 100 * time.Millisecond
	maxBackoff     = time.Second
)

// Invoker is the part of the Lambda client that starts a drain.
type Invoker interface {
	Invoke(context.Context, *lambda.InvokeInput, ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Handler answers pokes. It is a lambda.Handler of aws-lambda-go.
type Handler struct {
	client Invoker
	drain  string
	log    *slog.Logger
}

// New makes a Handler that starts the function drain (name or ARN) through client.
func New(client Invoker, drain string, log *slog.Logger) *Handler {
	return &Handler{client: client, drain: drain, log: log}
}

// response is payload format 2.0's.
type response struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers,omitempty"`
	Body       string            `json:"body,omitempty"`
}

// Invoke takes one HTTP request as a payload format 2.0 event and returns the response to it: 202 to GET and POST once
// the drain's start is accepted, 503 if Lambda did not accept it within 8 s, 204 to HEAD, which starts nothing, 405 to
// another method, and 400 to an event that is no HTTP request. The error is always nil.
func (h *Handler) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	return json.Marshal(h.answer(ctx, event))
}

func (h *Handler) answer(ctx context.Context, event []byte) response {
	var request struct {
		RequestContext struct {
			HTTP struct {
				Method string `json:"method"`
			} `json:"http"`
		} `json:"requestContext"`
	}
	if err := json.Unmarshal(event, &request); err != nil || request.RequestContext.HTTP.Method == "" {
		h.log.WarnContext(ctx, logs.EventRefused, logs.KeyBytes, len(event))
		return statusBody(http.StatusBadRequest, "not an HTTP request in payload format 2.0")
	}
	switch method := request.RequestContext.HTTP.Method; method {
	case http.MethodGet, http.MethodPost:
		return h.wake(ctx, method)
	case http.MethodHead:
		return response{StatusCode: http.StatusNoContent}
	default:
		h.log.WarnContext(ctx, logs.MethodRefused)
		refused := statusBody(http.StatusMethodNotAllowed, "method not allowed")
		refused.Headers["Allow"] = "GET, HEAD, POST"
		return refused
	}
}

func (h *Handler) wake(ctx context.Context, method string) response {
	start := time.Now()
	attempts, err := h.start(ctx, start)
	log := h.log.With(logs.KeyMethod, method, logs.KeyAttempts, attempts, logs.KeyMS, time.Since(start).Milliseconds())
	if err != nil {
		log.ErrorContext(ctx, logs.PokeLost, logs.KeyError, err)
		return statusBody(http.StatusServiceUnavailable, "the drain could not be started")
	}
	log.InfoContext(ctx, logs.Poke)
	return statusBody(http.StatusAccepted, "waking")
}

// start invokes the drain asynchronously until Lambda has taken the event, refused it for good, or patience is out. An
// attempt without an answer may have been taken all the same: a second drain finds the first one's lease and leaves.
func (h *Handler) start(ctx context.Context, at time.Time) (attempts int, err error) {
	payload := fmt.Appendf(nil, `{"reason":"wake","at":%q}`, at.UTC().Format(time.RFC3339))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		attempts++
		err = h.attempt(ctx, payload)
		if err == nil || final(err) {
			return attempts, err
		}
		select {
		case <-ctx.Done():
			return attempts, err
		case <-time.After(backoff):
		}
	}
}

func (h *Handler) attempt(ctx context.Context, payload []byte) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	_, err := h.client.Invoke(ctx, &lambda.InvokeInput{
		FunctionName:   &h.drain,
		InvocationType: types.InvocationTypeEvent,
		Payload:        payload,
	}, func(o *lambda.Options) {
		o.Retryer = aws.NopRetryer{} // the SDK's own would give up early and back off for long
	})
	return err
}

// final says whether Lambda refused the invocation in a way that no repetition mends: no such function, no permission.
func final(err error) bool {
	answer, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err)
	if !ok {
		return false
	}
	switch status := answer.HTTPStatusCode(); status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return false
	default:
		return status >= 400 && status < 500
	}
}

func statusBody(code int, status string) response {
	return response{
		StatusCode: code,
		Headers:    map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store"},
		Body:       fmt.Sprintf(`{"status":%q}`, status),
	}
}
