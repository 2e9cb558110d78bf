package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// place gives a delivery that has come its place: in its session's queue, or in the journal alone. It says whether its turn
// starts as soon as it is released.
func (s *schedule) place(d *delivery) (startsNow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.line = sessionHash(d.session)
	s.arrivesLocked(d)
	if !d.volatile && (s.learning || !s.window.stays(d.line, d.size)) {
		d.parked = true
		s.window.park(d.line, parked{key: d.key, place: d.place, d: d})
		return false
	}
	s.enterLocked(d)
	return s.queueLocked(d)
}

// settle is for a delivery that the journal has, or will never have. What is in the journal alone is out of memory from now on.
// A live one that no journal has is answered before anything of its session that is not in memory.
func (s *schedule) settle(d *delivery) {
	if !d.parked {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !d.unkept:
		s.window.settle(d.line, d.place, d.key)
	case d.BufferID != "":
		s.window.settle(d.line, d.place, "")
	default:
		s.window.remove(d.line, d.place)
		d.parked, d.size = false, 0
		s.enterLocked(d)
		s.queueFirstLocked(d)
	}
}

// fill loads what is in the journal alone as its turn comes. It ends once no turn starts any more.
func (s *schedule) fill() {
	for pause := time.Second; !s.gate.shutNow(); {
		s.retire()
		s.mu.Lock()
		list, lines := s.window.take(time.Now())
		rested := s.window.nextRest()
		s.mu.Unlock()
		if len(list) == 0 {
			s.changed() // what rests is no work
			if !s.await(s.run.ctx, s.window.changed, rested) {
				break
			}
			continue
		}
		if err := s.load(list, lines); err != nil {
			s.log.Warn(logs.NotLoaded, logs.KeyMessages, len(list), logs.KeyError, err, logs.KeyIn, pause.String())
			if !s.await(s.run.ctx, nil, time.Now().Add(pause)) {
				break
			}
			pause = min(2*pause, longestPause)
			continue
		}
		pause = time.Second
	}
	s.abandon()
}

// await waits for a change or a time; zero: it does not come. It is false once ctx has ended or no turn starts any more.
func (s *schedule) await(ctx context.Context, changed <-chan struct{}, until time.Time) bool {
	var timer <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-timer:
	case <-s.gate.closing:
		return false
	case <-ctx.Done():
		return false
	}
	return true
}

// load reads deliveries and queues them. After an error they are where they were.
func (s *schedule) load(list []parked, lines []*line) error {
	var keys []string
	for _, p := range list {
		if p.d == nil {
			keys = append(keys, p.key)
		}
	}
	entries, err := s.read(keys)
	if err != nil {
		s.putBack(list, lines)
		return err
	}
	sizes, records := make([]int, len(list)), make([]*delivery, len(list))
	for i, p := range list {
		if p.d != nil {
			records[i], p.d.parked = p.d, false
		} else if e, found := entries[p.key]; found {
			records[i] = s.record(e, p)
		}
		if d := records[i]; d != nil {
			d.line, sizes[i] = lines[i].name, d.size
		}
	}
	s.mu.Lock()
	s.window.loaded(sizes...)
	for i, d := range records {
		s.queueLoadedLocked(d, list[i], lines[i])
	}
	s.loadedLocked()
	s.mu.Unlock()
	for i, d := range records {
		if d == nil { // it is not open any more, or cannot be read
			s.attempts.pauses.leave(list[i].place)
			s.ended(receiptOf(list[i]), ackDue)
		}
	}
	return nil
}

// putBack is for deliveries that could not be read.
func (s *schedule) putBack(list []parked, lines []*line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window.batch = 4
	for i, p := range list {
		lines[i].coming--
		s.window.leave(lines[i].name, s.window.typical)
		s.window.park(lines[i].name, p)
	}
	s.loadedLocked()
}

// loadedLocked tells who waits for it that a load has ended.
func (s *schedule) loadedLocked() {
	close(s.loads)
	s.loads = make(chan struct{})
}

// queueLoadedLocked queues a delivery of a line that was read; nil: it could not be, or is not open any more.
func (s *schedule) queueLoadedLocked(d *delivery, p parked, l *line) {
	l.coming--
	if d == nil {
		s.window.leave(l.name, 0)
		return
	}
	if len(l.parked) > 0 && l.parked[0].place < d.place { // what was before it has left memory meanwhile
		s.window.leave(l.name, d.size)
		d.parked = p.d != nil
		s.window.park(l.name, p)
		return
	}
	d.stopped = d.stopped || s.isStoppedLocked(d)
	if p.d == nil {
		s.attempts.rests.add(d.session, false)
		close(d.ready)
	}
	s.queueLocked(d)
}

func receiptOf(p parked) *receipt {
	if p.receipt != nil {
		return p.receipt
	}
	return &receipt{key: p.key}
}

// read reads entries, by their keys.
func (s *schedule) read(keys []string) (map[string]ledger.Entry, error) {
	found := map[string]ledger.Entry{}
	if len(keys) == 0 {
		return found, nil
	}
	entries, err := s.attempts.cfg.Journal.Load(s.run.ctx, keys...)
	for _, e := range entries {
		found[e.Key] = e
	}
	return found, err
}

// record makes the record of a delivery that was read; nil if it cannot be read: then it is dead.
func (s *schedule) record(e ledger.Entry, p parked) *delivery {
	d, err := s.attempts.restore(e)
	if err != nil {
		s.log.Error(logs.EntryUnreadable, logs.KeyDelivery, e.Key, logs.KeyError, err)
		s.attempts.counts.add(func(c *Counts) { c.Dead++ })
		if err := s.attempts.journal.bury(e.Key, "", fmt.Errorf("the entry cannot be read: %w", err)); err != nil {
			s.log.Error(logs.EntryUnreadable, logs.KeyDelivery, e.Key, logs.KeyError, err)
		}
		return nil
	}
	d.place, d.early = p.place, s.early[e.Key]
	if d.receipt = p.receipt; d.receipt == nil {
		d.receipt = &receipt{key: e.Key, ackAtEnd: d.volatile}
	}
	return d
}

