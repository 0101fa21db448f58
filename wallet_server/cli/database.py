"""``migrate`` and ``verify``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import sqlalchemy as sa

from wallet_server import migrations
from wallet_server.db import create_engine, to_json
from wallet_server.errors import ConfigurationError
from wallet_server.settings import load_settings
from wallet_server.verification import Report, run_checks

ROWS_SHOWN_MAX = 5


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


@click.command()
@click.option("--program", "slug", help="Check one program only.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(slug: str | None, as_json: bool) -> None:
    """Check every invariant of the stored data; exit code 0 only if all hold."""
    engine = create_engine(load_settings().database_url)
    migrations.require_head(engine)
    report = run_checks(engine, slug)
    if as_json:
        click.echo(to_json(report.as_dict()))
    else:
        _print_report(report)
    if report.violations:
        raise SystemExit(1)


def _print_report(report: Report) -> None:
    width = max(len(check.name) for check in report.checks)
    for check, broken in report.found:
        mark = click.style("broken", fg="red") if broken else click.style("holds ", fg="green")
        click.echo(f"  {mark} {check.name:<{width}} {check.summary}")
        for violation in broken[:ROWS_SHOWN_MAX]:
            click.echo(f"         {violation.row}: {violation.detail}")
        if len(broken) > ROWS_SHOWN_MAX:
            click.echo(f"         … and {len(broken) - ROWS_SHOWN_MAX} more")
    click.echo(f"{len(report.checks)} invariants checked, {len(report.violations)} violations, {report.seconds:.1f} s")
