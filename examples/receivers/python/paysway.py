"""PaySway, in both spellings: one header, X-PaySway-Signature: t=SECONDS,v1=HEX"""

import base64
import hashlib
import hmac
import json
import re
import time
from decimal import Decimal


def key(secret):
    """Return the bytes behind a secret: it is base64, and has to be decoded."""
    raw = base64.b64decode(secret, validate=True)
    if len(raw) < 24:
        raise ValueError("too short")
    return raw


def verify(headers, body, keys, now=None):
    """Return 200, or the status to refuse the request with."""
    pairs = [pair.partition("=") for pair in headers.get("X-PaySway-Signature", "").split(",")]
    timestamp = next((value for name, _, value in pairs if name == "t"), "")
    signatures = [value for name, _, value in pairs if name == "v1"]  # several during a rotation
    if not signatures or not re.fullmatch("[0-9]{1,12}", timestamp):
        return 400
    if abs((now or time.time()) - int(timestamp)) > 300:
        return 401
    signed = f"{timestamp}.".encode() + body
    for k in keys:
        want = hmac.new(k, signed, hashlib.sha256).hexdigest().encode()
        if any(hmac.compare_digest(want, text.encode()) for text in signatures):
            return 200
    return 401


def read(headers, body):
    """Take a verified request apart. The id in the body is that of the event."""
    event = json.loads(body, parse_float=Decimal)
    return {"type": event["eventType"], "data": event["object"], "ids": [event["id"]]}
