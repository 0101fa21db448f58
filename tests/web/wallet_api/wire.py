"""A real web server of two processes, and bytes on a socket: nothing between a test and what a phone sends."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.group import free_port
from wallet_server.settings import Settings

START_SECONDS_MAX = 240
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Heard:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Line:
    """The way to a server on this machine."""

    port: int
    process_id: int = 0
    """The first of the server's processes."""

    def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Heard:
        """Send one request as it stands (``target`` is not encoded) on a connection of its own."""
        sent = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **(headers or {})}
        if body is not None and "Transfer-Encoding" not in sent:
            sent["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return self.raw(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b""))

    def raw(self, request: bytes) -> Heard:
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS) as connection:
            connection.sendall(request)
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65_536):
                    received += part
        head, _, body = received.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        if headers.get("transfer-encoding") == "chunked":
            body = _joined(body)
        return Heard(int(first.split(" ")[1]), headers, body)


def _joined(chunks: bytes) -> bytes:
    body = b""
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        length = int(size, 16)
        body, chunks = body + chunks[:length], chunks[length + 2 :]
    return body


@contextlib.contextmanager
def web_server(settings: Settings, log: Path, *, processes: int = 2) -> Iterator[Line]:
    """``wallet-server web`` on a migrated database; the processes share the port."""
    names = ("WALLET_", "DATABASE_URL", "REDIS_URL")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    environment |= settings.environment()
    port = free_port()
    command = [sys.executable, "-m", "wallet_server", "web", "--port", str(port), "--processes", str(processes)]
    with log.open("w") as output:
        server = subprocess.Popen(
            command,
            env={**environment, **settings.environment()},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    line = Line(port, server.pid)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not _is_up(line):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield line
    finally:
        server.terminate()
        server.wait(30)


def _is_up(line: Line) -> bool:
    try:
        return line.ask("GET", "/readyz").status == 200
    except OSError:
        return False
