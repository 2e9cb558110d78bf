package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

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
		return fmt.Errorf("at %q: a JSON %s does not fit", e.JSONPointer, e.JSONKind)
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("no valid JSON at byte %d", e.ByteOffset)
	}
	return errors.New("it cannot be read")
}
