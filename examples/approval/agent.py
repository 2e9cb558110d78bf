"""An HTTP agent whose question outlives every process: it is asked today and answered in a week.

    PORT=8080 APPROVERS=ann,bob python3 approval/agent.py

Nothing is kept here. The gateway keeps the question with its ref, and the ref says all that the answer needs: what was asked, for
whom, and who asked. So neither the process that asked nor the gateway's has to be there when somebody presses the button.
"""
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

APPROVERS = set(filter(None, os.environ.get("APPROVERS", "").split(",")))  # user ids; empty: everybody
DAYS = 86400


def ask(what, source):
    ref = json.dumps({"do": "deploy", "what": what, "by": source["user_id"], "name": source["user_name"]})
    if len(ref.encode()) > 1024:  # more goes into a store of your own, and its key into the ref
        return {"text": "That name is too long."}
    return {"actions": [{
        "op": "prompt", "prompt_kind": "approval", "content": f"Deploy {what} to production? {source['user_name']} asks.",
        "ref": ref, "timeout_s": 30 * DAYS,
        "options": [{"id": "yes", "label": "Deploy"}, {"id": "no", "label": "Not now", "style": "danger"}],
    }]}


def decide(prompt, source):
    """The first press counts, and uses up the question: who may not decide gets it asked once more."""
    asked = json.loads(prompt["ref"])
    if APPROVERS and source["user_id"] not in APPROVERS:
        again = ask(asked["what"], {"user_id": asked["by"], "user_name": asked["name"]})
        return {"actions": [{"op": "send", "content": f"{source['user_name']} may not decide that."}, *again["actions"]]}
    if prompt["option_id"] == "yes":
        return {"text": f"{source['user_name']} deploys {asked['what']}, which {asked['name']} asked for."}
    return {"text": f"{asked['what']} stays where it is."}


def answer(turn):
    event = turn["event"]
    if "prompt" in turn:
        return decide(turn["prompt"], event["source"])
    command, _, what = event["text"].partition(" ")
    if command == "/deploy" and what.strip():
        return ask(what.strip(), event["source"])
    return {"text": "I know /deploy and a version."} if event["text"] else {}


class Agent(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        turn = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(answer(turn)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Agent)
print(f"listening on {server.server_port}", flush=True)
server.serve_forever()
