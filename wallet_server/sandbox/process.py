"""The sandbox as one process: stand-ins of APNs, Google and a mail server, the phones, and their control API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from cryptography import x509

from wallet_server.clock import Clock
from wallet_server.sandbox.apns import PushService
from wallet_server.sandbox.control import Control
from wallet_server.sandbox.google import GoogleWallet
from wallet_server.sandbox.google_api import GoogleApi
from wallet_server.sandbox.google_callbacks import GoogleCallbacks
from wallet_server.sandbox.http2 import Http2Server
from wallet_server.sandbox.mail import MailBox, MailStandIn
from wallet_server.sandbox.network import RETRY_DELAYS_SECONDS, Network
from wallet_server.sandbox.phones import Phones
from wallet_server.sandbox.setup import (
    CLIENT_EMAIL,
    ISSUER_ID,
    SandboxState,
    service_account_key,
    token_uri,
)
from wallet_server.sandbox.store import FILE_NAME, Store
from wallet_server.sandbox.wire import Http1Server

POLL_EVERY_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


def machine_now() -> datetime:
    """The machine's time, by which certificates and tokens are judged."""
    return datetime.now(UTC)


class PatientClock:
    """The business clock, or its last reading while the database cannot be asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = machine_now() - machine_now()

    def now(self) -> datetime:
        try:
            moment = self._clock.now()
        except sa.exc.SQLAlchemyError as error:
            _log.warning("the business clock cannot be read: %s", error)
            return machine_now() + self._ahead
        self._ahead = moment - machine_now()
        return moment


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers listen in the end."""

    apns: int
    google: int
    control: int
    smtp: int


class Sandbox:
    """All of it, wired. ``start`` and ``stop`` run in one event loop."""

    def __init__(
        self,
        data_folder: Path,
        state: SandboxState,
        clock: Clock,
        *,
        retry_delays_seconds: tuple[float, ...] = RETRY_DELAYS_SECONDS,
    ) -> None:
        """Open the phones' file. Raises ``OSError`` or ``ValueError`` if certificates or keys are missing."""
        now: Callable[[], datetime] = PatientClock(clock).now
        certificates = data_folder / "apple"
        root = x509.load_pem_x509_certificate((certificates / "root.pem").read_bytes())
        self._state = state
        self.store = Store(data_folder / FILE_NAME)
        self.network = Network(state.public_url, retry_delays_seconds=retry_delays_seconds)
        self.phones = Phones(self.store, self.network, trusted_roots=[root], now=now, machine_now=machine_now)
        self.push = PushService(self.store, now=machine_now, deliver=self.phones.deliver)
        self.apns = Http2Server(self.push.answer, server_tls(certificates))
        self.callbacks = GoogleCallbacks(
            self.network,
            issuer_id=ISSUER_ID,
            public_url=state.public_url,
            secret=state.control_secret,
            now=machine_now,
        )
        self.google = GoogleWallet(
            self.store,
            issuer_id=ISSUER_ID,
            client_email=CLIENT_EMAIL,
            public_key=service_account_key(data_folder).public_key(),
            now=now,
            tell=self.callbacks.tell,
        )
        api = GoogleApi(
            self.google,
            token_uri=token_uri(state),
            public_url=state.public_url,
            keys=self.callbacks.keys,
            machine_now=machine_now,
        )
        self.mail_box = MailBox(self.store, now)
        self.mail = MailStandIn(self.mail_box.take)
        control = Control(
            *(self.store, self.phones, self.push, self.apns, self.google),
            mail=self.mail,
            mail_box=self.mail_box,
            secret=state.control_secret,
            now=now,
        )
        self._google_server = Http1Server(api.answer)
        self._control_server = Http1Server(control.answer)
        self._clockwork: asyncio.Task[None] | None = None

    async def start(self) -> Ports:
        """Listen on the state's ports (0: any). Raises ``OSError`` for a port that is taken."""
        ports = Ports(
            await self.apns.start(self._state.apns_port),
            await self._google_server.start(self._state.google_port),
            await self._control_server.start(self._state.control_port),
            await self.mail.start(self._state.smtp_port),
        )
        self.phones.resume()
        self._clockwork = asyncio.create_task(self._poll_for_ever())
        return ports

    async def stop(self) -> None:
        """Stop listening, drop what is under way, close the file."""
        if self._clockwork is not None:
            self._clockwork.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clockwork
        for server in (self._control_server, self._google_server, self.apns, self.mail):
            await server.stop()
        await self.phones.stop()
        await self.callbacks.stop()
        await self.network.close()
        self.store.close()

    async def _poll_for_ever(self) -> None:
        while True:
            await asyncio.sleep(POLL_EVERY_SECONDS)
            self.phones.poll()


def server_tls(certificates: Path) -> ssl.SSLContext:
    """TLS as APNs has it: HTTP/2 only, and every client shows a certificate of our own family."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
    context.load_verify_locations(certificates / "root.pem")
    # A client may show its leaf alone: the intermediate is known here, as Apple knows its own.
    context.load_verify_locations(certificates / "intermediate.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context
