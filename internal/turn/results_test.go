package turn_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
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

// told answers for the connector: a chat's name, a thread's id.
func told(_ context.Context, out relay.Outbound) (relay.Result, error) {
	switch out.Action.Op() {
	case "get_chat_info":
		return relay.Result{Success: true, ChatInfo: json.RawMessage(`{"name":"dev","type":"group"}`)}, nil
	case "thread_create":
		return relay.Result{Success: true, ThreadID: "t7", MessageID: "m7"}, nil
	case "react":
		return relay.Result{}, &relay.OpError{Code: "egress_declined"}
	}
	return relay.Result{Success: true, MessageID: "m5"}, nil
}

var resultOps = []string{"send", "edit", "react", "get_chat_info", "thread_create"}

func TestResultsComeBackInATurnOfTheirOwn(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.wire.ops, b.wire.do = resultOps, told
		var turns []agent.Turn
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			turns = append(turns, tn)
			if tn.Kind == agent.KindResults {
				return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "done", "chat_id": tn.Results["thread"].ThreadID}}}, nil
			}
			if tn.Event.Text != "ask" {
				return agent.Answer{Actions: []relay.Action{{"op": "send", "content": tn.Event.Text}}}, nil
			}
			return agent.Answer{Actions: []relay.Action{
				{"op": "get_chat_info"}, {"op": "thread_create", "thread_name": "n", "result": "thread"},
				{"op": "send", "content": strings.Repeat("word ", 500), "result": "said"}, {"op": "send", "content": "b"},
			}}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "ask"))))
		is.NoErr(w.Take(buffered("b2", message("c1", "m2", "next")))) // of the same session
		synctest.Wait()
		is.Equal(len(turns), 3)
		results := turns[1]
		is.Equal(results.Kind, agent.KindResults)
		is.Equal(results.SessionKey, turns[0].SessionKey)
		is.Equal(results.Delivery.Key, turns[0].Delivery.Key+"/results/1")
		is.Equal(results.Event.Source, turns[0].Event.Source)
		is.Equal(results.Results, map[string]agent.Result{
			"get_chat_info": {Op: "get_chat_info", Success: true, Outcome: "ok", ChatInfo: json.RawMessage(`{"name":"dev","type":"group"}`)},
			"thread":        {Op: "thread_create", Success: true, Outcome: "ok", ThreadID: "t7"},
			"said":          {Op: "send", Success: true, Outcome: "ok", MessageID: "m5"},
		})
		is.Equal(turns[2].Event.Text, "next") // nothing of the session comes between
		for _, out := range b.wire.outs {
			is.Equal(out.Action["result"], nil) // which is no business of the connector's
			is.Equal(out.Action["_result"], nil)
		}
		is.True(!w.Busy())
		is.Equal(w.Counts().Dead, 0)
	})
}

func TestRefusalsAreResultsToo(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.wire.ops = resultOps
		b.wire.do = func(ctx context.Context, out relay.Outbound) (relay.Result, error) {
			if out.Action.Op() == "thread_create" {
				return relay.Result{}, relay.ErrOutcomeUnknown
			}
			return told(ctx, out)
		}
		var results map[string]agent.Result
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			if tn.Kind == agent.KindResults {
				results = tn.Results
				return agent.Answer{}, nil
			}
			return agent.Answer{Actions: []relay.Action{
				{"op": "thread_create", "result": "a"}, {"op": "react", "emoji": "x", "result": "b"},
			}}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(results["a"], agent.Result{Op: "thread_create", Outcome: "unknown", Class: "unknown"})
		is.True(!results["b"].Success)
	})
}

func TestSixTurnsOfResultsAreTooMany(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.wire.ops, b.wire.do = resultOps, told
		turns := 0
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			turns++
			return agent.Answer{Actions: []relay.Action{{"op": "get_chat_info"}}}, nil
		})
		w := b.start()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "ask"))))
		synctest.Wait()
		is.Equal(turns, 6) // the message's and five of results
		is.Equal(w.Counts().Dead, 1)
		w.Close()
		dead, err := b.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.Equal(len(dead), 1)
		is.True(strings.HasSuffix(dead[0].Key, "/results/5"))
		is.True(strings.Contains(dead[0].Error, "at most 5 turns of results"))
	})
}

// A process that dies between the action and its result turn, or within that, loses neither and doubles nothing.
func TestResultsOutliveTheProcess(t *testing.T) {
	for name, dies := range map[string]string{"before the turn of results": "entry", "in it": "turn"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := newBench(t, durable(ledger.NewMemory()))
				b.wire.ops, b.wire.do = resultOps, told
				var asked []string
				alive := make(chan struct{})
				b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
					asked = append(asked, tn.Kind)
					if tn.Kind == agent.KindResults {
						if dies == "turn" {
							select {
							case <-ctx.Done(): // its process ends
								return agent.Answer{}, ctx.Err()
							case <-alive:
							}
						}
						return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "in " + tn.Results["t"].ThreadID}}}, nil
					}
					return agent.Answer{Actions: []relay.Action{{"op": "thread_create", "result": "t"}}}, nil
				})
				w := b.start()
				is.NoErr(w.Take(buffered("b1", message("c1", "m1", "ask"))))
				if dies == "entry" {
					w.StopStarting() // the answer is sent, and no turn starts any more
				}
				synctest.Wait()
				w.Close()
				close(alive)
				w = b.start()
				defer w.Close()
				synctest.Wait()
				var seen []string
				for _, s := range b.wire.seen() {
					if !isAck(s) {
						seen = append(seen, s)
					}
				}
				is.Equal(seen, []string{"thread_create c1 <nil>", "send c1 in t7"})
				is.Equal(asked[0], agent.KindMessage)
				is.Equal(asked[len(asked)-1], agent.KindResults)
				is.Equal(w.Counts().Dead, 0)
			})
		})
	}
}

