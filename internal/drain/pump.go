package drain

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/dormouse-relay/dormouse/internal/logs"
	"github.com/dormouse-relay/dormouse/internal/turn"
	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// pump hands what the sockets of a run have received to the worker: in the order of the sockets, and of a socket that has
// ended what it has left. The worker may make it wait, and nobody waits for it: a socket's end is seen, and the next one is
// dialled, whatever still has to be handed over.
type pump struct {
	worker *turn.Worker // is there before the first socket
	log    *slog.Logger
	most   int // bytes that may wait in all sockets

	lost atomic.Uint64 // live deliveries that the run's end has left nobody to take

	feeding sync.WaitGroup
	mu      sync.Mutex
	feeds   []*feed // that have not ended
}

// feed is one socket's.
type feed struct {
	conn *relay.Conn
	done chan struct{} // closed once all that it has received is with the worker
}

// room is how many deliveries a further socket may have waiting, and their bytes: what the earlier ones leave of the whole,
// and a fair part in any case.
func (p *pump) room() (deliveries, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	bytes = p.most
	for _, f := range p.feeds {
		_, waiting := f.conn.Queued()
		bytes -= waiting
	}
	bytes = max(bytes, p.most/4)
	return max(bytes/weight, 64), bytes
}

// weight is what a small delivery that waits takes in memory beside its bytes: package relay decodes it at its turn.
const weight = 384

// feed starts to hand over what conn receives, once that of the sockets before is handed over. done is closed at its end.
func (p *pump) feed(ctx context.Context, conn *relay.Conn) (done <-chan struct{}) {
	f := &feed{conn: conn, done: make(chan struct{})}
	p.mu.Lock()
	var before <-chan struct{}
	if n := len(p.feeds); n > 0 {
		before = p.feeds[n-1].done
	}
	p.feeds = append(p.feeds, f)
	p.mu.Unlock()
	p.feeding.Go(func() {
		if before != nil {
			<-before
		}
		p.handOver(ctx, conn)
		p.mu.Lock()
		p.feeds = p.feeds[1:]
		p.mu.Unlock()
		close(f.done)
	})
	return f.done
}

// handOver hands deliveries to the worker until the socket has ended and is empty. What the worker does not take any more the
// connector still has if it was buffered; a live one is lost.
func (p *pump) handOver(ctx context.Context, conn *relay.Conn) {
	var untaken error
	left, lost := 0, 0
	for {
		d, err := conn.Receive(ctx)
		if err != nil {
			break
		}
		if err := p.worker.Take(d); err != nil {
			untaken = err
			if d.BufferID != "" {
				left++
			} else {
				lost++
			}
		}
	}
	if left > 0 {
		p.log.Warn(logs.Untaken, logs.KeyMessages, left, logs.KeyError, untaken)
	}
	if lost > 0 {
		p.lost.Add(uint64(lost))
		p.log.Error(logs.LiveLeft, logs.KeyMessages, lost, logs.KeyError, untaken)
	}
}

// busy reports whether something waits to be handed over.
func (p *pump) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.feeds {
		if waiting, _ := f.conn.Queued(); waiting > 0 || isClosed(f.conn) {
			return true
		}
	}
	return false
}

// wait waits until everything is handed over. Every socket must have ended.
func (p *pump) wait() { p.feeding.Wait() }

// watch has a socket's reader tell of each delivery at once: it is traffic, and may be a command to stop. It may have to wait
// until it is taken. An interrupt is carried out.
func (r *run) watch(cfg *relay.Config) {
	t := newTraffic()
	r.traffic = t
	cfg.Arrived = func(d relay.Delivery) {
		t.note(d.BufferID != "")
		if w := r.watching.Load(); w != nil {
			w.Glance(d)
		}
	}
	cfg.Interrupted = func(d relay.Delivery) {
		t.note(d.BufferID != "")
		if w := r.watching.Load(); w != nil {
			w.Interrupt(d.SessionKey)
		}
	}
	cfg.Unclaimed = func(requestID string, result relay.Result) {
		if w := r.watching.Load(); w != nil {
			w.Unclaimed(requestID, result)
		}
	}
	cfg.QueueEntries, cfg.QueueBytes = r.pump.room()
}
