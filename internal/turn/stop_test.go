package turn_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
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

// slow answers after a minute, if it is not stopped. asked says what it has been asked.
func (b *bench) slow() (asked func() string) {
	var mu sync.Mutex
	var texts []string
	b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
		mu.Lock()
		texts = append(texts, tn.Event.Text)
		mu.Unlock()
		select {
		case <-time.After(time.Minute):
			return agent.Answer{Actions: []relay.Action{send("reply to " + tn.Event.Text)}}, nil
		case <-ctx.Done():
			return agent.Answer{}, context.Cause(ctx)
		}
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(texts, " ")
	}
}

// settle waits for whatever may still come.
func settle() {
	time.Sleep(10 * time.Minute)
	synctest.Wait()
}

func TestAStopIsKnownAsPeopleTypeIt(t *testing.T) {
	for text, stops := range map[string]bool{
		"/stop": true, " /stop\n": true, "/STOP": true, "/Stop@my_bot": true, "/stop please": true, "/stop\tnow": true,
		"/stop@a b": true, "/stopp": false, "stop": false, "please /stop": false, "/stop!": false, "//stop": false, "": false,
		"@bot /stop": false, "\u00a0/stop": true,
	} {
		for kind, may := range map[string]bool{"text": true, "command": true, "photo": false, "voice": false} {
			t.Run(fmt.Sprintf("%q as %s", text, kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					is := is.New(t)
					b := newBench(t, durable(ledger.NewMemory()))
					b.slow()
					w := b.start()
					defer w.Close()
					is.NoErr(w.Take(message("c1", "m1", "work")))
					synctest.Wait()
					stop := message("c1", "m2", text)
					stop.Event.MessageType = kind
					is.NoErr(w.Take(stop))
					synctest.Wait()
					is.Equal(w.Counts().Finished == 2, stops && may)
				})
			})
		}
	}
}

func TestTheSettingNamesTheStop(t *testing.T) {
	for _, setting := range []string{"!Halt", ""} {
		synctest.Test(t, func(t *testing.T) {
			is := is.New(t)
			b := newBench(t, durable(ledger.NewMemory()))
			b.change = func(cfg *turn.Config) { cfg.Stop = setting }
			b.slow()
			w := b.start()
			defer w.Close()
			is.NoErr(w.Take(message("c1", "m1", "work")))
			is.NoErr(w.Take(message("c1", "m2", "/stop")))
			is.NoErr(w.Take(message("c1", "m3", "!HALT")))
			synctest.Wait()
			is.Equal(w.Counts().Finished == 3, setting != "") // with /stop, which is a text like any other then
		})
	}
}

// What is waiting when a stop comes, and that it ends without an answer. What comes later is answered.
func TestAStopEndsWhatWaits(t *testing.T) {
	tests := map[string]func(is *is.I, b *bench) *turn.Worker{
		"queued behind the running turn": func(is *is.I, b *bench) *turn.Worker {
			b.slow()
			w := b.start()
			is.NoErr(w.Take(message("c1", "m1", "one")))
			is.NoErr(w.Take(message("c1", "m2", "two")))
			return w
		},
		"a turn that waits for a slot": func(is *is.I, b *bench) *turn.Worker {
			b.slow()
			b.change = func(cfg *turn.Config) { cfg.Concurrency = 1 }
			w := b.start()
			is.NoErr(w.Take(message("other", "m0", "busy")))
			synctest.Wait()
			is.NoErr(w.Take(message("c1", "m1", "one")))
			return w
		},
		"an agent that is away": func(is *is.I, b *bench) *turn.Worker {
			b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
				return agent.Answer{}, fmt.Errorf("posting: %w", agent.ErrUnavailable)
			})
			w := b.start()
			is.NoErr(w.Take(message("c1", "m1", "one")))
			is.NoErr(w.Take(message("c1", "m2", "two")))
			time.Sleep(5 * time.Minute)
			return w
		},
		"an attempt that has failed": func(is *is.I, b *bench) *turn.Worker {
			b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
				return agent.Answer{}, fmt.Errorf("agent: answered HTTP 500")
			})
			w := b.start()
			is.NoErr(w.Take(message("c1", "m1", "one")))
			time.Sleep(10 * time.Second)
			return w
		},
		"a part that is tried again": func(is *is.I, b *bench) *turn.Worker {
			b.agent = says(send("part one"), send("part two"))
			b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
				if out.Action["content"] == "part two" {
					return relay.Result{}, &relay.OpError{Message: "flood", RetryAfter: 600}
				}
				return relay.Result{Success: true}, nil
			}
			w := b.start()
			is.NoErr(w.Take(message("c1", "m1", "one")))
			return w
		},
		"left by an earlier run": func(is *is.I, b *bench) *turn.Worker {
			b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
				return agent.Answer{}, fmt.Errorf("posting: %w", agent.ErrUnavailable)
			})
			w := b.start()
			is.NoErr(w.Take(message("c1", "m1", "one")))
			is.NoErr(w.Take(message("c1", "m2", "two")))
			time.Sleep(20 * time.Minute)
			w.Close()
			return b.start()
		},
		"deferred, as time is up": func(is *is.I, b *bench) *turn.Worker {
			w := b.start()
			w.StopStarting()
			is.NoErr(w.Take(message("c1", "m1", "one")))
			return w
		},
	}
	for name, begin := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				is := is.New(t)
				w := begin(is, b)
				synctest.Wait()
				open := b.open(is)
				is.NoErr(w.Take(message("other", "m7", "/stop"))) // another session's stop is no matter
				synctest.Wait()
				is.Equal(b.open(is), open)
				before := len(b.wire.outs)
				is.NoErr(w.Take(message("c1", "m8", "/stop")))
				synctest.Wait()
				is.Equal(len(b.wire.outs), before)
				w.Close()

				b.agent, b.change, b.wire.do = agent.Echo{}, nil, nil
				w = b.start()
				defer w.Close()
				is.NoErr(w.Take(message("c1", "m9", "later")))
				settle()
				for _, out := range b.wire.outs[before:] {
					is.True(out.Action["content"] != "one" && out.Action["content"] != "two" && out.Action["content"] != "part two")
				}
				is.Equal(sent(b)[len(b.wire.outs)-1], "later")
				is.Equal(b.open(is), 0)
			})
		})
	}
}

