package drain_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// job is an agent that answers "slow" later, and everything else at once.
type job struct {
	after time.Duration

	mu   sync.Mutex
	keys []string // of the turns that it answers later
}

func (j *job) Answer(_ context.Context, t agent.Turn) (agent.Answer, error) {
	if t.Event.Text != "slow" {
		return agent.Answer{Actions: []relay.Action{{"op": "send", "content": "at once"}}}, nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.keys = append(j.keys, t.Delivery.Key)
	return agent.Answer{Later: j.after}, nil
}

// key is that of the turn number n, once it has come.
func (j *job) key(n int) string {
	for {
		j.mu.Lock()
		keys := j.keys
		j.mu.Unlock()
		if len(keys) > n {
			return keys[n]
		}
		time.Sleep(time.Second) // the bubble's: it is exact and free
	}
}

// part is the invocation that has a part of a late answer said.
func part(key string, n int, last bool, text string) string {
	return fmt.Sprintf(`{"reason":"say","reply_to_delivery":%q,"n":%d,"last":%v,"text":%q}`, key, n, last, text)
}

// inThread is a message in a thread of Discord's.
func inThread(id, text string) relay.Event {
	e := event("discord", "c1", id, text)
	e.Source.ThreadID, e.Source.ChatType = "t7", "thread"
	return e
}

// reacts are the marks that the connector has taken, as "emoji of message", or with a minus before it as one came off.
func (r *rig) reacts() (list []string) {
	for _, out := range r.Outbounds() {
		if out.Op != "react" {
			continue
		}
		sign := ""
		if out.Action["remove"] == true {
			sign = "-"
		}
		list = append(list, fmt.Sprint(sign, out.Action["emoji"], " of ", out.Action["message_id"]))
	}
	return list
}

func TestALateAnswerTwoHoursLaterReachesItsThreadOnce(t *testing.T) {
	j := &job{after: 3 * time.Hour}
	env := map[string]string{"DORMOUSE_MERGE": "off"} // else the two are one turn
	bubble(t, setup{ledger: durable(ledger.NewMemory()), agent: j, env: env}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, inThread("m1", "slow"))
		r.Deliver(gateway, inThread("m2", "quick"))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Left, 1)
		is.Equal(len(r.handedOn()), 0)              // it is no work
		is.Equal(r.taken(), []string{"c1 at once"}) // and its session goes on
		pending, err := r.ledger.ListPending(t.Context())
		is.NoErr(err)
		is.Equal(len(pending), 1)
		is.True(strings.HasPrefix(pending[0].Error, "late answer until 2000-01-01T03:00:"))
		until := time.Now().Add(2 * time.Hour)
		for time.Now().Before(until) { // cold starts in between: sweeps, and a message
			r = r.coldStart(t)
			time.Sleep(20 * time.Minute)
			_, _, err = r.run(ledger.Schedule, quarter)
			is.NoErr(err)
		}
		r.Deliver(gateway, inThread("m1", "slow")) // the connector sends it again
		r = r.coldStart(t)
		for range 2 {
			_, err = r.invoke(part(j.key(0), 1, true, "Done."), quarter)
			is.NoErr(err)
			r = r.coldStart(t)
			time.Sleep(time.Minute)
		}
		is.Equal(len(j.keys), 1) // the agent was asked once
		is.Equal(r.taken(), []string{"c1 at once", "c1 Done."})
		var last devconnector.Outbound
		for _, out := range r.Outbounds() {
			if out.Content == "Done." {
				last = out
			}
		}
		is.Equal(last.Action["reply_to"], "m1")
		is.Equal(last.Metadata["thread_id"], "t7")
		is.Equal(last.Metadata["scope_id"], "scope-c1")
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.Equal(o.Pending, 0)
	})
}

func TestTheProgressMarkStaysUntilTheLateAnswer(t *testing.T) {
	j := &job{after: time.Hour}
	bubble(t, setup{ledger: durable(ledger.NewMemory()), agent: j, env: map[string]string{"DORMOUSE_REACTIONS": "on"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "slow"))
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(r.reacts(), []string{"👀 of m1", "-👀 of m1", "👀 of m1"}) // off for a moment: the session goes on
		r = r.coldStart(t)
		_, err = r.invoke(part(j.key(0), 1, false, "Half."), quarter)
		is.NoErr(err)
		is.Equal(len(r.reacts()), 3) // there is more to come
		r = r.coldStart(t)
		_, err = r.invoke(part(j.key(0), 2, true, "All."), quarter)
		is.NoErr(err)
		is.Equal(r.reacts()[3:], []string{"-👀 of m1", "✅ of m1"})
	})
}

