"""An HTTP/2 server over TLS with client certificates, in the way of APNs, on top of h2.

APNs ends an answer without a body on its HEADERS frame; clients exist that break on an empty DATA frame,
which is what general servers send. That, and being able to say GOAWAY with a reason, is why this is ours.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from wallet_server.sandbox.ports import HOST
from wallet_server.sandbox.wire import READ_BYTES, Request, Response, cancel_all, fold_headers

STREAMS_MAX: Final = 1000
BODY_BYTES_MAX: Final = 65_536

_log = logging.getLogger(__name__)

Http2Handler = Callable[[Request, x509.Certificate], Response | None]
"""Answers a request of the holder of a client certificate; ``None`` leaves it without an answer."""


@dataclass(slots=True)
class _Stream:
    headers: dict[str, str]
    repeated: frozenset[str]
    body: bytearray = field(default_factory=bytearray)


class Http2Server:
    """Serves one handler over HTTP/2; every client shows a certificate that the TLS context trusts."""

    def __init__(self, handler: Http2Handler, tls: ssl.SSLContext, *, streams_max: int = STREAMS_MAX) -> None:
        self._handler = handler
        self._tls = tls
        self._streams_max = streams_max
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[_Connection] = set()

    async def start(self, port: int) -> int:
        """Listen; returns the port, which the system chooses for 0. Raises ``OSError`` if it is taken."""
        self._server = await asyncio.start_server(self._connected, HOST, port, ssl=self._tls, backlog=512)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the door and the connections."""
        if self._server is not None:
            self._server.close()
        await cancel_all(self._tasks)

    def go_away(self, reason: str) -> int:
        """Tell every client to open a new connection, as APNs does before maintenance; returns how many."""
        count = len(self._connections)
        for connection in list(self._connections):
            connection.go_away(reason)
        return count

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection: _Connection | None = None
        try:
            tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
            shown = tls.getpeercert(binary_form=True)
            # Apple also serves clients that negotiate nothing, as aioapns does: HTTP/2 is all there is.
            if tls.selected_alpn_protocol() not in ("h2", None) or shown is None:
                return
            certificate = x509.load_der_x509_certificate(shown)
            connection = _Connection(self._handler, certificate, writer, self._streams_max)
            self._connections.add(connection)
            await connection.run(reader)
        except (ConnectionError, ProtocolError, ssl.SSLError, asyncio.CancelledError):
            pass  # the client went away or broke the protocol, or this server stops
        finally:
            self._tasks.discard(task)
            if connection is not None:
                self._connections.discard(connection)
            writer.close()


class _Connection:
    def __init__(
        self, handler: Http2Handler, certificate: x509.Certificate, writer: asyncio.StreamWriter, streams_max: int
    ) -> None:
        self._handler = handler
        self._certificate = certificate
        self._writer = writer
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._h2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = streams_max
        self._streams: dict[int, _Stream] = {}
        self._unsent: dict[int, bytes] = {}
        self._leaving = False

    async def run(self, reader: asyncio.StreamReader) -> None:
        self._h2.initiate_connection()
        await self._flush()
        while not self._leaving:
            data = await reader.read(READ_BYTES)
            if not data:
                return
            try:
                events = self._h2.receive_data(data)
            finally:
                await self._flush()  # also the GOAWAY that answers a broken protocol
            for event in events:
                if isinstance(event, RequestReceived):
                    headers, repeated = fold_headers(event.headers)
                    self._streams[event.stream_id] = _Stream(headers, repeated)
                elif isinstance(event, DataReceived):
                    self._received(event)
                elif isinstance(event, StreamEnded):
                    self._answer(event.stream_id)
                elif isinstance(event, StreamReset):
                    self._streams.pop(event.stream_id, None)
                    self._unsent.pop(event.stream_id, None)
                elif isinstance(event, WindowUpdated):
                    self._send_unsent()
                elif isinstance(event, ConnectionTerminated):
                    await self._flush()
                    return
            await self._flush()

    def go_away(self, reason: str) -> None:
        body = json.dumps({"reason": reason}).encode()
        self._h2.close_connection(ErrorCodes.NO_ERROR, additional_data=body)
        self._writer.write(self._h2.data_to_send())
        self._leaving = True
        self._writer.close()

    def _received(self, event: DataReceived) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
        stream = self._streams.get(event.stream_id)
        # A body that is far too large is only counted; the handler sees that it is too large and says so.
        if stream is not None and len(stream.body) <= BODY_BYTES_MAX:
            stream.body += event.data

    def _answer(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is None or self._leaving:
            return
        headers = {name: value for name, value in stream.headers.items() if not name.startswith(":")}
        request = Request(
            stream.headers.get(":method", ""),
            stream.headers.get(":path", ""),
            headers,
            bytes(stream.body),
            stream.repeated,
        )
        try:
            response = self._handler(request, self._certificate)
        except Exception:  # noqa: BLE001 - logged; one odd push must not end the connection
            _log.exception("%s failed", request.path)
            response = Response(500, b'{"reason":"InternalServerError"}')
        if response is None:
            return
        head = [(":status", str(response.status)), *response.headers.items()]
        self._h2.send_headers(stream_id, head, end_stream=not response.body)
        if response.body:
            self._unsent[stream_id] = response.body
            self._send_unsent()

    def _send_unsent(self) -> None:
        """Send what the client's flow-control windows have room for; the rest waits for their updates."""
        for stream_id in list(self._unsent):
            body = self._unsent.pop(stream_id)
            while room := max(0, min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)):
                chunk, body = body[:room], body[room:]
                self._h2.send_data(stream_id, chunk, end_stream=not body)
                if not body:
                    break
            else:
                self._unsent[stream_id] = body

    async def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._writer.write(data)
            await self._writer.drain()
