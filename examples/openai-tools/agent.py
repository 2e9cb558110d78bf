"""An HTTP agent on an OpenAI-compatible chat endpoint, with streaming and tools: the model may look things up before it replies.

    PORT=8080 OPENAI_BASE_URL=https://api.openai.com/v1 OPENAI_API_KEY=... OPENAI_MODEL=... python3 agent.py

Standard library only. Put it behind TLS, and verify the signature, before it is reachable from elsewhere.
"""
import json
import os
import random
from collections import defaultdict, deque
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ["OPENAI_BASE_URL"].rstrip("/") + "/chat/completions"
MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
KEY = os.environ.get("OPENAI_API_KEY", "")
ROUNDS = 5  # of tools in one turn
history = defaultdict(lambda: deque(maxlen=20))  # by session, as long as this process lives


def roll(sides=6):
    return {"sides": sides, "shows": random.randint(1, sides)}


def now():
    return {"utc": datetime.now(timezone.utc).isoformat(timespec="minutes")}


TOOLS = {"roll": (roll, "Rolls a die.", {"sides": {"type": "integer"}}), "now": (now, "Tells the time.", {})}
SCHEMAS = [
    {"type": "function", "function": {"name": name, "description": text, "parameters": {"type": "object", "properties": fields}}}
    for name, (_, text, fields) in TOOLS.items()
]


def use(call):
    """Runs a tool. What goes wrong is for the model to know, not for the chat."""
    try:
        result = TOOLS[call["function"]["name"]][0](**json.loads(call["function"]["arguments"] or "{}"))
    except Exception as fault:
        result = {"error": f"{type(fault).__name__}: {fault}"}
    return {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(result)}


def complete(messages, message):
    """Yields the reply's text in pieces, and puts the whole reply into message: its content and the tools that it calls."""
    body = json.dumps({"model": MODEL, "messages": messages, "tools": SCHEMAS, "stream": True}).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + KEY}
    finished = False
    with urlopen(Request(URL, body, headers), timeout=120) as response:
        for line in response:
            data = line.strip().removeprefix(b"data:").strip()
            if not data.startswith(b"{"):
                continue  # a sign of life, or [DONE]
            for choice in json.loads(data).get("choices", [])[:1]:
                delta, finished = choice.get("delta") or {}, finished or choice.get("finish_reason")
                for part in delta.get("tool_calls") or []:  # a call comes in pieces, too
                    calls = message.setdefault("tool_calls", [])
                    while len(calls) <= part["index"]:
                        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
                    call, function = calls[part["index"]], part.get("function") or {}
                    call["id"] += part.get("id") or ""
                    call["function"]["name"] += function.get("name") or ""
                    call["function"]["arguments"] += function.get("arguments") or ""
                message["content"] += delta.get("content") or ""
                yield delta.get("content") or ""
    if not finished:
        raise ConnectionError("the reply broke off")


def reply(turn):
    """Yields actions: a send, then edits with all of the text so far. A tool is used between two rounds of the model."""
    past, so_far = history[turn["session_key"]], ""
    messages = [{"role": "user", "content": turn["event"]["text"]}]
    op = "edit" if turn["delivery"].get("sent") else "send"  # an attempt before this one has begun the message
    for _ in range(ROUNDS):
        message = {"role": "assistant", "content": ""}
        for piece in complete([*past, *messages], message):
            so_far += piece
            if piece and so_far.strip():
                yield {"op": op, "content": so_far}
                op = "edit"
        messages.append(message)
        if not message.get("tool_calls"):
            break
        messages.extend(use(call) for call in message["tool_calls"])
    past.extend([messages[0], {"role": "assistant", "content": so_far}])


class Agent(BaseHTTPRequestHandler):
    def do_POST(self):  # HTTP/1.0: the stream ends with its connection; an error after the first line is a line that is no action
        turn = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        actions, begun = reply(turn) if turn["event"]["text"] else iter(()), False
        try:
            for action in actions:
                begun = begun or self.head(200)
                self.wfile.write(json.dumps(action).encode() + b"\n")
            begun or self.head(200)
        except Exception as fault:
            self.log_error("%r", fault)
            status = fault.code if isinstance(fault, HTTPError) else 502 if isinstance(fault, OSError) else 500
            if begun:
                self.wfile.write(b"the reply broke off\n")
            else:
                self.head(status)

    def head(self, status):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        return True


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Agent)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
