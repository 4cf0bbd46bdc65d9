"""What the checks of the Python SDK share: clients, control calls, a receiver of webhooks, a runner that counts."""

import http.server
import json
import queue
import sys
import threading
import time
import traceback
import urllib.request

import stripe

BASE = sys.argv[1]
PATIENCE_S = 20
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def client(**more):
    more = {"max_network_retries": 0, **more}
    return stripe.StripeClient("sk_test_python", base_addresses={"api": BASE}, **more)


def control(path, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{BASE}/_emulator/{path}", data=data, method=method)
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def raises(kind, action):
    """The error of exactly that class which `action` raises."""
    try:
        result = action()
    except stripe.StripeError as error:
        assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
        return error
    raise AssertionError(f"{kind.__name__} expected, got {result!r}")


def eventually(what, look):
    """What `look` finds, once it finds something; every look is a request of its own."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = look()
        if found:
            return found
    raise AssertionError(f"not within {PATIENCE_S} s: {what}")


class Receiver:
    """Takes webhooks, answers what it is told to, then 200."""

    def __init__(self):
        self.hooks, self.answers = queue.Queue(), queue.Queue()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.hooks.put((body, self.headers["stripe-signature"]))
                self.send_response(200 if receiver.answers.empty() else receiver.answers.get())
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def next(self):
        return self.hooks.get(timeout=PATIENCE_S)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def run():
    failed = 0
    for function in CHECKS:
        name = f"python {stripe.VERSION}: {function.__name__.replace('_', ' ')}"
        try:
            function()
            print(f"ok      {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
        control("faults", method="DELETE")
        control("delivery", {})
    sys.exit(1 if failed else 0)
