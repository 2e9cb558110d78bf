package turn_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// allOps are offered by the wires of these tests.
var allOps = []string{
	"send", "edit", "typing", "follow_up", "get_chat_info", "send_media", "prompt", "react", "thread_create",
	"thread_rename", "delete",
}

// says answers every message with actions, and a turn of results with nothing.
func says(actions ...relay.Action) agentFunc {
	return func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
		if tn.Kind == agent.KindResults {
			return agent.Answer{}, nil
		}
		return agent.Answer{Actions: actions}, nil
	}
}

// bubble is each with a durable ledger only and all ops offered.
func bubble(t *testing.T, test func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, durable(ledger.NewMemory()))
		b.wire.ops = allOps
		test(t, b)
	})
}

// idle waits until nothing is queued or running.
func idle(w *turn.Worker) {
	for w.Busy() {
		<-w.Changed()
	}
	w.Counts() // comes after what has ended, for the race detector too: being busy is a length
}

func TestActionsAsTheyGoOnTheWire(t *testing.T) {
	facts := map[string]any{"scope_id": "g1", "user_id": "u1"}
	said := map[string]any{"scope_id": "g1", "user_id": "u1", "notify": true}
	tests := map[string]struct{ say, want relay.Action }{
		"send": {
			relay.Action{"op": "send", "content": "hi"},
			relay.Action{"op": "send", "chat_id": "c1", "content": "hi", "reply_to": "m1", "metadata": said},
		},
		"send to another chat": {
			relay.Action{"op": "send", "content": "hi", "chat_id": "c9", "metadata": map[string]any{"_x": 1, "y": "z"}},
			relay.Action{"op": "send", "chat_id": "c9", "content": "hi", "reply_to": nil, "metadata": map[string]any{"y": "z"}},
		},
		"edit": {
			relay.Action{"op": "edit", "message_id": "m7", "content": "hi"},
			relay.Action{"op": "edit", "chat_id": "c1", "message_id": "m7", "content": "hi", "metadata": facts},
		},
		"typing": {
			relay.Action{"op": "typing", "content": "is thinking"},
			relay.Action{"op": "typing", "chat_id": "c1", "content": "is thinking", "metadata": facts},
		},
		"follow_up": {
			relay.Action{"op": "follow_up", "content": "done"},
			relay.Action{
				"op": "follow_up", "session_key": "agent:main:discord:group:c1:u1", "kind": "discord.interaction_token",
				"content": "done", "metadata": map[string]any{},
			},
		},
		"follow_up of another profile": {
			relay.Action{"op": "follow_up", "content": "done", "session_key": "agent:coder:discord:dm:d1"},
			relay.Action{
				"op": "follow_up", "session_key": "agent:coder:discord:dm:d1", "kind": "discord.interaction_token",
				"content": "done", "metadata": map[string]any{"profile": "coder"},
			},
		},
		"get_chat_info": {
			relay.Action{"op": "get_chat_info"},
			relay.Action{"op": "get_chat_info", "chat_id": "c1"},
		},
		"send_media": {
			relay.Action{"op": "send_media", "media_kind": "image", "source_url": "https://x.example/a.png"},
			relay.Action{
				"op": "send_media", "chat_id": "c1", "media_kind": "image", "source_url": "https://x.example/a.png",
				"content": "", "reply_to": nil, "metadata": facts,
			},
		},
		"react to the message": {
			relay.Action{"op": "react", "emoji": "+1"},
			relay.Action{"op": "react", "chat_id": "c1", "message_id": "m1", "emoji": "+1", "remove": false, "metadata": facts},
		},
		"thread_create": {
			relay.Action{"op": "thread_create", "thread_name": " " + strings.Repeat("n", 120)},
			relay.Action{"op": "thread_create", "chat_id": "c1", "thread_name": strings.Repeat("n", 100), "metadata": facts},
		},
		"thread without a name": {
			relay.Action{"op": "thread_create"},
			relay.Action{"op": "thread_create", "chat_id": "c1", "thread_name": "handoff", "metadata": facts},
		},
		"thread_rename": {
			relay.Action{"op": "thread_rename", "message_id": "t1", "thread_name": "a \n b", "only_if_connector_created": true},
			relay.Action{
				"op": "thread_rename", "chat_id": "c1", "message_id": "t1", "thread_name": "a b",
				"only_if_connector_created": true, "metadata": facts,
			},
		},
		"delete": {
			relay.Action{"op": "delete", "message_id": "m7"},
			relay.Action{"op": "delete", "chat_id": "c1", "message_id": "m7", "metadata": facts},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				b.agent = says(tt.say)
				given := maps.Clone(tt.say)
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				is.Equal(len(b.wire.outs), 1)
				is.Equal(b.wire.outs[0].Action, tt.want)
				is.Equal(tt.say, given) // the agent's own is left alone
				platform := "discord"
				if tt.say.Op() == "get_chat_info" {
					platform = "" // section 11: untagged
				}
				is.Equal(b.wire.outs[0].Platform, platform)
			})
		})
	}
}

