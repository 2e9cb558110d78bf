package drain

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dormouse-relay/dormouse/internal/ledger"
	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	ackPatience = 10 * time.Second // how long going_idle_ack is waited for
	closeLimit  = 5 * time.Second  // how long the connector's close frame is waited for
	closeSlow   = 2 * time.Second  // a close later than that leaves room for a lost poke

	handOverTime = time.Second // how long a worker that cannot take more is waited for
)

// stay is the time with one socket, from its descriptor until it is closed. It ends flipped: the connector has agreed to
// buffer, and the socket was closed at once. Any other end is an error.
type stay struct {
	*run
	conn    *relay.Conn
	empty   time.Duration // how long to wait for a first delivery
	since   time.Time     // the descriptor
	traffic *traffic
	idling  *idling

	busyUntil time.Time // when a turn or an action was under way last
	deadline  bool      // time is up: go idle whatever there is to do
	crowded   bool      // more has come than can be taken: go idle, so that the connector buffers
	before    int       // buffered deliveries before the last going_idle
}

// ending is how a stay ended.
type ending struct {
	err      error         // the socket ended, or the run; nil: the connector is flipped and the socket is closed
	flipped  bool          // the connector buffers for this gateway
	lived    time.Duration // from the descriptor
	received int
	deadline bool // time is up
	slow     bool // the connector's close came late
	cameLate bool // a delivery came after going_idle_ack
	crowded  bool // more came than could be taken
	dropped  bool // some of it is still with the connector
	behind   bool // a buffered delivery came behind going_idle: what came after it may have been buffered without a poke
}

// mayHaveMissed reports whether a message may have come without a poke, while the connector was flipped and the socket
// still open. A second look that found nothing is not followed by a third, however slow the connector's close.
func (e ending) mayHaveMissed(second bool) bool {
	return e.cameLate || e.slow && !(second && e.received == 0)
}

