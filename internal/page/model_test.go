package page_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/dormouse-relay/dormouse/internal/devconnector"
	"github.com/dormouse-relay/dormouse/internal/devstage"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/locallambda"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/page"
	"github.com/dormouse-relay/dormouse/internal/rig"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// after is a moment so many milliseconds after noon.
func after(ms float64) time.Time { return noon.Add(time.Duration(ms * float64(time.Millisecond))) }

// told is what a page gets of a model: its entries by kind and id.
type told map[string]map[string]json.RawMessage

// tell reads the first event of a page's stream.
func tell(t *testing.T, m *page.Model) told {
	t.Helper()
	events := stream(t, m, "")
	events.next() // the reset
	return events.next().entries
}

// one reads an entry.
func one[T any](t *testing.T, all told, kind, id string) (value T) {
	t.Helper()
	raw, ok := all[kind][id]
	if !ok {
		t.Fatalf("no %s %q among %d", kind, id, len(all[kind]))
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// events are those of a stream.
type events struct {
	t     *testing.T
	lines *bufio.Scanner
}

type event struct {
	name, id string
	entries  told
	gone     []string
}

// stream opens the stream of a page that shows m, from an event on.
func stream(t *testing.T, m *page.Model, last string) *events {
	t.Helper()
	server := page.New(page.Config{Model: m, Token: token})
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		server.Close()
		web.Close()
	})
	return follow(t, web.URL, last)
}

func follow(t *testing.T, base, last string) *events {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("HTTP %d", resp.StatusCode)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 64<<20)
	return &events{t, lines}
}

// next is the next event.
func (e *events) next() (next event) {
	e.t.Helper()
	for e.lines.Scan() {
		name, value, _ := strings.Cut(e.lines.Text(), ": ")
		switch name {
		case "event":
			next.name = value
		case "id":
			next.id = value
		case "data":
			var list []page.Entry
			if next.name == "" {
				if err := json.Unmarshal([]byte(value), &list); err != nil {
					e.t.Fatal(err)
				}
			}
			next.entries = told{}
			for _, entry := range list {
				if entry.Value == nil {
					next.gone = append(next.gone, entry.Kind+" "+entry.ID)
					continue
				}
				if next.entries[entry.Kind] == nil {
					next.entries[entry.Kind] = map[string]json.RawMessage{}
				}
				next.entries[entry.Kind][entry.ID] = entry.Value
			}
		case "":
			if next.entries != nil {
				return next
			}
		}
	}
	e.t.Fatal("the stream ended")
	return next
}

// line is a line of drain's log.
func line(at float64, request, msg string, more ...any) page.LogLine {
	members := map[string]any{"timestamp": after(at), "level": "INFO", "message": msg, "requestId": request}
	for i := 0; i < len(more); i += 2 {
		members[more[i].(string)] = more[i+1]
	}
	raw, _ := json.Marshal(members)
	return page.ReadLog(rig.Drain, string(raw), noon)
}

func saw(at float64, what string, more ...func(*devconnector.Observation)) devconnector.Observation {
	o := devconnector.Observation{At: after(at), What: what}
	for _, change := range more {
		change(&o)
	}
	return o
}

// drained plays a drain that answers one message.
func drained(m *page.Model) {
	wake := func(at float64, msg string) {
		l := line(at, "w-1", msg, "ms", 1.0)
		l.Function = rig.Wake
		m.Log(l)
	}
	buffered := func(o *devconnector.Observation) { o.BufferID, o.MessageID = "buf-1", "m-1" }
	m.Observe(saw(0, devconnector.ObsBuffered, buffered))
	m.Observe(saw(0, devconnector.ObsPoke))
	wake(12, logs.Poke)
	m.Function(locallambda.Event{At: after(20), Function: rig.Drain, What: locallambda.EventInvoked, RequestID: "r-1"})
	m.Log(line(21, "r-1", logs.Lease, "reason", "wake"))
	m.Log(line(24, "r-1", logs.Dial, "reason", "wake"))
	m.Observe(saw(26, devconnector.ObsDescriptor))
	m.Observe(saw(27, devconnector.ObsInbound, buffered))
	m.Log(line(26.5, "r-1", logs.Descriptor))
	m.Log(line(28, "r-1", logs.Journalled, "delivery", "key-1", "session", "s", "message_id", "m-1", "buffer_id", "buf-1"))
	m.Observe(saw(29, devconnector.ObsInboundAck, buffered))
	m.Log(line(30, "r-1", logs.Turn, "delivery", "key-1", "attempt", 1))
	m.Observe(saw(40, devconnector.ObsOutbound, func(o *devconnector.Observation) { o.Op, o.RequestID = "send", "q-1" }))
	m.Log(line(41, "r-1", logs.Reply, "delivery", "key-1", "op", "send", "request", "q-1", "message_id", "m-2"))
	m.Observe(saw(1040, devconnector.ObsGoingIdle))
	m.Log(line(1040, "r-1", logs.GoingIdle))
	m.Log(line(1045, "r-1", logs.DrainEnded, "report", map[string]any{"status": "drained"}))
	m.Function(locallambda.Event{At: after(1050), Function: rig.Drain, What: locallambda.EventAnswered, RequestID: "r-1", Result: &locallambda.Result{
		RequestID: "r-1", Cold: true, InitDuration: 10 * time.Millisecond, Began: after(20), Duration: 1030 * time.Millisecond}})
}

