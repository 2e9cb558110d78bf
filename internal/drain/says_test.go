package drain_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// sayText is the invocation that has a text said in a chat of Discord's whose route it tells.
func sayText(key, chat, text string) string {
	return fmt.Sprintf(`{"reason":"say","key":%q,"chat":{"platform":"discord","chat_id":%q,"chat_type":"group","scope_id":"scope-%s"},"text":%q}`,
		key, chat, chat, text)
}

// anyChat has the connector take what is for any chat.
func anyChat(p *devconnector.Preset) { p.Routing = devconnector.RouteAny }

// taken are the sends that the connector has carried out, as "chat text".
func (r *rig) taken() (list []string) {
	for _, out := range r.Outbounds() {
		if out.Op == "send" && out.Applied {
			list = append(list, fmt.Sprint(out.ChatID, " ", out.Content))
		}
	}
	return list
}

// invoke is an invocation of the function with a payload.
func (r *rig) invoke(payload string, limit time.Duration) (drain.Report, error) {
	r.t.Helper()
	req, err := drain.ParseRequest([]byte(payload))
	if err != nil {
		r.t.Fatal(err)
	}
	rep, _, err := r.request(req, limit)
	return rep, err
}

func TestASayRunsAsAWake(t *testing.T) {
	for name, l := range map[string]func() ledger.Ledger{
		"with a table":    func() ledger.Ledger { return durable(ledger.NewMemory()) },
		"without a table": func() ledger.Ledger { return ledger.NewMemory() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, setup{change: anyChat, ledger: l()}, func(t *testing.T, r *rig) {
				is := is.New(t)
				rep, err := r.invoke(sayText("k1", "c1", "Good morning"), quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Drained)
				is.Equal(rep.Said, 1)
				is.Equal(rep.Turns, 0) // no agent is asked
				is.Equal(r.taken(), []string{"c1 Good morning"})
				out := r.Outbounds()[0]
				is.Equal(out.Op, "send") // and no typing
				is.Equal(out.Metadata["scope_id"], "scope-c1")
				is.Equal(out.Action["reply_to"], nil)
				rep, err = r.invoke(sayText("k1", "c1", "Good morning"), quarter) // EventBridge has sent it twice
				is.NoErr(err)
				is.Equal(rep.Status, drain.Accepted)
				is.Equal(len(r.taken()), 1)
			})
		})
	}
}

func TestAChatThatHasWrittenIsFoundByItsName(t *testing.T) {
	bubble(t, setup{ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("telegram", "c1", "m1", "hello"))
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		r = r.coldStart(t)
		time.Sleep(89 * 24 * time.Hour)
		rep, err := r.invoke(`{"reason":"say","key":"k","chat":{"platform":"telegram","chat_id":"c1"},"text":"Still there?"}`, quarter)
		is.NoErr(err)
		is.Equal(rep.Said, 1)
		last := r.Outbounds()[len(r.Outbounds())-1]
		is.Equal(last.Content, "Still there?")
		is.True(last.Applied)
		is.Equal(last.Metadata["scope_id"], "scope-c1")
		is.Equal(last.Metadata["user_id"], "u-c1")
		r = r.coldStart(t)
		time.Sleep(2 * 24 * time.Hour) // the chat itself has been silent for more than 90 days: a say is not its word
		rep, err = r.invoke(`{"reason":"say","key":"k2","chat":{"platform":"telegram","chat_id":"c1"},"text":"And now?"}`, quarter)
		is.NoErr(err)
		is.Equal(rep.Dead, 1)
	})
}

