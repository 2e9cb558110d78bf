"""An HTTP agent that forwards each turn to an OpenAI-compatible chat endpoint and shows the reply while it grows.

    PORT=8080 OPENAI_BASE_URL=https://api.openai.com/v1 OPENAI_API_KEY=... OPENAI_MODEL=... python3 agent.py

Standard library only. Put it behind TLS, and verify the signature, before it is reachable from elsewhere.
"""
import json
import os
import urllib.request
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain

URL = os.environ["OPENAI_BASE_URL"].rstrip("/") + "/chat/completions"
MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ.get("OPENAI_API_KEY", "")}
history = defaultdict(lambda: deque(maxlen=20))  # by session, as long as this process lives


def complete(messages):
    """Yields the reply in pieces."""
    body = json.dumps({"model": MODEL, "messages": messages, "stream": True}).encode()
    with urllib.request.urlopen(urllib.request.Request(URL, body, HEADERS), timeout=120) as stream:
        for line in stream:
            data = line.decode().removeprefix("data:").strip()
            if data == "[DONE]":
                return
            if line.startswith(b"data:"):
                for choice in json.loads(data).get("choices", [])[:1]:
                    yield choice["delta"].get("content") or ""
    raise OSError("the reply broke off")


def reply(turn):
    """Yields actions: a send, then edits with all of the text so far. Dormouse sends as many as the platform bears."""
    descriptor, past = turn["descriptor"], history[turn["session_key"]]
    said = {"role": "user", "content": turn["event"]["text"]}
    if turn.get("context"):
        said["content"] = turn["context"] + "\n\n" + said["content"]
    edits = descriptor["supports_edit"] and "edit" in descriptor.get("supported_ops", ["edit"])
    op = "edit" if turn["delivery"].get("sent") else "send"  # an attempt before this one has begun the message
    text = ""
    for piece in complete([*past, said]):
        text += piece
        if edits and piece and text.strip():
            yield {"op": op, "content": text}
            op = "edit"
    if not edits and text.strip():
        yield {"op": "send", "content": text}
    past.extend([said, {"role": "assistant", "content": text}])


class Agent(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, and a reply that breaks off does not look like a whole one

    def do_POST(self):
        turn = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        actions = reply(turn) if turn["event"]["text"] else iter(())
        try:
            first = next(actions, None)
        except OSError:  # the endpoint does not answer: a 502 is asked again
            return self.send_error(502)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for action in chain([first] if first else [], actions):
            self.chunk(json.dumps(action).encode() + b"\n")
        self.chunk(b"")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Agent)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
