package main

import (
	"net"
	"sync"
	"time"
)

// delay is a TCP proxy that adds a round trip's time: half of it each way, and the whole of it before a connection's
// first bytes can be on their way, since the handshake with a proxy on the same machine costs nothing.
type delay struct {
	ln     net.Listener
	target string
	rtt    time.Duration
	wg     sync.WaitGroup
}

func newDelay(target string, rtt time.Duration) (*delay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &delay{ln: ln, target: target, rtt: rtt}
	d.wg.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			d.wg.Go(func() { d.serve(near) })
		}
	})
	return d, nil
}

func (d *delay) addr() string { return d.ln.Addr().String() }

// close returns once all connections have ended, for which their ends must have closed them.
func (d *delay) close() {
	d.ln.Close()
	d.wg.Wait()
}

func (d *delay) serve(near net.Conn) {
	defer near.Close()
	established := time.Now().Add(d.rtt)
	far, err := net.Dial("tcp", d.target)
	if err != nil {
		return
	}
	defer far.Close()
	var back sync.WaitGroup
	back.Go(func() { d.forward(near, far, established) })
	d.forward(far, near, established)
	back.Wait()
}

// chunk is bytes on their way; nil at the end.
type chunk struct {
	bytes []byte
	due   time.Time
}

// forward copies from one side to the other until from ends, then ends to in that direction.
func (d *delay) forward(to, from net.Conn, established time.Time) {
	way := make(chan chunk, 1024)
	var sending sync.WaitGroup
	sending.Go(func() {
		for c := range way {
			time.Sleep(time.Until(c.due))
			to.Write(c.bytes) // a failure is met by whoever reads there
		}
		to.(*net.TCPConn).CloseWrite()
	})
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		sent := time.Now()
		if sent.Before(established) {
			sent = established
		}
		if n > 0 {
			way <- chunk{append([]byte(nil), buf[:n]...), sent.Add(d.rtt / 2)}
		}
		if err != nil {
			break
		}
	}
	close(way)
	sending.Wait()
}
