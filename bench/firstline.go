package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"
	"github.com/go-json-experiment/json"
	"github.com/gorilla/websocket"

	"github.com/dormouse-relay/dormouse/pkg/relay"
)

const streams = 300 // of each figure (h)

// way is how an agent is asked that streams.
type way struct {
	what       string
	comparator string
	env        func(url string) map[string]string // of drain, for an agent behind that URL
	write      func(w http.ResponseWriter, line []byte)
	end        func(w http.ResponseWriter)
	read       func(body io.Reader) (line []byte, err error) // the comparator's
}

// streamWays are those of figure (h).
var streamWays = []way{
	{
		what: "(h) an agent's first line to the connector's socket", comparator: "bare HTTP client and socket",
		env: func(url string) map[string]string { return map[string]string{"DORMOUSE_AGENT": url} },
		write: func(w http.ResponseWriter, line []byte) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.Write(line)
		},
		end:  func(http.ResponseWriter) {},
		read: func(body io.Reader) ([]byte, error) { return bufio.NewReader(body).ReadBytes('\n') },
	},
	{
		what: "(h) the same of a Lambda response stream", comparator: "bare HTTP client and event stream decoder",
		env: func(url string) map[string]string {
			return map[string]string{
				"DORMOUSE_AGENT": "lambda:agent", "DORMOUSE_AGENT_STREAM": "on", "AWS_ENDPOINT_URL_LAMBDA": url,
			}
		},
		write: func(w http.ResponseWriter, line []byte) {
			w.Header().Set("Content-Type", "application/octet-stream") // as of a function that says nothing of it
			streamEvent(w, "PayloadChunk", line)
		},
		end: func(w http.ResponseWriter) { streamEvent(w, "InvokeComplete", []byte("{}")) },
		read: func(body io.Reader) ([]byte, error) {
			message, err := eventstream.NewDecoder().Decode(body, nil)
			return message.Payload, err
		},
	},
}

// streamEvent writes a message of Lambda's event stream.
func streamEvent(w io.Writer, kind string, payload []byte) {
	message := eventstream.Message{Payload: payload}
	message.Headers.Set(eventstreamapi.MessageTypeHeader, eventstream.StringValue(eventstreamapi.EventMessageType))
	message.Headers.Set(eventstreamapi.EventTypeHeader, eventstream.StringValue(kind))
	eventstream.NewEncoder().Encode(w, message) // if nobody is there any more, the run ends
}

// firstLines are the figures (h): from an agent's write of the first line of a stream to the action's arrival at the
// connector. The agent ends its stream only once the action is there, so a drain that waited for the end would wait for ever.
func (b *bench) firstLines(ctx context.Context) (figures []figure, err error) {
	for _, how := range streamWays {
		f, err := b.firstLine(ctx, how)
		if err != nil {
			return nil, err
		}
		figures = append(figures, f)
	}
	return figures, nil
}

func (b *bench) firstLine(ctx context.Context, how way) (figure, error) {
	left, arrived := map[int]time.Time{}, map[int]time.Time{} // no lock: there is one message at a time, handed on by channels
	seen := make(chan int, 1)
	agent, stop, err := serveAgent(func(w http.ResponseWriter, text string) { streamLine(w, how, text, left, seen) })
	if err != nil {
		return figure{}, err
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
		env := how.env(agent)
		env["DORMOUSE_CONCURRENCY"] = "1"
		g, err := b.newGateway(ctx, c.url, cpu{1, 1}, env)
		if err != nil {
			return err
		}
		defer g.close()
		_, err = g.poke(ctx, c)
		return err
	})
	if err != nil {
		return figure{}, err
	}
	bare, err := measure(func(c *connector) error {
		if err := bareStreams(c.url, agent, how); err != nil {
			return fmt.Errorf("bare client: %w", err)
		}
		return (<-c.ended).err
	})
	if err != nil {
		return figure{}, err
	}
	f := figure{what: how.what, measured: spreadOf(drain), unit: "ms"}
	f = f.against(how.comparator, spreadOf(bare))
	slowest := slices.Max(drain)
	log.Printf("    slowest of %d: %s", streams, once(slowest).in("ms"))
	return f.atMost(slowest, 20, "ms, the slowest"), nil
}

// streamLine answers with a stream of one line and notes when the line left. It ends the stream once the connector has the
// action.
func streamLine(w http.ResponseWriter, how way, text string, left map[int]time.Time, seen <-chan int) {
	raw, _ := json.Marshal(map[string]string{"text": text})
	left[numberOf(text)] = time.Now()
	how.write(w, append(raw, '\n'))
	http.NewResponseController(w).Flush()
	select {
	case <-seen:
	case <-time.After(timeLimit):
	}
	how.end(w)
}

// bareStreams passes each message to the agent and the first line of its answer to the socket, and does nothing else.
func bareStreams(connector, agent string, how way) error {
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
			line, err := how.read(res.Body)
			var said struct {
				Text string `json:"text"`
			}
			err = errors.Join(err, json.Unmarshal(line, &said), write(bareAction(&requests, f.Event, "send", said.Text)))
			_, end := io.Copy(io.Discard, res.Body)
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
