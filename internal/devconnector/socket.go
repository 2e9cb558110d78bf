package devconnector

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

const (
	writeTimeout = 10 * time.Second
	closeWait    = time.Second // for the peer's close frame, after ours
)

// socket is one accepted /relay connection. c.mu guards what follows the connection itself.
type socket struct {
	c     *Connector
	inst  *instance // nil if the socket was accepted only to be closed with a code
	id    int
	ws    *websocket.Conn
	wake  chan struct{} // out is not empty
	ended chan struct{} // closed when the reader has ended
	rest  []byte        // an unfinished line; only the reader uses it

	gateway   string
	bots      map[string]string // platform to bot id, as the hellos said
	described bool              // the first descriptor was sent
	detached  bool              // it holds no seat any more, and its frames are ignored
	out       []outgoing
}

// outgoing is a message; with a code it is the close frame that ends the socket.
type outgoing struct {
	data   []byte
	code   int
	reason string
}

// serveSocket answers an upgrade (sections 2, 3, 13 and 19) and reads the socket until it ends.
func (c *Connector) serveSocket(w http.ResponseWriter, r *http.Request) {
	if !c.enter() {
		fail(w, http.StatusServiceUnavailable, "the connector is closed")
		return
	}
	defer c.wg.Done()

	c.mu.Lock()
	barred, lost := c.barred(r), r.URL.Path != "/relay"
	gw, fault := c.authenticate(r)
	if gw == nil && websocket.IsWebSocketUpgrade(r) {
		c.failed(r)
		c.observe(Observation{What: ObsRefused, Detail: fault + c.stranger(bearer(r))})
	}
	c.mu.Unlock()
	if gw == nil && !barred && c.preset().RefuseAtUpgrade {
		fail(w, http.StatusUnauthorized, fault)
		return
	}

	upgrader := websocket.Upgrader{HandshakeTimeout: writeTimeout}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered the request
	}
	if c.preset().MaxFrame > 0 {
		ws.SetReadLimit(int64(c.preset().MaxFrame))
	}
	s := &socket{c: c, ws: ws, wake: make(chan struct{}, 1), ended: make(chan struct{}), bots: make(map[string]string)}
	s.keepAlive()
	ws.SetCloseHandler(s.answerClose)

	c.mu.Lock()
	c.open[s] = struct{}{}
	s.id = len(c.sockets) + 1
	c.sockets = append(c.sockets, Socket{ID: s.id, At: time.Now(), Remote: r.RemoteAddr, Open: true})
	if gw != nil {
		s.gateway = gw.id
		c.sockets[s.id-1].Gateway = gw.id
	}
	s.observe(Observation{What: ObsUpgrade})
	switch {
	case c.closed: // after this upgrade began, so Close may not see this socket
		s.cut()
	case lost:
		s.kick(c.preset().LostCode, "the socket is at /relay")
	case barred:
		s.kick(1013, "too many failures")
	case gw == nil:
		s.kick(4401, fault)
	default:
		s.sit(gw.inst)
	}
	c.wg.Go(s.write)
	c.mu.Unlock()

	s.read()
}

// sit takes the instance's seat, or closes the socket if the seat cannot be taken.
func (s *socket) sit(inst *instance) {
	now := time.Now()
	switch refuse := s.c.preset().SecondSocket == SeatRefuse; {
	case now.Before(s.c.faults.downUntil):
		s.kick(4503, "the platform is down")
		return
	case now.Before(inst.suspendedUntil):
		s.kick(1013, "suspended")
		return
	case inst.ghost(), inst.sock != nil && refuse:
		s.kick(s.c.preset().seatRefused())
		return
	case inst.sock != nil:
		inst.sock.kick(s.c.preset().SeatCode, s.c.preset().SeatReason)
	}
	s.inst = inst
	inst.sock = s
}

// detach gives the seat up. What was in flight on this socket counts as not sent. A second call does nothing.
func (s *socket) detach(code int, reason, by string) {
	if s.detached {
		return
	}
	s.detached = true
	record := &s.c.sockets[s.id-1]
	record.Open, record.Code, record.Reason, record.By = false, code, reason, by
	if s.inst != nil && s.inst.sock == s {
		s.inst.sock = nil
		s.inst.rewind()
	}
	s.observe(Observation{What: ObsClosed, Code: code, Detail: reason, By: by})
	if s.inst != nil && s.c.preset().Poke == PokeWaiting {
		s.inst.pokeWhileWaiting()
	}
}