func TestEachChatGetsItsOwnFacts(t *testing.T) {
	elsewhere := func(op relay.Action) relay.Action {
		op["chat_id"] = "s1"
		return op
	}
	sms := message("s1", "m0", "hi")
	sms.Event.Source = relay.Source{Platform: "sms", ChatID: "s1", ChatType: "dm", UserID: "u7", ScopeID: "number-1", Profile: "work"}
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var logged strings.Builder
		b.change = func(c *turn.Config) { c.Log, c.MaxAttempts = slog.New(slog.NewTextHandler(&logged, nil)), 1 }
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			switch tn.Event.Text {
			case "tell them":
				return agent.Answer{Actions: []relay.Action{send("told"), elsewhere(send(strings.Repeat("word ", 50)))}}, nil
			case "react":
				return agent.Answer{Actions: []relay.Action{elsewhere(relay.Action{"op": "react", "emoji": "+1"})}}, nil
			case "again":
				return agent.Answer{Actions: []relay.Action{send("again")}}, nil
			}
			return agent.Answer{}, nil
		})
		w := b.start()
		is.NoErr(w.Take(sms))
		idle(w)
		is.NoErr(w.Take(message("c1", "m1", "tell them")))
		idle(w)
		is.Equal(len(b.wire.outs), 3) // the second in two parts: 160 characters are sms's limit
		is.Equal(b.wire.outs[0].Platform, "discord")
		is.Equal(b.wire.outs[0].Action["metadata"], map[string]any{"scope_id": "g1", "user_id": "u1", "notify": true})
		for _, out := range b.wire.outs[1:] {
			is.Equal(out.Platform, "sms")
			is.Equal(out.Action["metadata"], map[string]any{"scope_id": "number-1", "user_id": "u7", "profile": "work"})
			is.Equal(out.Action["_platform"], nil)
		}
		is.NoErr(w.Take(message("c1", "m2", "react")))
		idle(w)
		is.Equal(w.Counts().Dead, 1)
		is.True(strings.Contains(logged.String(), "does not offer")) // sms has no reactions, discord has

		bare := message("c1", "m3", "again")
		bare.Event.Source.ScopeID = ""
		is.NoErr(w.Take(bare))
		idle(w)
		is.Equal(b.wire.outs[3].Action["metadata"], map[string]any{"scope_id": "g1", "user_id": "u1", "notify": true}) // as it was known
		w.Close()
	})
}

func TestWhereNothingIsListedEditsGoByTheDescriptor(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.change = func(c *turn.Config) { c.MaxAttempts = 1 }
		b.wire.ops = nil
		b.agent = says(send("a"), edit("b"))
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		irc := message("c2", "m2", "x")
		irc.Event.Source.Platform = "irc"
		is.NoErr(w.Take(irc))
		idle(w)
		is.Equal(to(b, "c1"), []string{"send a", "edit b"})
		is.Equal(to(b, "c2"), []string{"send a", "send b"}) // irc has no edits, and b must be seen
	})
}

// to is what a chat was sent: ops and contents.
func to(b *bench, chat string) (list []string) {
	for _, seen := range b.wire.seen() {
		op, rest, _ := strings.Cut(seen, " ")
		if where, content, _ := strings.Cut(rest, " "); where == chat {
			list = append(list, op+" "+content)
		}
	}
	return list
}

func TestATurnWaitsForItsPlatformsDescriptor(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.wire.ops, b.wire.late = []string{"send"}, []string{"send", "react"} // another platform's, then its own
		b.agent = says(relay.Action{"op": "react", "emoji": "+1"})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(w.Counts().Turns, 1)
		is.Equal(w.Counts().Finished, 1)
	})
}

func TestAKeptActionKnowsItsChatsPlatform(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			if tn.Event.Source.ChatID == "s1" {
				return agent.Answer{}, nil
			}
			return agent.Answer{Actions: []relay.Action{{"op": "send", "chat_id": "s1", "content": "hi"}}}, nil
		})
		b.wire.do = func(ctx context.Context, _ relay.Outbound) (relay.Result, error) { // no socket
			<-ctx.Done()
			return relay.Result{}, context.Cause(ctx)
		}
		w := b.start()
		sms := message("s1", "m0", "hi")
		sms.Event.Source = relay.Source{Platform: "sms", ChatID: "s1", ChatType: "dm", UserID: "u7"}
		is.NoErr(w.Take(sms))
		idle(w)
		is.NoErr(w.Take(message("c1", "m1", "x")))
		synctest.Wait()
		b.crash()
		b.wire = &wire{}
		w = b.start() // in which s1 has said nothing
		defer w.Close()
		idle(w)
		is.Equal(b.wire.outs[0].Platform, "sms")
		is.Equal(b.wire.outs[0].Action, relay.Action{
			"op": "send", "chat_id": "s1", "content": "hi", "reply_to": nil, "metadata": map[string]any{"user_id": "u7"},
		})
	})
}

func TestAThreadIsRenamedThroughItsParent(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = says(relay.Action{"op": "thread_rename", "thread_name": "new"})
		w := b.start()
		defer w.Close()
		m := message("t1", "m1", "x")
		m.Event.Source.ChatType, m.Event.Source.ThreadID, m.Event.Source.ParentChatID = "thread", "t1", "c1"
		is.NoErr(w.Take(m))
		idle(w)
		a := b.wire.outs[0].Action
		is.Equal(a["chat_id"], "c1")
		is.Equal(a["message_id"], "t1")
		is.Equal(a["metadata"], map[string]any{"scope_id": "g1", "user_id": "u1"})
	})
}

