package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// maxPayload is what Lambda takes and gives in a synchronous invocation.
const maxPayload = 6 << 20

// Invoker is the part of Lambda's client that is used.
type Invoker interface {
	Invoke(ctx context.Context, in *lambda.InvokeInput, opts ...func(*lambda.Options)) (*lambda.InvokeOutput, error)
}

// Lambda invokes a function with each turn and reads what it returns as Decode does.
//
// Only a throttled invocation is tried again in the same attempt: after any other failure the function may have run. If the
// throttling goes on, if the function is not ready yet or if the connection is refused, the error is ErrUnavailable. A turn
// of more than 6 MB goes without its files; if it is still too large, the error is ErrRefused. Of an error of the function
// only the type is shown, as its message may quote the user.
type Lambda struct {
	function string
	client   Invoker
	retryer  aws.Retryer
}

// NewLambda returns the agent that is a function, named by name or ARN, with a version or alias if wanted.
func NewLambda(function string, client Invoker) *Lambda {
	return &Lambda{function: function, client: client, retryer: retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxRequests
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
		return Answer{}, fmt.Errorf("agent: the turn has %d bytes, Lambda takes %d: %w", len(payload), maxPayload, ErrRefused)
	}
	out, err := l.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &l.function, Payload: payload},
		func(o *lambda.Options) { o.Retryer = l.retryer })
	if err != nil {
		return Answer{}, l.fault(ctx, err)
	}
	if out.FunctionError != nil {
		return Answer{}, l.functionFault(out.Payload)
	}
	return Decode(out.Payload)
}

// fault is the error of an invocation that Lambda itself did not carry out.
func (l *Lambda) fault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	code := "no answer"
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		code = e.ErrorCode()
	}
	status := 0
	if e, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = e.HTTPStatusCode()
	}
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	switch {
	case throttled || status == http.StatusTooManyRequests:
		return fmt.Errorf("agent: invoking %s: throttled (%s): %w", l.function, code, ErrUnavailable)
	case strings.HasSuffix(code, "NotReadyException"), code == "ResourceConflictException",
		strings.HasPrefix(code, "EC2Throttled"), code == "ENILimitReachedException":
		return fmt.Errorf("agent: invoking %s: not ready (%s): %w", l.function, code, ErrUnavailable)
	case status == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("agent: invoking %s: the turn is too large (%s): %w", l.function, code, ErrRefused)
	case status == http.StatusForbidden:
		return fmt.Errorf("agent: invoking %s: %s; the drain function's role must allow it", l.function, code)
	case status == http.StatusNotFound:
		return fmt.Errorf("agent: invoking %s: %s; want the name or ARN of a function in this region", l.function, code)
	case status == 0:
		return fmt.Errorf("agent: invoking %s: %w", l.function, noAnswer(ctx, err))
	}
	return fmt.Errorf("agent: invoking %s: HTTP %d (%s)", l.function, status, code)
}

// functionFault is the error of a function that ran and failed.
func (l *Lambda) functionFault(payload []byte) error {
	var told struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	json.Unmarshal(payload, &told) // the function has failed also if this cannot be read
	switch {
	case told.Type == "Sandbox.Timedout", strings.Contains(told.Message, "Task timed out after"):
		return fmt.Errorf("agent: %s ran into its own timeout; raise it, or answer sooner", l.function)
	case told.Type == "Function.ResponseSizeTooLarge":
		return fmt.Errorf("agent: what %s returned is over %d bytes", l.function, maxPayload)
	}
	return fmt.Errorf("agent: %s failed with %.80q; its own log says more", l.function, told.Type)
}
