package turn_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// fails is an agent that fails at everything but what ends with "fine".
var fails = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
	if tn.Event.Text == "fine" {
		return agent.Echo{}.Answer(ctx, tn)
	}
	return agent.Answer{}, errors.New("boom")
})

// sorryBench has an agent that fails, and a connector that takes the apology as outcome says, which is told how often it was
// tried before.
func sorryBench(b *bench, outcome func(n int) error) (tried *int) {
	tried = new(int)
	b.agent = fails
	b.change = func(c *turn.Config) { c.Apology, c.MaxAttempts = "sorry", 1 }
	b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
		if out.Action["content"] == "sorry" {
			*tried++
			if err := outcome(*tried - 1); err != nil {
				return relay.Result{}, err
			}
		}
		return relay.Result{Success: true, MessageID: "m"}, nil
	}
	return tried
}

// A dead message's chat is told, whatever is in the way for a while: in this run, or in a later one. And it is told once.
func TestAnApologyIsOwedUntilItIsSaid(t *testing.T) {
	lost := errors.New("the lease may be another's")
	tests := map[string]struct {
		outcome func(n int) error
		first   int // tries in the run in which the message dies
		all     int // and in a day of further runs
	}{
		"taken at once":       {func(int) error { return nil }, 1, 1},
		"throttled":           {inVain(2, flood(3)), 3, 3},
		"throttled for long":  {inVain(1, flood(1800)), 1, 2},
		"a platform is down":  {inVain(9, down()), 7, 10},
		"down for a day":      {inVain(1000, down()), 7, 31},
		"the lease is stale":  {inVain(1, lost), 1, 2},
		"the answer is lost":  {inVain(1, fmt.Errorf("cut: %w", relay.ErrOutcomeUnknown)), 1, 1},
		"it may be there":     {inVain(1, &relay.OpError{Message: "timed out"}), 1, 1},
		"declined":            {inVain(1000, &relay.OpError{Code: "egress_declined"}), 1, 1},
		"refused for good":    {inVain(1000, &relay.OpError{Message: "missing permission"}), 1, 1},
		"nobody knows why":    {inVain(1000, &relay.OpError{Message: "something odd"}), 7, 7},
		"odd, and then it is": {inVain(2, &relay.OpError{Message: "something odd"}), 3, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				tried := sorryBench(b, tt.outcome)
				w := b.start()
				is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
				idle(w)
				is.Equal(*tried, tt.first)
				is.Equal(w.Counts().Dead, 1)
				w.Close()
				is.Equal(w.Counts().Left, boolean(tt.first < tt.all))
				for range 30 {
					w = b.start()
					idle(w)
					w.Close()
					is.Equal(w.Counts().Turns, 0) // nobody is asked about an apology
				}
				is.Equal(*tried, tt.all)
				is.Equal(b.open(is), 0)
				dead, err := b.ledger.ListDead(t.Context())
				is.NoErr(err)
				is.Equal(len(dead), 1) // an apology is no message
			})
		})
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// inVain fails the first n tries.
func inVain(n int, err error) func(int) error {
	return func(tries int) error {
		if tries < n {
			return err
		}
		return nil
	}
}

// What comes after the dead message in its session is answered behind the apology.
func TestAnApologyKeepsItsPlace(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		sorryBench(b, inVain(1, flood(20)))
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		is.NoErr(w.Take(message("c1", "m2", "fine")))
		is.NoErr(w.Take(message("c2", "m3", "fine")))
		synctest.Wait()
		is.Equal(sorted(b.wire.seen()), []string{"send c1 sorry", "send c2 fine"})
		idle(w)
		is.Equal(b.wire.seen()[2:], []string{"send c1 sorry", "send c1 fine"})
		is.Equal(w.Counts().Dead, 1)
		is.Equal(w.Counts().Finished, 2)
	})
}