func TestASayToAChatThatNeverWroteIsDeadWithThatReason(t *testing.T) {
	bubble(t, setup{change: anyChat, ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		rep, err := r.invoke(`{"reason":"say","key":"k/1","chat":{"platform":"discord","chat_id":"c9"},"text":"Hello?"}`, quarter)
		is.NoErr(err)
		is.Equal(rep.Dead, 1)
		is.Equal(len(r.taken()), 0)
		list, err := r.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.Equal(list[0].Key, "say:k%2F1")
		is.True(strings.Contains(list[0].Error, "the chat has never written"))
		is.NoErr(r.ledger.RetryDead(t.Context(), list[0].Key, false)) // who knows better may try
		_, _, err = r.run(ledger.Arm, quarter)
		is.NoErr(err)
		is.Equal(r.taken(), []string{"c9 Hello?"})
	})
}

func TestASayUnderAHeldLeaseIsSeenWithinAThirdOfIt(t *testing.T) {
	bubble(t, setup{change: anyChat, ledger: durable(ledger.NewMemory()), env: map[string]string{"DORMOUSE_LEASE": "30s", "DORMOUSE_IDLE_AFTER": "2m"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		other := r.coldStart(t)
		wait := r.during(answered, func() {
			for _, pause := range []time.Duration{3 * time.Second, 9 * time.Second, time.Second} { // in any phase of the heartbeat
				time.Sleep(pause)
				begun, before := time.Now(), len(r.taken())
				rep, err := other.invoke(sayText(pause.String(), "c2", "now"), quarter)
				is.NoErr(err)
				is.Equal(rep.Status, drain.Accepted)
				is.True(rep.Holder != "")
				is.NoErr(r.Wait(t.Context(), func(devconnector.State) bool { return len(r.taken()) > before }))
				is.True(time.Since(begun) <= 10*time.Second)
			}
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Said, 3)
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.True(!o.Asked && !o.Held)
	})
}

func TestASayAtAnyMomentOfARunIsSaidOnce(t *testing.T) { // also while it goes idle, and as it gives the lease back
	run := func(t *testing.T, at time.Duration) (took time.Duration) {
		bubble(t, setup{change: anyChat, ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
			is := is.New(t)
			r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
			other := r.coldStart(t)
			r.DelayIdleAck(3 * time.Second)
			said := make(chan int, 1)
			go func() {
				time.Sleep(at)
				rep, err := other.invoke(sayText("k", "c2", "now"), quarter)
				is.NoErr(err)
				said <- rep.Said
			}()
			rep, dur, err := r.run(ledger.Wake, quarter)
			is.NoErr(err)
			is.Equal(rep.Said+<-said, 1)
			is.Equal(r.taken(), []string{"c1 hello", "c2 now"})
			took = dur
		})
		return took
	}
	whole := run(t, time.Hour)
	for n := range 10 {
		run(t, whole*time.Duration(n+1)/10)
	}
	for n := range 40 {
		run(t, whole-4*time.Second+time.Duration(n)*107*time.Millisecond)
	}
}

func TestAThousandSaysAtOnceWhileADrainRuns(t *testing.T) {
	bubble(t, setup{change: anyChat, ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c0", "m1", "hello"))
		other := r.coldStart(t)
		const chats, each = 20, 50
		wait := r.during(answered, func() {
			var all sync.WaitGroup
			for c := range chats {
				all.Go(func() {
					for n := range each { // one after another, so that there is an order
						rep, err := other.invoke(sayText(fmt.Sprint(c, "/", n), fmt.Sprint("c", c+1), fmt.Sprint(n)), quarter)
						is.NoErr(err)
						is.Equal(rep.Status, drain.Accepted)
						time.Sleep(time.Millisecond)
					}
				})
			}
			all.Wait()
		})
		rep, _, err := r.run(ledger.Wake, quarter)
		wait()
		is.NoErr(err)
		is.Equal(rep.Said, chats*each)
		eachInOrder(t, r.taken()[1:], chats, each)
	})
}

func TestOneWakeSaysAllThatCameWhileNoDrainRan(t *testing.T) {
	bubble(t, setup{change: anyChat, ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		const chats, each = 20, 50
		for n := range each { // the processes that they came to have died before they could take the lease
			for c := range chats {
				_, err := r.ledger.PutSay(t.Context(), ledger.Say{
					Key: fmt.Sprint(c, "/", n), Body: []byte(sayText(fmt.Sprint(c, "/", n), fmt.Sprint("c", c+1), fmt.Sprint(n))),
				})
				is.NoErr(err)
			}
		}
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Status, drain.Drained)
		is.Equal(rep.Said, chats*each)
		eachInOrder(t, r.taken(), chats, each)
	})
}

// eachInOrder fails unless each chat has its texts, 0 and on, once and in order.
func eachInOrder(t *testing.T, replies []string, chats, each int) {
	t.Helper()
	next := map[string]int{}
	for _, reply := range replies {
		chat, text, _ := strings.Cut(reply, " ")
		if text != fmt.Sprint(next[chat]) {
			t.Fatalf("%s got %q, want %d", chat, text, next[chat])
		}
		next[chat]++
	}
	if len(replies) != chats*each || len(next) != chats {
		t.Fatalf("%d replies in %d chats", len(replies), len(next))
	}
}

func TestAWeeklyScheduleSaysEachWeek(t *testing.T) {
	bubble(t, setup{change: anyChat, ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		for week := range 5 {
			firing := sayText("monday@"+time.Now().UTC().Format(time.RFC3339), "c1", fmt.Sprint("week ", week))
			for range 2 { // EventBridge may fire twice
				_, err := r.invoke(firing, quarter)
				is.NoErr(err)
			}
			r = r.coldStart(t)
			time.Sleep(7 * 24 * time.Hour)
		}
		is.Equal(r.taken(), []string{"c1 week 0", "c1 week 1", "c1 week 2", "c1 week 3", "c1 week 4"})
	})
}

func TestAskingInTheNameOfASchedule(t *testing.T) {
	var turns []agent.Turn
	answers := agentFunc(func(_ context.Context, t agent.Turn) (agent.Answer, error) {
		turns = append(turns, t)
		return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "Three things are due."}}}, nil
	})
	bubble(t, setup{change: anyChat, ledger: durable(ledger.NewMemory()), agent: answers}, func(t *testing.T, r *rig) {
		is := is.New(t)
		rep, err := r.invoke(`{"reason":"say","key":"k1","chat":{"platform":"slack","chat_id":"C1","chat_type":"channel","scope_id":"T1"},"ask":{"text":"/stop what is due?"}}`, quarter)
		is.NoErr(err)
		is.Equal(rep.Turns, 1)
		is.Equal(turns[0].SessionKey, "ask:slack:C1")
		is.Equal(turns[0].Event.Text, "/stop what is due?") // nobody has typed it: it stops nothing
		is.Equal(turns[0].Event.Source.ChatID, "C1")
		is.Equal(turns[0].Delivery.Key, "say:k1")
		is.Equal(r.taken(), []string{"C1 Three things are due."})
		_, err = r.invoke(`{"reason":"say","key":"k2","chat":{"platform":"slack","chat_id":"C1","chat_type":"channel","scope_id":"T1"},"ask":{"text":"And I?","user_id":"U1"}}`, quarter)
		is.NoErr(err)
		source := relay.Source{Platform: "slack", ChatID: "C1", ChatType: "channel", ScopeID: "T1", UserID: "U1"}
		is.Equal(turns[1].SessionKey, relay.SessionKey(source, relay.SessionOptions{})) // the one that U1 has there
	})
}

