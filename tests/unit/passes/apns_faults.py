"""An HTTP/2 server that misbehaves on demand, to prove that a push is neither lost nor counted twice.

What a good server does is checked against nghttpd; this one only adds the faults that nghttpd cannot make.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from passes.apple.push import ApnsSender
from passes.apple.push_outcome import PushOutcome, PushVerdict
from tests.unit.passes.cards import PASS_TYPE_ID

OK = (200, None)
Answer = tuple[int, dict | None] | str
"""(status, body), or a fault: ``reset``, ``cancel``, ``goaway``, ``drop``, ``stall``."""


@dataclass
class FaultyApns:
    """Serve on a free port of 127.0.0.1; `decide(token, times_seen)` says what each request gets."""

    context: ssl.SSLContext
    decide: Callable[[str, int], Answer]
    max_streams: int = 100
    settings_delay_seconds: float = 0.0
    seen: Counter = field(default_factory=Counter)
    headers: list = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> FaultyApns:
        self._lock = threading.Lock()
        self._open: list[ssl.SSLSocket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                _wake(connection)
        for thread in self._threads:
            thread.join(timeout=10)

    def packets(self) -> int:
        """How many packets with data the latest connection has brought, by the kernel's count."""
        with self._lock:
            facts = self._open[-1].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
        return struct.unpack_from("I", facts, 152)[0]  # tcpi_data_segs_in of <linux/tcp.h>

    def _accept(self) -> None:
        while True:
            try:
                plain, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            plain.settimeout(30)
            thread = threading.Thread(target=self._serve, args=(plain,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        secure = self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._open.append(secure)
        try:
            secure.do_handshake()
        except OSError:
            _linger(secure)
            return
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        # Initial values hold at once: a client that opens more streams than it was told loses the connection.
        http.local_settings = h2.settings.Settings(
            client=False,
            initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.max_streams},
        )
        http.initiate_connection()
        time.sleep(self.settings_delay_seconds)
        try:
            secure.sendall(http.data_to_send())
            while data := _read_all_there_is(secure):
                going_on = self._react(http, data)
                secure.sendall(http.data_to_send())
                if not going_on:
                    break
        except (OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            _wake(secure)
            secure.close()

    def _react(self, http: h2.connection.H2Connection, data: bytes) -> bool:
        for event in http.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.RequestReceived):
                fields = {name.decode(): value.decode() for name, value in event.headers}
                token = fields[":path"].rpartition("/")[2]
                with self._lock:
                    self.seen[token] += 1
                    self.headers.append(fields)
                    answer = self.decide(token, self.seen[token])
                if answer == "goaway":
                    # Streams up to the one before this were processed; this and later ones were not.
                    reason = json.dumps({"reason": "Shutdown"}).encode()
                    http.close_connection(last_stream_id=max(0, event.stream_id - 2), additional_data=reason)
                    return False
                if answer == "drop":
                    return False
                self._answer(http, event.stream_id, answer)
        return True

    def _answer(self, http: h2.connection.H2Connection, stream: int, answer: Answer) -> None:
        if answer == "reset":
            http.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        elif answer == "cancel":
            http.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif isinstance(answer, tuple):
            status, body = answer
            http.send_headers(stream, [(":status", str(status))], end_stream=body is None)
            if body is not None:
                http.send_data(stream, json.dumps(body).encode(), end_stream=True)


def _read_all_there_is(connection: ssl.SSLSocket) -> bytes:
    """Return what came in one rush: clients put each request into a TLS record of its own."""
    data = connection.recv(65536)
    while data and (connection.pending() or select.select([connection], [], [], 0.005)[0]):
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data


def _linger(connection: ssl.SSLSocket) -> None:
    """Read on after a refused handshake: closing at once would reset the connection and lose the alert."""
    with socket.socket(fileno=connection.detach()) as plain:
        plain.settimeout(10)
        try:
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(65536):
                pass
        except OSError:
            pass


def _wake(connection: ssl.SSLSocket) -> None:
    """End the connection under a thread that reads from it; that thread closes it."""
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        pass


class Relay:
    """A TCP line to a server that can be cut in the ways in which real lines end."""

    def __init__(self, url: str) -> None:
        self._server = int(url.rpartition(":")[2])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.resets = 0
        self._swallowed: set[socket.socket] = set()
        self._reset: set[socket.socket] = set()
        self._open: list[tuple[socket.socket, socket.socket]] = []
        self._passed = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Relay:
        self._threads[0].start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in list(self._open):
            for end in pair:
                _shut(end)
        for thread in self._threads:
            thread.join(timeout=10)

    def swallow(self) -> None:
        """From now on what is sent on the lines that are open goes nowhere, and nothing comes back."""
        with self._lock:
            self._swallowed.update(end for pair in self._open for end in pair)

    def reset_after(self, size: int, times: int) -> None:
        """Reset the open line each time when so many bytes have gone to the server since the last time."""
        for _ in range(times):
            start = self._passed
            while self._passed - start < size:
                time.sleep(0.001)
            with self._lock:
                client, server = self._open[-1]
                self.resets += 1
            for end in (client, server):
                # No lingering: the other side gets RST, not FIN. Whoever reads from it wakes up and closes it.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._reset.add(end)
                _shut(end, socket.SHUT_RD)

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                return
            with self._lock:
                self._open.append((client, server))
            for source, target in ((client, server), (server, client)):
                thread = threading.Thread(target=self._carry, args=(source, target, source is client))
                self._threads.append(thread)
                thread.start()

    def _carry(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(65536):
                if source not in self._swallowed:
                    target.sendall(data)
                    self._passed += len(data) * counted
        except OSError:
            pass
        finally:
            if source in self._reset:
                source.close()
            else:
                _shut(target)


def _shut(end: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    try:
        end.shutdown(how)
    except OSError:
        pass


def sender(url: str, files: Path, **changes) -> ApnsSender:
    options = {
        "certificate_pem": (files / "pass_certificate").read_bytes() + (files / "intermediate").read_bytes(),
        "key_pem": (files / "pass_key").read_bytes(),
        "ca_file": str(files / "root"),
        "topic": PASS_TYPE_ID,
        "sleep": lambda seconds: time.sleep(min(seconds, 0.01)),
    }
    return ApnsSender(url, **{**options, **changes})


def tokens(count: int) -> list[str]:
    return [f"{n:064x}" for n in range(count)]


def verdicts(outcomes) -> Counter:
    return Counter(outcome.verdict for outcome in outcomes)


def misconfigured(tls: ssl.SSLContext, files: Path, **changes) -> list[PushOutcome]:
    """Push to a server that would take everything, and see that nothing comes to it: our own configuration is wrong."""
    with FaultyApns(tls, lambda token, times: OK) as server, sender(server.url, files, **changes) as apns:
        outcomes = apns.push(tokens(20))
    assert verdicts(outcomes) == {PushVerdict.CONFIGURATION: 20}
    assert server.seen == {}
    return outcomes
