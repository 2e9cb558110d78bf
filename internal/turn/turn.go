// Package turn is what happens to a delivery: it is journalled, acked, answered by the agent and finished.
//
// Turns of one session run one after another in the order of arrival, those of different sessions side by side. Acks
// leave in the order of arrival: with a durable journal once the delivery is in it, else once its turn is done.
package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Link is the way back to the connector, over whatever socket there is.
type Link interface {
	// Do is relay.Conn.Do; without a socket it waits for one. An error that does not wrap relay.ErrOutcomeUnknown and is
	// no *relay.OpError means that nothing was sent.
	Do(ctx context.Context, out relay.Outbound) (relay.Result, error)
	// Post sends an action whose result and loss matter to nobody.
	Post(out relay.Outbound)
	// Ack acks a buffered delivery. A lost ack brings the delivery back, and the journal knows it.
	Ack(bufferID string)
	// Descriptor is the one of the chat's platform.
	Descriptor(platform string) relay.Descriptor
	// Settle waits, for a moment at most, until it is that of every platform.
	Settle(ctx context.Context)
}

// Config is what New needs; everything but Media, Stop, Apology, Passthrough and Deadline is required.
type Config struct {
	Journal      ledger.Journal
	Prompts      ledger.Prompts
	Agent        agent.Agent
	Link         Link
	Media        Media // nil: turns tell what is known of attachments, and nothing is uploaded
	Log          *slog.Logger
	Instance     string        // whose deliveries these are; part of their keys
	Concurrency  int           // turns side by side
	MaxAttempts  int           // failed attempts before a message is dead
	AgentTimeout time.Duration // per attempt
	Deadline     time.Time     // no turn starts whose AgentTimeout would end after it; zero: none
	Stop         string        // a command message of this text cancels its session's turn
	Apology      string        // sent for a dead message
	Passthrough  bool          // raw requests of platforms other than Discord become turns
}

const (
	typingEvery = 5 * time.Second // the shortest-lived typing marks last about that long
	firstRetry  = time.Second
	lastRetry   = 10 * time.Second
	together    = 64  // deliveries written down at once
	ackAhead    = 256 // deliveries waiting for their turn beyond which acks are withheld
	maxQueued   = 4096
)

// ErrJournal means that a delivery could not be written down: take no more and go idle.
var ErrJournal = errors.New("turn: the journal refuses writes")

// Counts says what a worker has done so far.
type Counts struct {
	Received   int // deliveries, repeated ones too
	Duplicates int // deliveries that the journal knew
	Recovered  int // taken up from an earlier run
	Turns      int // attempts by the agent
	Finished   int // deliveries that are done with
	Outbound   int // actions that were answered
	Unknown    int // actions without an answer
	Dead       int // deliveries given up
	Unkept     int // live deliveries answered without a journal
	Left       int // deliveries left for the next run
}

// Worker takes deliveries and runs their turns. All methods may be called from any goroutine, but Take only from one at
// a time.
type Worker struct {
	cfg     Config
	ctx     context.Context
	cancel  context.CancelCauseFunc
	wg      sync.WaitGroup
	slots   chan struct{}
	filled  chan struct{} // one token per turn that has files in memory
	room    chan struct{} // one token per queued delivery
	alone   chan struct{} // closed once the suspects are done
	closing chan struct{} // closed by StopStarting
	changed chan struct{}
	marker  string // of this instance's prompts
	routes  routes
	seq     int64

	mu       sync.Mutex
	edited   map[string]time.Time // when a chat's messages were last edited
	sessions map[string]*session
	behind   map[string]bool  // sessions with something left for the next run, which nothing may overtake
	open     map[string]*item // by key: taken and not ended
	tickets  []*ticket        // acks not sent yet, by arrival
	arrived  []arrival        // to be written down, by arrival
	writing  bool             // somebody does that
	counts   Counts
	broken   error
}

type session struct {
	items []*item
	stop  context.CancelCauseFunc // cancels the running turn, nil if there is none
}

