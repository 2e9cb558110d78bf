package main

import (
	"bytes"
	"context"
	"net"
	"strconv"

	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

// clients say hello, wait for the descriptor, ack each inbound frame and return when the connector closes.
var clients = map[string]func(url string) error{
	"conn":     connClient,
	"gathered": gatheredClient,
	"plain":    plainClient,
}

const hello = `{"type":"hello","platform":"discord","botId":"1"}` + "\n"

func connClient(url string) error {
	ctx := context.Background()
	conn, err := relay.Dial(ctx, relay.Config{
		URL:    url,
		Fronts: []relay.Front{{Platform: "discord", BotID: "1"}},
	})
	if err != nil {
		return err
	}
	for {
		d, err := conn.Receive(ctx)
		if err != nil {
			return unlessClosed(err)
		}
		if err := conn.Ack(d.BufferID); err != nil {
			return err
		}
	}
}

// gatheredClient is the comparator for Conn: one goroutine with the same decoder, which writes its acks together before it
// reads again.
func gatheredClient(url string) error {
	dialer := websocket.Dialer{
		ReadBufferSize: 64 << 10,
		NetDial: func(network, addr string) (net.Conn, error) {
			conn, err := net.Dial(network, addr)
			return &gathered{Conn: conn}, err
		},
	}
	ws, _, err := dialer.Dial(url, nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(hello)); err != nil {
		return err
	}
	var decoder relay.Decoder
	var ack []byte
	for {
		_, message, err := ws.ReadMessage()
		if err != nil {
			return unlessClosed(err)
		}
		for _, f := range decoder.Feed(message) {
			if f.Type != relay.TypeInbound {
				continue
			}
			ack = append(ack[:0], `{"type":"inbound_ack","bufferId":`...)
			ack = strconv.AppendQuote(ack, f.BufferID)
			ack = append(ack, "}\n"...)
			if err := ws.WriteMessage(websocket.TextMessage, ack); err != nil {
				return err
			}
		}
	}
}

// gathered keeps what is written until its one user reads.
type gathered struct {
	net.Conn
	pending []byte
}

func (g *gathered) Write(b []byte) (int, error) {
	g.pending = append(g.pending, b...)
	return len(b), nil
}

func (g *gathered) Read(b []byte) (int, error) {
	if len(g.pending) > 0 {
		if _, err := g.Conn.Write(g.pending); err != nil {
			return 0, err
		}
		g.pending = g.pending[:0]
	}
	return g.Conn.Read(b)
}

// plainClient decodes nothing and writes each ack by itself.
func plainClient(url string) error {
	ws, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(hello)); err != nil {
		return err
	}
	for {
		_, message, err := ws.ReadMessage()
		if err != nil {
			return unlessClosed(err)
		}
		if !bytes.Contains(message[:20], []byte(`"inbound"`)) {
			continue
		}
		id := message[idAt : idAt+len("b-0000000")]
		ack := append([]byte(`{"type":"inbound_ack","bufferId":"`), id...)
		if err := ws.WriteMessage(websocket.TextMessage, append(ack, "\"}\n"...)); err != nil {
			return err
		}
	}
}

// unlessClosed returns err, or nil if it is the close frame that ends a measurement.
func unlessClosed(err error) error {
	switch e := err.(type) {
	case *relay.CloseError:
		if e.Code == websocket.CloseNormalClosure {
			return nil
		}
	case *websocket.CloseError:
		if e.Code == websocket.CloseNormalClosure {
			return nil
		}
	}
	return err
}
