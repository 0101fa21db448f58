"""What commands on a server's database share."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from wallet_server import migrations
from wallet_server.clock import Clock, SandboxClock, SystemClock
from wallet_server.db import create_engine, is_locked
from wallet_server.errors import ConfigurationError
from wallet_server.settings import load_settings

ACTOR: Final = "cli"
"""Who commands are in the audit log: whoever has the machine."""


@dataclass(frozen=True)
class OpenDatabase:
    """The database of the settings, and the clock that its server goes by."""

    engine: Engine
    clock: Clock

    @property
    def now(self) -> datetime:
        """The business time, aware."""
        return self.clock.now()


@contextmanager
def open_database() -> Iterator[OpenDatabase]:
    """The configured database, at this version of the program.

    Raises :class:`ConfigurationError` where it cannot be used.
    """
    settings = load_settings()
    engine = create_engine(settings.database_url)
    try:
        migrations.require_head(engine)
        yield OpenDatabase(engine, SandboxClock(engine) if settings.WALLET_SANDBOX else SystemClock())
    except sa.exc.OperationalError as error:
        if is_locked(error):
            raise ConfigurationError("the database is busy; try again") from error
        raise ConfigurationError(f"the database cannot be used: {error.orig}") from error
    finally:
        engine.dispose()


def require_free_port(host: str, port: int) -> None:
    """Raise :class:`ConfigurationError` if nobody can listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} on {host} cannot be used ({error.strerror}): choose another with --port"
            ) from error
