package relay

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gorilla/websocket"
)

// DialFunc opens the connection that the WebSocket handshake is spoken on; for a wss URL its TLS is already up.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Config is what Dial needs. URL and Fronts are required; a zero duration or size means its default.
type Config struct {
	URL              string        // ws or wss, path ending in /relay (section 1)
	Token            Secret        // upgrade bearer, minted for this dial; blank dials without one
	Fronts           []Front       // one hello each, in this order
	UserAgent        string        // default "dormouse"
	HandshakeTimeout time.Duration // upgrade, hello and first descriptor together; default 30 s
	PingInterval     time.Duration // default 30 s
	PongTimeout      time.Duration // default 60 s
	OutboundTimeout  time.Duration // wait for an outbound_result; default 75 s
	SizeLimit        int           // largest frame in bytes; default 4 MiB
	NetDial          DialFunc      // nil means a net.Dialer, with TLS for wss
	Log              *slog.Logger  // nil discards

	queueEntries, queueBytes int // tests overrun smaller queues
}

// withDefaults returns cfg with its gaps filled, or all its faults.
func (cfg Config) withDefaults() (Config, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("relay: "+format, args...)) }
	switch u, err := url.Parse(cfg.URL); {
	case err != nil:
		fault("URL cannot be parsed; want ws://host/relay or wss://host/relay")
	case u.Scheme != "ws" && u.Scheme != "wss":
		fault("URL has scheme %q; want ws or wss", u.Scheme)
	case u.Host == "" || u.User != nil:
		fault("URL has no host, or has a user in it; want ws://host/relay or wss://host/relay")
	}
	if len(cfg.Fronts) == 0 {
		fault("no Fronts; want at least one")
	}
	for i, id := range cfg.Fronts {
		if id.Platform == "" {
			fault("Fronts[%d] has no platform", i)
		}
	}
	durations := []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"HandshakeTimeout", &cfg.HandshakeTimeout, 30 * time.Second},
		{"PingInterval", &cfg.PingInterval, 30 * time.Second},
		{"PongTimeout", &cfg.PongTimeout, 60 * time.Second},
		{"OutboundTimeout", &cfg.OutboundTimeout, 75 * time.Second},
	}
	for _, d := range durations {
		if *d.value < 0 {
			fault("%s is %v; want a positive duration, or 0 for %v", d.name, *d.value, d.standard)
		}
		*d.value = cmp.Or(*d.value, d.standard)
	}
	if cfg.SizeLimit < 0 {
		fault("SizeLimit is %d; want a positive number of bytes, or 0 for %d", cfg.SizeLimit, defaultSizeLimit)
	}
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "dormouse")
	cfg.queueEntries = cmp.Or(cfg.queueEntries, 4096)
	cfg.queueBytes = cmp.Or(cfg.queueBytes, 16<<20)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg, errors.Join(faults...)
}

// Stats counts what a Conn has read.
type Stats struct {
	Frames       uint64 // all of them, usable or not
	Malformed    uint64 // skipped, or handed out as KindUnusable
	UnknownTypes uint64 // skipped likewise
	Unclaimed    uint64 // results that nobody waited for: late, unknown, or of a Post
}

// Conn is one socket to a connector. Its deliveries must be received: 4,096 of them or 16 MiB left lying end it with
// ErrOverrun. To slow a connector down withhold Ack instead.
type Conn struct {
	cfg    Config
	bots   map[string]string // platform to bot id, as hello'd
	socket *gatherer
	ws     *websocket.Conn

	writing sync.Mutex // serialises messages; never held while waiting for the peer

	ready    chan struct{} // the first descriptor is in
	complete chan struct{} // as many as hellos are in
	arrived  chan struct{} // holds a token if the queue has been added to
	done     chan struct{} // the reader and the socket are gone; err is set
	err      error
	running  sync.WaitGroup

	frames, malformed, unknownTypes, unclaimed atomic.Uint64

	// The reader's own.
	batch   []Delivery // not yet in the queue
	overrun bool
	logged  map[string]bool // faults

	mu          sync.Mutex
	queue       queue
	waiting     map[string]chan<- answer // by request id
	session     Descriptor
	described   int                   // descriptors so far
	readyAt     time.Time             // when the first came
	descriptors map[string]Descriptor // by platform
	askedIdle   bool                  // going_idle has been sent
	idle        bool                  // it has been acked and GoIdle has not yet said so
	idleAcked   chan struct{}         // closed and replaced by a going_idle_ack
	closing     bool                  // by us
}

