package drain

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/dormouse-relay/dormouse/internal/logs"
)

// proof is how long stored credentials have to be refused, and stay as they are in their store, until that is an opt-out;
// and how long a connection has to live until it is known that it is none.
const proof = time.Minute

// doubt is the question whether a refusal of credentials that are pinned in a store is an opt-out. A rotation changes the
// connector first and the store a moment later, so it is one only if the store has held the same credentials for a minute
// since their first refusal, and if they are refused at its end. If they were let in after a refusal, that one may have been a
// mistake, and the next one a rotation's: then the minute begins again, once, as a connector may let in and refuse for ever.
type doubt struct {
	since time.Time // the first refusal of the credentials in hand; zero: there is no question
	read  time.Time // when the store last said that these are the credentials
	letIn bool      // they were let in since
	again bool      // the minute has begun again
}

func (d *doubt) close() { *d = doubt{} }

// refused is the phase after a refusal, and opens the question.
func (d *doubt) refused(p phase, known bool) phase {
	now := time.Now()
	if d.since.IsZero() {
		d.since = now
	} else if d.letIn && !d.again {
		d.since, d.again = now, true
	}
	if known && d.read.Sub(d.since) >= proof {
		return revoked
	}
	if p.met() {
		return onTrial
	}
	return renewed
}

// reread reads stored credentials anew while it is in question whether they are good. Others than those in hand end the
// question. It is no opt-out if they cannot be read: those in hand may have been replaced.
func (r *run) reread(ctx context.Context) error {
	if r.doubt.since.IsZero() {
		return nil
	}
	changed, err := r.access.reread(ctx)
	switch {
	case err != nil && unusable(err):
		return err
	case err != nil:
		r.log.Warn(logs.NoNewCredentials, logs.KeyError, err)
	case changed:
		r.doubt.close()
	default:
		r.doubt.read = time.Now()
	}
	return nil
}

// pause is a pause between least and twice that, by chance, unless the minute ends within it.
func (d *doubt) pause(least time.Duration) time.Duration {
	if rest := time.Until(d.since.Add(proof)); !d.since.IsZero() && rest >= least && rest <= 2*least {
		return rest
	}
	return least + rand.N(least)
}
