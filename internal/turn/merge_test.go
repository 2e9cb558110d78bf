package turn_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// merging runs a test with what waits in a session being one turn; turns are those that the agent was asked, by their texts.
func merging(t *testing.T, test func(t *testing.T, is *is.I, b *bench, turns *turnList)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, durable(ledger.NewMemory()))
		b.change = func(c *turn.Config) { c.Merge = true }
		turns := new(turnList)
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			turns.add(tn)
			return agent.Echo{}.Answer(ctx, tn)
		})
		test(t, is.New(t), b, turns)
	})
}

// turnList is the turns that an agent was asked.
type turnList struct {
	mu   sync.Mutex
	list []agent.Turn
}

func (l *turnList) add(t agent.Turn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, t)
}

func (l *turnList) all() []agent.Turn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

func (l *turnList) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = nil
}

// asked has the texts of turns, with a slash for a line feed.
func asked(turns *turnList) (texts []string) {
	for _, tn := range turns.all() {
		texts = append(texts, strings.ReplaceAll(tn.Event.Text, "\n", "/"))
	}
	return texts
}

// takeAll takes messages of chat c1 that the connector had buffered, by their texts.
func (b *bench) takeAll(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if err := b.current.Take(buffered("b-"+text, message("c1", "m-"+text, text))); err != nil {
			b.t.Fatal(err)
		}
	}
}

// unfinished are the entries that are open.
func (b *bench) unfinished() (list []ledger.Entry) {
	b.t.Helper()
	list, err := b.ledger.ListPending(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func TestWhatTheConnectorHadBufferedIsOneTurn(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		w := b.start()
		defer w.Close()
		b.takeAll("1", "2", "3", "4", "5")
		synctest.Wait()
		is.Equal(len(turns.all()), 0)                                  // it may not be all
		is.True(slices.Contains(b.wire.all(), "typing c1"))            // the chat sees at once that it was heard
		is.Equal(len(b.wire.seen()), 5)                                // each is acked once it is in the journal
		pass(150*time.Millisecond - time.Nanosecond)                   //
		is.Equal(len(turns.all()), 0)                                  //
		pass(time.Nanosecond)                                          //
		synctest.Wait()                                                //
		is.Equal(asked(turns), []string{"1/2/3/4/5"})                  //
		is.Equal(b.wire.seen()[5:], []string{"send c1 1\n2\n3\n4\n5"}) // one answer
		tn := turns.all()[0]
		is.Equal(len(tn.Events), 5)
		is.Equal(tn.Events[0].Text, "1")
		is.Equal(tn.Events[4].MessageID, "m-5")
		is.Equal(tn.Event.MessageID, "m-5") // the last one leads
		is.Equal(tn.Delivery.Key, turn.Key("inst", message("c1", "m-5", "5")))
		is.Equal(b.wire.outs[0].Action["reply_to"], "m-5")
		is.Equal(len(b.unfinished()), 0)
		is.True(!w.Busy())
		is.Equal(w.Counts().Finished, 5)
		is.Equal(w.Counts().Turns, 1)
		b.takeAll("3") // a member that comes again is known by its own key
		synctest.Wait()
		is.Equal(w.Counts().Duplicates, 1)
	})
}

func TestTheBacklogIsWaitedForASecondAtMost(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		w := b.start()
		defer w.Close()
		for n := range 13 { // as from a connector that hands out the next one once the last is acked
			b.takeAll(fmt.Sprint(n))
			pass(99 * time.Millisecond)
		}
		synctest.Wait()
		is.Equal(asked(turns)[0], "0/1/2/3/4/5/6/7/8/9/10")
		pass(time.Second)
		is.Equal(asked(turns)[1:], []string{"11/12"})
	})
}

func TestALiveMessageStartsAtOnce(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		release := make(chan struct{})
		inner := b.agent
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			defer func() { <-release }()
			return inner.Answer(ctx, tn)
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "one")))
		synctest.Wait()
		is.Equal(asked(turns), []string{"one"})
		for _, text := range []string{"two", "three", "four"} { // what comes while a turn runs is the next one
			is.NoErr(w.Take(message("c1", "m-"+text, text)))
		}
		b.takeAll("five")
		pass(time.Minute / 2)
		close(release)
		synctest.Wait()
		is.Equal(asked(turns), []string{"one", "two/three/four/five"})
	})
}

