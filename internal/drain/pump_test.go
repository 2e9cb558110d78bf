package drain_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/metrics"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// held is an agent that answers nothing before gone is closed; a cancelled turn ends. gone is made in the bubble.
type held struct{ gone chan struct{} }

func (h *held) Answer(ctx context.Context, t agent.Turn) (agent.Answer, error) {
	select {
	case <-h.gone:
		return agent.Echo{}.Answer(ctx, t)
	case <-ctx.Done():
		return agent.Answer{}, context.Cause(ctx)
	}
}

// dialled counts the descriptors that the connector has sent.
func dialled(n int) func(devconnector.State) bool {
	return func(s devconnector.State) bool { return len(s.Sockets) >= n && s.Instance(gateway).Connected }
}

func TestTheEndOfASocketIsSeenWhateverWaits(t *testing.T) {
	h := &held{}
	bubble(t, setup{agent: h, awake: true, pinned: true}, func(t *testing.T, r *rig) {
		is := is.New(t)
		h.gone = make(chan struct{})
		const many = 4096 + 100 // as many as once were waited for, and more
		wait := r.during(dialled(1), func() {
			for n := range many {
				r.Deliver(gateway, event("discord", fmt.Sprint("c", n%7), fmt.Sprint("m", n), fmt.Sprint(n)))
			}
			time.Sleep(100 * time.Millisecond)
			for n := range 2 {
				start := time.Now()
				is.NoErr(r.Drop(gateway))
				is.NoErr(r.Wait(t.Context(), dialled(n+2)))
				is.True(time.Since(start) < 5*time.Second) // the back-off, and not the agent
				time.Sleep(10 * time.Second)               // which earns two steps back
			}
			close(h.gone)
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(len(r.replies()), many) // all that came over the first socket
		next := map[string]int{}
		for _, reply := range r.replies() {
			var chat string
			var n int
			_, err := fmt.Sscanf(reply, "%s %d", &chat, &n)
			is.NoErr(err)
			is.True(n >= next[chat])
			next[chat] = n
		}
	})
}

func TestAnInterruptStopsATurnWhateverWaits(t *testing.T) {
	h := &held{}
	s := setup{preset: "hosted", agent: h, awake: true, pinned: true, env: map[string]string{"DORMOUSE_WINDOW": "65536"}}
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		h.gone = make(chan struct{})
		first := event("discord", "c0", "m0", "first")
		wait := r.during(dialled(1), func() {
			r.Deliver(gateway, first)
			for n := range 16 {
				r.Deliver(gateway, event("discord", "c1", fmt.Sprint("n", n), fmt.Sprintf("%0300d", n)))
			}
			time.Sleep(time.Second)
			source := first.Source
			is.Equal(r.Interrupt((&relay.Event{Source: source}).SessionKey(), source.ChatID), 1)
			time.Sleep(time.Second)
			close(h.gone)
		})
		_, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(len(r.replies()), 16)
		for _, reply := range r.replies() {
			is.True(reply != "c0 first") // it was stopped, beside all that waited
		}
	})
}

func TestWhatComesTooFastIsBufferedInstead(t *testing.T) {
	h := &held{}
	s := setup{agent: h, awake: true, pinned: true, env: map[string]string{"DORMOUSE_WINDOW": "65536"}}
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		h.gone = make(chan struct{})
		wait := r.during(dialled(1), func() {
			for n := range 60 {
				r.Deliver(gateway, event("discord", "c1", fmt.Sprint("n", n), fmt.Sprintf("%0500d", n)))
				time.Sleep(10 * time.Millisecond)
			}
			is.NoErr(r.Wait(t.Context(), func(s devconnector.State) bool { return len(s.Idles) > 0 }))
			close(h.gone)
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(len(r.replies()), 60) // no live one was lost to an overrun
		is.True(strings.Contains(r.log.String(), logs.Crowded) && strings.Contains(r.log.String(), `"window":65536`))
		is.True(len(r.Sockets()) < 20)
	})
}

// slowTable is a journal that takes so long for each delivery.
type slowTable struct {
	ledger.Lease
	takes time.Duration
}

func (l slowTable) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	time.Sleep(time.Duration(len(entries)) * l.takes)
	return l.Lease.Receive(ctx, entries...)
}

