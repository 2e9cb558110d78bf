// Package turn takes a delivery from the socket to its end: it is journalled, acked, answered by the agent and finished.
// Package drain calls it, through a Worker. Take and Leave block while something waits that no journal has, Close until every
// goroutine has ended, Flush and Settle while they write; no other method blocks. The package never opens a socket and never takes a lease: it is given a
// Link, a journal and an agent.
//
// # Rooms
//
// Each file is a room with one job. Of each delivery there is one record (type delivery), which goes along a line:
//
//	drain's pump
//	     |  Take
//	     v
//	intake.go     journals deliveries in order, recognises duplicates, sends acks in order
//	hold.go       its part that bounds what no journal has
//	     |  place, settle, release
//	     v
//	load.go       what leaves memory while the window is full, and is read when its turn comes
//	window.go     its part that says which that is                                 <--- recover.go: what earlier
//	     |  queueLocked, end                                                             runs left
//	     v
//	schedule.go   which turn runs, and when: sessions, slots, suspects
//	merge.go      its part that says which messages are one turn
//	stop.go       its part that carries out commands to stop
//	     |  answer, answerAlone, conclude, finish
//	     v
//	attempt.go    asks the agent, keeps its answer
//	admit.go      its part that says whether a budget has a turn left
//	     |  failed, send                        (conclude: from the schedule, too)
//	     v
//	conclude.go   what a failure leads to, and how a turn ends: finished, dead or deferred
//	     |  apologise, tellAs
//	     v
//	apologise.go  what the chat of a message that will be dead is to be told
//	     v
//	streamed.go   keeps and sends what an agent streams, beside it or after it    (from the attempt)
//	     |  sendKept, send
//	     v
//	send.go       takes the actions one by one; what is refused waits, is replaced or is given up
//	     |  deliverKept, deliverUnkept
//	     v
//	deliver.go    sends one action over the link, and confirms its outcome
//
// No room calls one above it. What comes back is a return value, with one exception: the schedule tells the intake that a
// delivery has ended by a function that New connects, which is given the delivery's receipt and not the record.
//
// The other rooms are given no record, but an event, a chat or a key:
//
//	gate.go       slots, and whether a turn may start
//	acks.go       the acks that are to come
//	pauses.go     chats that have to be left alone for a while, and who goes first afterwards
//	rests.go      sessions that wait for a time that is far, and are no work until then
//	work.go       how much of what is open is no work
//	wait.go       how long each wait is
//	days.go       the day's budget of turns
//	memos.go      what is remembered of chats beyond a run
//	sorry.go      chats that are to be told of a dead message, and how that is named
//	holding.go    a turn's slot, and its room for files
//	results.go    what agents are told of their actions
//	marks.go      the marks on messages whose turns run, and that have ended
//	chat.go       what is known of chats: routing facts, typing marks, the pace of edits
//	media.go      attachments of a message, files of an answer
//	fit.go        an agent's actions made fit for the wire, with those that are not
//	stream.go     which action of a streamed answer leaves next, and when
//	drafts.go     text that grows, as a draft
//	answer.go     kept actions and their outcomes
//	prompts.go    questions that wait for a button
//	journal.go    what is written of a delivery after it was journalled
//	event.go      what an event says of itself
//	unload.go     what was said, out of memory while a turn waits
//	together.go   what several messages are as one turn
//	left.go       what is left to the next run
//	ids.go        request ids and other names
//
// # What is one step
//
// Taking a delivery and deciding whether its turn starts now is one step: the entry is journalled as running in the same
// write that journals the delivery. So the intake calls the schedule with its own lock held. Locks are taken in this order
// only: the intake's, the schedule's, then that of any other room. No room but the intake and the schedule calls another one
// with its lock held.
//
// # The window
//
// The journal is the queue, memory is a window of it (Config.Window): of each session the oldest deliveries, at most 8, the
// oldest sessions first. What is journalled and has no room is a key, until it is loaded; a turn that waits for more than a moment
// lets go of what was said, and of those behind it. What no journal has is bounded by Take.
//
// # Order
//
// Turns of one session run one after another in the order of arrival, those of different sessions side by side. Acks leave
// in the order of arrival: with a durable journal once the delivery is in it, else once its turn is done.
package turn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/texts"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Link is the way back to the connector, over whatever socket there is. Post, Ack and Descriptor are called with locks held:
// they must return soon, and must not call the Worker.
type Link interface {
	// Do is relay.Conn.Do; without a socket it waits for one. An error that does not wrap relay.ErrOutcomeUnknown and is
	// no *relay.OpError means that nothing was sent.
	Do(ctx context.Context, out relay.Outbound) (relay.Result, error)
	// Post sends an action whose result and loss matter to nobody.
	Post(out relay.Outbound)
	// Ack acks a buffered delivery. A lost ack brings the delivery back, and the journal knows it.
	Ack(bufferID string)
	// Descriptor returns the descriptor of a platform.
	Descriptor(platform string) relay.Descriptor
	// WaitDescriptors waits until every platform has its descriptor, for a moment at most.
	WaitDescriptors(ctx context.Context)
}

