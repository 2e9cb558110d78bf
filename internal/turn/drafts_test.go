package turn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// drafting is a bench whose platforms stream drafts, and whose agent says a text that grows.
func drafting(t *testing.T, texts ...string) *bench {
	b := newBench(t, durable(ledger.NewMemory()))
	b.wire.ops, b.wire.draft = append([]string{"draft"}, allOps...), true
	b.agent = streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
		say(send(texts[0]))
		for _, text := range texts[1:] {
			time.Sleep(2 * time.Second)
			say(edit(text))
		}
		time.Sleep(2 * time.Second)
		return nil
	})
	return b
}

// seenDrafts are the sends and drafts, a final one with a mark.
func (b *bench) seenDrafts() (list []string, ids map[any]bool) {
	b.wire.mu.Lock()
	defer b.wire.mu.Unlock()
	ids = map[any]bool{}
	for _, out := range b.wire.outs {
		line := fmt.Sprint(out.Action.Op(), " ", out.Action["content"])
		if out.Action["final"] == true {
			line += "!"
		}
		if out.Action.Op() == "draft" {
			ids[fmt.Sprint(out.Action["draft_id"])] = true
		}
		list = append(list, line)
	}
	return list, ids
}

func TestStreamedTextGoesAsADraftWhereThereAreSome(t *testing.T) {
	tests := map[string]struct {
		final func(n int) error // what the connector says to the final draft, the first time and so on
		want  []string
		dead  int
	}{
		"sealed":  {nil, []string{"draft a", "draft ab", "draft abc", "draft abc!"}, 0},
		"refused": {func(int) error { return &relay.OpError{Message: "unsupported op"} }, []string{"draft a", "draft ab", "draft abc", "draft abc!", "send abc"}, 0},
		"declined": {func(int) error { return &relay.OpError{Code: "egress_declined"} },
			[]string{"draft a", "draft ab", "draft abc", "draft abc!"}, 1},
		"ambiguous once": {func(n int) error {
			if n == 1 {
				return fmt.Errorf("no answer: %w", relay.ErrOutcomeUnknown)
			}
			return nil
		}, []string{"draft a", "draft ab", "draft abc", "draft abc!", "draft abc!"}, 0},
		"ambiguous, then refused": {func(n int) error {
			if n == 1 {
				return fmt.Errorf("no answer: %w", relay.ErrOutcomeUnknown)
			}
			return &relay.OpError{Message: "Bad Request: can't parse entities"} // or that it is no draft any more
		}, []string{"draft a", "draft ab", "draft abc", "draft abc!", "draft abc!"}, 0},
		"ambiguous, throttled, then refused": {func(n int) error {
			switch n {
			case 1:
				return fmt.Errorf("no answer: %w", relay.ErrOutcomeUnknown)
			case 2:
				return &relay.OpError{Message: "Too Many Requests: retry after 3"}
			}
			return &relay.OpError{Message: "unsupported op"}
		}, []string{"draft a", "draft ab", "draft abc", "draft abc!", "draft abc!", "draft abc!"}, 0},
		"ambiguous, then declined": {func(n int) error {
			if n == 1 {
				return fmt.Errorf("no answer: %w", relay.ErrOutcomeUnknown)
			}
			return &relay.OpError{Code: "egress_declined"}
		}, []string{"draft a", "draft ab", "draft abc", "draft abc!", "draft abc!"}, 1},
		"ambiguous twice": {func(int) error { return fmt.Errorf("no answer: %w", relay.ErrOutcomeUnknown) },
			[]string{"draft a", "draft ab", "draft abc", "draft abc!", "draft abc!"}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := drafting(t, "a", "ab", "abc")
				finals := 0
				b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
					if out.Action["final"] == true && tt.final != nil {
						finals++
						if err := tt.final(finals); err != nil {
							return relay.Result{}, err
						}
					}
					return relay.Result{Success: true, MessageID: "m"}, nil
				}
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "hello")))
				pass(time.Minute)
				list, ids := b.seenDrafts()
				is.Equal(list, tt.want)
				is.Equal(len(ids), 1)
				is.Equal(len(b.dead()), tt.dead)
				is.Equal(len(b.unfinished()), 0)
				last := b.wire.outs[len(b.wire.outs)-1]
				if last.Action.Op() == "send" {
					is.Equal(last.Action["reply_to"], "m1") // as it would have been
					is.Equal(last.RequestID, b.wire.outs[len(b.wire.outs)-2].RequestID)
				} else {
					metadata, _ := last.Action["metadata"].(map[string]any)
					is.Equal(metadata["message_id"], "m1") // the turn that the draft belongs to
				}
			})
		})
	}
}