func TestAnActionThatCannotLeaveNamesItsField(t *testing.T) {
	options := func(o ...any) []any { return o }
	prompt := func(name string, value any) relay.Action {
		a := relay.Action{
			"op": "prompt", "content": "Sure?", "prompt_kind": "choice",
			"options": options(map[string]any{"id": "yes", "label": "Yes"}),
		}
		a[name] = value
		return a
	}
	tests := []struct {
		action relay.Action
		want   string
	}{
		{relay.Action{"op": "draft"}, `op: the connector does not offer "draft" for discord`},
		{relay.Action{"op": "send"}, "content: want a string that is not empty"},
		{relay.Action{"op": "send", "content": 7}, "content: want"},
		{relay.Action{"op": "send", "content": "x", "reply_to": true}, "reply_to: want"},
		{relay.Action{"op": "send", "content": "x", "chat_id": []string{"c1"}}, "chat_id: want"},
		{relay.Action{"op": "send", "content": "x", "metadata": []int{1}}, "metadata: want an object"},
		{relay.Action{"op": "edit", "message_id": "m"}, "content: want"},
		{relay.Action{"op": "edit", "content": "x", "message_id": 1e30}, "message_id: want"},
		{relay.Action{"op": "typing", "content": 7}, "content: want a string, or nothing"},
		{relay.Action{"op": "follow_up"}, "content: want"},
		{relay.Action{"op": "send_media", "media_kind": "film", "source_url": "https://x.example"}, "media_kind: want one of image"},
		{relay.Action{"op": "send_media", "media_kind": "image", "source_url": "file:///etc/passwd"}, "source_url: want an http"},
		{relay.Action{"op": "send_media", "media_kind": "image", "source_url": "https://x.example", "content": 7}, "content: want a string, or nothing"},
		{relay.Action{"op": "react"}, "emoji: want"},
		{relay.Action{"op": "react", "emoji": "x", "remove": "yes"}, "remove: want true or false"},
		{relay.Action{"op": "thread_create", "thread_name": 7}, "thread_name: want"},
		{relay.Action{"op": "thread_rename", "thread_name": "x"}, "message_id: want"},
		{relay.Action{"op": "delete", "message_id": true}, "message_id: want"},
		{prompt("prompt_id", "mine"), "prompt_id: is made by the gateway"},
		{prompt("prompt_kind", "poll"), "prompt_kind: want one of approval, clarify, choice"},
		{prompt("content", " "), "content: want a string that is not empty"},
		{prompt("ref", 7), "ref: want a string"},
		{prompt("timeout_s", "soon"), "timeout_s: want seconds"},
		{prompt("options", options()), "options: want a list of 1 to 25"},
		{prompt("options", options("yes")), "options[0].id: want 1 to 32"},
		{prompt("options", options(map[string]any{"id": "a b", "label": "x"})), "options[0].id: want 1 to 32"},
		{prompt("options", options(map[string]any{"id": strings.Repeat("x", 33), "label": "x"})), "options[0].id: want 1 to 32"},
		{prompt("options", options(map[string]any{"id": "a"})), "options[0].label: want"},
		{prompt("options", options(map[string]any{"id": "a", "label": "A", "style": 7})), "options[0].style: want a string"},
		{prompt("options", options(map[string]any{"id": "a", "label": "A"}, map[string]any{"id": "a", "label": "B"})), "options[1].id: is there twice"},
	}
	for _, tt := range tests {
		t.Run(tt.action.Op()+" "+tt.want, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				var logged strings.Builder
				b.change = func(c *turn.Config) { c.Log, c.MaxAttempts = slog.New(slog.NewTextHandler(&logged, nil)), 1 }
				b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
					if tn.Event.Text == "alone" {
						return agent.Answer{Actions: []relay.Action{tt.action}}, nil
					}
					return agent.Answer{Actions: []relay.Action{send("first"), tt.action, send("last")}}, nil
				})
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				is.Equal(w.Counts().Finished, 1)
				is.True(strings.Contains(strings.ReplaceAll(logged.String(), `\`, ""), "actions[1]."+tt.want)) // want tt.want in the log
				is.Equal(b.wire.seen(), []string{"send c1 first", "send c1 last"})
				is.NoErr(w.Take(message("c1", "m2", "alone")))
				idle(w)
				is.Equal(w.Counts().Dead, 1) // nothing of it is usable
				is.Equal(len(b.wire.seen()), 2)
			})
		})
	}
}

// streams answers every turn with what script puts into the stream, in its own time.
func streams(script func(ctx context.Context, t agent.Turn, say func(relay.Action) bool) error) agentFunc {
	return func(ctx context.Context, t agent.Turn) (agent.Answer, error) {
		var stream iter.Seq2[relay.Action, error] = func(yield func(relay.Action, error) bool) {
			if err := script(ctx, t, func(a relay.Action) bool { return yield(a, nil) }); err != nil {
				yield(nil, err)
			}
		}
		return agent.Answer{Stream: stream}, nil
	}
}

func send(text string) relay.Action { return relay.Action{"op": "send", "content": text} }
func edit(text string) relay.Action { return relay.Action{"op": "edit", "content": text} }

func editOf(id, text string) relay.Action {
	return relay.Action{"op": "edit", "message_id": id, "content": text}
}

func TestAStreamLeavesAsItComes(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			say(send("one"))
			time.Sleep(3 * time.Second)
			say(send("two"))
			return nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"send c1 one"})
		is.True(w.Busy())
		idle(w)
		is.Equal(b.wire.seen(), []string{"send c1 one", "send c1 two"})
		is.Equal(w.Counts().Finished, 1)
	})
}

func TestStreamedEditsAreOneASecondAndTheLastIsSent(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var at []time.Duration
		start := time.Now()
		b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
			if out.Action.Op() == "edit" {
				at = append(at, time.Since(start))
				if out.Action["message_id"] != "new" {
					return relay.Result{}, errors.New("not the message that the turn has sent")
				}
			}
			return relay.Result{Success: true, MessageID: "new"}, nil
		}
		b.agent = streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			start = time.Now()
			text := "0"
			say(send(text))
			for i := range 35 { // a word each tenth of a second
				time.Sleep(100 * time.Millisecond)
				text = fmt.Sprint(i + 1)
				say(edit(text))
			}
			return nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		seen := b.wire.seen()
		is.Equal(seen[len(seen)-1], "edit c1 35")
		is.Equal(len(at), 5) // at 0.1, 1.1, 2.1, 3.1 and 4.1 s
		for i := range at[1:] {
			is.True(at[i+1]-at[i] >= time.Second)
		}
		is.Equal(w.Counts().Finished, 1)
	})
}

func TestALongEditGoesOnInFurtherMessages(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		for name, answer := range map[string]agentFunc{
			"whole": says(send("..."), edit(strings.Repeat("word ", 900))),
			"stream": streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
				say(send("..."))
				say(edit(strings.Repeat("word ", 500)))
				time.Sleep(2 * time.Second)
				say(edit(strings.Repeat("word ", 900)))
				return nil
			}),
		} {
			is := is.New(t)
			b.wire = &wire{ops: allOps}
			b.agent = answer
			w := b.start()
			is.NoErr(w.Take(message("c1", name, "x")))
			idle(w)
			w.Close()
			var ops []string
			for _, out := range b.wire.outs {
				ops = append(ops, out.Action.Op())
				is.True(len(out.Action["content"].(string)) <= 2000)
			}
			want := []string{"send", "edit", "send", "send"}
			if name == "stream" {
				want = []string{"send", "edit", "send", "send", "edit"} // the last one for the counter alone
			}
			is.Equal(ops, want) // what does not fit follows the edit
		}
	})
}

func TestAnEditOfNothingIsSkipped(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = says(edit("x"), relay.Action{"op": "send", "content": "y"})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(b.wire.seen(), []string{"send c1 y"})
		is.Equal(w.Counts().Finished, 1)
	})
}

func TestAStreamThatBrokeIsToldWhatIsInTheChat(t *testing.T) {
	deaths := map[string]func(b *bench){
		"the attempt fails": func(*bench) {},
		"the process dies":  func(b *bench) { b.crash(); b.start() },
	}
	for name, die := range deaths {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				var sent [][]agent.Sent
				b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
					return relay.Result{Success: true, MessageID: "id-" + out.Action["content"].(string)}, nil
				}
				b.agent = streams(func(ctx context.Context, t agent.Turn, say func(relay.Action) bool) error {
					sent = append(sent, t.Delivery.Sent)
					if len(sent) == 1 {
						say(send("one"))
						say(relay.Action{"op": "react", "emoji": "+1", "content": "r"})
						say(send("two"))
						if name == "the process dies" {
							<-ctx.Done()
							return context.Cause(ctx)
						}
						return errors.New("agent: reading the answer: connection reset")
					}
					say(edit("three"))
					return nil
				})
				b.change = func(c *turn.Config) { c.AgentTimeout = 24 * time.Hour }
				w := b.start()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				synctest.Wait()
				die(b)
				idle(b.current)
				is.Equal(len(sent), 2)
				is.Equal(len(sent[0]), 0)
				is.Equal(sent[1], []agent.Sent{{Op: "send", MessageID: "id-one", Outcome: "ok"}, {Op: "send", MessageID: "id-two", Outcome: "ok"}})
				last := b.wire.outs[len(b.wire.outs)-1].Action
				is.Equal(last["content"], "three")
				is.Equal(last["message_id"], "id-two") // the newest, from the attempt before
				is.Equal(b.current.Counts().Finished, 1)
				ids := map[string]bool{}
				for _, out := range b.wire.outs {
					is.True(out.RequestID == "" || !ids[out.RequestID])
					ids[out.RequestID] = true
				}
				b.current.Close()
			})
		})
	}
}

func TestAStreamsFaultsAreFailedAttempts(t *testing.T) {
	faults := map[string]func(say func(relay.Action) bool) error{
		"an error": func(func(relay.Action) bool) error {
			return errors.New("agent: line 2 of the answer has neither op nor text")
		},
		"a panic":   func(func(relay.Action) bool) error { panic("boom") },
		"an action": func(say func(relay.Action) bool) error { say(relay.Action{"op": "send", "content": 7}); return nil },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				b.agent = streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error { return fault(say) })
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				is.Equal(w.Counts().Turns, 3)
				is.Equal(w.Counts().Dead, 1)
			})
		})
	}
}

func TestStopEndsAStreamAndItsPendingEdit(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = streams(func(ctx context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			say(send("a"))
			say(edit("b"))
			time.Sleep(100 * time.Millisecond)
			say(edit("c"))
			<-ctx.Done()
			return context.Cause(ctx)
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		time.Sleep(500 * time.Millisecond)
		w.Interrupt(stopKey("c1"))
		idle(w)
		is.Equal(b.wire.seen(), []string{"send c1 a", "edit c1 b"})
		is.Equal(w.Counts().Finished, 1)
		is.Equal(w.Counts().Turns, 1)
	})
}

func TestADeclinedChatGetsNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
			if out.Action["chat_id"] == "c1" {
				return relay.Result{}, &relay.OpError{Message: "discord egress declined: target not routed"}
			}
			return relay.Result{Success: true}, nil
		}
		other := send("three")
		other["chat_id"] = "c2"
		b.agent = says(relay.Action{"op": "send_media", "media_kind": "image", "source_url": "https://x.example/a.png"},
			send("two"), relay.Action{"op": "follow_up", "content": "four"}, other)
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(b.wire.seen(), []string{"send_media c1 ", "follow_up <nil> four", "send c2 three"})
		is.Equal(w.Counts().Dead, 1)
		is.Equal(w.Counts().Refused, map[action.Class]int{action.Declined: 1})
	})
}

func TestADeclinedEditIsNotFollowedByWhatDidNotFitIntoIt(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
			if op := out.Action.Op(); op == "edit" || op == "react" {
				return relay.Result{}, &relay.OpError{Code: "egress_declined"}
			}
			return relay.Result{Success: true, MessageID: "m9"}, nil
		}
		b.agent = says(relay.Action{"op": "react", "emoji": "+1"}, send("..."), edit(strings.Repeat("word ", 900)))
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		var ops []string
		for _, out := range b.wire.outs {
			ops = append(ops, out.Action.Op())
		}
		is.Equal(ops, []string{"react", "send", "edit"}) // a reaction is for show, its decline hinders nothing
		is.Equal(w.Counts().Dead, 1)                     // what did not fit is missing
		is.Equal(w.Counts().Refused, map[action.Class]int{action.Cosmetic: 2})
	})
}

func TestAnEditFindsItsMessageAfterADeath(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = says(send("one"), edit("two"), send("three"))
		b.wire.do = func(ctx context.Context, out relay.Outbound) (relay.Result, error) {
			if out.Action.Op() == "edit" { // no socket
				<-ctx.Done()
				return relay.Result{}, context.Cause(ctx)
			}
			return relay.Result{Success: true, MessageID: "m9"}, nil
		}
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		synctest.Wait()
		w.Close()
		b.wire.do = nil
		w = b.start()
		defer w.Close()
		idle(w)
		seen := b.wire.seen()
		is.Equal(seen[len(seen)-2:], []string{"edit c1 two", "send c1 three"})
		is.Equal(b.wire.outs[len(b.wire.outs)-2].Action["message_id"], "m9")
	})
}

func TestARefusedTurnIsDeadAtOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			return agent.Answer{}, fmt.Errorf("agent: answered HTTP 400: %w", agent.ErrRefused)
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(w.Counts().Turns, 1)
		is.Equal(w.Counts().Dead, 1)
	})
}

func TestSlacksTypingIsCleared(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		w := b.start()
		defer w.Close()
		m := message("c1", "m1", "x")
		m.Event.Source.Platform = "slack"
		is.NoErr(w.Take(m))
		idle(w)
		is.Equal(b.wire.all(), []string{"typing c1", "send c1 x", "typing c1"})
		is.Equal(b.wire.posts[0].Action["content"], nil)
		is.Equal(b.wire.posts[1].Action["content"], "")
		is.Equal(b.wire.posts[1].Action["metadata"].(map[string]any)["thread_id"], "m1")
	})
}

func TestTypingIsShownFromTheTurnsStartToItsEnd(t *testing.T) {
	typings := func(b *bench) (contents []any) {
		for _, out := range b.wire.posts {
			contents = append(contents, out.Action["content"])
		}
		return contents
	}
	slack := func(id, text string) relay.Delivery {
		m := message("c1", id, text)
		m.Event.Source.Platform, m.Event.Source.ThreadID = "slack", "t1"
		return m
	}
	tests := map[string]func(is *is.I, b *bench){
		"a turn that had to wait": func(is *is.I, b *bench) {
			b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
				time.Sleep(4 * time.Second)
				return agent.Answer{}, nil
			})
			w := b.start()
			defer w.Close()
			is.NoErr(w.Take(slack("m1", "x")))
			is.NoErr(w.Take(slack("m2", "y")))
			idle(w)
			is.Equal(typings(b), []any{nil, nil, "", nil, ""}) // when each comes; again when the second starts
		},
		"a turn of an earlier run": func(is *is.I, b *bench) {
			b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
				if tn.Event.Text == "x" {
					<-ctx.Done()
				}
				return agent.Answer{}, context.Cause(ctx)
			})
			b.change = func(c *turn.Config) { c.AgentTimeout = 24 * time.Hour }
			w := b.start()
			is.NoErr(w.Take(slack("m1", "x")))
			synctest.Wait()
			w.Close()
			b.agent, b.wire.posts = agent.Echo{}, nil
			w = b.start()
			defer w.Close()
			idle(w)
			is.Equal(typings(b), []any{nil, ""})
		},
		"a kept answer of an earlier run": func(is *is.I, b *bench) {
			b.wire.do = func(ctx context.Context, _ relay.Outbound) (relay.Result, error) { // no socket
				<-ctx.Done()
				return relay.Result{}, context.Cause(ctx)
			}
			w := b.start()
			is.NoErr(w.Take(slack("m1", "x")))
			synctest.Wait()
			b.crash()
			b.wire.do, b.wire.posts = nil, nil
			w = b.start()
			defer w.Close()
			idle(w)
			is.Equal(typings(b), []any{""})
		},
		"an attempt that failed": func(is *is.I, b *bench) {
			failures := 1
			b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
				if failures--; failures >= 0 {
					return agent.Answer{}, errors.New("agent: answered HTTP 500")
				}
				return agent.Answer{}, nil
			})
			w := b.start()
			defer w.Close()
			is.NoErr(w.Take(slack("m1", "x")))
			idle(w)
			is.Equal(typings(b), []any{nil, nil, ""}) // it stays until the second
		},
		"a dead message": func(is *is.I, b *bench) {
			b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
				return agent.Answer{}, agent.ErrRefused
			})
			w := b.start()
			defer w.Close()
			is.NoErr(w.Take(slack("m1", "x")))
			idle(w)
			is.Equal(typings(b), []any{nil, ""})
		},
		"a button that is pressed twice": func(is *is.I, b *bench) {
			b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
				if tn.Prompt != nil {
					return agent.Answer{}, nil
				}
				return agent.Answer{Actions: []relay.Action{ask("r")}}, nil
			})
			w := b.start()
			defer w.Close()
			is.NoErr(w.Take(slack("m1", "x")))
			idle(w)
			for _, id := range []string{"m2", "m3"} {
				m := slack(id, "/once")
				m.Event.PromptResponse = &relay.PromptResponse{PromptID: b.wire.outs[0].Action["prompt_id"].(string), OptionID: "once"}
				is.NoErr(w.Take(m))
				idle(w)
			}
			is.Equal(typings(b), []any{nil, "", nil, ""}) // nothing of the second
		},
		"a button of somebody else's": func(is *is.I, b *bench) {
			w := b.start()
			defer w.Close()
			m := slack("m1", "/once")
			m.Event.PromptResponse = &relay.PromptResponse{PromptID: "abcdef.12345678", OptionID: "once"}
			is.NoErr(w.Take(m))
			idle(w)
			is.Equal(len(b.wire.all()), 0)
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) { test(is.New(t), b) })
		})
	}
}

func TestATurnCanBeStoppedWhateverItWaitsFor(t *testing.T) {
	tests := map[string]func(is *is.I, b *bench) *turn.Worker{
		"for its next attempt": func(is *is.I, b *bench) *turn.Worker {
			b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
				return agent.Answer{}, errors.New("agent: answered HTTP 500")
			})
			w := b.start()
			is.NoErr(w.Take(message("c1", "m1", "x")))
			return w
		},
		"for the time of an edit": func(is *is.I, b *bench) *turn.Worker {
			b.agent = says(editOf("5", "one"), editOf("6", "another"))
			w := b.start()
			is.NoErr(w.Take(message("c1", "m1", "x")))
			return w
		},
		"for a kept answer to be sent": func(is *is.I, b *bench) *turn.Worker {
			b.agent = says(send("a"), edit("b"), editOf("6", "c"))
			b.wire.do = func(ctx context.Context, _ relay.Outbound) (relay.Result, error) { // no socket
				<-ctx.Done()
				return relay.Result{}, context.Cause(ctx)
			}
			w := b.start()
			is.NoErr(w.Take(message("c1", "m1", "x")))
			synctest.Wait()
			b.crash()
			b.wire = &wire{ops: allOps}
			return b.start()
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				w := test(is, b)
				defer w.Close()
				synctest.Wait()
				is.True(w.Busy())
				before := len(b.wire.outs)
				w.Interrupt(stopKey("c1"))
				idle(w)
				is.Equal(len(b.wire.outs), before) // nothing that was pending is sent
				is.Equal(w.Counts().Finished, 1)
				is.Equal(w.Counts().Dead, 0)
				is.True(w.Counts().Turns <= 1)
			})
		})
	}
}

func TestTheTurnHasItsContextAsLines(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var got agent.Turn
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			got = tn
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		m := message("c1", "m1", "x")
		m.Event.Context = []relay.ContextEntry{{Text: "we\nmeet", Source: relay.ContextSource{UserName: "Bo"}}}
		is.NoErr(w.Take(m))
		idle(w)
		is.Equal(got.Kind, "message")
		is.Equal(got.Context, "[Recent channel messages]\nBo: we meet")
	})
}

func TestRawRequestsBecomeTurnsWhereThatIsWanted(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var got []agent.Turn
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			got = append(got, tn)
			return agent.Answer{Actions: []relay.Action{{"op": "send", "chat_id": "c9", "content": "hi"}}}, nil
		})
		b.change = func(c *turn.Config) { c.Passthrough = true }
		w := b.start()
		defer w.Close()
		forward := &relay.Forward{Platform: "telegram", Method: "POST", Path: "/hook", Body: []byte(`{"update_id":1}`), Profile: "p"}
		is.NoErr(w.Take(relay.Delivery{Kind: relay.KindPassthrough, BufferID: "b1", Forward: forward}))
		is.NoErr(w.Take(relay.Delivery{Kind: relay.KindPassthrough, BufferID: "b2", Forward: &relay.Forward{Platform: "Discord"}}))
		idle(w)
		seen := slices.DeleteFunc(b.wire.seen(), func(s string) bool { return s == "send c9 hi" })
		is.Equal(seen, []string{"ack b1", "ack b2"})
		is.Equal(len(b.wire.outs), 1)
		is.Equal(b.wire.outs[0].Platform, "telegram") // the only one that the chat can be of
		is.Equal(w.Counts().Dead, 1)                  // an interaction that cannot be read
		is.Equal(len(got), 1)
		is.Equal(got[0].Kind, "passthrough")
		is.Equal(got[0].Forward, forward)
		is.Equal(got[0].Event.Source.Platform, "telegram")
		is.Equal(got[0].Event.Source.Profile, "p")
	})
}

func TestASubmittedFormSurvivesADeath(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var got []*relay.Event
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			if got = append(got, tn.Event); len(got) == 1 {
				<-ctx.Done()
				return agent.Answer{}, context.Cause(ctx)
			}
			return agent.Answer{}, nil
		})
		b.change = func(c *turn.Config) { c.AgentTimeout = 24 * time.Hour }
		w := b.start()
		is.NoErr(w.Take(relay.Delivery{Kind: relay.KindPassthrough, BufferID: "b1", Forward: &relay.Forward{
			Platform: "discord", Body: []byte(`{"type":5,"channel_id":"c1","data":{"custom_id":"report",` +
				`"components":[{"type":1,"components":[{"type":4,"custom_id":"what","value":"a\nb"}]}]}}`),
		}}))
		synctest.Wait()
		b.crash()
		w = b.start()
		defer w.Close()
		idle(w)
		is.Equal(len(got), 2)
		is.Equal(got[1].Metadata, &relay.Metadata{CustomID: "report", Fields: []relay.Field{{CustomID: "what", Value: "a\nb"}}})
		is.Equal(got[1], got[0])
	})
}

// ask is a prompt with two options.
func ask(ref string) relay.Action {
	return relay.Action{
		"op": "prompt", "content": "Deploy?", "prompt_kind": "approval", "ref": ref, "timeout_s": 7200,
		"options": []any{map[string]any{"id": "once", "label": "Yes"}, map[string]any{"id": "stop", "label": "No", "style": "danger"}},
	}
}

// press is the answer to a prompt.
func press(id, prompt, option string) relay.Delivery {
	m := message("c1", id, "/"+option)
	m.Event.MessageType = "command"
	m.Event.PromptResponse = &relay.PromptResponse{PromptID: prompt, OptionID: option}
	return m
}

func TestAPromptIsAnsweredHoursAndProcessesLater(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var prompts []*agent.Prompt
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			if tn.Event.Text == "deploy" {
				return agent.Answer{Actions: []relay.Action{ask("release 7")}}, nil
			}
			prompts = append(prompts, tn.Prompt)
			return agent.Answer{Actions: []relay.Action{send("ok")}}, nil
		})
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "deploy")))
		idle(w)
		w.Close()
		asked := b.wire.outs[0].Action
		id := asked["prompt_id"].(string)
		is.Equal(len(id), 15) // 6 hex, a dot, 8 hex
		_, has := asked["ref"]
		is.True(!has) // it stays here

		w = b.start() // an hour later, in another process
		is.NoErr(w.Take(press("m2", id, "stop")))
		idle(w)
		is.Equal(prompts, []*agent.Prompt{{PromptID: id, OptionID: "stop", Ref: "release 7"}})
		is.NoErr(w.Take(press("m3", id, "once"))) // answered already: silence
		is.NoErr(w.Take(press("m4", "abcdef.12345678", "once")))
		idle(w)
		is.Equal(len(prompts), 1)
		is.Equal(b.wire.seen(), []string{"prompt c1 Deploy?", "send c1 ok"})
		is.NoErr(w.Take(press("m5", id[:7]+"00000000", "once"))) // ours by its marker, and not known
		idle(w)
		is.Equal(b.wire.seen()[2:], []string{"send c1 That question is no longer open."})
		is.Equal(len(prompts), 1)
		w.Close()

		time.Sleep(24 * time.Hour)
		w = b.start() // a day later, in a third
		is.NoErr(w.Take(press("m6", id, "once")))
		idle(w)
		is.Equal(len(b.wire.seen()), 3) // still answered: silence
		is.Equal(len(prompts), 1)
		w.Close()
	})
}

func TestAPromptsTimeRunsOut(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = says(ask(""))
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		id := b.wire.outs[0].Action["prompt_id"].(string)
		time.Sleep(2*time.Hour + time.Second)
		is.NoErr(w.Take(press("m2", id, "once")))
		idle(w)
		is.Equal(b.wire.seen()[1:], []string{"send c1 That question is no longer open."})
	})
}

func TestARefusedPromptIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = says(ask("r"))
		b.wire.do = func(context.Context, relay.Outbound) (relay.Result, error) {
			return relay.Result{}, &relay.OpError{Message: "no buttons here"}
		}
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		id := b.wire.outs[0].Action["prompt_id"].(string)
		_, err := b.lease.TakePrompt(t.Context(), ledger.Press{Prompt: id, Delivery: "d", At: time.Now()}, func(ledger.Prompt) bool { return true })
		is.True(errors.Is(err, ledger.ErrNoPrompt))
	})
}

// A failed attempt at the answer's turn must not lose the answer.
func TestAnAnswerThatFailedIsTriedAgainWithItsPrompt(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		failures := 1
		var refs []string
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			switch {
			case tn.Prompt == nil:
				return agent.Answer{Actions: []relay.Action{ask("r")}}, nil
			case failures > 0:
				failures--
				return agent.Answer{}, errors.New("agent: answered HTTP 500")
			}
			refs = append(refs, tn.Prompt.Ref)
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.NoErr(w.Take(press("m2", b.wire.outs[0].Action["prompt_id"].(string), "once")))
		idle(w)
		is.Equal(refs, []string{"r"})
	})
}

func TestWholeEditsAreAtMostOneASecond(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = says(send("a"), edit("b"), editOf("6", "c"), editOf("7", "d"))
		w := b.start()
		defer w.Close()
		start := time.Now()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(b.wire.seen(), []string{"send c1 a", "edit c1 b", "edit c1 c", "edit c1 d"})
		is.Equal(time.Since(start), 2*time.Second)
		is.True(!slices.ContainsFunc(b.wire.outs, func(o relay.Outbound) bool { return o.Action["metadata"] == nil }))
	})
}

func TestALongReplyArrivesAsWholeFencedParts(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var text strings.Builder
		for n := 0; text.Len() < 10_000; n++ {
			fmt.Fprintf(&text, "Step %d\n```go\n%s```\n", n, strings.Repeat("do(something)\n", 60))
		}
		b.agent = says(send(text.String()))
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.True(len(b.wire.outs) > 5)
		var joined strings.Builder
		for i, out := range b.wire.outs {
			part := out.Action["content"].(string)
			is.True(len(part) <= 2000)
			is.Equal(strings.Count(part, "```")%2, 0) // fences are closed where they are cut
			counter := fmt.Sprintf(" (%d/%d)", i+1, len(b.wire.outs))
			is.True(strings.HasSuffix(part, counter))
			joined.WriteString(strings.TrimSuffix(part, counter) + "\n")
		}
		lines := func(text string) []string { // without the fences, some of which are the splitter's
			return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
				return line == "" || strings.HasPrefix(line, "```")
			})
		}
		is.Equal(lines(joined.String()), lines(text.String())) // all of it, in order
	})
}