// Config is what New needs; everything but Chats, Media, Stop, Apology, Texts, Reactions, Merge, Passthrough, GiveUpAfter, StaleAfter, Grace,
// Deadline and the budgets is required.
type Config struct {
	Journal      ledger.Journal
	Prompts      ledger.Prompts
	Chats        ledger.Chats // nil: what is known of chats dies with the worker
	Says         ledger.Says  // for Say, and late answers; nil if there are none
	Look         func()       // is called when a say may be taken that had to wait; nil: nobody wants to know
	Agent        agent.Agent
	Link         Link
	Media        Media // nil: turns tell what is known of attachments, and nothing is uploaded
	Log          *slog.Logger
	Instance     string        // whose deliveries these are; part of their keys
	Concurrency  int           // turns side by side; the answers of as many more may be on their way
	MaxAttempts  int           // failed attempts before a message is dead
	AgentTimeout time.Duration // per attempt
	GiveUpAfter  time.Duration // how long a message waits for an agent that is away, or for a chat; zero: a day
	StaleAfter   time.Duration // age from which a message is told as late; zero: none is
	Grace        time.Duration // how long writes are still made once the run is over; zero: 2 s
	Window       int           // bytes of messages in memory; zero: 64 MB
	Deadline     time.Time     // no turn starts whose AgentTimeout would end after it; zero: none
	Stop         string        // a message whose first word it is stops what its session runs, and what waits there
	Apology      string        // sent for a dead message
	Texts        texts.Texts   // our other sentences; zero: English
	Reactions    bool          // a mark on the message while its turn runs, and after it
	Merge        bool          // what waits in a session is one turn
	Passthrough  bool          // raw requests of platforms other than Discord become turns

	BotTurns       int        // messages of bots that get a turn, an hour and chat; zero: any number, negative: none
	MaxTurnsPerDay int        // turns that start on a day (UTC), attempts included; zero: any number
	Day            ledger.Day // how many have so far
}

// ErrJournal means that a delivery could not be journalled: take no more and go idle.
var ErrJournal = errors.New("turn: the journal refuses writes")

// Errors that rooms tell each other.
var (
	errStopped   = errors.New("stopped by the user")
	errDeferred  = errors.New("turn: deferred to the next run")
	errTimeout   = errors.New("the agent took longer than DORMOUSE_AGENT_TIMEOUT")
	errBehind    = fmt.Errorf("%w, behind another message of its session", errDeferred)
	errDiedAlone = errors.New("the process died while this message ran alone")
	errDied      = errors.New("the process died while these messages were one turn")
	errApart     = errors.New("turn: the messages of a set go on one by one")
	errAnew      = errors.New("turn: what has come meanwhile may be one turn with it")
)

// Worker receives deliveries and runs their turns. All methods may be called from any goroutine, but Take only from one
// at a time.
type Worker struct {
	cfg      Config
	run      *lifetime
	counts   *tally
	chats    *chats
	intake   *intake
	schedule *schedule
	journal  *journal
	says     *says
}