func TestWhatIsNotMergedAcross(t *testing.T) {
	text := func(id string) relay.Delivery { return message("c1", "m-"+id, id) }
	command := func(id string) relay.Delivery {
		d := text(id)
		d.Event.MessageType = "command"
		return d
	}
	of := func(user string, d relay.Delivery) relay.Delivery {
		d.Event.Source.UserID = user
		d.Event.Source.ThreadID = "t1" // a thread's session is shared
		return d
	}
	long := func(id string) relay.Delivery { return message("c1", "m-"+id, id+strings.Repeat(".", 50<<10)) }
	var many []relay.Delivery
	for n := range 30 {
		many = append(many, text(fmt.Sprint(n)))
	}
	tests := map[string]struct {
		come []relay.Delivery
		want []int // how many messages each turn has
	}{
		"commands":     {[]relay.Delivery{text("a"), text("b"), command("/c"), command("/d"), text("e"), text("f")}, []int{2, 0, 0, 2}},
		"a button":     {[]relay.Delivery{text("a"), text("b"), press("p", "", "yes"), text("c")}, []int{2, 0, 0}},
		"other users":  {[]relay.Delivery{of("ann", text("a")), of("ann", text("b")), of("bo", text("c")), of("ann", text("d"))}, []int{2, 0, 0}},
		"25 messages":  {many, []int{25, 5}},
		"128 KB":       {[]relay.Delivery{long("a"), long("b"), long("c")}, []int{2, 0}},
		"one too long": {[]relay.Delivery{text("a"), message("c1", "m-l", strings.Repeat(".", 130<<10)), text("b")}, []int{0, 0, 0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
				w := b.start()
				defer w.Close()
				for n, d := range tt.come {
					is.NoErr(w.Take(buffered(fmt.Sprint("b", n), d)))
				}
				pass(5 * time.Second)
				var got []int
				for _, tn := range turns.all() {
					got = append(got, len(tn.Events))
				}
				is.Equal(got, tt.want)
				is.Equal(w.Counts().Finished, len(tt.come))
			})
		})
	}
}

func TestWithoutADurableJournalNothingIsMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		b.change = func(c *turn.Config) { c.Merge = true }
		w := b.start()
		defer w.Close()
		b.takeAll("1", "2")
		synctest.Wait()
		is.Equal(w.Counts().Turns, 2)
	})
}

func TestWhatAnEarlierRunLeftIsOneTurn(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		w := b.start()
		w.StopStarting()
		var want []string
		for n := range 20 { // more than a session has in memory
			b.takeAll(fmt.Sprint(n))
			want = append(want, fmt.Sprint(n))
		}
		pass(time.Second)
		w.Close()
		is.Equal(len(turns.all()), 0)
		defer b.start().Close()
		pass(time.Second)
		is.Equal(asked(turns), []string{strings.Join(want, "/")})
	})
}

func TestASetThatFailsIsTriedOneByOne(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		inner := b.agent
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			answer, err := inner.Answer(ctx, tn)
			if strings.Contains(tn.Event.Text, "bad") {
				err = errors.New("500")
			}
			return answer, err
		})
		w := b.start()
		b.takeAll("1", "bad", "3")
		pass(time.Second)
		is.Equal(asked(turns), []string{"1/bad/3"})
		for _, e := range b.unfinished() {
			is.Equal(e.Attempts, 0) // nobody knows whose fault it was
			is.True(e.Set.Single)
		}
		pass(3 * time.Second) // as between attempts
		is.Equal(asked(turns), []string{"1/bad/3", "1", "bad"})
		w.Close() // also for the next run
		w = b.start()
		defer w.Close()
		pass(time.Minute)
		is.Equal(asked(turns), []string{"1/bad/3", "1", "bad", "bad", "bad", "3"})
		is.Equal(len(b.dead()), 1) // alone
		is.Equal(len(b.unfinished()), 0)
		b.takeAll("4", "5") // what comes later is merged
		pass(time.Second)
		is.Equal(asked(turns)[6:], []string{"4/5"})
	})
}

