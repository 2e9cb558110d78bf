package drain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/provision"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	// patience is how long a connector is dialled that cannot be reached, refuses, or has the seat taken.
	patience = 100 * time.Second
	// tokenLife is how long an upgrade token is good for (section 2).
	tokenLife = 300 * time.Second
)

// connect dials until there is a descriptor (design section 6). It gives up after patience; after a descriptor of this
// run it goes on while time is left unless the connector is flipped, as it would send live messages to nobody.
func (r *run) connect(ctx context.Context) (*relay.Conn, error) {
	began := time.Now()
	var last error
	for {
		if err := r.backOff(ctx); err != nil {
			return nil, r.unreached(err, last)
		}
		conn, err := r.dial(ctx)
		if err == nil {
			return conn, nil
		}
		last = err
		r.flipped = r.flipped && !mayUndoFlip(err)
		if ctx.Err() != nil {
			return nil, r.unreached(r.stopped(ctx), last)
		}
		r.log.Warn(logs.NotConnected, logs.KeyError, err)
		before := r.phase
		if err := r.judge(ctx, err, 0); err != nil {
			return nil, err
		}
		if r.req.Reason == ledger.Check && r.phase == before {
			return nil, notReached(err)
		}
		unflipped := r.phase.met() && !r.flipped
		if time.Since(began) >= patience && !comesBack(err) && !unflipped {
			return nil, gaveUp(err)
		}
	}
}

// gaveUp is the error of a connect whose last dial failed with err.
func gaveUp(err error) error {
	if kind, ok := relay.KindOf(err); ok && kind == relay.CloseDuplicate {
		return fmt.Errorf("%w for %s: %w", errSeatTaken, patience, err)
	}
	return unreachableError{fmt.Errorf("drain: gave up after %s: %w", patience, err)}
}

// notReached is the error of a check, which does not wait for better times.
func notReached(err error) error {
	if kind, ok := relay.KindOf(err); ok && kind == relay.CloseDuplicate {
		return fmt.Errorf("%w: %w", errSeatTaken, err)
	}
	return unreachableError{fmt.Errorf("drain: not connected: %w", err)}
}

// unreached makes a failure of a deadline that came before any descriptor: there is nothing to hand off, and Lambda's
// retry is the next chance.
func (r *run) unreached(end, last error) error {
	if errors.Is(end, errDeadline) && !r.phase.met() && last != nil {
		return unreachableError{fmt.Errorf("drain: time was up before a handshake: %w", last)}
	}
	return end
}

// comesBack reports whether the connector says that it will take another socket later. That is worth all the time that
// is left.
func comesBack(err error) bool {
	kind, ok := relay.KindOf(err)
	return ok && (kind == relay.CloseGoingAway || kind == relay.CloseSuspended)
}

const (
	stepLife = 5 * time.Second // a connection takes a step away for each that it lived
	maxSteps = 6               // the next would be beyond longest
	longest  = 30 * time.Second
)

// backOff waits after failures: 1 s doubling to 30 s with the steps, the latter half of it by chance.
func (r *run) backOff(ctx context.Context) error {
	steps := r.steps
	if r.full { // a pause, so that there is room then; it was no failure
		steps, r.full = max(steps, 1), false
	}
	if steps > 0 {
		d := min(time.Second<<(steps-1), longest)
		select {
		case <-time.After(r.doubt.pause(d / 2)):
		case <-ctx.Done():
		}
	}
	return r.stopped(ctx)
}