// New returns a worker that stops when ctx does. Call Recover first, and Close at the end.
func New(ctx context.Context, cfg Config) *Worker {
	cfg.GiveUpAfter = cmp.Or(cfg.GiveUpAfter, 24*time.Hour)
	run, counts, start := newLifetime(ctx, cmp.Or(cfg.Grace, defaultGrace)), new(tally), newGate(cfg)
	marker := promptMarker(cfg.Instance)
	chats, pauses, rests := newChats(cfg.Link, marker, cfg.Texts), newPauses(), newRests(start.closing)
	files := &files{media: cfg.Media, gate: start, filled: make(chan struct{}, cfg.Concurrency)}
	prompts := &prompts{ledger: cfg.Prompts, marker: marker, run: run, log: cfg.Log}
	journal := &journal{ledger: cfg.Journal, says: cfg.Says, run: run, counts: counts, log: cfg.Log, paying: make(chan struct{}, 1)}
	memos := newMemos(cfg, run)
	marks := newMarks(cfg, chats, memos, run)
	sender := &sender{link: cfg.Link, journal: journal, prompts: prompts, memos: memos, counts: counts, run: run}
	attempts := &attempts{
		cfg: cfg, gate: start, chats: chats, files: files, prompts: prompts, sender: sender, counts: counts, run: run,
		journal: journal, pauses: pauses, rests: rests, sorry: &sorry{memos: memos, owed: map[chatName]bool{}, saying: map[chatName]string{}},
		days: newDays(cfg.MaxTurnsPerDay, cfg.Day), memos: memos, marks: marks, lates: newLates(run, start.closing),
	}
	cfg.Window = cmp.Or(cfg.Window, 64<<20)
	schedule := newSchedule(start, attempts, run, cfg.Window/2)
	schedule.merges = cfg.Merge && cfg.Journal.Durable()
	intake := newIntake(cfg, schedule, chats, counts, run)
	schedule.ended, schedule.unloaded, schedule.changed = intake.end, intake.unloaded, intake.signal
	rests.changed, rests.sits = intake.signal, schedule.sits
	attempts.lates.over = func(m late) {
		intake.adopt(1, nil)
		schedule.back(m.session, time.Time{}, parked{key: m.key, place: m.place, told: true, settled: true})
		intake.signal()
	}
	return &Worker{
		cfg: cfg, run: run, counts: counts, chats: chats, intake: intake, schedule: schedule, journal: journal,
		says: &says{cfg: cfg, attempts: attempts, intake: intake, schedule: schedule},
	}
}

// Interrupt cancels the running turn of a session: its answer is not sent, and the delivery is finished.
func (w *Worker) Interrupt(sessionKey string) { w.schedule.interrupt(sessionKey) }

// Busy says whether there is work: a turn that runs, is queued or is due soon, or an action that is unanswered. What waits
// for longer is no work (Counts.Left).
func (w *Worker) Busy() bool { return w.intake.busy() }

// Changed receives after something has ended, and once Broken returns an error.
func (w *Worker) Changed() <-chan struct{} { return w.intake.changed }

// Counts returns the figures so far. Left has what waits, too, and would be left if the run ended now.
func (w *Worker) Counts() Counts {
	c := w.counts.read()
	n, due := w.schedule.left()
	c.Left += n
	if w.schedule.gate.shutNow() {
		n = w.schedule.waiting()
	}
	c.Waiting += n
	if n > 0 && (c.Due.IsZero() || due.Before(c.Due)) {
		c.Due = due
	}
	n, due = w.schedule.attempts.lates.left()
	c.Left, c.Waiting = c.Left+n, c.Waiting+n
	if n > 0 && (c.Due.IsZero() || due.Before(c.Due)) {
		c.Due = due
	}
	return c
}

// Flush writes to the journal what is known and could not be written before.
func (w *Worker) Flush(ctx context.Context) { _ = w.journal.flush(ctx) }

// Settle is for the end of a run, before the lease is given back: it writes down what waits behind another message, and is
// Flush again and again, until nothing is owed, or ctx ends, or the lease is lost.
func (w *Worker) Settle(ctx context.Context) {
	for _, d := range w.schedule.behind() {
		w.journal.wait(d.key, waitsBehind, d.wait, d.attempts)
	}
	w.journal.settle(ctx)
}

// Unwritten logs and counts what is known and still is not written. It is called once nothing will be written any more.
func (w *Worker) Unwritten() { w.journal.giveUp() }

// Broken returns the error that keeps the journal from taking more.
func (w *Worker) Broken() error { return w.intake.fault() }

// Lagging receives when live deliveries have waited for seconds to be journalled: have the connector buffer.
func (w *Worker) Lagging() <-chan struct{} { return w.intake.lags }

// Unjournalled is how many deliveries no journal has, or not yet, and their bytes.
func (w *Worker) Unjournalled() (deliveries, bytes int) {
	w.intake.mu.Lock()
	defer w.intake.mu.Unlock()
	return w.intake.unkept, w.intake.held
}

// Holding reports whether there are deliveries that no journal has, or not yet. Those that are buffered are not acked.
func (w *Worker) Holding() bool { return w.intake.holding() }

// StopStarting lets running turns finish and defers all others to the next run.
func (w *Worker) StopStarting() { w.schedule.gate.shut() }

// Leave lets running turns finish, defers all others to the next run, and waits until what was taken is in the journal, or ctx ends.
func (w *Worker) Leave(ctx context.Context) {
	w.StopStarting()
	w.intake.await(ctx)
}

// Close cancels what runs, and returns once every goroutine has ended.
func (w *Worker) Close() {
	w.StopStarting()
	w.run.end()
}
