package turn

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	journalBatch = 48      // deliveries journalled in one call
	takenSize    = 2 << 10 // what a delivery takes in memory beside its body
)

// intake journals deliveries and sends their acks, both in the order of arrival, and recognises duplicates.
//
// Whenever nobody holds mu, this is true: pending has the deliveries that were released to the schedule and have not ended;
// acks has those that have not been sent, by arrival; a goroutine is journalling only if writing is set. The schedule and
// Link.Ack are called with mu held.
type intake struct {
	cfg      Config
	schedule *schedule
	chats    *chats
	counts   *tally
	run      *lifetime
	changed  chan struct{}
	lags     chan struct{}
	seq      int64 // Take's only

	mu      sync.Mutex          // guards the rest, and every receipt
	pending map[string]*receipt // by key
	acks    ackQueue
	arrived []arrival // to be journalled
	writing bool
	written chan struct{} // closed as the writing ends; a new one as it begins
	broken  error         // why the journal takes no more
	open    int           // deliveries that have not ended
	held    int           // bytes of those that no journal has
	unkept  int           // how many these are
	most    int           // bytes of them beyond which Take waits
	freed   chan struct{} // closed as some are let go, which puts a new one in its place
}

// arrival is a delivery that is to be journalled.
type arrival struct {
	d     *delivery
	entry ledger.Entry
}

func newIntake(cfg Config, s *schedule, chats *chats, counts *tally, run *lifetime) *intake {
	i := &intake{
		cfg: cfg, schedule: s, chats: chats, counts: counts, run: run,
		changed: make(chan struct{}, 1), lags: make(chan struct{}, 1), pending: map[string]*receipt{}, freed: make(chan struct{}), most: cfg.mostHeld(),
	}
	i.acks = ackQueue{send: cfg.Link.Ack, withhold: func() bool { return i.unkept > ackAhead }}
	return i
}

// Take journals a delivery, queues its turn and sees to its ack. It returns once the delivery has its place in the order,
// which may be before it is journalled. It blocks while so much waits that no journal has as Config.Window allows. ErrJournal
// means that no buffered delivery will be taken any more: this one is not acked.
func (w *Worker) Take(d relay.Delivery) error {
	if d.Kind == relay.KindInterrupt {
		w.Interrupt(d.SessionKey)
		return nil
	}
	return w.intake.take(d)
}

func (i *intake) take(received relay.Delivery) error {
	i.counts.add(func(c *Counts) { c.Received++ })
	if err := i.fault(); err != nil && received.BufferID != "" {
		return err
	}
	d, why := i.record(received)
	if d == nil {
		return i.ackOnly(received.BufferID)
	}
	if i.run.ctx.Err() != nil { // a select would choose at random, and so leave one delivery and take the next
		return context.Cause(i.run.ctx)
	}
	d.size = recordSize + received.Size()
	if err := i.hold(d.receipt, takenSize+received.Size()); err != nil {
		return err
	}
	i.mu.Lock()
	next := i.arriveLocked(d, why)
	durable, idle := i.cfg.Journal.Durable(), !i.writing
	if durable {
		i.arrived, i.writing = append(i.arrived, next), true
		i.lagging(i.arrived) // also while one write does not return
	}
	if durable && idle {
		i.written = make(chan struct{})
	}
	i.mu.Unlock()
	switch {
	case !durable:
		i.journal([]arrival{next}) // the ledger is a map: there is no round trip to wait for
	case idle:
		i.run.start(i.journalArrived)
	}
	return nil
}

// arriveLocked gives a delivery its place in the order, and makes the entry by which it is to be journalled.
func (i *intake) arriveLocked(d *delivery, why string) arrival {
	i.seq++
	d.place = i.seq
	entry := ledger.Entry{Key: d.key, Seq: i.seq, State: ledger.New, Error: why, Buffer: d.BufferID, Session: sessionHash(d.session)}
	entry.Message, entry.Edit = message(d.Event)
	if d.BufferID != "" {
		i.acks.add(d.receipt, d.BufferID)
	}
	switch {
	case why != "":
		entry.State = ledger.Dead
	case d.stop && i.cfg.Journal.Durable():
		entry.State = ledger.Running // so that the next run carries it out before anything else
	case !d.stop && i.schedule.place(d):
		entry.State = ledger.Running
	}
	d.state = entry.State
	return arrival{d, entry}
}

