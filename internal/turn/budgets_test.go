package turn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// budgets has a bench's runs go by budgets, and by what the ledger remembers.
func (b *bench) budgets(bots, day int) *strings.Builder {
	log := &strings.Builder{}
	b.change = func(c *turn.Config) {
		c.Chats, c.BotTurns, c.MaxTurnsPerDay, c.Day = b.lease, bots, day, b.lease.Grant().Day
		c.Log = slog.New(slog.NewTextHandler(&guarded{b: log}, nil))
	}
	return log
}

type guarded struct {
	mu sync.Mutex
	b  *strings.Builder
}

func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(p)
}

func bot(d relay.Delivery) relay.Delivery {
	d.Event.Source.IsBot = true
	return d
}

// sends are the texts that were sent, by chat, in order.
func (b *bench) sends(chat string) (texts []string) {
	for _, line := range b.wire.all() {
		if text, ok := strings.CutPrefix(line, "send "+chat+" "); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

// remembered is what the ledger remembers of a chat.
func (b *bench) remembered(chat string) ledger.Chat {
	name := ledger.ChatName{Platform: "discord", ID: chat}
	found, err := b.lease.Chats(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return found[name]
}

// until sleeps until a moment of the bubble's day; days is how many days later.
func until(days int, clock string) {
	at, err := time.Parse("15:04:05", clock)
	if err != nil {
		panic(err)
	}
	now := time.Now().UTC()
	day := now.Truncate(24 * time.Hour).Add(time.Duration(days) * 24 * time.Hour)
	time.Sleep(time.Until(day.Add(at.Sub(at.Truncate(24 * time.Hour)))))
}

func TestBotsOverTheirBudgetAreNotAnswered(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		log := b.budgets(3, 0)
		w := b.start()
		for i := range 5 {
			is.NoErr(w.Take(buffered(fmt.Sprint("b", i), bot(message("c1", fmt.Sprint("m", i), fmt.Sprint("bot ", i))))))
			synctest.Wait()
		}
		is.NoErr(w.Take(buffered("p1", message("c1", "p1", "a person"))))
		is.NoErr(w.Take(buffered("o1", bot(message("c2", "o1", "another chat")))))
		synctest.Wait()
		is.Equal(b.sends("c1"), []string{"bot 0", "bot 1", "bot 2", "a person"}) // people in the same chat are answered
		is.Equal(b.sends("c2"), []string{"another chat"})
		c := w.Counts()
		is.Equal(c.Limited, 2)
		is.Equal(c.Dead, 0)
		is.Equal(c.Turns, 5)
		is.True(!w.Busy())
		for _, ack := range []string{"b0", "b4", "p1", "o1"} {
			is.True(slices.Contains(b.wire.all(), "ack "+ack)) // finished
		}
		is.Equal(strings.Count(log.String(), "DORMOUSE_BOT_TURNS"), 1)
		time.Sleep(2 * time.Second)
		w.Close()
		dead, err := b.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.Equal(len(dead), 0)
		pending, err := b.ledger.ListPending(t.Context())
		is.NoErr(err)
		is.Equal(len(pending), 0)
	})
}

func TestABotsBudgetHoldsOverRunsAndIsFullAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		log := b.budgets(2, 0)
		next := 0
		take := func(w *turn.Worker) {
			next++
			is.NoErr(w.Take(bot(message("c1", fmt.Sprint("m", next), fmt.Sprint(next)))))
			synctest.Wait()
		}
		w := b.start()
		take(w)
		w.Close()
		for range 3 { // each run a process of its own, within the hour
			w = b.startWithin(time.Minute)
			take(w)
			w.Close()
		}
		is.Equal(b.sends("c1"), []string{"1", "2"})
		is.Equal(strings.Count(log.String(), "DORMOUSE_BOT_TURNS"), 1) // a line an hour and chat, not one a process
		w = b.startWithin(57 * time.Minute)                            // an hour after the first
		take(w)
		take(w)
		take(w)
		is.Equal(b.sends("c1"), []string{"1", "2", "5", "6"})
		is.Equal(strings.Count(log.String(), "DORMOUSE_BOT_TURNS"), 2)
		is.Equal(b.remembered("c1").BotTurns, 2)
		w.Close()
	})
}