func TestADrainIsDrawnFromThePokeToTheFreeze(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	drained(m)
	all := tell(t, m)
	d := one[page.Drain](t, all, page.KindDrain, "drain-1")
	is.Equal(len(all[page.KindDrain]), 1)
	var what []string
	for i, mark := range d.Marks {
		what = append(what, mark.What)
		is.True(i == 0 || d.Marks[i-1].At <= mark.At) // in order
	}
	is.Equal(what, []string{"poke", "init", "wake", "start", "lease", "dial", "descriptor", "inbound", "ack", "turn", "reply", "going_idle",
		"report", "freeze"})
	is.Equal(d.Status, "drained")
	is.Equal(d.Reason, "wake")
	is.True(d.Cold)
	is.Equal(d.InitMS, 10.0)
	is.Equal(d.LingerMS, 1009.0) // from the last thing it had to do to the freeze
	is.Equal(d.Turns, 1)
	is.Equal(d.Ended-d.Begun, 1050.0)
	const dollars = 1.04*0.125*0.0000133334 + 0.2/1e6 // init is billed, and lingering is
	is.True(d.Cost.Dollars > dollars*0.999 && d.Cost.Dollars < dollars*1.001)
	now := one[page.Now](t, all, page.KindNow, "now")
	is.Equal(now.Word, page.Asleep)
	is.Equal(now.Buffered, 0)
	is.Equal(now.Cost.LingerSeconds, 1.009)
	is.Equal(now.Drain, "drain-1")
}

func TestTheWordIsWhatTheGatewayDoes(t *testing.T) {
	const poke, hello, idle = devconnector.ObsPoke, devconnector.ObsDescriptor, devconnector.ObsGoingIdle
	tests := map[string]struct {
		do   func(m *page.Model)
		word string
	}{
		"nothing has happened": {func(*page.Model) {}, page.Asleep},
		"a poke":               {func(m *page.Model) { m.Observe(saw(1, poke)) }, page.Waking},
		"a descriptor":         {func(m *page.Model) { m.Observe(saw(1, poke)); m.Observe(saw(2, hello)) }, page.Connected},
		"a late log line": {func(m *page.Model) {
			m.Observe(saw(1, poke))
			m.Observe(saw(3, hello))
			m.Log(line(2, "r-1", logs.Lease))
		}, page.Connected},
		"going_idle": {func(m *page.Model) { m.Observe(saw(1, hello)); m.Observe(saw(2, idle)) }, page.GoingIdle},
		"a second look": {func(m *page.Model) {
			m.Observe(saw(1, hello))
			m.Observe(saw(2, idle))
			m.Observe(saw(3, hello))
		}, page.Connected},
		"cut off": {func(m *page.Model) {
			m.Observe(saw(1, poke))
			m.Observe(saw(2, hello))
			m.Observe(saw(3, devconnector.ObsClosed))
		}, page.Waking},
		"revoked": {func(m *page.Model) { m.Log(line(1, "r-1", logs.Revoked)); m.Observe(saw(2, poke)) }, page.Disabled},
		"enabled again": {func(m *page.Model) {
			m.SetBooks(page.Books{Disabled: true}, nil, after(1))
			m.SetBooks(page.Books{}, nil, after(2))
		}, page.Asleep},
		"killed": {func(m *page.Model) {
			m.Observe(saw(1, poke))
			m.Log(line(2, "r-1", logs.Lease))
			m.Observe(saw(3, hello))
			m.Function(locallambda.Event{At: after(4), Function: rig.Drain, What: locallambda.EventAnswered, RequestID: "r-1",
				Result: &locallambda.Result{FunctionError: "Unhandled", Payload: []byte(`{"errorMessage":"RequestId: r-1 Error: signal: killed"}`)}})
		}, page.Asleep},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := page.NewModel(page.About{})
			tt.do(m)
			is.New(t).Equal(one[page.Now](t, tell(t, m), page.KindNow, "now").Word, tt.word)
		})
	}
}

