package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	window = 2048 // unacked frames on the way
	burst  = 128  // frames to a write
	warmUp = 1000 // round trips that do not count
	turn   = 50   // round trips of one client before it is the next one's turn
)

// peer is one client's socket.
type peer struct {
	name  string
	hello time.Time // when it came
	ws    *websocket.Conn
	acks  *bufio.Reader
}

// serve is the connector's side of one measurement. It prints its address, takes as many clients as it is told to, and prints
// for each its name, when its hello came, in nanoseconds of Unix time, and nanoseconds: pipelined, from the first frame sent
// to the last ack; in lock-step, the median round trip. It uses as little CPU as it can: one write sends a whole burst of frames, and acks are counted by their headers.
func serve(stdout io.Writer) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, ln.Addr())
	arrived := make(chan peer)
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := accept(w, r)
		if err != nil {
			log.Print(err)
			os.Exit(1)
		}
		arrived <- p
	}))
	peers := make([]peer, *sockets)
	for i := range peers {
		peers[i] = <-arrived
	}
	took := make([]time.Duration, len(peers))
	if *lockstep {
		err = roundTrips(peers, took)
	} else {
		took[0], err = pipeline(peers[0])
	}
	for i, p := range peers {
		fmt.Fprintln(stdout, p.name, p.hello.UnixNano(), took[i].Nanoseconds())
		p.close()
	}
	return err
}

func accept(w http.ResponseWriter, r *http.Request) (peer, error) {
	upgrader := websocket.Upgrader{ReadBufferSize: 4096}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return peer{}, err
	}
	if _, _, err := ws.ReadMessage(); err != nil { // hello; nothing follows it, so gorilla's buffer is empty again
		return peer{}, err
	}
	hello := time.Now()
	descriptor := []byte(`{"type":"descriptor","descriptor":{"contract_version":1,"platform":"discord","label":"Discord",` +
		`"max_message_length":2000,"supports_draft_streaming":false,"supports_edit":true,"supports_threads":true,` +
		`"markdown_dialect":"discord","len_unit":"chars","emoji":"","platform_hint":"","pii_safe":false}}` + "\n")
	if err := ws.WriteMessage(websocket.TextMessage, descriptor); err != nil {
		return peer{}, err
	}
	name := strings.Trim(strings.TrimSuffix(r.URL.Path, "/relay"), "/")
	return peer{name, hello, ws, bufio.NewReaderSize(ws.NetConn(), 64<<10)}, nil
}

// close sends a close frame and waits until the client has closed.
func (p peer) close() {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	p.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second))
	p.ws.NetConn().SetReadDeadline(time.Now().Add(5 * time.Second))
	io.Copy(io.Discard, p.acks)
	p.ws.Close()
}

// frame appends the payload as one unmasked text message.
func frame(to []byte, n int) []byte {
	to = append(to, 0x81, 126)
	to = binary.BigEndian.AppendUint16(to, uint16(len(payload)))
	to = append(to, payload...)
	id := to[len(to)-len(payload)+idAt+len("b-"):]
	for i := 6; i >= 0; i-- {
		id[i] = byte('0' + n%10)
		n /= 10
	}
	return to
}

// readAck skips one masked message of fewer than 126 bytes.
func readAck(acks *bufio.Reader) error {
	header, err := acks.Peek(2)
	if err != nil {
		return err
	}
	length := int(header[1] & 0x7f)
	if header[0] != 0x81 || length > 125 {
		return errors.New("the client sent something that is not an ack")
	}
	_, err = acks.Discard(2 + 4 + length)
	return err
}

func pipeline(p peer) (time.Duration, error) {
	var acked atomic.Int64
	moved := make(chan struct{}, 1)
	failed := make(chan error, 1)
	start := time.Now()
	go func() {
		for range *frames {
			if err := readAck(p.acks); err != nil {
				failed <- err
				return
			}
			acked.Add(1)
			if p.acks.Buffered() == 0 {
				select {
				case moved <- struct{}{}:
				default:
				}
			}
		}
		failed <- nil
	}()
	var out []byte
	for sent := 0; sent < *frames; {
		n := min(burst, *frames-sent, window-(sent-int(acked.Load())))
		if n <= 0 {
			select {
			case <-moved:
			case err := <-failed:
				return 0, fmt.Errorf("after %d frames: %w", sent, err)
			}
			continue
		}
		out = out[:0]
		for range n {
			out = frame(out, sent)
			sent++
		}
		if _, err := p.ws.NetConn().Write(out); err != nil {
			return 0, err
		}
	}
	err := <-failed
	return time.Since(start), err
}

// roundTrips lets the clients take turns, a few round trips each, so that other load of the machine affects all of them.
func roundTrips(peers []peer, median []time.Duration) error {
	times := make([][]time.Duration, len(peers))
	var out []byte
	for n := 0; n < warmUp+*trips; n += turn {
		for i, p := range peers {
			for range turn {
				out = frame(out[:0], n)
				start := time.Now()
				if _, err := p.ws.NetConn().Write(out); err != nil {
					return err
				}
				if err := readAck(p.acks); err != nil {
					return err
				}
				if n >= warmUp {
					times[i] = append(times[i], time.Since(start))
				}
			}
		}
	}
	for i := range peers {
		slices.Sort(times[i])
		median[i] = times[i][len(times[i])/2]
	}
	return nil
}