func (b *bench) dead() []ledger.Entry {
	b.t.Helper()
	list, err := b.ledger.ListDead(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func TestOneOfASetThatKillsTheProcessIsDeadAlone(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		change, inner := b.change, b.agent
		b.change = func(c *turn.Config) {
			change(c)
			c.AgentTimeout = 24 * time.Hour
		}
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			answer, err := inner.Answer(ctx, tn)
			if strings.Contains(tn.Event.Text, "bad") {
				<-ctx.Done()
				return agent.Answer{}, context.Cause(ctx)
			}
			return answer, err
		})
		w := b.start()
		b.takeAll("1", "2", "bad", "4", "5")
		pass(time.Second)
		for range 5 { // as often as a process has to die until it is known who kills it
			b.crash()
			w = b.start()
			pass(time.Second)
		}
		defer w.Close()
		pass(time.Minute)
		is.Equal(asked(turns), []string{"1/2/bad/4/5", "1", "2", "bad", "bad", "bad", "4", "5"})
		is.Equal(len(b.dead()), 1)
		is.Equal(len(b.unfinished()), 0)
	})
}

func TestSuspectsOfASetKeepTheirOrder(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		change, inner := b.change, b.agent
		b.change = func(c *turn.Config) {
			change(c)
			c.AgentTimeout = 24 * time.Hour
		}
		fails := true
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			answer, err := inner.Answer(ctx, tn)
			switch {
			case len(tn.Events) > 0: // its process dies
				<-ctx.Done()
				err = context.Cause(ctx)
			case fails:
				err, fails = errors.New("500"), false
			}
			return answer, err
		})
		b.start()
		b.takeAll("1", "2", "3")
		pass(time.Second)
		b.crash()
		w := b.start()
		defer w.Close()
		pass(time.Minute)
		is.Equal(asked(turns), []string{"1/2/3", "1", "1", "2", "3"})
		is.Equal(len(b.unfinished()), 0)
	})
}

func TestAnAbsentAgentLeavesTheSetAsItIs(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		away := true
		inner := b.agent
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			answer, err := inner.Answer(ctx, tn)
			if away {
				err = agent.ErrUnavailable
			}
			return answer, err
		})
		w := b.start()
		b.takeAll("1", "2", "3")
		pass(time.Second)
		b.takeAll("4") // the set does not change
		pass(10 * time.Minute)
		for _, e := range b.unfinished() {
			if e.Set.Leader != "" {
				is.True(e.Wait.Tries > 0) // each of the set says why it waits
			}
		}
		w.Close()
		away = false
		turns.clear()
		w = b.start() // nor for the next run
		pass(20 * time.Minute)
		is.Equal(asked(turns), []string{"1/2/3", "4"})
		is.Equal(len(b.unfinished()), 0)
		w.Close()
	})
}

func TestABrokenStreamOfASetIsToldToEach(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		n := 0
		b.wire.do = func(context.Context, relay.Outbound) (relay.Result, error) {
			n++
			return relay.Result{Success: true, MessageID: fmt.Sprint("s", n)}, nil
		}
		broken := errors.New("broken")
		b.agent = streams(func(_ context.Context, tn agent.Turn, say func(relay.Action) bool) error {
			turns.add(tn)
			if len(tn.Events) > 0 {
				say(send("I see"))
				return broken
			}
			say(send("to " + tn.Event.Text))
			return nil
		})
		w := b.start()
		defer w.Close()
		b.takeAll("1", "2")
		pass(time.Minute)
		is.Equal(asked(turns), []string{"1/2", "1", "2"})
		want := []agent.Sent{{Op: "send", MessageID: "s1", Outcome: "ok"}}
		is.Equal(turns.all()[1].Delivery.Sent, want)
		is.Equal(turns.all()[2].Delivery.Sent, want)
		is.Equal(b.wire.seen()[2:], []string{"send c1 I see", "send c1 to 1", "send c1 to 2"})
		is.Equal(len(b.unfinished()), 0)
	})
}

