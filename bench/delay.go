package main

import (
	"net"
	"sync"
	"time"
)

// delay is a TCP proxy that adds a round trip's time: half of it in each direction. It also waits a whole round trip before
// it forwards the first bytes of a connection, because the TCP handshake with a proxy on the same machine takes no time.
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

// close returns once all connections have ended. Their two ends must have closed them.
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

// chunk is bytes that are on their way; nil bytes mean the end.
type chunk struct {
	bytes []byte
	due   time.Time
}

// forward copies bytes from one side to the other until from ends. Then it closes that direction of to.
func (d *delay) forward(to, from net.Conn, established time.Time) {
	way := make(chan chunk, 1024)
	var sending sync.WaitGroup
	sending.Go(func() {
		for c := range way {
			time.Sleep(time.Until(c.due))
			to.Write(c.bytes) // if this fails, the reader of that side fails, too
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
