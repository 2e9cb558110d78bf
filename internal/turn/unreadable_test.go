package turn_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/turn"
)

func TestAnEntryThatCannotBeReadIsDeadAndFailsNoOther(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		is := is.New(t)
		b.start()
		body, err := json.Marshal(message("c1", "m3", "hello"))
		is.NoErr(err)
		for i, body := range []string{`{"event":null}`, `[`, string(body)} {
			_, err := b.lease.Receive(t.Context(), ledger.Entry{
				Key: strings.Repeat("k", i+1), Seq: int64(i), State: ledger.New, Session: "0000000a", Body: []byte(body),
			})
			is.NoErr(err)
		}
		b.current.Close()
		w := b.start()
		defer w.Close()
		synctest.Wait()
		is.Equal(b.wire.seen(), []string{"send c1 hello"})
		is.True(!w.Busy())
		dead, err := b.ledger.ListDead(t.Context())
		is.NoErr(err)
		is.Equal(len(dead), 2)
		for _, e := range dead {
			is.True(strings.Contains(e.Error, "the entry cannot be read"))
		}
		is.Equal(w.Counts().Dead, 2)
	})
}

// What is in the table may be anything: a version that is to come, or a hand, has written it. Each message ends, or waits, and none
// keeps another chat's from its answer.
func TestNothingInAnEntryFailsAnotherMessage(t *testing.T) {
	far := time.UnixMilli(math.MaxInt64)
	said := func(list ...string) (raw []json.RawMessage) {
		for _, one := range list {
			raw = append(raw, json.RawMessage(one))
		}
		return raw
	}
	for name, change := range map[string]func(e *ledger.Entry){
		"no body":                      func(e *ledger.Entry) { e.Body = nil },
		"a number for a body":          func(e *ledger.Entry) { e.Body = json.RawMessage("1e400") },
		"a deep body":                  func(e *ledger.Entry) { e.Body = json.RawMessage(strings.Repeat("[", 20_000)) },
		"more attempts than there are": func(e *ledger.Entry) { e.Attempts = math.MaxInt },
		"fewer than none":              func(e *ledger.Entry) { e.Attempts = math.MinInt },
		"more tries than there are":    func(e *ledger.Entry) { e.Wait = ledger.Wait{Since: time.Now(), Tries: math.MaxInt} },
		"fewer tries than none":        func(e *ledger.Entry) { e.Wait = ledger.Wait{Since: time.Now(), Tries: math.MinInt} },
		"waiting for ever":             func(e *ledger.Entry) { e.Wait = ledger.Wait{Due: far, Since: far, Tries: 1, Asked: true} },
		"waiting since ever": func(e *ledger.Entry) {
			e.Wait = ledger.Wait{Due: time.UnixMilli(math.MinInt64), Since: time.UnixMilli(1)}
		},
		"a state of no version":    func(e *ledger.Entry) { e.State = "dozing" },
		"no state":                 func(e *ledger.Entry) { e.State = "" },
		"no place":                 func(e *ledger.Entry) { e.Seq = math.MinInt64 },
		"a session of another":     func(e *ledger.Entry) { e.Session = "zz" },
		"an action that is none":   func(e *ledger.Entry) { e.Actions, e.Done = said("[", "null", "7"), []string{"", "", ""} },
		"an action of wrong types": func(e *ledger.Entry) { e.Actions, e.Done = said(`{"op":5,"chat_id":{"of":-1}}`), []string{""} },
		"an action in a thread of none": func(e *ledger.Entry) {
			e.Actions, e.Done = said(`{"op":"send","content":"x","_thread":"99999999999999999999"}`), []string{""}
		},
		"a stream of nothing":      func(e *ledger.Entry) { e.Open, e.State = true, ledger.Running },
		"an outcome of no version": func(e *ledger.Entry) { e.Actions, e.Done = said(`{"op":"send","content":"x"}`), []string{"ok:ok:\x00"} },
		"fewer outcomes": func(e *ledger.Entry) {
			e.Actions, e.Done = said(`{"op":"send","content":"x"}`, `{"op":"send","content":"y"}`), []string{"ok"}
		},
		"its own leader":       func(e *ledger.Entry) { e.Set = ledger.Set{Leader: e.Key, Members: []string{e.Key, e.Key}} },
		"a leader that is not": func(e *ledger.Entry) { e.Set = ledger.Set{Leader: "nobody"} },
		"members that are not": func(e *ledger.Entry) { e.Set = ledger.Set{Members: []string{"nobody", ""}} },
	} {
		t.Run(name, func(t *testing.T) {
			for _, fails := range []bool{false, true} {
				for _, state := range []ledger.State{ledger.New, ledger.Running, ledger.Alone} {
					synctest.Test(t, func(t *testing.T) {
						is := is.New(t)
						b := newBench(t, ledgertest.Wrap(ledger.NewMemory(), func(l ledger.Lease) ledger.Lease {
							return odd{inPages(l), func(e *ledger.Entry) {
								if e.Key == "k1" {
									change(e)
								}
							}}
						}))
						b.change = func(c *turn.Config) { c.Merge, c.GiveUpAfter, c.Apology = true, time.Hour, "sorry" }
						if fails {
							b.agent = agentFunc(func(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
								if tn.Event.Source.ChatID == "c1" {
									return agent.Answer{}, fmt.Errorf("nobody is there: %w", agent.ErrUnavailable)
								}
								return agent.Echo{}.Answer(ctx, tn)
							})
						}
						b.start()
						for i, chat := range []string{"c1", "c2"} {
							body, err := json.Marshal(message(chat, "m", "hello"))
							is.NoErr(err)
							_, err = b.lease.Receive(t.Context(), ledger.Entry{
								Key: fmt.Sprint("k", i+1), Seq: int64(i + 1), State: state, Session: fmt.Sprintf("0000000%d", i), Body: body,
							})
							is.NoErr(err)
						}
						b.current.Close()
						for range 3 { // the next ones, too
							w := b.startWithin(time.Minute)
							time.Sleep(10 * time.Second)
							w.StopStarting()
							w.Close()
						}
						is.Equal(b.sends("c2"), []string{"hello"})
					})
				}
			}
		})
	}
}

// odd is a lease that reads what nobody has written.
type odd struct {
	durableLease
	change func(*ledger.Entry)
}

func (l odd) Load(ctx context.Context, keys ...string) ([]ledger.Entry, error) {
	list, err := l.durableLease.Load(ctx, keys...)
	for i := range list {
		l.change(&list[i])
	}
	return list, err
}
