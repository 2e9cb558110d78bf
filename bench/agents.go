package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const (
	streams = 300 // of figure (h)

	sideBySide = 16 // turns of figure (i)
	sessions   = 200
	each       = 5 // messages
	turnTakes  = 100 * time.Millisecond
)

// serveAgent starts an HTTP agent on loopback. answer gets each turn's text.
func serveAgent(answer func(w http.ResponseWriter, text string)) (url string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var turn struct {
			Event struct {
				Text string `json:"text"`
			} `json:"event"`
		}
		if err := json.UnmarshalRead(r.Body, &turn); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, turn.Event.Text)
	})}
	go server.Serve(ln)
	return "http://" + ln.Addr().String(), func() { server.Close() }, nil
}

// streamLine answers with a stream of one line and notes when the line left. It ends the stream once the connector has the
// action.
func streamLine(w http.ResponseWriter, text string, left map[int]time.Time, seen <-chan int) {
	digits, _, _ := strings.Cut(text, " ")
	n, _ := strconv.Atoi(digits)
	w.Header().Set("Content-Type", "application/x-ndjson")
	raw, _ := json.Marshal(map[string]string{"text": text})
	left[n] = time.Now()
	w.Write(append(raw, '\n'))
	http.NewResponseController(w).Flush()
	select {
	case <-seen:
	case <-time.After(timeLimit):
	}
}

// firstLines is figure (h): from an agent's write of the first line of a stream to the action's arrival at the connector.
// The agent ends its stream only once the action is there, so a drain that waited for the end would wait for ever.
func (b *bench) firstLines(ctx context.Context) ([]figure, error) {
	left, arrived := map[int]time.Time{}, map[int]time.Time{} // no lock: there is one message at a time, handed on by channels
	seen := make(chan int, 1)
	agent, stop, err := serveAgent(func(w http.ResponseWriter, text string) { streamLine(w, text, left, seen) })
	if err != nil {
		return nil, err
	}
	defer stop()
	measure := func(run func(c *connector) error) ([]float64, error) {
		c, err := newConnector(streams, nil)
		if err != nil {
			return nil, err
		}
		defer c.close()
		clear(left)
		clear(arrived)
		c.answered = func(n int) {
			arrived[n] = time.Now()
			seen <- n
		}
		if err := run(c); err != nil {
			return nil, err
		}
		var took []float64
		for n, at := range arrived {
			took = append(took, milliseconds(at.Sub(left[n])))
		}
		return took, nil
	}
	drain, err := measure(func(c *connector) error {
		g, err := b.newGateway(ctx, c.url, cpu{1, 1}, map[string]string{"DORMOUSE_AGENT": agent, "DORMOUSE_CONCURRENCY": "1"})
		if err != nil {
			return err
		}
		defer g.close()
		_, err = g.poke(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	bare, err := measure(func(c *connector) error {
		if err := bareStreams(c.url, agent); err != nil {
			return fmt.Errorf("bare client: %w", err)
		}
		return (<-c.ended).err
	})
	if err != nil {
		return nil, err
	}
	f := figure{what: "(h) an agent's first line to the connector's socket", measured: spreadOf(drain), unit: "ms"}
	f = f.against("bare HTTP client and socket", spreadOf(bare))
	slowest := slices.Max(drain)
	log.Printf("    slowest of %d: %s", streams, once(slowest).in("ms"))
	return []figure{f.atMost(slowest, 20, "ms, the slowest")}, nil
}

// bareStreams passes each message to the agent and the first line of its answer to the socket, and does nothing else.
func bareStreams(connector, agent string) error {
	ws, _, err := websocket.DefaultDialer.Dial(strings.Replace(connector, "http", "ws", 1)+"/relay", nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	write := writer(ws)
	if err := write(relay.Hello{Type: relay.TypeHello, Platform: "discord", BotID: "1"}); err != nil {
		return err
	}
	var decoder relay.Decoder
	for requests, passed := 0, 0; passed < streams; {
		_, message, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		for _, f := range decoder.Feed(message) {
			if f.Type != relay.TypeInbound {
				continue
			}
			body, err := json.Marshal(map[string]any{"event": f.Event})
			if err != nil {
				return err
			}
			res, err := http.Post(agent, "application/json", bytes.NewReader(body))
			if err != nil {
				return err
			}
			in := bufio.NewReader(res.Body)
			line, err := in.ReadBytes('\n')
			var said struct {
				Text string `json:"text"`
			}
			err = errors.Join(err, json.Unmarshal(line, &said), write(bareAction(&requests, f.Event, "send", said.Text)))
			_, end := io.Copy(io.Discard, in)
			err = errors.Join(err, end, write(relay.InboundAck{Type: relay.TypeInboundAck, BufferID: f.BufferID}))
			res.Body.Close()
			if err != nil {
				return err
			}
			passed++
		}
	}
	return ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
}

// agentTurns is figure (i): the built drain with many sessions and a slow agent. The comparator is the time that the agent
// alone takes for so many turns.
func (b *bench) agentTurns(ctx context.Context) ([]figure, error) {
	agent, stop, err := serveAgent(func(w http.ResponseWriter, text string) {
		time.Sleep(turnTakes)
		raw, _ := json.Marshal(map[string]string{"text": text})
		w.Write(raw)
	})
	if err != nil {
		return nil, err
	}
	defer stop()
	var took []float64
	for range 3 {
		c, err := newConnector(sessions*each, nil)
		if err != nil {
			return nil, err
		}
		c.chats = sessions
		err = func() error {
			defer c.close()
			g, err := b.newGateway(ctx, c.url, cpu{1, 1}, map[string]string{
				"DORMOUSE_AGENT": agent, "DORMOUSE_CONCURRENCY": strconv.Itoa(sideBySide),
			})
			if err != nil {
				return err
			}
			defer g.close()
			went, err := g.poke(ctx, c)
			took = append(took, went.traffic.last.Sub(went.traffic.first).Seconds())
			return err
		}()
		if err != nil {
			return nil, err
		}
	}
	rounds := (sessions*each + sideBySide - 1) / sideBySide
	ideal := (time.Duration(rounds) * turnTakes).Seconds()
	f := figure{
		what:     fmt.Sprintf("(i) %d sessions of %d messages, %d turns of %v side by side", sessions, each, sideBySide, turnTakes),
		measured: spreadOf(took), unit: "s",
	}
	f = f.against("the agent's time alone", once(ideal))
	return []figure{f.atMost(f.ratio, 1.15, "times")}, nil
}
