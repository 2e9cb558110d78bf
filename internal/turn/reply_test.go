package turn_test

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestTheFirstPartIsAReplyWhereTheAgentDoesNotSay(t *testing.T) {
	long := strings.Repeat("word ", 500)
	tests := map[string]struct {
		said []relay.Action
		want []any // reply_to of each send
	}{
		"one":                     {[]relay.Action{{"op": "send", "content": "a"}}, []any{"m1"}},
		"null is a no":            {[]relay.Action{{"op": "send", "content": "a", "reply_to": nil}}, []any{nil}},
		"empty is a no":           {[]relay.Action{{"op": "send", "content": "a", "reply_to": ""}}, []any{nil}},
		"another message":         {[]relay.Action{{"op": "send", "content": "a", "reply_to": "m0"}}, []any{"m0"}},
		"only the first":          {[]relay.Action{{"op": "send", "content": "a"}, {"op": "send", "content": "b"}}, []any{"m1", nil}},
		"behind a progress":       {[]relay.Action{{"op": "send", "content": "a", "reply_to": nil}, {"op": "send", "content": "b"}}, []any{nil, "m1"}},
		"the first part of many":  {[]relay.Action{{"op": "send", "content": long}}, []any{"m1", nil}},
		"behind one that is void": {[]relay.Action{{"op": "send", "content": " "}, {"op": "send", "content": "b"}}, []any{"m1"}},
		"behind another chat's":   {[]relay.Action{{"op": "send", "content": "a", "chat_id": "c9"}, {"op": "send", "content": "b"}}, []any{nil, "m1"}},
		"behind a reaction":       {[]relay.Action{{"op": "react", "emoji": "+1"}, {"op": "send", "content": "b", "chat_id": "c1"}}, []any{"m1"}},
	}
	for name, tt := range tests {
		for _, streamed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T, b *bench) {
					is := is.New(t)
					b.wire.ops = []string{"send", "react", "edit"}
					b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
						if !streamed {
							return agent.Answer{Actions: tt.said}, nil
						}
						return agent.Answer{Stream: func(yield func(relay.Action, error) bool) {
							for _, a := range tt.said {
								if !yield(a, nil) {
									return
								}
							}
						}}, nil
					})
					given := maps.Clone(tt.said[0])
					w := b.start()
					defer w.Close()
					is.NoErr(w.Take(message("c1", "m1", "x")))
					idle(w)
					var got []any
					for _, out := range b.wire.outs {
						if out.Action.Op() == "send" {
							got = append(got, out.Action["reply_to"])
						}
					}
					is.Equal(got, tt.want)
					is.Equal(tt.said[0], given) // the agent's own is left alone
				})
			})
		}
	}
}

// As the reference puts it (contract section 20).
func TestTheMetadataOfAText(t *testing.T) {
	source := func(platform, kind, thread string) relay.Source {
		return relay.Source{Platform: platform, ChatID: "c1", ChatType: kind, UserID: "u1", ScopeID: "g1", ThreadID: thread}
	}
	facts := func(more map[string]any) map[string]any {
		all := map[string]any{"scope_id": "g1", "user_id": "u1", "notify": true}
		maps.Copy(all, more)
		return all
	}
	tests := map[string]struct {
		source  relay.Source
		said    relay.Action
		replyTo any
		want    map[string]any
	}{
		"Discord":          {source("discord", "group", ""), relay.Action{"op": "send", "content": "a"}, "m1", facts(nil)},
		"no reply":         {source("discord", "group", ""), relay.Action{"op": "send", "content": "a", "reply_to": nil}, nil, map[string]any{"scope_id": "g1", "user_id": "u1"}},
		"the agent's":      {source("discord", "group", ""), relay.Action{"op": "send", "content": "a", "metadata": map[string]any{"notify": false}}, "m1", facts(map[string]any{"notify": false})},
		"a Telegram topic": {source("telegram", "forum", "7"), relay.Action{"op": "send", "content": "a"}, nil, facts(map[string]any{"thread_id": "7"})},
		"a Telegram DM's topic": {source("telegram", "dm", "7"), relay.Action{"op": "send", "content": "a"}, "m1", facts(map[string]any{
			"thread_id": "7", "direct_messages_topic_id": "7", "telegram_dm_topic_reply_fallback": true, "telegram_reply_to_message_id": "m1",
		})},
		"a Telegram DM":  {source("telegram", "dm", ""), relay.Action{"op": "send", "content": "a"}, "m1", facts(nil)},
		"Slack":          {source("slack", "channel", ""), relay.Action{"op": "send", "content": "a"}, "m1", facts(map[string]any{"thread_id": "m1", "slack_team_id": "g1"})},
		"a Slack thread": {source("slack", "channel", "t1"), relay.Action{"op": "send", "content": "a"}, "m1", facts(map[string]any{"thread_id": "t1", "slack_team_id": "g1"})},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				b.agent = says(tt.said)
				w := b.start()
				defer w.Close()
				m := message("c1", "m1", "x")
				m.Event.Source = tt.source
				is.NoErr(w.Take(m))
				idle(w)
				is.Equal(len(b.wire.outs), 1)
				is.Equal(b.wire.outs[0].Action["reply_to"], tt.replyTo)
				is.Equal(b.wire.outs[0].Action["metadata"], tt.want)
			})
		})
	}
}
