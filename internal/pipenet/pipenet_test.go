package pipenet_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/pipenet"
)

func TestADialIsAcceptedOrEnds(t *testing.T) {
	is := is.New(t)
	ln := pipenet.Listen()
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			_, _ = conn.Write([]byte("x"))
			conn.Close()
		}
	}()
	conn, err := ln.Dial(t.Context(), "", "")
	is.NoErr(err)
	defer conn.Close()
	got := make([]byte, 1)
	_, err = conn.Read(got)
	is.NoErr(err)
	is.Equal(string(got), "x")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = ln.Dial(ctx, "", "")
	is.True(errors.Is(err, context.Canceled))
	is.NoErr(ln.Close())
	is.NoErr(ln.Close())
	_, err = ln.Dial(t.Context(), "", "")
	is.True(errors.Is(err, net.ErrClosed))
	_, err = ln.Accept()
	is.True(errors.Is(err, net.ErrClosed))
}
