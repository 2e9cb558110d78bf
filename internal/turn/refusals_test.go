package turn_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// try is one frame that reached the connector.
type try struct {
	at   time.Duration
	text string
	id   string
}

// refuses makes the connector answer with err as long as it says so, and returns what was sent.
func (b *bench) refuses(err func(n int, out relay.Outbound) error) func() []try {
	var tries []try
	begun := time.Now().Add(time.Hour) // start sleeps
	b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
		b.wire.mu.Lock()
		n := len(tries)
		text, _ := out.Action["content"].(string)
		tries = append(tries, try{time.Since(begun), text, out.RequestID})
		b.wire.mu.Unlock()
		if err := err(n, out); err != nil {
			return relay.Result{}, err
		}
		return relay.Result{Success: true, MessageID: fmt.Sprint("m", n)}, nil
	}
	return func() []try {
		b.wire.mu.Lock()
		defer b.wire.mu.Unlock()
		return slices.Clone(tries)
	}
}

func flood(seconds float64) error {
	return &relay.OpError{Code: "rate_limited", Message: "Too Many Requests", RetryAfter: seconds}
}

func down() error { return &relay.OpError{Message: "whatsapp is not connected (state: close)"} }

func texts(tries []try) (list []string) {
	for _, t := range tries {
		list = append(list, fmt.Sprintf("%v %s", t.at, t.text))
	}
	return list
}

func TestARefusedPartIsSentAgainInItsOrder(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		tries := b.refuses(func(n int, out relay.Outbound) error {
			if n == 1 {
				return flood(1)
			}
			return nil
		})
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			return agent.Answer{Actions: []relay.Action{send(tn.Event.Text + "1"), send(tn.Event.Text + "2"), send(tn.Event.Text + "3")}}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "a"))))
		synctest.Wait()
		is.True(w.Busy()) // what is due soon is work
		other := message("c1", "m2", "b")
		other.Event.Source.UserID = "u2" // of another session in the same chat
		is.NoErr(w.Take(other))
		is.NoErr(w.Take(message("c1", "m3", "c"))) // of the same
		is.NoErr(w.Take(message("c2", "m4", "d"))) // of another chat
		synctest.Wait()
		is.Equal(texts(tries()), []string{"0s a1", "0s a2", "0s d1", "0s d2", "0s d3"})
		idle(w)
		all := tries()
		is.Equal(all[5].text, "a2") // once the pause is over, before the next part and before later messages
		is.Equal(all[5].at, time.Second)
		is.Equal(all[5].id, all[1].id)
		var own []string
		for _, try := range all {
			if try.text[0] == 'a' || try.text[0] == 'c' {
				own = append(own, try.text)
			}
		}
		is.Equal(own, []string{"a1", "a2", "a2", "a3", "c1", "c2", "c3"})
		is.Equal(w.Counts().Finished, 4)
		is.Equal(w.Counts().Retried, 1)
		is.Equal(w.Counts().Refused, map[action.Class]int{action.Transient: 1})
	})
}

func TestARefusalIsTriedAgainWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		tries := b.refuses(func(int, relay.Outbound) error { return down() })
		w := b.start()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
		idle(w)
		want := []string{"0s x", "1s x", "3s x", "7s x", "15s x", "31s x", "1m3s x"}
		is.Equal(texts(tries()), want) // the next is a minute later: left
		c := w.Counts()
		is.Equal(c.Left, 1)
		is.Equal(c.Waiting, 1)
		is.Equal(time.Until(c.Due), time.Minute)
		w.Close()
		is.Equal(w.Counts().Left, 1)
		left, err := ledgertest.Recover(t.Context(), b.lease)
		is.NoErr(err)
		is.Equal(left[0].Wait.Tries, 7)
		is.True(strings.Contains(left[0].Error, "not connected"))

		w = b.start() // an hour later it is tried at once, and has to wait longer
		idle(w)
		is.Equal(len(tries()), 8)
		is.Equal(time.Until(w.Counts().Due), 2*time.Minute)
		w.Close()
		for range 23 {
			w = b.start()
			idle(w)
			w.Close()
		}
		is.Equal(w.Counts().Dead, 1) // a day after the first refusal
		dead, err := b.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.True(strings.Contains(dead[0].Error, "whatsapp is not connected (state: close)"))
	})
}

func TestALaterRunTriesWhatWaitsThenAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		refused := true
		tries := b.refuses(func(int, relay.Outbound) error {
			if refused {
				return flood(2 * 3600)
			}
			return nil
		})
		w := b.start()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
		synctest.Wait()
		is.True(!w.Busy())
		w.Close()
		refused = false

		w = b.start()                                      // an hour later
		is.NoErr(w.Take(message("c1", "m2", "y")))         // the connector asked for the pause: this does not end it
		is.NoErr(w.Take(message("c2", "m3", "elsewhere"))) // goes on
		synctest.Wait()
		is.Equal(len(tries()), 2)
		is.True(!w.Busy()) // y is behind x
		is.Equal(w.Counts().Left, 2)
		time.Sleep(time.Until(w.Counts().Due) - 46*time.Second)
		synctest.Wait()
		is.True(!w.Busy())
		time.Sleep(time.Second)
		synctest.Wait()
		is.True(w.Busy()) // due within 45 s
		idle(w)
		all := tries()
		is.Equal(texts(all[2:]), []string{"2h0m0s x", "2h0m0s y"})
		is.Equal(all[2].id, all[0].id)
		w.Close()
	})
}

func TestAMessageOfTheChatEndsAPauseThatNobodyAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		forgotten := true
		tries := b.refuses(func(int, relay.Outbound) error {
			if forgotten {
				return &relay.OpError{Message: "chat not routed to this profile"}
			}
			return nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
		idle(w)
		forgotten = false
		n := len(tries())
		other := message("c1", "m2", "y")
		other.Event.Source.UserID = "u2"
		is.NoErr(w.Take(other))
		synctest.Wait()
		is.Equal(texts(tries()[n:]), []string{"1m3s x", "1m3s y"})
		is.True(!w.Busy())
		is.Equal(w.Counts().Left, 0)
	})
}

func TestWhatNeverPassesMakesItsMessageDead(t *testing.T) {
	tests := map[string]struct {
		err   error
		sends []string
	}{
		"unsupported":      {&relay.OpError{Message: "unsupported op: send"}, []string{"*one*", "two"}},
		"markup":           {&relay.OpError{Message: "can't parse entities"}, []string{"*one*", "one", "two"}},
		"declined":         {&relay.OpError{Code: "egress_declined"}, []string{"*one*"}},
		"nobody knows why": {&relay.OpError{Message: "no"}, slices.Concat(slices.Repeat([]string{"*one*"}, 7), []string{"two"})},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				tries := b.refuses(func(_ int, out relay.Outbound) error {
					if text := out.Action["content"].(string); strings.Contains(text, "one") {
						return tt.err
					}
					return nil
				})
				b.agent = says(send("*one*"), send("two"))
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
				idle(w)
				var sends []string
				for _, try := range tries() {
					sends = append(sends, try.text)
				}
				is.Equal(sends, tt.sends)
				is.Equal(w.Counts().Dead, 1)
				dead, err := b.ledger.ListDead(t.Context())
				is.NoErr(err)
				is.Equal(len(dead), 1)
				shown, err := b.ledger.ShowDead(t.Context(), dead[0].Key)
				is.NoErr(err)
				is.Equal(len(shown.Actions), 2) // the answer is kept
			})
		})
	}
}

func TestMarkupIsSentOnceAsPlainText(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		tries := b.refuses(func(n int, _ relay.Outbound) error {
			if n == 0 {
				return &relay.OpError{Message: "Bad Request: can't parse entities: Can't find end of the entity"}
			}
			return nil
		})
		b.agent = says(send("see *this_one* and [that](https://x.example/a_b)"))
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
		idle(w)
		is.Equal(texts(tries()), []string{
			"0s see *this_one* and [that](https://x.example/a_b)", "0s see this＿one and that (https://x.example/a%5Fb)",
		})
		is.Equal(tries()[0].id, tries()[1].id) // in its place
		is.Equal(w.Counts().Finished, 1)
	})
}

func TestACaptionsMarkupCostsNoFile(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var ops []string
		b.wire.ops = []string{"send", "send_media"}
		tries := b.refuses(func(n int, out relay.Outbound) error {
			ops = append(ops, out.Action.Op())
			if n < 2 {
				return &relay.OpError{Message: "Bad Request: can't parse entities: Can't find end of the entity starting at byte offset 503"}
			}
			return nil
		})
		file := relay.Action{"op": "send_media", "media_kind": "image", "source_url": "https://x.example/a.png", "content": "*look*"}
		b.agent = says(file)
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
		idle(w)
		is.Equal(texts(tries()), []string{"0s *look*", "0s look", "0s look\nhttps://x.example/a.png"})
		is.Equal(ops, []string{"send_media", "send_media", "send"}) // plain first, and a text only if that is refused, too
		is.Equal(tries()[0].id, tries()[2].id)
		is.Equal(w.Counts().Finished, 1)
	})
}