func TestASayIsRefusedAndSentAgainLikeAnyAnswer(t *testing.T) {
	bubble(t, setup{change: anyChat, ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		is.NoErr(r.RefuseAs(devconnector.Refusing{Class: "rate_limited", Op: "send", Count: 1, RetryAfter: 20 * time.Minute}))
		rep, err := r.invoke(sayText("k1", "c1", "first"), quarter)
		is.NoErr(err)
		is.Equal(rep.Left, 1)
		r = r.coldStart(t)
		time.Sleep(25 * time.Minute)
		rep, err = r.invoke(sayText("k2", "c1", "second"), quarter)
		is.NoErr(err)
		is.Equal(rep.Retried, 1)
		is.Equal(r.taken(), []string{"c1 first", "c1 second"}) // nothing overtakes
		is.NoErr(r.RefuseAs(devconnector.Refusing{Class: "declined", Op: "send", Count: 1}))
		rep, err = r.invoke(sayText("k3", "c1", "third"), quarter)
		is.NoErr(err)
		is.Equal(rep.Dead, 1)
		list, err := r.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.Equal(list[0].Key, "say:k3")
		is.NoErr(r.ledger.RetryDead(t.Context(), "say:k3", false))
		_, _, err = r.run(ledger.Arm, quarter)
		is.NoErr(err)
		is.Equal(r.taken()[len(r.taken())-1], "c1 third")
	})
}

