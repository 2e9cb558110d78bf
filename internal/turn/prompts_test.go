package turn_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/turn"
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

// The first copy of a question may be in the chat, whatever becomes of the second.
func TestAQuestionThatMayHaveLeftStaysOpen(t *testing.T) {
	for name, refusal := range map[string]*relay.OpError{
		"for good": {Message: "missing permission"}, "for too long": {Message: "whatsapp is not connected"},
		"declined": {Code: "egress_declined", Message: "not yours"},
	} {
		for kind, answer := range map[string]agentFunc{"whole": says(ask("r")), "behind a text": says(send("a"), ask("r"))} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				bubble(t, func(t *testing.T, b *bench) {
					is := is.New(t)
					b.agent = answer
					b.change = func(c *turn.Config) { c.GiveUpAfter = 20 * time.Second }
					died := false
					b.wire.do = func(ctx context.Context, out relay.Outbound) (relay.Result, error) {
						switch {
						case out.Action.Op() != "prompt":
							return relay.Result{Success: true, MessageID: "m"}, nil
						case died:
							return relay.Result{}, refusal
						}
						<-ctx.Done() // it is in the chat, and the process dies
						return relay.Result{}, context.Cause(ctx)
					}
					w := b.start()
					asking := message("c1", "m1", "x")
					is.NoErr(w.Take(asking))
					synctest.Wait()
					id := b.wire.outs[len(b.wire.outs)-1].Action["prompt_id"].(string)
					b.crash()
					died = true
					var refs []string
					b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
						refs = append(refs, tn.Prompt.Ref)
						return agent.Answer{}, nil
					})
					w = b.start()
					defer w.Close()
					idle(w)
					is.Equal(w.Counts().Dead, 1)
					is.NoErr(w.Take(press("m2", id, "once")))
					idle(w)
					is.Equal(refs, []string{"r"})
				})
			})
		}
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