// answer is an outbound_result; without a result it could not be read.
type answer struct{ result *Result }

// Dial connects, says hello for every identity and returns once the first descriptor is in (section 4). It reports every
// fault in cfg at once, joined. A refused upgrade is an *UpgradeError; a socket that ended first, its *CloseError; no
// descriptor in time wraps ErrNoDescriptor.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Conn{
		cfg:         cfg,
		bots:        make(map[string]string),
		ready:       make(chan struct{}),
		complete:    make(chan struct{}),
		arrived:     make(chan struct{}, 1),
		done:        make(chan struct{}),
		logged:      make(map[string]bool),
		queue:       queue{maxEntries: cfg.queueEntries, maxBytes: cfg.queueBytes},
		waiting:     make(map[string]chan<- answer),
		descriptors: make(map[string]Descriptor),
		idleAcked:   make(chan struct{}),
	}
	limited, cancel := context.WithTimeout(ctx, cfg.HandshakeTimeout)
	defer cancel()
	if err := c.upgrade(limited); err != nil {
		return nil, err
	}
	c.running.Go(c.read)
	c.running.Go(c.ping)
	c.hello()
	select {
	case <-c.ready:
		return c, nil
	case <-c.done:
		err = c.err
	case <-limited.Done():
		err = fmt.Errorf("%w within %v of dialling: %w", ErrNoDescriptor, cfg.HandshakeTimeout, limited.Err())
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrNoDescriptor, ctx.Err())
		}
	}
	c.socket.Close()
	c.running.Wait()
	return nil, err
}

// upgrade opens the socket, up to the connector's HTTP 101.
func (c *Conn) upgrade(ctx context.Context) error {
	header := http.Header{"User-Agent": {c.cfg.UserAgent}}
	if c.cfg.Token.Usable() {
		header.Set("Authorization", "Bearer "+c.cfg.Token.Reveal())
	}
	plain, secure := c.cfg.NetDial, c.cfg.NetDial
	if c.cfg.NetDial == nil {
		plain = new(net.Dialer).DialContext
		secure = (&tls.Dialer{Config: &tls.Config{NextProtos: []string{"http/1.1"}}}).DialContext
	}
	released := func() bool { return true }
	gathered := func(dial DialFunc) DialFunc {
		return func(_ context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			c.socket = newGatherer(conn)
			released = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
			return c.socket, nil
		}
	}
	dialer := websocket.Dialer{
		NetDialContext:    gathered(plain),
		NetDialTLSContext: gathered(secure),
		ReadBufferSize:    64 << 10, // what one read takes in is acked by one write
		WriteBufferSize:   16 << 10,
	}
	// gorilla would mind ctx's deadline, though not its cancellation, and a moment too early for ctx to say why.
	ws, resp, err := dialer.DialContext(context.WithoutCancel(ctx), c.cfg.URL, header)
	inTime := released()
	switch {
	case errors.Is(err, websocket.ErrBadHandshake) && resp != nil:
		return &UpgradeError{Status: resp.StatusCode}
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("relay: dial: %w: %w", ctx.Err(), err)
	case err != nil:
		return fmt.Errorf("relay: dial: %w", err)
	case !inTime:
		ws.Close()
		return fmt.Errorf("relay: dial: %w", ctx.Err())
	}
	c.ws = ws
	c.socket.beforeRead = c.publish
	ws.SetPingHandler(func(data string) error {
		if !c.socket.full() { // a peer that only pings and never reads gets no more pongs
			ws.WriteControl(websocket.PongMessage, []byte(data), time.Time{})
		}
		return nil
	})
	ws.SetPongHandler(func(string) error {
		return ws.SetReadDeadline(time.Now().Add(c.cfg.PingInterval + c.cfg.PongTimeout))
	})
	return nil
}