// A chat that is to be told is not told of another message meanwhile, whichever run gives that up.
func TestOneApologyIsOwedToAChat(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		tried := sorryBench(b, inVain(1, flood(1800)))
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		is.NoErr(w.Take(other(message("c1", "m2", "x"))))
		idle(w)
		w.Close()
		w = b.start()
		defer w.Close()
		is.NoErr(w.Take(other(message("c1", "m3", "x"))))
		idle(w)
		is.Equal(*tried, 2)
		is.Equal(b.wire.seen(), []string{"send c1 sorry", "send c1 sorry"})
		is.Equal(b.open(is), 0)
	})
}

// Two messages of a chat die at the same time. The apology for the first is not kept, or is void, as its process dies before that
// message is dead; and then it is answered. The chat is told of the second all the same, and once.
func TestAChatIsToldWhateverBecomesOfAnotherApology(t *testing.T) {
	for name, dies := range map[string]func(u *unowing){
		"the first is not kept": func(u *unowing) { u.owe = true },
		"the first is void":     func(u *unowing) { u.fail = true },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				sorryBench(b, inVain(0, nil))
				u := &unowing{}
				b.ledger = ledgertest.Wrap(b.ledger, func(l ledger.Lease) ledger.Lease { u.Lease = l; return u })
				dies(u)
				w := b.start()
				one := message("c1", "m1", "x")
				u.key = turn.Key("inst", one)
				is.NoErr(w.Take(one))
				synctest.Wait() // a write for it is under way
				is.NoErr(w.Take(other(message("c1", "m2", "x"))))
				synctest.Wait()
				b.crash()
				u.key, b.agent = "", agentFunc(echo)
				w = b.start()
				defer w.Close()
				idle(w)
				is.Equal(sorted(b.wire.seen()), []string{"send c1 sorry", "send c1 x"})
				is.Equal(b.open(is), 0)
			})
		})
	}
}

// Apologies for several messages may be kept: the chat gets one of them.
func TestAChatGetsOneOfTheApologiesThatAreKept(t *testing.T) {
	for name, outcome := range map[string]func(int) error{"at once": inVain(0, nil), "after a while": inVain(3, flood(5)), "in a later run": inVain(1, flood(1800))} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				said := 0
				sorryBench(b, func(n int) error {
					err := outcome(n)
					if err == nil {
						said++
					}
					return err
				})
				slow := agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
					time.Sleep(time.Second) // they fail at the same moment
					return agent.Answer{}, errors.New("boom")
				})
				b.agent = slow
				w := b.start()
				for i := range 5 {
					d := message("c1", fmt.Sprint("m", i), "x")
					d.Event.Source.UserID = fmt.Sprint("u", i)
					is.NoErr(w.Take(d))
				}
				idle(w)
				w.Close()
				w = b.start()
				defer w.Close()
				idle(w)
				is.Equal(said, 1)
				is.Equal(b.open(is), 0)
				dead, err := b.ledger.ListDead(t.Context())
				is.NoErr(err)
				is.Equal(len(dead), 5)
			})
		})
	}
}

// unowing is a lease whose writes about one message hang until the process is gone.
type unowing struct {
	ledger.Lease
	key       string
	owe, fail bool
}

func (u *unowing) Owe(ctx context.Context, e ledger.Entry) error {
	if u.owe && u.key != "" && e.Key == u.key+"/apology" {
		<-ctx.Done()
		return ctx.Err()
	}
	return u.Lease.Owe(ctx, e)
}

func (u *unowing) Fail(ctx context.Context, key, reason string, dead bool) error {
	if u.fail && key == u.key {
		<-ctx.Done()
		return ctx.Err()
	}
	return u.Lease.Fail(ctx, key, reason, dead)
}

// other makes a message one of another user, whose session is another.
func other(d relay.Delivery) relay.Delivery {
	d.Event.Source.UserID = "u2"
	return d
}