func TestALostPokeIsSaid(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	m.Observe(saw(1, devconnector.ObsBuffered))
	m.Observe(saw(1, devconnector.ObsPokeLost, func(o *devconnector.Observation) { o.Detail = "cooldown" }))
	now := one[page.Now](t, tell(t, m), page.KindNow, "now")
	is.Equal(now.Word, page.Asleep)
	is.Equal(now.Buffered, 1)
	is.True(strings.Contains(now.Why, "A sweep finds it"))
}

func TestADeployedGatewayIsDrawnFromItsLogAlone(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{Deployed: true})
	for _, l := range []page.LogLine{
		line(1, "r-1", logs.Lease, "reason", "wake"), line(2, "r-1", logs.Descriptor), line(3, "r-1", logs.Journalled, "delivery", "k", "session", "s"),
		line(4, "r-1", logs.Turn, "delivery", "k", "attempt", 1), line(5, "r-1", logs.Dead, "delivery", "k", "error", "the agent said no", "level", "ERROR"),
		line(6, "r-1", logs.DrainEnded, "report", map[string]any{"status": "drained"}), line(9, "r-2", logs.Lease, "reason", "schedule"),
	} {
		m.Log(l)
	}
	all := tell(t, m)
	is.Equal(len(all[page.KindDrain]), 2)
	is.Equal(one[page.Drain](t, all, page.KindDrain, "drain-1").Status, "drained")
	is.Equal(one[page.Now](t, all, page.KindNow, "now").Word, page.Waking) // the second has begun
	w := one[page.Way](t, all, page.KindWay, "delivery-1")
	is.Equal(w.State, page.WayDead)
	is.Equal(w.Why, "the agent said no")
	lines, ok := m.DrainLines("drain-1")
	is.True(ok)
	is.Equal(len(lines), 6)
}

func TestAMessagesWayIsTold(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{Agent: "http://127.0.0.1:1/"})
	drained(m)
	m.Exchange(devstage.Exchange{ID: 1, Key: "key-1", Attempt: 1, Began: after(31), Answered: after(38), Ended: after(39), Status: 200,
		ContentType: "application/json", Turn: json.RawMessage(`{"event":{"text":"it's me"}}`), Answer: []byte(`{"text":"hi"}`)})
	p, ok := m.Way("key-1")
	is.True(ok)
	is.Equal(p.State, page.WayAnswered)
	is.Equal(p.Buffer, "buf-1")
	is.Equal(p.Attempts, 1)
	is.Equal(p.Done, []page.Done{{Op: "send", Request: "q-1", At: float64(after(41).UnixMicro()) / 1000, Outcome: "ok", MID: "m-2", Tries: 1}})
	is.Equal(len(p.Lines), 3)
	is.Equal(p.Exchanges[0].Answer, `{"text":"hi"}`)
	is.Equal(p.Exchanges[0].MS, 8.0)
	is.Equal(p.Curl, `curl -sS -H 'content-type: application/json' --data-binary '{"event":{"text":"it'\''s me"}}' 'http://127.0.0.1:1/'`)

	repeat := func(o *devconnector.Observation) { o.BufferID, o.MessageID = "buf-2", "m-1" }
	m.Observe(saw(2000, devconnector.ObsBuffered, repeat))
	m.Log(line(2010, "r-2", logs.SeenEnded, "delivery", "key-1", "state", "finished", "message_id", "m-1", "buffer_id", "buf-2"))
	again, _ := m.Way("delivery-2")
	is.Equal(again.State, page.WaySeen)
	is.Equal(again.Replayed, "delivery-1")
	first, _ := m.Way("delivery-1")
	is.Equal(first.State, page.WayAnswered)
	is.Equal(first.Repeats, 1)
}

