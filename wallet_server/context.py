"""What every process of the server needs, made once at its start and passed on."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.engine import Engine

from wallet_server.clock import Clock, SandboxClock, SystemClock
from wallet_server.db import create_engine
from wallet_server.issuance.credentials import Wallets, load_wallets
from wallet_server.issuance.press import PassPress
from wallet_server.issuance.signatures import FILE_NAME, SignatureBook
from wallet_server.settings import Settings
from wallet_server.tokens import TokenMint


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
        ),
    )