// record makes the record of a delivery, nil for one by which nobody has said anything. why says why it cannot become a turn;
// empty: it can.
func (i *intake) record(received relay.Delivery) (d *delivery, why string) {
	key := Key(i.cfg.Instance, received)
	d = &delivery{Delivery: received, key: key, state: ledger.New, ready: make(chan struct{})}
	d.volatile = !i.cfg.Journal.Durable()
	d.receipt = &receipt{key: key, ackAtEnd: d.volatile}
	d.Forward = nil
	switch received.Kind {
	case relay.KindInbound:
		if d.Event.Source.IsZero() {
			why = "the event has no source: nobody knows who said it, or where an answer would go"
		}
	case relay.KindPassthrough:
		var err error
		if d.Event, d.Forward, err = forwarded(received.Forward, i.cfg.Passthrough); errors.Is(err, relay.ErrNoMessage) {
			return nil, "" // Discord asks whether we are there, or what to suggest
		} else if err != nil {
			why = err.Error()
		}
	default:
		why = received.Fault
	}
	if why == "" {
		// The reference's default: each top-level Slack message opens a thread, and a session, of its own.
		d.Event.Source = d.Event.ThreadedSource()
		d.session, d.by = d.Event.SessionKey(), speakerOf(d.Event.Source)
		d.stop = isStop(i.cfg.Stop, d.Event)
		d.log = logTo(i.cfg.Log, key, d.session)
		d.typing = i.chats.typingMark(d.Event, d.session)
		d.mark = i.schedule.attempts.marks.of(d.Event, d.session, false)
	}
	return d, why
}

// Key names a delivery, 32 hex digits: instance, platform, chat and message id, and what the message says, so that an edit
// is a new message and a redelivery is not. A content that comes back after another gets a key of its own from the journal.
// Without a message id it is the buffer id and the whole event; without either no delivery is a repeat of another.
func Key(instance string, d relay.Delivery) string {
	switch e := d.Event; {
	case e != nil && e.MessageID != "" && e.Source.ChatID != "":
		content, _ := json.Marshal([]any{e.Text, e.MessageType, e.MediaURLs, e.Media, e.PromptResponse})
		return hash(instance, "message", e.Source.Platform, e.Source.ChatID, e.MessageID, string(content))
	case d.BufferID != "":
		content, _ := json.Marshal([]any{d.Kind, d.Event, d.Forward, d.Fault})
		return hash(instance, "buffered", d.BufferID, string(content))
	}
	return hash(instance, "live", rand.Text())
}

// journalArrived journals what has arrived. Several deliveries go in one write, but one write follows the other: a death,
// or a write that fails, must not leave a delivery in the journal and an earlier one of its session with the connector.
func (i *intake) journalArrived() {
	for {
		i.mu.Lock()
		n := min(len(i.arrived), journalBatch)
		next := i.arrived[:n:n]
		i.arrived = i.arrived[n:]
		i.writing = n > 0
		written := i.written
		i.mu.Unlock()
		if n == 0 {
			close(written)
			i.signal() // what is in the journal may be no work any more
			return
		}
		i.lagging(next)
		i.journal(next)
	}
}

// journal journals deliveries and lets them go on. A write that is under way as the run ends is still made: of a live
// message there is no other trace. After a write that failed only live ones are journalled, as nobody sends them again.
func (i *intake) journal(arrivals []arrival) {
	if err := i.fault(); err != nil { // what came before a buffered one may not be there
		arrivals = slices.DeleteFunc(arrivals, func(a arrival) bool {
			hopeless := a.d.BufferID != "" || i.run.ctx.Err() != nil
			if hopeless {
				i.notJournalled(a.d, a.entry, err)
			}
			return hopeless
		})
	}
	if len(arrivals) == 0 {
		return
	}
	entries := make([]ledger.Entry, len(arrivals))
	for n, a := range arrivals {
		if a.entry.State != ledger.Dead {
			a.entry.Body, _ = json.Marshal(a.d.Delivery) // strings and numbers: it marshals
		}
		entries[n] = a.entry
	}
	ctx, cancel := i.run.journalling()
	defer cancel()
	states, err := i.cfg.Journal.Receive(ctx, entries...)
	for n, a := range arrivals {
		if n < len(states) {
			i.journalled(a.d, entries[n], states[n])
		} else {
			i.notJournalled(a.d, a.entry, err)
		}
	}
}

