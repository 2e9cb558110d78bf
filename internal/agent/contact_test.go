package agent

import (
	"errors"
	"net/http/httptrace"
	"testing"

	"github.com/matryer/is"
)

// An agent that has stopped, with its kept connection, is away: net/http finds that one closed, writes nothing to it, and dials.
func TestAConnectionThatWasKeptAndIsClosedIsNoContact(t *testing.T) {
	is := is.New(t)
	var c contact
	trace := httptrace.ContextClientTrace(c.watch(t.Context()))
	refused := errors.New("dial tcp: connection refused")

	trace.GetConn("agent:80")
	trace.GotConn(httptrace.GotConnInfo{Reused: true})
	trace.GetConn("agent:80")
	is.True(errors.Is(c.fault(t.Context(), "agent", refused), ErrUnavailable))

	trace.GotConn(httptrace.GotConnInfo{})
	is.True(!errors.Is(c.fault(t.Context(), "agent", refused), ErrUnavailable)) // it may have run
}
