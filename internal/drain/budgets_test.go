package drain_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/metrics"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func botEvent(chat, id string) relay.Event {
	e := event("discord", chat, id, "beep")
	e.Source.IsBot = true
	return e
}

// Two bots in one chat answer whatever the other says: the loop ends at the budget, and a person is answered all the same.
func TestTwoBotsThatAnswerEachOtherStop(t *testing.T) {
	bubble(t, setup{ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		ctx, cancel := context.WithCancel(t.Context())
		var other sync.WaitGroup
		defer other.Wait()
		defer cancel()
		other.Go(func() { // the other bot
			for n := 1; ; n++ {
				answers := func(s devconnector.State) bool { return len(sentTo(s, "c1")) >= n }
				if r.Wait(ctx, answers) != nil {
					return
				}
				if n > 100 {
					t.Error("the bots go on for ever")
					return
				}
				r.Deliver(gateway, botEvent("c1", fmt.Sprint("m", n)))
			}
		})
		r.Deliver(gateway, botEvent("c1", "m0"))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(len(r.replies()), 20)
		is.Equal(rep.Limited, 1)
		is.Equal(rep.Dead, 0)
		is.Equal(rep.Left, 0)
		is.Equal(strings.Count(r.log.String(), "DORMOUSE_BOT_TURNS"), 1)

		cold := r.coldStart(t) // another process within the hour
		r.Deliver(gateway, botEvent("c1", "later"))
		r.Deliver(gateway, event("discord", "c1", "person", "hello"))
		rep, _, err = cold.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Limited, 2) // and what the other bot has said to the answer that the person got
		is.True(slices.Contains(r.replies(), "c1 hello"))
		is.Equal(strings.Count(r.log.String(), "DORMOUSE_BOT_TURNS"), 1) // one line an hour and chat
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.Equal(o.Pending, 0)
		is.Equal(o.Limited.Messages, 3) // of both runs
	})
}

func sentTo(s devconnector.State, chat string) (list []devconnector.Outbound) {
	for _, out := range s.Outbounds {
		if out.Op == "send" && out.ChatID == chat {
			list = append(list, out)
		}
	}
	return list
}

func TestTheDaysBudgetWaitsForMidnightAsleep(t *testing.T) {
	env := map[string]string{"DORMOUSE_MAX_TURNS_PER_DAY": "2", "DORMOUSE_TEXTS": `{"day_notice": "genug"}`}
	bubble(t, setup{ledger: durable(ledger.NewMemory()), env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		time.Sleep(20 * time.Hour) // the bubble's day begins at midnight
		for i := range 4 {
			r.Deliver(gateway, event("discord", fmt.Sprint("c", i), fmt.Sprint("m", i), fmt.Sprint("text ", i)))
		}
		midnight := time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		rep, took, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(rep.Acked, 4) // what waits is kept
		is.Equal(rep.Turns, 2)
		is.Equal(rep.Postponed, 2)
		is.Equal(r.metricLines(t)[0].Values[metrics.Postponed], 2.0)
		is.Equal(rep.Left, 2)
		is.True(took < 2*time.Minute) // going idle does not wait
		is.Equal(len(r.handedOn()), 0)
		is.Equal(sorted(r.replies()), []string{"c0 text 0", "c1 text 1", "c2 genug", "c3 genug"})
		sweeps := 0
		for {
			o, err := r.ledger.Overview(t.Context())
			is.NoErr(err)
			is.True(!o.Plan.At.After(midnight.Add(5 * time.Minute))) // the sweep of midnight is planned
			if o.Plan.At.After(midnight) || o.Plan.At.Equal(midnight) {
				time.Sleep(time.Until(o.Plan.At))
				break
			}
			time.Sleep(time.Until(o.Plan.At))
			rep, _, err = r.run(ledger.Schedule, quarter)
			is.NoErr(err)
			is.Equal(rep.Turns, 0)
			sweeps++
		}
		is.True(sweeps < 10)
		cold := r.coldStart(t)
		rep, _, err = cold.run(ledger.Schedule, quarter)
		is.NoErr(err)
		is.Equal(rep.Turns, 2)
		is.Equal(rep.Left, 0)
		is.Equal(sorted(r.replies()[4:]), []string{"c2 text 2", "c3 text 3"})
	})
}
