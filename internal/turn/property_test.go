package turn_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/ledger/ledgertest"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

var (
	scripts = flag.Int("property", 1000, "how many scripts TestProperty runs")
	first   = flag.Uint64("property.seed", 1, "the seed of the first")
)

// Every message ends answered (once, but where the design allows more), dead (kept with its reason, and told unless the chat
// is what refused), or waiting with a time at which it is tried again: whatever the connector refuses, the agent and the
// table do, and whenever a process dies.
func TestProperty(t *testing.T) {
	for n := range uint64(*scripts) {
		seed := *first + n
		var found []string
		synctest.Test(t, func(t *testing.T) { found = newWorld(t, seed).play() })
		for _, fault := range found {
			t.Errorf("seed %d: %s", seed, fault)
		}
		if t.Failed() {
			t.Fatalf("again with its log: go test -v -run Property ./internal/turn -property 1 -property.seed %d", seed)
		}
	}
}

// world is one script: what is random is drawn from its seed.
type world struct {
	t      *testing.T
	ledger *ledger.Memory

	mu       sync.Mutex
	rng      *rand.Rand
	messages []*said
	run      int          // of the worker that runs
	dead     bool         // its process is gone
	stuck    bool         // the first chat, and the agent for one user, never get well
	sleeping bool         // all that is wrong has passed
	cut      map[int]bool // runs that died, or ended with something unwritten
	acked    map[string]bool
	moods    map[string]mood // by chat
	away     time.Time       // the agent is, until then
	table    time.Time       // the table fails until then
	puts     []put
	sorry    []apology // that reached a chat
	shown    []*question
	ids      int // of messages
	presses  []*said
	sorrow   map[string]int  // apologies that were tried
	declined map[string]bool // chats where something was refused
	maybe    map[string]bool // parts whose outcome nobody knows
	bots     int             // turns of bots, an hour and chat; 0: any number
	day      int             // turns a day; 0: any number
	asked    map[string]int  // turns, by day
	askedBot []botAsked      // the first turn of each message of a bot
	window   int             // bytes in memory; zero: any
	merge    bool            // what waits in a session is one turn
	drafts   bool            // streamed text goes as drafts
	sealed   map[string]bool // drafts that are messages, by chat and id
	counted  map[string]bool // by key, messages whose turn is counted, with others or alone
	sets     [][]string      // by key, what the journal has taken for one turn, asked of the agent or not
	notices  map[string]int  // of the day's budget, by chat and day
	refused  bool            // a message stayed with the connector, so that others may be before it
	faults   []string
}

// said is a message of the script.
type said struct {
	d      relay.Delivery
	at     time.Duration
	id     string
	parts  int
	stream bool
	fails  int // attempts that fail
	silent bool
	broken bool // a stream of it broke
	given  bool // a worker has it
	lost   bool
	kind   kind
	ref    string  // it presses a button of the question of that name
	asked  bool    // the agent has got the question's name with it
	with   []*said // that it was one turn with, itself too
	joined bool    // it was one turn with others
}

// breaks notes that a stream of a message broke, and so of all that are one turn with it.
func (m *said) breaks() {
	m.broken = true
	for _, other := range m.with {
		other.broken = true
	}
}

// kind is what an answer has beside texts.
type kind int

const (
	plainly kind = iota // nothing
	grows               // its last part is an edit of the one before
	asks                // its last part is a question with buttons
	files               // its first part is a file
	kinds
)

// says is the agent's answer to a message.
func (m *said) says() (list []relay.Action) {
	for i := range m.parts {
		text := fmt.Sprintf("*%s.%d*", m.id, i)
		a := send(text)
		switch last := i == m.parts-1; {
		case m.kind == grows && last && i > 0:
			a = edit(text)
		case m.kind == asks && last:
			a = ask(m.id)
			a["content"], a["timeout_s"] = text, 30*24*3600
		case m.kind == files && i == 0:
			a = relay.Action{"op": "send_media", "media_kind": "image", "source_url": "https://x.example/a.png", "content": text}
		}
		list = append(list, a)
	}
	return list
}

// question is one that a chat shows.
type question struct {
	id, ref string
	pressed bool
}

