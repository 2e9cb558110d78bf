"""Prints as many free ports of loopback as its argument says. They are below those that the kernel gives to whoever asks for
any, so that no connection takes one before it is listened on."""

import random
import socket
import sys

try:
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        end = int(f.read().split()[0])
except OSError:  # not Linux
    end = 32768
held = []
while len(held) < int(sys.argv[1]):
    server = socket.socket()
    try:
        server.bind(("127.0.0.1", random.randrange(10000, end) if end > 12000 else 0))
    except OSError:
        continue
    held.append(server)
print(*(server.getsockname()[1] for server in held))