func TestWhatOfASayIsWrongIsItsReason(t *testing.T) {
	bubble(t, setup{change: anyChat, ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		rep, err := r.invoke(`{"reason":"say","key":"k","chat":{"platform":"discord","chat_id":"c1","chat_type":"group"},"actions":[{"op":"send"}]}`, quarter)
		is.NoErr(err)
		is.Equal(rep.Dead, 1)
		list, err := r.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.True(strings.Contains(list[0].Error, "actions[0].content"))
		err = r.ledger.RetryDead(t.Context(), list[0].Key, false)
		is.True(errors.Is(err, ledger.ErrNotDead)) // there is nothing that could be said, and no agent is asked
	})
}

var errDies = errors.New("the process dies here")

func TestASayIsSaidOnceThroughDeathsAtEachStep(t *testing.T) {
	steps := []string{"acquire", "says", "take", "confirm", "finish", "release"}
	for _, step := range steps {
		for _, made := range []bool{false, true} {
			t.Run(fmt.Sprint(step, " made ", made), func(t *testing.T) {
				memory := durable(ledger.NewMemory())
				dead := &death{step: step, made: made}
				bubble(t, setup{change: anyChat, ledger: deadly{memory, dead}}, func(t *testing.T, r *rig) {
					is := is.New(t)
					dead.now = true
					ctx, cancel := context.WithCancel(t.Context())
					dead.kill = cancel
					say := strings.Replace(sayText("k", "c1", ""), `"text":""`, `"actions":[{"op":"send","content":"one"},{"op":"send","content":"two"}]`, 1)
					req, err := drain.ParseRequest([]byte(say))
					is.NoErr(err)
					_, _ = r.drainer.Run(ctx, req)
					is.True(!dead.now) // it has died there
					cancel()
					r = r.coldStart(t)
					time.Sleep(5 * time.Minute)
					for range 2 { // Lambda sends it again, and EventBridge has sent it twice
						_, err = r.invoke(say, quarter)
						is.NoErr(err)
						time.Sleep(time.Minute)
					}
					var replies []string
					for _, out := range r.Outbounds() { // a kept action without a result goes out once more, under the same request id
						if out.Applied && !out.Repeated {
							replies = append(replies, out.Content)
						}
					}
					is.Equal(replies, []string{"one", "two"})
					left, err := r.ledger.Overview(t.Context())
					is.NoErr(err)
					is.Equal(left.Pending, 0)
				})
			})
		}
	}
}

// death is where a process dies.
type death struct {
	step string
	made bool // what it was about is done
	kill func()

	mu  sync.Mutex
	now bool
}

// at does what the ledger is asked for, unless the process dies there; from then on it does nothing.
func (d *death) at(step string, do func() error) error {
	d.mu.Lock()
	dies := d.now && d.step == step
	if dies {
		d.now = false
	}
	d.mu.Unlock()
	if !dies {
		return do()
	}
	if d.made {
		_ = do()
	}
	d.kill()
	return errDies
}

