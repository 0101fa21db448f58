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

from wallet_server.errors import ConfigurationError
from wallet_server.models import metadata


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
    """The revision of a database; ``None`` for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> None:
    """Bring a database to :func:`head`, each migration in its own transaction."""
    command.upgrade(config(engine), "head")


def require_head(engine: Engine) -> None:
    """Refuse to work on a database of another version of the code."""
    found = current(engine)
    if found != head():
        raise ConfigurationError(
            f"the database is at revision {found or 'none'}, this program needs {head()}: run `wallet-server migrate`"
        )


def differences(engine: Engine) -> list[str]:
    """What the tables in the code and those in a migrated database do not agree on; empty when clean."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [str(difference) for difference in compare_metadata(context, metadata)]
