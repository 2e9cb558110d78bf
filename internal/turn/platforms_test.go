package turn_test

import (
	"context"
	"testing"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Chat ids are only unique on their platform.
func TestAChatIsLookedForOnTheTurnsOwnPlatformFirst(t *testing.T) {
	on := func(platform, chat, id, text, user string) relay.Delivery {
		m := message(chat, id, text)
		m.Event.Source = relay.Source{Platform: platform, ChatID: chat, ChatType: "dm", UserID: user}
		return m
	}
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			if tn.Event.Text == "tell 7" {
				return agent.Answer{Actions: []relay.Action{{"op": "send", "chat_id": "7", "content": "hi"}}}, nil
			}
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		for _, m := range []relay.Delivery{
			on("discord", "7", "m1", "x", "d7"), on("sms", "7", "m2", "x", "s7"),
			on("discord", "1", "m3", "tell 7", "d1"), on("sms", "1", "m4", "tell 7", "s1"), on("slack", "1", "m5", "tell 7", "k1"),
		} {
			is.NoErr(w.Take(m))
			idle(w)
		}
		var got [][2]any
		for _, out := range b.wire.outs {
			got = append(got, [2]any{out.Platform, out.Action["metadata"].(map[string]any)["user_id"]})
		}
		is.Equal(got, [][2]any{{"discord", "d7"}, {"sms", "s7"}, {"sms", "s7"}}) // slack has no chat 7: the one that spoke last
	})
}
