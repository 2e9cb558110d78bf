package turn

import (
	"context"
	"testing"
	"time"

	"github.com/matryer/is"
)

func TestNoAckOvertakesAnother(t *testing.T) {
	is := is.New(t)
	var sent []string
	held := false
	q := ackQueue{send: func(id string) { sent = append(sent, id) }, withhold: func() bool { return held }}
	first, second, third := &receipt{key: "1"}, &receipt{key: "2"}, &receipt{key: "3"}
	q.add(first, "b1")
	q.add(second, "b2")
	q.add(third, "b3")
	q.resolve(second, ackDue)
	is.Equal(len(sent), 0) // b1 waits
	q.resolve(first, ackVoid)
	is.Equal(sent, []string{"b2"}) // b1 is never sent, and holds up nothing any more
	held = true
	q.resolve(third, ackDue)
	is.Equal(sent, []string{"b2"})
	held = false
	q.flush()
	is.Equal(sent, []string{"b2", "b3"})
	is.Equal(len(q.list), 0)
}

func TestTheGateSaysWhyATurnDoesNotStart(t *testing.T) {
	is := is.New(t)
	g := newGate(Config{Concurrency: 1, AgentTimeout: time.Minute})
	is.True(g.mayStart())
	release, err := g.enter(t.Context())
	is.NoErr(err)
	is.True(!g.free())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStopped)
	_, err = g.enter(ctx)
	is.Equal(err, errStopped)
	g.shut()
	g.shut() // as often as anybody likes
	_, err = g.enter(t.Context())
	is.Equal(err, errDeferred)
	is.True(!g.mayStart())
	release()
	is.True(g.free())
	late := newGate(Config{Concurrency: 1, AgentTimeout: time.Minute, Deadline: time.Now().Add(30 * time.Second)})
	is.True(!late.mayStart()) // a whole attempt does not fit
}