// hello introduces every identity. If it fails the socket is at its end, and that end says why.
func (c *Conn) hello() {
	for _, id := range c.cfg.Fronts {
		if _, ok := c.bots[id.Platform]; !ok {
			c.bots[id.Platform] = id.BotID
		}
		c.sendFrame(context.Background(), Hello{Type: TypeHello, Platform: id.Platform, BotID: id.BotID})
	}
}

// ping sends pings until the Conn ends; the pong handler moves the deadline under the reader.
func (c *Conn) ping() {
	tick := time.NewTicker(c.cfg.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.ws.WriteControl(websocket.PingMessage, nil, time.Time{})
			c.socket.leave(false)
		case <-c.done:
			return
		}
	}
}

// read is the goroutine that reads until the socket ends. It waits for nothing but the socket.
func (c *Conn) read() {
	decoder := Decoder{Limit: c.cfg.SizeLimit}
	chunk := make([]byte, 32<<10)
	err := c.ws.SetReadDeadline(time.Now().Add(c.cfg.PingInterval + c.cfg.PongTimeout))
	for err == nil {
		var message io.Reader
		_, message, err = c.ws.NextReader()
		for err == nil {
			var n int
			n, err = message.Read(chunk)
			decoder.feed(chunk[:n], c.handle)
		}
		if err == io.EOF { // of this message
			err = nil
		}
	}
	c.publish()
	c.socket.shutdown(time.Now().Add(closeGrace)) // the acks on their way, and the answer to a close frame
	<-c.socket.finished
	c.err = c.cause(err)
	close(c.done)
}

// cause says why reading ended with err.
func (c *Conn) cause(err error) error {
	c.mu.Lock()
	closing := c.closing
	c.mu.Unlock()
	broken := &CloseError{Code: websocket.CloseAbnormalClosure}
	frame, framed := errors.AsType[*websocket.CloseError](err)
	timeout, _ := errors.AsType[net.Error](err)
	switch failed := c.socket.failure(); {
	case closing:
		return net.ErrClosed
	case c.overrun:
		return ErrOverrun
	case framed && frame.Code != websocket.CloseAbnormalClosure:
		return &CloseError{Code: frame.Code, Reason: c.cfg.redact(frame.Text)}
	case failed != nil:
		return fmt.Errorf("%w: write: %w", broken, failed)
	case timeout != nil && timeout.Timeout():
		return fmt.Errorf("%w: no pong within %v of a ping", broken, c.cfg.PongTimeout)
	}
	return fmt.Errorf("%w: read: %w", broken, err)
}

// redact takes our token out of what a connector says: it may quote it, and what it says is logged.
func (cfg Config) redact(text string) string {
	if !cfg.Token.Usable() {
		return text
	}
	return strings.ReplaceAll(text, cfg.Token.Reveal(), redacted)
}

// handle takes one frame from the reader.
func (c *Conn) handle(f *Frame) {
	c.frames.Add(1)
	if f.Fault != "" {
		c.skip(f)
	}
	switch {
	case f.Kind != 0:
		c.batch = append(c.batch, f.Delivery)
	case f.Fault != "":
	case f.Type == TypeResult:
		c.resolve(f.RequestID, answer{f.Result})
	case f.Type == TypeDescriptor:
		c.describe(*f.Descriptor)
	default: // TypeGoingIdleAck, there is no other
		c.publish() // what came before the ack is in the queue before GoIdle returns
		c.becomeIdle()
	}
}

