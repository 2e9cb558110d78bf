package dynamo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// copier keeps the last update of the state, so that it can arrive once more: it had taken so long that it was sent again.
type copier struct {
	next http.RoundTripper

	mu   sync.Mutex
	req  *http.Request
	body []byte
}

func (c *copier) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".UpdateItem") {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		c.mu.Lock()
		c.req, c.body = req.Clone(context.WithoutCancel(req.Context())), body
		c.mu.Unlock()
	}
	return c.next.RoundTrip(req)
}

// last is the last update; arrive lets its copy arrive.
func (c *copier) last(t *testing.T) (arrive func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	req, body := c.req, c.body
	return func() {
		t.Helper()
		req.Body = io.NopCloser(bytes.NewReader(body))
		resp, err := c.next.RoundTrip(req)
		is.New(t).NoErr(err)
		_, err = io.Copy(io.Discard, resp.Body)
		is.New(t).NoErr(errors.Join(err, resp.Body.Close()))
	}
}

func TestALateCopyOfARequestTakesNoMarkAway(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	var copies *copier
	tbl := newTable(t, func(next http.RoundTripper) http.RoundTripper { copies = &copier{next: next}; return copies })
	l, _ := tbl.ledger("inst")
	g := acquire(t, l, ledger.Arm)
	for range 2 { // each of its clears
		is.NoErr(g.Clear(ctx))
		arrive := copies.last(t)
		_, err := l.Acquire(ctx, ask(ledger.Wake))
		is.True(errors.Is(err, ledger.ErrTaken)) // and the holder is asked
		arrive()
		is.True(errors.Is(g.Release(ctx, g.Grant().Plan, true), ledger.ErrAsked))
		is.NoErr(g.Clear(ctx))
		arrive()
		_, err = l.Acquire(ctx, ask(ledger.Wake))
		is.True(errors.Is(err, ledger.ErrTaken))
		arrive() // behind a later clear, too
		is.True(errors.Is(g.Release(ctx, g.Grant().Plan, true), ledger.ErrAsked))
	}
	_, err := g.HandOff(ctx, g.Grant().Plan, true)
	is.NoErr(err)
	is.True(errors.Is(g.Clear(ctx), ledger.ErrLost))
}

func TestALateCopyOfARequestTakesNoLease(t *testing.T) {
	for _, reason := range []ledger.Reason{ledger.Arm, ledger.Wake, ledger.Continue, ledger.Schedule} {
		is := is.New(t)
		ctx := t.Context()
		var copies *copier
		tbl := newTable(t, func(next http.RoundTripper) http.RoundTripper { copies = &copier{next: next}; return copies })
		l, c := tbl.ledger("inst")
		for range 3 {
			g := acquire(t, l, reason)
			arrive := copies.last(t)
			c.advance(time.Second)
			is.NoErr(g.Release(ctx, ledger.Plan{At: c.now(), Every: time.Hour}, true))
			arrive()
			c.advance(time.Second)
		}
	}
}

// Whose clock is behind that of the run before gets the lease all the same.
func TestAClockThatIsBehindTakesALeaseThatWasGivenBack(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	var copies *copier
	tbl := newTable(t, func(next http.RoundTripper) http.RoundTripper { copies = &copier{next: next}; return copies })
	ahead, c := tbl.ledger("inst")
	behind, slow := tbl.ledger("inst")
	c.advance(5 * time.Second)
	for range 2 {
		g := acquire(t, ahead, ledger.Arm)
		is.NoErr(g.Release(ctx, g.Grant().Plan, true))
		g = acquire(t, behind, ledger.Wake)
		arrive := copies.last(t)
		slow.advance(time.Millisecond)
		is.NoErr(g.Release(ctx, g.Grant().Plan, true))
		arrive()
	}
	g := acquire(t, ahead, ledger.Arm)
	is.NoErr(g.Release(ctx, g.Grant().Plan, true))
}
