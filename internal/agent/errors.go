package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"sync/atomic"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Class is what an error of an agent means for the message.
type Class int

const (
	// Failed uses up an attempt: the agent may have run. It fails, times out, or gives an answer that is not understood.
	Failed Class = iota
	// Away uses up no attempt: the fault is not the message's. The message waits, and the agent is asked again.
	Away
	// Refused means that the agent will never take this turn: the message is dead.
	Refused
)

var (
	// ErrUnavailable is what every error of class Away is.
	ErrUnavailable = errors.New("agent cannot be reached")
	// ErrRefused is what every error of class Refused is.
	ErrRefused = errors.New("agent refuses this turn for good")
)

// Error is why an agent gave no answer.
type Error struct {
	Class      Class
	RetryAfter time.Duration // the pause that an agent asked for; 0: none
	err        error
}

func (e *Error) Error() string { return e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

// Is knows the error by its class.
func (e *Error) Is(target error) bool {
	return target == ErrUnavailable && e.Class == Away || target == ErrRefused && e.Class == Refused
}

// ClassOf is the class of an error of an Agent. One that says nothing of it is Failed.
func ClassOf(err error) Class {
	switch {
	case errors.Is(err, ErrRefused):
		return Refused
	case errors.Is(err, ErrUnavailable):
		return Away
	}
	return Failed
}

func awayf(format string, args ...any) error {
	return &Error{Class: Away, err: fmt.Errorf(format, args...)}
}

func refusedf(format string, args ...any) error {
	return &Error{Class: Refused, err: fmt.Errorf(format, args...)}
}

// classOf is the class of an HTTP status that is no answer.
func classOf(status int) Class {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		521, 522, 523, 530: // a proxy of Cloudflare's does not reach the origin
		return Away
	}
	switch status / 100 {
	case 3:
		return Away // no redirect is followed
	case 4:
		return Refused
	}
	return Failed
}

// contact knows whether a request got a connection. Until then nothing of the turn has left. If one that was kept turns out to be
// closed before anything is written to it, net/http asks for another, and nothing has left then either.
type contact struct {
	made atomic.Bool
}

// watch returns a context for the request.
func (c *contact) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { c.made.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { c.made.Store(true) },
	})
}

// fault says what kept a request to host from its answer, without its URL. A request that got no connection, because
// there is no such name, nobody listens or TLS fails, is Away; after that the agent may have run.
func (c *contact) fault(ctx context.Context, host string, err error) error {
	connected := c.made.Load()
	switch {
	case ctx.Err() != nil && (connected || ctx.Err() != context.DeadlineExceeded):
		return context.Cause(ctx)
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if !connected {
		return awayf("agent: %s cannot be reached: %w", host, err)
	}
	return fmt.Errorf("agent: %s gave no answer: %w", host, err)
}

// broken is for a connection that broke within the answer.
func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if said, ok := errors.AsType[agentsFault](err); ok {
		return said.error
	}
	return fmt.Errorf("agent: reading the answer: %w", err)
}

// jsonFault says where JSON is not as it should be. It does not quote the JSON, which has a user's text.
func jsonFault(err error) error {
	if e, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		return fmt.Errorf("at %.80q: want %s, got %s", e.JSONPointer, jsonType(e.GoType), jsonKinds[e.JSONKind])
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("no valid JSON at byte %d", e.ByteOffset)
	}
	return errors.New("it cannot be read")
}

var jsonKinds = map[jsontext.Kind]string{
	'{': "an object", '[': "a list", '"': "a string", '0': "a number", 't': "true", 'f': "false", 'n': "null",
}

// jsonType is what a value of type t is in JSON.
func jsonType(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "something else"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "a value in range"
}
