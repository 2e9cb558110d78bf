package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
)

// saying is the payload that has a text said in a chat of Discord's.
func saying(key, chat, text string) string {
	return fmt.Sprintf(`{"reason":"say","key":%q,"chat":{"platform":"discord","chat_id":%q,"chat_type":"group","scope_id":"scope-of-%s"},"text":%q}`,
		key, chat, chat, text)
}

// invoke invokes drain with a payload.
func (s *stack) invoke(payload string) outcome {
	s.t.Helper()
	result, err := s.host.Invoke(s.t.Context(), drainFunction, []byte(payload))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.outcome(result)
}

// The built drain, on a table: a say, the same once more, one that is none, one for a chat that nobody knows.
func TestTheBuiltDrainSaysWhatItIsInvokedWith(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	env, table := onTable(t)
	s := deploy(t, setup{env: env, change: anywhere})
	out := s.invoke(saying("k1", "c1", "Good morning"))
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Said, 1)
	is.Equal(replies(s.State()), []string{"Good morning"})
	out = s.invoke(saying("k1", "c1", "Good morning"))
	is.Equal(out.Status, drain.Accepted)
	is.Equal(len(replies(s.State())), 1)
	out = s.invoke(`{"reason":"say","key":"k2","chat":{"platform":"discord","chat_id":"c9"},"text":"Hello?"}`)
	is.Equal(out.Dead, 1)
	dead, err := table.ListDead(t.Context())
	is.NoErr(err)
	is.True(strings.Contains(dead[0].Error, "has never written"))
	for _, wrong := range []string{`{"reason":"say","key":"k3","text":"t"}`, `{"reason":"because","key":"k3"}`} {
		result, err := s.host.Invoke(t.Context(), drainFunction, []byte(wrong))
		is.NoErr(err)
		is.True(result.FunctionError != "")
		is.True(strings.Contains(string(result.Payload), "drain:"))
	}
}

// late answers "slow" later, and notes the keys.
type lateAgent struct {
	mu   sync.Mutex
	keys []string
}

func (a *lateAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var turn agent.Turn
	if json.NewDecoder(r.Body).Decode(&turn) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !strings.HasSuffix(turn.Event.Text, "slow") {
		io.WriteString(w, `{"text":"at once"}`)
		return
	}
	a.mu.Lock()
	a.keys = append(a.keys, turn.Delivery.Key)
	a.mu.Unlock()
	io.WriteString(w, `{"later":"2h"}`)
}

// What waits in the inbox, what was taken from it, and what waits for a late answer, over a rollback to a version before and an
// upgrade back: that version leaves the inbox alone and sends what has its answer. The last one that knows no late answers asks
// nobody before the time is over; the one before that knows no times, and would ask at once.
func TestARollbackLeavesSaysAloneAndAnUpgradeFindsThem(t *testing.T) {
	for version, knowsTimes := range map[string]bool{versionAgo: false, "0d429b9": true} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			testRollbackOfSays(t, builtOf(t, version), knowsTimes)
		})
	}
}

func testRollbackOfSays(t *testing.T, old string, knowsTimes bool) {
	is := is.New(t)
	w := newWork(t)
	answers := &lateAgent{}
	server := httptest.NewServer(answers)
	t.Cleanup(server.Close)
	w.env["DORMOUSE_AGENT"] = server.URL
	w.deploy("")
	if knowsTimes {
		w.Deliver(gateway, message("m1", "late", "slow"))
		is.Equal(w.run("wake").Left, 1)
	}
	for n := range 3 {
		_, err := w.table.PutSay(t.Context(), ledger.Say{Key: fmt.Sprint("k", n), Body: []byte(saying(fmt.Sprint("k", n), "c1", fmt.Sprint("text ", n)))})
		is.NoErr(err)
	}
	w.takeOneSay()
	inbox := func() (list []item) {
		for _, it := range w.items() {
			if strings.HasPrefix(plain(it["sk"]), "s#") {
				list = append(list, it)
			}
		}
		return list
	}
	before := inbox()
	is.Equal(len(before), 4)

	w.deploy(old)
	w.run("arm")
	is.Equal(replies(w.State()), []string{"taken"}) // its answer was there
	is.True(reflect.DeepEqual(inbox(), before))

	w.deploy("")
	w.run("arm")
	is.Equal(replies(w.State()), []string{"taken", "text 0", "text 1", "text 2"})
	if knowsTimes {
		is.Equal(len(answers.keys), 1)
		out := w.invoke(fmt.Sprintf(`{"reason":"say","reply_to_delivery":%q,"text":"late at last"}`, answers.keys[0]))
		is.Equal(out.Said, 1)
		is.Equal(replies(w.State())[4:], []string{"late at last"})
	}
	is.Equal(w.open(), 0)
}

// takeOneSay leaves a say as a drain leaves it that dies once it has taken it.
func (w *work) takeOneSay() {
	w.t.Helper()
	is := is.New(w.t)
	ctx := w.t.Context()
	l, err := w.table.Acquire(ctx, ledger.Ask{Reason: ledger.Arm, Owner: "died", Life: time.Minute})
	is.NoErr(err)
	_, err = w.table.PutSay(ctx, ledger.Say{Key: "taken", Body: []byte(saying("taken", "c2", "taken"))})
	is.NoErr(err)
	body := `{"kind":"inbound","event":{"message_type":"text","source":{"platform":"discord","chat_id":"c2","chat_type":"group",` +
		`"scope_id":"scope-of-c2"}},"say":{"key":"taken","session":"say:discord:c2"}}`
	_, err = l.TakeSays(ctx, ledger.Taking{Say: "taken", Entry: ledger.Entry{
		Key: "say:taken", Seq: 1, State: ledger.New, Session: "0a1b2c3d", Body: json.RawMessage(body),
		Actions: []json.RawMessage{json.RawMessage(`{"op":"send","chat_id":"c2","content":"taken","metadata":{"scope_id":"scope-of-c2"}}`)},
	}})
	is.NoErr(err)
	_, err = l.HandOff(ctx, l.Grant().Plan, true)
	is.NoErr(err)
}