// apology is one that a chat has got.
type apology struct {
	chat string
	at   time.Time
	run  int
}

// put is a part that is in a chat, or may be.
type put struct {
	text  string
	run   int
	at    time.Time
	known bool // the connector has said so
	edit  bool // an earlier message shows it
}

// mood is what a chat's connector does for a while.
type mood struct {
	until time.Time
	err   error
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, ledger: ledger.NewMemory(), rng: rand.New(rand.NewPCG(seed, 0)), cut: map[int]bool{}, acked: map[string]bool{},
		moods: map[string]mood{}, sorrow: map[string]int{}, maybe: map[string]bool{}, declined: map[string]bool{},
	}
	w.asked, w.notices = map[string]int{}, map[string]int{}
	budgets := rand.New(rand.NewPCG(seed, 1)) // of their own, so that a seed's script stays as it is
	if budgets.IntN(3) == 0 {
		w.bots = 1 + budgets.IntN(2)
	}
	if windows := rand.New(rand.NewPCG(seed, 2)); windows.IntN(2) == 0 {
		w.window = 2 << 10 << windows.IntN(5) // not even one message, to a few
	}
	if budgets.IntN(4) == 0 {
		w.day = 1 + budgets.IntN(6)
	}
	merges := rand.New(rand.NewPCG(seed, 3))
	w.merge, w.counted = merges.IntN(2) == 0, map[string]bool{}
	w.drafts, w.sealed = rand.New(rand.NewPCG(seed, 4)).IntN(3) == 0, map[string]bool{}
	manyBots := budgets.IntN(4) == 0
	w.stuck = w.rng.IntN(10) == 0
	chats := 1 + w.rng.IntN(3)
	most := 6
	if w.stuck {
		most = 2 // each may wait for a day behind the other
	}
	for i := range 1 + w.rng.IntN(most) {
		id := fmt.Sprint("m", i)
		d := message(fmt.Sprint("c", w.rng.IntN(chats)), id, id)
		d.Event.Source.UserID = fmt.Sprint("u", w.rng.IntN(2))
		d.Event.Source.IsBot = w.rng.IntN(10) == 0 || manyBots && budgets.IntN(2) == 0
		if w.rng.IntN(3) > 0 {
			d.BufferID = "b" + id
		}
		m := &said{
			d: d, id: id, at: time.Duration(w.rng.IntN(120)) * time.Second, parts: 1 + w.rng.IntN(3),
			stream: w.rng.IntN(4) == 0, silent: w.rng.IntN(12) == 0,
		}
		if w.rng.IntN(4) == 0 {
			m.fails = 1 + w.rng.IntN(3)
		}
		w.messages = append(w.messages, m)
	}
	shapes := rand.New(rand.NewPCG(seed, 2))
	for _, m := range w.messages {
		if shapes.IntN(2) == 0 {
			m.kind = kind(shapes.IntN(int(kinds)))
		}
	}
	for i, m := range w.messages[1:] {
		if w.merge && merges.IntN(2) == 0 {
			m.at = w.messages[i].at // they come at once
		}
	}
	slices.SortStableFunc(w.messages, func(a, b *said) int { return int(a.at - b.at) })
	return w
}

func (w *world) one(in int) bool { return w.rng.IntN(in) == 0 }

func (w *world) find(id string) *said {
	for _, m := range slices.Concat(w.messages, w.presses) {
		if m.id == id {
			return m
		}
	}
	return nil
}

