"""A relay connector of Python's standard library alone, written from docs/contract.md, whose sections the comments name.

    python3 connector.py --gateways gateways.json --state connector.db

Its platform is HTTP: POST /deliver {"gateway","event"} on the control port is somebody who writes, GET /said is what the bots
did. gateways.json lists {"id","secret","wakeUrl"}; with --identity TENANT=TOKEN gateways may provision, too. What waits for a gateway
is in the file of --state, so a restart loses nothing. The control port has no password: keep it on loopback.
"""
import argparse
import asyncio
import base64
import collections
import hashlib
import hmac
import json
import secrets
import sqlite3
import struct
import time
import urllib.request

LARGEST = 16 << 20  # bytes of a message
PING, GONE = 30, 60  # seconds: a ping so often, and a socket that has been silent for so long is dead (section 3)
OPS = ["send", "edit", "delete", "typing", "react", "get_chat_info"]


class Socket:
    """The server's end of a WebSocket (RFC 6455), without extensions."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.heard, self.open = reader, writer, time.monotonic(), True
        self.fronts = set()  # the platforms of its hellos

    async def message(self):
        """The next message, or None at the end."""
        whole = b""
        while True:
            head = await self.reader.readexactly(2)
            size = head[1] & 127
            if size > 125:
                size, = struct.unpack(*((">H", await self.reader.readexactly(2)) if size == 126 else (">Q", await self.reader.readexactly(8))))
            if not head[1] & 128 or size + len(whole) > LARGEST:
                return self.close(*((1009, "message too large") if head[1] & 128 else (1002, "frame without mask")))
            mask, data = await self.reader.readexactly(4), await self.reader.readexactly(size)
            mask = (mask * (size // 4 + 1))[:size]
            data = (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
            self.heard, kind = time.monotonic(), head[0] & 15
            if kind == 8:
                self.frame(8, data[:2])
                return self.writer.close()
            if kind == 9:
                self.frame(10, data)
            elif kind < 3:
                whole += data
                if head[0] & 128:
                    return whole

    def frame(self, kind, data):
        if not self.open:
            return
        size = len(data)
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536 else b"\x7f" + struct.pack(">Q", size)
        self.writer.write(bytes([128 | kind]) + length + data)
        self.open = kind != 8

    def send(self, **fields):
        self.frame(1, json.dumps(fields).encode() + b"\n")  # one object a line (section 3)

    def close(self, code, reason):
        self.frame(8, struct.pack(">H", code) + reason.encode())
        asyncio.get_running_loop().call_later(1, self.writer.close)  # its own close frame may come until then


class Gateway:
    """One gateway: its seat, what waits for it, and its wake URL."""

    def __init__(self, connector, id, secret, wake, idle):
        self.connector, self.id, self.secret, self.wake, self.idle = connector, id, secret, wake, idle
        self.socket = self.in_flight = self.timer = None
        self.poked = -1e9
        self.results = collections.OrderedDict()  # by requestId

    def sql(self, text, *values):
        return self.connector.db.execute(text, (self.id, *values)).fetchall()

    def next(self):
        return (self.sql("select seq, frame from buffer where gateway = ? order by seq limit 1") or [None])[0]

    def take_seat(self, socket):
        """The newer socket stays: the older one may be that of a dead process (section 19)."""
        if self.socket:
            self.socket.close(4000, "replaced by a new dial")
        self.socket, self.in_flight = socket, None
        self.flip(False)
        self.pump()

    def flip(self, idle):
        self.idle = idle
        self.sql("update gateways set idle = ?2 where id = ?1", idle)

    def deliver(self, kind, **fields):
        """Live while the gateway is connected and nothing waits, else buffered: also when it vanished without going_idle."""
        if self.socket and not self.idle and not self.next():
            return self.socket.send(type=kind, **fields)
        self.sql("insert into buffer (gateway, frame) values (?, ?)", json.dumps({"type": kind, **fields}))
        self.pump()
        self.poke()

    def pump(self):
        """One entry is in flight. The next one goes out after its ack, and nothing after going_idle (section 12)."""
        row = self.next()
        if self.socket and not self.idle and not self.in_flight and row:
            self.in_flight = f"b{row[0]}"
            self.socket.send(**json.loads(row[1]), bufferId=self.in_flight)

    def ack(self, id):
        if isinstance(id, str) and id == self.in_flight:  # a number, or another id, changes nothing (section 19)
            self.sql("delete from buffer where gateway = ? and seq = ?", int(id[1:]))
            self.in_flight = None
            self.pump()

    def poke(self):
        """Once in a cooldown, as long as something waits and the gateway stays away: a poke may fail or come too early."""
        if self.wake and not self.timer:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_later(max(0, self.poked + self.connector.cooldown - time.monotonic()), self.poke_now)

    def poke_now(self):
        self.timer = None
        if self.next() and (self.idle or not self.socket):
            self.poked = time.monotonic()
            self.connector.spawn(asyncio.to_thread(get, self.wake))
            self.poke()

    def act(self, frame):
        """The result of an outbound frame. A requestId that comes again is answered as before, and not done again."""
        id = frame.get("requestId")
        if id not in self.results:
            self.results[id] = self.done(frame)
            if len(self.results) > 1000:
                self.results.popitem(last=False)
        return self.results[id]

    def done(self, frame):
        action = frame.get("action") if isinstance(frame.get("action"), dict) else {}
        op, chat = action.get("op"), action.get("chat_id")
        if frame.get("platform") not in (None, *self.socket.fronts):
            return refused("platform not fronted")
        if op not in OPS:
            return refused(f"unsupported op: {op}")
        if not isinstance(chat, str) or op in ("send", "edit") and not isinstance(action.get("content"), str):
            return refused("chat_id or content is missing")
        known = self.sql("select name, type from chats where gateway = ? and chat = ?", chat)
        if not known:  # only who has written to this gateway is written to (section 11)
            return refused("egress declined: this chat has never written to this gateway", code="egress_declined")
        if op == "get_chat_info":
            return {"success": True, "chat_info": {"name": known[0][0], "type": known[0][1]}}
        said = self.connector.said
        if op in ("edit", "delete") and not any(s["message_id"] == action.get("message_id") and s["chat"] == chat for s in said):
            return refused(f"message to {op} not found")
        message = f"m{secrets.token_hex(8)}" if op == "send" else str(action.get("message_id"))
        said.append({"gateway": self.id, "chat": chat, "message_id": message, "action": action})
        return {"success": True, "message_id": message}


def refused(why, **more):
    return {"success": False, "error": why, **more}


def get(url):
    """A poke: a GET without content, whose answer says nothing (section 12)."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "example-connector"}), timeout=10).close()
    except (OSError, ValueError) as error:
        print(f"poking {url.split('?')[0][:40]}: {error}", flush=True)