// stay serves what comes on conn until it is quiet, goes idle and closes the socket. empty is how long to wait for a
// first delivery.
func (r *run) stay(ctx context.Context, conn *relay.Conn, empty time.Duration) (end ending) {
	s := &stay{run: r, conn: conn, empty: empty, since: time.Now(), traffic: r.traffic, idling: newIdling(ctx, conn)}
	s.busyUntil = s.since
	select {
	case <-r.worker.Lagging(): // of an earlier socket
	default:
	}
	if !r.setOpen(conn) {
		s.hangUpUnheard()
	}
	r.link.connect(conn)
	handedOver := r.pump.feed(ctx, conn)

	end.err = s.serve(ctx)
	end.flipped, end.deadline, end.crowded = s.idling.acked, s.deadline, s.crowded
	if end.err == nil {
		end.slow, end.cameLate = s.close(ctx, handedOver)
	}
	s.idling.cancel()
	if isLost(end.err) {
		s.hangUpUnheard()
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	conn.Close(closing) // a second time does nothing
	r.link.disconnect()
	r.setOpen(nil)
	end.received = s.traffic.count()
	end.lived = time.Since(s.since)
	stats := conn.Stats()
	r.malformed += stats.Malformed
	if end.dropped = stats.Dropped > 0; end.dropped {
		r.overflowed += stats.Dropped
		r.log.Warn(logs.Overflowed, logs.KeyMessages, stats.Dropped, logs.KeyWindow, r.settings.Window)
	}
	if stats.Lost > 0 {
		r.overran += stats.Lost
		r.log.Error(logs.LiveOverran, logs.KeyMessages, stats.Lost, logs.KeyWindow, r.settings.Window)
	}
	_, buffered, _ := s.traffic.read()
	r.buffered = r.buffered || buffered > 0
	end.behind = end.flipped && buffered > s.before
	s.holdOn(buffered)
	if end.flipped {
		r.met = time.Now()
	}
	return end
}

// serve returns nil once the connector is flipped and the socket may be closed, else why the stay is over.
func (s *stay) serve(ctx context.Context) error {
	var nearEnd <-chan time.Time // nil without a deadline
	if at := s.times.goIdle; !at.IsZero() {
		nearEnd = time.After(time.Until(at))
	}
	crowded := s.conn.Crowded()
	for {
		busy, over := s.look()
		if over {
			return nil
		}
		select {
		case <-s.quiet(busy):
			if err := s.goIdle(ctx); err != nil {
				return err
			}
		case err := <-s.idling.answer:
			s.heard(ctx, err)
		case <-nearEnd:
			s.deadline = true
			s.log.Info(logs.DeadlineNear)
			s.worker.StopStarting()
		case <-s.traffic.changed:
		case <-s.worker.Changed():
			s.busyUntil = time.Now()
		case <-s.inbox.changed:
		case <-crowded:
			crowded, s.crowded = nil, true
			waiting, bytes := s.conn.Queued()
			s.log.Warn(logs.Crowded, logs.KeyMessages, waiting, logs.KeyBytes, bytes, logs.KeyWindow, s.settings.Window)
		case <-s.worker.Lagging():
			s.lags()
		case <-s.conn.Done():
			return cmp.Or(s.stopped(ctx), s.conn.Err())
		case <-ctx.Done():
			return s.stopped(ctx)
		}
	}
}

// look reports whether there is work, and whether the stay is over.
func (s *stay) look() (busy, over bool) {
	busy = s.busy()
	if busy {
		s.busyUntil = time.Now()
	}
	return busy, s.idling.acked && !s.answersFirst(busy)
}

// lags has the run go idle because the table is slower than what comes. Where nothing comes live that would change nothing, and
// turns could not send their answers.
func (s *stay) lags() {
	received, buffered, _ := s.traffic.read()
	if s.crowded || s.deadline || received == buffered {
		return
	}
	s.crowded = true
	waiting, bytes := s.worker.Unjournalled()
	s.log.Warn(logs.Lagging, logs.KeyMessages, waiting, logs.KeyBytes, bytes)
}

// answersFirst reports whether turns are waited for although the connector is flipped: before a deadline running turns
// answer, and live messages that no journal has are answered now or never. When something was dropped, what was taken is
// acked first: else the next dial would bring the same again.
func (s *stay) answersFirst(busy bool) bool {
	unacked := s.conn.Stats().Dropped > 0 && (s.pump.busy() || s.worker.Holding())
	return busy && (s.deadline || s.worker.Broken() != nil || unacked)
}

// quiet fires when it is time to go idle, if nothing else comes before. It is nil while there is work, unless nothing
// more shall be received, and while going_idle is under way.
func (s *stay) quiet(busy bool) <-chan time.Time {
	if s.idling.pending || s.idling.acked {
		return nil
	}
	at := time.Now()
	if !s.deadline && !s.crowded && s.worker.Broken() == nil {
		received, buffered, last := s.traffic.read()
		s.holdOn(buffered)
		if busy {
			return nil
		}
		at = s.since.Add(s.empty)
		if received > 0 {
			at = later(last, s.busyUntil).Add(s.settings.IdleAfter)
		}
		at = later(at, s.idleNotBefore)
	}
	return time.After(max(time.Until(at), time.Until(s.idling.notBefore)))
}

// holdOn keeps the run going until the connector's pause between pokes is over, if a delivery of this stay was buffered: what
// it was poked for came before the descriptor.
func (s *stay) holdOn(buffered int) {
	if buffered > 0 {
		s.idleNotBefore = later(s.idleNotBefore, s.since.Add(s.settings.PokeCooldown))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// busy reports whether there is work, or something that the worker has yet to take.
func (s *stay) busy() bool { return s.pump.busy() || s.inbox.busy() || s.worker.Busy() }

// goIdle takes the asked mark away, so that a poke from now on is a reason to look again, and sends going_idle.
func (s *stay) goIdle(ctx context.Context) error {
	s.flush(ctx)
	if err := s.lease.Clear(ctx); err != nil {
		if stopped := s.stopped(ctx); stopped != nil {
			return stopped
		}
		if errors.Is(err, ledger.ErrLost) {
			return err
		}
		s.log.Warn(logs.MarkUncleared, logs.KeyError, err)
	}
	if s.lease.Said() { // the mark is gone, and what it was for is not taken
		s.inbox.look()
		if !s.deadline && !s.crowded && s.worker.Broken() == nil {
			return nil
		}
	}
	s.log.Info(logs.GoingIdle, logs.KeyDeadline, s.deadline)
	_, s.before, _ = s.traffic.read()
	s.idling.ask()
	return nil
}

// heard is for the end of a going_idle.
func (s *stay) heard(ctx context.Context, err error) {
	s.idling.heard(err)
	if err != nil && ctx.Err() == nil && !isClosed(s.conn) {
		s.log.Warn(logs.NoIdleAck, logs.KeyIn, s.idling.pause.String(), logs.KeyError, err)
	}
}

// close closes a socket whose connector is flipped. slow and cameLate tell whether a message may have come without a
// poke.
func (s *stay) close(ctx context.Context, handedOver <-chan struct{}) (slow, cameLate bool) {
	s.log.Info(logs.Idle)
	before := s.traffic.count()
	s.link.disconnect() // the connector reads nothing behind the close frame: what a turn sends waits for the next dial
	start := time.Now()
	closing, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	if err := s.conn.Close(closing); err != nil {
		s.log.Warn(logs.CloseUnanswered, logs.KeyError, err)
	}
	took := time.Since(start)
	s.log.Info(logs.Closed, logs.KeyMS, took.Milliseconds())
	select {
	case <-handedOver: // what was queued is with the worker
	case <-time.After(handOverTime):
	}
	return took > closeSlow, s.traffic.count() > before
}

// hangUpUnheard writes going_idle and a close frame and waits for no answer: on a socket that came after Terminate, and
// on one whose lease is lost. Whoever has that lease has yet to dial, or has the seat already, and then nobody reads this.
func (s *stay) hangUpUnheard() {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	s.conn.Hangup(ctx)
}

// idling asks for going_idle_ack: 10 s for an answer, then again after 5, 10, 20 s. Its goroutine puts each answer into
// the channel; all else belongs to the goroutine that serves.
type idling struct {
	ctx       context.Context
	stop      context.CancelFunc
	conn      *relay.Conn
	asking    sync.WaitGroup
	answer    chan error
	pending   bool          // an answer is waited for
	acked     bool          // the connector is flipped
	pause     time.Duration // before the next try
	notBefore time.Time     // of the next try
}

func newIdling(ctx context.Context, conn *relay.Conn) *idling {
	i := &idling{conn: conn, answer: make(chan error, 1)}
	i.ctx, i.stop = context.WithCancel(ctx)
	return i
}

func (i *idling) ask() {
	i.pending = true
	i.asking.Go(func() {
		ctx, cancel := context.WithTimeout(i.ctx, ackPatience)
		defer cancel()
		i.answer <- i.conn.GoIdle(ctx)
	})
}

func (i *idling) heard(err error) {
	i.pending = false
	if err == nil {
		i.acked = true
		return
	}
	i.pause = min(max(2*i.pause, 5*time.Second), 20*time.Second)
	i.notBefore = time.Now().Add(i.pause)
}

// cancel ends an asking that is under way.
func (i *idling) cancel() {
	i.stop()
	i.asking.Wait()
}
