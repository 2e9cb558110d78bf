package turn_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// streamed says actions as a stream, and fails if the stream should.
func streamed(actions ...relay.Action) agentFunc {
	return streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
		for _, a := range actions {
			if !say(a) {
				break
			}
		}
		return nil
	})
}

// slowly is a stream whose agent says something every two seconds.
func slowly(actions ...relay.Action) agentFunc {
	return streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
		for _, a := range actions {
			say(a)
			time.Sleep(2 * time.Second)
		}
		return nil
	})
}

// both runs a test with a whole answer and with the same one as a stream.
func both(t *testing.T, actions []relay.Action, test func(is *is.I, b *bench)) {
	for name, answer := range map[string]agentFunc{"whole": says(actions...), "stream": streamed(actions...)} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				b.agent = answer
				w := b.start()
				defer w.Close()
				is := is.New(t)
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				test(is, b)
			})
		})
	}
}

func TestAnAnswerIsNotVoidForATrifle(t *testing.T) {
	actions := []relay.Action{
		{"op": "send", "content": ""},
		{"op": "send", "content": nil},
		{"op": "send", "content": "a", "reply_to": " ", "chat_id": " ", "metadata": ""},
		{"op": "edit", "content": " \n", "message_id": ""},
		{"op": "edit", "content": "b", "message_id": "", "metadata": []any{}},
		{"op": "react", "emoji": "+1", "message_id": 1234567890123456789},
		{"op": "send_media", "media_kind": "image", "source_url": "https://x.example/a.png", "filename": "", "data": "", "mime": ""},
		{"op": "dance"},
		{},
	}
	both(t, actions, func(is *is.I, b *bench) {
		is.Equal(to(b, "c1"), []string{"send a", "edit b", "react <nil>", "send_media "})
		is.Equal(b.wire.outs[0].Action["reply_to"], nil)
		is.Equal(b.wire.outs[2].Action["message_id"], "1234567890123456789")
		is.Equal(b.current.Counts().Finished, 1)
	})
}

// An answer without measure costs a few lines of the log, and its connector little.
func TestAnAnswerThatIsMostlyWrongIsLoggedInPart(t *testing.T) {
	actions := []relay.Action{send("a")}
	for range 1000 {
		actions = append(actions, relay.Action{"op": strings.Repeat("dance ", 1000)})
	}
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var log bytes.Buffer
		b.change = func(c *turn.Config) { c.Log = slog.New(slog.NewJSONHandler(&log, nil)) }
		for i, answer := range []agentFunc{says(actions...), streamed(actions...)} {
			log.Reset()
			b.agent = answer
			w := b.start()
			is.NoErr(w.Take(message("c1", fmt.Sprint("m", i), "x")))
			idle(w)
			w.Close()
			is.Equal(len(to(b, "c1")), i+1)
			is.Equal(strings.Count(log.String(), logs.ActionWrong), 20)
			is.True(strings.Contains(log.String(), `"msg":"`+logs.ActionsWrong+`"`))
			is.True(strings.Contains(log.String(), `"messages":980`))
			is.True(log.Len() < 20_000)
		}
	})
}

func TestAnAgentsTypingIsPassedOnOnceASecond(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			typing := relay.Action{"op": "typing"}
			for range 1000 { // 10 s
				say(typing)
				time.Sleep(10 * time.Millisecond)
			}
			say(send("a")) // ends the typing in its chat
			say(typing)
			say(relay.Action{"op": "typing", "chat_id": "c2"})
			say(typing)
			return nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		said := 0
		for _, out := range b.wire.outs {
			if out.Action.Op() == "typing" {
				said++
			}
		}
		is.Equal(said, 10+2)
	})
}

func TestAnAnswerOfBlanksSaysNothing(t *testing.T) {
	both(t, []relay.Action{send(""), edit(" ")}, func(is *is.I, b *bench) {
		is.Equal(len(b.wire.seen()), 0)
		is.Equal(b.current.Counts().Finished, 1)
		is.Equal(b.current.Counts().Turns, 1)
	})
}

func TestTooMuchIsCutAndTold(t *testing.T) {
	var sends, edits []relay.Action
	for i := range 120 {
		sends = append(sends, send(fmt.Sprint("text ", i)))
		edits = append(edits, edit(fmt.Sprint("text ", i)))
	}
	both(t, sends, func(is *is.I, b *bench) {
		seen := to(b, "c1")
		is.Equal(len(seen), 100)
		is.Equal(seen[98:], []string{"send text 98", "send text 99\n[20 more messages are left out]"})
		is.Equal(b.current.Counts().Cut, 1)
	})
	both(t, sends[:101], func(is *is.I, b *bench) {
		is.Equal(to(b, "c1")[99], "send text 99\n[1 more message is left out]")
	})
	both(t, sends[:100], func(is *is.I, b *bench) {
		is.Equal(to(b, "c1")[99], "send text 99")
		is.Equal(b.current.Counts().Cut, 0)
	})
	both(t, append([]relay.Action{send("...")}, edits...), func(is *is.I, b *bench) {
		seen := to(b, "c1")
		is.Equal(seen[len(seen)-1], "edit text 119") // a reply may grow as it likes
		is.Equal(b.current.Counts().Cut, 0)
	})
	both(t, []relay.Action{send(strings.Repeat("word ", 20_000))}, func(is *is.I, b *bench) {
		is.Equal(len(b.wire.outs), 30)
		last := b.wire.outs[29].Action["content"].(string)
		is.True(strings.HasSuffix(last, " more characters are left out]"))
		is.True(len(last) <= 2000)
		is.Equal(b.current.Counts().Cut, 1)
	})
}

// An event without a source is nobody's, and goes nowhere: it is not the agent's to fail at.
func TestAnEventWithoutASourceIsSetAside(t *testing.T) {
	for name, raw := range map[string]string{
		"absent": `{"text":"x","message_id":"m1"}`, "null": `{"text":"x","source":null}`, "empty": `{"text":"x","source":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				event, err := relay.DecodeEvent([]byte(raw))
				is.NoErr(err)
				b.change = func(c *turn.Config) { c.Apology = "sorry" }
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(buffered("b1", relay.Delivery{Kind: relay.KindInbound, Event: event})))
				idle(w)
				is.Equal(b.wire.seen(), []string{"ack b1"})
				is.Equal(w.Counts().Turns, 0)
				dead, err := b.ledger.ListDead(t.Context())
				is.NoErr(err)
				is.Equal(len(dead), 1)
				is.True(strings.Contains(dead[0].Error, "source"))
			})
		})
	}
}
