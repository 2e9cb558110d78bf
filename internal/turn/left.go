package turn

import (
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// waiting is what the journal is to know of a delivery that waits.
type waiting struct {
	key      string
	wait     ledger.Wait
	attempts int
}

// behind are deliveries that wait behind one that rests, and of which the journal does not know so. From now on it is taken
// for told.
func (s *schedule) behind() (list []waiting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tell := func(l *line, from int) {
		for i := from; i < len(l.parked) && len(list) < mostTold; i++ {
			if p := &l.parked[i]; !p.told && p.settled && p.d == nil {
				p.told = true
				list = append(list, waiting{p.key, ledger.Wait{Since: time.Now()}, p.attempts})
			}
		}
	}
	for _, l := range s.window.resting.list {
		tell(l, 1)
	}
	for l := range s.window.sitting {
		tell(l, 0)
	}
	list = append(list, s.queuedLocked(mostTold-len(list))...)
	return list
}

// mostTold is how many of them are told in one call: each is a write.
const mostTold = 256
