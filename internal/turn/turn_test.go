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
	"go.uber.org/goleak"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a link that writes down what passes.
type wire struct {
	mu    sync.Mutex
	log   []string // "typing c1", "ack b1", "send c1 text"
	outs  []relay.Outbound
	posts []relay.Outbound
	do    func(ctx context.Context, out relay.Outbound) (relay.Result, error) // nil succeeds
	ops   []string
	late  []string // ops once it has settled
	limit int      // of a message; 0: 2000
	draft bool     // its platforms stream drafts
}

func (w *wire) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *wire) Do(ctx context.Context, out relay.Outbound) (relay.Result, error) {
	w.note("%s %v %v", out.Action.Op(), out.Action["chat_id"], out.Action["content"])
	w.mu.Lock()
	w.outs = append(w.outs, out)
	do := w.do
	w.mu.Unlock()
	if do == nil {
		return relay.Result{Success: true, MessageID: "m"}, nil
	}
	return do(ctx, out)
}

func (w *wire) Post(out relay.Outbound) {
	w.note("%s %v", out.Action.Op(), out.Action["chat_id"])
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posts = append(w.posts, out)
}

func (w *wire) Ack(id string) { w.note("ack %s", id) }

// WaitDescriptors has a connector list its ops late, if it has others to list.
func (w *wire) WaitDescriptors(context.Context) {
	if w.late != nil {
		w.ops = w.late
	}
}

func (w *wire) Descriptor(platform string) relay.Descriptor {
	d := relay.Descriptor{
		Platform: platform, MaxMessageLength: 2000, LenUnit: "chars", MarkdownDialect: "discord", SupportsEdit: true,
		SupportedOps: w.ops,
	}
	if w.limit > 0 {
		d.MaxMessageLength = w.limit
	}
	d.SupportsDraftStreaming = w.draft
	if platform == "irc" { // lists nothing
		d.SupportsEdit, d.SupportedOps = false, nil
	}
	if platform == "sms" { // can next to nothing
		d.MaxMessageLength, d.MarkdownDialect, d.SupportedOps = 160, "plain", []string{"send"}
	}
	return d
}

func (w *wire) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log)
}

// seen returns the log without typing.
func (w *wire) seen() []string {
	return slices.DeleteFunc(w.all(), func(s string) bool { return strings.HasPrefix(s, "typing ") })
}

// agentFunc answers turns.
type agentFunc func(ctx context.Context, t agent.Turn) (agent.Answer, error)

func (f agentFunc) Answer(ctx context.Context, t agent.Turn) (agent.Answer, error) { return f(ctx, t) }

// durable is a ledger that says it lasts, as one in memory does from one worker of a test to the next, and has small pages.
func durable(l ledger.Ledger) ledger.Ledger {
	return ledgertest.Wrap(l, func(l ledger.Lease) ledger.Lease { return inPages(l) })
}

func inPages(l ledger.Lease) durableLease { return durableLease{l, &ledgertest.Pages{Size: 2}} }

type durableLease struct {
	ledger.Lease
	pages *ledgertest.Pages
}

func (durableLease) Durable() bool { return true }

func (l durableLease) Recover(ctx context.Context, from string) (ledger.Page, error) {
	return l.pages.Recover(ctx, l.Lease, from)
}

type bench struct {
	t       *testing.T
	wire    *wire
	ledger  ledger.Ledger
	agent   agent.Agent
	change  func(*turn.Config)
	lease   ledger.Lease // of the newest run
	current *turn.Worker
	run     context.Context // of the next run; nil: the test's
}

func newBench(t *testing.T, l ledger.Ledger) *bench {
	return &bench{t: t, wire: &wire{}, ledger: l, agent: agent.Echo{}}
}

// start begins a run; the one before, if any, is over without having given its lease back.
func (b *bench) start() *turn.Worker {
	b.t.Helper()
	return b.startWithin(time.Hour) // in a bubble: the last lease has run out
}

// startWithin is start once so much time has passed.
func (b *bench) startWithin(wait time.Duration) *turn.Worker {
	b.t.Helper()
	time.Sleep(wait)
	lease, err := b.ledger.Acquire(b.t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "run", Life: 30 * time.Second})
	if err != nil {
		b.t.Fatal(err)
	}
	b.lease = lease
	cfg := turn.Config{
		Journal: lease, Prompts: lease, Agent: b.agent, Link: b.wire, Log: slog.New(slog.DiscardHandler),
		Instance: "inst", Concurrency: 8, MaxAttempts: 3, AgentTimeout: time.Minute, Stop: "/stop",
	}
	if b.change != nil {
		b.change(&cfg)
	}
	left, err := lease.Recover(b.t.Context(), "")
	if err != nil {
		b.t.Fatal(err)
	}
	ctx := b.run
	if ctx == nil {
		ctx = b.t.Context()
	}
	w := turn.New(ctx, cfg)
	w.Recover(left)
	b.current = w
	return w
}

