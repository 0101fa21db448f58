"""A small HTTP server for the stand-ins: requests in, answers out, nothing of a framework.

HTTP/1.1 is spoken with h11 here, HTTP/2 with h2 in ``http2.py``; both hand a :class:`Request` to the same
kind of function. Listens on the loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from wallet_server.errors import DomainError
from wallet_server.sandbox.ports import HOST

BODY_BYTES_MAX: Final = 2_000_000
HEADERS_BYTES_MAX: Final = 65_536
IDLE_SECONDS: Final = 75.0
READ_BYTES: Final = 65_536

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``headers`` has lower-case names; ``repeated`` names those that came more than once."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    repeated: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """The path, still percent-encoded."""
        return urlsplit(self.target).path

    @property
    def parts(self) -> tuple[str, ...]:
        """The decoded parts of the path, without empty ones."""
        return tuple(unquote(part) for part in self.path.split("/") if part)

    @property
    def query(self) -> dict[str, str]:
        """The parameters behind the question mark; the last one of a name wins."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    def json(self) -> dict[str, Any]:
        """The body as a JSON object (empty body: an empty one).

        Raises ``DomainError(validation, 400)`` for anything else.
        """
        try:
            document = json.loads(self.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise DomainError("validation", f"the body is not JSON: {error}", status=400) from error
        if not isinstance(document, dict):
            raise DomainError("validation", "the body is not a JSON object", status=400)
        return document


@dataclass(frozen=True, slots=True)
class Response:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


def json_response(document: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return Response(status, body, {"content-type": "application/json; charset=utf-8"})


class Http1Server:
    """Serves one handler over HTTP/1.1 with kept connections."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> int:
        """Listen; returns the port, which the system chooses for 0. Raises ``OSError`` if it is taken."""
        self._server = await asyncio.start_server(self._connected, HOST, port, backlog=512)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the door and the connections."""
        if self._server is not None:
            self._server.close()
        await cancel_all(self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(h11.Connection(h11.SERVER, HEADERS_BYTES_MAX), reader, writer)
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # the other side went away, was silent for long, or this server stops
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            try:
                request = await self._read(connection, reader)
            except h11.RemoteProtocolError as error:
                if connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._write(connection, writer, Response(error.error_status_hint, b"bad request\n"))
                return
            if request is None:
                return
            await self._write(connection, writer, await answer_of(self._handler, request))
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _read(self, connection: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    # Clients that ask first wait a second for this; ours are all welcome.
                    connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                connection.receive_data(await asyncio.wait_for(reader.read(READ_BYTES), IDLE_SECONDS))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_BYTES_MAX:
                    raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                headers, repeated = fold_headers(
                    (name.decode(), value.decode("latin-1")) for name, value in head.headers
                )
                return Request(head.method.decode(), head.target.decode("latin-1"), headers, bytes(body), repeated)
            else:  # ConnectionClosed, PAUSED
                return None

    @staticmethod
    async def _write(connection: h11.Connection, writer: asyncio.StreamWriter, response: Response) -> None:
        headers = [*response.headers.items(), ("content-length", str(len(response.body)))]
        head = h11.Response(
            status_code=response.status, headers=headers, reason=HTTPStatus(response.status).phrase.encode()
        )
        parts = [connection.send(head)]
        if response.body:
            parts.append(connection.send(h11.Data(data=response.body)))
        parts.append(connection.send(h11.EndOfMessage()))
        writer.write(b"".join(part for part in parts if part))
        await writer.drain()


def fold_headers(pairs: Any) -> tuple[dict[str, str], frozenset[str]]:
    """Return (headers by lower-case name, the names that came more than once); the first value wins."""
    headers: dict[str, str] = {}
    repeated: set[str] = set()
    for name, value in pairs:
        lower = name.lower()
        if lower in headers:
            repeated.add(lower)
        headers.setdefault(lower, value)
    return headers, frozenset(repeated)


async def answer_of(handler: Handler, request: Request) -> Response:
    """The handler's answer, also when it refuses (a ``DomainError``) or breaks (500, and a line in the log)."""
    try:
        return await handler(request)
    except DomainError as error:
        return json_response({"code": error.code, "detail": error.detail, **error.extra}, error.status)
    except Exception:  # noqa: BLE001 - a stand-in that dies of one odd request hides what comes after it
        _log.exception("%s %s failed", request.method, request.path)
        return json_response({"code": "internal", "detail": "the sandbox failed; see its log"}, 500)


async def cancel_all(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are gone."""
    for task in list(tasks):
        task.cancel()
    for task in list(tasks):
        with contextlib.suppress(asyncio.CancelledError):
            await task