func TestALateAnswerThatNeverComesIsDeadAtItsTime(t *testing.T) {
	for name, during := range map[string]bool{"while a drain runs": true, "while none does": false} {
		t.Run(name, func(t *testing.T) {
			j := &job{after: 10 * time.Minute}
			bubble(t, setup{ledger: durable(ledger.NewMemory()), agent: j}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("discord", "c1", "m1", "slow"))
				rep, _, err := r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Dead, 0)
				is.Equal(len(r.taken()), 0)
				o, err := r.ledger.Overview(t.Context())
				is.NoErr(err)
				is.True(time.Until(o.Plan.At) <= 10*time.Minute)
				r = r.coldStart(t)
				if during {
					r.DelayIdleAck(5 * time.Second)
					time.Sleep(8*time.Minute + 45*time.Second)
					r.Deliver(gateway, event("discord", "c2", "m2", "quick"))
				} else {
					time.Sleep(11 * time.Minute)
				}
				rep, _, err = r.run(ledger.Wake, quarter)
				is.NoErr(err)
				is.Equal(rep.Dead, 1)
				list, err := r.ledger.ListDead(t.Context())
				is.NoErr(err)
				is.True(strings.Contains(list[0].Error, "in time"))
				replies := r.taken()
				is.True(strings.Contains(replies[len(replies)-1], "c1 ")) // the chat is told
				rep, err = r.invoke(part(j.key(0), 1, true, "Done."), quarter)
				is.NoErr(err)
				is.Equal(rep.Dead, 1)
				list, err = r.ledger.ListDead(t.Context())
				is.NoErr(err)
				is.Equal(list[1].Key, j.key(0)+"/1")
				is.True(strings.Contains(list[1].Error, "too late"))
				is.Equal(len(r.taken()), len(replies))
				is.NoErr(r.ledger.RetryDead(t.Context(), list[1].Key, false)) // its answer is kept
				_, _, err = r.run(ledger.Arm, quarter)
				is.NoErr(err)
				is.Equal(r.taken()[len(replies)], "c1 Done.")
			})
		})
	}
}

func TestThreePartsOfALateAnswerArriveInOrder(t *testing.T) {
	orders := [][]int{{1, 2, 3}, {3, 2, 1}, {2, 3, 1}, {3, 1, 2}}
	for _, order := range orders {
		for name, beside := range map[string]bool{"each by its own run": false, "while a drain runs": true} {
			t.Run(fmt.Sprint(order, name), func(t *testing.T) {
				j := &job{after: time.Hour}
				bubble(t, setup{ledger: durable(ledger.NewMemory()), agent: j}, func(t *testing.T, r *rig) {
					is := is.New(t)
					r.Deliver(gateway, event("discord", "c1", "m1", "slow"))
					say := func(r *rig) {
						for _, n := range order {
							_, err := r.invoke(part(j.key(0), n, n == 3, fmt.Sprint("part ", n)), quarter)
							is.NoErr(err)
						}
					}
					if beside {
						other := r.coldStart(t)
						r.Deliver(gateway, event("discord", "c9", "m9", "quick"))
						wait := r.during(answered, func() { say(other) })
						_, _, err := r.run(ledger.Wake, quarter)
						is.NoErr(err)
						wait()
						is.Equal(r.taken(), []string{"c9 at once", "c1 part 1", "c1 part 2", "c1 part 3"})
					} else {
						_, _, err := r.run(ledger.Wake, quarter)
						is.NoErr(err)
						say(r.coldStart(t))
						is.Equal(r.taken(), []string{"c1 part 1", "c1 part 2", "c1 part 3"})
					}
					var replies []any
					for _, out := range r.Outbounds() {
						if strings.HasPrefix(out.Content, "part ") {
							replies = append(replies, out.Action["reply_to"])
						}
					}
					is.Equal(replies, []any{"m1", nil, nil}) // the first one is a reply, the others follow it
					o, err := r.ledger.Overview(t.Context())
					is.NoErr(err)
					is.Equal(o.Pending, 0)
				})
			})
		}
	}
}