// Answer is the agent.
func (w *world) Answer(ctx context.Context, tn agent.Turn) (agent.Answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.find(tn.Event.MessageID)
	if w.dead {
		return agent.Answer{}, context.Canceled
	}
	turn := w.turnOf(m, tn)
	w.countTurn(turn)
	if m.asked = tn.Prompt != nil; m.ref != "" && (!m.asked || tn.Prompt.Ref != m.ref) {
		w.faultf("%s presses a button of %s's question, and the agent gets %+v", m.id, m.ref, tn.Prompt)
	}
	switch {
	case w.stuck && tn.Event.Source.UserID == "u1":
		return agent.Answer{}, fmt.Errorf("no connection: %w", agent.ErrUnavailable)
	case time.Now().Before(w.away):
		return agent.Answer{}, fmt.Errorf("no connection: %w", agent.ErrUnavailable)
	case !w.sleeping && w.one(10):
		w.away = time.Now().Add(time.Duration(w.rng.IntN(30*60)) * time.Second)
		return agent.Answer{}, fmt.Errorf("no connection: %w", agent.ErrUnavailable)
	}
	var list []relay.Action
	for _, one := range turn {
		if one.fails > 0 {
			one.fails--
			return agent.Answer{}, errors.New("agent: answered HTTP 500")
		}
		if !one.silent {
			list = append(list, one.says()...)
		}
	}
	breaks := m.stream && w.one(5)
	if !m.stream {
		return agent.Answer{Actions: list}, nil
	}
	return agent.Answer{Stream: func(yield func(relay.Action, error) bool) {
		for i, a := range list {
			if i > 0 && breaks {
				w.mu.Lock()
				m.breaks()
				w.mu.Unlock()
				yield(nil, errors.New("the stream broke"))
				return
			}
			if !yield(a, nil) {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}}, nil
}

// botAsked is the first turn of a bot's message.
type botAsked struct {
	id, chat string
	at       time.Time
}

// patience is when every message has ended. With a day's budget each attempt may be one a day. In a chat that never gets well
// each message waits for a day, and what the chat is to be told of it for another, one behind the other.
func (w *world) patience() time.Duration {
	most := 60 * time.Hour
	if w.stuck {
		most = max(most, 12*time.Hour+time.Duration(2*len(w.messages))*24*time.Hour)
	}
	if w.day > 0 {
		turns := 3 * (len(w.messages) + len(w.presses))
		most = max(most, 200*time.Hour, time.Duration(2+turns/w.day)*24*time.Hour)
	}
	return most
}

// turnOf are the messages of a turn, whose last one is m.
func (w *world) turnOf(m *said, tn agent.Turn) []*said {
	if m.with = []*said{m}; len(tn.Events) == 0 {
		return m.with
	}
	var all []*said
	var texts []string
	for _, e := range tn.Events {
		one := w.find(e.MessageID)
		texts = append(texts, e.Text)
		all, m.stream = append(all, one), m.stream || one.stream
		if one.d.Event.Source != m.d.Event.Source && one.d.Event.Source.UserID != m.d.Event.Source.UserID {
			w.faultf("%s and %s are one turn, and of two people", one.id, m.id)
		}
	}
	if all[len(all)-1] != m || strings.Join(texts, "\n") != tn.Event.Text || len(all) < 2 || !w.merge {
		w.faultf("%s is a turn of %q, with the text %q", m.id, texts, tn.Event.Text)
	}
	for _, one := range all {
		one.with, one.stream, one.joined = all, m.stream, true
	}
	return all
}

func turnKey(m *said) string { return turn.Key("inst", m.d) }

// countTurn counts one turn for the budgets. Of several messages that the journal took for one turn, the first that is asked about
// counts, also if their process died before it could ask and they are tried one by one.
func (w *world) countTurn(turn []*said) {
	w.asked[ledger.DateOf(time.Now())]++
	if !turn[0].d.Event.Source.IsBot {
		return
	}
	var keys []string
	for _, m := range turn {
		key := turnKey(m)
		keys = append(keys, key)
		for _, set := range w.sets {
			if slices.Contains(set, key) {
				keys = append(keys, set...)
			}
		}
	}
	if !slices.ContainsFunc(keys, func(key string) bool { return w.counted[key] }) {
		m := turn[len(turn)-1]
		w.askedBot = append(w.askedBot, botAsked{m.id, m.d.Event.Source.ChatID, time.Now()})
	}
	for _, key := range keys {
		w.counted[key] = true
	}
}

// judgeBudgets says where more was done than the budgets have.
func (w *world) judgeBudgets() {
	for date, n := range w.asked {
		if w.day > 0 && n > w.day {
			w.faultf("%d turns on %s, where %d may be", n, date, w.day)
		}
	}
	for which, n := range w.notices {
		if n > 1 {
			w.faultf("%s was told %d times of the day's budget", which, n)
		}
	}
	since, turns := map[string]time.Time{}, map[string]int{}
	for _, b := range w.askedBot {
		if turns[b.chat] == 0 || b.at.Sub(since[b.chat]) > time.Hour {
			since[b.chat], turns[b.chat] = b.at, 0
		}
		if turns[b.chat]++; w.bots > 0 && turns[b.chat] > w.bots {
			w.faultf("%s is turn %d of bots in %s within an hour, where %d may be", b.id, turns[b.chat], b.chat, w.bots)
		}
	}
}

var refusals = []error{
	&relay.OpError{Message: "Too Many Requests: retry after 3"},
	&relay.OpError{Code: "rate_limited", Retryable: new(true), RetryAfter: 1},
	&relay.OpError{Message: "flood_control:70"},
	&relay.OpError{Message: "x", RetryAfter: 1800},
	&relay.OpError{Message: "Connection Closed"},
	&relay.OpError{Message: "whatsapp is not connected (state: close)"},
	&relay.OpError{Message: "503"},
	&relay.OpError{Message: "chat not routed to this profile"},
	&relay.OpError{Message: "sendMessage timed out"},
	&relay.OpError{Message: "ack lost"},
	&relay.OpError{Message: "Bad Request: can't parse entities"},
	&relay.OpError{Message: "unsupported op: send"},
	&relay.OpError{Message: "Missing Permissions"},
	&relay.OpError{Code: "egress_declined", Message: "not yours"},
	&relay.OpError{Message: "something odd"},
}

// Do is the connector.
func (l worldLink) Do(ctx context.Context, out relay.Outbound) (relay.Result, error) {
	w := l.world
	time.Sleep(10 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	chat, _ := out.Action["chat_id"].(string)
	text, _ := out.Action["content"].(string)
	if w.dead || l.run != w.run {
		return relay.Result{}, errors.New("no socket")
	}
	if !w.sleeping && w.one(60) {
		id, _, _ := strings.Cut(plain(text), ".")
		if m := w.find(id); m != nil && m.stream {
			m.breaks() // it is asked again
		}
		return relay.Result{}, errors.New("the lease may be another's")
	}
	if text == "sorry" {
		w.sorrow[chat]++
	}
	if w.moods[chat].until.Before(time.Now()) && !w.sleeping {
		kind := mood{until: time.Now()}
		if w.one(3) {
			kind.err = refusals[w.rng.IntN(len(refusals))]
			if w.one(2) {
				kind.until = time.Now().Add(time.Duration(w.rng.IntN(3600)) * time.Second)
			}
		}
		w.moods[chat] = kind
	}
	m := w.moods[chat]
	if w.stuck && chat == "c0" {
		m = mood{time.Now().Add(time.Hour), refusals[5]}
	}
	if m.until.Before(time.Now()) && w.sleeping {
		m.err = nil
	}
	switch {
	case m.err != nil && strings.Contains(m.err.Error(), "entities") && !strings.Contains(text, "*"):
	case m.err != nil:
		if strings.Contains(m.err.Error(), "timed out") && w.one(2) {
			w.put(out, false)
		}
		w.declined[chat] = true
		if msg := m.err.Error(); isWhole(out) && (strings.Contains(msg, "timed out") || strings.Contains(msg, "ack lost")) {
			w.maybe[plain(text)] = true
		}
		return relay.Result{}, m.err
	case !w.sleeping && w.one(15):
		if w.one(2) {
			w.put(out, false)
		}
		if isWhole(out) {
			w.maybe[plain(text)] = true
		}
		return relay.Result{}, fmt.Errorf("the socket broke: %w", relay.ErrOutcomeUnknown)
	}
	switch text {
	case "sorry":
		w.sorry = append(w.sorry, apology{chat, time.Now(), w.run})
	case notice:
		w.notices[chat+" on "+ledger.DateOf(time.Now())]++
	default:
		w.put(out, true)
	}
	w.ids++
	return relay.Result{Success: true, MessageID: fmt.Sprint("x", w.ids)}, nil
}

// put is for an action that the chat shows.
func (w *world) put(out relay.Outbound, known bool) {
	text, _ := out.Action["content"].(string)
	if text == "sorry" || text == notice || !isWhole(out) {
		return
	}
	instead := out.Action.Op() == "edit"
	if out.Action.Op() == "draft" {
		id, _ := json.Marshal(out.Action["draft_id"]) // a number, before the journal had it and after
		draft := fmt.Sprint(out.Action["chat_id"], " ", string(id))
		instead, w.sealed[draft] = w.sealed[draft], true
	}
	w.puts = append(w.puts, put{plain(text), w.run, time.Now(), known, instead})
	id, _ := out.Action["prompt_id"].(string)
	if id != "" && !slices.ContainsFunc(w.shown, func(q *question) bool { return q.id == id }) {
		ref, _, _ := strings.Cut(plain(text), ".")
		w.shown = append(w.shown, &question{id: id, ref: ref})
	}
}

// isWhole says whether an action is no state of a draft that goes on.
func isWhole(out relay.Outbound) bool {
	return out.Action.Op() != "draft" || out.Action["final"] == true
}

var named = regexp.MustCompile(`[mp]\d+\.\d+`)

// plain is a part's name; a text in a file's place has more.
func plain(text string) string {
	if name := named.FindString(text); name != "" {
		return name
	}
	return text
}

// press has people press the buttons that they see, each once.
func (w *world) press(worker *turn.Worker) {
	w.mu.Lock()
	shown := slices.Clone(w.shown)
	w.mu.Unlock()
	for _, q := range shown {
		if q.pressed {
			continue
		}
		q.pressed = true
		asked := w.find(q.ref)
		id := fmt.Sprint("p", len(w.presses))
		d := message(asked.d.Event.Source.ChatID, id, "/once")
		d.Event.Source.UserID, d.Event.MessageType = asked.d.Event.Source.UserID, "command"
		d.Event.PromptResponse = &relay.PromptResponse{PromptID: q.id, OptionID: "once"}
		m := &said{d: d, id: id, parts: 1, given: true, ref: q.ref}
		w.mu.Lock()
		w.presses = append(w.presses, m)
		w.mu.Unlock()
		m.lost = worker.Take(d) != nil
	}
}

// worldLink is the link of one run.
type worldLink struct {
	*wire
	world *world
	run   int
}

func (l worldLink) Ack(id string) {
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	if !l.world.dead && l.run == l.world.run && !l.world.one(8) { // some are lost: then it comes again
		l.world.acked[id] = true
	}
}

// worldTable is the lease of one run. Its table fails now and then, before a write is made or after.
type worldTable struct {
	ledger.Lease
	world *world
	pages *ledgertest.Pages
}

func (worldTable) Durable() bool { return true }

func (l worldTable) Recover(ctx context.Context, from string) (ledger.Page, error) {
	time.Sleep(5 * time.Millisecond)
	l.world.mu.Lock()
	fails := from != "" && time.Now().Before(l.world.table) // without the first page there is no dial
	l.world.mu.Unlock()
	if fails {
		return ledger.Page{}, errors.New("the table is away")
	}
	return l.pages.Recover(ctx, l.Lease, from)
}

func (l worldTable) write(make func() error) error {
	time.Sleep(5 * time.Millisecond)
	w := l.world
	w.mu.Lock()
	// It is away for 20 s at most and then well for half a minute: what is longer is more than a run waits for.
	if time.Since(w.table) > 30*time.Second && !w.sleeping && w.one(25) {
		w.table = time.Now().Add(time.Duration(w.rng.IntN(20)) * time.Second)
	}
	fails, made, dead := time.Now().Before(w.table), w.one(4), w.dead
	w.mu.Unlock()
	if dead {
		return errors.New("the process is dead")
	}
	if fails && !made {
		return errors.New("the table is away")
	}
	err := make()
	if fails {
		return errors.New("the table's answer is lost")
	}
	return err
}

func (l worldTable) Start(ctx context.Context, key string, s ledger.State) error {
	return l.write(func() error { return l.Lease.Start(ctx, key, s) })
}

func (l worldTable) StartSet(ctx context.Context, keys []string, s ledger.State, day ledger.Day) error {
	return l.write(func() error {
		err := l.Lease.StartSet(ctx, keys, s, day)
		if err == nil {
			l.world.mu.Lock()
			l.world.sets = append(l.world.sets, slices.Clone(keys))
			l.world.mu.Unlock()
		}
		return err
	})
}

func (l worldTable) Part(ctx context.Context, key string, p ledger.Parting) error {
	return l.write(func() error { return l.Lease.Part(ctx, key, p) })
}

func (l worldTable) StartCounted(ctx context.Context, key string, s ledger.State, day ledger.Day) error {
	return l.write(func() error { return l.Lease.StartCounted(ctx, key, s, day) })
}

func (l worldTable) Keep(ctx context.Context, key string, list []json.RawMessage) error {
	return l.write(func() error { return l.Lease.Keep(ctx, key, list) })
}

func (l worldTable) Extend(ctx context.Context, key string, a json.RawMessage) error {
	return l.write(func() error { return l.Lease.Extend(ctx, key, a) })
}

func (l worldTable) Draft(ctx context.Context, key string, id int) error {
	return l.write(func() error { return l.Lease.Draft(ctx, key, id) })
}

func (l worldTable) Confirm(ctx context.Context, key string, i int, outcome string) error {
	return l.write(func() error { return l.Lease.Confirm(ctx, key, i, outcome) })
}

func (l worldTable) Owe(ctx context.Context, e ledger.Entry) error {
	return l.write(func() error { return l.Lease.Owe(ctx, e) })
}

func (l worldTable) Finish(ctx context.Context, key string) error {
	return l.write(func() error { return l.Lease.Finish(ctx, key) })
}

func (l worldTable) Fail(ctx context.Context, key, reason string, dead bool) error {
	return l.write(func() error { return l.Lease.Fail(ctx, key, reason, dead) })
}

func (l worldTable) Bury(ctx context.Context, key, reason string) error {
	return l.write(func() error { return l.Lease.Bury(ctx, key, reason) })
}

func (l worldTable) Defer(ctx context.Context, key, reason string, wait ledger.Wait, attempts int) error {
	return l.write(func() error { return l.Lease.Defer(ctx, key, reason, wait, attempts) })
}

func (l worldTable) Replace(ctx context.Context, key string, i int, a json.RawMessage) error {
	return l.write(func() error { return l.Lease.Replace(ctx, key, i, a) })
}

func (l worldTable) Seal(ctx context.Context, key string, list []json.RawMessage, done []string) error {
	return l.write(func() error { return l.Lease.Seal(ctx, key, list, done) })
}

// log is what -v shows of a single script.
func (w *world) log() *slog.Logger {
	if *scripts > 1 || !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w.t.Output(), nil))
}

// Receive fails for what the connector sends again.
func (l worldTable) Receive(ctx context.Context, entries ...ledger.Entry) (states []ledger.State, err error) {
	live := slices.ContainsFunc(entries, func(e ledger.Entry) bool { return !strings.Contains(string(e.Body), `"bm`) })
	if live {
		return l.Lease.Receive(ctx, entries...)
	}
	err = l.write(func() error {
		states, err = l.Lease.Receive(ctx, entries...)
		return err
	})
	if err != nil {
		l.world.mu.Lock()
		l.world.refused = true
		l.world.mu.Unlock()
		return nil, err
	}
	return states, nil
}

// begin starts the next run, with what the ones before have left.
func (w *world) begin() (*turn.Worker, ledger.Lease) {
	w.t.Helper()
	ctx := w.t.Context()
	lease, err := w.ledger.Acquire(ctx, ledger.Ask{Reason: ledger.Arm, Owner: "run", Life: 30 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.run++
	w.dead = false
	run := w.run
	w.mu.Unlock()
	table := worldTable{lease, w, &ledgertest.Pages{Size: 1 + run%4}}
	left, err := table.Recover(ctx, "")
	if err != nil {
		w.t.Fatal(err)
	}
	worker := turn.New(ctx, turn.Config{
		Journal: table, Prompts: lease, Chats: lease, BotTurns: w.bots, MaxTurnsPerDay: w.day, Day: lease.Grant().Day, Agent: w, Link: worldLink{&wire{ops: append([]string{"draft"}, allOps...), draft: w.drafts}, w, run}, Log: w.log(),
		Instance: "inst", Concurrency: 2, MaxAttempts: 3, AgentTimeout: time.Minute, Apology: "sorry", Window: w.window, Merge: w.merge,
	})
	worker.Recover(left)
	return worker, lease
}

// feed gives the worker what the connector has for it, until a time.
func (w *world) feed(worker *turn.Worker, start, until time.Time) {
	for _, m := range w.messages {
		w.mu.Lock()
		again := m.given && m.d.BufferID != "" && !w.acked[m.d.BufferID]
		fresh := !m.given
		w.mu.Unlock()
		if !again && !fresh {
			continue
		}
		if fresh {
			due := start.Add(m.at)
			if due.After(until) {
				continue
			}
			time.Sleep(time.Until(due))
		}
		w.mu.Lock()
		m.given = true
		d := m.d
		if d.Event != nil {
			e := *d.Event // as the decoder makes one for each time that it comes
			d.Event = &e
		}
		w.mu.Unlock()
		if err := worker.Take(d); err != nil && m.d.BufferID == "" {
			m.lost = true
		}
	}
}

// quiet waits until nothing is work.
func (w *world) quiet(worker *turn.Worker) {
	limit := time.After(14 * time.Minute)
	for worker.Busy() {
		select {
		case <-worker.Changed():
		case <-time.After(time.Second):
		case <-limit:
			worker.StopStarting()
			return
		}
	}
}

// play runs the script and returns what is wrong in the end.
func (w *world) play() []string {
	start := time.Now()
	for {
		time.Sleep(time.Minute)
		worker, lease := w.begin()
		w.mu.Lock()
		dies, after := !w.sleeping && w.one(3), time.Duration(w.rng.IntN(150_000))*time.Millisecond
		w.mu.Unlock()
		end := time.Now().Add(15 * time.Minute)
		if dies {
			end = time.Now().Add(after)
			time.AfterFunc(after, func() {
				w.mu.Lock()
				w.dead = true
				w.cut[w.run] = true
				w.mu.Unlock()
			})
		}
		w.feed(worker, start, end)
		if dies {
			time.Sleep(time.Until(end))
			w.crash(worker)
			continue
		}
		w.quiet(worker)
		w.press(worker)
		w.quiet(worker)
		worker.Settle(w.t.Context())
		due := worker.Counts().Due
		worker.Close()
		worker.Flush(w.t.Context())
		worker.Unwritten()
		if worker.Counts().Unwritten > 0 {
			w.mu.Lock()
			w.cut[w.run] = true
			w.mu.Unlock()
		}
		if _, err := lease.HandOff(w.t.Context(), ledger.Plan{}, true); err != nil {
			w.t.Fatal(err)
		}
		o, err := w.ledger.Overview(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if o.Pending == 0 && w.allGiven() || time.Since(start) > w.patience() {
			return w.judge()
		}
		w.mu.Lock()
		w.sleeping = w.sleeping || time.Since(start) > 30*time.Hour || w.one(6)
		w.mu.Unlock()
		if wait := time.Until(due); wait > 5*time.Minute {
			time.Sleep(wait)
		} else {
			time.Sleep(5 * time.Minute)
		}
	}
}

// crash ends a run as a death does: nothing is sent any more, and nothing is written.
func (w *world) crash(worker *turn.Worker) {
	time.Sleep(time.Minute)
	_, err := w.ledger.Acquire(w.t.Context(), ledger.Ask{Reason: ledger.Arm, Owner: "successor", Life: time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	worker.Close()
}

func (w *world) allGiven() bool {
	return !slices.ContainsFunc(w.messages, func(m *said) bool {
		return !m.given || m.d.BufferID != "" && !w.acked[m.d.BufferID]
	})
}

func (w *world) faultf(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// judge says what is wrong with how each message has ended.
func (w *world) judge() []string {
	ctx := w.t.Context()
	time.Sleep(time.Minute)
	lease, err := w.ledger.Acquire(ctx, ledger.Ask{Reason: ledger.Arm, Owner: "judge", Life: time.Minute})
	if err != nil {
		w.t.Fatal(err)
	}
	open, err := ledgertest.Recover(ctx, lease)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range open {
		w.faultf("%s neither ended nor gave up in %s: %s, %d attempts, %+v, %q", e.Key, w.patience(), e.State, e.Attempts, e.Wait, e.Error)
	}
	dead := map[string]ledger.Entry{}
	list, err := w.ledger.ListDead(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range list {
		dead[e.Key], err = w.ledger.ShowDead(ctx, e.Key)
		if err != nil {
			w.t.Fatal(err)
		}
	}
	w.judgeBudgets()
	w.judgeApologies()
	for _, m := range w.presses {
		if !m.lost {
			w.judgeOne(m, dead)
		}
	}
	for i, m := range w.messages {
		w.judgeOne(m, dead)
		for _, later := range w.messages[i+1:] {
			w.judgeOrder(m, later)
		}
	}
	return w.faults
}

func (w *world) judgeOne(m *said, dead map[string]ledger.Entry) {
	e, isDead := dead[turnKey(m)]
	if isDead && e.Error == "" {
		w.faultf("%s is dead without a reason", m.id)
	}
	limited := w.bots > 0 && m.d.Event.Source.IsBot
	var before time.Time
	for i := range m.parts {
		text := fmt.Sprintf("%s.%d", m.id, i)
		puts := w.of(text)
		next := fmt.Sprintf("%s.%d", m.id, i+1)
		changed := m.kind == grows && i == m.parts-2 && (len(w.of(next)) > 0 || w.maybe[next])
		switch {
		case len(puts) == 0 && !isDead && !m.silent && !w.maybe[text] && !limited && !changed:
			w.faultf("%s is finished, and the chat does not have %s", m.id, text)
		case len(puts) > 0 && !m.broken && !(m.stream && w.anyCut()):
			if puts[0].at.Before(before) {
				w.faultf("%s is in the chat before its predecessor", text)
			}
			before = puts[0].at
		}
		for n := 1; n < len(puts) && !(m.stream && w.anyCut()); n++ {
			if !puts[n].edit && !w.cut[puts[n-1].run] && !m.broken {
				w.faultf("%s is there twice, from runs %d and %d, though nobody died", text, puts[n-1].run, puts[n].run)
			}
		}
	}
	refused := strings.Contains(e.Error, "an action of the answer")
	if chat := m.d.Event.Source.ChatID; isDead && !refused && !m.d.Event.Source.IsBot && w.sorrow[chat] == 0 {
		w.faultf("%s is dead by %q, and its chat is not told", m.id, e.Error)
	}
}

// of are the times that a text got into its chat.
func (w *world) of(text string) (puts []put) {
	for _, p := range w.puts {
		if p.text == text {
			puts = append(puts, p)
		}
	}
	return puts
}

// judgeApologies says which chat was told twice within an hour, though no process died meanwhile.
func (w *world) judgeApologies() {
	for i, a := range w.sorry {
		for _, b := range w.sorry[i+1:] {
			if a.chat == b.chat && b.at.Sub(a.at) < time.Hour && !w.cut[a.run] {
				w.faultf("%s is told twice within %s, from runs %d and %d", a.chat, b.at.Sub(a.at), a.run, b.run)
			}
		}
	}
}

// judgeOrder is for messages of which the first came before the second: in one session they are answered in that order.
func (w *world) judgeOrder(a, b *said) {
	one, two := a.d.Event.Source, b.d.Event.Source
	if w.refused || one.ChatID != two.ChatID || one.UserID != two.UserID || a.stream && (a.broken || w.anyCut()) {
		return
	}
	if a.kind == grows && a.joined {
		return // what an edit of a stream could not change is said at its end, behind what is for the others of the set
	}
	begun := false
	seen := map[string]bool{}
	for _, p := range w.puts {
		begun = begun || strings.HasPrefix(p.text, b.id+".")
		if strings.HasPrefix(p.text, a.id+".") && !seen[p.text] {
			seen[p.text] = true
			if begun {
				w.faultf("%s is in the chat after %s was answered, which came later", p.text, b.id)
			}
		}
	}
}

func (w *world) anyCut() bool { return len(w.cut) > 0 }