// item is a delivery on its way. Only the goroutine of its session touches it once it is ready.
type item struct {
	body
	key      string
	session  string
	unkept   bool // not in the journal
	unsure   bool // unless the write that failed was made
	state    ledger.State
	attempts int
	tries    int // in this run, counting those that are no attempts
	actions  []json.RawMessage
	done     []string
	files    []agent.Media     // while it is tried
	accepted bool              // it answers a prompt that was open
	typed    time.Time         // when the chat was last shown typing for it
	open     bool              // the answer is a stream, and the actions are those so far
	newest   map[string]string // the newest message that this turn has put into a chat
	declined map[string]bool   // chats that the connector refuses
	ready    chan struct{}     // closed when the journal has answered
	skip     bool              // the journal says that it is not ours to run
	tickets  []*ticket         // guarded by Worker.mu
}

// body is what the journal keeps of a delivery.
type body struct {
	Event      *relay.Event   `json:"event"`
	Forward    *relay.Forward `json:"forward,omitempty"` // of a raw passthrough
	BufferID   string         `json:"buffer_id,omitempty"`
	ReceivedAt time.Time      `json:"received_at"`
}

// arrival is a delivery that is to be written down.
type arrival struct {
	*item
	entry ledger.Entry
}

// ticket is an ack to come.
type ticket struct {
	bufferID string
	state    ticketState
}

type ticketState int

const (
	waiting ticketState = iota
	due
	void // not to be acked: the connector shall send it again
)

var (
	errStopped  = errors.New("stopped by the user")
	errTimeout  = errors.New("the agent took longer than DORMOUSE_AGENT_TIMEOUT")
	errLeft     = errors.New("turn: left for the next run")
	errShutdown = errors.New("turn: the run is over")
)