func TestABotsFurtherAttemptsTakeNoTurnOfIts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.budgets(1, 0)
		tries := 0
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			if tries++; tries < 3 {
				return agent.Answer{}, errors.New("boom")
			}
			return agent.Answer{Actions: []relay.Action{send(tn.Event.Text)}}, nil
		})
		w := b.start()
		is.NoErr(w.Take(bot(message("c1", "m1", "hello"))))
		time.Sleep(5 * time.Second) // the second attempt has failed, too
		w.Close()
		w = b.startWithin(time.Minute)
		synctest.Wait()
		is.Equal(b.sends("c1"), []string{"hello"})
		w.Close()
	})
}

func TestNoneOfBotsAndAnyNumber(t *testing.T) {
	for name, tt := range map[string]struct{ budget, answered int }{"none": {-1, 0}, "any number": {0, 50}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := newBench(t, durable(ledger.NewMemory()))
				b.budgets(tt.budget, 0)
				w := b.start()
				for i := range 50 {
					is.NoErr(w.Take(bot(message("c1", fmt.Sprint("m", i), "x"))))
				}
				synctest.Wait()
				is.Equal(len(b.sends("c1")), tt.answered)
				is.Equal(w.Counts().Limited, 50-tt.answered)
				w.Close()
			})
		})
	}
}

func TestBotsSideBySideShareTheirChatsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.budgets(5, 0)
		w := b.start()
		for i := range 30 {
			d := bot(message("c1", fmt.Sprint("m", i), "x"))
			d.Event.Source.UserID = fmt.Sprint("bot-", i) // each a session of its own
			is.NoErr(w.Take(d))
		}
		synctest.Wait()
		is.Equal(len(b.sends("c1")), 5)
		is.Equal(w.Counts().Limited, 25)
		w.Close()
	})
}

func TestTheDaysBudgetPutsOffToTheNextDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		log := b.budgets(0, 2)
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.GiveUpAfter = 72 * time.Hour
		}
		w := b.start()
		for i := range 6 {
			chat := fmt.Sprint("c", i%3)
			is.NoErr(w.Take(buffered(fmt.Sprint("b", i), message(chat, fmt.Sprint("m", i), fmt.Sprint("text ", i)))))
			synctest.Wait()
		}
		is.Equal(b.sends("c0"), []string{"text 0", notice}) // its second message waits
		is.Equal(b.sends("c1"), []string{"text 1", notice})
		is.Equal(b.sends("c2"), []string{notice}) // one a chat and day
		for i := range 6 {
			is.True(slices.Contains(b.wire.all(), fmt.Sprint("ack b", i))) // what waits is kept
		}
		c := w.Counts()
		is.Equal(c.Turns, 2)
		is.Equal(c.Postponed, 3) // of each session the first
		is.True(!w.Busy())       // going idle does not wait for it
		is.Equal(c.Left, 4)
		midnight := time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		is.True(c.Due.Equal(midnight)) // the next sweep
		is.Equal(strings.Count(log.String(), "budget of turns is used up"), 1)
		w.Close()

		w = b.startWithin(time.Hour) // another run on the same day: nothing runs, nobody is told again
		is.NoErr(w.Take(message("c2", "m9", "text 9")))
		synctest.Wait()
		is.Equal(w.Counts().Turns, 0)
		is.True(!w.Busy())
		is.Equal(b.sends("c2"), []string{notice})
		w.Close()

		until(1, "00:00:01")
		w = b.startWithin(time.Minute)
		synctest.Wait()
		is.Equal(b.sends("c2"), []string{notice, "text 2", notice}) // the oldest go first
		is.Equal(b.sends("c0"), []string{"text 0", notice, "text 3"})
		is.Equal(b.sends("c1"), []string{"text 1", notice, notice}) // and the others are told of another day
		w.Close()
		until(1, "00:00:01")
		w = b.startWithin(time.Minute)
		synctest.Wait()
		is.Equal(b.sends("c1")[3:], []string{"text 4"})
		is.Equal(b.sends("c2")[3:], []string{"text 5", notice}) // its third is behind
		w.Close()
		until(1, "00:00:01")
		w = b.startWithin(time.Minute)
		synctest.Wait()
		is.Equal(b.sends("c2")[5:], []string{"text 9"})
		w.Close()
	})
}

