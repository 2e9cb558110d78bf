package drain

import (
	"errors"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/version"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// What may keep a run from the connector, as operators read it.
const (
	Unreachable = "unreachable" // it cannot be reached, or answers as no connector does
	NotLetIn    = "refused"     // it refuses these credentials, and has never let this gateway in
	NoIdentity  = "no_identity" // the identity token cannot be had
)

// unreachableError ends a run none of whose dials led to a descriptor.
type unreachableError struct{ error }

func (e unreachableError) Unwrap() error { return e.error }

// tokenError is for an identity token that cannot be had.
type tokenError struct{ error }

func (e tokenError) Unwrap() error { return e.error }

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// tell is how this run ended, with err, as operators are to see it.
func (r *run) tell(err error) ledger.Ending {
	before := r.lease.Grant().Plan.After
	end := ledger.Ending{Status: string(r.statusFor(err)), Version: version.String(), Contact: r.met, Away: r.away(before.Away)}
	if err != nil {
		end.Error = err.Error()
	}
	switch {
	case r.poked, r.req.Reason == ledger.Wake:
		end.Poked = time.Now()
	case r.req.Reason == ledger.Schedule && r.buffered:
		end.Swept = time.Now()
	}
	if what := hindrance(err); what != "" {
		end.Hinder = ledger.Trouble{What: what, Since: time.Now(), Said: end.Error}
		if before.Hinder.What == what {
			end.Hinder.Since = before.Hinder.Since
		}
	}
	return end
}

// statusFor is the status of a run that ended with err.
func (r *run) statusFor(err error) Status {
	status := statusOf(err)
	c := r.counts()
	switch {
	case err == nil && c.Received+c.Recovered+c.Said == 0:
		return Empty
	case status == Failed && r.identityRefusedBefore(err):
		return IdentityRefused // no failure any more, so that an alarm rings once
	}
	return status
}

// hindrance is what kept a run that ended with err from the connector; empty if nothing did.
func hindrance(err error) string {
	kind, told := relay.KindOf(err)
	switch {
	case err == nil, errors.Is(err, errDeadline), errors.Is(err, errTerminated), isLost(err), errors.Is(err, errRevoked),
		errors.Is(err, ledger.ErrTaken), errors.Is(err, ledger.ErrDisabled), errors.Is(err, ledger.ErrNotDue):
		return ""
	case errors.Is(err, errSeatTaken):
		return string(SeatTaken)
	case errors.Is(err, errReplaced):
		return string(Replaced)
	case notIdentified(err):
		return string(IdentityRefused)
	case told && kind == relay.CloseRefused:
		return NotLetIn
	case isA[tokenError](err):
		return NoIdentity
	case isA[unreachableError](err):
		return Unreachable
	}
	return string(Failed)
}

// away is since when the agent is away: before says what the last run knew.
func (r *run) away(before time.Time) time.Time {
	c := r.counts()
	switch {
	case c.Heard:
		return time.Time{}
	case c.Away.IsZero(), !before.IsZero():
		return before
	}
	return c.Away
}