func TestADeathWithinASetsStreamIsToldToEach(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.AgentTimeout = 24 * time.Hour
		}
		b.agent = streams(func(ctx context.Context, tn agent.Turn, say func(relay.Action) bool) error {
			turns.add(tn)
			if len(tn.Events) > 0 {
				say(send("I see"))
				<-ctx.Done()
				return context.Cause(ctx)
			}
			say(send("to " + tn.Event.Text))
			return nil
		})
		b.start()
		b.takeAll("1", "2")
		pass(time.Second)
		b.crash()
		defer b.start().Close()
		pass(time.Minute)
		is.Equal(asked(turns), []string{"1/2", "1", "2"})
		is.Equal(len(turns.all()[1].Delivery.Sent), 1)
		is.Equal(len(turns.all()[2].Delivery.Sent), 1)
		is.Equal(len(b.unfinished()), 0)
	})
}

func TestAKeptAnswerOfASetIsSentOnAndFinishesAll(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			turns.add(tn)
			return agent.Answer{Actions: []relay.Action{send("a"), send("b")}}, nil
		})
		dies := true
		b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
			if dies && out.Action["content"] == "b" {
				return relay.Result{}, errors.New("no socket")
			}
			return relay.Result{Success: true, MessageID: "m"}, nil
		}
		w := b.start()
		b.takeAll("1", "2", "3")
		pass(time.Second)
		w.Close()
		is.Equal(len(b.unfinished()), 3)
		dies = false
		w = b.start()
		defer w.Close()
		pass(time.Second)
		is.Equal(len(turns.all()), 1)
		is.Equal(len(b.unfinished()), 0)
		var sends []string
		for _, line := range b.wire.seen() {
			if strings.HasPrefix(line, "send") {
				sends = append(sends, line)
			}
		}
		is.Equal(sends, []string{"send c1 a", "send c1 b", "send c1 b"}) // b never left
		is.Equal(w.Counts().Finished, 3)
	})
}

func TestADeadSetWithAnAnswerIsPutBackAsASet(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		refuses := true
		b.wire.do = func(context.Context, relay.Outbound) (relay.Result, error) {
			if refuses {
				return relay.Result{}, &relay.OpError{Message: "unsupported op"}
			}
			return relay.Result{Success: true, MessageID: "m"}, nil
		}
		w := b.start()
		b.takeAll("1", "2", "3")
		pass(time.Second)
		is.Equal(len(b.dead()), 3)
		is.Equal(w.Counts().Dead, 3)
		w.Close()
		refuses = false
		is.NoErr(b.ledger.RetryDead(t.Context(), b.dead()[1].Key, false))
		w = b.start()
		defer w.Close()
		pass(time.Second)
		is.Equal(len(turns.all()), 1) // without the agent
		is.Equal(len(b.unfinished()), 0)
		is.Equal(len(b.dead()), 0)
		is.Equal(b.wire.outs[1].Action["content"], "1\n2\n3")
	})
}

func TestAStopEndsASet(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			turns.add(tn)
			<-ctx.Done()
			return agent.Answer{}, context.Cause(ctx)
		})
		w := b.start()
		defer w.Close()
		b.takeAll("1", "2", "3")
		pass(time.Second)
		is.Equal(len(turns.all()), 1)
		is.NoErr(w.Take(message("c1", "m-stop", "/stop")))
		synctest.Wait()
		is.Equal(len(b.unfinished()), 0)
		is.Equal(len(b.dead()), 0)
		b.takeAll("4", "5")
		is.NoErr(w.Take(message("c1", "m-stop-2", "/stop"))) // before its turn begins
		pass(time.Second)
		is.Equal(len(turns.all()), 1)
		is.Equal(len(b.unfinished()), 0)
	})
}

