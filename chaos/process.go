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
func (r *run) process(peer net.Addr) int {
	addr, ok := peer.(*net.TCPAddr)
	if !ok {
		return 0
	}
	socket := socketAt(addr)
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

// socketAt is what the kernel calls the socket with that local address.
func socketAt(addr *net.TCPAddr) string {
	ip := addr.IP.To4()
	if ip == nil {
		return ""
	}
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], addr.Port)
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 9 && fields[1] == local {
			return "socket:[" + fields[9] + "]"
		}
	}
	return ""
}