func TestMessagesOfOneTurnShareWhatBecomesOfIt(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	for _, n := range []string{"1", "2", "3"} {
		m.Log(line(1, "r", logs.Journalled, "delivery", "k-"+n, "message_id", "m-"+n))
	}
	m.Log(line(2, "r", logs.Turn, "delivery", "k-3", "attempt", 1))
	turn := json.RawMessage(`{"events":[{"message_id":"m-1"},{"message_id":"m-2"},{"message_id":"m-3"}]}`)
	m.Exchange(devstage.Exchange{Key: "k-3", Attempt: 1, Began: after(2), Turn: turn})
	m.Exchange(devstage.Exchange{Key: "k-3", Attempt: 1, Began: after(2), Ended: after(3), Status: 200, Turn: turn, Answer: []byte(`{}`)})
	m.Log(line(4, "r", logs.Reply, "delivery", "k-3", "op", "send", "request", "q", "message_id", "m-9"))
	last, _ := m.Way("k-3")
	for _, key := range []string{"k-1", "k-2"} {
		p, _ := m.Way(key)
		is.Equal(p.State, page.WayAnswered)
		is.Equal(p.With, last.ID)
		is.Equal(len(p.Exchanges), 1)
	}
	m.SetBooks(page.Books{}, nil, after(5))
	first, _ := m.Way("k-1")
	is.Equal(first.State, page.WayAnswered)
}

func decoded(t *testing.T, event string) *relay.Event {
	t.Helper()
	e, err := relay.DecodeEvent([]byte(event))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAMessageOfTheTableAloneCanBeTakenAlong(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{Deployed: true})
	event := `{"text":"hello","message_type":"text","message_id":"m-1","source":{"platform":"slack","chat_id":"c","chat_type":"dm","user_id":"u","user_name":"Ann"}}`
	body, err := json.Marshal(relay.Delivery{Kind: relay.KindInbound, ReceivedAt: noon, Event: decoded(t, event)})
	is.NoErr(err)
	m.Kept(ledger.Entry{Key: "key-1", State: ledger.Dead, Body: body, Error: "it broke"})
	m.SetBooks(page.Books{Dead: []page.DeadMessage{{Key: "key-1", Reason: "it broke"}}}, nil, after(1))
	p, ok := m.Way("key-1")
	is.True(ok)
	is.Equal([]string{p.State, p.Name, p.Text, p.Why}, []string{page.WayDead, "Ann", "hello", "it broke"})
	c, err := p.Case()
	is.NoErr(err)
	raw, err := json.Marshal(c)
	is.NoErr(err)
	events, forwards, err := page.ReadCase(raw)
	is.NoErr(err)
	is.Equal(decoded(t, string(events[0])), decoded(t, event))
	is.Equal(forwards, []bool{false})
}

func TestWhatTheAgentPrintsIsShown(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	for n := range 300 {
		m.Printed(fmt.Sprint("line ", n), noon)
	}
	lines := one[[]page.Printed](t, tell(t, m), page.KindAgent, "agent")
	is.Equal(len(lines), 200)
	is.Equal(lines[199].Text, "line 299")
}

func TestARefusalIsToldWithItsClassUntilItIsAccepted(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	of := []any{"delivery", "k", "op", "send", "request", "q"}
	m.Log(line(1, "r", logs.Journalled, "delivery", "k"))
	m.Log(line(2, "r", logs.ActionRefused, append(of, "class", "transient", "error", "slow down", "level", "WARN")...))
	m.Log(line(2, "r", logs.ActionWaits, append(of, "in", "1m0s", "tries", 1)...))
	p, _ := m.Way("k")
	is.Equal(p.State, page.WayWaiting)
	is.Equal(p.Why, "slow down")
	is.Equal(p.Next, float64(after(2).Add(time.Minute).UnixMilli()))
	is.Equal(p.Done[0].Class, "transient")
	m.Log(line(3, "r", logs.Reply, append(of, "message_id", "m-9")...))
	p, _ = m.Way("k")
	is.Equal(p.State, page.WayAnswered)
	is.Equal(len(p.Done), 1)
	is.Equal(p.Done[0].Outcome, "ok")
	is.Equal(p.Done[0].Class, "")
}

