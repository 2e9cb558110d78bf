// Package drain is when to dial and when to leave: lease, credentials, socket, idling, deadline, hand-off, revocation.
// What happens to a delivery is package turn's. Sections named in comments are the contract's.
package drain

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/media"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	patience    = 100 * time.Second // with a connector that cannot be reached, refuses, or has the seat taken
	ackPatience = 10 * time.Second  // with a going_idle
	closeSlow   = 2 * time.Second   // a peer's close later than that after its ack leaves room for a lost poke
	closeLimit  = 5 * time.Second
	lastWords   = 3 * time.Second // what the end of an invocation is kept free for, at most
	settled     = time.Minute     // a socket that lived that long resets the backoff
)

// Drainer runs drains, one at a time per instance. It is kept for warm invocations, with the credentials it has got.
type Drainer struct {
	Parts
	settings config.DrainSettings
	instance string // whose ledger this is; part of delivery keys
	dialer   *dialer
	access   *access

	mu         sync.Mutex
	conn       *relay.Conn // the socket that is open
	terminated bool
}

// run is one drain.
type run struct {
	*Drainer
	req      Request
	log      *slog.Logger
	start    time.Time
	lease    ledger.Lease
	grant    ledger.Grant // the lease's, with what this run has written since
	link     *link
	heart    *heart
	media    *media.Client
	worker   *turn.Worker // nil before the first handshake
	handoff  time.Time    // go idle for the deadline's sake; zero: never
	turnsEnd time.Time    // no turn may run on after that; zero: never

	agentTimeout time.Duration
	declared     bool      // the policy has been seen to
	renewed      bool      // a refusal before any handshake has been answered with new credentials
	shaken       bool      // there has been a handshake in this run
	provisional  bool      // a refusal after a handshake is being put to the test
	flipped      bool      // the connector buffers for us
	failures     int       // dials in a row, for the backoff
	hold         time.Time // not idle before: the connector's cooldown between pokes

	reporting sync.Mutex
	report    Report
}

// errors that end a run, each with its status.
var (
	errRevoked    = errors.New("drain: the connector refuses this gateway for good")
	errReplaced   = errors.New("drain: another socket took the seat")
	errSeatTaken  = errors.New("drain: another socket, or its ghost, holds the seat")
	errDeadline   = errors.New("drain: the invocation's time is up")
	errTerminated = errors.New("drain: the sandbox is being shut down")
)

// Run drains once. The error is not nil only if the status is Failed; the report is good either way.
func (d *Drainer) Run(ctx context.Context, req Request) (Report, error) {
	r := &run{Drainer: d, req: req, start: time.Now(), link: newLink()}
	r.media = media.New(media.Config{URL: d.settings.URL, Token: d.access.bearer, NetDial: d.NetDial})
	defer r.media.Close()
	r.log = d.Log.With("reason", req.Reason)
	if req.Hop > 0 {
		r.log = r.log.With("hop", req.Hop)
	}
	if !req.At.IsZero() {
		r.log.Info("woken", "poke_ms", r.start.Sub(req.At).Milliseconds())
	}
	err := r.run(ctx)
	rep := r.result(err)
	if rep.Status == Failed {
		r.log.Error("drain failed", "error", err, "report", rep)
		return rep, err
	}
	r.log.Info("drain ended", "report", rep)
	return rep, nil
}

func (r *run) run(ctx context.Context) error {
	// A schedule mostly ends in the lease's condition, so it opens nothing ahead.
	if r.req.Reason != ledger.Schedule {
		connections := 1
		if r.access.tokens != nil && !r.access.inHand() {
			connections = 2
		}
		r.dialer.open(ctx, connections)
		defer r.dialer.closeUnused()
		prefetching, stop := context.WithCancel(ctx)
		var ahead sync.WaitGroup
		ahead.Go(func() { r.access.prefetch(prefetching) })
		defer ahead.Wait()
		defer stop()
	}
	asked := time.Now()
	lease, err := r.Ledger.Acquire(ctx, ledger.Ask{Reason: r.req.Reason, Owner: rand.Text(), Life: r.settings.Lease})
	if err != nil {
		return err
	}
	r.lease, r.grant = lease, lease.Grant()
	r.mark(&r.report.MS.Lease)
	r.log = r.log.With("epoch", r.grant.Epoch)
	r.log.Info("lease")
	r.heart = &heart{lease: lease, life: r.settings.Lease, log: r.log, good: asked}
	r.link.guard = r.heart.fresh
	r.link.acked = func() { r.count(&r.report.Acked, &r.report.MS.FirstAck) }
	r.link.said = func() { r.mark(&r.report.MS.FirstReply) }

	ctx, cancel := context.WithCancelCause(ctx)
	var beating sync.WaitGroup
	beating.Go(func() { r.heart.beat(ctx, cancel) })
	end := r.timetable(ctx, cancel)
	err = r.drain(ctx)
	if r.worker != nil {
		r.worker.Close()
	}
	end()
	cancel(nil)
	beating.Wait()
	return r.giveBack(err)
}