// A death leaves the apology to the next run; one before the message is dead leaves the message, and no apology for it.
func TestAnApologyOutlivesItsProcess(t *testing.T) {
	t.Run("while it is said", func(t *testing.T) {
		bubble(t, func(t *testing.T, b *bench) {
			is := is.New(t)
			sorryBench(b, nil)
			b.wire.do = func(ctx context.Context, _ relay.Outbound) (relay.Result, error) {
				<-ctx.Done()
				return relay.Result{}, context.Cause(ctx)
			}
			w := b.start()
			is.NoErr(w.Take(message("c1", "m1", "x")))
			synctest.Wait()
			b.crash()
			b.wire.do = nil
			w = b.start()
			defer w.Close()
			idle(w)
			is.Equal(b.wire.seen(), []string{"send c1 sorry", "send c1 sorry"})
			is.Equal(b.wire.outs[0].RequestID, b.wire.outs[1].RequestID)
			is.Equal(w.Counts().Turns, 0)
			is.Equal(b.open(is), 0)
		})
	})
	for name, agents := range map[string]agentFunc{"answered": echo, "dead again": fails} {
		t.Run("before the message is dead, then "+name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				sorryBench(b, inVain(0, nil))
				dying := true
				b.ledger = ledgertest.Wrap(b.ledger, func(l ledger.Lease) ledger.Lease { return undying{l, &dying} })
				w := b.start()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				synctest.Wait()
				b.crash()
				is.Equal(len(b.wire.seen()), 0)
				dying, b.agent = false, agents
				w = b.start()
				defer w.Close()
				idle(w)
				want := []string{"send c1 x"}
				if name != "answered" {
					want = []string{"send c1 sorry"}
				}
				is.Equal(b.wire.seen(), want)
				is.Equal(b.open(is), 0)
			})
		})
	}
}

func echo(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
	return agent.Echo{}.Answer(ctx, tn)
}

// undying is a lease whose process dies before a failure is written.
type undying struct {
	ledger.Lease
	dying *bool
}

func (u undying) Fail(ctx context.Context, key, reason string, dead bool) error {
	if *u.dying {
		<-ctx.Done()
		return ctx.Err()
	}
	return u.Lease.Fail(ctx, key, reason, dead)
}

// A suspect's apology holds up nobody.
func TestASuspectsApologyHoldsUpNobody(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		sorryBench(b, inVain(1, flood(40)))
		b.change = func(c *turn.Config) { c.Apology, c.MaxAttempts, c.AgentTimeout = "sorry", 1, 2*time.Hour }
		b.agent = agentFunc(func(ctx context.Context, _ agent.Turn) (agent.Answer, error) {
			<-ctx.Done()
			return agent.Answer{}, context.Cause(ctx)
		})
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		is.NoErr(w.Take(message("c2", "m2", "fine")))
		synctest.Wait()
		b.crash()
		b.agent = fails
		w = b.start()
		defer w.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		is.Equal(sorted(b.wire.seen()), []string{"send c1 sorry", "send c2 fine"})
		idle(w)
		is.Equal(b.wire.seen()[2:], []string{"send c1 sorry"})
	})
}

// Who presses a button too late is told so, like any answer.
func TestAClosedQuestionIsAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = says(ask(""))
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		id := b.wire.outs[0].Action["prompt_id"].(string)
		b.wire.do = func(context.Context, relay.Outbound) (relay.Result, error) { return relay.Result{}, flood(1800) }
		is.NoErr(w.Take(press("m2", id[:7]+"00000000", "once")))
		idle(w)
		w.Close()
		is.Equal(w.Counts().Left, 1)
		b.wire.do = nil
		w = b.start()
		defer w.Close()
		idle(w)
		said := "send c1 That question is no longer open."
		is.Equal(slices.DeleteFunc(b.wire.seen()[1:], isAck), []string{said, said})
		is.Equal(w.Counts().Turns, 0)
		is.Equal(w.Counts().Finished, 1)
	})
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}
