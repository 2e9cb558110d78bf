package drain

import (
	"time"

	"github.com/dormouse-relay/dormouse/internal/config"
)

// lastWords is what the end of an invocation is kept free for, at most: to give the lease back and to hand work on.
const lastWords = 3 * time.Second

// timetable divides the time that an invocation has. Without a deadline its times are zero: none of them comes.
type timetable struct {
	agentTimeout time.Duration // an attempt's
	goIdle       time.Time     // go idle, so that running turns may end
	turnsEnd     time.Time     // no turn may run after that
	end          time.Time     // everything is cut off
}

func newTimetable(s config.DrainSettings, start, deadline time.Time) timetable {
	t := timetable{agentTimeout: s.AgentTimeout}
	if deadline.IsZero() {
		return t
	}
	has := deadline.Sub(start)
	margin := min(s.HandoffMargin, has/3)
	t.agentTimeout = min(t.agentTimeout, has/3)
	t.turnsEnd = deadline.Add(-margin)
	t.goIdle = t.turnsEnd.Add(-t.agentTimeout)
	t.end = deadline.Add(-min(lastWords, margin/2))
	return t
}

// atEnd calls f at the end, unless stop is called before.
func (t timetable) atEnd(f func()) (stop func()) {
	if t.end.IsZero() {
		return func() {}
	}
	timer := time.AfterFunc(time.Until(t.end), f)
	return func() { timer.Stop() }
}