// timetable divides the time that the invocation has.
func (r *run) timetable(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	r.agentTimeout = r.settings.AgentTimeout
	margin := r.settings.HandoffMargin
	deadline, ok := ctx.Deadline()
	if !ok {
		return func() {}
	}
	has := deadline.Sub(r.start)
	r.agentTimeout, margin = min(r.agentTimeout, has/3), min(margin, has/3)
	r.turnsEnd = deadline.Add(-margin)
	r.handoff = r.turnsEnd.Add(-r.agentTimeout)
	end := time.AfterFunc(time.Until(deadline)-min(lastWords, margin/2), func() { cancel(errDeadline) })
	return func() { end.Stop() }
}

// drain dials and serves until there is nothing left to look for. It returns nil once the connector has flipped.
func (r *run) drain(ctx context.Context) error {
	look := r.emptyAfter(r.req.Reason)
	second := false
	for {
		conn, err := r.connect(ctx)
		if err != nil {
			return err
		}
		s := r.serve(ctx, conn, look)
		if s.err != nil {
			if err := r.judge(ctx, s.err, s.lived); err != nil {
				return err
			}
			look, second = r.emptyAfter(r.req.Reason), false
			continue
		}
		busy, broken := r.worker.Busy(), r.worker.Broken()
		switch {
		case s.deadline:
			return errDeadline
		case broken != nil && !busy: // if it is busy, a message came late
			return broken
		// A message may have come without a poke while the connector was flipped and we were still connected.
		// A second look that found nothing is not followed by a third, however slow the peer's close.
		case busy, r.settings.SecondLook > 0 && (s.cameLate || s.slow && !(second && s.received == 0)):
			r.log.Info("second look", "slow_close", s.slow, "came_late", s.cameLate)
			look, second = max(r.settings.SecondLook, time.Millisecond), true
			continue
		}
		err = r.lease.Release(ctx, r.plan(nil), r.counts().Received > 0)
		if !errors.Is(err, ledger.ErrAsked) {
			if err == nil {
				r.log.Info("released")
			}
			return err
		}
		r.log.Info("asked to look again")
		look, second = r.emptyAfter(ledger.Wake), false
	}
}

// emptyAfter is how long to wait for a first delivery: after a poke longer, as a slow first push must not be walked out on.
func (r *run) emptyAfter(reason ledger.Reason) time.Duration {
	switch {
	case r.settings.EmptyAfter > 0:
		return r.settings.EmptyAfter
	case reason == ledger.Wake:
		return 10 * time.Second
	}
	return 3 * time.Second
}

