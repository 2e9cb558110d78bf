package turn_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// buryAnswered makes "k" a dead entry whose answer is three sends with these outcomes.
func (b *bench) buryAnswered(is *is.I, outcomes ...string) {
	b.t.Helper()
	ctx := b.t.Context()
	b.start().Close()
	body, err := json.Marshal(message("c1", "m1", "x"))
	is.NoErr(err)
	_, err = b.lease.Receive(ctx, ledger.Entry{Key: "k", Seq: 1, State: ledger.Running, Body: body})
	is.NoErr(err)
	is.NoErr(b.lease.Keep(ctx, "k", []json.RawMessage{
		[]byte(`{"op":"send","chat_id":"c1","content":"one"}`), []byte(`{"op":"send","chat_id":"c1","content":"two"}`),
		[]byte(`{"op":"send","chat_id":"c1","content":"three"}`),
	}))
	for i, outcome := range outcomes {
		is.NoErr(b.lease.Confirm(ctx, "k", i, outcome))
	}
	is.NoErr(b.lease.Fail(ctx, "k", "declined", true))
}

func TestADeadMessageThatIsPutBackIsAnsweredWithoutTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			t.Error("the agent is asked again")
			return agent.Answer{}, nil
		})
		b.buryAnswered(is, "ok:7", "declined", "refused")
		is.NoErr(b.ledger.RetryDead(t.Context(), "k", false))
		w := b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"send c1 two", "send c1 three"}) // the decline of before counts no more
		is.Equal(w.Counts().Finished, 1)
	})
}

func TestADeadMessageThatIsPutBackToBeAskedTellsTheAgentWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		var told agent.Delivery
		b.agent = agentFunc(func(_ context.Context, turn agent.Turn) (agent.Answer, error) {
			told = turn.Delivery
			return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "anew"}}}, nil
		})
		b.buryAnswered(is, "ok:7", "declined", "refused")
		is.NoErr(b.ledger.RetryDead(t.Context(), "k", true))
		w := b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(told.Attempt, 1)
		is.Equal(told.Sent, []agent.Sent{{Op: "send", MessageID: "7", Outcome: "ok"}})
		is.Equal(b.wire.seen(), []string{"send c1 anew"})
		is.Equal(w.Counts().Finished, 1)
	})
}
