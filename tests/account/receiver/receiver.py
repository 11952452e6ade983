"""A receiver of webhooks by somebody else: the `standardwebhooks` package says whether a signature is good.

    receiver.py ADDRESS PORT [CERTIFICATE KEY]

Reads lines of `path secret` from standard input: whoever posts to the path must have signed with the secret. Writes
a line of JSON for each line that it read, and for each request what it thinks of it; a good one is answered with 204,
any other with 400. With a certificate it speaks TLS.
"""

import base64
import hashlib
import hmac
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook

secrets = {}


def say(what):
    # One write for each line: two threads may say something at once.
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def own_signature_is_good(secret, header, body):
    """`t=UNIX,v1=HEX`, an HMAC-SHA-256 of `t.body`."""
    parts = dict(part.split("=", 1) for part in header.split(","))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = hmac.new(key, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, parts["v1"])


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        secret = secrets.get(self.path, "whsec_" + base64.b64encode(bytes(32)).decode())
        try:
            Webhook(secret).verify(body, headers)
            error = None if own_signature_is_good(secret, headers["x-revdesk-signature"], body) else "own signature"
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        say({"path": self.path, "error": error, "id": headers.get("webhook-id"), "body": json.loads(body)})
        self.send_response(400 if error else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


def read_secrets():
    for line in sys.stdin:
        path, secret = line.split()
        secrets[path] = secret
        say({"ready": path})


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass


server = Server((sys.argv[1], int(sys.argv[2])), Receiver)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=read_secrets, daemon=True).start()
say({"listening": True})
server.serve_forever()
