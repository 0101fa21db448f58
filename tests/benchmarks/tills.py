"""Tills that press on a server over HTTP: run as a process of its own, so that it shares no lock with the server.

Reads ``{"port", "seconds", "requests": [[header and body as text, …] for each till]}`` from its input and prints the
seconds of each answer. Plain sockets: a client library would take more of the machine than the server.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

TIMEOUT_SECONDS = 30


def _press(port: int, requests: list[str], ends_at: float, taken: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            begun = time.perf_counter()
            if begun >= ends_at:
                return
            connection.sendall(request.encode())
            status, body = _answer(connection)
            if status != 201:
                raise RuntimeError(f"{status}: {body[:500]!r}")
            taken.append(time.perf_counter() - begun)
    raise RuntimeError("a till ran out of receipts")


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += _more(connection)
    head = received[:end].lower()
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    while len(received) < end + 4 + length:
        received += _more(connection)
    return int(head.split(b" ", 2)[1]), received[end + 4 :]


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(65_536)
    if not part:
        raise RuntimeError("the server hung up")
    return part


def main() -> None:
    """Press, and print what it took; an error ends with a traceback and a code that is not 0."""
    asked = json.load(sys.stdin)
    taken: list[list[float]] = [[] for _till in asked["requests"]]
    errors: list[Exception] = []
    ends_at = time.perf_counter() + asked["seconds"]

    def run(till: int) -> None:
        try:
            _press(asked["port"], asked["requests"][till], ends_at, taken[till])
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(till,)) for till in range(len(taken))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    json.dump([seconds for till in taken for seconds in till], sys.stdout)


if __name__ == "__main__":
    main()
