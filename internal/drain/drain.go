// Package drain decides when to dial and when to leave: lease, credentials, socket, idling, deadline, hand-off and
// revocation. What happens to a delivery is package turn's. Sections named in comments are the contract's.
//
// A drain is one call of Run, and goes as design section 1 draws it: take the lease, dial, serve the socket until it is
// quiet and the connector has agreed to buffer, close it, give the lease back. What the connector makes of this run is its
// phase (phase.go):
//
//	           refused:                      refused, and an
//	           new credentials               earlier run was let in
//	stranger -----------------> renewed ---------------------------------> revoked
//	    |                          |                                        ^  ^
//	    | descriptor               | descriptor                     refused |  |
//	    |                          v          refused: a fresh token        |  | refused
//	    +--------------------> connected --------------------------> on trial  |
//	                               ^                                       |   |
//	                               |                            descriptor |   |
//	                               |  its socket ends otherwise            v   |
//	                               +---------------------------------- on parole
//
// Refused is a close with 4401 or 4403, or HTTP 401 or 403 at the upgrade. If the connector has never let this gateway in,
// a renewed stranger that is refused stays one, and gives up after 100 s. A refusal of /relay/provision (403, 410)
// revokes a gateway that was let in before, in any phase. Revoked ends the run and switches the instance off. Credentials that are pinned in a
// store are read anew before each dial while they are refused, and revoked only after a minute (doubt.go). Beside the phase
// stands one fact: whether the connector is flipped, that is, buffers for this gateway. No run leaves it unflipped while
// there is time.
//
// No dial without a pause that was earned: each dial that fails and each connection that ends adds a step to the back-off,
// each full 5 s that a connection lived take one away. After going idle for want of room there is one step at least.
//
// Run blocks until the drain is over: minutes, at most until its context's deadline. It starts the heartbeat
// (heartbeat.go), for each socket the goroutine that hands deliveries to package turn (pump.go), and one that waits for
// going_idle_ack (stay.go); all of them end before Run returns. Both methods of a Drainer may be called from any
// goroutine: a second Run finds the lease taken. The package reads no environment and keeps no secret outside of access.go.
package drain

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dormouse-relay/dormouse/internal/agent"
	"github.com/dormouse-relay/dormouse/internal/config"
	"github.com/dormouse-relay/dormouse/internal/identity"
	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/media"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// Parts are what a drain needs besides its settings.
type Parts struct {
	Ledger  Ledger
	Agent   agent.Agent
	Clients identity.Clients                     // those that the identity needs
	Again   func(context.Context, Request) error // invokes drain once more, asynchronously; nil: no hand-offs
	NetDial relay.DialFunc                       // nil: the network
	Wall    func() time.Time                     // the wall clock; nil: time.Now. Only the lease looks at it
	Log     *slog.Logger
}

// Ledger is what a drain needs of a ledger.Ledger: all else goes through the lease.
type Ledger interface {
	Acquire(ctx context.Context, ask ledger.Ask) (ledger.Lease, error)
	ledger.Inbox
}

// Drainer runs drains. It is kept for warm invocations, with the credentials that it has got.
type Drainer struct {
	Parts
	settings config.DrainSettings
	instance string // whose ledger this is; part of delivery keys
	dialer   *dialer
	access   *access
	now      clocks

	mu         sync.Mutex
	conn       *relay.Conn // the socket that is open
	terminated bool
	cancel     context.CancelCauseFunc // ends the run that has the lease; nil: there is none
	dialling   chan struct{}           // closed once the last dial has ended; nil: there was none
	over       chan struct{}           // closed once that run has given the lease back, or could not
	refused    bool                    // the last Acquire was: not_due, taken or disabled
	init       time.Duration           // what the start of this process took; zero once a run was billed with it
}

// New returns a Drainer. It touches no network.
func New(s config.DrainSettings, p Parts) *Drainer {
	dialer := newDialer(s.URL, p.NetDial)
	return &Drainer{
		Parts: p, settings: s, instance: s.Instance(), dialer: dialer, access: newAccess(s, dialer, p), now: newClocks(p.Wall),
	}
}

