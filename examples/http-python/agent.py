"""An HTTP agent in Python: a plain handler, standard library only.

    PORT=8080 AGENT_SECRET=whsec_... python3 agent.py
"""
import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ.get("AGENT_SECRET", "").removeprefix("whsec_"))


def signed(headers, body):
    """Standard Webhooks: HMAC-SHA256 over id, time and body, not older than five minutes."""
    if not KEY:
        return True
    id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdigit() or abs(time.time() - int(at)) > 300:
        return False
    digest = hmac.digest(KEY, f"{id}.{at}.".encode() + body, hashlib.sha256)
    want = "v1," + base64.b64encode(digest).decode()
    return any(hmac.compare_digest(want, given) for given in headers.get("webhook-signature", "").split())


def answer(turn):
    """Returns a text, actions, or nothing. docs/agent/turn.schema.json says what is in a turn."""
    event = turn["event"]
    words, name = event["text"].split(), event["source"]["user_name"]
    if not words:
        return {}  # nothing to say to a picture
    if words[0] == "/thanks":
        return {"actions": [{"op": "react", "emoji": "👍"}]}
    if turn.get("late"):
        return {"text": f"Sorry for the wait, {name}. You said: {event['text']}"}
    return {"text": f"Hello {name}, you said: {event['text']}"}


class Agent(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not signed(self.headers, body):
            return self.reply(401, {"error": "not signed with this agent's secret"})  # the message waits meanwhile
        self.reply(200, answer(json.loads(body)))

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Agent)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