// The notice goes the way of what is refused for now: it is sent again, also by later runs, and no chat gets it twice.
func TestTheDaysNoticeIsToldOnceTheChatTakesIt(t *testing.T) {
	for _, again := range []bool{false, true} { // another process tells it
		for refused, want := range map[time.Duration]time.Duration{
			20 * time.Second: 31 * time.Second, // 1, 2, 4, 8, 16 s
			5 * time.Minute:  13 * time.Minute, // 100 s, 10 minutes
			25 * time.Minute: 40 * time.Minute,
		} {
			t.Run(fmt.Sprint(refused, ", another process: ", again), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					is := is.New(t)
					b := newBench(t, durable(ledger.NewMemory()))
					b.budgets(0, 1)
					w := b.startWithin(time.Hour)
					begun := time.Now()
					var told atomic.Int32
					b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
						if out.Action["content"] == notice {
							if time.Since(begun) < refused {
								return relay.Result{}, &relay.OpError{Message: "whatsapp is not connected"}
							}
							told.Add(1)
						}
						return relay.Result{Success: true, MessageID: "x"}, nil
					}
					is.NoErr(w.Take(message("c1", "m1", "one")))
					synctest.Wait()
					is.NoErr(w.Take(message("c1", "m2", "two")))
					is.NoErr(w.Take(message("c1", "m3", "three"))) // behind it
					if again && refused > 100*time.Second {
						time.Sleep(3 * time.Minute)
						w.Close()
						w = b.startWithin(2 * time.Minute)
					}
					time.Sleep(time.Until(begun.Add(want)))
					synctest.Wait()
					is.Equal(told.Load(), int32(1))
					time.Sleep(3 * time.Hour)
					is.Equal(told.Load(), int32(1))
					w.Close()
				})
			})
		}
	}
}

const notice = "That is all for today: what you write now is answered after midnight UTC."

func TestTheOldestGoFirstWhicheverSessionAsksFirst(t *testing.T) {
	for n := range 20 {
		synctest.Test(t, func(t *testing.T) {
			is := is.New(t)
			b := newBench(t, durable(ledger.NewMemory()))
			b.budgets(0, 1)
			w := b.start()
			for i := range 30 {
				is.NoErr(w.Take(message(fmt.Sprint("c", i), fmt.Sprint("m", i), "x")))
			}
			synctest.Wait()
			change := b.change
			b.change = func(c *turn.Config) {
				change(c)
				c.MaxTurnsPerDay = 11
			}
			if n%2 == 0 { // another process, or the same one that is awake at midnight
				w.Close()
				until(1, "00:00:01")
				w = b.startWithin(time.Minute)
			} else {
				w.Close()
				w = b.startWithin(time.Minute) // ten more today
				synctest.Wait()
				until(1, "00:00:01")
			}
			synctest.Wait()
			for i := range 30 {
				answered := slices.Contains(b.sends(fmt.Sprint("c", i)), "x")
				limit := 12
				if n%2 == 1 {
					limit = 22 // 1, 10 and 11
				}
				is.Equal(answered, i < limit)
			}
			w.Close()
		})
	}
}

func TestAttemptsCountForTheDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.budgets(0, 2)
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) { return agent.Answer{}, errors.New("boom") })
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		time.Sleep(time.Minute) // the third attempt would be after 32 s
		c := w.Counts()
		is.Equal(c.Turns, 2)
		is.Equal(c.Dead, 0)
		is.Equal(c.Postponed, 1)
		w.Close()
		o, err := b.ledger.Overview(t.Context())
		is.NoErr(err)
		is.Equal(o.Day.Turns, 2)
		is.Equal(o.Day.Most, 2)
		is.Equal(o.Day.Date, ledger.DateOf(time.Now()))
	})
}

func TestWhatWaitsForTheDayGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.budgets(0, 1)
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.GiveUpAfter, c.Apology = 3*time.Hour, "sorry"
		}
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "one")))
		synctest.Wait()
		is.NoErr(w.Take(message("c1", "m2", "two")))
		time.Sleep(3*time.Hour - time.Second)
		is.Equal(b.sends("c1"), []string{"one", notice})
		time.Sleep(2 * time.Second)
		is.Equal(b.sends("c1"), []string{"one", notice, "sorry"})
		w.Close()
		dead, err := b.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.Equal(len(dead), 1)
		is.True(strings.Contains(dead[0].Error, "DORMOUSE_MAX_TURNS_PER_DAY"))
	})
}

func TestWithoutATableWhatIsOverTheDayStaysWithTheConnector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		b.budgets(0, 1)
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.Apology = "sorry"
		}
		w := b.start()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "one"))))
		synctest.Wait()
		is.NoErr(w.Take(buffered("b2", message("c2", "m2", "two"))))
		is.NoErr(w.Take(message("c3", "m3", "three"))) // live: nobody sends it again
		synctest.Wait()
		is.True(slices.Contains(b.wire.all(), "ack b1"))
		is.True(!slices.Contains(b.wire.all(), "ack b2"))
		is.Equal(b.sends("c2"), []string{notice})
		is.Equal(b.sends("c3"), []string{"sorry"})
		is.True(!w.Busy())
		c := w.Counts()
		is.Equal(c.Left, 1)
		is.True(c.Due.Equal(time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)))
		w.Close()
		until(1, "00:00:01")
		w = b.startWithin(time.Minute)
		is.NoErr(w.Take(buffered("b2", message("c2", "m2", "two")))) // it comes again
		synctest.Wait()
		is.Equal(b.sends("c2"), []string{notice, "two"})
		is.True(slices.Contains(b.wire.all(), "ack b2"))
		w.Close()
	})
}

// counting is a lease that fails the first starts of a day's turn: before they are made, or after.
type counting struct {
	durableLease
	fails *atomic.Int32
	made  bool
}

func (c counting) StartCounted(ctx context.Context, key string, s ledger.State, d ledger.Day) error {
	if c.fails.Add(-1) < 0 {
		return c.durableLease.StartCounted(ctx, key, s, d)
	}
	if c.made {
		if err := c.durableLease.StartCounted(ctx, key, s, d); err != nil {
			return err
		}
	}
	return errors.New("the answer is lost")
}

func TestATurnIsCountedOnceHoweverOftenItsStartIsWritten(t *testing.T) {
	for _, made := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			is := is.New(t)
			var fails atomic.Int32
			fails.Store(2)
			b := newBench(t, ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease {
				return counting{inPages(l), &fails, made}
			}))
			b.budgets(0, 2)
			w := b.start()
			is.NoErr(w.Take(message("c1", "m1", "one")))
			is.NoErr(w.Take(message("c2", "m2", "two")))
			time.Sleep(10 * time.Second)
			is.Equal(b.sends("c1"), []string{"one"})
			is.Equal(b.sends("c2"), []string{"two"})
			w.Close()
			o, err := b.ledger.Overview(t.Context())
			is.NoErr(err)
			is.Equal(o.Day.Turns, 2)
		})
	}
}

// What waits for the next day is left alone by another run of the same day, unless its budget has been raised.
func TestARaisedBudgetFreesWhatWaitsForTheNextDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.budgets(0, 1)
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "one")))
		is.NoErr(w.Take(message("c2", "m2", "two")))
		time.Sleep(time.Second)
		is.Equal(w.Counts().Postponed, 1)
		w.Close()

		w = b.startWithin(time.Minute)
		time.Sleep(time.Second)
		is.Equal(w.Counts().Postponed, 0) // it has been put off already
		is.Equal(w.Counts().Turns, 0)
		is.Equal(w.Counts().Left, 1)
		w.Close()

		b.budgets(0, 2)
		w = b.startWithin(time.Minute)
		time.Sleep(time.Second)
		is.Equal(w.Counts().Turns, 1)
		is.Equal(b.sends("c1"), []string{"one"})
		is.Equal(b.sends("c2"), []string{notice, "two"})
		w.Close()
	})
}