func message(chat, id, text string) relay.Delivery {
	return relay.Delivery{Kind: relay.KindInbound, ReceivedAt: time.Now(), Event: &relay.Event{
		Text: text, MessageType: "text", MessageID: id,
		Source: relay.Source{Platform: "discord", ChatID: chat, ChatType: "group", UserID: "u1", ScopeID: "g1"},
	}}
}

func buffered(id string, d relay.Delivery) relay.Delivery {
	d.BufferID = id
	return d
}

func each(t *testing.T, test func(t *testing.T, b *bench)) {
	ledgers := map[string]func() ledger.Ledger{
		"memory":  func() ledger.Ledger { return ledger.NewMemory() },
		"durable": func() ledger.Ledger { return durable(ledger.NewMemory()) },
	}
	for name, l := range ledgers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newBench(t, l())) })
		})
	}
}

func TestAMessageIsAnsweredAndAckedOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "hello"))))
		synctest.Wait()
		all := b.wire.all()
		is.True(slices.Index(all, "typing c1") < slices.Index(all, "send c1 hello")) // never behind the reply
		seen := b.wire.seen()
		slices.Sort(seen)
		is.Equal(seen, []string{"ack b1", "send c1 hello"})
		is.True(!w.Busy())

		out := b.wire.outs[0]
		is.Equal(out.Platform, "discord")
		is.Equal(len(out.RequestID), 32)
		is.Equal(out.Action["metadata"], map[string]any{"scope_id": "g1", "user_id": "u1", "notify": true})
		is.Equal(out.Action["reply_to"], "m1")

		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "hello")))) // a redelivery
		is.NoErr(w.Take(buffered("b9", message("c1", "m1", "hello")))) // and one under another buffer id
		is.NoErr(w.Take(message("c1", "m1", "hello")))                 // and a live one
		synctest.Wait()
		is.Equal(b.wire.seen()[2:], []string{"ack b1", "ack b9"}) // acked, not answered
		is.Equal(w.Counts().Duplicates, 3)
		is.Equal(w.Counts().Turns, 1)
	})
}

// Else a message could be journalled whose elder is left with the connector, and overtake it.
func TestNothingIsTakenOnceTheRunIsOver(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		w := b.start()
		w.Close()
		for n := range 100 {
			err := w.Take(buffered(fmt.Sprint("b", n), message("c1", fmt.Sprint("m", n), "hello")))
			is.New(t).True(err != nil) // the connector keeps it
		}
	})
}

func TestAnEditIsANewMessage(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "helo")))
		is.NoErr(w.Take(message("c1", "m1", "hello")))
		is.NoErr(w.Take(buffered("b1", message("c1", "", "no id")))) // known by its buffer id and content
		is.NoErr(w.Take(buffered("b1", message("c1", "", "no id"))))
		is.NoErr(w.Take(buffered("b1", message("c1", "", "other")))) // a wiped connector counts anew
		synctest.Wait()
		is.Equal(w.Counts().Turns, 4)
	})
}

func isAck(s string) bool { return strings.HasPrefix(s, "ack ") }

func TestAnEditBackIsANewMessage(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var keys []string
		b.agent = agentFunc(func(_ context.Context, tn agent.Turn) (agent.Answer, error) {
			keys = append(keys, tn.Delivery.Key)
			return agent.Answer{Actions: []relay.Action{{"op": "send", "content": tn.Event.Text}}}, nil
		})
		w := b.start()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "yes")))) // all at once
		is.NoErr(w.Take(message("c1", "m1", "no")))
		is.NoErr(w.Take(buffered("b2", message("c1", "m1", "yes"))))
		is.NoErr(w.Take(buffered("b2", message("c1", "m1", "yes"))))
		synctest.Wait()
		is.Equal(slices.DeleteFunc(b.wire.seen(), isAck), []string{"send c1 yes", "send c1 no", "send c1 yes"})
		w.Close()
		w = b.start() // and after the process that has answered them
		defer w.Close()
		is.NoErr(w.Take(buffered("b2", message("c1", "m1", "yes"))))
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "yes"))))
		edit := message("c1", "m1", "yes")
		edit.Event.Source.MessageIsEdit = true
		is.NoErr(w.Take(buffered("b3", edit))) // its text is the last known: something else has changed
		synctest.Wait()
		is.Equal(len(keys), 4)
		slices.Sort(keys)
		is.Equal(len(slices.Compact(keys)), 4)
		acks := slices.DeleteFunc(b.wire.seen(), func(s string) bool { return !isAck(s) })
		is.Equal(slices.Compact(acks), []string{"ack b1", "ack b2", "ack b1", "ack b3"})
	})
}

func TestMemoryAcksWhenTheTurnIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		answer := make(chan struct{})
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			<-answer
			return agent.Echo{}.Answer(ctx, tn)
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "one"))))
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "one")))) // a redelivery meanwhile
		synctest.Wait()
		is.Equal(len(b.wire.seen()), 0) // nothing durable, so no ack yet
		close(answer)
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"send c1 one", "ack b1", "ack b1"})
		is.Equal(w.Counts().Turns, 1)
	})
}

func TestADurableJournalAcksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.agent = agentFunc(func(ctx context.Context, _ agent.Turn) (agent.Answer, error) {
			<-ctx.Done()
			return agent.Answer{}, context.Cause(ctx)
		})
		w := b.start()
		defer w.Close()
		for i := range 3 {
			is.NoErr(w.Take(buffered(fmt.Sprint("b", i), message("c1", fmt.Sprint("m", i), "x"))))
		}
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"ack b0", "ack b1", "ack b2"})
		is.True(w.Busy())
	})
}

func TestSessionsAreInOrderAndSideBySide(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var mu sync.Mutex
		running, most := 0, 0
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return agent.Echo{}.Answer(ctx, tn)
		})
		b.change = func(c *turn.Config) { c.Concurrency = 4 }
		w := b.start()
		defer w.Close()
		start := time.Now()
		for i := range 5 {
			for chat := range 8 {
				id := fmt.Sprintf("%d-%d", chat, i)
				is.NoErr(w.Take(message(fmt.Sprint("c", chat), id, id)))
			}
		}
		for w.Busy() {
			<-w.Changed()
		}
		is.Equal(time.Since(start), 10*time.Second) // 40 turns of a second, 4 at a time
		is.Equal(most, 4)
		perChat := map[string][]string{}
		for _, line := range b.wire.seen() {
			f := strings.Fields(line)
			perChat[f[1]] = append(perChat[f[1]], f[2])
		}
		for chat, lines := range perChat {
			is.Equal(len(lines), 5)
			is.True(slices.IsSorted(lines)) // in order of arrival
			_ = chat
		}
	})
}

// While a table writes an answer down, no agent is at work on it: another one may be asked, but not without end.
func TestTheNextAgentIsAskedWhileAnAnswerIsKept(t *testing.T) {
	for name, test := range map[string]struct {
		ledger ledger.Ledger
		asked  int // while no answer can be kept
	}{
		"durable": {durable(ledger.NewMemory()), 4}, // two answers wait outside their slots, and two in them
		"memory":  {ledger.NewMemory(), 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := newBench(t, test.ledger)
				var asked atomic.Int64
				b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
					asked.Add(1)
					return agent.Echo{}.Answer(ctx, tn)
				})
				kept := make(chan struct{})
				b.change = func(c *turn.Config) { c.Concurrency, c.Journal = 2, slowKeeper{c.Journal, kept} }
				w := b.start()
				defer w.Close()
				for i := range 6 {
					is.NoErr(w.Take(message(fmt.Sprint("c", i), fmt.Sprint("m", i), "x")))
				}
				synctest.Wait()
				now := int(asked.Load())
				seen := len(b.wire.seen())
				close(kept)
				is.Equal(now, test.asked)
				is.Equal(seen, 0) // nothing leaves before it is kept
				for w.Busy() {
					<-w.Changed()
				}
				is.Equal(len(b.wire.seen()), 6)
				is.Equal(w.Counts().Turns, 6)
			})
		})
	}
}

// slowKeeper keeps no answer before its channel is closed.
type slowKeeper struct {
	ledger.Journal
	closed <-chan struct{}
}

func (k slowKeeper) Keep(ctx context.Context, key string, actions []json.RawMessage) error {
	<-k.closed
	return k.Journal.Keep(ctx, key, actions)
}

func TestTypingShowsAtOnceAndWhileTheTurnRuns(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			time.Sleep(12 * time.Second)
			return agent.Answer{}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		synctest.Wait()
		is.Equal(b.wire.all(), []string{"typing c1"})
		for w.Busy() {
			<-w.Changed()
		}
		is.Equal(b.wire.all(), []string{"typing c1", "typing c1", "typing c1"}) // again after 5 and 10 s
		b.wire.ops = []string{"send"}
		is.NoErr(w.Take(message("c1", "m2", "x")))
		for w.Busy() {
			<-w.Changed()
		}
		is.Equal(len(b.wire.all()), 3) // not where it is not offered
	})
}

