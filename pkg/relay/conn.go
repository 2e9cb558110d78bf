package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// Conn is one socket to a connector; Dial makes it. Its deliveries must be received: of what does not fit into
// Config.QueueEntries and QueueBytes, a live delivery is lost, as the connector keeps none, and a buffered one is dropped, with
// all buffered ones behind it: they come again after the next dial, as they are not acked. Crowded tells at half of that, and
// Stats counts both. To slow a connector down withhold Ack instead. Nothing else waits for the caller: results, pings,
// interrupts and the end of the socket are handled as they come.
type Conn struct {
	cfg    Config
	bots   map[string]string // platform to bot id, as the hellos said
	socket *batchConn
	ws     *websocket.Conn

	writing sync.Mutex // one message at a time; never held while waiting for the peer

	ready    chan struct{} // closed once the first descriptor is in
	complete chan struct{} // closed once there are as many descriptors as hellos
	arrived  chan struct{} // holds a token if the queue has been added to
	crowded  chan struct{} // closed once the queue has been half full
	done     chan struct{} // closed once the reader and the socket are gone; err is set before
	err      error
	running  sync.WaitGroup

	frames, malformed, unknownTypes, unclaimed, dropped, lost atomic.Uint64

	// Only the reader uses these.
	batch    []Delivery      // not yet in the queue
	folding  bool            // deliveries are to wait as lines
	lines    []byte          // the block that their lines are copied to
	dropping bool            // the queue did not take a buffered one
	logged   map[string]bool // faults of frames

	mu          sync.Mutex // guards what follows
	queue       queue
	waiting     map[string]chan<- answer // for results, by request id
	session     Descriptor               // the session default: the first that came
	described   int                      // descriptors so far
	readyAt     time.Time                // when the first came
	descriptors map[string]Descriptor    // by platform
	askedIdle   bool                     // going_idle has been sent
	idle        bool                     // a going_idle_ack came, and no GoIdle has returned for it
	idleAcked   chan struct{}            // closed by a going_idle_ack, which puts a new one in its place
	closing     bool                     // Close or Hangup was called
}

func newConn(cfg Config) *Conn {
	return &Conn{
		cfg:         cfg,
		bots:        make(map[string]string),
		ready:       make(chan struct{}),
		complete:    make(chan struct{}),
		arrived:     make(chan struct{}, 1),
		crowded:     make(chan struct{}),
		done:        make(chan struct{}),
		logged:      make(map[string]bool),
		queue:       queue{maxEntries: cfg.QueueEntries, maxBytes: cfg.QueueBytes},
		waiting:     make(map[string]chan<- answer),
		descriptors: make(map[string]Descriptor),
		idleAcked:   make(chan struct{}),
	}
}

// Done is closed once the Conn has ended. After that, Receive returns what is left in the queue and then the error that
// ended the Conn.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns the error that ended the Conn, as Receive does; nil before Done is closed.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Crowded is closed once half of the deliveries, or of the bytes, that may wait unreceived have been waiting. Going idle
// then makes the connector buffer, before live ones are lost. Then dial again: Stats.Dropped says whether buffered deliveries
// were dropped.
func (c *Conn) Crowded() <-chan struct{} { return c.crowded }

// Queued returns how many deliveries wait for Receive, and their bytes on the wire.
func (c *Conn) Queued() (deliveries, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue.len(), c.queue.bytes
}

// Stats counts what a Conn has read.
type Stats struct {
	Frames       uint64 // all of them, usable or not
	Malformed    uint64 // frames that could not be used; the buffered ones were handed out as KindUnusable
	UnknownTypes uint64 // frames of a type that the contract does not have; likewise
	Unclaimed    uint64 // results that nobody waited for: late, unknown, or of a Post
	Dropped      uint64 // buffered deliveries that did not fit; unacked, they come again after the next dial
	Lost         uint64 // live deliveries that did not fit
}

// Stats returns the counts up to now.
func (c *Conn) Stats() Stats {
	return Stats{
		Frames:       c.frames.Load(),
		Malformed:    c.malformed.Load(),
		UnknownTypes: c.unknownTypes.Load(),
		Unclaimed:    c.unclaimed.Load(),
		Dropped:      c.dropped.Load(),
		Lost:         c.lost.Load(),
	}
}
