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
	pids  map[string]int // of the process behind a connection, by the address that the connector sees
}

// line is one connection. Once it is muted nothing that the gateway says gets through.
type line struct {
	gateway, connector net.Conn
	muted              atomic.Bool
}

func (l *line) cut() { l.gateway.Close(); l.connector.Close() }

// newWire listens for gateways. process says whose connection one is.
func newWire(target string, process func(net.Conn) int) (*wire, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{Listener: ln, target: target, lines: map[*line]struct{}{}, pids: map[string]int{}}
	w.wg.Go(func() { w.serve(process) })
	return w, nil
}

func (w *wire) serve(process func(net.Conn) int) {
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
		w.pids[connector.LocalAddr().String()] = process(gateway)
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

// process is that behind a connection to the connector; 0 if it is not known.
func (w *wire) process(remote string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pids[remote]
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
