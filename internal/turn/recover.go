package turn

import (
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// firstPlace is that of the first delivery that earlier runs left: before all that Take brings.
const firstPlace = -1 << 40

// recovery is what has been read of what earlier runs left.
type recovery struct {
	messages, suspects int
	unread             []parked // whose keys do not tell all
	apologies          []parked
}

// Recover takes up what earlier runs left, in the order it arrived and before anything that Take brings. first is the first page
// of what Journal.Recover returns. What was running when a process died is a suspect: suspects run first, one at a time, each
// marked before it starts. Nothing is read before its turn comes, but for what the keys do not tell. No turn starts before all
// keys are known, as any of them may be a suspect's; what comes meanwhile is journalled.
func (w *Worker) Recover(first ledger.Page) {
	s, r := w.schedule, &recovery{}
	w.note(r, first.Left)
	whole := first.Next == ""
	if whole {
		w.takeUp(r)
	}
	if whole && len(r.unread) == 0 {
		close(s.suspectsDone)
		w.run.start(s.fill)
		return
	}
	s.mu.Lock()
	s.reading, s.learning = !whole, true
	s.mu.Unlock()
	w.run.start(func() {
		known := whole || w.readOn(r, first.Next)
		if !whole {
			w.takeUp(r)
			s.mu.Lock()
			s.reading = false
			s.mu.Unlock()
			s.changed()
		}
		suspects, learnt := s.learn(r.unread)
		parted := s.partDied()
		for _, p := range suspects {
			if parted {
				s.serveAlone(p)
			} else {
				s.back("", time.Time{}, p)
			}
		}
		if known && learnt && parted { // else no turn starts any more
			s.mu.Lock()
			s.learning = false
			s.mu.Unlock()
		}
		close(s.suspectsDone)
		s.fill()
	})
}

// note parks what a page tells of.
func (w *Worker) note(r *recovery, left []ledger.Left) {
	var known []parked
	s := w.schedule
	s.mu.Lock()
	for _, e := range left {
		p := parked{key: e.Key, place: firstPlace + int64(r.messages), told: true, settled: true}
		r.messages++
		if !w.cfg.Journal.Durable() {
			p.receipt = &receipt{key: e.Key, ackAtEnd: true}
		}
		switch {
		case isApology(e.Key):
			r.apologies = append(r.apologies, p)
			continue
		case e.Session == "" || e.Suspect || !e.Due.IsZero():
			r.unread = append(r.unread, p)
		default:
			s.window.park(e.Session, p)
		}
		if e.Suspect {
			r.suspects++
		}
		known = append(known, p)
	}
	s.mu.Unlock()
	w.count(known)
}

// count counts what earlier runs left as open.
func (w *Worker) count(list []parked) {
	var receipts []*receipt
	for _, p := range list {
		w.schedule.attempts.days.claim(p.place)
		if p.receipt != nil {
			receipts = append(receipts, p.receipt)
		}
	}
	w.counts.add(func(c *Counts) { c.Recovered += len(list) })
	w.intake.adopt(len(list), receipts)
}

// readOn reads the pages that are behind one. It is false if no turn starts any more.
func (w *Worker) readOn(r *recovery, next string) bool {
	for pause := time.Second; next != ""; {
		if w.schedule.gate.shutNow() {
			return false
		}
		page, err := w.cfg.Journal.Recover(w.run.ctx, next)
		if err != nil {
			w.cfg.Log.Warn(logs.KeysNotRead, logs.KeyMessages, r.messages, logs.KeyError, err, logs.KeyIn, pause.String())
			if !w.schedule.await(w.run.ctx, nil, time.Now().Add(pause)) {
				return false
			}
			pause = min(2*pause, longestPause)
			continue
		}
		pause, next = time.Second, page.Next
		w.note(r, page.Left)
	}
	return true
}

// longestPause is how long is waited at most before the journal is read again.
const longestPause = 8 * time.Second

// takeUp is for when all keys are known. An apology is void whose message is not dead after all: its process died between the
// two writes.
func (w *Worker) takeUp(r *recovery) {
	s := w.schedule
	s.early = map[string]bool{}
	for _, p := range r.apologies {
		s.early[strings.TrimSuffix(p.key, apologySuffix)] = false
	}
	if len(s.early) > 0 {
		s.markOpen(s.early, r.unread)
	}
	var owed []parked
	for _, p := range r.apologies {
		if s.early[strings.TrimSuffix(p.key, apologySuffix)] {
			r.messages--
		} else {
			owed = append(owed, p)
		}
	}
	r.unread = append(r.unread, owed...)
	w.count(owed)
	if r.messages > 0 {
		w.cfg.Log.Info(logs.TakingUp, logs.KeyMessages, r.messages, logs.KeySuspects, r.suspects)
	}
}

// markOpen marks those keys that are of open entries, parked or unread.
func (s *schedule) markOpen(keys map[string]bool, unread []parked) {
	mark := func(list []parked) {
		for _, p := range list {
			if _, asked := keys[p.key]; asked {
				keys[p.key] = true
			}
		}
	}
	mark(unread)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.window.lines {
		mark(l.parked)
	}
}

// How many entries learn reads in one call: few at first, as each may be large.
const (
	leastLearnt = 8
	mostLearnt  = 100
	learnBytes  = 1 << 20
)

// learn reads entries whose keys do not tell all, and keeps of each what has to be known before anything else is done. It
// returns the suspects. It is not complete if no turn starts any more: then what is unread is left to the next run.
func (s *schedule) learn(unread []parked) (suspects []parked, complete bool) {
	for size := leastLearnt; len(unread) > 0; {
		part := unread[:min(size, len(unread))]
		entries, ok := s.readPatiently(part)
		if !ok {
			s.mu.Lock()
			s.window.park("", unread...)
			s.mu.Unlock()
			return suspects, false
		}
		unread = unread[len(part):]
		bytes := recordSize
		for _, p := range part {
			e, found := entries[p.key]
			if !found {
				s.ended(receiptOf(p), ackDue)
				continue
			}
			bytes += len(e.Body)
			if s.learnOf(e, p) {
				suspects = append(suspects, p)
			}
		}
		size = min(max(learnBytes/bytes*len(part), leastLearnt), mostLearnt)
	}
	return suspects, true
}

// readPatiently reads entries, again and again. It is not ok if no turn starts any more.
func (s *schedule) readPatiently(list []parked) (entries map[string]ledger.Entry, ok bool) {
	var keys []string
	for _, p := range list {
		keys = append(keys, p.key)
	}
	for pause := time.Second; ; pause = min(2*pause, longestPause) {
		if s.gate.shutNow() {
			return nil, false
		}
		entries, err := s.read(keys)
		if err == nil {
			return entries, true
		}
		s.log.Warn(logs.NotLoaded, logs.KeyMessages, len(keys), logs.KeyError, err, logs.KeyIn, pause.String())
		if !s.await(s.run.ctx, nil, time.Now().Add(pause)) {
			return nil, false
		}
	}
}

// learnOf keeps what has to be known of an entry, and puts it into its line unless it is a suspect or a command to stop.
func (s *schedule) learnOf(e ledger.Entry, p parked) (suspect bool) {
	d := s.record(e, p)
	switch {
	case d == nil:
		s.ended(receiptOf(p), ackDue)
		return false
	case d.stop:
		s.mu.Lock()
		s.stops = append(s.stops, d)
		s.mu.Unlock()
		return false
	}
	if time.Now().Before(d.late) && (d.leader != "" || s.waitsLate(d)) { // its leader waits for all of them
		s.ended(receiptOf(p), ackDue)
		return false
	}
	if chat, waits := waitsFor(d); waits {
		s.attempts.pauses.refused(chat, d.place, d.wait.Due, d.wait.Asked)
	}
	if isApology(d.key) {
		s.attempts.sorry.owes(chatOf(d.Event))
	}
	if d.answer.complete() {
		s.attempts.days.drop(d.place)
	}
	if d.suspect {
		if len(d.members) > 0 {
			s.died = append(s.died, d)
		}
		return true
	}
	p.attempts = d.attempts
	s.back(d.session, d.wait.Due, p)
	return false
}

// waitsLate has a message of an earlier run wait for its late answer; unless it is stopped: then it goes into its line.
func (s *schedule) waitsLate(d *delivery) bool {
	s.mu.Lock()
	stopped := s.isStoppedLocked(d)
	s.mu.Unlock()
	return !stopped && s.attempts.waitLate(asLate(d)) == endLate
}

// back puts a delivery back into its line, where it rests until a while before it is due.
func (s *schedule) back(session string, due time.Time, p parked) {
	if at := due.Add(-workAhead); at.After(time.Now()) {
		p.until = at.UnixNano()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window.park(sessionHash(session), p)
}

// serveAlone gives a suspect one attempt with nothing beside it. If that fails, its session goes on with it.
func (s *schedule) serveAlone(p parked) {
	entries, err := s.read([]string{p.key})
	e, found := entries[p.key]
	if err != nil || s.gate.shutNow() {
		s.back("", time.Time{}, p)
		return
	}
	var d *delivery
	if found {
		d = s.record(e, p)
	}
	if d == nil {
		s.ended(receiptOf(p), ackDue)
		return
	}
	s.mu.Lock()
	if s.isStoppedLocked(d) || !d.suspect || s.overtakesLocked(d) {
		s.mu.Unlock()
		s.back(d.session, time.Time{}, p)
		return
	}
	d.line = sessionHash(d.session)
	s.enterLocked(d)
	q := s.sessions[d.session]
	if q == nil {
		q = &session{}
		s.sessions[d.session] = q
	}
	q.alone = true
	s.mu.Unlock()
	close(d.ready)
	s.attempts.rests.add(d.session, false)
	s.serveSuspect(d)
	s.mu.Lock()
	switch {
	case !d.ended: // it is tried again, beside others
		s.window.leave(d.line, d.size)
	case d.apology != nil: // its chat is told, beside others
		q.queue = append([]*delivery{d}, q.queue...)
	}
	q.alone = false
	switch {
	case q.works: // it works what was put before, too
	case len(q.queue) > 0:
		s.workLocked(d.session, q)
	default:
		delete(s.sessions, d.session)
	}
	s.mu.Unlock()
	if !d.ended {
		s.attempts.rests.remove(d.session)
		p.attempts = d.attempts
		s.back(d.session, d.wait.Due, p)
	}
}
