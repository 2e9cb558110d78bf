package drain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/secretstore"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// tokenLife is how long an upgrade token is good for (section 2).
const tokenLife = 300 * time.Second

// connect dials until there is a descriptor, as design section 6 says: whoever is unreachable, or has the seat taken,
// gets patience, and all the time that is left if he has not flipped since a handshake of this run; refusals are judged.
func (r *run) connect(ctx context.Context) (*relay.Conn, error) {
	began := time.Now()
	var last error
	for {
		if err := r.wait(ctx); err != nil {
			return nil, r.unreached(err, last)
		}
		conn, err := r.dial(ctx)
		if err == nil {
			return conn, nil
		}
		last = err
		if wasLetIn(err) {
			r.flipped = false
		}
		if ctx.Err() != nil {
			return nil, r.unreached(r.ended(ctx), last)
		}
		r.log.Warn("not connected", "error", err)
		if err := r.judge(ctx, err, 0); err != nil {
			return nil, err
		}
		if time.Since(began) >= patience && !yields(err) && !(r.shaken && !r.flipped) {
			if kind, ok := relay.KindOf(err); ok && kind == relay.CloseDuplicate {
				return nil, fmt.Errorf("%w for %s: %w", errSeatTaken, patience, err)
			}
			return nil, fmt.Errorf("drain: gave up after %s: %w", patience, err)
		}
	}
}

// wasLetIn says whether a dial that failed may have ended the flip. A new dial does that (sections 12 and 19), and nobody
// says at which moment, so any upgrade that was taken counts unless the connector tells that it turned the dial away: whom
// it refuses, or whose token it finds expired (section 13), is no instance of its yet, and a duplicate was not given the
// seat. 1013 tells nothing: it also ends sockets that had the seat. An HTTP answer was no upgrade.
func wasLetIn(err error) bool {
	if errors.Is(err, relay.ErrNoDescriptor) || errors.Is(err, relay.ErrOverrun) {
		return true
	}
	closed, ok := errors.AsType[*relay.CloseError](err)
	if !ok {
		return false
	}
	switch closed.Kind() {
	case relay.CloseExpired, relay.CloseRefused, relay.CloseDuplicate:
		return false
	}
	return true
}

// unreached makes a failure of a deadline that came before any handshake: there is nothing to hand off, and Lambda's retry
// is the next chance.
func (r *run) unreached(end, last error) error {
	if errors.Is(end, errDeadline) && !r.shaken && last != nil {
		return fmt.Errorf("drain: time was up before a handshake: %w", last)
	}
	return end
}

// yields says whether a connector that ended a socket like that will take another some time: it is worth all the time
// that is left.
func yields(err error) bool {
	kind, ok := relay.KindOf(err)
	return ok && (kind == relay.CloseGoingAway || kind == relay.CloseSuspended)
}

// wait backs off after failures: 1 s doubling to 30 s, the latter half of it by chance.
func (r *run) wait(ctx context.Context) error {
	if r.failures == 0 {
		return r.ended(ctx)
	}
	d := min(time.Second<<min(r.failures-1, 10), 30*time.Second)
	select {
	case <-time.After(d/2 + rand.N(d/2)):
	case <-ctx.Done():
	}
	return r.ended(ctx)
}

// ended is why the run is over, if it is.
func (r *run) ended(ctx context.Context) error {
	r.Drainer.mu.Lock()
	defer r.Drainer.mu.Unlock()
	switch {
	case r.terminated:
		return errTerminated
	case ctx.Err() == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errDeadline
	}
	return context.Cause(ctx)
}

// dial gets credentials and a socket with a descriptor. It does neither with a lease that may be another's by now: it
// would make that one's secret worthless, or take its seat.
func (r *run) dial(ctx context.Context) (*relay.Conn, error) {
	if err := r.heart.fresh(); err != nil {
		return nil, err
	}
	// A connector sends live messages once it has taken the dial, so what comes before them is read first.
	var left []ledger.Entry
	var unread error
	var reading sync.WaitGroup
	defer reading.Wait()
	if r.worker == nil {
		reading.Go(func() { left, unread = r.lease.Recover(ctx) })
	}
	began := time.Now()
	creds, issued, err := r.access.get(ctx, r.lease.TakeFreshID)
	if err != nil {
		return nil, err
	}
	if issued {
		r.log.Info("provision", "gateway", creds.GatewayID, "ms", time.Since(began).Milliseconds())
	}
	cfg := relay.Config{
		URL:             r.settings.URL.RelayURL(),
		Fronts:          r.settings.Fronts,
		OutboundTimeout: r.settings.OutboundTimeout,
		NetDial:         r.dialer.DialContext,
		Log:             r.log,
	}
	if creds.Secret.Usable() {
		r.declare(ctx, creds)
		cfg.Token = upgradeToken(creds)
	}
	if reading.Wait(); unread != nil {
		return nil, fmt.Errorf("drain: reading what earlier runs left: %w", unread)
	}
	if err := r.heart.fresh(); err != nil {
		return nil, err
	}
	r.mark(&r.report.MS.Dial)
	r.log.Info("dial")
	began = time.Now()
	conn, err := relay.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r.mark(&r.report.MS.Descriptor)
	r.log.Info("descriptor", "ms", time.Since(began).Milliseconds())
	r.shaken, r.provisional, r.flipped = true, false, false
	if name := r.access.name(); r.grant.Standing.Handshaken != name {
		// Remembered so that a later process can tell an opt-out from a mistake. It is no reason to fail.
		if err := r.lease.SetHandshaken(ctx, name); err != nil {
			r.log.Error("the handshake could not be written down", "error", err)
		}
		r.grant.Standing.Handshaken = name
	}
	if r.worker == nil {
		r.startWorker(ctx, conn, left)
	}
	return conn, nil
}

