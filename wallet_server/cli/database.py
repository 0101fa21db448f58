"""``migrate`` and ``verify``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import sqlalchemy as sa

from wallet_server import migrations
from wallet_server.db import create_engine
from wallet_server.errors import ConfigurationError
from wallet_server.settings import load_settings


@click.command()
@click.option("--check", is_flag=True, help="Change nothing: check that the migrations build the tables of the code.")
def migrate(check: bool) -> None:
    """Bring the database to this version of the program."""
    if check:
        _check()
        return
    engine = create_engine(load_settings().database_url)
    try:
        before = migrations.current(engine)
        migrations.upgrade(engine)
    except sa.exc.OperationalError as error:
        raise ConfigurationError(f"the database cannot be used: {error.orig}") from error
    after = migrations.current(engine)
    click.echo(f"database is at {after}" if before == after else f"database migrated from {before} to {after}")


def _check() -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{Path(folder) / 'check.sqlite'}")
        migrations.upgrade(engine)
        found = migrations.differences(engine)
        engine.dispose()
    if found:
        raise ConfigurationError("the migrations and the tables differ:\n" + "\n".join(found))
    click.echo("migrations are complete")