func TestAStopEndsALateAnswer(t *testing.T) {
	for name, cold := range map[string]bool{"in the same run": false, "in a later one": true} {
		t.Run(name, func(t *testing.T) {
			j := &job{after: 2 * time.Hour}
			bubble(t, setup{ledger: durable(ledger.NewMemory()), agent: j, env: map[string]string{"DORMOUSE_REACTIONS": "on"}}, func(t *testing.T, r *rig) {
				is := is.New(t)
				r.Deliver(gateway, event("discord", "c1", "m1", "slow"))
				if cold {
					_, _, err := r.run(ledger.Wake, quarter)
					is.NoErr(err)
					r = r.coldStart(t)
					time.Sleep(time.Hour)
					r.Deliver(gateway, event("discord", "c1", "m2", "/stop"))
					_, _, err = r.run(ledger.Wake, quarter)
					is.NoErr(err)
				} else {
					wait := r.during(func(s devconnector.State) bool { return len(r.reacts()) > 0 }, func() {
						time.Sleep(time.Second)
						r.Deliver(gateway, event("discord", "c1", "m2", "/stop"))
					})
					_, _, err := r.run(ledger.Wake, quarter)
					is.NoErr(err)
					wait()
				}
				o, err := r.ledger.Overview(t.Context())
				is.NoErr(err)
				is.Equal(o.Pending, 0)
				marks := map[string][]string{} // of each message; which of the two is first is nobody's business
				for _, mark := range r.reacts() {
					sign, id, _ := strings.Cut(mark, " of ")
					marks[id] = append(marks[id], sign)
				}
				is.Equal(marks, map[string][]string{"m1": {"👀", "-👀", "👀", "-👀"}, "m2": {"👀", "-👀"}})
				rep, err := r.invoke(part(j.key(0), 1, true, "Done."), quarter)
				is.NoErr(err)
				is.Equal(rep.Dead, 1) // listed, with its words
				is.Equal(len(r.taken()), 0)
				dead, err := r.ledger.ShowDead(t.Context(), j.key(0)+"/1")
				is.NoErr(err)
				is.True(strings.Contains(dead.Error, "too late"))
				is.Equal(len(dead.Actions), 1)
				is.True(strings.Contains(string(dead.Actions[0]), `"content":"Done."`))
			})
		})
	}
}

func TestALateAnswerMayComeBeforeItIsAnnounced(t *testing.T) {
	var r *rig
	hurried := agentFunc(func(ctx context.Context, turn agent.Turn) (agent.Answer, error) {
		rep, err := r.coldStart(r.t).invoke(part(turn.Delivery.Key, 1, true, "Already."), quarter)
		if err != nil || rep.Status != drain.Accepted {
			r.t.Error(rep.Status, err)
		}
		time.Sleep(40 * time.Second) // over several heartbeats
		return agent.Answer{Later: time.Hour}, nil
	})
	bubble(t, setup{ledger: durable(ledger.NewMemory()), agent: hurried}, func(t *testing.T, made *rig) {
		is := is.New(t)
		r = made
		r.Deliver(gateway, event("discord", "c1", "m1", "hello"))
		rep, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(rep.Said, 1)
		is.Equal(r.taken(), []string{"c1 Already."})
	})
}

func TestWhatAnswersNothingIsDead(t *testing.T) {
	bubble(t, setup{ledger: durable(ledger.NewMemory())}, func(t *testing.T, r *rig) {
		is := is.New(t)
		rep, err := r.invoke(part("0123456789abcdef", 1, true, "Done."), quarter)
		is.NoErr(err)
		is.Equal(rep.Dead, 1)
		list, err := r.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.True(strings.Contains(list[0].Error, "reply_to_delivery: no delivery"))
	})
}