// What waits for the journal dies with the process. So no more of it is let in than the journal takes in a while.
func TestWhatComesFasterThanItIsJournalledIsBufferedInstead(t *testing.T) {
	slow := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return slowTable{l, 100 * time.Millisecond} })
	env := map[string]string{"DORMOUSE_MERGE": "off"} // each is told by its answer
	bubble(t, setup{ledger: durable(slow), awake: true, pinned: true, env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		const many = 1200
		began := time.Now()
		wait := r.during(dialled(1), func() {
			for n := range many { // for a minute twice as many as are taken
				r.Deliver(gateway, event("discord", fmt.Sprint("c", n%50), fmt.Sprint("m", n), fmt.Sprint(n)))
				time.Sleep(50 * time.Millisecond)
			}
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(len(r.replies()), many)
		first := r.State().Idles[0].At.Sub(began)
		is.True(first > 5*time.Second && first < 20*time.Second) // not at its end
		is.True(strings.Contains(r.log.String(), logs.Lagging))
	})
}

// What came at once is journalled for minutes. Once nothing more comes live, going idle would save nothing: the drain stays, and
// answers what is journalled by and by.
func TestASlowTableIsNoReasonToDialAgainAndAgain(t *testing.T) {
	slow := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return slowTable{l, 100 * time.Millisecond} })
	env := map[string]string{"DORMOUSE_MERGE": "off"}
	bubble(t, setup{ledger: durable(slow), awake: true, pinned: true, env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		const many = 1200
		wait := r.during(dialled(1), func() {
			for n := range many {
				r.Deliver(gateway, event("discord", fmt.Sprint("c", n%50), fmt.Sprint("m", n), fmt.Sprint(n)))
			}
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(len(r.replies()), many)
		is.True(strings.Contains(r.log.String(), logs.Lagging))
		is.True(len(r.Sockets()) <= 3)
	})
}

// What a run leaves that ends before the table has taken it is told, by number: nobody else knows of it.
func TestWhatTheEndOfARunLosesIsCounted(t *testing.T) {
	slow := ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return slowTable{l, time.Second} })
	env := map[string]string{"DORMOUSE_MERGE": "off", "DORMOUSE_WINDOW": "262144"}
	bubble(t, setup{ledger: durable(slow), awake: true, pinned: true, env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		const many = 200
		wait := r.during(dialled(1), func() {
			for n := range many {
				r.Deliver(gateway, event("discord", fmt.Sprint("c", n%50), fmt.Sprint("m", n), fmt.Sprint(n)))
			}
		})
		rep, _, err := r.run(ledger.Wake, time.Minute)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.HandedOff)
		is.True(rep.Lost > 0)
		is.True(rep.Lost < many)
		is.Equal(r.metricLines(t)[0].Values[metrics.Lost], float64(rep.Lost))
		is.True(strings.Contains(r.log.String(), logs.LiveLeft))
		_, _, err = r.run(ledger.Continue, quarter)
		is.NoErr(err)
		is.Equal(len(r.replies())+rep.Lost, many) // nothing else is lost
	})
}

// More live messages at once than there is room for: those that do not fit are lost, and told; nothing else is.
func TestWhatDoesNotFitIsCounted(t *testing.T) {
	h := &held{}
	bubble(t, setup{agent: h, awake: true, pinned: true, env: map[string]string{"DORMOUSE_WINDOW": "65536"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		h.gone = make(chan struct{})
		const many = 200
		r.WithholdIdleAck(1) // or it would have time to begin buffering
		wait := r.during(dialled(1), func() {
			for n := range many {
				r.Deliver(gateway, event("discord", "c1", fmt.Sprint("n", n), fmt.Sprintf("%0500d", n)))
			}
			is.NoErr(r.Wait(t.Context(), func(s devconnector.State) bool { return len(s.Idles) > 0 }))
			close(h.gone)
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.True(rep.Lost > 0)
		is.Equal(len(r.replies())+rep.Lost, many)
		is.Equal(r.metricLines(t)[0].Values[metrics.Lost], float64(rep.Lost))
		is.True(strings.Contains(r.log.String(), logs.LiveOverran))
		is.True(len(r.Sockets()) <= 3) // the socket went on
	})
}

// While what an earlier socket has received fills the room for what waits, a further one has a quarter of it, not a whole one.
func TestAFurtherSocketHasAPartOfTheRoom(t *testing.T) {
	h := &held{}
	bubble(t, setup{agent: h, awake: true, pinned: true, env: map[string]string{"DORMOUSE_WINDOW": "65536"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		h.gone = make(chan struct{})
		r.WithholdIdleAck(2)
		const room = 64 << 10 / 8 * 3
		flood := func(socket string) {
			for n := range 2 * room / 1000 {
				r.Deliver(gateway, event("discord", "c1", fmt.Sprint(socket, n), fmt.Sprintf("%s %01000d", socket, n)))
			}
			time.Sleep(time.Second)
		}
		wait := r.during(dialled(1), func() {
			flood("first")
			is.NoErr(r.Drop(gateway))
			is.NoErr(r.Wait(t.Context(), dialled(2)))
			flood("second")
			close(h.gone)
		})
		_, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		kept := map[string]int{}
		for _, reply := range r.replies() {
			kept[strings.Fields(reply)[1]] += len(reply)
		}
		is.True(kept["first"] > room*3/4) // and what the worker has taken
		is.True(kept["second"] > room/4*3/5)
		is.True(kept["second"] <= room/4)
	})
}

// bulky are buffered messages of which two do not fit into the queue of a window of 64 KiB.
func bulky(n int) relay.Event {
	e := event("discord", "c1", fmt.Sprint("m", n), fmt.Sprint(n))
	e.Source.ChatName = strings.Repeat("x", 60<<10)
	return e
}

func TestABacklogThatComesAtOnceAndDoesNotFitIsTakenPartByPart(t *testing.T) {
	atOnce := func(p *devconnector.Preset) { p.Window, p.WindowPerChat = 0, false }
	s := setup{pinned: true, change: atOnce, env: map[string]string{"DORMOUSE_WINDOW": "65536"}}
	bubble(t, s, func(t *testing.T, r *rig) {
		is := is.New(t)
		var want []string
		for n := range 12 {
			r.Deliver(gateway, bulky(n))
			want = append(want, fmt.Sprint("c1 ", n))
		}
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(r.replies(), want)
		is.Equal(r.State().Instance(gateway).Buffered, 0)
		is.True(strings.Contains(r.log.String(), logs.Overflowed))
		is.True(r.metricLines(t)[0].Values[metrics.Overflowed] > 0)
	})
}
