package main

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	window = 100      // most messages that are sent and not acked
	gather = 32 << 10 // bytes; a write that has so many waits for no more
)

// connector is the other side of the socket, and does only what the figures need. It provisions everybody, sends each socket
// its buffered messages with at most a window of them unacked, answers every action, and acks going_idle. It sends no
// message twice.
type connector struct {
	url      string
	messages int          // for each socket
	chats    int          // how many chats they come from
	answered func(n int)  // if set, called for each answer
	typed    func()       // if set, called for the first typing of each socket
	ended    chan traffic // gets the traffic of each socket that has ended
	server   *http.Server
	sent     atomic.Int64
}

// traffic is what went over one socket.
type traffic struct {
	first, typing, last time.Time // first message sent; first typing; last ack or answer
	err                 error     // the socket broke, or an ack or answer is missing
}

// newConnector starts one, with TLS if there is an authority.
func newConnector(messages int, certified *authority) (*connector, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	scheme := "http://"
	if certified != nil {
		scheme, ln = "https://", tls.NewListener(ln, certified.config())
	}
	c := &connector{url: scheme + ln.Addr().String(), messages: messages, chats: 500, ended: make(chan traffic, 8)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /relay/provision", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"gatewayId":"gw-bench","secret":"bench","tenant":"bench"}`)
	})
	mux.HandleFunc("GET /relay", func(w http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{ReadBufferSize: 64 << 10}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		s := &socket{connector: c, ws: ws, base: int(c.sent.Add(int64(c.messages))) - c.messages}
		err = s.run()
		s.traffic.err = errors.Join(err, s.missing())
		c.ended <- s.traffic
	})
	c.server = &http.Server{Handler: mux}
	go c.server.Serve(ln)
	return c, nil
}

// close cuts what is still open.
func (c *connector) close() { c.server.Close() }

// socket is the connection of one gateway. Messages are numbered from base.
type socket struct {
	traffic
	*connector
	ws          *websocket.Conn
	out         chan string
	base        int
	sent, acked int
	done        []bool // for each message, whether it was answered
	answers     int
}

// fromGateway has those members of a gateway's frame that matter here.
type fromGateway struct {
	Type      string `json:"type"`
	BufferID  string `json:"bufferId"`
	RequestID string `json:"requestId"`
	Action    struct {
		Op      string `json:"op"`
		Content string `json:"content"`
	} `json:"action"`
}

func (s *socket) run() error {
	s.out = make(chan string, 4*window) // never full: the window limits what can wait
	s.done = make([]bool, s.messages)
	var writing sync.WaitGroup
	writing.Go(s.write)
	defer writing.Wait()
	defer close(s.out)
	for {
		_, message, err := s.ws.ReadMessage()
		if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			return nil
		}
		if err != nil {
			return err
		}
		var f fromGateway
		if err := json.Unmarshal(message, &f); err != nil {
			return fmt.Errorf("the gateway sent %q: %w", message, err)
		}
		if err := s.take(f); err != nil {
			return err
		}
	}
}

func (s *socket) take(f fromGateway) error {
	switch f.Type {
	case relay.TypeHello:
		s.out <- `{"type":"descriptor","descriptor":{"contract_version":1,"platform":"discord","label":"Discord",` +
			`"max_message_length":2000,"supports_edit":true,"markdown_dialect":"discord","len_unit":"chars",` +
			`"supported_ops":["send","edit","typing"]}}` + "\n"
		s.first = time.Now()
		for range min(window, s.messages) {
			s.send()
		}
	case relay.TypeInboundAck:
		if f.BufferID != bufferID(s.base+s.acked) {
			return fmt.Errorf("%s was acked, but %s is next", f.BufferID, bufferID(s.base+s.acked))
		}
		s.acked++
		s.last = time.Now()
		if s.sent < s.messages {
			s.send()
		}
	case relay.TypeOutbound:
		if err := s.act(f); err != nil {
			return err
		}
		s.out <- `{"type":"outbound_result","requestId":"` + f.RequestID + `","result":{"success":true,"message_id":"m"}}` + "\n"
	case relay.TypeGoingIdle:
		s.out <- `{"type":"going_idle_ack"}` + "\n"
	}
	return nil
}

func (s *socket) act(f fromGateway) error {
	switch f.Action.Op {
	case "typing":
		if s.typing.IsZero() {
			s.typing = time.Now()
			if s.typed != nil {
				s.typed()
			}
		}
	case "send":
		digits, _, _ := strings.Cut(f.Action.Content, " ")
		n, err := strconv.Atoi(digits)
		if n -= s.base; err != nil || n < 0 || n >= s.messages || s.done[n] {
			return fmt.Errorf("an answer to an unknown message, or a second answer to one: %q", f.Action.Content)
		}
		s.done[n] = true
		s.answers++
		s.last = time.Now()
		if s.answered != nil {
			s.answered(s.base + n)
		}
	}
	return nil
}

// missing returns an error if the socket ended before everything was acked and answered.
func (s *socket) missing() error {
	if s.acked < s.messages || s.answers < s.messages {
		return fmt.Errorf("of %d messages %d were acked and %d answered", s.messages, s.acked, s.answers)
	}
	return nil
}

// send sends the next message, whose frame has about 450 bytes.
func (s *socket) send() {
	n := s.base + s.sent
	s.sent++
	chat := 1_279_405_817_232_195_000 + n%s.chats
	s.out <- fmt.Sprintf(`{"type":"inbound","event":{"text":"%07d %s","message_type":"text",`+
		`"message_id":"%d","reply_to_message_id":null,"source":{"platform":"discord","chat_id":"%d","chat_type":"group",`+
		`"chat_name":"general","user_id":"301111222233334444","user_name":"Ada","thread_id":null,"chat_topic":null,`+
		`"scope_id":"900000000000000001","guild_id":"900000000000000001"}},"bufferId":"%s"}`+"\n",
		n, strings.Repeat("lorem ipsum ", 4), 1_279_405_817_233_000_000+n, chat, bufferID(n))
}

func bufferID(n int) string { return fmt.Sprintf("b-%07d", n) }

// write sends what is queued. Frames that wait together go out in one write.
func (s *socket) write() {
	var buf []byte
	for line := range s.out {
		buf = appendText(buf[:0], line)
		for len(s.out) > 0 && len(buf) < gather {
			buf = appendText(buf, <-s.out)
		}
		s.ws.NetConn().Write(buf) // if this fails, the reader fails, too
	}
}

// appendText appends a text message as a server sends it, unmasked.
func appendText(to []byte, text string) []byte {
	to = append(to, 0x81)
	if len(text) < 126 {
		to = append(to, byte(len(text)))
	} else {
		to = append(to, 126)
		to = binary.BigEndian.AppendUint16(to, uint16(len(text)))
	}
	return append(to, text...)
}
