"""Somebody who listens: a real HTTP server on a free port that checks signatures by the specification alone.

The check was written from the text of Standard Webhooks 1.0 and uses nothing of ours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOLERANCE_S = 300


@dataclass(frozen=True)
class Heard:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        return self.message["type"]


Answer = Callable[[Heard], int | tuple[int, dict[str, str], bytes]]


def is_signed(heard: Heard, secret: str, *, now: float | None = None) -> bool:
    """Verify as a receiver would: the time is near, and one of the signatures is right."""
    assert secret.startswith("whsec_")
    key = base64.b64decode(secret[len("whsec_") :])
    assert 24 <= len(key) <= 64
    sent_at = heard.headers["webhook-timestamp"]
    if abs((time.time() if now is None else now) - int(sent_at)) > TOLERANCE_S:
        return False
    content = heard.headers["webhook-id"].encode() + b"." + sent_at.encode() + b"." + heard.body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    for one in heard.headers["webhook-signature"].split(" "):
        version, _, value = one.partition(",")
        if version == "v1" and hmac.compare_digest(value, expected):
            return True
    return False


@dataclass
class Receiver:
    """What was heard, in the order in which it was answered; ``answer`` decides each status."""

    url: str
    heard: list[Heard] = field(default_factory=list)
    answer: Answer = field(default=lambda _heard: 204)
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def types(self) -> list[str]:
        return [one.type for one in self.heard]

    def ids(self) -> list[str]:
        return [one.id for one in self.heard]


@contextmanager
def listening(certificates: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Run a receiver; over TLS if certificates are given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body go out in one packet: else each answer waits for a delayed acknowledgement.
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            with receiver.lock:
                receiver.connections += 1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            heard = Heard(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            answer = receiver.answer(heard)
            status, headers, content = answer if isinstance(answer, tuple) else (answer, {}, b"")
            with receiver.lock:
                receiver.heard.append(heard)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_arguments: Any) -> None:
            """A caller that hung up is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    if certificates:
        server.socket = certificates.wrap_socket(server.socket, server_side=True)
    scheme = "https" if certificates else "http"
    receiver = Receiver(f"{scheme}://127.0.0.1:{server.server_address[1]}/hook?shop=1")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