// run is one drain.
type run struct {
	*Drainer
	ctx     context.Context // the invocation's, for the logs
	req     Request
	log     *slog.Logger
	figures *figures
	times   timetable
	link    *link
	media   *media.Client

	lease ledger.Lease
	heart *heart

	phase         phase
	flipped       bool      // the connector buffers for this gateway
	handshaken    string    // the gateway id that the connector let in last, in this run or before
	troubled      bool      // what hindered earlier runs was forgotten
	declared      bool      // the policy was sent, or need not be
	steps         int       // of the back-off
	full          bool      // the last socket was left for want of room
	met           time.Time // when the connector was heard last
	policy        string    // what became of it in this run: taken, or why not
	poked         bool      // a poke has asked for a look
	buffered      bool      // a delivery was buffered
	malformed     uint64    // frames that could not be used
	overflowed    uint64    // buffered deliveries that did not fit into memory
	overran       uint64    // live ones, which are lost
	doubt         doubt     // whether stored credentials that were refused are an opt-out
	worker        *turn.Worker
	pump          *pump
	inbox         *inbox
	saidBefore    bool                        // what this run was invoked to say, a drain has taken before
	traffic       *traffic                    // of the newest socket
	noted         int                         // refusals and what was sent again, as the ledger has them
	notedLimited  int                         // bots' messages over their budget, likewise
	watching      atomic.Pointer[turn.Worker] // worker, for the sockets' readers
	idleNotBefore time.Time                   // end of the connector's pause between pokes
}

// Errors that end a run, each with its status.
var (
	errRevoked    = errors.New("drain: the connector refuses this gateway for good")
	errReplaced   = errors.New("drain: another socket took the seat")
	errSeatTaken  = errors.New("drain: another socket, or its ghost, holds the seat")
	errDeadline   = errors.New("drain: the invocation's time is up")
	errTerminated = errors.New("drain: the sandbox is being shut down")
	errLeaseLost  = errors.New("drain: the lease is lost: another drain owns the instance")
)

// isLost reports whether an error is the loss of the lease.
func isLost(err error) bool { return errors.Is(err, errLeaseLost) || errors.Is(err, ledger.ErrLost) }

// Run drains once. The error is not nil only if the status is Failed; the report is good either way.
func (d *Drainer) Run(ctx context.Context, req Request) (Report, error) {
	r := &run{Drainer: d, ctx: ctx, req: req, figures: &figures{start: time.Now()}, link: newLink()}
	r.beforehand()
	d.dialer.onTLS(func() { r.figures.stamp(&r.figures.MS.TLS) })
	r.pump = &pump{log: d.Log, most: int(d.settings.Window / 8 * 3)}
	r.inbox = newInbox(d.Log)
	r.media = media.New(media.Config{URL: d.settings.URL, Token: d.access.bearer, NetDial: d.NetDial})
	defer r.media.Close()
	r.log = logs.Of(ctx, d.Log).With(logs.KeyReason, req.Reason)
	if req.Hop > 0 {
		r.log = r.log.With(logs.KeyHop, req.Hop)
	}
	var check *Check
	if req.Reason == ledger.Check {
		check = r.examine(ctx)
	}
	err := r.run(ctx)
	if r.worker != nil {
		r.worker.Unwritten()
	}
	rep := r.figures.result(err, r.counts())
	rep.Lost += int(r.overran + r.pump.lost.Load())
	rep.Status = r.statusFor(err)
	defer func() { r.measure(rep, err) }()
	switch rep.Status {
	case Revoked, Replaced, SeatTaken, IdentityRefused:
		rep.Error = err.Error()
	}
	if check != nil {
		return r.checked(rep, check, err), nil
	}
	if rep.Status == Failed {
		r.log.Error(logs.DrainFailed, logs.KeyError, err, logs.KeyReport, rep)
		return rep, err
	}
	if rep.Status == Replaced || rep.Status == IdentityRefused {
		r.log.Warn(logs.DrainEnded, logs.KeyError, err, logs.KeyReport, rep)
	} else {
		r.log.Info(logs.DrainEnded, logs.KeyReport, rep)
	}
	return rep, nil
}

