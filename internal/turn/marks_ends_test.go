package turn_test

import (
	"context"
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

// A connector may hand out a chat's next message when the mark comes off (section 19): so it comes off each one once, however that
// one ends, or rests.

// glanced is a message's mark that was put up and has come off at once.
func glanced(id string) []string { return []string{"+👀 " + id, "-👀 " + id} }

func TestAMessageThatGetsNoTurnIsMarkedForAMoment(t *testing.T) {
	tests := map[string]struct {
		change func(*turn.Config)
		take   func(w *turn.Worker) []relay.Delivery
		want   []string
	}{
		"a command to stop": {nil, func(*turn.Worker) []relay.Delivery {
			return []relay.Delivery{message("c1", "m1", "/stop")}
		}, glanced("m1")},
		"a command to stop that the connector had buffered": {nil, func(*turn.Worker) []relay.Delivery {
			return []relay.Delivery{buffered("b1", message("c1", "m1", "/stop"))}
		}, glanced("m1")},
		"a bot's over its budget": {func(c *turn.Config) { c.BotTurns = -1 }, func(*turn.Worker) []relay.Delivery {
			return []relay.Delivery{bot(message("c1", "m1", "hello"))}
		}, glanced("m1")},
		"over the day's budget": {func(c *turn.Config) {
			c.MaxTurnsPerDay, c.Day = 1, ledger.Day{Date: ledger.DateOf(time.Now()), Turns: 1}
		},
			func(*turn.Worker) []relay.Delivery { return []relay.Delivery{message("c1", "m1", "hello")} }, glanced("m1")},
		"taken as the run ends": {nil, func(w *turn.Worker) []relay.Delivery {
			w.StopStarting()
			return []relay.Delivery{message("c1", "m1", "hello")}
		}, glanced("m1")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := marked(t)
				change := b.change
				b.change = func(c *turn.Config) {
					change(c)
					if tt.change != nil {
						tt.change(c)
					}
				}
				w := b.start()
				defer w.Close()
				for _, d := range tt.take(w) {
					is.NoErr(w.Take(d))
				}
				pass(time.Second)
				is.Equal(b.wire.marks(), tt.want)
				is.Equal(w.Counts().Turns, 0)
			})
		})
	}
}

func TestAMessageThatIsStoppedBeforeItsTurnIsMarkedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := marked(t)
		b.agent = agentFunc(func(ctx context.Context, _ agent.Turn) (agent.Answer, error) {
			<-ctx.Done()
			return agent.Answer{}, context.Cause(ctx)
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "one")))
		is.NoErr(w.Take(message("c1", "m2", "two")))
		synctest.Wait()
		is.Equal(b.wire.marks(), []string{"+👀 m1"})
		is.NoErr(w.Take(message("c1", "m3", "/stop")))
		pass(time.Second)
		for _, id := range []string{"m1", "m2", "m3"} {
			is.Equal(b.marksOf(id), glanced(id))
		}
	})
}

// marksOf are the marks on one message.
func (b *bench) marksOf(id string) (list []string) {
	for _, mark := range b.wire.marks() {
		if mark[len(mark)-len(id):] == id {
			list = append(list, mark)
		}
	}
	return list
}

// It is handed out anew to a gateway that has not acked it, on the next socket.
func TestARepeatIsMarkedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := marked(t)
		goOn := make(chan struct{})
		var away atomic.Bool
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			if away.Load() {
				return agent.Answer{}, agent.ErrUnavailable
			}
			<-goOn
			return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "a"}}}, nil
		})
		w := b.start()
		defer w.Close()
		first := buffered("b1", message("c1", "m1", "one"))
		is.NoErr(w.Take(first))
		synctest.Wait()
		is.NoErr(w.Take(first))
		synctest.Wait()
		is.Equal(b.wire.marks(), []string{"+👀 m1", "-👀 m1", "+👀 m1"}) // its turn runs, and the mark stays
		close(goOn)
		synctest.Wait()
		is.Equal(b.wire.marks()[3:], []string{"-👀 m1", "+✅ m1"})
		is.NoErr(w.Take(first))
		synctest.Wait()
		is.Equal(b.wire.marks()[5:], glanced("m1")) // it has ended

		away.Store(true)
		second := buffered("b2", message("c1", "m2", "two"))
		is.NoErr(w.Take(second))
		pass(5 * time.Minute)
		before := len(b.wire.marks())
		is.NoErr(w.Take(second))
		synctest.Wait()
		is.Equal(b.wire.marks()[before:], glanced("m2")) // it waits
	})
}

func TestTheMarkComesOffAsSoonAsTheAgentIsAway(t *testing.T) {
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
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		is.NoErr(w.Take(message("c1", "m2", "again")))
		synctest.Wait()
		is.Equal(b.marksOf("m1"), glanced("m1"))
		pass(2 * time.Minute)
		is.Equal(b.marksOf("m1"), glanced("m1"))
		is.Equal(b.marksOf("m2"), glanced("m2")) // behind it
		there.Store(true)
		pass(10 * time.Minute)
		is.Equal(b.marksOf("m1"), append(glanced("m1"), append(glanced("m1"), "+✅ m1")...))
	})
}

// The mark stays while a message waits for its late answer, and comes off for a moment, as its session goes on.
func TestAMessageWhoseAnswerComesLaterKeepsItsMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := marked(t)
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			if tn.Event.Text == "later" {
				return agent.Answer{Later: 2 * time.Hour}, nil
			}
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "later")))
		is.NoErr(w.Take(message("c1", "m2", "now")))
		pass(time.Second)
		is.Equal(b.marksOf("m1"), []string{"+👀 m1", "-👀 m1", "+👀 m1"})
		is.Equal(b.marksOf("m2"), append(glanced("m2"), "+✅ m2"))
		is.NoErr(w.Take(message("c1", "m3", "/stop")))
		pass(time.Second)
		is.Equal(b.marksOf("m1")[3:], []string{"-👀 m1"})
	})
}

func TestTheLastMessageOfASetThatIsAnsweredLaterKeepsItsMark(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, _ *turnList) {
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.Reactions = true
		}
		b.wire.ops = []string{"send", "react"}
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			return agent.Answer{Later: 2 * time.Hour}, nil
		})
		w := b.start()
		defer w.Close()
		b.takeAll("1", "2")
		pass(time.Second)
		is.NoErr(w.Take(message("c1", "m-s", "/stop")))
		pass(time.Second)
		is.Equal(b.marksOf("m-1"), glanced("m-1"))
		is.Equal(b.marksOf("m-2"), append(glanced("m-2"), glanced("m-2")...)) // the last one leads
		is.Equal(len(b.unfinished()), 0)
		is.Equal(w.Counts().Finished, 3)
		is.True(!slices.Contains(b.wire.marks(), "+✅ m-2"))
	})
}