// A turn that says nothing leaves no line behind: the books tell that it has ended.
func TestTheBooksSettleWhatTheLogLeavesOpen(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	for _, key := range []string{"silent", "waits", "died", "runs"} {
		m.Log(line(1, "r", logs.Journalled, "delivery", key))
		m.Log(line(2, "r", logs.Turn, "delivery", key, "attempt", 1))
	}
	books := page.Books{
		Waiting: []page.Waiting{{Key: "waits", Reason: "the agent is away", Next: 7}, {Key: "runs", State: "running"}},
		Dead:    []page.DeadMessage{{Key: "died", Reason: "three failures"}},
	}
	state := func(key string) string { p, _ := m.Way(key); return p.State }
	m.SetBooks(books, nil, after(1)) // read before the last line was logged
	is.Equal(state("silent"), page.WayAsked)
	m.SetBooks(books, nil, after(3))
	is.Equal(state("silent"), page.WaySilent)
	is.Equal(state("waits"), page.WayWaiting)
	is.Equal(state("died"), page.WayDead)
	is.Equal(state("runs"), page.WayAsked)
	shown := one[page.Books](t, tell(t, m), page.KindBooks, "books")
	died, _ := m.Way("died")
	is.Equal(shown.Dead[0].Way, died.ID)
	m.SetBooks(page.Books{}, nil, after(4))
	is.Equal(state("died"), page.WayDropped)
	m.SetBooks(page.Books{}, fmt.Errorf("the table is away"), after(5))
	is.Equal(one[page.Books](t, tell(t, m), page.KindBooks, "books").Error, "the table is away")
}

func TestBooksAreReadFromTheLedger(t *testing.T) {
	is := is.New(t)
	l := ledger.NewMemory()
	lease, err := l.Acquire(t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "o", Life: time.Minute})
	is.NoErr(err)
	_, err = lease.Receive(t.Context(), ledger.Entry{Key: "a", State: ledger.New, Seq: 1}, ledger.Entry{Key: "b", State: ledger.New, Seq: 2})
	is.NoErr(err)
	is.NoErr(lease.Fail(t.Context(), "a", "it is broken", true))
	is.NoErr(lease.Defer(t.Context(), "b", "slow down", ledger.Wait{Due: noon, Since: noon, Tries: 2}, 0))
	b, err := page.ReadBooks(t.Context(), l)
	is.NoErr(err)
	is.True(b.Held)
	is.Equal(b.Pending, 1)
	is.Equal(b.Waiting[0].Reason, "slow down")
	is.Equal(b.Waiting[0].Tries, 2)
	is.Equal(b.Dead[0].Key, "a")
	is.Equal(b.Dead[0].Reason, "it is broken")
}

// said plays actions at the connector, and returns what the page shows of the chat discord/c.
func said(t *testing.T, actions ...relay.Action) map[string]page.Message {
	t.Helper()
	m := page.NewModel(page.About{})
	m.AddChat(page.Chat{Platform: "discord", Chat: "c", Type: "group", Name: "#c", Users: []page.User{{ID: "u", Name: "Ann"}}})
	m.AddMessage(page.Message{Chat: "discord/c", MID: "m-0", Name: "Ann", Text: "hello"})
	m.OutboundsFrom(func(n int) (devconnector.Outbound, bool) {
		a := actions[n]
		content, _ := a["content"].(string)
		o := devconnector.Outbound{At: after(float64(n)), Op: a.Op(), ChatID: "c", Platform: "discord", Content: content, Action: a, Applied: true,
			Result: relay.Result{Success: true, ThreadID: "t-1"}}
		if slices.Contains([]string{"send", "prompt", "send_media"}, a.Op()) {
			o.MessageID = fmt.Sprintf("m-%d", n+1)
		}
		return o, true
	})
	for n := range actions {
		m.Observe(saw(float64(n), devconnector.ObsOutbound))
	}
	all := tell(t, m)
	found := map[string]page.Message{}
	for id, raw := range all[page.KindMessage] {
		var message page.Message
		if err := json.Unmarshal(raw, &message); err != nil {
			t.Fatal(err)
		}
		found[strings.TrimPrefix(id, "discord/c/")] = message
	}
	return found
}