// skip counts an unusable frame and logs the first of its kind.
func (c *Conn) skip(f *Frame) {
	if f.Fault == faultType {
		c.unknownTypes.Add(1)
	} else {
		c.malformed.Add(1)
	}
	if !c.logged[f.Fault] {
		c.logged[f.Fault] = true
		c.cfg.Log.Warn("frame skipped, further ones like it are not logged", "fault", f.Fault, "buffered", f.BufferID != "")
	}
	if f.RequestID != "" {
		c.resolve(f.RequestID, answer{})
	}
}

func (c *Conn) resolve(requestID string, a answer) {
	c.mu.Lock()
	waiter, ok := c.waiting[requestID]
	delete(c.waiting, requestID)
	c.mu.Unlock()
	if !ok {
		c.unclaimed.Add(1)
		return
	}
	waiter <- a // has room for the one that it gets
}

func (c *Conn) describe(d Descriptor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.ready:
	default:
		c.session, c.readyAt = d, time.Now()
		close(c.ready)
	}
	if c.described++; c.described == len(c.cfg.Fronts) {
		close(c.complete)
	}
	if d.Platform != "" {
		c.descriptors[d.Platform] = d
	}
}

// publish moves the reader's batch into the queue. The reader calls it when it is about to wait, so that a caller is
// woken once for all that came at once.
func (c *Conn) publish() error {
	if len(c.batch) > 0 {
		now := time.Now()
		c.mu.Lock()
		for _, d := range c.batch {
			d.ReceivedAt = now
			c.overrun = c.overrun || !c.queue.push(d)
		}
		c.mu.Unlock()
		clear(c.batch)
		c.batch = c.batch[:0]
		select {
		case c.arrived <- struct{}{}:
		default:
		}
	}
	if c.overrun {
		return ErrOverrun
	}
	return nil
}

// Receive returns the next delivery, interrupts first. Once the Conn has ended it hands out what is left and then the
// error that ended it: a *CloseError, ErrOverrun, or net.ErrClosed after Close and Hangup. It is for one caller at a time.
func (c *Conn) Receive(ctx context.Context) (Delivery, error) {
	for ended := false; ; {
		c.mu.Lock()
		d, ok := c.queue.pop()
		c.mu.Unlock()
		switch {
		case ok:
			return d, nil
		case ended:
			return Delivery{}, c.err
		}
		select {
		case <-c.arrived:
		case <-c.done:
			ended = true
		case <-ctx.Done():
			return Delivery{}, fmt.Errorf("relay: receive: %w", ctx.Err())
		}
	}
}

// Ack tells the connector that a buffered delivery has been taken (section 6). It waits only while a peer does not read
// what was sent before. An empty id, that of a live delivery, is not acked.
func (c *Conn) Ack(bufferID string) error {
	if bufferID == "" {
		return nil
	}
	line, err := jsontext.AppendQuote([]byte(ackPrefix), bufferID)
	if err != nil {
		return fmt.Errorf("relay: ack of %q: no connector can have sent this id: %w", bufferID, err)
	}
	if _, err = c.send(context.Background(), append(line, "}\n"...)); err != nil {
		return err
	}
	c.mu.Lock()
	alone := c.queue.len() == 0 // else the next ack is likely to follow at once
	c.mu.Unlock()
	c.socket.leave(alone)
	return nil
}

const ackPrefix = `{"type":"` + TypeInboundAck + `","bufferId":` // written by hand, acks being most of what is sent

