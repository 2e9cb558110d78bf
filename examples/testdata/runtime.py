"""A stand-in for Lambda's Python runtime: python3 runtime.py DIR, with agent.handler in DIR."""
import json
import os
import sys
import urllib.error
import urllib.request

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import agent  # noqa: E402

BASE = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(BASE + "next") as work:
        request, payload = work.headers["Lambda-Runtime-Aws-Request-Id"], json.load(work)
    try:
        path, body = "/response", agent.handler(payload, None)
    except Exception as fault:
        path, body = "/error", {"errorType": type(fault).__name__, "errorMessage": str(fault)}
    urllib.request.urlopen(BASE + request + path, json.dumps(body).encode()).close()
