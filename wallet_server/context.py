"""What every process of the server needs, made once at its start and passed on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Engine

from wallet_server.clock import Clock, SandboxClock, SystemClock
from wallet_server.db import ALL_PROGRAMS, create_engine, reading, transaction
from wallet_server.errors import ConfigurationError
from wallet_server.issuance.credentials import Wallets, load_wallets
from wallet_server.issuance.keys import imported_keys
from wallet_server.issuance.press import PassPress
from wallet_server.issuance.renewal import take_certificates
from wallet_server.issuance.signatures import FILE_NAME, SignatureBook
from wallet_server.programs.pictures import stored_pictures
from wallet_server.settings import Settings
from wallet_server.tokens import TokenMint

LOOK_EVERY_S: Final = 3.0
"""How soon an imported certificate is used."""
RETRY_EVERY_S: Final = 60.0
"""How soon keys are read again that could not be used."""
READ_EVERY_S: Final = 3600.0
"""How soon a certificate is used whose time has come, though nothing was imported."""


@dataclass(frozen=True, slots=True)
class ServerContext:
    """Settings, database, clocks, secrets and wallet credentials of this process."""

    settings: Settings
    engine: Engine
    clock: Clock
    """The business clock, which a sandbox can move."""
    machine_clock: Clock
    """The real time: signatures and certificates are judged by other people's clocks."""
    mint: TokenMint
    wallets: Wallets
    press: PassPress

    @property
    def apple_url(self) -> str:
        """What passes name as their ``webServiceURL``."""
        return f"{self.settings.public_url}/apple"


def make_context(settings: Settings, *, pool_size: int = 5) -> ServerContext:
    """Open the database and read the credentials.

    Raises :class:`wallet_server.errors.ConfigurationError`. The database is neither migrated nor checked
    here.
    """
    machine_clock = SystemClock()
    engine = create_engine(settings.database_url, pool_size=pool_size)
    wallets = load_wallets(settings, machine_clock.now(), engine)
    return ServerContext(
        settings=settings,
        engine=engine,
        clock=SandboxClock(engine) if settings.WALLET_SANDBOX else machine_clock,
        machine_clock=machine_clock,
        mint=TokenMint(settings.WALLET_SECRET_KEY),
        wallets=wallets,
        # Without a certificate authority's name there is no https: the simulator takes http, iPhones do not.
        press=PassPress(
            wallets.signer,
            allow_http=wallets.development,
            programs=wallets.programs,
            memory=SignatureBook(settings.WALLET_DATA_DIR / FILE_NAME),
            picture_of=stored_pictures(engine),
        ),
    )


class ContextKeeper:
    """This process's context, with the wallets' keys as they were imported last. Safe for threads.

    Whoever asks in the right moment looks whether other keys were imported, and reads them; the others go on with
    the context that there is. Keys that cannot be used leave everything as it was: those in use still work.
    """

    def __init__(self, context: ServerContext, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._seen = context.wallets.imported
        self._look_at = monotonic() + LOOK_EVERY_S
        self._read_at = monotonic() + READ_EVERY_S
        self.trouble = ""
        """Why the keys that were looked at last are not used; empty: they are."""

    def current(self) -> ServerContext:
        """The context to work with now; another object than before only when other keys are in force."""
        if self._monotonic() >= self._look_at and self._turn.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._turn.release()
        return self._context

    def _look(self) -> None:
        # From the end of a look to the next: a database that answers slowly is not asked all the time.
        try:
            with reading(self._context.engine) as session:
                imported = imported_keys(session)
            if imported != self._seen or self._monotonic() >= self._read_at:
                used = self._read()
                self._seen, self._read_at = imported, self._monotonic() + (READ_EVERY_S if used else RETRY_EVERY_S)
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            structlog.get_logger().warning("imported keys could not be looked for", error=str(error))
        finally:
            self._look_at = self._monotonic() + LOOK_EVERY_S

    def _read(self) -> bool:
        """Read the keys; false if they cannot be used."""
        before = self._context
        try:
            wallets = load_wallets(before.settings, before.machine_clock.now(), before.engine)
        except ConfigurationError as error:
            if str(error) != self.trouble:  # once, however often it is tried
                self.trouble = str(error)
                structlog.get_logger().error("imported keys are not used: the ones before stay", error=self.trouble)
            return False
        if self.trouble:
            self.trouble = ""
            structlog.get_logger().info("the keys can be used again")
        if wallets.says_the_same_as(before.wallets):
            return True
        press = before.press.renewed(wallets.signer, allow_http=wallets.development, programs=wallets.programs)
        # Before anybody is given a pass by the new certificates: what the old ones signed counts as changed.
        with transaction(before.engine, ALL_PROGRAMS) as session:
            take_certificates(session, wallets, before.clock.now())
        self._context = replace(before, wallets=wallets, press=press)
        structlog.get_logger().info("imported keys are in use", expires=f"{wallets.signer.not_after:%Y-%m-%d}")
        return True
