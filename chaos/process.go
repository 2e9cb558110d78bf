package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/dormouse-relay/dormouse/internal/rig"
)

// process finds the drain's process at the other end of a connection from this machine; 0 if it is gone already.
func (r *run) process(conn net.Conn) int {
	socket := peerSocket(conn)
	if socket == "" {
		return 0
	}
	for _, pid := range r.host.PIDs(rig.Drain) {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, file := range files {
			if to, _ := os.Readlink(file); to == socket {
				return pid
			}
		}
	}
	return 0
}

// peerSocket is what the kernel calls the socket at the other end of a connection from this machine; empty if it is gone.
// Both ends tell it: several connections may share a local port, as long as they lead elsewhere.
func peerSocket(conn net.Conn) string {
	local, remote := kernelAddr(conn.RemoteAddr()), kernelAddr(conn.LocalAddr())
	if local == "" || remote == "" {
		return ""
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 9 && fields[1] == local && fields[2] == remote {
			return "socket:[" + fields[9] + "]"
		}
	}
	return ""
}

// kernelAddr is an IPv4 address as /proc/net/tcp writes it; empty for another one.
func kernelAddr(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return ""
	}
	ip := tcp.IP.To4()
	if ip == nil {
		return ""
	}
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], tcp.Port)
}