// Do sends an action and waits for its result (section 5). A refusal is an *OpError, and the Result is returned with it.
// After an error that wraps ErrOutcomeUnknown the action may have been applied; after any other it was not, and may be
// sent again.
func (c *Conn) Do(ctx context.Context, out Outbound) (Result, error) {
	out.RequestID = cmp.Or(out.RequestID, newRequestID())
	waiter := make(chan answer, 1)
	c.mu.Lock()
	_, taken := c.waiting[out.RequestID]
	if !taken {
		c.waiting[out.RequestID] = waiter
	}
	c.mu.Unlock()
	if taken {
		return Result{}, fmt.Errorf("relay: %s: request %q still waits for its result; use another id",
			out.Action.Op(), out.RequestID)
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.waiting[out.RequestID] == (chan<- answer)(waiter) {
			delete(c.waiting, out.RequestID)
		}
	}()
	start, err := c.sendFrame(ctx, c.frame(out))
	if err != nil {
		return Result{}, err
	}
	limit := time.NewTimer(c.cfg.OutboundTimeout)
	defer limit.Stop()
	unknown := func(why error) (Result, error) {
		return Result{}, fmt.Errorf("%w: %s, request %s: %w", ErrOutcomeUnknown, out.Action.Op(), out.RequestID, why)
	}
	select {
	case a := <-waiter:
		return a.outcome(unknown)
	case <-ctx.Done():
		return unknown(ctx.Err())
	case <-limit.C:
		return unknown(fmt.Errorf("no result within %v", c.cfg.OutboundTimeout))
	case <-c.done:
	}
	select {
	case a := <-waiter: // it came just before the end
		return a.outcome(unknown)
	default:
	}
	if !c.socket.left(start) {
		return Result{}, fmt.Errorf("relay: %s was not sent: %w", out.Action.Op(), c.err)
	}
	return unknown(c.err)
}

func (a answer) outcome(unknown func(error) (Result, error)) (Result, error) {
	switch {
	case a.result == nil:
		return unknown(errors.New("its result cannot be read"))
	case a.result.Success:
		return *a.result, nil
	}
	refused := &OpError{Code: a.result.Code, Message: a.result.Error}
	if a.result.Ambiguous {
		_, err := unknown(refused)
		return *a.result, err
	}
	return *a.result, refused
}

// Post sends an action whose result nobody waits for, such as typing.
func (c *Conn) Post(out Outbound) error {
	out.RequestID = cmp.Or(out.RequestID, newRequestID())
	_, err := c.sendFrame(context.Background(), c.frame(out))
	return err
}

// Interrupt asks the connector to stop what it is doing for a session (section 5), for example a long send. reason is for
// its log and may be empty. Nothing answers an interrupt: nil means only that it was sent.
func (c *Conn) Interrupt(sessionKey, reason string) error {
	if sessionKey == "" {
		return errors.New("relay: interrupt: no session key; name the session with SessionKey")
	}
	frame := interrupt{Type: TypeInterrupt, SessionKey: sessionKey}
	if reason != "" {
		frame.Reason = &reason
	}
	_, err := c.sendFrame(context.Background(), frame)
	return err
}

// interrupt asks the connector to stop the work of a session (section 5).
type interrupt struct {
	Type       string  `json:"type"` // TypeInterrupt
	SessionKey string  `json:"session_key"`
	Reason     *string `json:"reason"` // null if there is none
}

// frame adds the bot that was hello'd for the action's platform, never another's (section 5).
func (c *Conn) frame(out Outbound) OutboundFrame {
	return OutboundFrame{
		Type:      TypeOutbound,
		RequestID: out.RequestID,
		Action:    out.Action,
		Platform:  out.Platform,
		BotID:     c.bots[out.Platform],
	}
}

func newRequestID() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// sendFrame sends frame as JSON.
func (c *Conn) sendFrame(ctx context.Context, frame any) (start int64, err error) {
	line, err := json.Marshal(frame, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return 0, fmt.Errorf("relay: not sent: cannot be written as JSON: %w", err)
	}
	defer c.socket.leave(false)
	return c.send(ctx, append(line, '\n'))
}

