package turn

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

const (
	mergeQuiet = 150 * time.Millisecond // nothing buffered has come for so long: the backlog has come
	mergeWait  = time.Second            // how long a buffered delivery waits for that
	mostMerged = 25                     // messages of a turn
	mergedSize = 128 << 10              // bytes of their events
)

var errMixed = errors.New("turn: some of these messages were tried without the others")

// arrivesLocked notes that a delivery comes. The schedule's mu is held.
func (s *schedule) arrivesLocked(d *delivery) {
	if s.merges && d.BufferID != "" {
		d.came = time.Now()
		s.buffered = d.came
	}
}

// gather makes of a delivery, and what waits behind it, the turn that starts: its session has the last one of those that are
// one turn then, with the others as its set. It blocks while more of what the connector had buffered comes, for a moment,
// and until the turn has its slot.
func (s *schedule) gather(ctx context.Context, d *delivery) error {
	if d.leader != "" || len(d.members) > 0 {
		return s.assemble(ctx, d)
	}
	if !s.merges || !mayJoin(d) {
		return nil
	}
	s.awaitBacklog(ctx, d)
	if ctx.Err() != nil || !s.gate.mayStart() || !s.attempts.days.left(d.place) {
		return nil
	}
	d.has = &holding{gate: s.gate}
	if d.has.slot(ctx) != nil {
		return nil
	}
	if !d.came.IsZero() {
		s.awaitReady(ctx, d, d.came.Add(mergeWait))
	}
	s.pull(ctx, d, false)
	s.join(ctx, d)
	return nil
}

// awaitBacklog waits until nothing that the connector had buffered has come for a moment. What came live does not wait.
func (s *schedule) awaitBacklog(ctx context.Context, d *delivery) {
	for !d.came.IsZero() {
		s.mu.Lock()
		quiet := s.buffered.Add(mergeQuiet)
		s.mu.Unlock()
		if end := d.came.Add(mergeWait); quiet.After(end) {
			quiet = end
		}
		if !time.Now().Before(quiet) || !s.await(ctx, nil, quiet) {
			return
		}
	}
}

