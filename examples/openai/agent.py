"""An HTTP agent that forwards each turn to an OpenAI-compatible chat endpoint and shows the reply while it grows. It needs the
standard library only. Put it behind TLS, and verify the signature, before it is reachable from elsewhere.

    PORT=8080 OPENAI_BASE_URL=https://api.openai.com/v1 OPENAI_API_KEY=... OPENAI_MODEL=... python3 agent.py"""
import json
import os
from collections import defaultdict, deque
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import TextIOWrapper
from itertools import chain
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, urlopen

URL = os.environ["OPENAI_BASE_URL"].rstrip("/") + "/chat/completions"
KEY = os.environ.get("OPENAI_API_KEY", "")
HTTPRedirectHandler.redirect_request = lambda *_: None  # the key goes to the endpoint and nowhere else
history = defaultdict(lambda: deque(maxlen=20))  # by session, as long as this process lives


class Fault(Exception):
    """Why there is no reply: the status that the gateway gets, the reason, and a Retry-After if there is one."""


def complete(messages):
    """Yields the reply in pieces. The endpoint's own status is passed on; if it cannot be reached, that is a 502."""
    body = json.dumps({"model": os.environ.get("OPENAI_MODEL", "gpt-4o-mini"), "messages": messages, "stream": True}).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + KEY}
    try:
        with urlopen(Request(URL, body, headers), timeout=120) as response:
            yield from read(response)
    except HTTPError as e:
        reason = f"the endpoint answers {e.code}: {e.read(1000).decode(errors='replace')}"
        raise Fault(e.code if e.code >= 400 else 502, reason, e.headers["Retry-After"])
    except (OSError, HTTPException, ValueError, AttributeError, TypeError, LookupError) as e:
        raise Fault(502 if isinstance(e, URLError) else 500, f"no reply from the endpoint that can be read: {e!r}")


def read(response):
    """Yields the pieces of a stream (events, or values on a line each), or of one JSON value from an endpoint that does not stream."""
    pending, named, finished = "", False, False
    for line in map(str.strip, TextIOWrapper(response, "utf-8-sig", "replace")):
        if line.startswith("data:"):
            named, line = True, line.removeprefix("data:").strip(" \ufeff")
        elif named or not pending and not line.startswith("{"):
            pending, line = line and pending, ""  # a blank line ends an event; comments and other fields say nothing
        if line == "[DONE]":
            return
        try:
            event, pending = dict(json.loads(pending + line)), ""
        except (ValueError, TypeError):
            pending += line and line + "\n"  # it goes on, or it is no chunk but a sign of life
            continue
        if error := event.get("error") or event.get("object") == "error" and event:
            codes = [str(error.get(name)) for name in ("code", "status", "status_code")] if isinstance(error, dict) else []
            status = next((int(n) for n in codes if n in map(str, range(400, 600))), 429 if "rate_limit" in str(error) else 500)
            raise Fault(status, f"the endpoint reports {error}")
        for choice in filter(None, (event.get("choices") or [])[:1]):
            yield text(choice.get("delta") or choice.get("message"))
            finished = finished or "message" in choice or choice.get("finish_reason")
    if not finished:
        raise Fault(500, "the endpoint's reply broke off")


def text(message):
    """What the reader gets of a delta or a message, whose content is a string, a list of parts, or missing."""
    content = message and (message.get("content") or message.get("refusal")) or ""
    parts = [{"text": p} if isinstance(p, str) else p for p in ([content] if isinstance(content, dict) else content)]
    return "".join(p.get("type", "text") in ("text", "output_text") and p.get("text") or "" for p in filter(None, parts))


def reply(turn):
    """Yields actions: a send, then edits with all of the text so far. Dormouse sends as many as the platform bears."""
    descriptor, past = turn["descriptor"], history[turn["session_key"]]
    said = {"role": "user", "content": "\n\n".join(filter(None, [turn.get("context"), turn["event"]["text"]]))}
    edits = descriptor["supports_edit"] and "edit" in descriptor.get("supported_ops", ["edit"])
    op, so_far = "edit" if turn["delivery"].get("sent") else "send", ""  # an attempt before this one may have begun the message
    for piece in complete([*past, said]):
        so_far += piece
        if edits and piece and so_far.strip():
            yield {"op": op, "content": so_far}
            op = "edit"
    if not edits and so_far.strip():
        yield {"op": "send", "content": so_far}
    past.extend([said, {"role": "assistant", "content": so_far}])


class Agent(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, and a reply that breaks off does not look like a whole one

    def do_POST(self):
        turn = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        actions, first = reply(turn) if turn["event"]["text"] else iter(()), None
        try:
            first = next(actions, {})
            self.head(200, {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"})
            for action in filter(None, chain([first], actions)):
                line = json.dumps(action).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        except Fault as fault:
            status, reason, *retry_after = fault.args
            reason = " ".join(reason.replace(KEY or "\0", "[key]").split())[:200].encode(errors="replace")
            self.log_error("%d: %s", status, reason.decode())
            self.close_connection = True  # also without the last chunk, which tells the gateway that more was to come
            if first is None:  # nothing has been said yet
                self.head(status, {"Content-Length": len(reason), "Connection": "close", "Retry-After": retry_after and retry_after[0]})
                self.wfile.write(reason)

    def head(self, status, headers):
        self.send_response(status)
        for header in filter(all, headers.items()):
            self.send_header(*header)
        self.end_headers()


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Agent)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
