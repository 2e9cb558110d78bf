package drain_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
)

func TestTheWholeLoop(t *testing.T) {
	bubble(t, setup{}, func(t *testing.T, r *rig) {
		is := is.New(t)
		var ids, want []string
		for i := range 20 {
			chat := fmt.Sprint("c", i%4)
			platform := []string{"discord", "telegram", "slack", "whatsapp"}[i%4]
			ids = append(ids, r.Deliver(gateway, event(platform, chat, fmt.Sprint("m", i), fmt.Sprint("hello ", i))))
			want = append(want, fmt.Sprintf("%s hello %d", chat, i))
		}
		live := r.during(func(s devconnector.State) bool { return len(s.Acks) == 20 }, func() {
			r.Deliver(gateway, event("discord", "c0", "live-1", "live"))
		})
		rep, _, err := r.run(ledger.Wake, 15*time.Minute)
		live()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(rep.Received, 21)
		is.Equal(rep.Acked, 20)
		is.Equal(rep.Turns, 21)

		state := r.State()
		var acked []string
		for _, ack := range state.Acks {
			acked = append(acked, ack.BufferID)
		}
		is.Equal(acked, ids) // in order, each with its own id
		want = append(want, "c0 live")
		got := r.replies()
		slices.Sort(got)
		slices.Sort(want)
		is.Equal(got, want) // each answered once
		for _, out := range state.Outbounds {
			is.Equal(out.Metadata["scope_id"], "scope-"+out.ChatID) // with its scope put back
		}
		is.Equal(len(state.Idles), 1)
		is.Equal(state.Idles[0].InFlight, 0)
		is.Equal(len(state.Sockets), 1)
		is.Equal(state.Sockets[0].By, "gateway")
		is.Equal(state.Sockets[0].Code, 1000)
		is.True(closedAfterIdle(state))    // close only after going_idle_ack
		is.Equal(len(state.Provisions), 4) // one per platform
		is.Equal(len(state.Breaches), 0)

		// A second, warm run.
		r.Deliver(gateway, event("discord", "c0", "m100", "again"))
		rep, _, err = r.run(ledger.Wake, 15*time.Minute)
		is.NoErr(err)
		is.Equal(rep.Received, 1)
		is.Equal(len(r.State().Provisions), 4) // does not provision again
		is.Equal(len(r.State().Sockets), 2)
	})
}

func closedAfterIdle(s devconnector.State) bool {
	idle := false
	for _, o := range s.Observations {
		switch o.What {
		case devconnector.ObsGoingIdleAck:
			idle = true
		case devconnector.ObsClosed:
			return idle
		}
	}
	return false
}

func TestAnEmptyDrainEndsSoon(t *testing.T) {
	tests := map[string]struct {
		reason ledger.Reason
		env    map[string]string
		want   time.Duration
	}{
		"after a wake":    {ledger.Wake, nil, 10 * time.Second},
		"of a schedule":   {ledger.Schedule, nil, 3 * time.Second},
		"as it is set up": {ledger.Wake, map[string]string{"DORMOUSE_EMPTY_AFTER": "2s"}, 2 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{env: tt.env}, func(t *testing.T, r *rig) {
				is := is.New(t)
				rep, took, err := r.run(tt.reason, 15*time.Minute)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Empty)
				is.True(took >= tt.want && took < tt.want+time.Second)
			})
		})
	}
}