func TestAThreadOfTheAnswerIsReached(t *testing.T) {
	for _, streamed := range []bool{false, true} {
		for platform, chat := range map[string]string{"discord": "t7", "telegram": "c1"} {
			t.Run(platform, func(t *testing.T) {
				bubble(t, func(t *testing.T, b *bench) {
					is := is.New(t)
					b.wire.ops, b.wire.do = resultOps, told
					said := []relay.Action{
						{"op": "send", "content": strings.Repeat("word ", 500)}, // in two parts
						{"op": "thread_create", "thread_name": "n"},
						{"op": "send", "content": "inside", "chat_id": map[string]any{"of": 1}},
						{"op": "edit", "content": "inside, changed", "chat_id": map[string]any{"of": 1}},
						{"op": "send", "content": "lost", "chat_id": map[string]any{"of": 0}},
						{"op": "send", "content": "outside"},
					}
					b.agent = says(said...)
					if streamed {
						b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
							return agent.Answer{Stream: func(yield func(relay.Action, error) bool) {
								for _, a := range said {
									if !yield(a, nil) {
										return
									}
								}
							}}, nil
						})
					}
					log := &strings.Builder{}
					b.change = func(c *turn.Config) { c.Log = slog.New(slog.NewTextHandler(&guarded{b: log}, nil)) }
					w := b.start()
					defer w.Close()
					m := message("c1", "m1", "x")
					m.Event.Source.Platform = platform
					is.NoErr(w.Take(m))
					idle(w)
					var inside []relay.Action
					for _, out := range b.wire.outs {
						text, _ := out.Action["content"].(string)
						is.True(text != "lost") // action 0 creates no thread
						metadata, _ := out.Action["metadata"].(map[string]any)
						switch {
						case strings.HasPrefix(text, "inside"):
							inside = append(inside, out.Action)
							is.Equal(out.Action["chat_id"], chat)
							is.Equal(metadata["thread_id"], "t7")
							is.Equal(out.Action["reply_to"], nil)
						case text == "outside":
							is.Equal(out.Action["chat_id"], "c1")
							is.Equal(metadata["thread_id"], nil)
						}
						is.Equal(out.Action["_thread"], nil)
					}
					is.Equal(inside[len(inside)-1]["content"], "inside, changed")
					is.Equal(inside[len(inside)-1].Op(), "edit")
					is.Equal(strings.Count(log.String(), "actions[4].chat_id.of"), 1) // it is said why it is left out
				})
			})
		}
	}
}

// Words for a thread of which nobody knows are not taken for said: the message is dead, with its answer.
func TestWordsForAThreadThatNobodyKnowsAreNotLost(t *testing.T) {
	tests := map[string]func() (relay.Result, error){
		"unknown": func() (relay.Result, error) {
			return relay.Result{}, fmt.Errorf("no answer: %w", relay.ErrOutcomeUnknown)
		},
		"no id":   func() (relay.Result, error) { return relay.Result{Success: true}, nil },
		"refused": func() (relay.Result, error) { return relay.Result{}, &relay.OpError{Message: "Missing Permissions"} },
	}
	for name, creates := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := newBench(t, durable(ledger.NewMemory()))
				b.wire.ops = resultOps
				b.agent = says(relay.Action{"op": "thread_create"}, relay.Action{"op": "send", "content": "inside", "chat_id": map[string]any{"of": 0}},
					send("outside"))
				b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
					if out.Action.Op() == "thread_create" {
						return creates()
					}
					return relay.Result{Success: true, MessageID: "m"}, nil
				}
				w := b.start()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				pass(time.Minute)
				w.Close()
				is.Equal(b.replies(), []string{"c1 outside"})
				is.Equal(len(b.dead()), 1)
				is.True(strings.Contains(b.dead()[0].Error, "thread"))
				creates = func() (relay.Result, error) { return relay.Result{Success: true, ThreadID: "t7"}, nil }
				is.NoErr(b.ledger.RetryDead(t.Context(), b.dead()[0].Key, false)) // what could not be said is, if there is a thread now
				w = b.start()
				defer w.Close()
				pass(time.Minute)
				is.Equal(len(b.dead()) == 0, name == "refused")
				is.Equal(len(b.replies()) == 2, name == "refused")
			})
		})
	}
}

// A process that dies once the thread is there sends what is for it into it.
func TestAThreadOfTheAnswerIsReachedByTheNextProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.wire.ops = resultOps
		refused := true
		b.wire.do = func(ctx context.Context, out relay.Outbound) (relay.Result, error) {
			if out.Action.Op() == "send" && refused {
				return relay.Result{}, &relay.OpError{Message: "Too Many Requests: retry after 600"}
			}
			return told(ctx, out)
		}
		b.agent = says(relay.Action{"op": "thread_create"}, relay.Action{"op": "send", "content": "a", "chat_id": map[string]any{"of": 0}})
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		synctest.Wait()
		w.Close()
		refused = false
		w = b.start()
		defer w.Close()
		synctest.Wait()
		last := b.wire.outs[len(b.wire.outs)-1].Action
		is.Equal(last["chat_id"], "t7")
		is.Equal(len(b.wire.outs), 3) // the thread once, the text twice
	})
}
