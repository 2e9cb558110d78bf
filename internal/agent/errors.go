package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// noAnswer is the error of a request that got no answer, without the URL. If there was no connection, it is ErrUnavailable.
func noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
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
