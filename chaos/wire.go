package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// wire is the way from the gateway to the connector.
type wire struct {
	net.Listener
	target string
	wg     sync.WaitGroup

	mu    sync.Mutex
	lines map[*line]struct{}
}

// line is one connection. Once it is muted nothing that the gateway says gets through.
type line struct {
	gateway, connector net.Conn
	muted              atomic.Bool
}

func (l *line) cut() { l.gateway.Close(); l.connector.Close() }

func newWire(target string) (*wire, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{Listener: ln, target: target, lines: map[*line]struct{}{}}
	w.wg.Go(w.serve)
	return w, nil
}

func (w *wire) serve() {
	for {
		gateway, err := w.Accept()
		if err != nil {
			return
		}
		connector, err := net.Dial("tcp", w.target)
		if err != nil {
			gateway.Close()
			continue
		}
		l := &line{gateway: gateway, connector: connector}
		w.mu.Lock()
		w.lines[l] = struct{}{}
		w.mu.Unlock()
		w.wg.Go(func() {
			io.Copy(l.gateway, l.connector)
			l.cut()
		})
		w.wg.Go(func() {
			io.Copy(l, l.gateway)
			l.cut()
			w.mu.Lock()
			delete(w.lines, l)
			w.mu.Unlock()
		})
	}
}

// Write passes on what the gateway says.
func (l *line) Write(p []byte) (int, error) {
	if l.muted.Load() {
		return len(p), nil
	}
	return l.connector.Write(p)
}

func (w *wire) each(do func(*line)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.lines {
		do(l)
	}
}

func (w *wire) close() {
	w.Close()
	w.each((*line).cut)
	w.wg.Wait()
}