// deadly gives leases that die.
type deadly struct {
	ledger.Ledger
	death *death
}

func (d deadly) Acquire(ctx context.Context, ask ledger.Ask) (got ledger.Lease, err error) {
	err = d.death.at("acquire", func() error {
		got, err = d.Ledger.Acquire(ctx, ask)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &deadlyLease{Lease: got, death: d.death}, nil
}

// deadlyLease writes nothing any more once its process has died.
type deadlyLease struct {
	ledger.Lease
	death *death
	mu    sync.Mutex
	gone  bool
}

func (l *deadlyLease) at(step string, do func() error) error {
	l.mu.Lock()
	gone := l.gone
	l.mu.Unlock()
	if gone {
		return errDies
	}
	err := l.death.at(step, do)
	if errors.Is(err, errDies) {
		l.mu.Lock()
		l.gone = true
		l.mu.Unlock()
	}
	return err
}

func (l *deadlyLease) Says(ctx context.Context) (list []ledger.Say, err error) {
	err = l.at("says", func() error { list, err = l.Lease.Says(ctx); return err })
	return list, err
}

func (l *deadlyLease) TakeSays(ctx context.Context, taken ...ledger.Taking) (states []ledger.State, err error) {
	err = l.at("take", func() error { states, err = l.Lease.TakeSays(ctx, taken...); return err })
	if err != nil {
		return nil, err
	}
	return states, nil
}

func (l *deadlyLease) Confirm(ctx context.Context, key string, n int, outcome string) error {
	return l.at("confirm", func() error { return l.Lease.Confirm(ctx, key, n, outcome) })
}

func (l *deadlyLease) Finish(ctx context.Context, key string) error {
	return l.at("finish", func() error { return l.Lease.Finish(ctx, key) })
}

func (l *deadlyLease) Release(ctx context.Context, p ledger.Plan, received bool) error {
	return l.at("release", func() error { return l.Lease.Release(ctx, p, received) })
}

func (l *deadlyLease) HandOff(ctx context.Context, p ledger.Plan, received bool) (asked bool, err error) {
	err = l.at("hand-off", func() error { asked, err = l.Lease.HandOff(ctx, p, received); return err })
	return asked, err
}

func TestASayThatTheTableRefusesIsAFailedInvocation(t *testing.T) {
	bubble(t, setup{change: anyChat, ledger: noInbox{ledger.NewMemory()}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		rep, err := r.invoke(sayText("k", "c1", "never"), quarter)
		is.True(err != nil) // so that Lambda tries again
		is.Equal(rep.Status, drain.Failed)
		is.Equal(len(r.taken()), 0)
	})
}

type noInbox struct{ ledger.Ledger }

func (noInbox) PutSay(context.Context, ledger.Say) (ledger.SayState, error) {
	return "", errors.New("throttled")
}

func TestAnInboxThatCannotBeReadIsReadAgain(t *testing.T) {
	fails := 3
	var mu sync.Mutex
	l := ledgertest.Wrap(ledger.NewMemory(), func(lease ledger.Lease) ledger.Lease {
		return unreadInbox{lease, func() bool {
			mu.Lock()
			defer mu.Unlock()
			fails--
			return fails >= 0
		}}
	})
	bubble(t, setup{change: anyChat, ledger: durable(l)}, func(t *testing.T, r *rig) {
		is := is.New(t)
		rep, err := r.invoke(sayText("k", "c1", "after all"), quarter)
		is.NoErr(err)
		is.Equal(rep.Said, 1)
		is.Equal(r.taken(), []string{"c1 after all"})
		is.True(strings.Contains(r.log.String(), logs.InboxUnread))
	})
}

type unreadInbox struct {
	ledger.Lease
	fails func() bool
}

func (u unreadInbox) Says(ctx context.Context) ([]ledger.Say, error) {
	if u.fails() {
		return nil, errors.New("throttled")
	}
	return u.Lease.Says(ctx)
}