// open counts the entries that have not ended.
func (b *bench) open(is *is.I) int {
	entries, err := ledgertest.Recover(b.t.Context(), b.lease)
	is.NoErr(err)
	n := 0
	for _, e := range entries {
		if !strings.Contains(string(e.Body), `"other"`) {
			n++
		}
	}
	return n
}

// On Slack each message outside a thread opens a thread, and a session, of its own.
func TestAStopOnSlackIsForItsUsersTurnsInTheChat(t *testing.T) {
	slack := func(chat, user, thread, id, text string) relay.Delivery {
		m := message(chat, id, text)
		m.Event.Source.Platform, m.Event.Source.UserID, m.Event.Source.ThreadID = "slack", user, thread
		return m
	}
	for name, tt := range map[string]struct {
		thread string // in which the stop is written
		want   string // what goes on
	}{
		"outside a thread": {"", "another user's, another chat's"},
		"in a thread":      {"100.1", "one, another user's, another chat's, in another thread"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := newBench(t, durable(ledger.NewMemory()))
				asked := b.slow()
				w := b.start()
				defer w.Close()
				is.NoErr(w.Take(slack("c1", "u1", "", "200.1", "one")))
				is.NoErr(w.Take(slack("c1", "u1", "100.1", "200.2", "in the thread")))
				is.NoErr(w.Take(slack("c1", "u2", "", "200.3", "another user's")))
				is.NoErr(w.Take(slack("c2", "u1", "", "200.4", "another chat's")))
				is.NoErr(w.Take(slack("c1", "u1", "100.2", "200.5", "in another thread")))
				synctest.Wait()
				is.NoErr(w.Take(slack("c1", "u1", tt.thread, "200.6", "/stop")))
				settle()
				var answered []string
				for _, text := range []string{"one", "in the thread", "another user's", "another chat's", "in another thread"} {
					for _, reply := range sent(b) {
						if reply == "reply to "+text {
							answered = append(answered, text)
						}
					}
				}
				is.Equal(strings.Join(answered, ", "), tt.want)
				is.True(!strings.Contains(asked(), "/stop"))
			})
		})
	}
}

// Take blocks while thousands wait. A live stop behind them is not one of those that wait.
func TestALiveStopIsSeenAheadOfWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.slow()
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "one")))
		is.NoErr(w.Take(message("c1", "m2", "two")))
		synctest.Wait()
		stop := message("c1", "m3", "/stop")
		w.Glance(buffered("b1", stop)) // only the journal knows whether it is a repeat
		w.Glance(message("c1", "m4", "stop"))
		synctest.Wait()
		is.Equal(w.Counts().Finished, 0)
		w.Glance(stop)
		synctest.Wait()
		is.Equal(w.Counts().Finished, 2)
		is.NoErr(w.Take(message("c1", "m5", "was behind the stop, and is taken before it")))
		w.Glance(stop) // it comes again
		is.NoErr(w.Take(stop))
		is.NoErr(w.Take(message("c1", "m6", "later")))
		settle()
		is.Equal(sent(b), []string{"reply to later"})
	})
}

// Without a table the message that woke the gateway is unacked while its turn runs.
func TestALiveStopIsSeenWhileADeliveryIsUnacked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		b.slow()
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "work"))))
		synctest.Wait()
		is.Equal(len(b.wire.seen()), 0)
		is.NoErr(w.Take(message("c1", "m2", "/stop")))
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"ack b1"})
	})
}

// A process that has journalled a stop and died has not stopped anything.
func TestAStopThatIsLeftBehindStopsWhatCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.slow()
		b.start()
		for i, text := range []string{"before", "/stop", "after"} {
			body, err := b.body(message("c1", fmt.Sprint("m", i), text))
			is.NoErr(err)
			state := ledger.New
			if text == "before" {
				state = ledger.Running // it is a suspect, too
			}
			_, err = b.lease.Receive(t.Context(), ledger.Entry{Key: text, Seq: int64(i), State: state, Body: body})
			is.NoErr(err)
		}
		b.crash()
		w := b.start()
		defer w.Close()
		settle()
		is.Equal(sent(b), []string{"reply to after"})
		is.Equal(w.Counts().Finished, 3)
	})
}

func (b *bench) body(d relay.Delivery) (json.RawMessage, error) { return json.Marshal(d) }