func TestALateAnswerIsSaidOnceThroughDeathsAtEachStep(t *testing.T) {
	for _, step := range []string{"acquire", "says", "take", "confirm", "finish", "release"} {
		for _, made := range []bool{false, true} {
			t.Run(fmt.Sprint(step, " made ", made), func(t *testing.T) {
				j := &job{after: 3 * time.Hour}
				dead := &death{step: step, made: made}
				bubble(t, setup{ledger: deadly{durable(ledger.NewMemory()), dead}, agent: j}, func(t *testing.T, r *rig) {
					is := is.New(t)
					r.Deliver(gateway, event("discord", "c1", "m1", "slow"))
					_, _, err := r.run(ledger.Wake, quarter)
					is.NoErr(err)
					r = r.coldStart(t)
					time.Sleep(2 * time.Hour)
					say := strings.Replace(part(j.key(0), 1, true, ""), `"text":""`, `"actions":[{"op":"send","content":"one"},{"op":"send","content":"two"}]`, 1)
					req, err := drain.ParseRequest([]byte(say))
					is.NoErr(err)
					ctx, cancel := context.WithCancel(t.Context())
					dead.now, dead.kill = true, cancel
					_, _ = r.drainer.Run(ctx, req)
					is.True(!dead.now) // it has died there
					cancel()
					r = r.coldStart(t)
					time.Sleep(5 * time.Minute)
					for range 2 {
						_, err = r.invoke(say, quarter)
						is.NoErr(err)
						time.Sleep(time.Minute)
					}
					var replies []string
					for _, out := range r.Outbounds() {
						if out.Op == "send" && out.Applied && !out.Repeated {
							replies = append(replies, out.Content)
						}
					}
					is.Equal(replies, []string{"one", "two"})
					o, err := r.ledger.Overview(t.Context())
					is.NoErr(err)
					is.Equal(o.Pending, 0)
					time.Sleep(3 * time.Hour)
					rep, _, err := r.run(ledger.Arm, quarter)
					is.NoErr(err)
					is.Equal(rep.Dead, 0) // it is answered
				})
			})
		}
	}
}

// A durable function is started once for a message, by whichever attempt, and answers two hours later, while no drain runs.
func TestADurableFunctionAnswersTwoHoursLater(t *testing.T) {
	jobs := &durables{payloads: map[string]string{}}
	a, _, err := agent.New("lambda:jobs:live", agent.Options{Lambda: jobs, Durable: 3 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, setup{ledger: durable(ledger.NewMemory()), agent: a}, func(t *testing.T, r *rig) {
		is := is.New(t)
		jobs.dies = 2 // the process dies twice between the start and the table
		r.Deliver(gateway, event("discord", "c1", "m1", "the yearly report"))
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			jobs.kill = cancel
			_, _ = r.drainer.Run(ctx, drain.Request{Reason: ledger.Arm})
			cancel()
			r = r.coldStart(t)
			time.Sleep(5 * time.Minute)
		}
		is.Equal(len(jobs.payloads), 1)
		is.True(jobs.invoked > 1)
		is.Equal(len(r.taken()), 0)
		time.Sleep(2 * time.Hour)
		for name := range jobs.payloads { // which is the delivery's key
			_, err := r.invoke(part(name, 1, true, "14 pages."), quarter)
			is.NoErr(err)
		}
		is.Equal(r.taken(), []string{"c1 14 pages."})
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.Equal(o.Pending, 0)
	})
}

// durables plays Lambda's part for a durable function: an execution for each name.
type durables struct {
	payloads map[string]string
	invoked  int
	dies     int
	kill     func()
}

func (d *durables) Invoke(_ context.Context, in *lambda.InvokeInput, _ ...func(*lambda.Options)) (*lambda.InvokeOutput, error) {
	d.invoked++
	name := *in.DurableExecutionName
	before, known := d.payloads[name]
	if !known {
		d.payloads[name] = string(in.Payload)
	}
	if d.dies > 0 {
		d.dies--
		d.kill()
	}
	if known && before != string(in.Payload) {
		return nil, &types.DurableExecutionAlreadyStartedException{}
	}
	return &lambda.InvokeOutput{StatusCode: 202}, nil
}

// hooked gives leases that do something before a call of the ledger, which then comes later than what it was made for.
type hooked struct {
	ledger.Ledger
	before func(call string)
}

func (s hooked) Acquire(ctx context.Context, ask ledger.Ask) (ledger.Lease, error) {
	got, err := s.Ledger.Acquire(ctx, ask)
	if err != nil {
		return nil, err
	}
	return hookedLease{got, s.before}, nil
}

type hookedLease struct {
	ledger.Lease
	before func(call string)
}