func TestADraftIsTheSameAfterADeathAndAnotherForTheNextText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := drafting(t, "a")
		dies := true
		b.agent = streams(func(ctx context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			say(send("a"))
			if dies {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			say(send("b"))
			return nil
		})
		b.change = func(c *turn.Config) { c.AgentTimeout = 24 * time.Hour }
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		pass(time.Second)
		b.crash()
		dies = false
		w = b.start()
		defer w.Close()
		pass(time.Minute)
		list, ids := b.seenDrafts()
		is.Equal(list[0], "draft a")
		is.Equal(len(ids), 2)
		is.True(strings.Contains(strings.Join(list, ","), "draft a!") && list[len(list)-1] == "draft b!")
		is.Equal(b.wire.outs[0].Action["draft_id"], b.wire.outs[1].Action["draft_id"])
	})
}

func TestATextThatOutgrowsItsDraftGoesOnAsAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		long := strings.TrimSpace(strings.Repeat("word ", 40))
		b := drafting(t, "word", long)
		b.wire.limit = 100
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		pass(time.Minute)
		list, _ := b.seenDrafts()
		is.Equal(list[:2], []string{"draft word", "draft word!"})
		is.True(strings.HasPrefix(list[2], "edit word") && strings.HasPrefix(list[3], "send word"))
		is.Equal(len(b.unfinished()), 0)
	})
}

// sealed are the final drafts that nothing waits for.
func (b *bench) sealed() (list []string) {
	b.wire.mu.Lock()
	defer b.wire.mu.Unlock()
	for _, out := range b.wire.posts {
		if out.Action.Op() == "draft" && out.Action["final"] == true {
			list = append(list, fmt.Sprint(out.Action["content"], " ", out.Action["draft_id"]))
		}
	}
	return list
}

// An open draft is no message: Telegram's is gone after half a minute, Slack's looks as if more were to come.
func TestWhatIsShownOfADraftStaysWhenItsTurnEndsBefore(t *testing.T) {
	broken := errors.New("broken")
	tests := map[string]struct {
		does func(ctx context.Context, say func(relay.Action) bool) error
		stop bool
		want string // what becomes a message; empty: nothing
	}{
		"stopped": {func(ctx context.Context, say func(relay.Action) bool) error {
			say(send("a"))
			time.Sleep(2 * time.Second)
			say(edit("ab"))
			time.Sleep(100 * time.Millisecond)
			say(edit("abc")) // it is not shown: at most one a second
			<-ctx.Done()
			return context.Cause(ctx)
		}, true, "ab"},
		"stopped before it is shown": {func(ctx context.Context, _ func(relay.Action) bool) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, true, ""},
		"stopped behind it": {func(ctx context.Context, say func(relay.Action) bool) error {
			say(send("a"))
			say(relay.Action{"op": "react", "emoji": "x"}) // "a" is whole
			<-ctx.Done()
			return context.Cause(ctx)
		}, true, ""},
		"dead": {func(_ context.Context, say func(relay.Action) bool) error {
			say(send("a"))
			return broken
		}, false, "a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := drafting(t, "a")
				b.agent = streams(func(ctx context.Context, _ agent.Turn, say func(relay.Action) bool) error { return tt.does(ctx, say) })
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "hello")))
				pass(2500 * time.Millisecond)
				is.Equal(b.sealed(), nil)
				if tt.stop {
					is.NoErr(w.Take(message("c1", "m2", "/stop")))
				}
				pass(time.Minute)
				_, ids := b.seenDrafts()
				var want []string
				for id := range ids {
					if tt.want != "" {
						want = append(want, fmt.Sprint(tt.want, " ", id))
					}
				}
				is.Equal(b.sealed(), want)
				is.Equal(len(b.unfinished()), 0)
				is.Equal(len(b.dead()) == 1, !tt.stop)
			})
		})
	}
}

func TestAnAttemptGoesOnWithTheDraftOfTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := drafting(t, "a")
		tries := 0
		streaming := streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			say(send("a"))
			return errors.New("broken")
		})
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			if tries++; tries > 1 { // it does not stream then
				return agent.Answer{Actions: []relay.Action{send("whole")}}, nil
			}
			return streaming.Answer(ctx, tn)
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		pass(time.Minute)
		list, ids := b.seenDrafts()
		is.Equal(list[0], "draft a")
		is.Equal(list[len(list)-1], "draft whole!")
		is.Equal(len(ids), 1)
		is.Equal(b.sealed(), nil)
		is.Equal(len(b.unfinished()), 0)
	})
}

// The run ends, not the turn: the next run's attempt goes on with the draft.
func TestADraftStaysOpenWhereItsTurnIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := drafting(t, "a")
		b.agent = streams(func(ctx context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			say(send("a"))
			<-ctx.Done()
			return context.Cause(ctx)
		})
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		pass(time.Second)
		w.Close()
		is.Equal(b.sealed(), nil)
		is.Equal(len(b.unfinished()), 1)
	})
}