func (r *run) startWorker(ctx context.Context, conn *relay.Conn, left []ledger.Entry) {
	r.link.connect(conn) // turns that are recovered need its descriptors
	r.worker = turn.New(ctx, turn.Config{
		Journal:      r.lease,
		Prompts:      r.lease,
		Agent:        r.Agent,
		Link:         r.link,
		Media:        r.media,
		Log:          r.log,
		Instance:     r.instance,
		Concurrency:  r.settings.Concurrency,
		MaxAttempts:  r.settings.MaxAttempts,
		AgentTimeout: r.agentTimeout,
		Deadline:     r.turnsEnd,
		Stop:         r.settings.Stop,
		Apology:      r.settings.Apology,
		Passthrough:  r.settings.Passthrough,
	})
	r.worker.Recover(left)
}

// judge looks at how a dial failed or a socket ended after it lived so long. It returns nil if there shall be another
// dial, and has then seen to the backoff.
func (r *run) judge(ctx context.Context, cause error, lived time.Duration) error {
	if err := r.ended(ctx); err != nil {
		return err
	}
	if lived >= settled {
		r.failures = 0
	}
	r.failures++
	if status, ok := errors.AsType[*provision.StatusError](cause); ok {
		return r.judgeProvision(status)
	}
	kind, told := relay.KindOf(cause)
	switch {
	case errors.Is(cause, provision.ErrWithheld), isLost(cause), unusable(cause):
		return cause
	case !told:
		return nil
	case kind == relay.CloseExpired && lived > 0:
		r.failures = 0 // the token aged, nothing is wrong: dial again with a fresh one
		return nil
	case kind == relay.CloseReplaced:
		return fmt.Errorf("%w: %w", errReplaced, cause)
	case kind == relay.CloseRefused && r.shaken:
		return r.judgeRefusal(ctx, cause)
	case kind == relay.CloseRefused:
		return r.judgeStranger(ctx, cause)
	}
	return nil
}

// judgeRefusal is for a refusal after a handshake of this run: one dial with a fresh token, then it is an opt-out. Pinned
// credentials are read anew for it; while they cannot be read, nothing is decided.
func (r *run) judgeRefusal(ctx context.Context, cause error) error {
	if r.provisional {
		return fmt.Errorf("%w: refused again with a fresh token: %w", errRevoked, cause)
	}
	if r.access.pinned != nil {
		if err := r.access.renew(ctx); err != nil {
			return r.noCredentials(err)
		}
	}
	r.log.Warn("refused after a handshake: dialling once with a fresh token", "error", cause)
	r.provisional, r.failures = true, 0
	return nil
}

// judgeStranger is for a refusal before any handshake of this run. The secret in hand may be old: the process may have
// slept through a rotation that another sandbox's provisioning brought about. So provision once more. Whoever is then
// refused is opted out if he was known, and otherwise not known yet.
func (r *run) judgeStranger(ctx context.Context, cause error) error {
	if !r.renewed {
		r.log.Warn("refused before a handshake: trying once with new credentials", "error", cause)
		if err := r.access.renew(ctx); err != nil {
			return r.noCredentials(err)
		}
		r.renewed, r.failures = true, 0
		return nil
	}
	if r.grant.Standing.Handshaken == r.access.name() {
		return fmt.Errorf("%w: %w", errRevoked, cause)
	}
	return nil
}

// noCredentials is for new credentials that could not be had. That is no opt-out: those in hand may have been replaced.
func (r *run) noCredentials(err error) error {
	if status, ok := errors.AsType[*provision.StatusError](err); ok {
		return r.judgeProvision(status)
	}
	if unusable(err) {
		return err
	}
	r.log.Warn("no new credentials", "error", err)
	return nil
}

// unusable says whether credentials cannot be had before somebody changes something.
func unusable(err error) bool {
	return errors.Is(err, provision.ErrAuthUnusable) || errors.Is(err, secretstore.ErrSecretUnusable)
}

// judgeProvision is for an answer of /relay/provision that is not 2xx.
func (r *run) judgeProvision(status *provision.StatusError) error {
	switch status.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusGone:
		if r.grant.Standing.Handshaken == r.access.name() {
			return fmt.Errorf("%w: %w", errRevoked, status)
		}
		return status
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return nil
	}
	if status.Status < 500 {
		return status // asking again changes nothing
	}
	return nil
}
