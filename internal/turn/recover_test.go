package turn_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/turn"
)

// leaf is a durable journal with pages of ten keys, of which those behind the first are given out once they may be.
type leaf struct {
	ledger.Lease
	pages *ledgertest.Pages
	*holder
}

type holder struct {
	mu    sync.Mutex
	may   chan struct{} // closed: the pages behind the first may be read
	fails int           // so many reads of these fail first
	reads []time.Time   // of these
}

func (leaf) Durable() bool { return true }

func (s leaf) Recover(ctx context.Context, from string) (ledger.Page, error) {
	if from == "" {
		return s.pages.Recover(ctx, s.Lease, from)
	}
	select {
	case <-s.may:
	case <-ctx.Done():
		return ledger.Page{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, time.Now())
	if s.fails--; s.fails >= 0 {
		return ledger.Page{}, errors.New("throttled")
	}
	return s.pages.Recover(ctx, s.Lease, from)
}

// leaves is a bench whose next run finds so many messages of three chats, none of which has had its turn.
func leaves(t *testing.T, many int) (*bench, *holder) {
	h := &holder{may: make(chan struct{})}
	b := newBench(t, ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease {
		return leaf{l, &ledgertest.Pages{Size: 10}, h}
	}))
	w := b.start()
	w.StopStarting()
	for i := range many {
		if err := w.Take(message(fmt.Sprint("c", i%3), fmt.Sprint("m", i), fmt.Sprint("m", i))); err != nil {
			t.Fatal(err)
		}
	}
	w.Leave(t.Context())
	w.Close()
	return b, h
}

// ended waits until a worker has no work.
func ended(w *turn.Worker) {
	for w.Busy() {
		<-w.Changed()
	}
}

func TestNoTurnStartsBeforeAllIsKnownThatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, h := leaves(t, 30)
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("live", message("c2", "m30", "m30"))))
		is.NoErr(w.Take(message("c3", "m31", "m31"))) // of a chat that nothing is known of yet
		time.Sleep(time.Hour)
		is.True(w.Busy())
		is.Equal(b.wire.seen(), []string{"ack live"}) // it is in the journal, and comes behind what was there
		close(h.may)
		ended(w)
		next := map[string]int{}
		for _, line := range b.wire.seen()[1:] {
			var chat, text string
			var n int
			_, err := fmt.Sscanf(line, "send %s %s", &chat, &text)
			is.NoErr(err)
			_, err = fmt.Sscanf(text, "m%d", &n)
			is.NoErr(err)
			is.True(n >= next[chat]) // in order
			next[chat] = n + 1
		}
		is.Equal(len(b.wire.seen()), 33)
		is.Equal(next, map[string]int{"c0": 28, "c1": 29, "c2": 31, "c3": 32})
		is.Equal(w.Counts().Recovered, 30)
	})
}

func TestAPageThatCannotBeReadIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, h := leaves(t, 30)
		close(h.may)
		h.fails = 6
		w := b.start()
		defer w.Close()
		ended(w)
		is.Equal(len(b.wire.seen()), 30)
		var pauses []time.Duration
		for i := range h.reads[:7-1] {
			pauses = append(pauses, h.reads[i+1].Sub(h.reads[i]))
		}
		second := time.Second
		is.Equal(pauses, []time.Duration{second, 2 * second, 4 * second, 8 * second, 8 * second, 8 * second})
	})
}

// What comes with the last page is heeded before the first turn.
func TestASuspectAndAStopAreFoundOnAnyPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, h := leaves(t, 25)
		var died context.CancelFunc
		b.run, died = context.WithCancel(t.Context())
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			<-ctx.Done()
			return agent.Answer{}, ctx.Err()
		})
		w := b.start() // a process that dies with a command to stop that it has not carried out, and a turn under way
		is.NoErr(w.Take(message("c1", "stop", "/stop")))
		running := message("c2", "m26", "m26")
		is.NoErr(w.Take(running))
		synctest.Wait()
		is.NoErr(b.lease.Start(t.Context(), turn.Key("inst", running), ledger.Running))
		died()
		w.Close()

		close(h.may)
		b.run, b.agent = nil, agent.Echo{}
		w = b.start()
		defer w.Close()
		ended(w)
		sent := b.wire.seen()
		is.Equal(sent[0], "send c2 m26") // alone, and first
		for _, line := range sent {
			is.True(!strings.HasPrefix(line, "send c1")) // stopped
		}
		is.Equal(len(sent), 9+8+1)
	})
}

func TestAStopIsForWhatHasNotBeenReadYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, h := leaves(t, 30)
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "stop", "/stop")))
		time.Sleep(time.Minute)
		close(h.may)
		ended(w)
		is.Equal(len(b.wire.seen()), 20)
		for _, line := range b.wire.seen() {
			is.True(!strings.HasPrefix(line, "send c1"))
		}
		entries, err := ledgertest.Recover(t.Context(), b.lease)
		is.NoErr(err)
		is.Equal(len(entries), 0) // the command has ended, too
	})
}

func TestARunThatEndsBeforeAllIsKnownLeavesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, h := leaves(t, 30)
		w := b.start()
		is.NoErr(w.Take(message("c1", "stop", "/stop")))
		is.NoErr(w.Take(message("c2", "m30", "m30")))
		w.Leave(t.Context())
		close(h.may)
		ended(w)
		w.Close()
		is.Equal(len(b.wire.seen()), 0) // but for typing
		is.True(w.Counts().Left > 10)
		is.Equal(w.Counts().Finished, 0)
		w = b.start()
		defer w.Close()
		ended(w)
		is.Equal(len(b.wire.seen()), 21)
		is.True(slices.Index(b.wire.seen(), "send c2 m30") > slices.Index(b.wire.seen(), "send c2 m29"))
	})
}

// slowIntake is a journal in which a delivery that comes waits until it is let in, and what was left until it may be read.
type slowIntake struct {
	ledger.Lease
	in, out *chan struct{} // nil: at once
}

func (l slowIntake) Load(ctx context.Context, keys ...string) ([]ledger.Entry, error) {
	if wait := *l.out; wait != nil {
		<-wait
	}
	return l.Lease.Load(ctx, keys...)
}

func (l slowIntake) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	if wait := *l.in; wait != nil {
		<-wait
	}
	return l.Lease.Receive(ctx, entries...)
}

// A repeat of a suspect that is dropped while the suspect has its attempt does not end their session under it: what comes then
// waits for its turn, and has it.
func TestARepeatOfASuspectDoesNotEndItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		var in, out chan struct{}
		b := newBench(t, ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return slowIntake{l, &in, &out} }))
		w := b.start()
		w.StopStarting()
		suspect := buffered("b1", message("c", "m1", "one"))
		is.NoErr(w.Take(suspect))
		w.Close()
		is.NoErr(b.lease.Start(t.Context(), turn.Key("inst", suspect), ledger.Running)) // and its process died

		goOn := make(chan struct{})
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			<-goOn
			return agent.Echo{}.Answer(ctx, tn)
		})
		in, out = make(chan struct{}), make(chan struct{})
		w = b.start()
		defer w.Close()
		var taken sync.WaitGroup
		taken.Go(func() {
			if err := w.Take(suspect); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // the repeat is on its way into the journal
		close(out)
		synctest.Wait() // the suspect has its attempt
		close(in)
		taken.Wait()
		synctest.Wait()
		is.NoErr(w.Take(buffered("b2", message("c", "m2", "two"))))
		synctest.Wait()
		close(goOn)
		ended(w)
		is.Equal(b.wire.seen(), []string{"send c one", "ack b1", "send c two", "ack b2"})
	})
}