func TestABotsMessagesThatAreOneTurnAreEachLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.budgets(-1, 0)
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.Merge = true
		}
		w := b.start()
		for i := range 3 {
			is.NoErr(w.Take(buffered(fmt.Sprint("b", i), bot(message("c1", fmt.Sprint("m", i), "x")))))
		}
		time.Sleep(2 * time.Second)
		is.Equal(w.Counts().Limited, 3)
		is.Equal(len(b.unfinished()), 0)
		w.Close()
	})
}

func TestARouteIsRememberedAndRewrittenOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		noted := 0
		b := newBench(t, ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease {
			return notes{inPages(l), &noted}
		}))
		b.budgets(0, 0)
		n := 0
		say := func(change func(*relay.Source)) {
			t.Helper()
			n++
			d := message("c1", fmt.Sprint("m", n), "x")
			change(&d.Event.Source)
			is.NoErr(b.current.Take(d))
			synctest.Wait()
		}
		nothing := func(*relay.Source) {}
		w := b.start()
		say(nothing)
		var r turn.Route
		is.NoErr(json.Unmarshal(b.remembered("c1").Route, &r))
		is.Equal(r, turn.Route{Platform: "discord", ChatID: "c1", ChatType: "group", ScopeID: "g1", UserID: "u1"})
		is.Equal(noted, 1)
		say(nothing)
		say(func(s *relay.Source) { s.UserID, s.ThreadID = "u2", "t7" }) // a thread is new
		is.Equal(noted, 2)
		say(func(s *relay.Source) { s.UserID, s.ThreadID = "u3", "t8" }) // another one is not
		say(func(s *relay.Source) { s.ScopeID, s.ThreadID = "", "" })    // what is left out stays
		is.Equal(noted, 2)
		w.Close()
		w = b.startWithin(time.Minute)
		say(nothing)
		is.Equal(noted, 2) // another process reads first
		say(func(s *relay.Source) { s.ScopeID = "g2" })
		is.Equal(noted, 3)
		is.NoErr(json.Unmarshal(b.remembered("c1").Route, &r))
		is.Equal(r.ScopeID, "g2")
		time.Sleep(24 * time.Hour)
		say(func(s *relay.Source) { s.ScopeID = "g2" })
		is.Equal(noted, 4) // so that it is not forgotten while somebody talks
		w.Close()
	})
}

// full is a lease whose table takes nothing any more.
type full struct{ durableLease }

var errFull = errors.New("the table is away")

func (full) Receive(context.Context, ...ledger.Entry) ([]ledger.State, error) { return nil, errFull }

func (full) StartCounted(context.Context, string, ledger.State, ledger.Day) error { return errFull }

func TestALiveMessageThatNothingKeepsIsCountedAndNotHeldUpByThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return full{inPages(l)} }))
		log := b.budgets(0, 1)
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.Apology = "sorry"
		}
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "one")))
		synctest.Wait() // no time passes
		is.Equal(b.sends("c1"), []string{"one"})
		is.NoErr(w.Take(message("c2", "m2", "two")))
		time.Sleep(time.Minute)
		is.Equal(b.sends("c2"), []string{"sorry"}) // it cannot wait, and its chat is told
		is.Equal(w.Counts().Turns, 1)
		is.Equal(w.Counts().Dead, 1)
		is.True(strings.Contains(log.String(), "could not be counted"))
		w.Close()
	})
}

// notes counts notes of chats.
type notes struct {
	durableLease
	n *int
}

func (l notes) NoteChats(ctx context.Context, list map[ledger.ChatName]ledger.Chat) error {
	*l.n++
	return l.durableLease.NoteChats(ctx, list)
}

