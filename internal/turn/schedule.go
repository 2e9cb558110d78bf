package turn

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// schedule says which turn runs, and when: those of one session one after another, those of different sessions side by
// side, suspects of an earlier run before all others and one at a time.
//
// Whenever nobody holds mu, this is true: sessions has exactly the sessions that have a goroutine or a suspect that has its
// attempt, and a session's queue
// has, by arrival, the deliveries that its goroutine has not begun; deferred has the deliveries that this run has deferred,
// by session, which nothing may overtake. No room above is called with mu held.
type schedule struct {
	gate     *gate
	attempts *attempts
	run      *lifetime
	log      *slog.Logger
	ended    func(*receipt, ackState) // tells the intake; New sets it
	changed  func()                   // likewise, that what is work has changed
	unloaded func(key string)         // likewise, of one that is in the journal alone from now on

	suspectsDone chan struct{} // closed once no suspect runs

	early  map[string]bool // messages for which an earlier run has kept an apology, by their keys
	merges bool            // what waits in a session is one turn
	died   []*delivery     // leaders of sets whose process died before their answer was whole; Recover's only

	mu       sync.Mutex // guards the rest, and every delivery's stopped
	window   *window
	loads    chan struct{} // closed as a load ends, which puts a new one in its place
	buffered time.Time     // when something came last that the connector had buffered
	reading  bool          // the keys of what earlier runs left are not known yet
	learning bool          // nor what they do not tell: no turn starts, and nothing that comes stays in memory
	stops    []*delivery   // commands to stop, while something is in the journal alone that they may be for
	sessions map[string]*session
	deferred map[string][]*delivery
	glanced  map[string]bool // commands to stop that were carried out before they were taken, by their messages' names
}

// session is a conversation that has deliveries. The schedule's mu guards it.
type session struct {
	works  bool      // it has a goroutine that works its queue
	alone  bool      // a suspect of it has its attempt alone
	now    *delivery // that its goroutine has taken out of the queue last; nil: none
	queue  []*delivery
	turn   *delivery               // whose turn it is, or was last: now, or a suspect
	cancel context.CancelCauseFunc // of that turn; nil: it is over
}

func newSchedule(g *gate, a *attempts, run *lifetime, most int) *schedule {
	return &schedule{
		gate: g, attempts: a, run: run, log: a.cfg.Log, window: newWindow(most), suspectsDone: make(chan struct{}),
		loads:    make(chan struct{}),
		sessions: map[string]*session{}, deferred: map[string][]*delivery{}, glanced: map[string]bool{},
	}
}

// queueLocked appends a delivery to its session, and says whether its turn starts as soon as it is released.
func (s *schedule) queueLocked(d *delivery) (startsNow bool) {
	q, known := s.sessions[d.session]
	if !known {
		q = &session{}
		s.sessions[d.session] = q
		s.workLocked(d.session, q)
	}
	q.queue = append(q.queue, d)
	return !known && (d.came.IsZero() || !mayJoin(d)) && len(s.deferred[d.session]) == 0 && s.gate.free() && s.gate.mayStart() && !s.attempts.hasBudget(d)
}

// workLocked starts a session's goroutine.
func (s *schedule) workLocked(key string, q *session) {
	q.works = true
	s.run.start(func() { s.runSession(key, q) })
}

// queueFirstLocked puts a delivery that no journal has before those of its session that one has.
func (s *schedule) queueFirstLocked(d *delivery) {
	s.queueLocked(d)
	q := s.sessions[d.session]
	rest := q.queue[:len(q.queue)-1]
	at := slices.IndexFunc(rest, func(other *delivery) bool { return !other.unkept })
	if at >= 0 {
		q.queue = slices.Insert(rest, at, d)
	}
}

// enterLocked counts a delivery as in memory.
func (s *schedule) enterLocked(d *delivery) {
	if d.volatile {
		d.size = 0 // the intake counts it
	}
	s.window.enter(d.line, d.size)
}

// drop is for a delivery that gets no turn.
func (s *schedule) drop(d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case d.line == "":
	case d.parked:
		s.window.remove(d.line, d.place)
	default:
		s.window.leave(d.line, d.size)
	}
}

// release lets the turn of a delivery come that has been journalled. A command to stop is carried out here, and not
// before, because one that comes again would stop a later turn.
func (s *schedule) release(d *delivery) {
	if d.stop {
		d.mark.glance()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopLocked(d) // in one step with what follows: what is loaded meanwhile is stopped, too
		if s.waitsLocked(d) {
			s.stops = append(s.stops, d)
			s.window.wake(func(l *line) bool { return isTopLevel(d.Event) || l.name == sessionHash(d.session) })
			return
		}
		s.run.start(func() { s.end(d, s.attempts.finish(d)) })
		return
	}
	source := d.Event.Source
	if places := s.attempts.pauses.heard(chatName{source.Platform, source.ChatID}); len(places) > 0 {
		s.mu.Lock()
		s.window.wake(func(l *line) bool { return slices.Contains(places, l.parked[0].place) })
		s.mu.Unlock()
	}
	var resting bool
	if d.parked && !d.unkept {
		resting = s.attempts.rests.resting(d.session)
	} else {
		resting = s.attempts.rests.add(d.session, d.unkept && d.BufferID == "")
	}
	s.attempts.days.claim(d.place)
	if s.gate.mayStart() && !resting && s.attempts.days.left(d.place) {
		d.typing.show() // before the turn can start: after a fast reply it would look as if more were to come
	} else {
		d.mark.glance() // it waits for what is far
	}
}

