"""Standard Webhooks: the headers webhook-id, webhook-timestamp, webhook-signature."""

import base64
import hashlib
import hmac
import json
import re
import time
from decimal import Decimal


def key(secret):
    """Return the bytes behind a secret: base64 after whsec_."""
    raw = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if len(raw) < 24:
        raise ValueError("too short")
    return raw


def verify(headers, body, keys, now=None):
    """Return 200, or the status to refuse the request with."""
    message_id = headers.get("webhook-id")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature")
    if not message_id or not signatures or not re.fullmatch("[0-9]{1,12}", timestamp):
        return 400
    if abs((now or time.time()) - int(timestamp)) > 300:
        return 401
    signed = f"{message_id}.{timestamp}.".encode() + body
    for k in keys:
        want = b"v1," + base64.b64encode(hmac.new(k, signed, hashlib.sha256).digest())
        # During a rotation there are several signatures, separated by spaces.
        if any(hmac.compare_digest(want, text.encode()) for text in signatures.split(" ")):
            return 200
    return 401


def read(headers, body):
    """Take a verified request apart. The webhook-id is signed, and the same in every
    attempt at one event."""
    event = json.loads(body, parse_float=Decimal)
    return {"type": event["type"], "data": event["data"], "ids": [headers["webhook-id"]]}
