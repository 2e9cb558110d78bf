package turn_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/turn"
)

func TestATurnSaysHowOldItsMessageIs(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.change = func(cfg *turn.Config) { cfg.StaleAfter = 15 * time.Minute }
		var told []agent.Turn
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			if told = append(told, tn); len(told) == 1 {
				return agent.Answer{}, errors.New("agent: answered HTTP 500")
			}
			return agent.Answer{}, nil
		})
		w := b.start()
		m := message("c1", "m1", "x")
		m.Event.Source.IsBot = true
		is.NoErr(w.Take(m))
		idle(w)
		is.Equal(told[0].Delivery.AgeS, int64(0))
		is.Equal(told[0].Delivery.SaidAt, told[0].Delivery.ReceivedAt)
		is.Equal(told[1].Delivery.AgeS, int64(2)) // at each attempt
		is.True(!told[1].Late)
		is.True(told[1].Event.Source.IsBot)

		w.StopStarting()
		is.NoErr(w.Take(message("c1", "m2", "y")))
		idle(w)
		w.Close()
		w = b.start() // an hour later
		defer w.Close()
		idle(w)
		is.Equal(told[2].Delivery.AgeS, int64(3600))
		is.True(told[2].Late)
	})
}
