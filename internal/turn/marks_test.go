package turn_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// marked is a bench whose platforms offer react, and whose worker shows marks.
func marked(t *testing.T) *bench {
	b := newBench(t, durable(ledger.NewMemory()))
	b.wire.ops = []string{"send", "edit", "typing", "react"}
	b.change = func(cfg *turn.Config) {
		cfg.Reactions = true
		if chats, ok := cfg.Journal.(ledger.Chats); ok {
			cfg.Chats = chats
		}
	}
	return b
}

// marks are the reacts that were posted, as "+👀 m1".
func (w *wire) marks() (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, out := range w.posts {
		if out.Action.Op() != "react" {
			continue
		}
		sign := "+"
		if out.Action["remove"] == true {
			sign = "-"
		}
		list = append(list, fmt.Sprint(sign, out.Action["emoji"], " ", out.Action["message_id"]))
	}
	return list
}

func TestAMessageIsMarkedWhileItsTurnRunsAndAfterIt(t *testing.T) {
	tests := map[string]struct {
		platform string
		agent    func() (agent.Answer, error)
		want     []string
	}{
		"answered": {"discord", func() (agent.Answer, error) {
			return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "a"}}}, nil
		}, []string{"+👀 m1", "-👀 m1", "+✅ m1"}},
		"nothing to say": {"discord", func() (agent.Answer, error) { return agent.Answer{}, nil }, []string{"+👀 m1", "-👀 m1", "+✅ m1"}},
		"dead":           {"discord", func() (agent.Answer, error) { return agent.Answer{}, agent.ErrRefused }, []string{"+👀 m1", "-👀 m1", "+❌ m1"}},
		"on Telegram":    {"telegram", func() (agent.Answer, error) { return agent.Answer{}, nil }, []string{"+👀 m1", "-👀 m1", "+👍 m1"}},
		"dead on Telegram": {"telegram", func() (agent.Answer, error) { return agent.Answer{}, agent.ErrRefused },
			[]string{"+👀 m1", "-👀 m1", "+👎 m1"}},
		"not offered": {"sms", func() (agent.Answer, error) { return agent.Answer{}, nil }, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := marked(t)
				running := make(chan struct{})
				b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
					<-running
					return tt.agent()
				})
				w := b.start()
				defer w.Close()
				m := message("c1", "m1", "hello")
				m.Event.Source.Platform = tt.platform
				is.NoErr(w.Take(m))
				synctest.Wait()
				is.Equal(b.wire.marks(), tt.want[:min(1, len(tt.want))]) // while it runs
				close(running)
				synctest.Wait()
				is.Equal(b.wire.marks(), tt.want)
				is.Equal(w.Counts().Outbound, len(b.wire.outs)) // marks are not counted
			})
		})
	}
}

func TestMarksAreOffByDefaultAndForWhatHasNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := marked(t)
		change := b.change
		for name, d := range map[string]relay.Delivery{
			"off":      message("c1", "m1", "hello"),
			"no id":    message("c1", "", "hello"),
			"a button": press("m2", "p", "yes"),
		} {
			b.change = change
			if name == "off" {
				b.change = nil
			}
			w := b.start()
			is.NoErr(w.Take(d))
			synctest.Wait()
			w.Close()
			is.Equal(b.wire.marks(), nil)
		}
	})
}

func TestAStoppedTurnIsMarkedNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := marked(t)
		b.agent = agentFunc(func(ctx context.Context, _ agent.Turn) (agent.Answer, error) {
			<-ctx.Done()
			return agent.Answer{}, ctx.Err()
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		synctest.Wait()
		is.NoErr(w.Take(message("c1", "m2", "/stop")))
		synctest.Wait()
		is.Equal(b.marksOf("m1"), []string{"+👀 m1", "-👀 m1"})
		is.Equal(b.marksOf("m2"), []string{"+👀 m2", "-👀 m2"}) // the command: whoever hands out message after message goes on
	})
}

func TestAMessageThatIsLeftIsMarkedNoMoreUntilAnAnswerBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := marked(t)
		var there atomic.Bool
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			if !there.Load() {
				return agent.Answer{}, agent.ErrUnavailable
			}
			return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "a"}}}, nil
		})
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		time.Sleep(2 * time.Minute) // tried after 5, 15, 35 and 75 s; the next one is far
		synctest.Wait()
		is.Equal(b.wire.marks(), []string{"+👀 m1", "-👀 m1"})
		w.Close()
		is.Equal(b.wire.marks(), []string{"+👀 m1", "-👀 m1"})

		w = b.start() // an hour later
		synctest.Wait()
		is.Equal(b.wire.marks(), []string{"+👀 m1", "-👀 m1"}) // tried, and nothing begins
		there.Store(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		w.Close()
		is.Equal(b.wire.marks()[2:], []string{"+👀 m1", "-👀 m1", "+✅ m1"})
	})
}

func TestAMarkOfAProcessThatDiedComesOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := marked(t)
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) { return agent.Answer{}, nil })
		entry := ledger.Entry{Key: "k", Seq: 1, State: ledger.Running, Body: []byte(`{"Kind":1,"Event":{"text":"hi","message_type":"text","message_id":"m1","source":{"platform":"discord","chat_id":"c1","chat_type":"group"}}}`)}
		time.Sleep(time.Hour)
		lease, err := b.ledger.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "dead", Life: time.Second})
		is.NoErr(err)
		_, err = lease.Receive(t.Context(), entry)
		is.NoErr(err)
		w := b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(b.wire.marks(), []string{"-👀 m1", "+✅ m1"})
	})
}

func TestAChatThatRefusesMarksGetsNoneForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := marked(t)
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		synctest.Wait()
		is.Equal(len(b.wire.marks()), 3)
		refused := func(n int) string { return b.wire.posts[slices.IndexFunc(b.wire.posts, isReact)+n].RequestID }
		w.Unclaimed("another's", relay.Result{Error: "missing permission"})
		w.Unclaimed(refused(0), relay.Result{Error: "Too Many Requests: retry after 5"}) // for now only, and no pause is kept
		is.NoErr(w.Take(message("c1", "m2", "hello")))
		synctest.Wait()
		is.Equal(len(b.wire.marks()), 6)
		w.Unclaimed(b.wire.posts[len(b.wire.posts)-1].RequestID, relay.Result{Error: "missing permission"})
		synctest.Wait()
		is.NoErr(w.Take(message("c1", "m3", "hello")))
		is.NoErr(w.Take(message("c2", "m4", "hello"))) // another chat
		synctest.Wait()
		is.Equal(b.wire.marks()[6:], []string{"+👀 m4", "-👀 m4", "+✅ m4"})
		w.Close()

		w = b.start() // another process, an hour later
		is.NoErr(w.Take(message("c1", "m5", "hello")))
		synctest.Wait()
		w.Close()
		is.Equal(len(b.wire.marks()), 9)

		time.Sleep(24 * time.Hour)
		w = b.start()
		is.NoErr(w.Take(message("c1", "m6", "hello")))
		synctest.Wait()
		w.Close()
		is.Equal(len(b.wire.marks()), 12)
	})
}

func isReact(out relay.Outbound) bool { return out.Action.Op() == "react" }

// An agent that fails, then answers: the mark stays on from the first try to the end.
func TestTheMarkStaysOnOverAShortPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := marked(t)
		tries := 0
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			if tries++; tries < 3 {
				return agent.Answer{}, errors.New("failed")
			}
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		time.Sleep(time.Minute)
		synctest.Wait()
		is.Equal(b.wire.marks(), []string{"+👀 m1", "-👀 m1", "+✅ m1"})
	})
}
