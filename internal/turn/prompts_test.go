package turn_test

import (
	"context"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestAnAnswerFromElsewhereIsNobodys(t *testing.T) {
	tests := map[string]struct {
		change func(e *relay.Event)
		taken  bool
	}{
		"where it was asked":          {func(*relay.Event) {}, true},
		"by another user":             {func(e *relay.Event) { e.Source.UserID = "u2" }, true}, // whom the chat lets press
		"another chat":                {func(e *relay.Event) { e.Source.ChatID = "c2" }, false},
		"another platform":            {func(e *relay.Event) { e.Source.Platform = "telegram" }, false}, // two may share a chat id
		"an option not offered":       {func(e *relay.Event) { e.PromptResponse.OptionID = "always" }, false},
		"no option":                   {func(e *relay.Event) { e.PromptResponse.OptionID = "" }, false},
		"a thread of the chat":        {func(e *relay.Event) { e.Source.ChatID, e.Source.ParentChatID = "t1", "c1" }, true},
		"the chat by its other id":    {func(e *relay.Event) { e.Source.ChatID, e.Source.ChatIDAlt = "jid", "c1" }, true},
		"a platform that is not said": {func(e *relay.Event) { e.Source.Platform = "relay" }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				prompts := 0
				b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
					if tn.Prompt == nil {
						return agent.Answer{Actions: []relay.Action{ask("r")}}, nil
					}
					prompts++
					return agent.Answer{}, nil
				})
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				idle(w)
				id := b.wire.outs[0].Action["prompt_id"].(string)
				elsewhere := press("m2", id, "once")
				tt.change(elsewhere.Event)
				is.NoErr(w.Take(elsewhere))
				idle(w)
				is.Equal(prompts == 1, tt.taken)
				is.Equal(len(b.wire.seen()), 1) // nothing is said there
				if !tt.taken {
					is.NoErr(w.Take(press("m3", id, "once")))
					idle(w)
					is.Equal(prompts, 1) // the question is still open
				}
			})
		})
	}
}

func TestAPromptOfTheVersionBeforeIsAnsweredFromAnywhere(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var refs []string
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			refs = append(refs, tn.Prompt.Ref)
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(b.lease.PutPrompt(t.Context(), ledger.Prompt{ID: "12345678", Ref: "r", Until: time.Now().Add(time.Hour)}))
		is.NoErr(w.Take(press("m2", "12345678", "any")))
		idle(w)
		is.Equal(refs, []string{"r"})
	})
}
