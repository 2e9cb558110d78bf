package main_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// backlog is how many tenths of the whole there are, which is 5,000 live messages, 900 large entries and 100,000 small ones. make
// test has one, apart from the other tests and without the race detector; make backlog has ten.
var backlog = flag.Int("backlog", 0, "how many tenths of make backlog")

// onBacklogTable is onTable for make backlog, and our own table for make test, which is quicker.
func onBacklogTable(t *testing.T) (env map[string]string, l *dynamo.Ledger) {
	t.Helper()
	if *backlog == 0 {
		t.Skip("make test runs it apart, with -backlog 1")
	}
	if *backlog > 1 {
		return onTable(t)
	}
	t.Parallel() // make test asks whether it holds, make backlog measures
	return onOwnTable(t)
}

// slowAgent answers each turn after a while with the first two words of its text.
func slowAgent(t *testing.T, after time.Duration) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var tn struct{ Event struct{ Text string } }
		if err := json.NewDecoder(r.Body).Decode(&tn); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, r.Body)
		time.Sleep(after)
		json.NewEncoder(w).Encode(map[string]string{"text": strings.Join(strings.Fields(tn.Event.Text)[1:2], " ")})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// in128MB are the settings of a function of 128 MB, as the template makes them, with four times as many turns side by side.
func in128MB(env map[string]string, agent string) map[string]string {
	env["GOMEMLIMIT"], env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = "102MiB", "128"
	env["DORMOUSE_AGENT"], env["DORMOUSE_CONCURRENCY"] = agent, "32"
	env["DORMOUSE_LOG_LEVEL"], env["DORMOUSE_MAX_HANDOFFS"] = "warn", "1000"
	env["DORMOUSE_MERGE"] = "off" // each message is told by its answer
	return env
}

// mostMB is what a function of 128 MB may have in memory: the rest is Lambda's.
const mostMB = 110

// peak is the most memory that the drain process had, in MB; 0 if it cannot be told.
func (s *stack) peak() (mb int) {
	for _, pid := range s.host.PIDs(drainFunction) {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(status)) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
				kb, _ := strconv.Atoi(fields[1])
				mb = max(mb, kb>>10)
			}
		}
	}
	return mb
}

// awaitNext waits for the end of the run that the one before has asked for, which may take all its time.
func (s *stack) awaitNext(most time.Duration) outcome {
	s.t.Helper()
	select {
	case out := <-s.done:
		return out
	case <-time.After(most):
		s.t.Fatal("a run has handed over, and no other one has ended")
		return outcome{}
	}
}

// afterLease is the next run, once a lease that was lost has run out; or one of which nothing comes.
func (s *stack) afterLease() (out outcome) {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		if out = s.start("arm")(); out.Status != drain.Taken {
			return out
		}
	}
	s.t.Error("nobody gets the lease that a run has lost")
	return outcome{}
}

// anywhere has a connector take answers to chats that it has not heard of.
func anywhere(p *devconnector.Preset) { p.Routing = devconnector.RouteAny }

// answeredIn are the numbers that each chat was sent, in order, and that its connector has taken.
func answeredIn(state devconnector.State) (chats map[string][]int, n int) {
	chats = map[string][]int{}
	for _, out := range sends(state) {
		if !out.Applied {
			continue
		}
		number, err := strconv.Atoi(out.Content)
		if err != nil {
			number = -1
		}
		chats[out.ChatID] = append(chats[out.ChatID], number)
		n++
	}
	return chats, n
}

// inOrder checks that no chat got an answer twice, or before an earlier one.
func inOrder(t *testing.T, chats map[string][]int) {
	for chat, numbers := range chats {
		for i := range numbers[1:] {
			if numbers[i] >= numbers[i+1] {
				t.Errorf("chat %s: %d is behind %d", chat, numbers[i+1], numbers[i])
			}
		}
	}
}

func backlogEvent(chat, n int, text string) relay.Event {
	e := event(0, fmt.Sprint("m", n))
	e.Text = fmt.Sprintf("%s %d %s", eventText, n, text)
	e.Source.ChatID = fmt.Sprint("chat-", chat)
	return e
}