func (l hookedLease) Known(ctx context.Context, keys ...string) (map[string]ledger.Entry, error) {
	l.before("known")
	return l.Lease.Known(ctx, keys...)
}

func (l hookedLease) TakeSays(ctx context.Context, taken ...ledger.Taking) ([]ledger.State, error) {
	l.before("take")
	return l.Lease.TakeSays(ctx, taken...)
}

func (l hookedLease) Bury(ctx context.Context, key, reason string) error {
	if l.before("bury"); ctx.Err() != nil {
		return ctx.Err()
	}
	return l.Lease.Bury(ctx, key, reason)
}

// The time of a message is over at the very moment in which its answer comes: it is answered or dead, and its chat is told one of
// both, whichever call of the ledger is the first to be made.
func TestAnAnswerAtTheEndOfItsTimeIsOneOfBoth(t *testing.T) {
	const answered, given = "c1 Done.", "c1 Sorry, this message could not be answered."
	for name, tt := range map[string]struct {
		known, take, bury time.Duration // how long each of these calls is on its way
		want              string
	}{
		"the answer was read before, and is taken after":     {take: 5 * time.Second, want: given},
		"the answer is taken before the message is given up": {known: 2 * time.Second, bury: 5 * time.Second, want: answered},
		"the message is given up first":                      {known: 5 * time.Second, want: given},
	} {
		for _, last := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " last ", last), func(t *testing.T) {
				j := &job{after: 10 * time.Minute}
				var slowly bool
				before := func(call string) {
					if pause := map[string]time.Duration{"known": tt.known, "take": tt.take, "bury": tt.bury}[call]; slowly {
						time.Sleep(pause)
					}
				}
				bubble(t, setup{ledger: hooked{durable(ledger.NewMemory()), before}, agent: j}, func(t *testing.T, r *rig) {
					is := is.New(t)
					begun := time.Now()
					r.Deliver(gateway, event("discord", "c1", "m1", "slow"))
					_, _, err := r.run(ledger.Wake, quarter)
					is.NoErr(err)
					r = r.coldStart(t)
					announced, err := r.ledger.ListPending(t.Context())
					is.NoErr(err)
					until := announced[0].Wait.Due
					is.True(until.Sub(begun) > 9*time.Minute)
					time.Sleep(time.Until(until) - time.Second)
					slowly = true
					_, err = r.invoke(part(j.key(0), 1, last, "Done."), quarter)
					is.NoErr(err)
					slowly = false
					for range 3 { // later runs find nothing else to tell
						r = r.coldStart(t)
						time.Sleep(time.Hour)
						_, _, err = r.run(ledger.Arm, quarter)
						is.NoErr(err)
					}
					want := []string{tt.want}
					if !last && tt.want == answered {
						want = []string{answered, given} // one part was there in time, the last was not
					}
					is.Equal(r.taken(), want)
					o, err := r.ledger.Overview(t.Context())
					is.NoErr(err)
					is.Equal(o.Pending, 0)
					dead, err := r.ledger.ListDead(t.Context())
					is.NoErr(err)
					is.Equal(len(dead), map[bool]int{true: 2, false: len(want) - 1}[tt.want == given])
				})
			})
		}
	}
}

// A process dies between what it keeps for the chat of a message that it is about to give up and that, and the answer has come.
func TestAnApologyOfAMessageThatWasAnsweredIsNotSaid(t *testing.T) {
	j := &job{after: 10 * time.Minute}
	var die func()
	before := func(call string) {
		if call == "bury" && die != nil {
			time.Sleep(5 * time.Second) // the answer is taken meanwhile
			die()
			time.Sleep(time.Minute)
		}
		if call == "known" && die != nil {
			time.Sleep(2 * time.Second)
		}
	}
	bubble(t, setup{ledger: hooked{durable(ledger.NewMemory()), before}, agent: j}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "slow"))
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		r = r.coldStart(t)
		announced, err := r.ledger.ListPending(t.Context())
		is.NoErr(err)
		time.Sleep(time.Until(announced[0].Wait.Due) - time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		die = cancel
		req, err := drain.ParseRequest([]byte(part(j.key(0), 1, true, "Done.")))
		is.NoErr(err)
		_, _ = r.drainer.Run(ctx, req)
		cancel()
		die = nil
		for range 3 {
			r = r.coldStart(t)
			time.Sleep(time.Hour)
			_, _, err = r.run(ledger.Arm, quarter)
			is.NoErr(err)
		}
		is.Equal(r.taken(), []string{"c1 Done."})
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.Equal(o.Pending, 0)
		dead, err := r.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.Equal(len(dead), 0)
	})
}

