package turn_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// narrow is a durable ledger in which no event and no answer of more than so many bytes fits.
type narrow struct {
	ledger.Lease
	most int
}

func newNarrow(most int) ledger.Ledger {
	return ledgertest.Wrap(durable(ledger.NewMemory()), func(l ledger.Lease) ledger.Lease { return narrow{l, most} })
}

func (n narrow) Receive(ctx context.Context, entries ...ledger.Entry) (states []ledger.State, err error) {
	for _, e := range entries {
		if len(e.Body) > n.most {
			states = append(states, ledger.TooLarge)
			continue
		}
		found, err := n.Lease.Receive(ctx, e)
		if err != nil {
			return states, err
		}
		states = append(states, found...)
	}
	return states, nil
}

func (n narrow) Keep(ctx context.Context, key string, actions []json.RawMessage) error {
	for _, a := range actions {
		if len(a) > n.most {
			return fmt.Errorf("%w: %d bytes", ledger.ErrTooLarge, len(a))
		}
	}
	return n.Lease.Keep(ctx, key, actions)
}

func TestWhatIsTooLargeForTheJournalIsAckedWhenItsTurnIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, newNarrow(0))
		answer := make(chan struct{})
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			<-answer
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "big"))))
		synctest.Wait()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "big")))) // a redelivery meanwhile
		is.NoErr(w.Take(message("c2", "m2", "big and live")))
		synctest.Wait()
		is.Equal(len(b.wire.seen()), 0) // the connector keeps it
		close(answer)
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"ack b1", "ack b1"})
		is.Equal(w.Counts().Turns, 2)
		is.Equal(w.Counts().Duplicates, 1)
		is.Equal(w.Counts().Unkept, 1) // the live one
		is.NoErr(w.Broken())           // others are taken
		entries, err := ledgertest.Recover(t.Context(), b.lease)
		is.NoErr(err)
		is.Equal(len(entries), 0)
	})
}

func TestAnAnswerThatIsTooLargeIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, newNarrow(300))
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			return agent.Answer{Actions: []relay.Action{{"op": "send", "content": fmt.Sprintf("%301d", 1)}}}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "hi"))))
		for w.Busy() {
			<-w.Changed()
		}
		is.Equal(b.wire.seen(), []string{"ack b1"}) // nothing was sent
		is.Equal(w.Counts().Dead, 1)
		list, err := b.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.Equal(len(list), 1)
		is.Equal(list[0].Attempts, 3)
	})
}
