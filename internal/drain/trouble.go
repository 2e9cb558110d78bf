package drain

import (
	"context"
	"errors"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
)

// shared is how long it is remembered that another socket took the seat: the two deployments that share one may well get
// their turn in between.
const shared = 24 * time.Hour

// identityError ends a run whose identity the connector does not accept.
type identityError struct{ error }

func (e identityError) Unwrap() error { return e.error }

func notIdentified(err error) bool {
	_, is := errors.AsType[identityError](err)
	return is
}

// noteTrouble writes down what hindered a run that ended with err. Since when stays while it is the same.
func (r *run) noteTrouble(ctx context.Context, err error) {
	t := ledger.Trouble{Since: time.Now()}
	switch {
	case errors.Is(err, errReplaced):
		t.What = string(Replaced)
	case notIdentified(err):
		t.What = string(IdentityRefused)
	default:
		return
	}
	t.Said = err.Error()
	if before := r.lease.Grant().Standing.Trouble; before.What == t.What {
		t.Since = before.Since
	}
	r.setTrouble(ctx, t)
}

// identityRefusedBefore reports whether a run that ended with err met what an earlier one had met: an identity that is not
// accepted.
func (r *run) identityRefusedBefore(err error) bool {
	return notIdentified(err) && r.lease.Grant().Standing.Trouble.What == string(IdentityRefused)
}

// troubleIsOver forgets what hindered earlier runs, now that the connector has let this one in.
func (r *run) troubleIsOver(ctx context.Context) {
	before := r.lease.Grant().Standing.Trouble
	if r.troubled || before.What == "" || before.What == string(Replaced) && time.Since(before.Since) < shared {
		return
	}
	r.troubled = true
	r.setTrouble(ctx, ledger.Trouble{})
}

// setTrouble does not end the run if it fails.
func (r *run) setTrouble(ctx context.Context, t ledger.Trouble) {
	if err := r.lease.SetTrouble(ctx, t); err != nil {
		r.log.Error(logs.TroubleUnwritten, logs.KeyError, err)
	}
}
