package turn_test

import (
	"context"
	"encoding/json"
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
			id, _ := json.Marshal(out.Action["draft_id"]) // a number, before the journal had it and after
			ids[string(id)] = true
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

// What this run knows, that a final draft may be there, no later one does.
func TestAFinalDraftThatMayBeThereIsNotLeft(t *testing.T) {
	for name, once := range map[string]error{
		"throttled for long": &relay.OpError{Message: "Too Many Requests: retry after 600"},
		"not sent":           errors.New("the run ends"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := drafting(t, "a")
				finals := 0
				b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
					if out.Action["final"] != true {
						return relay.Result{Success: true, MessageID: "m"}, nil
					}
					switch finals++; finals {
					case 1:
						return relay.Result{}, fmt.Errorf("no answer: %w", relay.ErrOutcomeUnknown)
					case 2:
						return relay.Result{}, once
					}
					return relay.Result{}, &relay.OpError{Message: "unsupported op"}
				}
				w := b.start()
				is.NoErr(w.Take(message("c1", "m1", "hello")))
				pass(time.Minute)
				w.Close()
				pass(time.Hour)
				w = b.start()
				defer w.Close()
				pass(time.Minute)
				list, _ := b.seenDrafts()
				is.Equal(list, []string{"draft a", "draft a!", "draft a!"}) // and no send of what is there already
				is.Equal(len(b.unfinished())+len(b.dead()), 0)
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
			id, _ := json.Marshal(out.Action["draft_id"])
			list = append(list, fmt.Sprint(out.Action["content"], " ", string(id)))
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

// What an earlier process has shown of a draft, it alone knew. Which draft it was, the journal knows.
func TestTheAnswerOfALaterProcessTakesTheDraftThatIsOpen(t *testing.T) {
	opens := streams(func(ctx context.Context, _ agent.Turn, say func(relay.Action) bool) error {
		say(send("half"))
		<-ctx.Done()
		return context.Cause(ctx)
	})
	breaks := streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
		say(send("half"))
		return errors.New("broken")
	})
	photo := relay.Action{"op": "send_media", "media_kind": "image", "source_url": "https://example.org/1.png"}
	whole := func(actions ...relay.Action) agent.Agent {
		return agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) { return agent.Answer{Actions: actions}, nil })
	}
	tests := map[string]struct {
		first agent.Agent
		ends  func(b *bench, w *turn.Worker)
		then  agent.Agent
		want  []string // what the later process sends
	}{
		"died":   {opens, func(b *bench, _ *turn.Worker) { b.crash() }, whole(send("whole")), []string{"draft whole!"}},
		"left":   {opens, func(_ *bench, w *turn.Worker) { w.Close() }, whole(send("whole")), []string{"draft whole!"}},
		"failed": {breaks, func(_ *bench, w *turn.Worker) { w.Close() }, whole(send("whole")), []string{"draft whole!"}},
		"several messages": {opens, func(b *bench, _ *turn.Worker) { b.crash() }, whole(send("one"), send("two")),
			[]string{"draft one!", "send two"}},
		"other things first": {opens, func(b *bench, _ *turn.Worker) { b.crash() }, whole(photo, send("whole")),
			[]string{"send_media ", "draft whole!"}},
		"other things first, streamed": {opens, func(b *bench, _ *turn.Worker) { b.crash() },
			streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
				say(photo)
				say(send("whole"))
				return nil
			}), []string{"send_media ", "draft whole", "draft whole!"}},
		"too long for one": {opens, func(b *bench, _ *turn.Worker) { b.crash() }, whole(send(strings.Repeat("word ", 24) + "word")),
			[]string{"draft " + strings.TrimSpace(strings.Repeat("word ", 17)) + " (1/2)!", "send " + strings.TrimSpace(strings.Repeat("word ", 8)) + " (2/2)"}},
		"too long for one, streamed": {opens, func(b *bench, _ *turn.Worker) { b.crash() },
			streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
				say(send(strings.Repeat("word ", 24) + "word"))
				return nil
			}), []string{"draft " + strings.TrimSpace(strings.Repeat("word ", 17)) + " (1/2)!", "send " + strings.TrimSpace(strings.Repeat("word ", 8)) + " (2/2)"}},
		"streamed again": {opens, func(b *bench, _ *turn.Worker) { b.crash() },
			streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
				say(send("whole"))
				return nil
			}), []string{"draft whole", "draft whole!"}},
		"elsewhere alone": {opens, func(b *bench, _ *turn.Worker) { b.crash() },
			whole(relay.Action{"op": "send", "chat_id": "c9", "content": "there"}), []string{"send there"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := drafting(t, "a")
				b.wire.limit = 100
				b.agent = tt.first
				b.change = func(c *turn.Config) { c.AgentTimeout, c.MaxAttempts = 24*time.Hour, 9 }
				w := b.start()
				is.NoErr(w.Take(message("c1", "m1", "hello")))
				pass(time.Second)
				tt.ends(b, w)
				before, ids := b.seenDrafts()
				is.Equal(before, []string{"draft half"})
				b.agent = tt.then
				w = b.start()
				defer w.Close()
				pass(time.Minute)
				list, idsThen := b.seenDrafts()
				is.Equal(list[1:], tt.want)
				is.Equal(idsThen, ids) // one draft
				is.Equal(b.sealed(), nil)
				is.Equal(len(b.unfinished()), 0)
				is.Equal(len(b.dead()), 0)
			})
		})
	}
}

