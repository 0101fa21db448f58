"""Schema migrations: one change a file, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import io
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DatabaseError

from wallet_server.db import is_locked
from wallet_server.errors import ConfigurationError
from wallet_server.models import metadata


class UnusableDatabaseError(ConfigurationError):
    """The database cannot be reached, or is damaged."""


def config(engine: Engine | None = None, output: io.StringIO | None = None) -> Config:
    """Alembic's configuration, without a file of its own."""
    result = Config(output_buffer=output) if output else Config()
    result.set_main_option("script_location", str(Path(__file__).parent))
    result.set_main_option("path_separator", "os")
    result.attributes["engine"] = engine
    return result


def head() -> str:
    """The newest revision that this code knows."""
    revision = ScriptDirectory.from_config(config()).get_current_head()
    assert revision is not None
    return revision


def current(engine: Engine) -> str | None:
    """The revision of a database; ``None`` for an empty one. Raises :class:`UnusableDatabaseError`.

    Every part looks here first, so what is wrong with a database is said here, in a sentence.
    """
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DatabaseError as error:
        if is_locked(error):
            raise UnusableDatabaseError("the database is busy; try again") from error
        raise UnusableDatabaseError(f"the database cannot be used: {error.orig}") from error


def upgrade(engine: Engine) -> None:
    """Bring a database to :func:`head`, each migration in its own transaction.

    Raises :class:`ConfigurationError` for one that cannot be used or comes from a newer version of the code.
    """
    _refuse_newer(current(engine))
    command.upgrade(config(engine), "head")


def require_head(engine: Engine) -> None:
    """Refuse to work on a database of another version of the code, or none (:class:`ConfigurationError`)."""
    found = current(engine)
    _refuse_newer(found)
    if found != head():
        raise ConfigurationError(
            f"the database is at revision {found or 'none'}, this program needs {head()}: run `wallet-server migrate`"
        )


def _refuse_newer(found: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigurationError(
            f"the database is at revision {found}, which this program does not know: it needs a newer version"
        )


def differences(engine: Engine) -> list[str]:
    """What the tables in the code and those in a migrated database do not agree on; empty when clean."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [str(difference) for difference in compare_metadata(context, metadata)]
