"""A webhook receiver to copy from: it verifies every request over its raw bytes,
handles each event once and answers at once. Python 3.9 or newer, nothing else.

PROFILE names the wire format, SECRET holds the endpoint's secret (two of them,
separated by a space, while it is being rotated), PORT the port on 127.0.0.1.
Put your TLS proxy in front.
"""

import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import paysway
import paywise
import standard

FORMATS = {"standard": standard, "paysway": paysway, "paysway-2025-09": paysway, "paywise": paywise}
BODY_LIMIT = 1 << 20

seen = set()
transaction = threading.Lock()


def once(event):
    """Stand for a transaction of your database: look the ids up in a unique column,
    act, insert them, commit. Memory forgets at a restart, a table does not."""
    with transaction:
        ids = event["ids"]
        if not seen.isdisjoint(ids):
            print("duplicate", event["type"], ids[0], flush=True)
            return
        print("handled", event["type"], ids[0], flush=True)
        seen.update(ids)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120  # maximum silence on a connection, in seconds

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length):
            return self.answer(400, close=True)
        if int(length) > BODY_LIMIT:
            return self.answer(413, close=True)
        body = self.rfile.read(int(length))  # the raw bytes, not text: they were signed
        status = self.server.format.verify(self.headers, body, self.server.keys)
        if status != 200:
            return self.answer(status)
        try:
            event = self.server.format.read(self.headers, body)
        except (ValueError, KeyError, TypeError):
            return self.answer(400)  # genuine, but not an event
        once(event)
        return self.answer(200)

    def answer(self, status, close=False):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if close:  # the body was not read
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def main():
    profile = os.environ.get("PROFILE") or "standard"
    form = FORMATS.get(profile)
    if form is None:
        sys.exit(f"PROFILE is {profile}; it must be one of {', '.join(FORMATS)}.")
    try:
        keys = [form.key(secret) for secret in os.environ.get("SECRET", "").split()]
    except ValueError:
        sys.exit(f"SECRET is not a secret of {profile}; copy it whole, as it was shown with the endpoint.")
    if not keys:
        sys.exit("SECRET is empty; it holds the endpoint's secret.")
    port = int(os.environ.get("PORT") or 3000)
    try:
        server = Server(("127.0.0.1", port), Receiver)
    except OSError as error:
        sys.exit(f"Cannot listen on 127.0.0.1:{port}: {error}")
    server.format, server.keys = form, keys
    print(f"listening on 127.0.0.1:{port}", file=sys.stderr)
    server.serve_forever()


if __name__ == "__main__":
    main()