// A thousand says at once on a table: while a drain runs it says them within its time, each seen within a third of a lease; while none
// does, one wake says them all. In each chat they are in the order in which they arrived.
func TestAThousandSaysOnATable(t *testing.T) {
	const chats, each = 20, 50
	inOrder := func(t *testing.T, state devconnector.State) {
		t.Helper()
		next := map[string]int{}
		for _, out := range sends(state) {
			if !out.Applied || out.ChatID == "c0" {
				continue
			}
			if out.Content != fmt.Sprint(next[out.ChatID]) {
				t.Fatalf("%s got %q, want %d", out.ChatID, out.Content, next[out.ChatID])
			}
			next[out.ChatID]++
		}
		for c := range chats {
			if next[fmt.Sprint("c", c+1)] != each {
				t.Fatalf("said: %v", next)
			}
		}
	}
	put := func(t *testing.T, table *dynamo.Ledger) {
		t.Helper()
		is := is.New(t)
		var all sync.WaitGroup
		for c := range chats {
			all.Go(func() {
				for n := range each { // one after another, so that there is an order
					key, chat := fmt.Sprint(c, "-", n), fmt.Sprint("c", c+1)
					if _, err := table.PutSay(context.Background(), ledger.Say{Key: key, Body: []byte(saying(key, chat, fmt.Sprint(n)))}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		is.True(!t.Failed())
	}
	t.Run("while none runs", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		env, table := onOwnTable(t)
		env["DORMOUSE_LOG_LEVEL"] = "warn"
		s := deploy(t, setup{env: env, change: anywhere, timeout: 5 * time.Minute})
		put(t, table)
		out := s.run("wake")
		is.Equal(out.Status, drain.Drained)
		is.Equal(out.Said, chats*each)
		inOrder(t, s.State())
	})
	t.Run("while one runs", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		env, table := onOwnTable(t)
		const lease = 15 * time.Second
		held := holdingAgent(t, "hello")
		env["DORMOUSE_LOG_LEVEL"], env["DORMOUSE_LEASE"], env["DORMOUSE_AGENT"] = "warn", lease.String(), held.url
		s := deploy(t, setup{env: env, change: anywhere, timeout: 5 * time.Minute})
		s.Deliver(gateway, message("m1", "c0", "hello"))
		ended := s.start("wake")
		held.await(t) // it has the lease, and does not end before the agent has answered, however long the says take here
		put(t, table)
		begun := time.Now()
		_, err := table.Acquire(t.Context(), ledger.Ask{Reason: ledger.Speak, Owner: "the last one's invocation", Life: time.Minute})
		is.True(errors.Is(err, ledger.ErrTaken))
		s.await(func(state devconnector.State) bool { return len(replies(state)) > 0 })
		is.True(time.Since(begun) < lease) // a third of it, and what a busy machine needs
		close(held.release)
		out := ended()
		is.Equal(out.Status, drain.Drained)
		is.Equal(out.Said, chats*each)
		inOrder(t, s.State())
	})
}

// What the built drain has taken from the inbox and not yet said when its process dies, the version before says: a text with the
// request id that it had, and a question to the agent as the turn that it is.
func TestWhatWasTakenFromTheInboxIsSaidByTheVersionBefore(t *testing.T) {
	for _, version := range versionsAgo {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			w, old := newWork(t), builtOf(t, version)
			w.deploy("")
			w.leaves = true
			w.LeaveUnanswered("send", -1)
			ask := `{"reason":"say","key":"ask","chat":{"platform":"discord","chat_id":"c2","chat_type":"group","scope_id":"scope-of-c2"},"ask":{"text":"what now?"}}`
			_, err := w.table.PutSay(t.Context(), ledger.Say{Key: "ask", Body: []byte(ask)})
			is.NoErr(err)
			said := w.begin(saying("text", "c1", "Good morning"))
			w.until(func() bool { return len(sends(w.State())) == 1 && len(w.turns("")) == 1 })
			is.NoErr(w.host.Kill(drainFunction))
			said()
			w.LeaveUnanswered("send", 0)
			w.leaves = false

			w.deploy(old)
			sent := w.takenUp()
			is.Equal(sent["c1"], []string{"Good morning", "Good morning"}) // nobody knows whether the first one arrived
			ids := map[string]bool{}
			for _, out := range sends(w.State()) {
				if out.ChatID == "c1" {
					ids[out.RequestID] = true
				}
			}
			is.Equal(len(ids), 1)
			is.Equal(sent["c2"], []string{"answer to "})
			is.Equal(len(w.turns("")), 2)

			w.deploy("")
			w.run("arm")
			is.Equal(len(sends(w.State())), 3)
			is.Equal(w.invoke(saying("text", "c1", "Good morning")).Status, drain.Accepted)
		})
	}
}

// begin invokes drain with a payload, and returns at once; end waits for the end of that.
func (s *stack) begin(payload string) (end func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.host.Invoke(s.t.Context(), drainFunction, []byte(payload)) // it is killed, or another one answers for it
	}()
	return func() { <-ended }
}
