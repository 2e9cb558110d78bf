package turn

import (
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
)

// How long what could not be done waits before it is tried again (design 4 and 6).
const (
	unloadAfter = 2 * time.Second   // what waits for longer is out of memory meanwhile
	workAhead   = 45 * time.Second  // what is due within it is work of this run; all else is left, and keeps nobody awake
	patience    = 100 * time.Second // how long a delivery waits in all that no journal keeps, if GiveUpAfter is not shorter
	noticeEvery = 10 * time.Minute  // how long a chat is left alone that does not take the notice of the day's budget for now
)

// refusalPauses are the waits behind the first refusals of an action; the last one holds for all others.
var refusalPauses = []time.Duration{
	time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
}

// quickTries is how many refusals a connector's own pause is taken for as it is. After them a pause of a second would
// keep a run awake for a day.
const quickTries = 6

// refusalPause is the wait behind an action's refusal number n, from 1. asked is what the connector asks for; 0: nothing.
func refusalPause(n int, asked time.Duration) time.Duration {
	own := refusalPauses[min(n, len(refusalPauses))-1]
	switch {
	case asked == 0:
		return own
	case n <= quickTries:
		return asked
	}
	return max(asked, own)
}

// absencePause is the wait behind the try number n, from 1, of an agent that is away.
func absencePause(n int, asked time.Duration) time.Duration {
	return max(asked, min(5*time.Second<<min(n-1, 10), 10*time.Minute))
}

// failurePause is the wait behind the failed attempt number n, from 1.
func failurePause(n int) time.Duration {
	switch n {
	case 1:
		return 2 * time.Second
	case 2:
		return 30 * time.Second
	}
	return 5 * time.Minute
}

// again is the wait that follows w, which was in vain once more. It is false if that would be longer than limit from the
// first time on. A last try is at the end of limit, unless the other side has asked for more.
func again(w ledger.Wait, now time.Time, pause time.Duration, asked bool, limit time.Duration) (ledger.Wait, bool) {
	if w.Since.IsZero() {
		w.Since = now
	}
	end := w.Since.Add(limit)
	next := ledger.Wait{Due: now.Add(pause), Since: w.Since, Tries: w.Tries + 1, Asked: asked}
	if next.Due.After(end) {
		if !now.Before(end) || asked {
			return next, false
		}
		next.Due = end
	}
	return next, true
}

// sooner is the earlier of two times.
func sooner(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

const (
	mostTries = 1 << 20        // that are counted of a message
	mostLate  = 24 * time.Hour // how long a late answer may take
)

// bounded is what an entry says of its waiting, within what any version writes: else it would wait for ever, and keep its chat
// from being answered. giveUp is how long what cannot be done is tried.
func bounded(w ledger.Wait, now time.Time, giveUp time.Duration) ledger.Wait {
	w.Tries = min(max(w.Tries, 0), mostTries)
	if w.Since.After(now) {
		w.Since = now
	}
	if w.Due.Sub(now) > giveUp+mostLate {
		w.Due = now
	}
	return w
}
