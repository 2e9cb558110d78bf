package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/drain"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/dynamo"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
)

// frozenLease is short, as the successor of a frozen drain has to wait for it to run out, and so long that a busy machine does not
// lose it before.
var frozenLease = map[string]string{"DORMOUSE_LEASE": "5s"}

// What journal writes have in their expressions or keys.
const (
	receives = `"Put":`
	keeps    = "#answer = :answer"
	finishes = ":finished"
)

// tableProxy stands between a drain and its table.
type tableProxy struct {
	*httptest.Server
	target string
	client *http.Client

	mu      sync.Mutex
	before  func(write string) // sees each journal write before the table does, which waits for it
	after   func(write string) // sees it once it is made, before the drain knows
	written int                // how many writes the table has taken, those to the lease too
}

func newTableProxy(t *testing.T, target string) *tableProxy {
	transport := &http.Transport{}
	p := &tableProxy{target: target, client: &http.Client{Transport: transport}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.Server.Close()
		transport.CloseIdleConnections()
	})
	return p
}

func (p *tableProxy) on(before func(string), after func(string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before, p.after = before, after
}

func (p *tableProxy) writes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written
}

func (p *tableProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	journal := strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".TransactWriteItems")
	p.mu.Lock()
	before, after := p.before, p.after
	p.mu.Unlock()
	if journal && before != nil {
		before(string(body))
	}
	req, err := http.NewRequest(r.Method, p.target+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header.Clone()
	resp, err := p.client.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusOK && (journal || strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".UpdateItem")) {
		p.mu.Lock()
		p.written++
		p.mu.Unlock()
	}
	if journal && after != nil {
		after(string(body))
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	w.Write(answer)
}

// crashRig is a stack on a table behind a proxy, with an agent that answers "answer to" and the message's id.
type crashRig struct {
	*stack
	table  *dynamo.Ledger
	proxy  *tableProxy
	env    map[string]string
	answer func(r *http.Request, id string) // runs before an answer; nil: nothing does

	mu    sync.Mutex
	asked map[string]int // by message id
}

func newCrashRig(t *testing.T, more map[string]string, change ...func(*devconnector.Preset)) *crashRig {
	rig := &crashRig{asked: map[string]int{}}
	rig.env, rig.table = onTable(t)
	rig.proxy = newTableProxy(t, rig.env["AWS_ENDPOINT_URL_DYNAMODB"])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var turn agent.Turn
		if err := json.NewDecoder(r.Body).Decode(&turn); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, r.Body) // unless it is read, the server does not notice that the client is gone
		id := turn.Event.MessageID
		rig.mu.Lock()
		rig.asked[id]++
		rig.mu.Unlock()
		if rig.answer != nil {
			rig.answer(r, id)
		}
		fmt.Fprintf(w, `{"text":"answer to %s"}`, id)
	}))
	t.Cleanup(server.Close)
	rig.env["DORMOUSE_AGENT"] = server.URL
	rig.env["AWS_ENDPOINT_URL_DYNAMODB"] = rig.proxy.URL
	for name, value := range more {
		rig.env[name] = value
	}
	s := setup{env: rig.env}
	if len(change) > 0 {
		s.change = change[0]
	}
	rig.stack = deploy(t, s)
	return rig
}

func (r *crashRig) times(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[id]
}

// killed is for the agent and the proxy: it kills drain by SIGKILL, and their caller with it.
func (r *crashRig) killed() {
	r.host.Kill(drainFunction)
	panic(http.ErrAbortHandler)
}

// next runs the drain after one that died, whose lease has run out.
func (r *crashRig) next() outcome {
	r.t.Helper()
	lapse(r.t, r.env["DORMOUSE_TABLE"])
	return r.start("wake")()
}

// lapse has the lease of a drain that died run out at once.
func lapse(t *testing.T, table string) {
	t.Helper()
	_, err := tableClient(t).UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: &table,
		Key: map[string]types.AttributeValue{
			"pk": &types.AttributeValueMemberS{Value: gateway}, "sk": &types.AttributeValueMemberS{Value: "state"},
		},
		UpdateExpression: aws.String("SET #until = :past"), ConditionExpression: aws.String("attribute_exists(#owner)"),
		ExpressionAttributeNames:  map[string]string{"#until": "until", "#owner": "owner"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":past": &types.AttributeValueMemberN{Value: "1"}},
	})
	is.New(t).NoErr(err)
}