func TestAChatShowsWhatActionsMakeOfIt(t *testing.T) {
	is := is.New(t)
	got := said(t, relay.Action{"op": "send", "content": "hi (2/3)", "reply_to": "m-0"})["m-1"]
	is.Equal(got.Text, "hi (2/3)")
	is.Equal(*got.Reply, page.Quote{MID: "m-0", Name: "Ann", Text: "hello"})
	is.Equal([]int{got.Part, got.Of}, []int{2, 3})

	edited := said(t, relay.Action{"op": "send", "content": "a"}, relay.Action{"op": "edit", "content": "b", "message_id": "m-1"})["m-1"]
	is.Equal(edited.Text, "b")
	is.Equal(edited.Edits, 1)

	is.True(said(t, relay.Action{"op": "send", "content": "a"}, relay.Action{"op": "delete", "message_id": "m-1"})["m-1"].Deleted)

	marked := said(t, relay.Action{"op": "react", "emoji": "eyes", "message_id": "m-0"}, relay.Action{"op": "react", "emoji": "x", "message_id": "m-0"},
		relay.Action{"op": "react", "emoji": "eyes", "remove": true, "message_id": "m-0"})["m-0"]
	is.Equal(marked.Reactions, []string{"x"})

	asked := said(t, relay.Action{"op": "prompt", "content": "Deploy?", "prompt_id": "p", "options": []any{map[string]any{"id": "y", "label": "Yes"}}})["m-1"]
	is.Equal(asked.Prompt, "p")
	is.Equal(asked.Buttons, []page.Button{{ID: "y", Label: "Yes"}})

	file := said(t, relay.Action{"op": "send_media", "content": "A file", "source_url": "http://127.0.0.1:1/relay/media/f-1", "filename": "a.png", "media_kind": "image"})["m-1"]
	is.Equal(file.Files, []page.Attachment{{File: "f-1", Name: "a.png", Kind: "image"}})
	public := said(t, relay.Action{"op": "send_media", "source_url": "https://cdn.example/a.png", "media_kind": "image"})["m-1"]
	is.Equal(public.Files[0].URL, "https://cdn.example/a.png")
}

func TestAThreadIsAChatOfTheSamePeople(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	m.AddChat(page.Chat{Platform: "discord", Chat: "c", Name: "#c", Scope: "g", Users: []page.User{{ID: "u", Name: "Ann"}}})
	m.OutboundsFrom(func(int) (devconnector.Outbound, bool) {
		return devconnector.Outbound{Op: "thread_create", ChatID: "c", Platform: "discord", Action: relay.Action{"op": "thread_create", "thread_name": "Notes"},
			Applied: true, Result: relay.Result{Success: true, ThreadID: "t-1"}}, true
	})
	m.Observe(saw(1, devconnector.ObsOutbound))
	c := one[page.Chat](t, tell(t, m), page.KindChat, "discord/t-1")
	is.Equal(c, page.Chat{ID: "discord/t-1", Platform: "discord", Chat: "t-1", Type: "thread", Name: "Notes", Scope: "g", Parent: "discord/c",
		Users: []page.User{{ID: "u", Name: "Ann"}}, Made: true})
}

func TestTypingEndsWithTheReply(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	m.AddChat(page.Chat{Platform: "slack", Chat: "c", Name: "#c"})
	ops := []devconnector.Outbound{
		{At: noon, Op: "typing", ChatID: "c", Platform: "slack", Action: relay.Action{"op": "typing", "content": "thinks"}, Applied: true},
		{At: noon, Op: "send", ChatID: "c", Platform: "slack", Action: relay.Action{"op": "send"}, Content: "x", MessageID: "m", Applied: true},
	}
	m.OutboundsFrom(func(n int) (devconnector.Outbound, bool) { return ops[n], true })
	m.Observe(saw(1, devconnector.ObsOutbound))
	c := one[page.Chat](t, tell(t, m), page.KindChat, "slack/c")
	is.True(c.Typing > float64(noon.UnixMilli()))
	is.Equal(c.Status, "thinks")
	m.Observe(saw(2, devconnector.ObsOutbound))
	is.Equal(one[page.Chat](t, tell(t, m), page.KindChat, "slack/c").Typing, 0.0)
}

func TestARefusedActionChangesNothing(t *testing.T) {
	is := is.New(t)
	m := page.NewModel(page.About{})
	m.AddChat(page.Chat{Platform: "discord", Chat: "c", Name: "#c"})
	m.OutboundsFrom(func(int) (devconnector.Outbound, bool) {
		return devconnector.Outbound{Op: "send", ChatID: "c", Platform: "discord", Content: "no", Result: relay.Result{Error: "declined"}}, true
	})
	m.Observe(saw(1, devconnector.ObsOutbound))
	is.Equal(len(tell(t, m)[page.KindMessage]), 0)
}