// awaitReady waits until the journal has answered for those of a session that have come, or until a time.
func (s *schedule) awaitReady(ctx context.Context, d *delivery, until time.Time) {
	for {
		var next <-chan struct{}
		s.mu.Lock()
		for _, m := range s.sessions[d.session].queue {
			if next == nil && !isReady(m) {
				next = m.ready
			}
		}
		if l := s.window.lines[d.line]; l != nil {
			for _, p := range l.parked {
				if next == nil && p.d != nil && !isReady(p.d) {
					next = p.d.ready
				}
			}
		}
		s.mu.Unlock()
		left := time.Until(until)
		if next == nil || left <= 0 {
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-next:
			timer.Stop()
			continue
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		return
	}
}

func isReady(d *delivery) bool {
	select {
	case <-d.ready:
		return true
	default:
		return false
	}
}

// pull reads what follows a delivery in its session and is in the journal alone, as far as it may be one turn with it. With all
// it is whatever follows, also what rests.
func (s *schedule) pull(ctx context.Context, d *delivery, all bool) {
	for pulled := 0; pulled < mostMerged && ctx.Err() == nil; {
		s.mu.Lock()
		l := s.window.lines[d.line]
		if l == nil {
			s.mu.Unlock()
			return
		}
		if l.coming > 0 { // somebody reads some of them
			loads := s.loads
			s.mu.Unlock()
			select {
			case <-loads:
			case <-ctx.Done():
			}
			continue
		}
		n := mostMerged - pulled
		if !all {
			n = min(n, s.roomLocked(d))
		}
		list, lines := s.window.takeFrom(l, n, all)
		s.window.pull(l, len(list) > 0)
		s.mu.Unlock()
		if len(list) == 0 {
			return
		}
		err := s.load(list, lines)
		s.mu.Lock()
		s.window.pull(l, false)
		s.mu.Unlock()
		if err != nil {
			return // what could not be read is read in its time
		}
		pulled += len(list)
	}
}

// takeFrom is take for so many of one line, which belong to a turn that is about to start: of those that the journal has. With
// all it takes what rests, too.
func (w *window) takeFrom(l *line, n int, all bool) (list []parked, lines []*line) {
	for len(list) < n && len(l.parked) > 0 {
		if p := l.parked[0]; !p.settled || p.d != nil || p.until > 0 && !all {
			break
		}
		list, lines = append(list, w.takeFirst(l)), append(lines, l)
	}
	return list, lines
}

// pull says whether a turn that is about to start reads what follows it: nobody else reads of its line then, and overtakes it.
func (w *window) pull(l *line, pulled bool) {
	l.pulled = pulled
	w.update(l)
}

// roomLocked is about how many of those in the journal may be one turn with d and what is behind it in memory.
func (s *schedule) roomLocked(d *delivery) int {
	size, n := eventSize(d), 1
	for _, m := range s.sessions[d.session].queue {
		if isReady(m) && !joins(d, m) {
			return 0
		}
		size += eventSize(m)
		n++
	}
	if n >= mostMerged || size >= mergedSize {
		return 0
	}
	return min(mostMerged-n, max(1, (mergedSize-size)/max(1, s.window.typical-recordSize)))
}

// join makes what follows a delivery in its session one turn with it, as far as it may be.
func (s *schedule) join(ctx context.Context, d *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	q := s.sessions[d.session]
	n, size := 0, eventSize(d)
	for _, m := range q.queue {
		size += eventSize(m)
		if n+1 >= mostMerged || size > mergedSize || !isReady(m) || !joins(d, m) {
			break
		}
		n++
	}
	if n == 0 {
		return
	}
	set := append([]*delivery{d}, q.queue[:n]...)
	q.queue = slices.Delete(q.queue, 0, n)
	s.leadLocked(q, set[n], set[:n:n])
}

// leadLocked makes a delivery the leader of others, and their session's turn, with the slot of the first.
func (s *schedule) leadLocked(q *session, leader *delivery, set []*delivery) {
	leader.set = set
	q.now, q.turn = leader, leader
	if len(set) == 0 {
		return
	}
	leader.has, set[0].has = set[0].has, nil
	for _, m := range set[1:] {
		s.attempts.days.drop(m.place) // one turn is counted once, in the place of the first
	}
	s.attempts.days.drop(leader.place)
}

// assemble finds the others of a set that the journal has. A set whose leader has ended, or whose messages were tried one by
// one since, as the version before does, is none any more.
func (s *schedule) assemble(ctx context.Context, d *delivery) error {
	s.pull(ctx, d, true)
	leader := s.assembled(ctx, d)
	switch {
	case leader == nil:
		return nil
	case !isIntact(leader):
		return s.attempts.part(leader, errMixed)
	}
	return nil
}

// assembled takes a set out of its session's queue, and returns its leader; nil if there is none, or the turn was stopped.
func (s *schedule) assembled(ctx context.Context, d *delivery) *delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	key, q, set := cmp.Or(d.leader, d.key), s.sessions[d.session], []*delivery{d}
	rest := slices.DeleteFunc(slices.Clone(q.queue), func(m *delivery) bool {
		is := isReady(m) && !m.ended && (m.key == key || m.leader == key)
		if is {
			set = append(set, m)
		}
		return is
	})
	last := len(set) - 1
	leader := set[last]
	if leader.key != key { // it has ended
		single(d)
		return nil
	}
	q.queue, leader.joined = rest, true
	s.leadLocked(q, leader, set[:last:last])
	return leader
}

// apart has the messages of a set go on one by one, in the set's place.
func (s *schedule) apart(leader *delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, set := s.sessions[leader.session], leader.set
	for _, m := range set {
		m.stopped = m.stopped || leader.stopped
	}
	leader.set, q.now = nil, nil
	q.queue = slices.Concat(set, []*delivery{leader}, q.queue)
}

// overtakesLocked reports whether a suspect would overtake one of its session: of a set that was parted, one that waits to be
// tried again, or whose answer is there.
func (s *schedule) overtakesLocked(d *delivery) bool {
	l := s.window.lines[sessionHash(d.session)]
	return d.single && l != nil && len(l.parked) > 0 && l.parked[0].place < d.place
}

// partDied parts the sets whose process died before their answer was whole: each of their messages is a suspect of its own
// from then on. It is false if no turn starts any more.
func (s *schedule) partDied() bool {
	for _, d := range s.died {
		for !s.attempts.partDied(d) {
			if !s.await(s.run.ctx, nil, time.Now().Add(time.Second)) {
				return false
			}
		}
	}
	return true
}