// kick closes the socket from our side. The seat is free at once; the close frame goes out after what is still to be
// written.
func (s *socket) kick(code int, reason string) {
	if !s.detached {
		s.detach(code, reason, byConnector)
		s.enqueue(outgoing{code: code, reason: reason})
	}
}

// answerClose gives the seat up before it answers the peer's close, because the peer may dial again as soon as it has that
// answer.
func (s *socket) answerClose(code int, reason string) error {
	s.c.mu.Lock()
	s.detach(endOf(&websocket.CloseError{Code: code, Text: reason}))
	s.c.mu.Unlock()
	s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(closeWait))
	return nil
}

// cut ends the connection without a close frame.
func (s *socket) cut() {
	s.detach(1006, "", byConnector)
	s.ws.NetConn().Close()
}

func (s *socket) send(frame any) {
	line, err := json.Marshal(frame)
	if err != nil {
		panic("devconnector: our frames always marshal: " + err.Error())
	}
	s.enqueue(outgoing{data: append(line, '\n')})
}

func (s *socket) enqueue(o outgoing) {
	s.out = append(s.out, o)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// keepAlive makes a missing pong end the reader, where the preset pings.
func (s *socket) keepAlive() {
	p := s.c.preset()
	if p.PingEvery <= 0 {
		return
	}
	extend := func(string) error { return s.ws.SetReadDeadline(time.Now().Add(p.PongWithin)) }
	extend("")
	s.ws.SetPongHandler(extend)
}

// write is the only goroutine that writes messages to the socket, and the one that closes the connection.
func (s *socket) write() {
	defer s.ws.Close()
	var ping <-chan time.Time
	if every := s.c.preset().PingEvery; every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		ping = ticker.C
	}
	for ended := false; !ended; {
		select {
		case <-s.wake:
		case <-ping:
			if s.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout)) != nil {
				return
			}
		case <-s.ended: // there may be a close to send, which says why
			ended = true
		}
		s.c.mu.Lock()
		batch := s.out
		s.out = nil
		s.c.mu.Unlock()
		for _, o := range batch {
			if o.code != 0 {
				s.close(o)
				return
			}
			kind := websocket.TextMessage
			if !utf8.Valid(o.data) {
				kind = websocket.BinaryMessage // a text message has to be UTF-8
			}
			s.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
			if s.ws.WriteMessage(kind, o.data) != nil {
				return
			}
		}
	}
}

// close writes a close frame and gives the peer a moment to answer it.
func (s *socket) close(o outgoing) {
	frame := websocket.FormatCloseMessage(o.code, o.reason)
	if s.ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(closeWait)) != nil {
		return
	}
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-s.ended:
	case <-timer.C:
	}
}

// read joins messages and splits them into lines (section 3) until the socket ends.
func (s *socket) read() {
	defer close(s.ended)
	for {
		_, message, err := s.ws.ReadMessage()
		if err == nil {
			err = s.feed(message)
		}
		if err != nil {
			s.c.mu.Lock()
			delete(s.c.open, s)
			s.detach(endOf(err))
			s.c.mu.Unlock()
			return
		}
	}
}

var errLongLine = errors.New("devconnector: line over the limit")

func (s *socket) feed(message []byte) error {
	s.rest = append(s.rest, message...)
	for {
		line, rest, whole := bytes.Cut(s.rest, []byte("\n"))
		if !whole {
			break
		}
		s.rest = rest
		if line = bytes.TrimSpace(line); len(line) > 0 {
			s.c.mu.Lock()
			if !s.detached {
				s.handle(line)
			}
			s.c.mu.Unlock()
		}
	}
	if limit := s.c.preset().MaxFrame; limit > 0 && len(s.rest) > limit {
		s.c.mu.Lock()
		s.kick(websocket.CloseMessageTooBig, "frame too large")
		s.c.mu.Unlock()
		return errLongLine
	}
	return nil
}

// endOf says how the socket ended, from the reader's error.
func endOf(err error) (code int, reason, by string) {
	var ended *websocket.CloseError
	switch {
	case errors.As(err, &ended) && ended.Code != websocket.CloseAbnormalClosure:
		return ended.Code, ended.Text, byGateway
	case errors.Is(err, websocket.ErrReadLimit), errors.Is(err, errLongLine):
		return websocket.CloseMessageTooBig, "frame too large", byConnector
	default:
		return websocket.CloseAbnormalClosure, "", byGateway
	}
}
