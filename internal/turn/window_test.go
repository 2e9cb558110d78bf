package turn_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// library is a durable journal that counts what is read of it, and refuses what is too large and, at times, to be read.
type library struct {
	ledger.Lease
	*shelves
}

type shelves struct {
	mu     sync.Mutex
	loaded map[string]int // by key
	most   int            // entries in one call
	down   bool
	takes  time.Duration // a write of what has come
}

func (library) Durable() bool { return true }

func (l library) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	var states []ledger.State
	select {
	case <-time.After(l.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for i := range entries {
		if len(entries[i].Body) > 100_000 {
			states = append(states, ledger.TooLarge)
			continue
		}
		found, err := l.Lease.Receive(ctx, entries[i:i+1]...)
		if err != nil {
			return states, err
		}
		states = append(states, found...)
	}
	return states, nil
}

func (l library) Load(ctx context.Context, keys ...string) ([]ledger.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.New("throttled")
	}
	for _, key := range keys {
		l.loaded[key]++
	}
	l.most = max(l.most, len(keys))
	return l.Lease.Load(ctx, keys...)
}

// times is how often each entry was loaded.
func (s *shelves) times() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.loaded))
}

// windowed is a bench whose worker has a window of so many bytes.
func windowed(t *testing.T, bytes int) (*bench, *shelves) {
	b, s := newBench(t, ledger.NewMemory()), &shelves{loaded: map[string]int{}}
	b.change = func(c *turn.Config) { c.Journal, c.Window = library{b.lease, s}, bytes }
	return b, s
}

func TestAFloodIsAckedOnceItIsJournalledAndAnsweredInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, s := windowed(t, 256<<10)
		release := make(chan struct{})
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			<-release
			return agent.Echo{}.Answer(ctx, tn)
		})
		w := b.start()
		defer w.Close()
		const many, sessions = 1000, 5
		for i := range many {
			text := fmt.Sprintf("%d %s", i, strings.Repeat("x", 1000))
			is.NoErr(w.Take(buffered(fmt.Sprint("b", i), message(fmt.Sprint("c", i%sessions), fmt.Sprint("m", i), text))))
		}
		synctest.Wait()
		is.Equal(len(b.wire.seen()), many) // acks: the journal is the queue
		is.NoErr(w.Take(buffered("again", message("c0", "m995", "995 "+strings.Repeat("x", 1000)))))
		synctest.Wait()
		is.Equal(b.wire.seen()[many], "ack again") // it is known, although it is not in memory
		close(release)
		for w.Busy() {
			<-w.Changed()
		}
		is.True(len(s.loaded) > many/2)
		is.True(s.most > 4 && s.most <= 25) // the more are read, the more in one call
		for _, n := range s.loaded {
			is.Equal(n, 1)
		}
		next := map[string]int{}
		sends := 0
		for _, line := range b.wire.seen() {
			var chat string
			var n int
			if _, err := fmt.Sscanf(line, "send %s %d", &chat, &n); err == nil {
				is.True(n >= next[chat])
				next[chat] = n
				sends++
			}
		}
		is.Equal(sends, many)
		is.Equal(w.Counts().Left, 0)
	})
}

func TestAFullWindowStopsNoOtherChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, _ := windowed(t, 128<<10)
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			if strings.HasPrefix(tn.Event.Text, "away") {
				return agent.Answer{}, agent.ErrUnavailable
			}
			return agent.Echo{}.Answer(ctx, tn)
		})
		w := b.start()
		for i := range 200 { // 50 sessions that wait for their agent, of 4 messages of 8 kB
			is.NoErr(w.Take(message(fmt.Sprint("c", i%50), fmt.Sprint("m", i), "away "+strings.Repeat("x", 8000))))
			synctest.Wait()
		}
		time.Sleep(5 * time.Minute)
		is.NoErr(w.Take(message("other", "m", "hello")))
		time.Sleep(time.Second)
		is.Equal(b.wire.seen(), []string{"send other hello"})
		idle(w) // what waits keeps nobody awake
		is.Equal(w.Counts().Left, 200)

		is.NoErr(w.Take(message("c7", "stop", "/stop")))
		synctest.Wait()
		is.Equal(w.Counts().Left, 196) // what waits there has ended, in memory or not
		w.Close()
		b.agent = agent.Echo{}
		time.Sleep(2 * time.Hour)
		w = b.start()
		defer w.Close()
		for w.Busy() {
			<-w.Changed()
		}
		seen := b.wire.seen()
		is.Equal(len(seen), 1+5*196) // 8 kB are five messages
		is.True(!slices.ContainsFunc(seen, func(line string) bool { return strings.HasPrefix(line, "send c7 ") }))
	})
}

