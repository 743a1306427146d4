"""paywise: one header, X-Paywise-Signature: sha256=HEX, over the body alone."""

import hashlib
import hmac
import json
from decimal import Decimal


def key(secret):
    """Return the bytes behind a secret: those of its text. It is not decoded."""
    if len(secret) < 24:
        raise ValueError("too short")
    return secret.encode()


def verify(headers, body, keys):
    """Return 200, or the status to refuse the request with."""
    got = headers.get("X-Paywise-Signature", "")
    if not headers.get("X-Paywise-Delivery-ID") or not got.startswith("sha256="):
        return 400
    for k in keys:
        want = "sha256=" + hmac.new(k, body, hashlib.sha256).hexdigest()
        if hmac.compare_digest(want.encode(), got.encode()):
            return 200
    return 401


def read(headers, body):
    """Take a verified request apart. The delivery id is not signed, and neither is a
    time: whoever recorded a request could send it again under another id. So the
    digest of the body is remembered too."""
    event = json.loads(body, parse_float=Decimal)
    digest = hashlib.sha256(body).hexdigest()
    return {"type": event["event"], "data": event["data"], "ids": [headers["X-Paywise-Delivery-ID"], "body:" + digest]}