// restore makes the record of a delivery from its entry.
func (a *attempts) restore(e ledger.Entry) (*delivery, error) {
	e.Attempts, e.Wait = min(max(e.Attempts, 0), mostTries), bounded(e.Wait, time.Now(), a.cfg.GiveUpAfter)
	d := &delivery{
		key: e.Key, state: e.State, attempts: e.Attempts, ready: make(chan struct{}),
		answer: answer{actions: e.Actions, outcomes: outcomesOf(e), streamed: e.Open},
		wait:   e.Wait, volatile: !a.cfg.Journal.Durable(), inherited: len(e.Actions), size: recordSize + len(e.Body),
	}
	d.size += actionBytes(d)
	if e.Unreadable != nil {
		return nil, e.Unreadable
	}
	var body keptBody
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return nil, err
	}
	d.Delivery, d.results = body.Delivery, body.Results
	if d.Event == nil {
		return nil, errors.New("the entry has no event")
	}
	if e.Error == errSpent.Error() && a.days.more() {
		d.wait.Due = time.Time{} // the budget was raised
	}
	d.leader, d.members, d.single = e.Set.Leader, e.Set.Members, e.Set.Single
	d.session, d.by = d.Event.SessionKey(), speakerOf(d.Event.Source)
	if d.say = body.Say; d.say != nil {
		d.session = d.say.Session
	}
	if isLate(e) {
		d.late, d.wait = e.Wait.Due, ledger.Wait{}
	}
	d.log = logTo(a.cfg.Log, d.key, d.session)
	d.stop = d.say == nil && isStop(a.cfg.Stop, d.Event)
	d.suspect = !d.stop && !d.answer.complete() && d.state != ledger.New
	d.inChats = d.answer.inChats()
	d.refused = d.answer.refused(e.Error)
	d.draftID, d.noted = d.answer.openDraft(e.Draft), e.Draft
	d.typing = a.chats.typingMark(d.Event, d.session)
	d.mark = a.markLeft(d)
	if d.say != nil && d.answer.complete() {
		d.typing.hidden = true
	} else if len(d.answer.actions) > 0 {
		d.typing.hidden = false // without a prompt that was open there would be no answer
	}
	return d, nil
}

// markLeft is the mark of a delivery that an earlier run left.
func (a *attempts) markLeft(d *delivery) *mark {
	if d.results != nil || d.late.IsZero() && d.say != nil && !d.say.Last {
		return nil
	}
	return a.marks.ofOld(d.Event, d.session, d.state != ledger.New || len(d.answer.actions) > 0 || !d.late.IsZero())
}

// retire finishes the commands to stop before which nothing waits any more.
func (s *schedule) retire() {
	var over []*delivery
	s.mu.Lock()
	s.stops = slices.DeleteFunc(s.stops, func(stop *delivery) bool {
		if s.waitsLocked(stop) {
			return false
		}
		over = append(over, stop)
		return true
	})
	s.mu.Unlock()
	for _, stop := range over {
		s.run.start(func() { s.end(stop, s.attempts.finish(stop)) })
	}
}

// sits is for a session that begins or ends to wait, far says: for a time that is far. What is behind its oldest delivery leaves
// memory meanwhile.
func (s *schedule) sits(session string, so, far bool) {
	name := sessionHash(session)
	var back []parked
	var seen []*mark
	s.mu.Lock()
	if q := s.sessions[session]; q != nil && q.now != nil && q.now.line != "" {
		if so {
			for i := len(q.queue) - 1; i >= 0 && !staysBehind(q.queue[i]); i-- {
				if d := q.queue[i]; !d.ended && !d.unkept {
					q.queue, seen = slices.Delete(q.queue, i, i+1), append(seen, d.mark)
					back = append(back, parked{key: d.key, place: d.place, attempts: d.attempts, told: !d.wait.Since.IsZero(), settled: true})
					s.window.leave(name, d.size)
				}
			}
			s.window.park(name, back...)
		}
		s.window.sit(name, so, far, 1+len(q.now.set), setSize(q.now))
	}
	s.mu.Unlock()
	for _, k := range seen {
		k.takeOff() // it waits for what is far, or for what is away
		s.attempts.rests.remove(session)
	}
	for _, p := range back {
		s.unloaded(p.key)
	}
}

// staysBehind reports whether a delivery has to stay in memory, and would overtake what is before it if that left.
func staysBehind(d *delivery) bool {
	select {
	case <-d.ready:
		return d.apology != nil || !d.ended && d.volatile && (!d.unkept || d.BufferID != "")
	default:
		return true
	}
}

// queuedLocked are deliveries behind one that sits that are in memory still, as they were being journalled when it began to, and
// of which the journal does not know why they wait. There are so many at most.
func (s *schedule) queuedLocked(most int) (list []waiting) {
	for _, q := range s.sessions {
		if q.now == nil || s.window.lines[q.now.line] == nil || !s.window.lines[q.now.line].sits {
			continue
		}
		for _, d := range q.queue {
			if !staysBehind(d) && !d.ended && !d.unkept && d.wait.Since.IsZero() && len(list) < most {
				d.wait.Since = time.Now()
				list = append(list, waiting{d.key, d.wait, d.attempts})
			}
		}
	}
	return list
}
