package dynamo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
)

// caller is the name that a context carries, so that a test sees whose context a shared transaction is made with.
type caller struct{}

func callerOf(ctx context.Context) string { return ctx.Value(caller{}).(string) }

// callers finish deliveries, each under its own name and with a context of its own.
type callers struct {
	t      *testing.T
	l      *dynamo.Ledger
	wg     sync.WaitGroup
	mu     sync.Mutex
	cancel map[string]context.CancelFunc
	errs   map[string]error
}

func newCallers(t *testing.T, l *dynamo.Ledger) *callers {
	return &callers{t: t, l: l, cancel: map[string]context.CancelFunc{}, errs: map[string]error{}}
}

// finish has one of them write, and returns once its write is under way or waits.
func (c *callers) finish(name string) {
	ctx, cancel := context.WithCancel(context.WithValue(c.t.Context(), caller{}, name))
	c.mu.Lock()
	c.cancel[name] = cancel
	c.mu.Unlock()
	c.wg.Go(func() {
		err := c.l.Lease().Finish(ctx, name)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.errs[name] = err
	})
	synctest.Wait()
}

// giveUp cancels one caller's context.
func (c *callers) giveUp(name string) {
	c.mu.Lock()
	cancel := c.cancel[name]
	c.mu.Unlock()
	cancel()
}

func (c *callers) wait() {
	c.wg.Wait()
	for _, cancel := range c.cancel {
		cancel()
	}
}

type transaction = func(context.Context, *dynamodb.TransactWriteItemsInput) error

// A transaction is made with the context of one of those whose writes are in it. That caller may give up; the others have not.
func TestACallerThatGivesUpTakesNobodyWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		s := &scripted{}
		l := dynamo.New(s, "table", "inst")
		c := newCallers(t, l)
		free := make(chan struct{})
		gone := ""
		s.answers = []transaction{
			func(context.Context, *dynamodb.TransactWriteItemsInput) error { <-free; return nil },
			func(ctx context.Context, in *dynamodb.TransactWriteItemsInput) error {
				is.Equal(len(in.TransactItems), 1+4) // all that waited, and the condition
				gone = callerOf(ctx)
				c.giveUp(gone)
				<-ctx.Done()
				return ctx.Err()
			},
		}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			c.finish(name)
		}
		close(free)
		c.wait()
		for name, err := range c.errs {
			if name == gone {
				is.True(errors.Is(err, context.Canceled))
			} else {
				is.NoErr(err) // another caller's context is not its own
			}
		}
		is.Equal(len(s.written), 2)
		is.True(!strings.Contains(s.written[1], "d#"+gone)) // it would be made after what its caller did next
		is.Equal(l.Waiting(), 0)
	})
}

// What goes back into the queue has waited longest: it stays ahead of what has come since, and in its own order. A transaction holds
// 99 writes, so else those who came first could be the last.
func TestWhatGoesBackIntoTheQueueStaysInFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		s := &scripted{}
		l := dynamo.New(s, "table", "inst")
		c := newCallers(t, l)
		free, underWay, end := make(chan struct{}), make(chan string, 1), make(chan struct{})
		s.answers = []transaction{
			func(context.Context, *dynamodb.TransactWriteItemsInput) error { <-free; return nil },
			func(ctx context.Context, _ *dynamodb.TransactWriteItemsInput) error {
				underWay <- callerOf(ctx)
				<-end
				return ctx.Err()
			},
		}
		var names []string
		for i := range 9 {
			names = append(names, fmt.Sprint("n", i))
		}
		c.finish("first")
		for _, name := range names[:5] {
			c.finish(name)
		}
		close(free)
		gone := <-underWay
		for _, name := range names[5:] { // these come meanwhile
			c.finish(name)
		}
		c.giveUp(gone)
		close(end)
		c.wait()
		is.Equal(len(s.written), 2)
		made := strings.Fields(strings.ReplaceAll(s.written[1], "d#", ""))
		want := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == gone })
		is.Equal(slices.Sorted(slices.Values(made)), want)
		is.True(slices.IsSorted(made[1:])) // the first is whoever made the transaction
	})
}