// untilFree runs drain until the lease of one that is frozen has run out.
func (s *stack) untilFree() outcome {
	s.t.Helper()
	for end := time.Now().Add(patience); ; {
		out := s.start("wake")()
		if out.Status != drain.Taken || time.Now().After(end) {
			return out
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// checkRest sees that nothing is left anywhere.
func (r *crashRig) checkRest(t *testing.T) {
	t.Helper()
	is := is.New(t)
	is.Equal(r.Buffered(gateway), 0)
	g, err := r.table.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "test", Life: time.Minute}) // it was given back
	is.NoErr(err)
	left, err := ledgertest.Recover(t.Context(), g)
	is.NoErr(err)
	is.Equal(len(left), 0)
}

func TestKilledAtAnyPointItIsAnswered(t *testing.T) {
	tests := map[string]struct {
		write   string // the journal write at which drain dies
		applied bool   // it dies when the write is made; else the table never sees it
		asked   int    // how often the agent runs in all
		sends   int
	}{
		"before the journal":                {receives, false, 1, 1},
		"between journal and ack":           {receives, true, 1, 1},
		"between turn and keep":             {keeps, false, 2, 1},
		"between keep and the first action": {keeps, true, 1, 1},
		"between the action and finish":     {finishes, false, 1, 2},
		"after finish":                      {finishes, true, 1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			rig := newCrashRig(t, nil)
			var once atomic.Bool
			die := func(write string, applied bool) {
				if applied == tt.applied && strings.Contains(write, tt.write) && once.CompareAndSwap(false, true) {
					rig.killed()
				}
			}
			rig.proxy.on(func(write string) { die(write, false) }, func(write string) { die(write, true) })
			rig.Deliver(gateway, event(0, "m0"))
			is.True(rig.start("wake")().FunctionError != "")
			is.True(once.Load())
			acks := 0
			if tt.write != receives { // journalled, and acked at once
				acks = 1
			}
			is.Equal(len(rig.State().Acks), acks)

			out := rig.next()
			is.Equal(out.FunctionError, "")
			list := sends(rig.State())
			is.Equal(len(list), tt.sends)
			for _, send := range list {
				is.Equal(send.Content, "answer to m0")
				is.Equal(send.RequestID, list[0].RequestID)
			}
			is.Equal(rig.times("m0"), tt.asked)
			is.Equal(len(rig.State().Acks), 1)
			rig.checkRest(t)
		})
	}
}

func TestKilledBetweenAckAndTurn(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	rig := newCrashRig(t, map[string]string{"DORMOUSE_CONCURRENCY": "1", "DORMOUSE_MERGE": "off"})
	first := make(chan struct{})
	rig.answer = func(r *http.Request, id string) {
		if id == "m0" && rig.times(id) == 1 {
			close(first)
			<-r.Context().Done() // until the process is killed
		}
	}
	rig.Deliver(gateway, event(0, "m0")) // takes the only slot
	rig.Deliver(gateway, event(1, "m1")) // so this is acked and waits for its turn
	wait := rig.start("wake")
	<-first
	rig.await(acked(2))
	is.NoErr(rig.host.Kill(drainFunction))
	is.True(wait().FunctionError != "")
	is.Equal(rig.times("m1"), 0)

	out := rig.next()
	is.Equal(out.Status, drain.Drained)
	is.Equal(out.Recovered, 2)
	is.Equal(replies(rig.State()), []string{"answer to m0", "answer to m1"})
	is.Equal(rig.times("m1"), 1)
	rig.checkRest(t)
}

// A drain that stood still for longer than its lease lives wakes up with its socket open, in its own view, and an answer
// in hand.
func TestAFrozenDrainWritesAndSendsNothingMore(t *testing.T) {
	for _, kept := range []bool{false, true} {
		t.Run(map[bool]string{false: "in a turn", true: "with an answer kept"}[kept], func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			rig := newCrashRig(t, frozenLease)
			frozen, resume := make(chan struct{}), make(chan struct{})
			freeze := sync.OnceFunc(func() {
				for _, pid := range rig.host.PIDs(drainFunction) {
					syscall.Kill(pid, syscall.SIGSTOP)
				}
				close(frozen)
				<-resume // the answer reaches a drain that has lost everything meanwhile
			})
			var once atomic.Bool
			if kept {
				rig.proxy.on(nil, func(write string) {
					if strings.Contains(write, keeps) && once.CompareAndSwap(false, true) {
						freeze()
					}
				})
			} else {
				rig.answer = func(*http.Request, string) {
					if once.CompareAndSwap(false, true) {
						freeze()
					}
				}
			}
			rig.Deliver(gateway, event(0, "m0"))
			wait := rig.start("wake")
			<-frozen
			rig.await(acked(1))
			is.Equal(len(sends(rig.State())), 0)

			other := newTableProxy(t, rig.proxy.target)
			env := map[string]string{"GATEWAY_RELAY_URL": rig.host.ConnectorURL}
			for name, value := range rig.env {
				env[name] = value
			}
			env["AWS_ENDPOINT_URL_DYNAMODB"] = other.URL
			second := deploy(t, setup{env: env}) // another host for the same gateway
			out := second.untilFree()
			is.Equal(out.Status, drain.Drained)
			is.Equal(out.Recovered, 1)
			is.Equal(replies(rig.State()), []string{"answer to m0"})
			before, written := rig.State(), rig.proxy.writes()

			for _, pid := range rig.host.PIDs(drainFunction) {
				is.NoErr(syscall.Kill(pid, syscall.SIGCONT))
			}
			close(resume)
			out = wait()
			is.Equal(out.FunctionError, "")
			is.True(out.Status == drain.Taken || out.Status == drain.Replaced)
			after := rig.State()
			is.Equal(len(after.Outbounds), len(before.Outbounds))
			is.Equal(len(after.Acks), len(before.Acks))
			is.Equal(rig.proxy.writes(), written) // the table has taken nothing from it
			is.Equal(len(after.Sockets), 2)
			rig.checkRest(t)
		})
	}
}

