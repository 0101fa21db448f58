"""An HTTP/2 server that misbehaves on demand, to prove that a push is neither lost nor counted twice.

What a good server does is checked against nghttpd; this one only adds the faults that nghttpd cannot make.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

Answer = tuple[int, dict | None] | str
"""(status, body), or a fault: ``reset``, ``goaway``, ``drop``, ``stall``, ``silence``."""


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
                    http.close_connection(last_stream_id=max(0, event.stream_id - 2))
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