func TestASetIsOneTurnForTheBudgets(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.MaxTurnsPerDay, c.Day, c.BotTurns, c.Chats = 2, b.lease.Grant().Day, 1, b.lease
		}
		w := b.start()
		defer w.Close()
		for n := range 3 {
			is.NoErr(w.Take(buffered(fmt.Sprint("b", n), bot(message("c1", fmt.Sprint("m", n), fmt.Sprint(n))))))
		}
		pass(time.Second)
		is.Equal(asked(turns), []string{"0/1/2"})
		is.Equal(w.Counts().Limited, 0)
		for n := range 3 {
			is.NoErr(w.Take(buffered(fmt.Sprint("c", n), message("c2", fmt.Sprint("n", n), fmt.Sprint(n)))))
		}
		pass(time.Second)
		is.Equal(asked(turns), []string{"0/1/2", "0/1/2"})
		view, err := b.ledger.Overview(t.Context())
		is.NoErr(err)
		is.Equal(view.Day.Turns, 2)
		for n := range 3 {
			is.NoErr(w.Take(buffered(fmt.Sprint("d", n), message("c3", fmt.Sprint("o", n), fmt.Sprint(n)))))
		}
		pass(time.Second)
		is.Equal(len(turns.all()), 2) // the day's are used up
		pass(24 * time.Hour)
		is.Equal(asked(turns)[2:], []string{"0/1/2"})
	})
}

func TestTheFilesOfASetComeWithItsTurn(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.Media = &shelf{files: map[string][]byte{"a": []byte("A"), "b": []byte("B")}}
		}
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", with(message("c1", "m1", "see"), own+"a"))))
		is.NoErr(w.Take(buffered("b2", with(message("c1", "m2", ""), own+"b"))))
		pass(time.Second)
		is.Equal(asked(turns), []string{"see"})
		media := turns.all()[0].Media
		is.Equal(len(media), 2)
		is.Equal(string(media[0].Data)+string(media[1].Data), "AB")
	})
}

func TestEachMessageOfASetIsMarked(t *testing.T) {
	merging(t, func(t *testing.T, is *is.I, b *bench, _ *turnList) {
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.Reactions = true
		}
		b.wire.ops = []string{"send", "react"}
		w := b.start()
		defer w.Close()
		b.takeAll("1", "2")
		pass(time.Second)
		is.Equal(b.wire.marks(), []string{"+👀 m-1", "+👀 m-2", "-👀 m-1", "+✅ m-1", "-👀 m-2", "+✅ m-2"})
	})
}

// pass lets time pass, and then all that can run.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// hesitant is a journal that takes now long and now not to read entries.
type hesitant struct {
	ledger.Lease
	rand *rand.Rand
	mu   *sync.Mutex
}

func (h hesitant) Load(ctx context.Context, keys ...string) ([]ledger.Entry, error) {
	h.mu.Lock()
	pause := time.Duration(h.rand.IntN(1000)) * time.Millisecond
	h.mu.Unlock()
	time.Sleep(pause)
	return h.Lease.Load(ctx, keys...)
}

// What a turn that is about to start reads of its session, and what is read because memory has room, keep their order.
func TestWhatIsReadForASetIsNotOvertaken(t *testing.T) {
	for seed := range uint64(20) {
		merging(t, func(t *testing.T, is *is.I, b *bench, turns *turnList) {
			inner := b.change
			b.change = func(c *turn.Config) {
				if inner != nil {
					inner(c)
				}
				c.Journal = hesitant{b.lease, rand.New(rand.NewPCG(seed, 1)), new(sync.Mutex)}
			}
			w := b.start()
			w.StopStarting()
			const chats = 4
			for n := range 40 * chats {
				text := fmt.Sprintf("%03d%s", n, strings.Repeat(" ", 20_000))
				is.NoErr(w.Take(buffered(fmt.Sprint("b-", n), message(fmt.Sprint("c", n%chats), fmt.Sprint("m-", n), text))))
			}
			pass(time.Second)
			w.Close()
			defer b.start().Close()
			pass(5 * time.Minute)
			numbers := map[string][]string{}
			for _, tn := range turns.all() {
				chat := tn.Event.Source.ChatID
				numbers[chat] = append(numbers[chat], strings.Fields(tn.Event.Text)...)
			}
			for _, list := range numbers {
				is.Equal(len(list), 40)
				is.True(slices.IsSorted(list))
			}
		})
	}
}