// journalled is for a delivery of which the journal has found that state; "" means that its entry has been written. A
// content that comes back has got another key.
func (i *intake) journalled(d *delivery, entry ledger.Entry, found ledger.State) {
	i.mu.Lock()
	defer i.mu.Unlock()
	defer close(d.ready)
	if entry.Key != d.key {
		d.key, d.receipt.key = entry.Key, entry.Key
		d.log = logTo(i.cfg.Log, d.key, d.session)
	}
	d.edited = entry.Edit
	log := i.cfg.Log.With(logs.KeyDelivery, d.key)
	switch {
	case found == "" && entry.State == ledger.Dead:
		log.Warn(logs.SetAside, append(idsOf(d.Event, d.BufferID), logs.KeyReason, entry.Error)...)
		i.counts.add(func(c *Counts) { c.Dead++ })
		i.dropLocked(d, ackDue)
	case found == "" && i.pending[d.key] != nil: // it runs unkept since the journal refused it; its end is the entry's, too
		i.joinLocked(d, log, "unkept")
	case found == "":
		log.Info(logs.Journalled, append(idsOf(d.Event, d.BufferID), logs.KeySession, d.session, logs.KeyBuffered, d.BufferID != "")...)
		i.releaseLocked(d)
	case found == ledger.TooLarge && i.pending[d.key] != nil:
		i.joinLocked(d, log, "unkept")
	case found == ledger.TooLarge:
		log.Warn(logs.TooLarge, logs.KeyBytes, len(entry.Body))
		if d.BufferID == "" {
			i.counts.add(func(c *Counts) { c.Unkept++ })
		}
		d.unkept = true
		i.releaseLocked(d)
	case found == ledger.Finished, found == ledger.Dead:
		i.counts.add(func(c *Counts) { c.Duplicates++ })
		log.Info(logs.SeenEnded, append(idsOf(d.Event, d.BufferID), logs.KeyState, found)...)
		d.mark.glance()
		i.dropLocked(d, ackDue)
	default:
		i.joinLocked(d, log, found)
	}
}

// notJournalled is for a delivery that could not be journalled.
func (i *intake) notJournalled(d *delivery, entry ledger.Entry, err error) {
	log := i.cfg.Log.With(logs.KeyDelivery, d.key, logs.KeyError, err)
	i.mu.Lock()
	defer i.mu.Unlock()
	defer close(d.ready)
	if i.broken == nil {
		i.broken = fmt.Errorf("%w: %w", ErrJournal, err)
		i.signal()
	}
	switch {
	case d.BufferID != "":
		log.Error(logs.NotJournalled)
		i.dropLocked(d, ackVoid)
	case entry.State == ledger.Dead || errors.Is(err, ledger.ErrLost) || i.run.ctx.Err() != nil:
		log.Error(logs.LiveLost)
		i.counts.add(func(c *Counts) { c.Lost++ })
		i.dropLocked(d, ackVoid)
	case i.pending[d.key] != nil:
		i.joinLocked(d, log, "unkept")
	default:
		log.Error(logs.LiveUnkept)
		i.counts.add(func(c *Counts) { c.Unkept++ })
		d.unkept, d.unsure = true, true
		i.releaseLocked(d)
	}
}

// releaseLocked releases a delivery to the schedule.
func (i *intake) releaseLocked(d *delivery) {
	i.pending[d.key] = d.receipt
	d.volatile = d.volatile || d.unkept
	d.receipt.ackAtEnd = d.volatile
	if !d.receipt.ackAtEnd {
		i.letGoLocked(d.receipt)
		i.acks.resolve(d.receipt, ackDue)
	}
	i.schedule.release(d)
	if d.parked && !d.unkept {
		delete(i.pending, d.key)
	}
	i.schedule.settle(d)
}

// joinLocked drops a duplicate. Its ack is sent with that of the delivery that it repeats.
func (i *intake) joinLocked(d *delivery, log *slog.Logger, state ledger.State) {
	i.counts.add(func(c *Counts) { c.Duplicates++ })
	log.Info(logs.SeenRunning, append(idsOf(d.Event, d.BufferID), logs.KeyState, state)...)
	d.mark.glance()
	first := i.pending[d.key]
	switch {
	case first != nil && first.ackAtEnd:
		first.acks = append(first.acks, d.receipt.acks...)
		d.receipt.acks = nil
		i.dropLocked(d, ackVoid)
	case i.cfg.Journal.Durable():
		i.dropLocked(d, ackDue)
	default: // the first was deferred to the next run: this one stays with the connector, too
		i.dropLocked(d, ackVoid)
	}
}

// dropLocked drops a delivery that gets no turn.
func (i *intake) dropLocked(d *delivery, s ackState) {
	d.ended = true
	i.schedule.drop(d)
	i.endLocked(d.receipt, s)
}