func TestAFailingMessageIsDeadInTheEndAndHoldsUpNobody(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		var attempts []int
		keys := map[string]bool{}
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			if tn.Event.Source.ChatID == "bad" {
				attempts = append(attempts, tn.Delivery.Attempt)
				keys[tn.Delivery.Key] = true
				return agent.Answer{}, errors.New("agent: answered HTTP 500")
			}
			return agent.Echo{}.Answer(ctx, tn)
		})
		b.change = func(c *turn.Config) { c.Concurrency, c.Apology = 1, "sorry" }
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("bad", "m1", "x"))))
		is.NoErr(w.Take(buffered("b2", message("good", "m2", "y"))))
		start := time.Now()
		for w.Busy() {
			<-w.Changed()
		}
		is.Equal(time.Since(start), 32*time.Second) // 2 s and 30 s between three attempts
		is.Equal(attempts, []int{1, 2, 3})
		is.Equal(len(keys), 1) // the same at each
		is.Equal(w.Counts().Dead, 1)
		seen := b.wire.seen()
		is.True(slices.Contains(seen, "send good y"))
		is.True(slices.Contains(seen, "send bad sorry"))
		is.True(slices.Contains(seen, "ack b1") && slices.Contains(seen, "ack b2"))
		is.True(slices.Index(seen, "send good y") < slices.Index(seen, "send bad sorry"))
	})
}

func TestAnAgentOutOfReachIsNoAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		down := true
		var tries []time.Duration
		begun := time.Now().Add(time.Hour) // start sleeps
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			tries = append(tries, time.Since(begun))
			if down {
				return agent.Answer{}, fmt.Errorf("posting: %w", agent.ErrUnavailable)
			}
			is.Equal(tn.Delivery.Attempt, 1)
			return agent.Echo{}.Answer(ctx, tn)
		})
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		idle(w)
		s := time.Second
		is.Equal(tries, []time.Duration{0, 5 * s, 15 * s, 35 * s, 75 * s}) // the next would be 80 s later
		is.Equal(w.Counts().Dead, 0)
		is.Equal(w.Counts().Left, 1)
		is.True(w.Counts().Due.Equal(begun.Add(155 * s)))
		is.Equal(b.wire.all(), []string{"typing c1"}) // at the first try only
		w.Close()
		is.Equal(w.Counts().Left, 1)
		down = false
		w = b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"send c1 x"})
		is.Equal(w.Counts().Recovered, 1)
	})
}