func TestWhatNoJournalHasGoesBeforeWhatIsNotInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, _ := windowed(t, 1<<20)
		release := make(chan struct{})
		var order []string
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			<-release
			order = append(order, tn.Event.MessageID)
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		for i := range 20 {
			is.NoErr(w.Take(message("c1", fmt.Sprint("m", i), "hello")))
		}
		synctest.Wait()
		large := strings.Repeat("x", 150_000)
		is.NoErr(w.Take(message("c1", "live", large)))
		is.NoErr(w.Take(buffered("b", message("c1", "buffered", large))))
		synctest.Wait()
		is.Equal(len(b.wire.seen()), 0) // the buffered one is not acked
		close(release)
		for w.Busy() {
			<-w.Changed()
		}
		is.Equal(order[:2], []string{"m0", "live"}) // nothing but the turn that ran
		is.Equal(order[len(order)-2:], []string{"m19", "buffered"})
		is.Equal(b.wire.seen(), []string{"ack b"})
	})
}

func TestATableThatCannotBeReadHoldsUpAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, s := windowed(t, 1<<20)
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			return agent.Answer{}, agent.ErrUnavailable
		})
		w := b.start()
		for i := range 30 {
			is.NoErr(w.Take(message(fmt.Sprint("c", i%3), fmt.Sprint("m", i), fmt.Sprint(i))))
		}
		synctest.Wait()
		w.Close()
		b.agent = agent.Echo{}
		s.down = true
		w = b.start()
		defer w.Close()
		time.Sleep(time.Minute)
		is.True(w.Busy())
		is.NoErr(w.Take(message("other", "m", "hello"))) // it waits for what it may not overtake
		s.mu.Lock()
		s.down = false
		s.mu.Unlock()
		for w.Busy() {
			<-w.Changed()
		}
		is.Equal(len(b.wire.seen()), 31)
	})
}

func TestWhatHasComeIsJournalledBeforeTheRunEnds(t *testing.T) {
	for name, end := range map[string]func(w *turn.Worker){
		"the deadline is near": func(w *turn.Worker) {
			w.StopStarting()
			for w.Busy() {
				<-w.Changed()
			}
			w.Close()
		},
		"another socket has taken the seat": func(w *turn.Worker) {
			w.Leave(context.Background())
			w.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b, s := windowed(t, 8<<20)
				s.takes = time.Second
				w := b.start()
				for i := range 500 { // 10 s of writes
					is.NoErr(w.Take(message(fmt.Sprint("c", i%5), fmt.Sprint("m", i), fmt.Sprint(i))))
				}
				end(w)
				left, err := ledgertest.Left(t.Context(), b.lease)
				is.NoErr(err)
				is.Equal(len(left)+w.Counts().Finished, 500)
				is.True(len(left) > 400)
				is.Equal(w.Counts().Left, len(left))
			})
		})
	}
}

func TestNothingThatStaysInMemoryOvertakesWhatLeavesIt(t *testing.T) {
	for name, last := range map[string]struct {
		text  string
		takes time.Duration
	}{
		"it is being journalled": {"hello", time.Minute},
		"no journal has it":      {strings.Repeat("x", 150_000), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b, s := windowed(t, 4<<20)
				asked, away := make(chan bool), true
				var order []string
				b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
					if away {
						<-asked
						away = false
						return agent.Answer{}, agent.ErrUnavailable
					}
					order = append(order, tn.Event.MessageID)
					return agent.Answer{}, nil
				})
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c", "m0", "hello")))
				is.NoErr(w.Take(message("c", "m1", "hello")))
				synctest.Wait()
				s.takes = last.takes
				is.NoErr(w.Take(buffered("b", message("c", "m2", last.text))))
				time.Sleep(time.Second)
				close(asked) // the first waits for its agent, and what is behind it leaves memory
				for w.Busy() {
					<-w.Changed()
				}
				is.Equal(order, []string{"m0", "m1", "m2"})
			})
		})
	}
}

// What no journal has takes an eighth of the window at most, 2 kB for each delivery beside its body: whoever brings more waits.
func TestWhatIsNotJournalledYetIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, s := windowed(t, 8*5*2<<10)
		s.takes = time.Second
		w := b.start()
		defer w.Close()
		began := time.Now()
		var took []time.Duration
		for i := range 12 {
			is.NoErr(w.Take(message(fmt.Sprint("c", i), fmt.Sprint("m", i), "x")))
			took = append(took, time.Since(began))
		}
		is.Equal(took[4], time.Duration(0)) // five have room
		for i := range took[5:] {
			is.True(took[i+5]-took[i] >= time.Second) // a write has made room
		}
	})
}

// What may not be tried for long is out of memory until then: the next run reads it once, to know which chats to leave alone.
func TestWhatRestsIsNotReadBeforeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, s := windowed(t, 8<<20)
		refused := true
		b.wire.do = func(context.Context, relay.Outbound) (relay.Result, error) {
			if refused {
				return relay.Result{}, &relay.OpError{Message: "Too Many Requests: retry after 600"}
			}
			return relay.Result{Success: true, MessageID: "m"}, nil
		}
		b.start()
		is.NoErr(b.current.Take(message("c1", "m1", "x")))
		time.Sleep(time.Second)
		b.current.Close()
		refused = false
		w := b.startWithin(time.Minute)
		defer w.Close()
		time.Sleep(time.Minute)
		is.True(!w.Busy())
		is.Equal(w.Counts().Left, 1)
		is.Equal(s.times(), []int{1})
		time.Sleep(9 * time.Minute)
		is.Equal(w.Counts().Finished, 1)
		is.Equal(s.times(), []int{2})
	})
}
