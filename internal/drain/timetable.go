package drain

import (
	"time"

	"github.com/dormouse-relay/dormouse/internal/config"
)

// lastWords is what the end of an invocation is kept free for, at most: two fifths for what turns still write down, the
// rest to write what is owed, to give the lease back and to hand work on. No write is under way beyond.
const lastWords = 5 * time.Second

// timetable divides the time that an invocation has. Without a deadline its times are zero: none of them comes.
type timetable struct {
	agentTimeout time.Duration // an attempt's
	goIdle       time.Time     // go idle, so that running turns may end
	turnsEnd     time.Time     // no turn may run after that
	end          time.Time     // everything is cut off
	grace        time.Duration // how long turns may still write then
	lastWords    time.Duration // how long the rest may take
	over         time.Time     // the invocation is
}

func newTimetable(s config.DrainSettings, start, deadline time.Time) timetable {
	t := timetable{agentTimeout: s.AgentTimeout}
	t.divideEnd(lastWords)
	if deadline.IsZero() {
		return t
	}
	has := deadline.Sub(start)
	margin := min(s.HandoffMargin, has/3)
	t.agentTimeout = min(t.agentTimeout, has/3)
	t.turnsEnd = deadline.Add(-margin)
	t.goIdle = t.turnsEnd.Add(-t.agentTimeout)
	kept := min(lastWords, margin/2)
	t.divideEnd(kept)
	t.end, t.over = deadline.Add(-kept), deadline
	return t
}

func (t *timetable) divideEnd(kept time.Duration) {
	t.grace = kept * 2 / 5
	t.lastWords = kept - t.grace
}

// atEnd calls f at the end, unless stop is called before.
func (t timetable) atEnd(f func()) (stop func()) {
	if t.end.IsZero() {
		return func() {}
	}
	timer := time.AfterFunc(time.Until(t.end), f)
	return func() { timer.Stop() }
}

// giveBack is how long giving the lease back may take. At the deadline that is all that is left of the invocation.
func (t timetable) giveBack(deadline bool) time.Duration {
	if deadline && !t.over.IsZero() {
		return max(t.lastWords, time.Until(t.over))
	}
	return t.lastWords
}
