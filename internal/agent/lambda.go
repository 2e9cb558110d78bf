package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const (
	maxPayload     = 6 << 20 // bytes that Lambda takes and gives in a synchronous invocation
	maxInvocations = 3       // within one attempt, as long as they are throttled
)

// Invoker is the part of Lambda's client that is used.
type Invoker interface {
	Invoke(ctx context.Context, in *lambda.InvokeInput, opts ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Lambda invokes a function with each turn and reads what it returns as Decode does, or the records of its response stream as
// DecodeLine does.
//
// Only a throttled invocation is tried again in the same attempt: after any other failure the function may have run. A turn
// of more than 6 MB goes without its files; if it is still too large, it is Refused. An error of the function keeps its
// type and the first words of its message.
type Lambda struct {
	function string
	client   Invoker
	streams  StreamInvoker // nil: answers are whole
	retryer  aws.Retryer
}

// NewLambda returns the agent that is a function, named by name or ARN, with a version or alias if wanted. With streams, its
// answers may stream.
func NewLambda(function string, client Invoker, streams StreamInvoker) *Lambda {
	return &Lambda{function: function, client: client, streams: streams, retryer: retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxInvocations
		o.RateLimiter = ratelimit.None
		o.Retryables = []retry.IsErrorRetryable{retry.RetryableErrorCode{Codes: retry.DefaultThrottleErrorCodes}}
	})}
}

// Answer invokes the function and waits for what it returns.
func (l *Lambda) Answer(ctx context.Context, t Turn) (Answer, error) {
	payload, err := json.Marshal(t)
	if err != nil {
		return Answer{}, fmt.Errorf("agent: encoding the turn: %w", err)
	}
	if len(payload) > maxPayload && len(t.Media) > 0 {
		if payload, err = json.Marshal(t.withoutFiles()); err != nil {
			return Answer{}, fmt.Errorf("agent: encoding the turn: %w", err)
		}
	}
	if len(payload) > maxPayload {
		return Answer{}, refusedf("agent: the turn has %d bytes, Lambda takes %d", len(payload), maxPayload)
	}
	if l.streams != nil {
		return l.answerStreamed(ctx, payload)
	}
	var c contact
	out, err := l.client.Invoke(c.watch(ctx), &lambda.InvokeInput{FunctionName: &l.function, Payload: payload},
		l.once)
	if err != nil {
		return Answer{}, l.fault(ctx, &c, err)
	}
	if out.FunctionError != nil {
		return Answer{}, l.functionFault(out.Payload)
	}
	return Decode(out.Payload)
}

// once are the options of an invocation.
func (l *Lambda) once(o *lambda.Options) {
	o.Retryer, o.HTTPClient = l.retryer, readBodies{o.HTTPClient}
}

// readBodies sends bodies that can only be read. Those that the SDK makes can also write themselves, which fails with io.EOF once
// the SDK has closed them: as soon as the answer begins. If net/http then still looks for the body's end, it takes that for a
// broken request and closes the connection under the answer.
type readBodies struct{ client lambda.HTTPClient }

func (b readBodies) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req = req.WithContext(req.Context()) // a copy
		req.Body = struct{ io.ReadCloser }{req.Body}
	}
	return b.client.Do(req)
}

// away are codes of Lambda's that no status tells apart: what is not ready yet, and credentials or a clock that are wrong.
var away = map[string]string{
	"ResourceConflictException": "not ready", "ENILimitReachedException": "not ready",
	"RequestExpired": "not signed as AWS wants it", "ExpiredToken": "not signed as AWS wants it",
	"ExpiredTokenException": "not signed as AWS wants it", "IncompleteSignature": "not signed as AWS wants it",
	"UnrecognizedClientException": "not signed as AWS wants it", "InvalidSignatureException": "not signed as AWS wants it",
}

// fault is the error of an invocation that Lambda itself did not carry out.
func (l *Lambda) fault(ctx context.Context, c *contact, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	status := 0
	if e, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = e.HTTPStatusCode()
	}
	if status == 0 {
		return c.fault(ctx, "Lambda (to invoke "+l.function+")", err)
	}
	code := "no code"
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		code = e.ErrorCode()
	}
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	why, class := away[code], classOf(status)
	switch {
	case throttled || status == http.StatusTooManyRequests:
		why, class = "throttled", Away
	case strings.HasSuffix(code, "NotReadyException"), strings.HasPrefix(code, "EC2Throttled"):
		why, class = "not ready", Away
	case why != "":
		class = Away
	case status == http.StatusRequestEntityTooLarge:
		why = "the turn is too large"
	case status == http.StatusForbidden:
		why = "the drain function's role must allow it"
	case status == http.StatusNotFound:
		why = "want the name or ARN of a function in this region"
	default:
		why = fmt.Sprintf("HTTP %d", status)
	}
	return &Error{Class: class, err: fmt.Errorf("agent: invoking %s: %s (%s)", l.function, why, code)}
}

// functionFault is the error of a function that ran and failed.
func (l *Lambda) functionFault(payload []byte) error {
	var told struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	json.Unmarshal(payload, &told) // the function has failed also if this cannot be read
	return l.told(told.Type, told.Message)
}

// streamFault is the error of a function that failed, as the end of its stream tells it: a code, and details that may be JSON.
func (l *Lambda) streamFault(code, details string) error {
	var told struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal([]byte(details), &told) != nil || told.Type == "" {
		told.Type, told.Message = code, details
	}
	return l.told(told.Type, told.Message)
}

func (l *Lambda) told(errorType, message string) error {
	switch {
	case errorType == "Sandbox.Timedout", strings.Contains(message, "Task timed out after"):
		return fmt.Errorf("agent: %s ran into its own timeout; raise it, or answer sooner", l.function)
	case errorType == "Function.ResponseSizeTooLarge":
		return fmt.Errorf("agent: what %s returned is over %d bytes", l.function, maxPayload)
	}
	return fmt.Errorf("agent: %s failed with %.80q, its own log says more%s", l.function, errorType,
		said(strings.NewReader(message), nil))
}
