package turn

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// Recover takes up what earlier runs left, which is what Journal.Recover returns, in the order it arrived and before anything
// that Take brings. What was running when a process died is a suspect: suspects run first, one at a time, each marked
// before it starts. Nothing is read before its turn comes, but for what the keys do not tell.
func (w *Worker) Recover(left []ledger.Left) {
	s := w.schedule
	left, s.early = withoutEarly(left)
	var receipts []*receipt
	var unread []parked
	suspects := 0
	s.mu.Lock()
	for n, e := range left {
		p := parked{key: e.Key, place: int64(n - len(left)), told: true, settled: true}
		if !w.cfg.Journal.Durable() {
			p.receipt = &receipt{key: e.Key, ackAtEnd: true}
			receipts = append(receipts, p.receipt)
		}
		s.attempts.days.claim(p.place)
		if e.Suspect {
			suspects++
		}
		if e.Session == "" || e.Suspect || !e.Due.IsZero() || isApology(e.Key) {
			unread = append(unread, p)
		} else {
			s.window.park(e.Session, p)
		}
	}
	s.learning = len(unread) > 0
	s.mu.Unlock()
	w.counts.add(func(c *Counts) { c.Recovered += len(left) })
	w.intake.adopt(len(left), receipts)
	if len(left) > 0 {
		w.cfg.Log.Info(logs.TakingUp, logs.KeyMessages, len(left), logs.KeySuspects, suspects)
	}
	if len(unread) == 0 {
		close(s.suspectsDone)
		w.run.start(s.fill)
		return
	}
	w.run.start(func() {
		for _, p := range s.learn(unread) {
			s.serveAlone(p)
		}
		s.mu.Lock()
		s.learning = false
		s.mu.Unlock()
		close(s.suspectsDone)
		s.fill()
	})
}

// learn reads entries whose keys do not tell all, and keeps of each what has to be known before anything else is done. It
// returns the suspects.
func (s *schedule) learn(unread []parked) (suspects []parked) {
	for part := range slices.Chunk(unread, 8) {
		var keys []string
		for _, p := range part {
			keys = append(keys, p.key)
		}
		entries, err := s.read(keys)
		for pause := time.Second; err != nil; pause = min(2*pause, 8*time.Second) {
			s.log.Warn(logs.NotLoaded, logs.KeyMessages, len(keys), logs.KeyError, err, logs.KeyIn, pause.String())
			if !s.await(nil, time.Now().Add(pause)) {
				break
			}
			entries, err = s.read(keys)
		}
		if err != nil { // no turn starts any more: all are left to the next run
			s.mu.Lock()
			for _, p := range part {
				s.window.park("", p)
			}
			s.mu.Unlock()
			continue
		}
		for _, p := range part {
			if e, found := entries[p.key]; !found {
				s.ended(receiptOf(p), ackDue)
			} else if s.learnOf(e, p) {
				suspects = append(suspects, p)
			}
		}
	}
	return suspects
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
		return true
	}
	p.attempts = d.attempts
	s.back(d.session, d.wait.Due, p)
	return false
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
	if s.isStoppedLocked(d) || !d.suspect {
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

// waitsFor is the chat that a delivery waits for, if it is a chat. Also if the time is over: the oldest goes first.
func waitsFor(d *delivery) (chat chatName, waits bool) {
	i := slices.Index(d.answer.outcomes, "")
	if !d.answer.complete() || i < 0 || d.wait.Tries == 0 {
		return chatName{}, false
	}
	var o action.Outgoing
	if err := json.Unmarshal(d.answer.actions[i], &o); err != nil {
		return chatName{}, false
	}
	return nameOf(o, d.Event.Source), true
}

// withoutEarly are the entries without the apologies for messages that are not dead after all: their process died between
// the two writes. early has the keys of those messages.
func withoutEarly(entries []ledger.Left) (rest []ledger.Left, early map[string]bool) {
	apologies, early := false, map[string]bool{}
	for _, e := range entries {
		apologies = apologies || isApology(e.Key)
	}
	if !apologies {
		return entries, early
	}
	open := map[string]bool{}
	for _, e := range entries {
		open[e.Key] = true
	}
	for _, e := range entries {
		if key, is := strings.CutSuffix(e.Key, apologySuffix); is && open[key] {
			early[key] = true
			continue
		}
		rest = append(rest, e)
	}
	return rest, early
}