func TestAChatThatRefusesAReactForGoodGetsNoneForADay(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		rest bool
	}{
		"permanent": {&relay.OpError{Message: "Missing Permissions"}, true},
		"declined":  {&relay.OpError{Code: "egress_declined"}, true},
		"transient": {&relay.OpError{Message: "Too Many Requests: retry after 3"}, false},
		"unclear":   {&relay.OpError{Message: "REACTION_INVALID"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := newBench(t, durable(ledger.NewMemory()))
				b.budgets(0, 0)
				b.wire.ops = []string{"send", "typing", "react"}
				reacts := 0
				b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
					if out.Action.Op() == "react" {
						reacts++
						return relay.Result{}, tt.err
					}
					return relay.Result{Success: true, MessageID: "m"}, nil
				}
				b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
					return agent.Answer{Actions: []relay.Action{
						{"op": "react", "message_id": tn.Event.MessageID, "emoji": "👍"}, send(tn.Event.Text),
					}}, nil
				})
				n := 0
				say := func() {
					n++
					is.NoErr(b.current.Take(message("c1", fmt.Sprint("m", n), fmt.Sprint(n))))
					synctest.Wait()
				}
				w := b.start()
				say()
				is.Equal(reacts, 1)
				say()
				w.Close()
				w = b.startWithin(time.Hour) // another process
				say()
				is.NoErr(w.Take(message("c2", "other", "x"))) // another chat
				synctest.Wait()
				if tt.rest {
					is.Equal(reacts, 2)
				} else {
					is.Equal(reacts, 4)
				}
				before := reacts
				time.Sleep(24 * time.Hour)
				say()
				is.Equal(reacts, before+1) // a day is over
				w.Close()
				if tt.err.(*relay.OpError).Code == "" { // what is declined is not answered at all
					is.Equal(b.sends("c1"), []string{"1", "2", "3", "4"})
				}
			})
		})
	}
}

func TestAChatIsToldOnceAnHourOfWhatWasGivenUpInWhateverProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.budgets(0, 0)
		change := b.change
		b.change = func(c *turn.Config) {
			change(c)
			c.MaxAttempts, c.Apology = 1, "sorry"
		}
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) { return agent.Answer{}, errors.New("boom") })
		for i, sorry := range []int{1, 1, 1, 2, 2} { // each run a process of its own, after 0, 20, 40, 60 and 80 minutes
			w := b.startWithin(20 * time.Minute)
			is.NoErr(w.Take(message("c1", fmt.Sprint("m", i), "x")))
			synctest.Wait()
			w.Close()
			is.Equal(len(b.sends("c1")), sorry)
		}
	})
}

// strange is a lease whose chats cannot be read or written.
type strange struct{ durableLease }

func (strange) Chats(context.Context, ...ledger.ChatName) (map[ledger.ChatName]ledger.Chat, error) {
	return nil, errors.New("the table is away")
}

func (strange) NoteChats(context.Context, map[ledger.ChatName]ledger.Chat) error {
	return errors.New("the table is away")
}

func TestAChatThatCannotBeRememberedIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease { return strange{inPages(l)} }))
		log := b.budgets(1, 0)
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "one")))
		is.NoErr(w.Take(bot(message("c1", "m2", "two"))))
		is.NoErr(w.Take(bot(message("c1", "m3", "three"))))
		synctest.Wait()
		is.Equal(b.sends("c1"), []string{"one", "two"}) // a bot's budget holds in this run
		w.Close()
		is.True(strings.Contains(log.String(), "what is remembered of chats cannot be read"))
		is.True(strings.Contains(log.String(), "could not be written down"))
	})
}

// Nor does a further try in another process, of a message whose agent was away: that is no attempt.
func TestABotsMessageKeepsItsTurnInAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.budgets(1, 0)
		away := true
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			if away {
				return agent.Answer{}, agent.ErrUnavailable
			}
			return agent.Answer{Actions: []relay.Action{send(tn.Event.Text)}}, nil
		})
		w := b.start()
		is.NoErr(w.Take(bot(message("c1", "m1", "hello"))))
		time.Sleep(time.Second)
		w.Close()
		away = false
		w = b.startWithin(50 * time.Minute)
		time.Sleep(30 * time.Minute)
		is.Equal(b.sends("c1"), []string{"hello"})
		is.Equal(w.Counts().Limited, 0)
		w.Close()
	})
}

// A bot is not told of the day's budget.
func TestABotIsNotToldOfTheDaysBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.budgets(0, 1)
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "one")))
		synctest.Wait()
		is.NoErr(w.Take(bot(message("c2", "m2", "two"))))
		synctest.Wait()
		is.Equal(w.Counts().Postponed, 1)
		is.Equal(b.sends("c2"), nil)
		is.NoErr(w.Take(message("c3", "m3", "three")))
		synctest.Wait()
		is.Equal(b.sends("c3"), []string{notice})
		w.Close()
	})
}
