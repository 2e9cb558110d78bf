package turn_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What mutants showed that no test demanded (docs/mutants.md).

// A text that grows by parts leaves the counters of several messages wrong: each of them is put right.
func TestEachCounterOfALongTextIsPutRight(t *testing.T) {
	actions := []relay.Action{send(count("w", 60)), edit(count("w", 90))}
	for kind, answer := range map[string]agentFunc{"whole": says(actions...), "stream": streamed(actions...)} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				r := room{}
				b.wire.limit, b.wire.do, b.agent = 100, r.do, answer
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				is.Equal(len(r.posts), 5)
				for i, p := range r.posts {
					is.True(strings.HasSuffix(p.text, fmt.Sprintf("(%d/5)", i+1)))
				}
			})
		})
	}
}

// An edit that its platform does not offer is sent as a message, which no edit before it holds up.
func TestAnEditThatCannotBeMadeWaitsForNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.wire.ops = without("edit")
		react := relay.Action{"op": "react", "emoji": "+1"}
		b.agent = says(send("a"), edit("b"), react, send("c"), edit("d"), react, send("e"), edit("f"))
		w := b.start()
		defer w.Close()
		start := time.Now()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(to(b, "c1"), []string{"send a", "send b", "react <nil>", "send c", "send d", "react <nil>", "send e", "send f"})
		is.Equal(time.Since(start), time.Duration(0))
	})
}

// A message that comes again while its chat has to be left alone is no further work, and the run may end.
func TestWhatComesAgainBehindWhatRestsIsNoWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b, s := windowed(t, 8<<20)
		b.wire.do = func(context.Context, relay.Outbound) (relay.Result, error) {
			return relay.Result{}, &relay.OpError{Message: "Too Many Requests: retry after 600"}
		}
		b.start()
		is.NoErr(b.current.Take(message("c1", "m1", "x")))
		time.Sleep(time.Second)
		b.current.Close()
		w := b.startWithin(time.Minute)
		defer w.Close()
		time.Sleep(time.Minute)
		is.True(!w.Busy())
		s.takes = time.Second // so that it waits beside the other until the table knows it
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
		is.True(w.Busy())
		time.Sleep(10 * time.Second)
		is.Equal(b.wire.seen()[len(b.wire.seen())-1], "ack b1")
		is.True(!w.Busy())
		is.Equal(w.Counts().Left, 1)
	})
}

// A platform that refuses a state of a draft gets no further one: what there is of the text is sent as a message, and edited.
func TestARefusedDraftIsFollowedByAMessageThatGrows(t *testing.T) {
	for name, tt := range map[string]struct {
		from int // the draft that is refused, and all behind it
		want []string
	}{
		"the first one": {1, []string{"draft a", "send a", "edit ab", "edit abc"}},
		"the next one":  {2, []string{"draft a", "draft ab", "send ab", "edit abc"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := drafting(t, "a", "ab", "abc")
				drafts := 0
				b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
					if out.Action.Op() == "draft" {
						if drafts++; drafts >= tt.from {
							return relay.Result{}, &relay.OpError{Message: "unsupported op: draft"}
						}
					}
					return relay.Result{Success: true, MessageID: "m"}, nil
				}
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "hello")))
				pass(time.Minute)
				list, _ := b.seenDrafts()
				is.Equal(list, tt.want)
				is.Equal(len(b.dead())+len(b.unfinished()), 0)
			})
		})
	}
}

func TestTheLogSaysHowMuchOfWhatWasLeftMayHaveKilledItsProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		log := new(strings.Builder)
		b.change = func(c *turn.Config) {
			c.Concurrency, c.AgentTimeout, c.Log = 2, 24*time.Hour, slog.New(slog.NewJSONHandler(&guarded{b: log}, nil))
		}
		hang := true
		b.agent = agentFunc(func(ctx context.Context, _ agent.Turn) (agent.Answer, error) {
			if hang {
				<-ctx.Done()
			}
			return agent.Answer{}, context.Cause(ctx)
		})
		w := b.start()
		for i := range 5 { // two run, three wait
			is.NoErr(w.Take(message(fmt.Sprint("c", i), fmt.Sprint("m", i), "x")))
		}
		synctest.Wait()
		w.StopStarting()
		b.crash()
		hang = false
		w = b.start()
		idle(w)
		w.Close()
		is.True(strings.Contains(log.String(), `"msg":"`+logs.TakingUp+`","messages":5,"suspects":2`))
	})
}