// A whole answer is kept before it is sent, also if it takes a draft: the agent is not asked again for it.
func TestAWholeAnswerThatTakesADraftIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := drafting(t, "a")
		asked := 0
		streaming := streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			say(send("half"))
			return errors.New("broken")
		})
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			if asked++; asked == 1 {
				return streaming.Answer(ctx, tn)
			}
			return agent.Answer{Actions: []relay.Action{send("one"), send("two")}}, nil
		})
		b.wire.do = func(ctx context.Context, out relay.Outbound) (relay.Result, error) {
			if out.Action["final"] == true && asked == 2 {
				<-ctx.Done() // the process dies here
				return relay.Result{}, context.Cause(ctx)
			}
			return relay.Result{Success: true, MessageID: "m"}, nil
		}
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		pass(10 * time.Second)
		b.crash()
		b.wire.do = nil
		w = b.start()
		defer w.Close()
		pass(time.Minute)
		is.Equal(asked, 2)
		list, ids := b.seenDrafts()
		is.Equal(list, []string{"draft half", "draft one!", "draft one!", "send two"})
		is.Equal(len(ids), 1)
		is.Equal(b.wire.outs[1].RequestID, b.wire.outs[2].RequestID)
		is.Equal(len(b.unfinished()), 0)
	})
}

// Nobody knows whether a final draft has left that an earlier process had kept: once more is harmless.
func TestAFinalDraftThatMayHaveLeftIsSealedOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := drafting(t, "a")
		var told []agent.Sent
		b.agent = streams(func(_ context.Context, tn agent.Turn, say func(relay.Action) bool) error {
			told = tn.Delivery.Sent
			say(send("first"))
			say(send("second"))
			return nil
		})
		dies := true
		b.wire.do = func(ctx context.Context, out relay.Outbound) (relay.Result, error) {
			if out.Action["final"] == true && dies {
				<-ctx.Done()
				return relay.Result{}, context.Cause(ctx)
			}
			return relay.Result{Success: true, MessageID: "m"}, nil
		}
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		pass(time.Second)
		b.crash()
		dies = false
		w = b.start()
		defer w.Close()
		pass(time.Minute)
		is.Equal(told, []agent.Sent{{Op: "send", Outcome: "unknown"}})
		list, ids := b.seenDrafts()
		is.Equal(list[:2], []string{"draft first", "draft first!"})
		is.Equal(len(ids), 3) // the agent has said both again
		is.Equal(b.sealed(), []string{fmt.Sprint("first ", b.wire.outs[0].Action["draft_id"])})
		for _, out := range b.wire.posts {
			if out.Action.Op() == "draft" {
				is.Equal(out.RequestID, b.wire.outs[1].RequestID)
			}
		}
	})
}

// The chat of a dead message has the apology in place of half a draft, if only the journal knows of that.
func TestAnApologyTakesTheDraftOfADeadProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := drafting(t, "a")
		b.agent = streams(func(ctx context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			say(send("half"))
			<-ctx.Done()
			return context.Cause(ctx)
		})
		b.change = func(c *turn.Config) { c.Apology, c.AgentTimeout = "Sorry.", 24*time.Hour }
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		pass(time.Second)
		b.crash()
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			return agent.Answer{}, agent.ErrRefused
		})
		w = b.start()
		defer w.Close()
		pass(time.Minute)
		list, ids := b.seenDrafts()
		is.Equal(list, []string{"draft half", "draft Sorry.!"})
		is.Equal(len(ids), 1)
		is.Equal(len(b.dead()), 1)
		is.Equal(len(b.unfinished()), 0)
	})
}

// What was sealed is a message: nothing else may go under its id, which a connector may take for the same once more.
func TestAMessageThatIsPutBackHasAnotherDraft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := drafting(t, "a")
		fails := true
		b.agent = streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			if !fails {
				say(send("whole"))
				return nil
			}
			say(send("half"))
			return errors.New("broken")
		})
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		pass(time.Minute)
		is.Equal(len(b.dead()), 1)
		is.Equal(len(b.sealed()), 1)
		w.Close()
		fails = false
		before, _ := b.seenDrafts()
		is.NoErr(b.ledger.RetryDead(t.Context(), b.dead()[0].Key, false))
		w = b.start()
		defer w.Close()
		pass(time.Minute)
		list, ids := b.seenDrafts()
		is.Equal(list[len(before):], []string{"draft whole", "draft whole!"})
		is.Equal(len(ids), 2)
		is.Equal(len(b.unfinished()), 0)
	})
}

func TestAnAgentThatDoesNotStreamHasNoDraftsAfterADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := drafting(t, "a")
		dies := true
		b.agent = agentFunc(func(ctx context.Context, _ agent.Turn) (agent.Answer, error) {
			if dies {
				<-ctx.Done()
				return agent.Answer{}, context.Cause(ctx)
			}
			return agent.Answer{Actions: []relay.Action{send("whole")}}, nil
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
		list, _ := b.seenDrafts()
		is.Equal(list, []string{"send whole"})
	})
}