// Nobody has taken its seat when it wakes up, so only its own look at the clock keeps it from sending what it has kept.
func TestAFrozenDrainThatStillHasItsSeatSendsNothing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	rig := newCrashRig(t, frozenLease)
	frozen, resume := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	rig.proxy.on(nil, func(write string) {
		if strings.Contains(write, keeps) && once.CompareAndSwap(false, true) {
			for _, pid := range rig.host.PIDs(drainFunction) {
				syscall.Kill(pid, syscall.SIGSTOP)
			}
			close(frozen)
			<-resume
		}
	})
	rig.Deliver(gateway, event(0, "m0"))
	wait := rig.start("wake")
	<-frozen
	ask := ledger.Ask{Reason: ledger.Arm, Owner: "test", Life: time.Minute}
	g, err := rig.table.Acquire(t.Context(), ask)
	for end := time.Now().Add(patience); errors.Is(err, ledger.ErrTaken) && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
		g, err = rig.table.Acquire(t.Context(), ask)
	}
	is.NoErr(err)
	is.True(rig.State().Instance(gateway).Connected)
	for _, pid := range rig.host.PIDs(drainFunction) {
		is.NoErr(syscall.Kill(pid, syscall.SIGCONT))
	}
	close(resume)
	is.Equal(wait().Status, drain.Taken)
	is.Equal(len(sends(rig.State())), 0)
	left, err := ledgertest.Recover(t.Context(), g)
	is.NoErr(err)
	is.Equal(len(left), 1)
	is.Equal(len(left[0].Actions), 1) // for the next one to send
}

func TestAKillerAmongSixteenIsDeadAndTheRestAnswered(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const turns, killer = 16, "m7"
	rig := newCrashRig(t, map[string]string{"DORMOUSE_CONCURRENCY": fmt.Sprint(turns), "DORMOUSE_MAX_ATTEMPTS": "3", "DORMOUSE_APOLOGY": "off"})
	var started atomic.Int64
	all := make(chan struct{}) // closed once all of them run side by side
	rig.answer = func(r *http.Request, id string) {
		n := started.Add(1)
		if n == turns {
			close(all)
		}
		if n <= turns && id != killer {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}
		<-all
		if id == killer {
			rig.killed()
		}
	}
	for n := range turns {
		e := event(0, fmt.Sprint("m", n))
		e.Source.ChatID = fmt.Sprint("chat-", n) // a session of its own
		e.Source.ScopeID = "scope"
		rig.Deliver(gateway, e)
	}
	is.True(rig.start("wake")().FunctionError != "")
	deaths := 0
	for {
		out := rig.next()
		if out.FunctionError == "" {
			is.Equal(out.Status, drain.Drained)
			is.Equal(out.Dead, 1)
			break
		}
		deaths++
		is.True(deaths <= 3)
	}
	is.Equal(deaths, 3)              // alone, each
	is.Equal(rig.times(killer), 1+3) // the first time it was one of sixteen
	seen := map[string]int{}
	for _, reply := range replies(rig.State()) {
		seen[reply]++
	}
	is.Equal(len(seen), turns-1)
	for reply, times := range seen {
		is.True(times == 1)
		is.True(reply != "answer to "+killer)
	}
	dead, err := rig.table.ListDead(t.Context())
	is.NoErr(err)
	is.Equal(len(dead), 1)
	is.Equal(dead[0].Attempts, 3)
	rig.checkRest(t)
}