func TestAnAnswerThatCannotBeSentIsAFailedAttempt(t *testing.T) {
	tests := map[string]struct {
		action relay.Action
		want   string
	}{
		"op not offered":     {relay.Action{"op": "prompt", "content": "x"}, `does not offer "prompt" for discord`},
		"content of a kind":  {relay.Action{"op": "send", "content": 7}, "actions[0].content"},
		"chat_id of a kind":  {relay.Action{"op": "send", "content": "x", "chat_id": true}, "actions[0].chat_id"},
		"metadata of a kind": {relay.Action{"op": "send", "content": "x", "metadata": "y"}, "actions[0].metadata"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				b := newBench(t, ledger.NewMemory())
				var logged strings.Builder
				b.change = func(c *turn.Config) { c.Log, c.MaxAttempts = slog.New(slog.NewTextHandler(&logged, nil)), 1 }
				b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
					return agent.Answer{Actions: []relay.Action{tt.action}}, nil
				})
				w := b.start()
				is.NoErr(w.Take(message("c1", "m1", "x")))
				for w.Busy() {
					<-w.Changed()
				}
				w.Close()
				is.Equal(w.Counts().Dead, 1)
				is.True(strings.Contains(strings.ReplaceAll(logged.String(), `\`, ""), tt.want)) // want tt.want in the log
				is.Equal(len(b.wire.seen()), 0)
			})
		})
	}
}

func TestAPanickingAgentIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) { panic("boom") })
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		for w.Busy() {
			<-w.Changed()
		}
		is.Equal(w.Counts().Dead, 1)
	})
}

func TestALongAnswerIsSplitAndOnlyItsFirstPartIsAReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledger.NewMemory())
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			return agent.Answer{Actions: []relay.Action{{"op": "send", "content": strings.Repeat("word ", 900), "reply_to": "m1"}}}, nil
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		synctest.Wait()
		is.Equal(len(b.wire.outs), 3)
		ids := map[string]bool{}
		for i, out := range b.wire.outs {
			is.True(len(out.Action["content"].(string)) <= 2000)
			is.Equal(out.Action["reply_to"] == "m1", i == 0)
			ids[out.RequestID] = true
		}
		is.Equal(len(ids), 3) // each action has a request id of its own
	})
}

func TestAnUnknownOutcomeIsNotSentAgain(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.wire.do = func(context.Context, relay.Outbound) (relay.Result, error) {
			return relay.Result{}, fmt.Errorf("socket died: %w", relay.ErrOutcomeUnknown)
		}
		w := b.start()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
		synctest.Wait()
		w.Close()
		is.Equal(w.Counts().Unknown, 1)
		w = b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(len(b.wire.outs), 1)
		is.Equal(w.Counts().Recovered, 0)
	})
}

func TestADeclinedActionMakesItsMessageDead(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.wire.do = func(context.Context, relay.Outbound) (relay.Result, error) {
			return relay.Result{}, &relay.OpError{Code: "egress_declined", Message: "no"}
		}
		b.change = func(c *turn.Config) { c.Apology = "sorry" }
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "x"))))
		synctest.Wait()
		is.Equal(len(b.wire.outs), 1) // the chat is not even told
		is.True(slices.Contains(b.wire.seen(), "ack b1"))
		is.Equal(w.Counts().Dead, 1)
		dead, err := b.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.Equal(dead[0].Error, `the connector refuses an action of the answer: send: "no"`)
		is.Equal(dead[0].Attempts, 0)
		shown, err := b.ledger.ShowDead(t.Context(), dead[0].Key)
		is.NoErr(err)
		is.Equal(len(shown.Actions), 1)
		is.Equal(shown.Done, []string{"declined"})
	})
}

func TestAKeptAnswerIsSentByTheNextRun(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		asked := 0
		b.agent = agentFunc(func(context.Context, agent.Turn) (agent.Answer, error) {
			asked++
			return agent.Answer{Actions: []relay.Action{
				{"op": "send", "content": "one"}, {"op": "send", "content": "two"}, {"op": "send", "content": "three"},
			}}, nil
		})
		b.wire.do = func(ctx context.Context, out relay.Outbound) (relay.Result, error) {
			if out.Action["content"] == "two" { // no socket: nothing leaves
				<-ctx.Done()
				return relay.Result{}, context.Cause(ctx)
			}
			return relay.Result{Success: true}, nil
		}
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "x")))
		synctest.Wait()
		w.Close()
		is.Equal(w.Counts().Left, 1)
		first := b.wire.outs[1].RequestID
		b.wire.do = nil
		w = b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(asked, 1) // the agent is not asked again for a whole answer
		is.Equal(b.wire.seen(), []string{"send c1 one", "send c1 two", "send c1 two", "send c1 three"})
		is.Equal(b.wire.outs[2].RequestID, first) // the same words under the same name
	})
}

// crash is a worker that dies where it stands: its writes are refused from now on, as its successor's epoch has begun.
func (b *bench) crash() {
	time.Sleep(time.Hour)
	_, err := b.ledger.Acquire(b.t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "other", Life: time.Second})
	if err != nil {
		b.t.Fatal(err)
	}
	b.current.Close()
}

func TestSuspectsRunFirstAndAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		var mu sync.Mutex
		var order []string
		running := 0
		hang := true
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			if hang {
				<-ctx.Done()
				return agent.Answer{}, context.Cause(ctx)
			}
			mu.Lock()
			running++
			order = append(order, fmt.Sprint(tn.Event.MessageID, " beside ", running-1))
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return agent.Answer{}, nil
		})
		b.change = func(c *turn.Config) { c.Concurrency, c.AgentTimeout = 2, 24*time.Hour }
		w := b.start()
		for i := range 4 { // two run, two wait
			is.NoErr(w.Take(message(fmt.Sprint("c", i), fmt.Sprint("m", i), "x")))
		}
		synctest.Wait()
		b.crash()
		hang = false
		w = b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c9", "m9", "x")))
		for w.Busy() {
			<-w.Changed()
		}
		is.Equal(order[:2], []string{"m0 beside 0", "m1 beside 0"})
		is.Equal(len(order), 5)
		is.Equal(w.Counts().Recovered, 4)
	})
}

func TestOnlyADeathAloneIsAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		var attempts []int
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			attempts = append(attempts, tn.Delivery.Attempt)
			<-ctx.Done() // it dies, and everything with it
			return agent.Answer{}, context.Cause(ctx)
		})
		b.change = func(c *turn.Config) { c.AgentTimeout = 24 * time.Hour }
		is.NoErr(b.start().Take(message("c1", "m1", "x")))
		synctest.Wait()
		for range 3 {
			b.crash()
			b.start()
			synctest.Wait()
		}
		is.Equal(attempts, []int{1, 1, 2, 3}) // beside others once, then alone
		b.crash()
		w := b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(w.Counts().Dead, 1)
		is.Equal(len(attempts), 4)
	})
}

func TestStopCancelsTheRunningTurnOfItsSession(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		hang := make(chan struct{})
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			if tn.Event.Text == "long" {
				select {
				case <-ctx.Done():
					return agent.Answer{}, context.Cause(ctx)
				case <-hang:
				}
			}
			return agent.Echo{}.Answer(ctx, tn)
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "long"))))
		is.NoErr(w.Take(buffered("b2", message("c2", "m2", "long"))))
		is.NoErr(w.Take(buffered("b3", message("c1", "m3", "next"))))
		synctest.Wait()
		stop := message("c1", "m4", " /stop ")
		stop.Event.MessageType = "command"
		is.NoErr(w.Take(buffered("b4", stop)))
		synctest.Wait()
		is.Equal(len(b.wire.outs), 0) // what is queued behind it is stopped, too
		is.True(w.Busy())             // the other session's turn runs on

		is.NoErr(w.Take(relay.Delivery{Kind: relay.KindInterrupt, SessionKey: stopKey("c2")}))
		synctest.Wait()
		is.True(!w.Busy())
		is.Equal(len(b.wire.outs), 0)
		is.NoErr(w.Take(message("c1", "m5", "after it")))
		synctest.Wait()
		is.Equal(len(b.wire.outs), 1)
		is.Equal(w.Counts().Turns, 3)
		var acks []string
		for _, line := range b.wire.seen() {
			if strings.HasPrefix(line, "ack") {
				acks = append(acks, line)
			}
		}
		is.Equal(acks, []string{"ack b1", "ack b2", "ack b3", "ack b4"}) // in order of arrival
	})
}

func stopKey(chat string) string { return message(chat, "", "").Event.SessionKey() }

func TestWhatCannotBeATurnIsAckedAndSetAside(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(relay.Delivery{Kind: relay.KindUnusable, BufferID: "b1", Fault: "too large"}))
		is.NoErr(w.Take(relay.Delivery{Kind: relay.KindPassthrough, BufferID: "b2", Forward: &relay.Forward{Platform: "telegram"}}))
		is.NoErr(w.Take(relay.Delivery{Kind: relay.KindPassthrough, BufferID: "b3", Forward: &relay.Forward{
			Platform: "discord", Body: []byte(`{"id":"i1","type":2,"channel_id":"c7","data":{"name":"status"}}`),
		}}))
		synctest.Wait()
		seen := b.wire.seen()
		is.True(slices.Contains(seen, "send c7 /status")) // a Discord interaction is a turn
		for _, ack := range []string{"ack b1", "ack b2", "ack b3"} {
			is.True(slices.Contains(seen, ack))
		}
		is.Equal(w.Counts().Dead, 2)
	})
}

func TestALiveMessageThatTheJournalTakesTheSecondTimeIsAnsweredOnce(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		f := &failing{down: true}
		b.ledger = ledgertest.Wrap(b.ledger, f.wrap)
		think := make(chan struct{})
		b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
			<-think
			return agent.Echo{}.Answer(ctx, tn)
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "once"))) // answered unkept
		synctest.Wait()
		f.mu.Lock()
		f.down = false
		f.mu.Unlock()
		is.NoErr(w.Take(message("c1", "m1", "once"))) // the connector sends it twice, and the table is back
		synctest.Wait()
		close(think)
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"send c1 once"})
		is.Equal(w.Counts().Duplicates, 1)
		is.True(!w.Busy())
	})
}

// failing refuses journal writes while told to.
type failing struct {
	mu   sync.Mutex
	down bool
}

func (f *failing) wrap(l ledger.Lease) ledger.Lease { return failingLease{l, f} }

type failingLease struct {
	ledger.Lease
	*failing
}

func (f failingLease) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errors.New("throttled")
	}
	return f.Lease.Receive(ctx, entries...)
}

func TestWithoutAJournalNothingBufferedIsTaken(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		f := &failing{down: true}
		b.ledger = ledgertest.Wrap(b.ledger, f.wrap)
		w := b.start()
		defer w.Close()
		w.Take(buffered("b1", message("c1", "m1", "buffered")))
		synctest.Wait()
		is.True(errors.Is(w.Broken(), turn.ErrJournal))
		is.True(errors.Is(w.Take(buffered("b2", message("c1", "m2", "buffered"))), turn.ErrJournal))
		is.NoErr(w.Take(message("c1", "m3", "live"))) // it would be lost: answered unkept
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"send c1 live"}) // no ack
		is.Equal(w.Counts().Unkept, 1)
		is.True(!w.Busy())
	})
}

func TestNoTurnStartsThatDoesNotFit(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.change = func(c *turn.Config) { c.Deadline = time.Now().Add(90 * time.Second) } // AgentTimeout is a minute
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "fits")))
		synctest.Wait()
		time.Sleep(31 * time.Second)
		is.NoErr(w.Take(buffered("b2", message("c1", "m2", "does not"))))
		synctest.Wait()
		seen := slices.DeleteFunc(b.wire.seen(), func(s string) bool { return s == "ack b2" })
		is.Equal(seen, []string{"send c1 fits"})
		is.Equal(w.Counts().Left, 1)
		w.Close()
		b.change = nil
		w = b.start()
		defer w.Close()
		synctest.Wait()
		is.True(slices.Contains(b.wire.seen(), "send c1 does not"))
	})
}

func TestKeysAreStable(t *testing.T) {
	is := is.New(t)
	key := turn.Key("inst", buffered("b1", message("c1", "m1", "x")))
	is.Equal(key, "615cf69d82aba6ca14bf2db7f62304c4") // it names journal entries across versions
	is.Equal(key, turn.Key("inst", message("c1", "m1", "x")))
	is.True(key != turn.Key("other", message("c1", "m1", "x")))
	first, second := turn.Key("inst", message("c1", "", "x")), turn.Key("inst", message("c1", "", "x"))
	is.True(first != second) // never a repeat
	raw, err := json.Marshal(message("c1", "m1", "x").Event)
	is.NoErr(err)
	again, err := relay.DecodeEvent(raw)
	is.NoErr(err)
	is.Equal(key, turn.Key("inst", relay.Delivery{Kind: relay.KindInbound, Event: again}))
}

func TestNothingOvertakesWhatWasLeftInItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		received := &recording{states: map[int64]ledger.State{}}
		b := newBench(t, ledgertest.Wrap(durable(ledger.NewMemory()), received.wrap))
		b.wire.do = func(_ context.Context, out relay.Outbound) (relay.Result, error) {
			if out.Action["content"] == "one" {
				return relay.Result{}, errors.New("the lease may be somebody else's")
			}
			return relay.Result{Success: true}, nil
		}
		w := b.start()
		is.NoErr(w.Take(buffered("b1", message("c1", "m1", "one"))))
		is.NoErr(w.Take(buffered("b2", message("c1", "m2", "two"))))
		synctest.Wait()
		is.NoErr(w.Take(buffered("b3", message("c1", "m3", "three")))) // the session's queue was empty
		is.NoErr(w.Take(buffered("b4", message("c2", "m4", "other")))) // another session is not concerned
		synctest.Wait()
		is.Equal(w.Counts().Left, 3)
		is.Equal(received.states[3], ledger.New) // as a suspect it would overtake the others in the next run
		w.Close()
		is.Equal(sent(b), []string{"one", "other"})

		b.wire.do, b.wire.outs = nil, nil
		w = b.start()
		synctest.Wait()
		w.Close()
		is.Equal(sent(b), []string{"one", "two", "three"})
	})
}

// recording is a ledger that remembers in which state each delivery came, by arrival number.
type recording struct {
	mu     sync.Mutex
	states map[int64]ledger.State
}

func (r *recording) wrap(l ledger.Lease) ledger.Lease { return recordingLease{l, r} }

type recordingLease struct {
	ledger.Lease
	*recording
}

func (r recordingLease) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	r.mu.Lock()
	for _, e := range entries {
		r.states[e.Seq] = e.State
	}
	r.mu.Unlock()
	return r.Lease.Receive(ctx, entries...)
}

// stepping is a durable ledger whose receipts wait to be let through one by one, or to fail.
type stepping struct {
	came chan []string // the arrival numbers of each call
	pass chan error
}

func (s *stepping) wrap(l ledger.Lease) ledger.Lease { return steppingLease{l, s} }

type steppingLease struct {
	ledger.Lease
	*stepping
}

func (s steppingLease) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	var seqs []string
	for _, e := range entries {
		seqs = append(seqs, fmt.Sprint(e.Seq))
	}
	s.came <- seqs
	if err := <-s.pass; err != nil {
		return nil, err
	}
	return s.Lease.Receive(ctx, entries...)
}

func TestDeliveriesAreWrittenDownInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		s := &stepping{make(chan []string), make(chan error)}
		b := newBench(t, ledgertest.Wrap(durable(ledger.NewMemory()), s.wrap))
		w := b.start()
		defer w.Close()
		take := func(first, last int) {
			for i := first; i <= last; i++ {
				is.NoErr(w.Take(buffered(fmt.Sprint("b", i), message("c1", fmt.Sprint("m", i), fmt.Sprint(i)))))
			}
		}
		take(1, 1)
		is.Equal(<-s.came, []string{"1"})
		take(2, 4)
		synctest.Wait() // the connector pipelines: more than one waits, and nobody overtakes
		s.pass <- nil
		is.Equal(<-s.came, []string{"2", "3", "4"})
		take(5, 6)
		synctest.Wait()
		is.Equal(sent(b), []string{"1"})
		s.pass <- errors.New("throttled")
		synctest.Wait() // what came behind is not even tried: it would be answered before what failed
		is.Equal(b.wire.seen(), []string{"ack b1", "send c1 1"})
		is.True(errors.Is(w.Broken(), turn.ErrJournal))
		entries, err := ledgertest.Recover(t.Context(), b.lease)
		is.NoErr(err)
		is.Equal(len(entries), 0)
	})
}

// unsure is a durable ledger whose receipts are made and reported as failed.
type unsure struct{ ledger.Lease }

func (u unsure) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	if _, err := u.Lease.Receive(ctx, entries...); err != nil {
		return nil, err
	}
	return nil, errors.New("the answer was lost")
}

func TestALiveMessageThatMayBeInTheJournalIsNotAnsweredTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		memory := ledger.NewMemory()
		b := newBench(t, ledgertest.Wrap(durable(memory), func(l ledger.Lease) ledger.Lease { return unsure{l} }))
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "one")))
		synctest.Wait()
		is.Equal(w.Counts().Unkept, 1)
		w.Close()
		is.Equal(sent(b), []string{"one"})

		b.ledger = durable(memory)
		w = b.start()
		defer w.Close()
		is.Equal(w.Counts().Recovered, 0)
	})
}

// sent is what the sends said, in order.
func sent(b *bench) (list []string) {
	for _, out := range b.wire.outs {
		list = append(list, out.Action["content"].(string))
	}
	return list
}

// slowReceipt is a durable ledger whose receipts take a moment, as a table's do.
type slowReceipt struct{ ledger.Lease }

func (s slowReceipt) Receive(ctx context.Context, entries ...ledger.Entry) ([]ledger.State, error) {
	select {
	case <-time.After(10 * time.Millisecond):
		return s.Lease.Receive(ctx, entries...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestALiveMessageTakenJustBeforeTheEndIsAnsweredByTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledgertest.Wrap(durable(ledger.NewMemory()), func(l ledger.Lease) ledger.Lease { return slowReceipt{l} }))
		w := b.start()
		is.NoErr(w.Take(message("c1", "m1", "one"))) // its write is under way
		is.NoErr(w.Take(message("c1", "m2", "two"))) // waits for that
		w.Close()
		is.Equal(sent(b), nil)
		is.Equal(w.Counts().Left, 2)
		w = b.start()
		synctest.Wait()
		w.Close()
		is.Equal(sent(b), []string{"one", "two"})
	})
}

func TestAWriteThatHangsHoldsUpTheEndForAMomentOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledgertest.Wrap(durable(ledger.NewMemory()), func(l ledger.Lease) ledger.Lease { return hanging{l} }))
		w := b.start()
		for i := range 200 {
			is.NoErr(w.Take(message("c1", fmt.Sprint("m", i), "x")))
		}
		synctest.Wait()
		start := time.Now()
		w.Close()
		is.True(time.Since(start) <= 2*time.Second)
	})
}

// hanging is a durable ledger that does not answer to receipts.
type hanging struct{ ledger.Lease }

func (hanging) Receive(ctx context.Context, _ ...ledger.Entry) ([]ledger.State, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func command(chat, id, text string) relay.Delivery {
	d := message(chat, id, text)
	d.Event.MessageType = "command"
	return d
}

func TestAStopThatComesAgainStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, durable(ledger.NewMemory()))
		b.agent = agentFunc(func(ctx context.Context, turn agent.Turn) (agent.Answer, error) {
			select {
			case <-time.After(5 * time.Second):
				return agent.Echo{}.Answer(ctx, turn)
			case <-ctx.Done():
				return agent.Answer{}, ctx.Err()
			}
		})
		w := b.start()
		defer w.Close()
		stop := buffered("b1", command("c1", "m1", "/stop"))
		is.NoErr(w.Take(stop)) // done with, but its ack is lost with the socket
		synctest.Wait()
		is.NoErr(w.Take(buffered("b2", message("c1", "m2", "later"))))
		time.Sleep(time.Second)
		is.NoErr(w.Take(stop))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		is.Equal(sent(b), []string{"later"})
	})
}

// unfinishing is a durable ledger whose process dies before it can finish anything.
type unfinishing struct{ ledger.Lease }

func (unfinishing) Finish(context.Context, string) error { return context.DeadlineExceeded }

func TestAStopThatIsLeftBehindIsNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		memory := ledger.NewMemory()
		b := newBench(t, ledgertest.Wrap(durable(memory), func(l ledger.Lease) ledger.Lease { return unfinishing{l} }))
		w := b.start()
		is.NoErr(w.Take(buffered("b1", command("c1", "m1", "/stop"))))
		synctest.Wait()
		w.Close()

		b.ledger = durable(memory)
		w = b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(w.Counts().Recovered, 1)
		is.Equal(w.Counts().Turns, 0)
		is.Equal(sent(b), nil)
		entries, err := ledgertest.Recover(t.Context(), b.lease)
		is.NoErr(err)
		is.Equal(len(entries), 0)
	})
}

func TestALiveMessageThatComesTwiceIsAnsweredOnceWithoutAJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		b := newBench(t, ledgertest.Wrap(durable(ledger.NewMemory()), (&failing{down: true}).wrap))
		answer := make(chan struct{})
		b.agent = agentFunc(func(ctx context.Context, turn agent.Turn) (agent.Answer, error) {
			<-answer
			return agent.Echo{}.Answer(ctx, turn)
		})
		w := b.start()
		defer w.Close()
		is.NoErr(w.Take(message("c1", "m1", "one")))
		is.NoErr(w.Take(message("c1", "m1", "one")))
		synctest.Wait()
		close(answer)
		synctest.Wait()
		is.Equal(sent(b), []string{"one"})
		is.Equal(w.Counts().Duplicates, 1)
	})
}