// dial gets credentials and a socket with a descriptor. It does neither with a lease that may be another drain's: it
// would make that one's secret worthless, or take its seat.
func (r *run) dial(ctx context.Context) (*relay.Conn, error) {
	if err := r.heart.check(); err != nil {
		return nil, err
	}
	// A connector sends live messages once it has accepted the dial. That the table can be read is known before; how much was
	// left is not, as what comes waits for that in the worker.
	readLeft := r.startReading(ctx)
	defer readLeft() // also where dial fails before it reads
	if err := r.reread(ctx); err != nil {
		return nil, err
	}
	creds, err := r.credentials(ctx)
	if err != nil {
		return nil, err
	}
	cfg := relay.Config{
		URL:             r.settings.URL.RelayURL(),
		Fronts:          r.settings.Fronts,
		Commands:        r.settings.Commands,
		OutboundTimeout: r.settings.OutboundTimeout,
		NetDial:         r.dialer.DialContext,
		Log:             r.log,
	}
	r.watch(&cfg)
	if creds.Secret.Usable() {
		r.declare(ctx, creds)
		cfg.Token = upgradeToken(creds)
	}
	left, err := readLeft()
	if err != nil {
		return nil, fmt.Errorf("drain: reading what earlier runs left: %w", err)
	}
	if err := r.heart.check(); err != nil {
		return nil, err
	}
	r.figures.stamp(&r.figures.MS.Dial)
	r.log.Info(logs.Dial)
	defer r.startDialling()()
	began := time.Now()
	conn, err := relay.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r.figures.stamp(&r.figures.MS.Descriptor)
	r.log.Info(logs.Descriptor, logs.KeyMS, time.Since(began).Milliseconds())
	r.letIn(ctx)
	if r.worker == nil {
		r.startWorker(ctx, conn, left)
	}
	return conn, nil
}

// startReading starts to read what earlier runs left, unless the worker has that already. wait returns the first page of it,
// and may be called again.
func (r *run) startReading(ctx context.Context) (wait func() (ledger.Page, error)) {
	var left ledger.Page
	var err error
	var reading sync.WaitGroup
	if r.worker == nil {
		reading.Go(func() { left, err = r.lease.Recover(ctx, "") })
	}
	return func() (ledger.Page, error) {
		reading.Wait()
		return left, err
	}
}

func (r *run) credentials(ctx context.Context) (provision.Credentials, error) {
	began := time.Now()
	creds, issued, err := r.access.get(ctx, r.lease.TakeFreshID)
	if err == nil && issued {
		r.log.Info(logs.Provision, logs.KeyGateway, creds.GatewayID, logs.KeyMS, time.Since(began).Milliseconds())
	}
	return creds, err
}

// startWorker starts the turns with what earlier runs left, of which left is the first page. They need the descriptors of conn.
func (r *run) startWorker(ctx context.Context, conn *relay.Conn, left ledger.Page) {
	r.link.connect(conn)
	r.worker = turn.New(ctx, turn.Config{
		Journal:      r.lease,
		Prompts:      r.lease,
		Chats:        r.lease,
		Says:         r.lease,
		Look:         r.inbox.look,
		Agent:        r.Agent,
		Link:         r.link,
		Media:        r.media,
		Log:          r.log,
		Instance:     r.instance,
		Concurrency:  r.settings.Concurrency,
		MaxAttempts:  r.settings.MaxAttempts,
		AgentTimeout: r.times.agentTimeout,
		Deadline:     r.times.turnsEnd,
		Window:       int(r.settings.Window),
		Stop:         r.settings.Stop,
		Apology:      r.settings.Apology,
		Texts:        r.settings.Texts,
		StaleAfter:   r.settings.StaleAfter,
		GiveUpAfter:  r.settings.GiveUpAfter,
		Grace:        r.times.grace,
		Passthrough:  r.settings.Passthrough,
		Reactions:    r.settings.Reactions,
		Merge:        r.settings.Merge,

		BotTurns:       cmp.Or(r.settings.BotTurns, -1),
		MaxTurnsPerDay: r.settings.MaxTurnsPerDay,
		Day:            r.lease.Grant().Day,
	})
	r.worker.Recover(left)
	r.pump.worker, r.pump.log = r.worker, r.log
	r.watching.Store(r.worker)
	r.inbox.open(ctx, r.lease, r.worker, r.log)
}