// runSession works a session's queue until it is empty.
func (s *schedule) runSession(key string, q *session) {
	for {
		s.mu.Lock()
		if len(q.queue) == 0 {
			q.works = false
			if !q.alone {
				delete(s.sessions, key)
			}
			s.mu.Unlock()
			return
		}
		d := q.queue[0]
		q.queue[0] = nil
		q.queue, q.now = q.queue[1:], d
		s.mu.Unlock()
		<-d.ready
		switch {
		case !d.ended:
			<-s.suspectsDone
			s.serve(d)
		case d.apology != nil: // it was a suspect, and its chat is told beside others
			<-s.suspectsDone
			s.serveApology(d)
		}
	}
}

// serve runs a delivery's turn until the delivery is answered, dead or deferred.
func (s *schedule) serve(d *delivery) {
	err := errBehind
	for again := !s.mustWait(d); again; again = errors.Is(err, errAnew) {
		ctx, done := s.begin(d)
		err = s.gather(ctx, d)
		if d = s.turnOf(d.session); err == nil {
			err = s.attempts.answer(ctx, d)
		}
		done()
	}
	if errors.Is(err, errApart) {
		s.apart(d)
		return
	}
	how := s.attempts.conclude(d, err)
	if how == endDead && d.apology != nil {
		s.serveApology(d)
		return
	}
	if how == endFinished {
		s.serveNext(d)
	}
	s.end(d, how)
}

// turnOf is the delivery that a session's goroutine is at: of several that are one turn the one that leads.
func (s *schedule) turnOf(session string) *delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[session].now
}

// serveApology tells the chat of a delivery that is dead, in the delivery's place: nothing of its session overtakes that.
func (s *schedule) serveApology(d *delivery) {
	ctx, done := s.begin(d.apology)
	err := s.attempts.answer(ctx, d.apology)
	done()
	s.attempts.conclude(d.apology, err)
	s.end(d, endDead)
}

// serveNext runs the turns of results that follow a delivery, in its place: nothing of its session comes between them.
func (s *schedule) serveNext(d *delivery) {
	for next := d.next; next != nil; next = next.next {
		ctx, done := s.begin(next)
		err := s.attempts.answer(ctx, next)
		done()
		switch s.attempts.conclude(next, err) {
		case endDead:
			if next.apology != nil {
				ctx, done := s.begin(next.apology)
				err := s.attempts.answer(ctx, next.apology)
				done()
				s.attempts.conclude(next.apology, err)
			}
			return
		case endDeferred:
			s.mu.Lock()
			s.deferred[d.session] = append(s.deferred[d.session], next)
			s.mu.Unlock()
			return
		}
	}
}

// serveSuspect gives a suspect one attempt with nothing beside it. If that fails, its session goes on with it.
func (s *schedule) serveSuspect(d *delivery) {
	err := errBehind
	if !s.mustWait(d) {
		ctx, done := s.begin(d)
		var again bool
		again, err = s.attempts.answerAlone(ctx, d)
		done()
		if again {
			return
		}
	}
	how := s.attempts.conclude(d, err)
	if how == endDead && d.apology != nil {
		d.ended = true
		return
	}
	s.end(d, how)
}

// mustWait says whether a delivery would overtake one of its session that was deferred to the next run. A live one that is
// in no journal does not wait: it is answered now or never.
func (s *schedule) mustWait(d *delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.deferred[d.session]) > 0 && (!d.unkept || d.BufferID != "") && !d.stopped
}

// end ends a delivery as its turn has ended, and those that are one turn with it, and tells the intake. What is left to the next
// run as a set stays one.
func (s *schedule) end(d *delivery, how ending) {
	set, stays := d.set, how == endDeferred && d.joined
	if !stays {
		d.set = nil
	}
	for _, m := range set {
		s.endOne(m, how, !stays)
	}
	s.endOne(d, how, true)
}

// endOne ends a delivery. One that is left to the next run is deferred, unless its leader is.
func (s *schedule) endOne(d *delivery, how ending, defers bool) {
	d.ended = true
	if how == endDeferred {
		s.mu.Lock()
		if defers {
			s.deferred[d.session] = append(s.deferred[d.session], d)
		}
		if !d.volatile && d.Event != nil {
			d.Event = slim(d.Event)
		}
		s.mu.Unlock()
	}
	if !d.stop {
		s.drop(d)
		s.attempts.rests.remove(d.session)
		s.attempts.days.drop(d.place)
		if d.say == nil {
			s.attempts.memos.seen(d.Event.Source)
		}
	}
	s.ended(d.receipt, how.ack())
}

// begin returns the context of a delivery's turn, which ends with errStopped as its cause, or with the run. done is called at
// the turn's end.
func (s *schedule) begin(d *delivery) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(s.run.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.sessions[d.session]
	q.turn, q.cancel = d, cancel
	if d.stopped {
		cancel(errStopped)
	}
	return ctx, func() {
		s.mu.Lock()
		q.cancel = nil
		s.mu.Unlock()
		cancel(nil)
	}
}

// ending says how a delivery's turn has ended.
type ending int

const (
	endFinished    ending = iota + 1 // answered, or stopped
	endDead                          // given up
	endDeferred                      // left to the next run
	endLate                          // its answer comes later
	endNotRecorded                   // finished, but the journal does not know: the next run takes it up
)

// ack is what becomes of the ack of a buffered delivery that has ended so.
func (e ending) ack() ackState {
	if e == endFinished || e == endDead || e == endLate {
		return ackDue
	}
	return ackVoid
}
