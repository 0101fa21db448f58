"""Phones that a push has woken: run as a process of its own, so that they share no lock with the server.

Reads ``{"port", "at_once", "phones": [[address, list, pass, authorization, since], …]}`` from its input: each phone
comes from an address of its own, asks what changed, fetches the pass, and looks once more a little later. Prints the
seconds from a phone's first byte to its pass, and the digests of the passes by their address.
"""

from __future__ import annotations

import hashlib
import json
import queue
import socket
import sys
import threading
import time
from typing import Any

TIMEOUT_SECONDS = 60


def _ask(port: int, target: str, caller: str, headers: str = "") -> tuple[int, dict[bytes, bytes], bytes]:
    """One request on a connection of its own, as a phone that was asleep makes it."""
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: {caller}\r\n{headers}\r\n"
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
        connection.sendall(request.encode())
        parts = []
        while part := connection.recv(262_144):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    names = (line.partition(b": ") for line in rest)
    return int(first.split(b" ")[1]), {name.lower(): value for name, _, value in names}, body


def _wake(port: int, phone: list[str]) -> tuple[float, str]:
    caller, changed, target, authorization, since = phone
    begun = time.perf_counter()
    status, _headers, body = _ask(port, changed, caller)
    if status != 200 or json.loads(body)["serialNumbers"] != [target.rpartition("/")[2]]:
        raise RuntimeError(f"{changed}: {status} {body[:300]!r}")
    proof = f"Authorization: {authorization}\r\n"
    status, headers, body = _ask(port, target, caller, f"{proof}If-Modified-Since: {since}\r\n")
    if status != 200 or not body.startswith(b"PK") or len(body) != int(headers[b"content-length"]):
        raise RuntimeError(f"{target}: {status} {body[:300]!r}")
    seconds = time.perf_counter() - begun
    newest = headers[b"last-modified"].decode()
    status, _headers, _body = _ask(port, target, caller, f"{proof}If-Modified-Since: {newest}\r\n")
    if status != 304:
        raise RuntimeError(f"{target}: {status} to a phone that has it")
    return seconds, hashlib.sha256(body).hexdigest()


def main() -> None:
    """Wake them all, so many at once; an error ends with a traceback and a code that is not 0."""
    asked = json.load(sys.stdin)
    waiting: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    for phone in asked["phones"]:
        waiting.put(phone)
    taken: list[float] = []
    digests: dict[str, set[str]] = {}
    errors: list[Exception] = []
    lock = threading.Lock()

    def run() -> None:
        while not errors:
            try:
                phone: Any = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                seconds, digest = _wake(asked["port"], phone)
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)
                return
            with lock:
                taken.append(seconds)
                digests.setdefault(phone[2], set()).add(digest)

    threads = [threading.Thread(target=run) for _ in range(asked["at_once"])]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    found = {target: sorted(found) for target, found in digests.items()}
    json.dump({"seconds": time.perf_counter() - begun, "taken": taken, "digests": found}, sys.stdout)


if __name__ == "__main__":
    main()