class Connector:
    def __init__(self, platforms, cooldown, state, identities, pinned):
        self.platforms, self.cooldown, self.identities = platforms, cooldown, identities
        self.said, self.tasks = collections.deque(maxlen=1000), set()
        self.db = sqlite3.connect(state, isolation_level=None)
        self.db.executescript("""
            create table if not exists gateways (id text primary key, secret text, wake text, idle bool, tenant text, platforms text);
            create table if not exists chats (gateway text, chat text, name text, type text, primary key (gateway, chat));
            create table if not exists buffer (seq integer primary key autoincrement, gateway text, frame text);""")
        self.gateways = {}
        for id, secret, wake, idle in self.db.execute("select id, secret, wake, idle from gateways").fetchall():
            self.gateways[id] = Gateway(self, id, secret, wake, idle)
        for g in pinned:
            self.add(g["id"], g["secret"], g.get("wakeUrl", ""), "", [])

    def add(self, id, secret, wake, tenant, platforms):
        old = self.gateways.get(id)
        self.db.execute("replace into gateways values (?, ?, ?, ?, ?, ?)", (id, secret, wake, bool(old and old.idle), tenant, json.dumps(platforms)))
        if old:
            old.secret, old.wake = secret, wake
        else:
            self.gateways[id] = Gateway(self, id, secret, wake, False)

    def spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def authorised(self, token):
        """The gateway of an upgrade token, or None and why not. The id may have colons: split from the right (section 2)."""
        try:
            id, exp, signature = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().rsplit(":", 2)
            gateway, end = self.gateways[id], int(exp)
        except (ValueError, KeyError):
            return None, "unauthorized"
        want = hmac.digest(gateway.secret.encode(), f"{id}:{exp}".encode(), hashlib.sha256).hex()
        if not hmac.compare_digest(want.encode(), signature.encode()):
            return None, "unauthorized"
        return (None, "expired") if end and end <= time.time() else (gateway, "")

    async def session(self, socket, token):
        """Refusals are closes after the upgrade, so that the gateway can tell them apart (section 13)."""
        gateway, why = self.authorised(token)
        if not gateway:
            socket.close(4401, why)
        alive = asyncio.ensure_future(self.keepalive(socket))
        rest = b""
        try:
            while (message := await socket.message()) is not None:
                *lines, rest = (rest + message).split(b"\n")
                if len(rest) > LARGEST:
                    socket.close(1009, "line too long")
                for line in lines:
                    try:
                        frame = json.loads(line)
                    except ValueError:  # of bad UTF-8, too
                        continue
                    if isinstance(frame, dict) and socket.open:
                        self.take(gateway, socket, frame)
                await socket.writer.drain()
        finally:
            alive.cancel()
            if gateway and gateway.socket is socket:
                gateway.socket = gateway.in_flight = None
                gateway.poke()

    def take(self, gateway, socket, frame):
        kind, platform = frame.get("type"), frame.get("platform")
        if kind == "hello" and isinstance(platform, str):
            first = not socket.fronts
            if platform in self.platforms:
                socket.fronts.add(platform)
            socket.send(type="descriptor", descriptor={
                "contract_version": 1, "platform": platform, "label": "Example", "max_message_length": 4096, "len_unit": "chars",
                "supports_draft_streaming": False, "supports_edit": True, "supports_threads": False, "markdown_dialect": "plain",
                "supported_ops": OPS,
            })
            if first and socket.fronts:  # a second hello takes no seat and ends no flip
                gateway.take_seat(socket)
        elif gateway.socket is not socket:
            return  # a dial has the seat from its first hello on
        elif kind == "outbound" and isinstance(frame.get("requestId"), str):
            socket.send(type="outbound_result", requestId=frame["requestId"], result=gateway.act(frame))
        elif kind == "inbound_ack":
            gateway.ack(frame.get("bufferId"))
        elif kind == "going_idle":
            gateway.flip(True)
            socket.send(type="going_idle_ack")

    async def keepalive(self, socket):
        while time.monotonic() - socket.heard < GONE:
            socket.frame(9, b"")
            await asyncio.sleep(PING)
        socket.writer.transport.abort()  # the gateway is gone, and its seat is free

    def provision(self, token, body):
        """(section 14) Whoever is not of the gateway's tenant gets no secret, and changes nothing."""
        tenant = next((name for known, name in self.identities.items() if hmac.compare_digest(known.encode(), token.encode())), None)
        if not tenant:
            return 401, {"error": "this identity token is not known"}
        id, platform, wake = (body.get(name) or "" for name in ("gatewayId", "platform", "wakeUrl"))
        if not all(isinstance(text, str) for text in (id, platform, wake)) or not id:
            return 400, {"error": "gatewayId is missing, or a field is no text"}
        if wake and not wake.startswith(("https://", "http://")):
            return 400, {"error": "wakeUrl is not an http or https URL"}
        answer = {"gatewayId": id, "tenant": tenant, "routeKeys": body.get("routeKeys", [])}
        row = self.db.execute("select tenant, secret, wake, platforms from gateways where id = ?", (id,)).fetchone()
        owner, secret, before, platforms = row or (tenant, secrets.token_urlsafe(32), "", "[]")
        known = json.loads(platforms)
        if owner != tenant:
            return 200, answer | {"secretIssued": False}
        self.add(id, secret, wake or before, tenant, sorted({*known, platform}))
        if known and platform not in known:  # a further platform of a gateway that has its secret
            return 200, answer | {"secretIssued": False}
        return 200, answer | {"secretIssued": True, "secret": secret, "deliveryKey": ""}

    def deliver(self, body):
        gateway, event = self.gateways.get(body.get("gateway")), body.get("event")
        if not gateway or not isinstance(event, dict):
            return 404, {"error": "no such gateway, or no event"}
        always = ["platform", "chat_id", "chat_type", "chat_name", "user_id", "user_name", "thread_id", "chat_topic"]  # section 6
        source = dict.fromkeys(always) | (event.get("source") or {})
        if not isinstance(source["chat_id"], str):
            return 400, {"error": "the source has no chat_id"}
        self.db.execute("replace into chats values (?, ?, ?, ?)",
                        (gateway.id, source["chat_id"], source["chat_name"] or source["chat_id"], source["chat_type"] or "dm"))
        gateway.deliver("inbound", event=event | {"source": source})
        return 202, {}

    async def http(self, reader, writer, control):
        try:
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            token = headers.get("authorization", "").removeprefix("Bearer ")
            if headers.get("upgrade", "").lower() == "websocket" and path == "/relay" and not control:  # section 1: nowhere else
                accept = base64.b64encode(hashlib.sha1((headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
                return await self.session(Socket(reader, writer), token)
            size = int(headers.get("content-length", 0))
            if not 0 <= size <= LARGEST:
                raise ValueError("this is too much")
            body = json.loads(await asyncio.wait_for(reader.readexactly(size), 30) or "{}")
            status, answer = self.answer(method, path, token, body if isinstance(body, dict) else {}, control)
        except (ValueError, KeyError) as error:
            status, answer = 400, {"error": str(error)}
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError, OSError):
            return writer.close()
        raw = json.dumps(answer).encode()
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\nConnection: close\r\n\r\n".encode() + raw)
        writer.close()

    def answer(self, method, path, token, body, control):
        if (method, path) == ("POST", "/deliver") and control:
            return self.deliver(body)
        if (method, path) == ("GET", "/said") and control:
            return 200, list(self.said)
        if (method, path) == ("POST", "/relay/provision") and not control and self.identities:
            return self.provision(token, body)
        return (400 if path.startswith("/relay/") and method == "GET" else 404), {"error": "there is nothing here"}


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=int, default=8787, help="port for gateways")
    parser.add_argument("--control", type=int, default=8788, help="port for the platform")
    parser.add_argument("--platform", action="append", help="that the bots are on; may be repeated (discord)")
    parser.add_argument("--gateways", help="FILE with a list of id, secret and wakeUrl")
    parser.add_argument("--identity", action="append", default=[], metavar="TENANT=TOKEN", help="who may provision; may be repeated")
    parser.add_argument("--state", default=":memory:", help="FILE for what waits")
    parser.add_argument("--cooldown", type=float, default=60, help="seconds between two pokes of a gateway")
    args = parser.parse_args()
    pinned = []
    if args.gateways:
        with open(args.gateways, encoding="utf-8") as file:
            pinned = json.load(file)
    identities = {token: tenant for tenant, _, token in (identity.partition("=") for identity in args.identity)}
    connector = Connector(args.platform or ["discord"], args.cooldown, args.state, identities, pinned)
    servers = [await asyncio.start_server(lambda r, w, c=c: connector.http(r, w, c), "127.0.0.1", port) for port, c in ((args.listen, False), (args.control, True))]
    for gateway in connector.gateways.values():
        gateway.poke()  # for what was left by the run before
    print("listening on", *(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())
