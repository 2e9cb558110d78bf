package turn

import "time"

// left is how many deliveries are no work, and when the first of them is due.
func (s *schedule) left() (n int, due time.Time) {
	n, due = s.attempts.rests.left()
	s.mu.Lock()
	defer s.mu.Unlock()
	shut := s.gate.shutNow()
	parked, first := s.window.left(shut)
	if shut {
		parked += len(s.stops) // nobody carries them out any more
	}
	if !first.IsZero() && (due.IsZero() || first.Before(due)) {
		due = first
	}
	return n + parked, due
}

// readsKeys reports whether it is not known yet what earlier runs left.
func (s *schedule) readsKeys() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reading
}

// waiting is how many of those that are left rest, or are behind one that does.
func (s *schedule) waiting() int {
	n, _ := s.attempts.rests.left()
	s.mu.Lock()
	defer s.mu.Unlock()
	parked, _ := s.window.left(false)
	return n + parked
}

// abandon leaves what is not in memory to the next run, or with the connector.
func (s *schedule) abandon() {
	var receipts []*receipt
	s.mu.Lock()
	for _, l := range s.window.lines {
		for _, p := range l.parked {
			switch {
			case p.receipt != nil:
				receipts = append(receipts, p.receipt)
			case p.d != nil && p.settled:
				receipts = append(receipts, p.d.receipt)
			}
		}
	}
	s.mu.Unlock()
	for _, r := range receipts {
		s.ended(r, ackVoid)
	}
}
