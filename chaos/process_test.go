package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/matryer/is"
)

// Two connections of one local port: a table's and an agent's, as the kernel gives a port to several of them.
func TestConnectionsThatShareAPortAreToldApart(t *testing.T) {
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		t.Skip("only Linux says whose a connection is")
	}
	is := is.New(t)
	first, firstPeer := connect(t, "127.0.0.1:0", "127.0.0.1:0")
	second, secondPeer := connect(t, first.LocalAddr().String(), "127.0.0.2:0")
	is.Equal(first.LocalAddr().String(), second.LocalAddr().String())
	is.Equal(peerSocket(firstPeer), socketOf(t, first))
	is.Equal(peerSocket(secondPeer), socketOf(t, second))
	first.Close()
	is.Equal(peerSocket(secondPeer), socketOf(t, second))
}

// connect connects from one address to a listener on the other, and returns both ends.
func connect(t *testing.T, from, to string) (conn, peer net.Conn) {
	t.Helper()
	is := is.New(t)
	ln, err := net.Listen("tcp4", to)
	is.NoErr(err)
	t.Cleanup(func() { ln.Close() })
	local, err := net.ResolveTCPAddr("tcp4", from)
	is.NoErr(err)
	dialer := net.Dialer{LocalAddr: local, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
	}}
	conn, err = dialer.DialContext(context.Background(), "tcp4", ln.Addr().String())
	is.NoErr(err)
	t.Cleanup(func() { conn.Close() })
	peer, err = ln.Accept()
	is.NoErr(err)
	t.Cleanup(func() { peer.Close() })
	return conn, peer
}

// socketOf is what the kernel calls a socket of this process.
func socketOf(t *testing.T, conn net.Conn) (name string) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	is.New(t).NoErr(err)
	raw.Control(func(fd uintptr) { name, err = os.Readlink(filepath.Join("/proc/self/fd", fmt.Sprint(fd))) })
	is.New(t).NoErr(err)
	return name
}