func TestWhatIsThereAlreadyIsDone(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.refuses(func(n int, out relay.Outbound) error {
			switch out.Action.Op() {
			case "edit":
				return &relay.OpError{Message: "message is not modified"}
			case "delete":
				return &relay.OpError{Message: "message to delete not found"}
			}
			return nil
		})
		b.wire.ops = []string{"send", "edit", "delete"}
		b.agent = says(send("a"), edit("b"), relay.Action{"op": "delete", "message_id": "7"})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(w.Counts().Finished, 1)
		is.Equal(w.Counts().Refused, map[action.Class]int{action.Done: 2})
	})
}

func TestATextThatMayHaveArrivedIsNotSentAgain(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		tries := b.refuses(func(int, relay.Outbound) error { return &relay.OpError{Message: "sendMessage timed out"} })
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(len(tries()), 1)
		is.Equal(w.Counts().Unknown, 1)
		is.Equal(w.Counts().Finished, 1)
	})
}

func TestWhatWaitsHoldsNoSlot(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.change = func(c *turn.Config) { c.Concurrency = 1 }
		tries := b.refuses(func(n int, out relay.Outbound) error {
			if n < 3 && out.Action["chat_id"] == "c1" {
				return flood(10)
			}
			return nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		synctest.Wait()
		is.NoErr(w.Take(message("c2", "m2", "y")))
		synctest.Wait()
		is.Equal(texts(tries()), []string{"0s x", "0s y"})
		idle(w)
	})
}

func TestAStreamGoesOnWhileItsChatHasToWait(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		tries := b.refuses(func(n int, _ relay.Outbound) error {
			if n == 1 {
				return flood(20)
			}
			return nil
		})
		turns := 0
		b.agent = streams(func(_ context.Context, _ agent.Turn, say func(relay.Action) bool) error {
			turns++
			_ = say(send("1")) && say(send("2")) && say(edit("2a")) && say(edit("2b")) && say(send("3")) && say(edit("3a"))
			return nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(texts(tries()), []string{"0s 1", "0s 2", "20s 2b", "20s 3a"}) // what was edited meanwhile is sent as it ended
		is.Equal(turns, 1)
		is.Equal(w.Counts().Finished, 1)
	})
}

func TestWithoutAJournalARefusedPartWaitsFor100Seconds(t *testing.T) {
	for name, tt := range map[string]struct {
		d    relay.Delivery
		take int // sends that are accepted
		want string
	}{
		"buffered, nothing accepted": {buffered("b1", message("c1", "m1", "x")), 0, "left"},
		"buffered, one accepted":     {buffered("b1", message("c1", "m1", "x")), 1, "dead"},
		"live":                       {message("c1", "m1", "x"), 0, "dead"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := newBench(t, ledger.NewMemory())
				var logged strings.Builder
				b.change = func(c *turn.Config) { c.Log = slog.New(slog.NewTextHandler(&logged, nil)) }
				b.agent = says(send("one"), send("two"))
				tries := b.refuses(func(n int, _ relay.Outbound) error {
					if n >= tt.take {
						return down()
					}
					return nil
				})
				w := b.start()
				is.NoErr(w.Take(tt.d))
				idle(w)
				all := tries()
				is.Equal(all[len(all)-1].at, 100*time.Second)
				w.Close()
				is.Equal(w.Counts().Dead == 1, tt.want == "dead")
				is.Equal(w.Counts().Left == 1, tt.want == "left")
				is.Equal(slices.Contains(b.wire.seen(), "ack b1"), tt.want == "dead" && tt.d.BufferID != "")
				is.Equal(strings.Contains(logged.String(), "two"), tt.want == "dead") // the answer is in the log
			})
		})
	}
}

// forgetful is a ledger whose journal fails now and then.
type forgetful struct {
	ledger.Lease
	fails func(what string) bool
}

func (f forgetful) Durable() bool { return true }

func (f forgetful) Finish(ctx context.Context, key string) error {
	if f.fails("finish") {
		return errors.New("throttled")
	}
	return f.Lease.Finish(ctx, key)
}

func (f forgetful) Confirm(ctx context.Context, key string, i int, outcome string) error {
	if f.fails("confirm") {
		return errors.New("throttled")
	}
	return f.Lease.Confirm(ctx, key, i, outcome)
}

func TestWhatIsKnownIsWrittenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		var broken atomic.Bool
		broken.Store(true)
		b.change = func(c *turn.Config) { c.Journal = forgetful{b.lease, func(string) bool { return broken.Load() }} }
		b.agent = says(send("one"), send("two"))
		tries := b.refuses(func(int, relay.Outbound) error { return nil })
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		time.Sleep(7 * time.Second) // the table is away
		synctest.Wait()
		is.Equal(len(tries()), 1) // the second must not leave before the first's outcome is known
		broken.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		is.Equal(len(tries()), 2)
		broken.Store(true)
		is.NoErr(w.Take(message("c2", "m2", "y")))
		time.Sleep(time.Minute)
		synctest.Wait()
		is.True(!w.Busy())
		w.Flush(t.Context()) // in vain
		broken.Store(false)
		w.Flush(t.Context())
		w.Close()
		w.Unwritten()
		is.Equal(w.Counts().Unwritten, 0)
		left, err := ledgertest.Recover(t.Context(), b.lease)
		is.NoErr(err)
		is.Equal(len(left), 1) // of which the second part is to be sent
		is.Equal(left[0].Done, []string{"ok:m2", ""})
	})
}

func TestWhatCouldNotBeWrittenIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		var logged strings.Builder
		b.change = func(c *turn.Config) {
			c.Log = slog.New(slog.NewTextHandler(&logged, nil))
			c.Journal = forgetful{b.lease, func(what string) bool { return what == "finish" }}
		}
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		w.Close()
		w.Unwritten()
		is.Equal(w.Counts().Unwritten, 1)
		is.True(strings.Contains(logged.String(), "known and not written"))
	})
}

func TestTheChatIsToldOnceAnHourAndABotNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.change = func(c *turn.Config) { c.Apology, c.MaxAttempts = "sorry", 1 }
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) { return agent.Answer{}, errors.New("boom") })
		w := b.start()
		defer w.Close()
		bot := message("c3", "m0", "x")
		bot.Event.Source.IsBot = true
		for _, d := range []relay.Delivery{bot, message("c1", "m1", "x"), message("c1", "m2", "x"), message("c2", "m3", "x")} {
			is.NoErr(w.Take(d))
			idle(w)
		}
		is.Equal(b.wire.seen(), []string{"send c1 sorry", "send c2 sorry"})
		time.Sleep(time.Hour)
		is.NoErr(w.Take(message("c1", "m4", "x")))
		idle(w)
		is.Equal(len(b.wire.seen()), 3)
		is.Equal(w.Counts().Dead, 5)
	})
}

func TestALaterRunEndsAPauseForAMessageOfTheChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		forgotten := true
		tries := b.refuses(func(int, relay.Outbound) error {
			if forgotten {
				return &relay.OpError{Message: "chat not routed to this profile"}
			}
			return nil
		})
		w := b.start()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
		idle(w)
		w.Close()
		entries, err := ledgertest.Recover(t.Context(), b.lease)
		is.NoErr(err)
		wait := entries[0].Wait
		wait.Due = time.Now().Add(3 * time.Hour)
		is.NoErr(b.lease.Defer(t.Context(), entries[0].Key, entries[0].Error, wait, 0))
		forgotten = false
		n := len(tries())
		w = b.start()
		defer w.Close()
		synctest.Wait()
		is.True(!w.Busy()) // it is not due
		is.NoErr(w.Take(message("c1", "m2", "y")))
		synctest.Wait()
		var after []string
		for _, try := range tries()[n:] {
			after = append(after, try.text)
		}
		is.Equal(after, []string{"x", "y"}) // and in their order
		is.Equal(w.Counts().Left, 0)
	})
}

// deaf is a journal that takes nothing new while it is told not to.
type deaf struct {
	ledger.Lease
	shut *atomic.Bool
}

func (deaf) Durable() bool { return true }

func (d deaf) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	if d.shut.Load() {
		return nil, errors.New("throttled")
	}
	return d.Lease.Receive(ctx, entries...)
}

func TestALiveMessageThatNoJournalHasDoesNotWaitBehindOneThatDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		var shut atomic.Bool
		b.change = func(c *turn.Config) { c.Journal = deaf{b.lease, &shut} }
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			if tn.Event.Text == "x" {
				return agent.Answer{}, agent.ErrUnavailable
			}
			return agent.Echo{}.Answer(ctx, tn)
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		is.Equal(w.Counts().Left, 1) // the agent is away for x
		shut.Store(true)
		is.NoErr(w.Take(message("c1", "m2", "y")))
		idle(w)
		is.Equal(b.wire.seen(), []string{"send c1 y"}) // now or never
		is.Equal(w.Counts().Left, 1)
	})
}