// giveBack returns the lease of a run that ended with err, and hands over what is left.
func (r *run) giveBack(err error) error {
	if r.lease.GivenBack() || isLost(err) || errors.Is(err, errTerminated) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	if errors.Is(err, errRevoked) {
		r.log.Error("revoked", "gateway", r.access.name(), "error", err) // the template's metric counts these lines
		if err := r.lease.Disable(ctx, err.Error()); err != nil {
			r.log.Error("the opt-out could not be written down: the next wake will try again", "error", err)
		}
	}
	c := r.counts()
	asked, freed := r.lease.HandOff(ctx, r.plan(err), c.Received > 0)
	if freed != nil {
		r.log.Error("the lease could not be given back: it runs out by itself", "error", freed)
	} else {
		r.log.Info("released")
	}
	if !errors.Is(err, errDeadline) {
		return err
	}
	if r.shaken && !r.flipped {
		r.report.Unflipped++
		r.log.Warn("left without going_idle_ack: live messages may be lost until the next dial")
	}
	if r.flipped && c.Left == 0 && !asked {
		return nil
	}
	switch {
	case r.Again == nil:
		r.log.Warn("work is left and nothing to hand it to: the next wake takes it up")
	case c.Received == 0 && c.Finished == 0:
		r.log.Warn("work is left, but this run got nowhere: no hand-off, the schedule goes on")
	case r.req.Hop >= r.settings.MaxHandoffs:
		r.log.Warn("work is left after DORMOUSE_MAX_HANDOFFS: no hand-off, the schedule goes on")
	default:
		if err := r.Again(ctx, Request{Reason: ledger.Continue, Hop: r.req.Hop + 1}); err != nil {
			r.log.Error("work is left and could not be handed off: the schedule goes on", "error", err)
		}
	}
	return errDeadline
}

// plan says when the next sweep is due, after a run that ended with err.
func (r *run) plan(err error) ledger.Plan {
	plan := r.grant.Plan
	scheduled := r.req.Reason == ledger.Schedule
	c := r.counts()
	switch {
	// After the first interval where something was received or is left, or may have been by a holder who died and told
	// nobody, or where the connector may be sending to nobody. Whoever took the seat away is somebody.
	case c.Received > 0, c.Left > 0, plan.Every == 0, r.grant.Heir,
		!r.flipped && !(scheduled && errors.Is(err, errReplaced)):
		plan.Every = r.settings.Sweep
	case scheduled && !plan.At.After(time.Now().Add(ledger.SweepEarly)):
		plan.Every = min(2*plan.Every, r.settings.SweepMax)
	default:
		return plan // a look that nobody planned, for a poke or the mark, moves no plan
	}
	plan.At = time.Now().Add(plan.Every)
	return plan
}

func (r *run) counts() turn.Counts {
	if r.worker == nil {
		return turn.Counts{}
	}
	return r.worker.Counts()
}

// result puts the report together.
func (r *run) result(err error) Report {
	r.mark(&r.report.MS.All)
	r.reporting.Lock()
	defer r.reporting.Unlock()
	rep := r.report
	c := r.counts()
	rep.Received, rep.Duplicates, rep.Recovered, rep.Turns = c.Received, c.Duplicates, c.Recovered, c.Turns
	rep.Outbound, rep.Unknown, rep.Dead, rep.Unkept = c.Outbound, c.Unknown, c.Dead, c.Unkept
	switch {
	case err == nil && rep.Received+rep.Recovered == 0:
		rep.Status = Empty
	case err == nil:
		rep.Status = Drained
	case errors.Is(err, ledger.ErrTaken), isLost(err):
		rep.Status = Taken
	case errors.Is(err, ledger.ErrNotDue):
		rep.Status = NotDue
	case errors.Is(err, ledger.ErrDisabled):
		rep.Status = Disabled
	case errors.Is(err, errRevoked):
		rep.Status = Revoked
	case errors.Is(err, errReplaced):
		rep.Status = Replaced
	case errors.Is(err, errSeatTaken):
		rep.Status = SeatTaken
	case errors.Is(err, errDeadline), errors.Is(err, errTerminated):
		rep.Status = HandedOff
	default:
		rep.Status = Failed
	}
	return rep
}

// mark notes the first time that something happened.
func (r *run) mark(at **int64) {
	r.reporting.Lock()
	defer r.reporting.Unlock()
	if *at == nil {
		*at = new(time.Since(r.start).Milliseconds())
	}
}

func (r *run) count(n *int, first **int64) {
	r.mark(first)
	r.reporting.Lock()
	defer r.reporting.Unlock()
	*n++
}

// Terminate says goodbye on the open socket, within what ctx allows, and waits for nothing: Lambda is about to kill the
// process. Without a goodbye the connector would go on sending live messages to nobody.
func (d *Drainer) Terminate(ctx context.Context) {
	d.mu.Lock()
	conn := d.conn
	d.terminated = true
	d.mu.Unlock()
	if conn != nil {
		conn.Hangup(ctx)
	}
}