// run takes the lease, keeps it alive while loop dials and serves, and gives it back.
func (r *run) run(ctx context.Context) error {
	defer r.openAhead(ctx)()
	if r.req.Say != nil {
		if err := r.putSay(ctx); err != nil {
			return err
		}
	}
	if err := r.takeLease(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer r.begin(cancel)()
	var beating sync.WaitGroup
	beating.Go(func() { r.heart.beat(ctx, cancel) })
	deadline, _ := ctx.Deadline()
	r.times = r.hurried(newTimetable(r.settings, r.figures.start, deadline))
	stopTimer := r.times.atEnd(func() { cancel(errDeadline) })
	err := r.loop(ctx)
	r.pump.wait()
	r.inbox.close()
	if r.worker != nil {
		r.worker.Leave(ctx) // of a live message there is no other trace than the journal
		r.worker.Close()
	}
	if ctx.Err() == nil && !r.lease.GivenBack() {
		r.settle(ctx)
	}
	stopTimer()
	cancel(nil)
	beating.Wait()
	return r.giveBack(err)
}

// openAhead opens connections and fetches what credentials need while the lease is asked for. stop ends what is not done
// and closes what was not used. A schedule mostly ends in the lease's condition, so nothing is opened for it; nor by a
// process that was refused the lease the last time, so that somebody who pokes for ever costs the connector nothing.
func (r *run) openAhead(ctx context.Context) (stop func()) {
	if r.req.Reason == ledger.Schedule || r.wasRefused() {
		return func() {}
	}
	connections := 1
	if r.access.tokens != nil && !r.access.inHand() {
		connections = 2
	}
	closeUnused := r.dialer.open(ctx, connections)
	ctx, cancel := context.WithCancel(ctx)
	var fetching sync.WaitGroup
	fetching.Go(func() { r.access.prefetch(ctx) })
	return func() {
		cancel()
		fetching.Wait()
		closeUnused()
	}
}

// loop is steps 2 to 9 of design section 1. It returns nil once the connector is flipped and the lease is given back.
func (r *run) loop(ctx context.Context) error {
	wait, second := r.emptyAfter(r.req.Reason), false
	for {
		conn, err := r.connect(ctx) // credentials, dial, hello and descriptor
		if err != nil {
			return err
		}
		end := r.stay(ctx, conn, wait) // deliveries, until the connector is flipped and the socket is closed
		r.flipped = end.flipped
		if end.err != nil {
			if err := r.judgeEnd(ctx, end); err != nil {
				return err
			}
			wait, second = r.emptyAfter(r.req.Reason), false
			continue
		}
		r.lived(end.lived)
		r.full = end.crowded
		busy, broken := r.pump.busy() || r.inbox.busy() || r.worker.Busy(), r.worker.Broken()
		switch {
		case end.deadline:
			return errDeadline
		case broken != nil && !busy: // if it is busy, a message came late
			return broken
		case busy, end.dropped, end.behind, r.settings.SecondLook > 0 && end.mayHaveMissed(second):
			r.log.Info(logs.SecondLook, logs.KeySlowClose, end.slow, logs.KeyCameLate, end.cameLate)
			wait, second = max(r.settings.SecondLook, time.Millisecond), true
			continue
		}
		if err := r.release(ctx); !errors.Is(err, ledger.ErrAsked) {
			return err
		}
		wait, second = r.emptyAfter(ledger.Wake), false // the poke that asked again
	}
}

// emptyAfter is how long to wait for a first delivery: after a poke longer, so that a slow first push is not missed.
func (r *run) emptyAfter(reason ledger.Reason) time.Duration {
	switch {
	case r.settings.EmptyAfter > 0:
		return r.settings.EmptyAfter
	case reason == ledger.Wake, reason == ledger.Speak:
		return 10 * time.Second
	}
	return 3 * time.Second
}

// stopped is why the run has to end; nil if it need not.
func (r *run) stopped(ctx context.Context) error {
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

// counts are the figures of package turn.
func (r *run) counts() turn.Counts {
	if r.worker == nil {
		return turn.Counts{}
	}
	return r.worker.Counts()
}
