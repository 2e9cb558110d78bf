package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

const (
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

// numberOf is the number that a message's text begins with.
func numberOf(text string) int {
	digits, _, _ := strings.Cut(text, " ")
	n, _ := strconv.Atoi(digits)
	return n
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
