package turn

import (
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// lates are the messages whose answers come later: they are in the journal alone, in no session's way, and are no work. A
// command to stop ends them, and so does their time. It knows what that takes, no delivery. Its lock is held for no call.
type lates struct {
	run     *lifetime
	closing <-chan struct{} // no turn starts any more
	over    func(late)      // its time is over; New sets it

	mu   sync.Mutex
	list map[string]late // by key
}

// late is what is known of such a message.
type late struct {
	key     string
	session string
	by      speaker
	place   int64
	until   time.Time
	event   *relay.Event // without what was said
	all     int          // messages of its turn
}

func newLates(run *lifetime, closing <-chan struct{}) *lates {
	return &lates{run: run, closing: closing, list: map[string]late{}}
}

// add has a message wait.
func (l *lates) add(m late) {
	l.mu.Lock()
	l.list[m.key] = m
	l.mu.Unlock()
	l.run.start(func() { l.await(m) })
}

// await waits for the end of a message's time.
func (l *lates) await(m late) {
	timer := time.NewTimer(time.Until(m.until))
	defer timer.Stop()
	select {
	case <-timer.C:
		if l.drop(m.key) {
			l.over(m)
		}
	case <-l.closing:
	case <-l.run.ctx.Done():
	}
}

// drop forgets a message. It is false if somebody has done so before.
func (l *lates) drop(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, is := l.list[key]
	delete(l.list, key)
	return is
}

// stopped forgets the messages that are meant, and returns them.
func (l *lates) stopped(meant func(session string, by speaker, place int64) bool) (list []late) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, m := range l.list {
		if meant(m.session, m.by, m.place) {
			delete(l.list, key)
			list = append(list, m)
		}
	}
	return list
}

// left is how many there are, and when the time of the first is over.
func (l *lates) left() (n int, first time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.list {
		if first.IsZero() || m.until.Before(first) {
			first = m.until
		}
	}
	return len(l.list), first
}

// endLate finishes a message that was stopped while it waited for its late answer.
func (s *schedule) endLate(m late) {
	s.log.Info(logs.TurnStopped, logs.KeyDelivery, m.key)
	s.attempts.marks.ofOld(m.event, m.session, true).end(markNothing)
	if err := s.attempts.journal.finish(m.key, true); err == nil {
		s.attempts.counts.add(func(c *Counts) { c.Finished += m.all })
	}
}
