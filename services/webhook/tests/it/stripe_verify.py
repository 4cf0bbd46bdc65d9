"""Reads one JSON object a line, {now_s, body (base64), header, secrets}, and says for each whether Stripe's library takes
it: "ok", or the name of the error."""

import base64
import json
import sys

import stripe
from stripe import WebhookSignature
from stripe import _webhook


class Clock:
    now_s = 0.0

    @classmethod
    def time(cls):
        return cls.now_s


_webhook.time = Clock
print(json.dumps({"version": stripe.VERSION}))
for line in sys.stdin:
    case = json.loads(line)
    Clock.now_s = float(case["now_s"])
    verdict = "no secret"
    for secret in case["secrets"]:
        try:
            WebhookSignature.verify_header(base64.b64decode(case["body"]), case["header"], secret, 300)
            verdict = "ok"
            break
        except Exception as error:
            verdict = type(error).__name__
    print(json.dumps(verdict))