func TestADeathWhileAStreamRanAloneIsAnAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var attempts []int
		b.agent = streams(func(ctx context.Context, tn agent.Turn, say func(relay.Action) bool) error {
			attempts = append(attempts, tn.Delivery.Attempt)
			say(send("one"))
			<-ctx.Done() // it dies, and everything with it
			return context.Cause(ctx)
		})
		b.change = func(c *turn.Config) { c.AgentTimeout = 24 * time.Hour }
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		synctest.Wait()
		for range 4 {
			b.crash()
			w = b.start()
			synctest.Wait()
		}
		is.Equal(attempts, []int{1, 1, 2, 3}) // beside others once, then alone
		is.Equal(w.Counts().Dead, 1)
		w.Close()
	})
}

// What was refused is among what was sent, with its class: the agent need not say it again in the same way.
func TestAStreamThatBrokeIsToldWhatWasRefused(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var sent [][]agent.Sent
		b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
			switch out.Action["content"] {
			case "two":
				return relay.Result{}, &relay.OpError{Message: "missing permission", Retryable: new(false)}
			case "three":
				return relay.Result{}, relay.ErrOutcomeUnknown
			}
			return relay.Result{Success: true, MessageID: "id"}, nil
		}
		b.agent = streams(func(_ context.Context, t agent.Turn, say func(relay.Action) bool) error {
			sent = append(sent, t.Delivery.Sent)
			if len(sent) > 1 {
				return nil
			}
			say(send("one"))
			say(send("two"))
			say(send("three"))
			return errors.New("agent: reading the answer: connection reset")
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(len(sent), 2)
		is.Equal(sent[1], []agent.Sent{
			{Op: "send", MessageID: "id", Outcome: "ok"},
			{Op: "send", Outcome: "refused", Class: "permanent"},
			{Op: "send", Outcome: "unknown", Class: "unknown"},
		})
	})
}
