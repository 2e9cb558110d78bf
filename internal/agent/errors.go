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

// reach says what kept a request from its answer, without its URL. What never got a connection is ErrUnavailable.
func reach(ctx context.Context, err error) error {
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

// shape says where JSON is not as wanted, without quoting it: an answer is a user's text.
func shape(err error) error {
	if e, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		return fmt.Errorf("at %.80q: want %s, got %s", e.JSONPointer, wanted(e.GoType), kinds[e.JSONKind])
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("no valid JSON at byte %d", e.ByteOffset)
	}
	return errors.New("it cannot be read")
}

var kinds = map[jsontext.Kind]string{
	'{': "an object", '[': "a list", '"': "a string", '0': "a number", 't': "true", 'f': "false", 'n': "null",
}

// wanted is what t is in JSON.
func wanted(t reflect.Type) string {
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
