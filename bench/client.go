package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// clientProcess is the comparator of figure (e): it prints its peak memory in KiB.
func clientProcess(connector string, messages int) error {
	if err := bareClient(connector, nil, false, messages); err != nil {
		return err
	}
	peak, err := peakMemory(os.Getpid())
	fmt.Println(peak)
	return err
}

// bareClient does on the wire what a drain does for a number of messages, and nothing else: it has no lease, journal,
// sessions, retries or log. Each frame is a write of its own. Provisioning and the socket share a connection, so that there
// are no more round trips than necessary. With an authority the connection is encrypted.
func bareClient(connector string, certified *authority, provision bool, messages int) error {
	u, err := url.Parse(connector)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		return err
	}
	if certified != nil {
		conn = tls.Client(conn, &tls.Config{RootCAs: certified.pool, ServerName: u.Hostname(), NextProtos: []string{"http/1.1"}})
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if provision {
		if err := barePost(conn, connector+"/relay/provision"); err != nil {
			return err
		}
	}
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return conn, nil }}
	ws, _, err := dialer.Dial("ws://"+u.Host+"/relay", nil)
	if err != nil {
		return err
	}
	return (&bareSocket{ws: ws, conn: conn, write: writer(ws), messages: messages}).run()
}

// bareSocket is a bare client once it is connected.
type bareSocket struct {
	ws       *websocket.Conn
	conn     net.Conn
	write    func(frame any) error
	messages int // how many are to be answered
	requests int // actions sent so far
	answered int // actions whose result came
	closed   bool
}

func (b *bareSocket) run() error {
	if err := b.write(relay.Hello{Type: relay.TypeHello, Platform: "discord", BotID: "1"}); err != nil {
		return err
	}
	var decoder relay.Decoder
	for !b.closed {
		_, message, err := b.ws.ReadMessage()
		if err != nil {
			return err
		}
		for _, f := range decoder.Feed(message) {
			if err := b.take(f); err != nil || b.closed {
				return err
			}
		}
	}
	return nil
}

func (b *bareSocket) take(f relay.Frame) error {
	switch f.Type {
	case relay.TypeInbound:
		ack := relay.InboundAck{Type: relay.TypeInboundAck, BufferID: f.BufferID}
		return errors.Join(b.write(bareAction(&b.requests, f.Event, "typing", "")),
			b.write(bareAction(&b.requests, f.Event, "send", f.Event.Text)), b.write(ack))
	case relay.TypeResult:
		if b.answered++; b.answered == 2*b.messages {
			return b.write(map[string]string{"type": relay.TypeGoingIdle})
		}
	case relay.TypeGoingIdleAck:
		b.closed = true
		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		if err := b.ws.WriteMessage(websocket.CloseMessage, bye); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, b.conn) // until the connector has closed
		return err
	}
	return nil
}

// writer sends each frame as a message of its own.
func writer(ws *websocket.Conn) func(frame any) error {
	return func(frame any) error {
		raw, err := json.Marshal(frame)
		if err != nil {
			return err
		}
		return ws.WriteMessage(websocket.TextMessage, append(raw, '\n'))
	}
}

func barePost(conn net.Conn, target string) error {
	body := `{"gatewayId":"gw-bench","platform":"discord","botId":"1","gatewayEndpoint":"","routeKeys":[]}`
	req, err := http.NewRequest(http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		return err
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func bareAction(requests *int, e *relay.Event, op, content string) relay.OutboundFrame {
	*requests++
	action := relay.Action{
		"op": op, "chat_id": e.Source.ChatID,
		"metadata": map[string]string{"scope_id": e.Source.ScopeID, "user_id": e.Source.UserID},
	}
	if content != "" {
		action["content"] = content
	}
	return relay.OutboundFrame{
		Type: relay.TypeOutbound, RequestID: fmt.Sprintf("%032x", *requests), Action: action,
		Platform: e.Source.Platform, BotID: "1",
	}
}

// peakMemory is the most that a process has had in memory, in KiB.
func peakMemory(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the peak memory, which needs Linux's /proc: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		}
	}
	return 0, errors.New("reading the peak memory: /proc/PID/status has no VmHWM")
}