// New returns a worker that stops when ctx does. Call Recover first, and Close at the end.
func New(ctx context.Context, cfg Config) *Worker {
	w := &Worker{
		cfg:      cfg,
		slots:    make(chan struct{}, cfg.Concurrency),
		filled:   make(chan struct{}, cfg.Concurrency),
		room:     make(chan struct{}, maxQueued),
		alone:    make(chan struct{}),
		closing:  make(chan struct{}),
		changed:  make(chan struct{}, 1),
		marker:   marker(cfg.Instance),
		routes:   routes{chats: map[string]relay.Source{}},
		edited:   map[string]time.Time{},
		sessions: map[string]*session{},
		behind:   map[string]bool{},
		open:     map[string]*item{},
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	return w
}

// Take journals a delivery, queues its turn and sees to its ack. It returns once the order is settled; it blocks while
// thousands wait. ErrJournal means that no buffered delivery will be taken any more: it is not acked.
func (w *Worker) Take(d relay.Delivery) error {
	if d.Kind == relay.KindInterrupt {
		w.Interrupt(d.SessionKey)
		return nil
	}
	w.mu.Lock()
	err := w.broken
	w.counts.Received++
	w.mu.Unlock()
	if err != nil && d.BufferID != "" {
		return err
	}
	it, why := w.item(d)
	select {
	case w.room <- struct{}{}:
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	w.seq++
	entry := ledger.Entry{Key: it.key, Seq: w.seq, State: ledger.New, Error: why}
	w.mu.Lock()
	if d.BufferID != "" {
		t := &ticket{bufferID: d.BufferID}
		it.tickets = append(it.tickets, t)
		w.tickets = append(w.tickets, t)
	}
	switch {
	case why != "":
		entry.State = ledger.Dead
	case !w.isStop(it.Event):
		if w.pushLocked(it) && !w.behind[it.session] && len(w.slots) < cap(w.slots) && w.mayStart() {
			entry.State = ledger.Running
		}
	}
	it.state = entry.State
	next := arrival{it, entry}
	durable, idle := w.cfg.Journal.Durable(), !w.writing
	if durable {
		w.arrived, w.writing = append(w.arrived, next), true
	}
	w.mu.Unlock()
	switch {
	case !durable:
		w.journal([]arrival{next}) // a map: no round trip to overlap
	case idle:
		w.wg.Go(w.writeDown)
	}
	return nil
}

// writeDown journals what has arrived. Several leave together, but one write follows the other: a death, or a write that
// fails, must not leave a delivery in the journal and an earlier one of its session with the connector. Only live ones are
// still taken after a write that failed, as nobody sends them again.
func (w *Worker) writeDown() {
	for {
		w.mu.Lock()
		n := min(len(w.arrived), together)
		next := w.arrived[:n:n]
		w.arrived = w.arrived[n:]
		w.writing = n > 0
		w.mu.Unlock()
		if n == 0 {
			return
		}
		w.journal(next)
	}
}

// item makes of d what is to be run; why is set if it cannot be.
func (w *Worker) item(d relay.Delivery) (it *item, why string) {
	it = &item{ready: make(chan struct{})}
	it.body = body{Event: d.Event, BufferID: d.BufferID, ReceivedAt: d.ReceivedAt}
	switch d.Kind {
	case relay.KindInbound:
	case relay.KindPassthrough:
		event, err := d.Forward.Interaction()
		if err != nil && w.cfg.Passthrough && !isDiscord(d.Forward) {
			event, err = raw(d.Forward)
			it.Forward = d.Forward
		}
		if err != nil {
			why = err.Error()
		}
		it.Event = event
	default:
		why = d.Fault
	}
	it.key = Key(w.cfg.Instance, d)
	if why == "" {
		// The reference's default: each top-level Slack message opens a thread, and a session, of its own.
		it.Event.Source = it.Event.ThreadedSource()
		it.session = it.Event.SessionKey()
	}
	return it, why
}

func isDiscord(f *relay.Forward) bool {
	return strings.EqualFold(strings.TrimSpace(f.Platform), "discord")
}

// raw is the event of a request that only the agent can make sense of: its platform and no chat.
func raw(f *relay.Forward) (*relay.Event, error) {
	event, err := json.Marshal(map[string]any{"source": map[string]string{"platform": f.Platform, "profile": f.Profile}})
	if err != nil {
		return nil, err
	}
	return relay.DecodeEvent(event)
}

// journal writes deliveries down and lets them go on. A write that is under way as the run ends is still made: of a live
// message there is no other trace.
func (w *Worker) journal(arrivals []arrival) {
	if err := w.Broken(); err != nil { // what came before a buffered one may not be there
		arrivals = slices.DeleteFunc(arrivals, func(a arrival) bool {
			hopeless := a.BufferID != "" || w.ctx.Err() != nil
			if hopeless {
				w.unwritten(a, err)
			}
			return hopeless
		})
	}
	if len(arrivals) == 0 {
		return
	}
	entries := make([]ledger.Entry, len(arrivals))
	for i, a := range arrivals {
		if a.entry.State != ledger.Dead {
			a.entry.Body, _ = json.Marshal(a.body) // strings and numbers: it marshals
		}
		entries[i] = a.entry
	}
	ctx, cancel := w.graced()
	defer cancel()
	states, err := w.cfg.Journal.Receive(ctx, entries...)
	for i, a := range arrivals {
		if i < len(states) {
			w.written(a, states[i], len(entries[i].Body))
		} else {
			w.unwritten(a, err)
		}
	}
}

// written is for a delivery of which the journal has found that state.
func (w *Worker) written(a arrival, found ledger.State, bytes int) {
	it := a.item
	log := w.cfg.Log.With("delivery", it.key)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer close(it.ready)
	switch {
	case found == "" && a.entry.State == ledger.Dead:
		log.Warn("set aside", "reason", a.entry.Error)
		w.counts.Dead++
		w.endLocked(it, due)
	case found == "":
		log.Info("journalled", "session", it.session, "buffered", it.BufferID != "")
		w.acceptLocked(it)
	case found == ledger.TooLarge && w.open[it.key] != nil:
		w.counts.Duplicates++
		log.Info("seen before, not started again", "state", "unkept")
		w.joinLocked(it)
	case found == ledger.TooLarge:
		log.Warn("too large for the journal: a buffered message is acked when its turn is done, a crash loses a live one",
			"bytes", bytes)
		if it.BufferID == "" {
			w.counts.Unkept++
		}
		it.unkept = true
		w.acceptLocked(it)
	case found == ledger.Finished, found == ledger.Dead:
		w.counts.Duplicates++
		log.Info("seen before, acked and dropped", "state", found)
		w.endLocked(it, due)
	default:
		w.counts.Duplicates++
		log.Info("seen before, not started again", "state", found)
		w.joinLocked(it)
	}
}

// unwritten is for a delivery that could not be written down.
func (w *Worker) unwritten(a arrival, err error) {
	it := a.item
	log := w.cfg.Log.With("delivery", it.key, "error", err)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer close(it.ready)
	if w.broken == nil {
		w.broken = fmt.Errorf("%w: %w", ErrJournal, err)
		w.signal()
	}
	switch {
	case it.BufferID != "":
		log.Error("not journalled and not acked: the connector keeps it")
		w.endLocked(it, void)
		return
	case a.entry.State == ledger.Dead || errors.Is(err, ledger.ErrLost) || w.ctx.Err() != nil:
		log.Error("a live message is lost: it could not be journalled")
		w.endLocked(it, void)
		return
	case w.open[it.key] != nil:
		w.counts.Duplicates++
		log.Info("seen before, not started again", "state", "unkept")
		w.joinLocked(it)
		return
	}
	log.Error("a live message is answered without being journalled: a crash now would lose it")
	w.counts.Unkept++
	it.unkept, it.unsure = true, true
	w.acceptLocked(it)
}

// acceptLocked lets a delivery's turn come.
func (w *Worker) acceptLocked(it *item) {
	w.open[it.key] = it
	if w.isStop(it.Event) { // not before: one that comes again would stop a later turn
		w.stopLocked(it.session)
		w.wg.Go(func() { w.finish(it) })
		return
	}
	if w.cfg.Journal.Durable() && !it.unkept {
		w.settleLocked(it, due)
	}
	if w.mayStart() {
		w.typing(it) // before the turn can start: behind a fast reply it would look as if more were to come
	}
}

// joinLocked lets a repeated delivery share the fate of the one that is on its way.
func (w *Worker) joinLocked(it *item) {
	first, running := w.open[it.key]
	switch {
	case w.cfg.Journal.Durable() && !(running && first.unkept):
		w.endLocked(it, due)
	case running:
		first.tickets = append(first.tickets, it.tickets...)
		it.tickets = nil
		w.endLocked(it, void)
	default: // left for the next run: it stays with the connector, too
		w.endLocked(it, void)
	}
}

// endLocked settles it without a turn, or after its last.
func (w *Worker) endLocked(it *item, s ticketState) {
	it.skip = true
	if w.open[it.key] == it {
		delete(w.open, it.key)
	}
	w.settleLocked(it, s)
	<-w.room
	w.flushLocked() // there may be room for acks again
	w.signal()
}

func (w *Worker) settleLocked(it *item, s ticketState) {
	for _, t := range it.tickets {
		t.state = s
	}
	it.tickets = nil
	w.flushLocked()
}

// flushLocked sends the acks that are due, in order of arrival.
func (w *Worker) flushLocked() {
	for len(w.tickets) > 0 && w.tickets[0].state != waiting {
		t := w.tickets[0]
		if t.state == due {
			if len(w.room) > ackAhead {
				return
			}
			w.cfg.Link.Ack(t.bufferID)
		}
		w.tickets[0] = nil
		w.tickets = w.tickets[1:]
	}
}

// pushLocked queues it in its session and says whether it is the first there.
func (w *Worker) pushLocked(it *item) (first bool) {
	s := w.sessions[it.session]
	if s == nil {
		s = &session{}
		w.sessions[it.session] = s
		w.wg.Go(func() { w.run(s, it.session) })
		first = true
	}
	s.items = append(s.items, it)
	return first
}

func (w *Worker) isStop(e *relay.Event) bool {
	return w.cfg.Stop != "" && e.PromptResponse == nil && e.MessageType == "command" && strings.TrimSpace(e.Text) == w.cfg.Stop
}

// Interrupt cancels the running turn of a session: its answer is not sent, and the delivery is finished.
func (w *Worker) Interrupt(sessionKey string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopLocked(sessionKey)
}

func (w *Worker) stopLocked(sessionKey string) {
	if s := w.sessions[sessionKey]; s != nil && s.stop != nil {
		s.stop(errStopped)
	}
}

func (w *Worker) setStop(s *session, stop context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.stop = stop
}

// Busy says whether a turn is running or queued, or an action unanswered.
func (w *Worker) Busy() bool { return len(w.room) > 0 }

// Changed receives after something has ended, and once Broken returns an error.
func (w *Worker) Changed() <-chan struct{} { return w.changed }

func (w *Worker) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Counts returns the figures so far.
func (w *Worker) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// Broken returns the error that keeps the journal from taking more.
func (w *Worker) Broken() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

// StopStarting lets running turns finish and leaves all others to the next run.
func (w *Worker) StopStarting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.closing:
	default:
		close(w.closing)
	}
}

// Close cancels what runs, and returns once every goroutine has ended.
func (w *Worker) Close() {
	w.StopStarting()
	w.cancel(errShutdown)
	w.wg.Wait()
}