// A flood of live messages at a slow agent, on a socket that breaks: it is dialled again at once, and what was received is
// answered in order.
func TestALiveFloodIsJournalledAndAnsweredInOrder(t *testing.T) {
	is := is.New(t)
	env, _ := onBacklogTable(t)
	many := 500 * *backlog
	s := deploy(t, setup{env: in128MB(env, slowAgent(t, 200*time.Millisecond)), both: true, unsearched: *backlog > 1})
	wait := s.start("wake")
	s.await(func(state devconnector.State) bool { return state.Instance(gateway).Connected })
	began := time.Now()
	for n := range many {
		s.Deliver(gateway, backlogEvent(n%50, n, "hello"))
	}
	received := 0
	drops := time.NewTicker(10 * time.Second)
	defer drops.Stop()
	if *backlog == 1 {
		drops.Reset(2 * time.Second)
	}
	ended := make(chan outcome, 1)
	go func() { ended <- wait() }()
	peak, slowest, runs := 0, time.Duration(0), 0
	seen := func(out outcome) (goesOn bool) {
		received += out.Received - out.Duplicates
		peak, runs = max(peak, s.peak()), runs+1
		if out.Status == drain.Taken { // the table was so slow that the lease ran out
			go func() { ended <- s.afterLease() }()
		}
		return out.Status == drain.HandedOff || out.Status == drain.Taken
	}
	for running := true; running; {
		select {
		case <-drops.C:
			before := len(s.Sockets())
			if s.Drop(gateway) != nil {
				continue
			}
			cut := time.Now()
			s.await(func(state devconnector.State) bool { return len(state.Sockets) > before })
			slowest = max(slowest, time.Since(cut))
			if *backlog == 1 {
				drops.Stop()
			}
		case out := <-ended:
			running = seen(out)
		case out := <-s.done:
			running = seen(out)
		}
	}
	chats, n := answeredIn(s.State())
	inOrder(t, chats)
	t.Logf("%d live messages, %d received, %d answered in %v, %d runs; slowest dial after a cut %v; peak %d MB",
		many, received, n, time.Since(began).Round(time.Second), runs, slowest, peak)
	is.Equal(n, received)     // and nothing of it is lost
	is.True(n >= many*95/100) // but what went into a dead socket
	is.True(slowest < 2*time.Second)
	is.True(peak < mostMB)
}

// What earlier runs left is read as its turn comes: the dial waits for keys alone.
func TestABacklogIsTakenUpInBoundedMemory(t *testing.T) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = letters[rand.IntN(len(letters))]
		}
		return string(b)
	}
	for name, tt := range map[string]struct{ many, bytes int }{
		"large": {90 * *backlog, 200_000},
		"small": {10_000 * *backlog, 30},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			ctx := t.Context()
			env, table := onBacklogTable(t)
			g, err := table.Acquire(ctx, ledger.Ask{Reason: ledger.Wake, Owner: "died", Life: time.Minute})
			is.NoErr(err)
			var entries []ledger.Entry
			size := 0
			for i := range tt.many {
				e := backlogEvent(i%(tt.many/3), i, noise(tt.bytes))
				body, err := json.Marshal(map[string]any{"event": e, "received_at": time.Now()})
				is.NoErr(err)
				size = len(body)
				key := turn.Key(gateway, relay.Delivery{Kind: relay.KindInbound, Event: &e})
				entries = append(entries, ledger.Entry{
					Key: key, Seq: int64(i + 1), State: ledger.New, Body: body, Session: fmt.Sprintf("%08x", i%(tt.many/3)),
				})
				if len(entries) == 50 || i == tt.many-1 {
					_, err = g.Receive(ctx, entries...)
					is.NoErr(err)
					entries = entries[:0]
				}
			}
			_, err = g.HandOff(ctx, ledger.Plan{}, true)
			is.NoErr(err)
			s := deploy(t, setup{
				change: anywhere, env: in128MB(env, slowAgent(t, 0)), both: true, timeout: 2 * time.Minute, unsearched: *backlog > 1,
			})
			began := time.Now()
			out := s.run("arm")
			dial, runs := *out.MS.Dial, 1
			peak := s.peak()
			for ; out.Status == drain.HandedOff; runs++ {
				out = s.awaitNext(3 * time.Minute)
				peak = max(peak, s.peak())
			}
			chats, n := answeredIn(s.State())
			inOrder(t, chats)
			t.Logf("%d entries of %d bytes: dialled after %d ms; %d answered in %v, %d runs; peak %d MB",
				tt.many, size, dial, n, time.Since(began).Round(time.Second), runs, peak)
			is.Equal(n, tt.many)
			is.True(dial < 5000)
			is.True(peak < mostMB)
		})
	}
}