// What a chat is told without having asked comes in the order in which it arrived: says, and parts of the answers to any of its
// sessions, also where one of them has to be sent again.
func TestSaysAndLateAnswersOfAChatAreInOrder(t *testing.T) {
	j := &job{after: time.Hour}
	bubble(t, setup{change: anyChat, ledger: durable(ledger.NewMemory()), agent: j, env: map[string]string{"DORMOUSE_MERGE": "off"}}, func(t *testing.T, r *rig) {
		is := is.New(t)
		r.Deliver(gateway, event("discord", "c1", "m1", "slow"))
		other := event("discord", "c1", "m2", "slow")
		other.Source.UserID = "somebody else"
		r.Deliver(gateway, other)
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		var texts []string
		put := func(payload, text string) {
			req, err := drain.ParseRequest([]byte(payload))
			is.NoErr(err)
			_, err = r.ledger.PutSay(t.Context(), ledger.Say{Key: req.Say.Key, Body: req.Say.Body})
			is.NoErr(err)
			texts = append(texts, text)
			time.Sleep(time.Millisecond)
		}
		is.NoErr(r.RefuseAs(devconnector.Refusing{Class: "rate_limited", Op: "send", Count: 1, RetryAfter: 20 * time.Second}))
		for n := 1; n < 6; n++ {
			put(part(j.key(0), n, n == 5, fmt.Sprint("first ", n)), fmt.Sprint("first ", n))
			put(sayText(fmt.Sprint("k", n), "c1", fmt.Sprint("say ", n)), fmt.Sprint("say ", n))
			put(part(j.key(1), n, n == 5, fmt.Sprint("second ", n)), fmt.Sprint("second ", n))
		}
		r = r.coldStart(t)
		_, err = r.invoke(sayText("k0", "c1", "last of all"), quarter)
		is.NoErr(err)
		var want []string
		for _, text := range append(texts, "last of all") {
			want = append(want, "c1 "+text)
		}
		is.Equal(r.taken(), want)
	})
}

// The messages of a set end with the last part of its late answer, which replies to the one that leads them.
func TestALateAnswerToASetEndsAllOfIt(t *testing.T) {
	j := &job{after: 3 * time.Hour}
	anywhere := func(p *devconnector.Preset) { p.Window, p.WindowPerChat = 0, false }
	bubble(t, setup{ledger: durable(ledger.NewMemory()), agent: agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
		tn.Event.Text = "slow"
		return j.Answer(ctx, tn)
	}), change: anywhere}, func(t *testing.T, r *rig) {
		is := is.New(t)
		for n := range 3 {
			r.Deliver(gateway, event("discord", "c1", fmt.Sprint("m", n), fmt.Sprint("line ", n)))
		}
		_, _, err := r.run(ledger.Wake, quarter)
		is.NoErr(err)
		is.Equal(len(j.keys), 1)
		o, err := r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.Equal(o.Pending, 3)
		up := map[string]bool{}
		for _, mark := range r.reacts() {
			up[mark[len(mark)-2:]] = !strings.HasPrefix(mark, "-")
		}
		is.Equal(up, map[string]bool{"m0": false, "m1": false, "m2": true}) // the last one leads
		r = r.coldStart(t)
		time.Sleep(time.Hour)
		for n, last := range []bool{false, true} {
			_, err = r.invoke(part(j.key(0), n+1, last, fmt.Sprint("part ", n+1)), quarter)
			is.NoErr(err)
		}
		is.Equal(r.taken(), []string{"c1 part 1", "c1 part 2"})
		is.Equal(r.reacts()[len(r.reacts())-2:], []string{"-👀 of m2", "✅ of m2"})
		o, err = r.ledger.Overview(t.Context())
		is.NoErr(err)
		is.Equal(o.Pending, 0)
		rep, err := r.invoke(part(j.key(0), 3, true, "too late"), quarter)
		is.NoErr(err)
		is.Equal(rep.Dead, 1)
	})
}
