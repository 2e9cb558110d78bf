package turn_test

import (
	"context"
	"fmt"
	"slices"
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

// Each text by which connectors are known to refuse, at each step of an answer, once, three times and for ever: the message
// ends answered once, or dead with its reason and its answer. With a table it may take a day, without one 100 s.
func TestEachKnownRefusalAtEachStep(t *testing.T) {
	everything := []relay.Action{
		send("first"), send("second"), {"op": "send_media", "media_kind": "image", "source_url": "https://x.example/a.png"},
		{"op": "follow_up", "content": "third"}, ask("r"), {"op": "thread_create", "thread_name": "t"}, send("last"),
	}
	for _, refusal := range refusals {
		said := refusal.(*relay.OpError)
		for step := range everything {
			for _, times := range []int{1, 3, -1} {
				for _, kept := range []bool{true, false} {
					t.Run(fmt.Sprint(said.Code, " ", said.Message, " ", step, " ", times, " ", kept), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { refuseStep(t, everything, step, times, said, kept) })
					})
				}
			}
		}
	}
}

func refuseStep(t *testing.T, answer []relay.Action, step, times int, said *relay.OpError, kept bool) {
	is := is.New(t)
	l := ledger.Ledger(ledger.NewMemory())
	if kept {
		l = durable(l)
	}
	b := newBench(t, l)
	b.wire.ops = append(slices.Clone(allOps), "send_media", "follow_up", "prompt", "thread_create")
	b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) { return agent.Answer{Actions: answer}, nil })
	accepted := map[string]int{} // by request id
	ids := []string{}
	left := times
	b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
		if !slices.Contains(ids, out.RequestID) {
			ids = append(ids, out.RequestID)
		}
		if len(ids) == step+1 && ids[step] == out.RequestID && left != 0 {
			left--
			return relay.Result{}, said
		}
		accepted[out.RequestID]++
		return relay.Result{Success: true, MessageID: "m"}, nil
	}
	means := action.ClassOf(answer[step].Op(), said.Result())
	class := means.Class
	finished, dead := 0, 0
	for run := range 30 {
		w := b.start()
		if run == 0 {
			is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
		}
		begun := time.Now()
		idle(w)
		is.True(time.Since(begun) < 10*time.Minute)
		w.Close()
		finished, dead = finished+w.Counts().Finished, dead+w.Counts().Dead
		if finished+dead > 0 {
			break
		}
	}
	if !kept && times < 0 && step == 0 && finished+dead == 0 { // nothing is in the chat: it stays with the connector
		is.True(class == action.Transient)
		is.True(!slices.Contains(b.wire.seen(), "ack b1"))
		return
	}
	is.Equal(finished+dead, 1) // it has one end
	for _, n := range accepted {
		is.Equal(n, 1) // and nothing is there twice
	}
	list, err := b.ledger.ListDead(t.Context())
	is.NoErr(err)
	is.Equal(len(list), dead)
	for _, e := range list {
		shown, err := b.ledger.ShowDead(t.Context(), e.Key)
		is.NoErr(err)
		is.True(e.Error != "")
		is.Equal(len(shown.Actions), len(answer))
	}
	passes := class == action.Transient || class == action.Unclear
	switch {
	case passes && times > 0 && (kept || means.After*time.Duration(times) < 100*time.Second), class == action.Unknown:
		is.Equal(finished, 1)
	case class == action.Permanent && answer[step].Op() != "send_media", class == action.Declined:
		is.Equal(dead, 1)
	}
}

// The same, and the process dies in the pause behind the refusal: the next one goes on where it was, and the message has one
// end.
func TestADeathBehindEachKnownRefusalAtEachStep(t *testing.T) {
	everything := []relay.Action{
		send("first"), ask("r"), {"op": "send_media", "media_kind": "image", "source_url": "https://x.example/a.png"},
		{"op": "follow_up", "content": "third"}, send("fourth"), edit("fifth"), send("last"),
	}
	for _, refusal := range refusals {
		said := refusal.(*relay.OpError)
		for step := range everything {
			for kind, answer := range map[string]agentFunc{"whole": says(everything...), "stream": streamed(everything...)} {
				t.Run(fmt.Sprint(said.Code, " ", said.Message, " ", step, " ", kind), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { dieBehindRefusal(t, answer, len(everything), step, said, kind == "stream") })
				})
			}
		}
	}
}

func dieBehindRefusal(t *testing.T, answer agentFunc, actions, step int, said *relay.OpError, stream bool) {
	is := is.New(t)
	b := newBench(t, durable(ledger.NewMemory()))
	b.wire.ops = append(slices.Clone(allOps), "send_media", "follow_up", "prompt")
	b.agent = answer
	b.change = func(c *turn.Config) { c.Apology = "sorry" }
	dead, tries := false, 0
	accepted := map[string]int{} // by request id
	b.wire.do = func(ctx context.Context, out relay.Outbound) (relay.Result, error) {
		if dead {
			<-ctx.Done()
			return relay.Result{}, context.Cause(ctx)
		}
		tries++
		if tries == step+1 {
			dead = true
			return relay.Result{}, said
		}
		if out.Action.Op() != "edit" { // an edit is harmless to repeat, and its outcome is not written down
			accepted[out.RequestID]++
		}
		return relay.Result{Success: true, MessageID: fmt.Sprint("m", tries)}, nil
	}
	w := b.start()
	is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
	time.Sleep(5 * time.Second)
	b.crash()
	dead = false
	finished, gone := w.Counts().Finished, w.Counts().Dead
	for range 3 {
		w = b.start()
		idle(w)
		w.Close()
		finished, gone = finished+w.Counts().Finished, gone+w.Counts().Dead
	}
	is.Equal(finished+gone, 1) // it has one end
	is.Equal(b.open(is), 0)
	for id, n := range accepted {
		if n > 1 {
			t.Errorf("%s was accepted %d times", id, n)
		}
	}
	list, err := b.ledger.ListDead(t.Context())
	is.NoErr(err)
	is.Equal(len(list), gone)
	switch class := action.ClassOf("send", said.Result()).Class; {
	case class == action.Transient, class == action.Unknown:
		is.Equal(finished, 1)
	case class == action.Declined && !stream:
		is.Equal(gone, 1)
	}
	if !stream && finished == 1 {
		is.True(len(accepted) >= actions-2) // the refused one may be unknown, the edit is nothing to write down
	}
}
