package drain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// phase is what the connector makes of this run. The package comment draws it; letIn and judge go from one to the next.
type phase int

const (
	stranger  phase = iota // no descriptor has come in this run
	renewed                // refused as a stranger; its credentials are new since
	connected              // a descriptor has come, and no refusal since
	onTrial                // refused while connected; a dial with a fresh token decides
	onParole               // that dial was let in; a refusal while its socket lives is the second strike
	revoked                // refused for good: the run ends
)

// met reports whether a descriptor has come in this run.
func (p phase) met() bool { return p == connected || p == onTrial || p == onParole }

// refused is the phase after a refusal. known says that the connector has let this gateway in before this run.
func (p phase) refused(known bool) phase {
	switch {
	case p == stranger, p == renewed && !known:
		return renewed
	case p == connected:
		return onTrial
	}
	return revoked
}

// ended is the phase after the end of a socket that was no refusal, or after a dial that failed so. A suspension (1013)
// answers nothing.
func (p phase) ended(suspended bool) phase {
	switch {
	case p != onParole:
		return p
	case suspended:
		return onTrial
	}
	return connected
}

// letIn is for a descriptor. A new dial ends the flip (sections 12 and 19).
func (r *run) letIn(ctx context.Context) {
	r.flipped, r.met = false, time.Now()
	r.doubt.letIn = !r.doubt.since.IsZero()
	if r.phase == onTrial {
		r.phase = onParole
	} else {
		r.phase = connected
	}
	r.troubleIsOver(ctx)
	if r.known() {
		return
	}
	// Written down so that a later process can tell an opt-out from a mistake. A failure of this does not end the run.
	name := r.access.name()
	if err := r.lease.SetHandshaken(ctx, name); err != nil {
		r.log.Error(logs.HandshakeUnwritten, logs.KeyError, err)
	}
	r.handshaken = name
}

// known reports whether the connector has let this gateway in, in this run or before.
func (r *run) known() bool { return r.handshaken == r.access.name() }

// mayUndoFlip reports whether a dial that failed with err may have ended the flip. A new dial does that, and the connector
// does not tell at which moment; so any upgrade that it accepted counts, unless it says that it turned the dial away:
// refused, turned away, an expired token (section 13) and a duplicate did not get the seat. 1013 says nothing: it also ends sockets
// that had the seat. An HTTP answer was no upgrade.
func mayUndoFlip(err error) bool {
	if errors.Is(err, relay.ErrNoDescriptor) {
		return true
	}
	closed, ok := errors.AsType[*relay.CloseError](err)
	if !ok {
		return false
	}
	switch closed.Kind() {
	case relay.CloseExpired, relay.CloseRefused, relay.CloseDuplicate, relay.CloseTurnedAway:
		return false
	}
	return true
}

// judge looks at how a dial failed, or how a socket ended that lived so long. It returns nil if there shall be another
// dial, and has then counted the failure for the back-off; else the error that ends the run.
func (r *run) judge(ctx context.Context, cause error, lived time.Duration) error {
	if err := r.stopped(ctx); err != nil {
		return err
	}
	r.lived(lived)
	r.steps = min(r.steps+1, maxSteps)
	kind, told := relay.KindOf(cause)
	if told && kind == relay.CloseRefused {
		return r.judgeRefusal(ctx, cause)
	}
	r.phase = r.phase.ended(kind == relay.CloseSuspended)
	status, answered := errors.AsType[*provision.StatusError](cause)
	switch {
	case answered:
		return r.judgeProvision(status, cause)
	case errors.Is(cause, provision.ErrWithheld), isLost(cause), unusable(cause):
		return cause
	case kind == relay.CloseReplaced:
		return fmt.Errorf("%w: %w", errReplaced, cause)
	}
	return nil
}

// judgeEnd is judge for a socket that has ended.
func (r *run) judgeEnd(ctx context.Context, end ending) error {
	if r.stopped(ctx) == nil {
		r.log.Warn(logs.SocketEnded, logs.KeyError, end.err)
	}
	return r.judge(ctx, end.err, end.lived)
}

// lived takes back-off steps away for a connection that lived so long. A descriptor alone takes nothing away.
func (r *run) lived(d time.Duration) {
	r.steps = max(0, r.steps-int(d/stepLife))
	if d >= proof {
		r.doubt.close()
	}
}

// judgeRefusal is for a refusal of a dial or of a socket.
//
// A stranger's secret may be old: the process may have slept while another sandbox provisioned, which replaced it. So new
// credentials are provisioned once. After a descriptor a fresh token is enough. While no new credentials can be had,
// nothing is decided. Pinned credentials that are in a store are read anew before each dial, and refused for good only
// after a minute (doubt.go).
func (r *run) judgeRefusal(ctx context.Context, cause error) error {
	next := r.phase.refused(r.known())
	if r.access.stored {
		next = r.doubt.refused(r.phase, r.known())
	}
	switch next {
	case revoked:
		if r.phase.met() {
			cause = fmt.Errorf("refused again with a fresh token: %w", cause)
		}
		return r.revoke(cause)
	case r.phase:
		return nil // still a stranger, or on trial: back off
	}
	if next == renewed {
		if err := r.access.renew(ctx); err != nil {
			return r.noCredentials(err)
		}
	}
	event := logs.RefusedStranger
	if next == onTrial {
		event = logs.RefusedConnected
	}
	r.log.Warn(event, logs.KeyError, cause)
	r.phase = next
	return nil
}

func (r *run) revoke(cause error) error {
	r.phase = revoked
	return fmt.Errorf("%w: %w", errRevoked, cause)
}

// noCredentials is for new credentials that could not be had. That is no opt-out: those in hand may have been replaced.
func (r *run) noCredentials(err error) error {
	if status, ok := errors.AsType[*provision.StatusError](err); ok {
		return r.judgeProvision(status, err)
	}
	if unusable(err) {
		return err
	}
	r.log.Warn(logs.NoNewCredentials, logs.KeyError, err)
	return nil
}

// unusable reports whether credentials cannot be had before somebody changes something.
func unusable(err error) bool {
	return errors.Is(err, provision.ErrAuthUnusable) || errors.Is(err, secretstore.ErrSecretUnusable)
}

// judgeProvision is for an answer of /relay/provision that is not 2xx; cause says what was asked with.
func (r *run) judgeProvision(status *provision.StatusError, cause error) error {
	switch status.Status {
	case http.StatusUnauthorized:
		// The identity is not accepted: the token, its audience or issuer, or the connector's own fault. No opt-out.
		return identityError{cause}
	case http.StatusForbidden, http.StatusGone:
		if r.known() {
			return r.revoke(status)
		}
		return status
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return nil
	}
	if status.Status < http.StatusInternalServerError {
		return status // asking again changes nothing
	}
	return nil
}
