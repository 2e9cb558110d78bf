package drain

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// served is how the time with one socket ended.
type served struct {
	err      error         // the socket ended, or the run; nil: the connector flipped and the socket is closed
	lived    time.Duration // from the descriptor
	received int
	deadline bool // left because time is up
	slow     bool // the peer's close came late
	cameLate bool // something came after the ack of going_idle
}

// traffic is what has come on one socket.
type traffic struct {
	since   time.Time // the descriptor
	changed chan struct{}

	mu       sync.Mutex
	received int
	buffered bool
	last     time.Time
}

func (t *traffic) note(d relay.Delivery) {
	t.mu.Lock()
	t.received++
	t.buffered = t.buffered || d.BufferID != ""
	t.last = time.Now()
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

func (t *traffic) read() (received int, buffered bool, last time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.received, t.buffered, t.last
}

// serve takes what comes on conn until it is time to leave, goes idle and closes it. empty is how long to wait for a
// first delivery.
func (r *run) serve(ctx context.Context, conn *relay.Conn, empty time.Duration) (s served) {
	t := &traffic{since: time.Now(), changed: make(chan struct{}, 1)}
	if !r.use(conn) {
		r.farewell(conn)
	}
	r.link.connect(conn)
	pumped := make(chan error, 1)
	var pumping sync.WaitGroup
	pumping.Go(func() { pumped <- r.pump(ctx, conn, t) })
	defer func() {
		if isLost(s.err) {
			r.farewell(conn)
		}
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		conn.Close(closing) // a second time does nothing
		pumping.Wait()
		r.link.disconnect()
		r.use(nil)
		s.received, _, _ = t.read()
		s.lived = time.Since(t.since)
	}()

	var handoff <-chan time.Time // nil without a deadline
	if !r.handoff.IsZero() {
		timer := time.NewTimer(time.Until(r.handoff))
		defer timer.Stop()
		handoff = timer.C
	}
	goodbye := newGoodbye(ctx, conn)
	defer goodbye.abandon()
	busyUntil := t.since
	for {
		busy := r.worker.Busy()
		if busy {
			busyUntil = time.Now()
		}
		// Running turns answer before a deadline's end, and live messages that no journal has are answered now or never.
		if goodbye.acked && !(busy && (s.deadline || r.worker.Broken() != nil)) {
			r.log.Info("idle")
			s.slow, s.cameLate = r.hangUp(ctx, conn, t, pumped)
			return s
		}
		var leave <-chan time.Time
		if !goodbye.pending && !goodbye.acked {
			if at, ok := r.leaveAt(t, empty, busy, busyUntil, s.deadline); ok {
				leave = time.After(max(time.Until(at), time.Until(goodbye.notBefore)))
			}
		}
		select {
		case <-leave:
			if s.err = r.clear(ctx); s.err != nil {
				return s
			}
			r.log.Info("going idle", "deadline", s.deadline)
			goodbye.say()
		case err := <-goodbye.answer:
			goodbye.heard(err)
			r.flipped = goodbye.acked
			if err != nil && ctx.Err() == nil && !ended(conn) {
				r.log.Warn("no going_idle_ack: serving on and asking again", "in", goodbye.pause.String(), "error", err)
			}
		case <-handoff:
			handoff = nil
			s.deadline = true
			r.log.Info("time is nearly up: going idle")
			r.worker.StopStarting()
		case <-t.changed:
		case <-r.worker.Changed():
			busyUntil = time.Now()
		case err := <-pumped:
			if s.err = r.ended(ctx); s.err == nil {
				s.err = err
			}
			return s
		case <-ctx.Done():
			s.err = r.ended(ctx)
			return s
		}
	}
}

// pump hands deliveries to the worker until the socket has ended.
func (r *run) pump(ctx context.Context, conn *relay.Conn, t *traffic) error {
	for {
		d, err := conn.Receive(ctx)
		if err != nil {
			return err
		}
		t.note(d)
		if err := r.worker.Take(d); err != nil {
			r.log.Warn("a message is left with the connector", "error", err)
		}
	}
}

// leaveAt is when to go idle if nothing else comes; not ok while there is work, unless nothing more shall be taken.
func (r *run) leaveAt(t *traffic, empty time.Duration, busy bool, busyUntil time.Time, deadline bool) (time.Time, bool) {
	if deadline || r.worker.Broken() != nil {
		return time.Now(), true
	}
	received, buffered, last := t.read()
	if buffered {
		r.hold = later(r.hold, t.since.Add(r.settings.PokeCooldown))
	}
	at := t.since.Add(empty)
	if received > 0 {
		at = later(last, busyUntil).Add(r.settings.IdleAfter)
	}
	return later(at, r.hold), !busy
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// clear takes the mark away just before going idle: a poke from now on is a reason to look again.
func (r *run) clear(ctx context.Context) error {
	err := r.lease.Clear(ctx)
	if err == nil {
		return nil
	}
	if lost := r.ended(ctx); lost != nil {
		return lost
	}
	if errors.Is(err, ledger.ErrLost) {
		return err
	}
	r.log.Warn("the mark could not be cleared: there may be a needless look", "error", err)
	return nil
}

// hangUp closes a socket whose connector has flipped, and tells whether a message may have slipped in.
func (r *run) hangUp(ctx context.Context, conn *relay.Conn, t *traffic, pumped <-chan error) (slow, cameLate bool) {
	before, _, _ := t.read()
	r.link.disconnect() // what a turn sent behind the close frame would be read by nobody: it waits for the next dial
	start := time.Now()
	closing, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	if err := conn.Close(closing); err != nil {
		r.log.Warn("the connector did not answer the close", "error", err)
	}
	took := time.Since(start)
	r.log.Info("closed", "ms", took.Milliseconds())
	<-pumped // what was queued has been taken
	after, _, _ := t.read()
	return took > closeSlow, after > before
}

// goodbye is the asking for going_idle_ack: 10 s for an answer, then again after 5, 10, 20 s.
type goodbye struct {
	ctx       context.Context
	conn      *relay.Conn
	cancel    context.CancelFunc
	asking    sync.WaitGroup
	answer    chan error
	pending   bool
	acked     bool
	pause     time.Duration
	notBefore time.Time
}

func newGoodbye(ctx context.Context, conn *relay.Conn) *goodbye {
	g := &goodbye{conn: conn, answer: make(chan error, 1)}
	g.ctx, g.cancel = context.WithCancel(ctx)
	return g
}

func (g *goodbye) say() {
	g.pending = true
	g.asking.Go(func() {
		ctx, cancel := context.WithTimeout(g.ctx, ackPatience)
		defer cancel()
		g.answer <- g.conn.GoIdle(ctx)
	})
}

func (g *goodbye) heard(err error) {
	g.pending = false
	if err == nil {
		g.acked = true
		return
	}
	g.pause = min(max(2*g.pause, 5*time.Second), 20*time.Second)
	g.notBefore = time.Now().Add(g.pause)
}

func (g *goodbye) abandon() {
	g.cancel()
	g.asking.Wait()
}

// use tells Terminate which socket is open. It is false if Terminate has come and gone.
func (d *Drainer) use(conn *relay.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn = conn
	return !d.terminated
}

// farewell says goodbye in a hurry: on a socket that Terminate came too early for, and without the lease. Whoever has that
// now has yet to dial, or has the seat already, and then this reaches nobody.
func (r *run) farewell(conn *relay.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	conn.Hangup(ctx)
}
