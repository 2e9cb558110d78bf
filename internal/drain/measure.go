package drain

import (
	"time"

	"github.com/dormouse-relay/dormouse/internal/action"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/metrics"
	"github.com/dormouse-relay/dormouse/internal/turn"
)

// measure writes the metrics of a run that ended with err. A firing of the schedule that had nothing to do writes none:
// there are nearly 300 of them a day.
func (r *run) measure(rep Report, err error) {
	billed := r.Drainer.billed(r.figures.start)
	idle := rep.Status == NotDue || rep.Status == Taken || rep.Status == Disabled
	if r.req.Reason == ledger.Schedule && idle {
		return
	}
	v := values(rep, r.counts())
	v[metrics.BilledSeconds] = billed.Seconds()
	v[metrics.Malformed], v[metrics.Overflowed] = float64(r.malformed), float64(r.overflowed)
	if notIdentified(err) {
		v[metrics.IdentityRefused] = 1
	}
	if r.req.Reason == ledger.Wake {
		v[metrics.Wakes] = 1
		if rep.Status == Taken || rep.Status == NotDue {
			v[metrics.Coalesced] = 1
		}
		if at := r.req.At; !at.IsZero() {
			before := r.figures.start.Sub(at).Milliseconds()
			since(v, metrics.PokeToAck, before, rep.MS.FirstAck)
			since(v, metrics.PokeToReply, before, rep.MS.FirstReply)
		}
	}
	stack := metrics.StackOf(r.settings.FunctionName)
	if err := metrics.Log(r.ctx, r.log.Handler(), time.Now(), stack, string(rep.Status), v); err != nil {
		r.log.Warn(logs.MetricsUnwritten, logs.KeyError, err)
	}
}

// values are those metrics of a run that its report has.
func values(rep Report, c turn.Counts) metrics.Values {
	v := metrics.Values{
		metrics.Drains: 1, metrics.Received: float64(rep.Received), metrics.Answered: float64(c.Finished),
		metrics.Dead: float64(rep.Dead), metrics.Waiting: float64(rep.Left), metrics.Unknown: float64(rep.Unknown),
		metrics.Unwritten: float64(rep.Unwritten), metrics.Limited: float64(rep.Limited),
		metrics.Postponed: float64(rep.Postponed), metrics.Lost: float64(rep.Lost),
	}
	for class, n := range rep.Refused {
		v[metrics.Class(string(class))] = float64(n)
		if class != action.Cosmetic && class != action.Done {
			v[metrics.Refused] += float64(n)
		}
	}
	if !c.Oldest.IsZero() {
		v[metrics.OldestWaiting] = time.Since(c.Oldest).Seconds()
	}
	if rep.Status == Revoked {
		v[metrics.Revoked] = 1
	}
	return v
}

// since is a time that starts with the poke, before milliseconds ahead of the run.
func since(v metrics.Values, name string, before int64, ms *int64) {
	if ms != nil {
		v[name] = float64(max(1, before+*ms))
	}
}

// billed is what Lambda bills of a run that began at start: whole milliseconds, of a process's first run with its start.
func (d *Drainer) billed(start time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	spent := time.Since(start) + d.init
	d.init = 0
	return spent.Truncate(time.Millisecond) + time.Millisecond
}

// beforehand notes what was before the run: the poke, and the start of the process if this is its first run.
func (r *run) beforehand() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.req.At; !at.IsZero() && r.req.Reason == ledger.Wake {
		r.figures.MS.Poke = new(r.figures.start.Sub(at).Milliseconds())
	}
	if r.init > 0 {
		r.figures.MS.Init = new(r.init.Milliseconds())
	}
}

// Started tells the Drainer how long its process took to start, before the first run.
func (d *Drainer) Started(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.init = took
}
