"""The mail server's stand-in: takes every mail over SMTP (RFC 5321), delivers none, and shows them.

It listens on the loopback and can misbehave as mail servers do, for tests and for people who want to see what
happens then.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default as modern
from enum import StrEnum
from typing import Any, Final

from wallet_server.sandbox.ports import HOST
from wallet_server.sandbox.store import Store
from wallet_server.sandbox.wire import cancel_all

LINE_BYTES_MAX: Final = 4_096
MAIL_BYTES_MAX: Final = 1_000_000
LINES_MAX: Final = 20_000
IDLE_SECONDS: Final = 60.0
KEPT_MAX: Final = 200
_PATH: Final = re.compile(rb"(?:FROM|TO):\s*<([^<>]*)>(.*)", re.IGNORECASE | re.DOTALL)


class MailBehaviour(StrEnum):
    """How the stand-in treats mails from now on."""

    NORMAL = "normal"
    BUSY = "busy"
    """450 for every recipient."""
    UNKNOWN = "unknown"
    """550 for every recipient."""
    SPAM = "spam"
    """554 after the text."""
    FULL = "full"
    """452 after the text."""
    LOST = "lost"
    """The mail is taken, and the line breaks before that is said."""
    BROKEN = "broken"
    """The line breaks in the middle of the text."""
    SILENT = "silent"
    """No answer to the recipient."""


@dataclass(frozen=True, slots=True)
class TakenMail:
    """A mail with its envelope, as it came."""

    sender: str
    recipient: str
    content: bytes


@dataclass(slots=True)
class _Conversation:
    encrypted: bool
    known: bool
    """Whether user and password were right, or none are wanted."""
    sender: str | None = None
    recipients: list[str] = field(default_factory=list)

    def forget(self) -> None:
        self.sender, self.recipients = None, []


class _HangUpError(Exception):
    """The stand-in ends the conversation."""


class MailStandIn:
    """An SMTP server that hands every mail to ``take``.

    ``tls`` lets it offer STARTTLS, or speak TLS from the first byte with ``implicit_tls``; ``credentials`` are
    user and password that it demands, which it takes over TLS only.
    """

    def __init__(
        self,
        take: Callable[[TakenMail], None],
        *,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        self.behaviour = MailBehaviour.NORMAL
        self._take = take
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._credentials = credentials
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> int:
        """Listen; returns the port, which the system chooses for 0. Raises ``OSError`` if it is taken."""
        tls = self._tls if self._implicit_tls else None
        self._server = await asyncio.start_server(self._connected, HOST, port, limit=LINE_BYTES_MAX, ssl=tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the door and the connections."""
        if self._server is not None:
            self._server.close()
        await cancel_all(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (_HangUpError, ConnectionError, TimeoutError, ValueError, ssl.SSLError, asyncio.CancelledError):
            pass  # the client went away, took too long or wrote an endless line, or this server stops
        except asyncio.IncompleteReadError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state = _Conversation(encrypted=self._implicit_tls, known=self._credentials is None)
        await _say(writer, "220 sandbox.example ESMTP")
        while True:
            line = await _line(reader)
            verb, _, rest = line.strip().partition(b" ")
            match verb.upper():
                case b"EHLO" | b"HELO":
                    state.forget()
                    await _say(writer, *self._greeting(state))
                case b"STARTTLS" if self._tls is not None and not state.encrypted:
                    await _say(writer, "220 go ahead")
                    await writer.start_tls(self._tls)
                    state = _Conversation(encrypted=True, known=self._credentials is None)
                case b"AUTH":
                    state.known = await self._authenticate(rest, reader, writer)
                case b"MAIL" if not state.known:
                    await _say(writer, "530 5.7.0 who are you?")
                case b"MAIL":
                    state.forget()
                    state.sender = _path(rest)
                    await _say(writer, "250 fine")
                case b"RCPT" if state.sender is not None:
                    await self._recipient(state, _path(rest), writer)
                case b"DATA" if state.recipients:
                    await self._data(state, reader, writer)
                case b"RSET" | b"NOOP":
                    state.forget()
                    await _say(writer, "250 fine")
                case b"QUIT":
                    await _say(writer, "221 bye")
                    return
                case _:
                    await _say(writer, "503 not now")

    def _greeting(self, state: _Conversation) -> tuple[str, ...]:
        extras = ["8BITMIME", "SMTPUTF8"]
        if self._tls is not None and not state.encrypted:
            extras.append("STARTTLS")
        if self._credentials is not None and state.encrypted:
            extras.append("AUTH PLAIN")
        return ("250-sandbox.example", *(f"250-{name}" for name in extras[:-1]), f"250 {extras[-1]}")

    async def _authenticate(self, rest: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        mechanism, _, given = rest.partition(b" ")
        if mechanism.upper() != b"PLAIN":
            await _say(writer, "504 only PLAIN")
            return False
        if not given:
            await _say(writer, "334 ")
            given = await _line(reader)
        _, user, password = base64.b64decode(given.strip()).decode().split("\0")
        right = (user, password) == self._credentials
        await _say(writer, "235 welcome" if right else "535 5.7.8 wrong user or password")
        return right

    async def _recipient(self, state: _Conversation, address: str, writer: asyncio.StreamWriter) -> None:
        match self.behaviour:
            case MailBehaviour.BUSY:
                await _say(writer, "450 4.2.1 try again later")
            case MailBehaviour.UNKNOWN:
                await _say(writer, "550 5.1.1 nobody has this address")
            case MailBehaviour.SILENT:
                await asyncio.sleep(IDLE_SECONDS)
                raise _HangUpError
            case _:
                state.recipients.append(address)
                await _say(writer, "250 fine")

    async def _data(self, state: _Conversation, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _say(writer, "354 go ahead")
        if self.behaviour is MailBehaviour.BROKEN:
            raise _HangUpError
        content = await _text(reader)
        if self.behaviour is MailBehaviour.SPAM:
            await _say(writer, "554 5.7.1 this looks unwanted")
        elif self.behaviour is MailBehaviour.FULL:
            await _say(writer, "452 4.3.1 no room")
        else:
            for recipient in state.recipients:
                self._take(TakenMail(state.sender or "", recipient, content))
            if self.behaviour is MailBehaviour.LOST:
                raise _HangUpError
            await _say(writer, "250 2.0.0 taken")
        state.forget()


async def _line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(IDLE_SECONDS):
        line = await reader.readline()
    if not line.endswith(b"\n"):
        raise _HangUpError
    return line


async def _text(reader: asyncio.StreamReader) -> bytes:
    """The lines up to the dot that stands alone."""
    content = bytearray()
    for _ in range(LINES_MAX):
        line = await _line(reader)
        if line == b".\r\n":
            return bytes(content)
        content += line.removeprefix(b".")
        if len(content) > MAIL_BYTES_MAX:
            break
    raise _HangUpError


async def _say(writer: asyncio.StreamWriter, *lines: str) -> None:
    writer.write("".join(f"{line}\r\n" for line in lines).encode())
    await writer.drain()


def _path(rest: bytes) -> str:
    match = _PATH.match(rest)
    if match is None:
        raise ValueError("no address")
    return match.group(1).decode()


class MailBox:
    """The mails that came, in the sandbox's file; the oldest make room."""

    def __init__(self, store: Store, now: Callable[[], Any]) -> None:
        self._store = store
        self._now = now

    def take(self, mail: TakenMail) -> None:
        """Keep a mail."""
        self._store.rows(
            "INSERT INTO mail (at, sender, recipient, content) VALUES (?, ?, ?, ?)",
            *(self._now().isoformat(), mail.sender, mail.recipient, mail.content),
        )
        self._store.rows(
            "DELETE FROM mail WHERE id <= (SELECT id FROM mail ORDER BY id DESC LIMIT 1 OFFSET ?)", KEPT_MAX
        )

    def list(self, limit: int) -> list[dict[str, Any]]:
        """The mails, newest first, without their texts."""
        rows = self._store.rows("SELECT * FROM mail ORDER BY id DESC LIMIT ?", limit)
        return [_document(row["id"], row["at"], row["recipient"], row["content"], whole=False) for row in rows]

    def read(self, mail_id: int) -> dict[str, Any] | None:
        """One mail with its texts, ``None`` if there is none (any more)."""
        for row in self._store.rows("SELECT * FROM mail WHERE id = ?", mail_id):
            return _document(row["id"], row["at"], row["recipient"], row["content"], whole=True)
        return None

    def count(self) -> int:
        return int(self._store.rows("SELECT count(*) FROM mail")[0][0])


def _document(mail_id: int, at: str, recipient: str, content: bytes, *, whole: bool) -> dict[str, Any]:
    message = message_from_bytes(content, policy=modern)
    document: dict[str, Any] = {
        "id": mail_id,
        "at": at,
        "from": str(message["From"] or ""),
        "to": recipient,
        "subject": str(message["Subject"] or ""),
    }
    if whole:
        for kind in ("plain", "html"):
            part = message.get_body((kind,))
            with contextlib.suppress(LookupError):  # a text in letters that nobody knows
                document[kind] = part.get_content() if part is not None else ""
    return document