// send sends one line as one message. It returns where the message starts in all that is written.
func (c *Conn) send(ctx context.Context, line []byte) (start int64, err error) {
	if err := c.socket.room(ctx); err != nil {
		return 0, c.unsent(err)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	start = c.socket.end()
	if err := c.ws.WriteMessage(websocket.TextMessage, line); err != nil {
		return 0, c.unsent(err)
	}
	return start, nil
}

func (c *Conn) unsent(err error) error {
	select {
	case <-c.done:
		err = c.err
	default:
	}
	return fmt.Errorf("relay: not sent: %w", err)
}

// GoIdle asks the connector to buffer from now on, and returns nil once it has agreed (section 12). Deliveries may still
// come. After an error the connector may or may not have flipped; GoIdle may be called again: it asks again, and a late
// answer to the earlier call counts.
func (c *Conn) GoIdle(ctx context.Context) error {
	c.mu.Lock()
	late, acked := c.idle, c.idleAcked
	c.askedIdle, c.idle = true, false
	c.mu.Unlock()
	if _, err := c.sendFrame(ctx, goingIdle{TypeGoingIdle}); err != nil || late {
		return err
	}
	select {
	case <-acked:
	case <-ctx.Done():
		return fmt.Errorf("relay: no going_idle_ack, the connector may still deliver live: %w", ctx.Err())
	case <-c.done:
		select {
		case <-acked: // just before the end
		default:
			return c.err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = false // seen
	return nil
}

type goingIdle struct {
	Type string `json:"type"`
}

func (c *Conn) becomeIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.askedIdle {
		return
	}
	c.idle = true
	close(c.idleAcked)
	c.idleAcked = make(chan struct{})
}

// Close sends a close frame with code 1000 and reads on until the peer's close frame, the end of the socket or the end of
// ctx, whose error it then returns; whatever has come until then can be received afterwards. It waits for the Conn's
// goroutines. It may be called again, and after the Conn has ended by itself returns nil.
func (c *Conn) Close(ctx context.Context) error {
	c.sayClose()
	var err error
	select {
	case <-c.done:
	case <-ctx.Done():
		err = fmt.Errorf("relay: close: the connector's close frame has not come: %w", ctx.Err())
		c.socket.shutdown(time.Now().Add(closeGrace))
	}
	c.running.Wait()
	return err
}

// Hangup is for a process that is being killed: it writes going_idle and a close frame, as far as ctx leaves time (250 ms
// if it has no deadline), and closes the socket without waiting for an answer.
func (c *Conn) Hangup(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(closeGrace)
	}
	_, err := c.sendFrame(ctx, goingIdle{TypeGoingIdle})
	c.sayClose()
	c.socket.shutdown(deadline)
	c.running.Wait()
	return errors.Join(err, c.socket.failure())
}

func (c *Conn) sayClose() {
	c.mu.Lock()
	first := !c.closing
	c.closing = true
	c.mu.Unlock()
	if first {
		c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Time{})
		c.socket.leave(false)
	}
}

// Done is closed once the Conn has ended and Receive has nothing but what is left in the queue.
func (c *Conn) Done() <-chan struct{} { return c.done }

// descriptorWait is how long after the first descriptor the others are waited for: they come together, if at all.
const descriptorWait = time.Second

// WaitDescriptors waits until every hello has its descriptor, at most one second after the first came. Before that
// Descriptor may say the session default for a platform that is about to have its own.
func (c *Conn) WaitDescriptors(ctx context.Context) {
	select {
	case <-c.complete:
		return
	default:
	}
	c.mu.Lock()
	late := time.NewTimer(time.Until(c.readyAt.Add(descriptorWait)))
	c.mu.Unlock()
	defer late.Stop()
	select {
	case <-c.complete:
	case <-late.C:
	case <-c.done:
	case <-ctx.Done():
	}
}

// Descriptor is the platform's, or the session default, the first that came (section 4).
func (c *Conn) Descriptor(platform string) Descriptor {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.descriptors[platform]; ok {
		return d
	}
	return c.session
}

// Stats returns the counts up to now.
func (c *Conn) Stats() Stats {
	return Stats{
		Frames:       c.frames.Load(),
		Malformed:    c.malformed.Load(),
		UnknownTypes: c.unknownTypes.Load(),
		Unclaimed:    c.unclaimed.Load(),
	}
}
