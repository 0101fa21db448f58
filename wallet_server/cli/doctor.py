"""``doctor``: look at the whole installation."""

from __future__ import annotations

import fcntl
import shutil
import textwrap
from collections.abc import Sequence
from typing import Final

import click

from wallet_server import __version__
from wallet_server.clock import SystemClock
from wallet_server.db import create_engine, to_json
from wallet_server.doctor import Finding, Level, Presence, broken, examine
from wallet_server.errors import ConfigurationError
from wallet_server.sandbox.setup import joined
from wallet_server.settings import Settings, load_settings

WIDTH_MAX: Final = 80
_MARKS: Final = {Level.GOOD: ("✓", "green"), Level.NOTE: ("!", "yellow"), Level.BROKEN: ("✗", "red")}
_PARTS_WIDTH: Final = 9


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Look at the whole installation: what is well, what is not, and what mends it.

    It mends nothing itself. Exit code 0 only if nothing is broken.
    """
    tell(_examine(), as_json=as_json)


def _examine() -> list[Finding]:
    try:
        settings = joined(load_settings())
    except ConfigurationError as error:
        return [broken("settings", f"{error}.", "Correct or unset it; docs/settings.md says what each may be.")]
    try:
        engine = create_engine(settings.database_url)
    except ConfigurationError as error:
        return [broken("database", f"{error}.", "Correct DATABASE_URL or WALLET_DATA_DIR.")]
    try:
        return examine(settings, engine, lambda: _presence(settings), SystemClock().now())
    finally:
        engine.dispose()


def _presence(settings: Settings) -> Presence:
    """Ask Valkey who works; the embedded one hides in its group's folder, so its group's lock tells."""
    running = _group_runs(settings)
    if not settings.REDIS_URL:
        return Presence(running)
    # Here and not in the doctor, who may not know the queue's library.
    import redis

    from workers.presence import heartbeats, problem

    try:
        return Presence(running or None, heartbeats=heartbeats(settings.REDIS_URL))
    except redis.exceptions.RedisError as error:
        return Presence(running, queue_problem=problem(error))


def _group_runs(settings: Settings) -> bool:
    """Whether a `wallet-server up` holds the lock of the data folder."""
    try:
        with (settings.WALLET_DATA_DIR / "up.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def tell(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print what was found, for people or for machines. Exits with 1 if something is broken."""
    if as_json:
        click.echo(to_json({"findings": [finding.as_dict() for finding in findings]}))
    else:
        _print(findings)
    if any(finding.level is Level.BROKEN for finding in findings):
        raise SystemExit(1)


def _print(findings: Sequence[Finding]) -> None:
    """Show findings at no more than 80 columns: mark, part, sentence, and below it the cure."""
    width = min(shutil.get_terminal_size().columns, WIDTH_MAX)
    click.secho(f"Wallet Server {__version__}", bold=True)
    click.echo()
    before = ""
    for finding in findings:
        mark, color = _MARKS[finding.level]
        part = finding.part if finding.part != before else ""
        before = finding.part
        lead = f" {click.style(mark, fg=color, bold=True)} {click.style(f'{part:<{_PARTS_WIDTH}}', bold=True)} "
        _print_wrapped(lead, finding.sentence, width)
        if finding.cure:
            _print_wrapped(" " * (_PARTS_WIDTH + 4) + click.style("→ ", fg="cyan"), finding.cure, width, deeper=2)
    click.echo()
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    if counts[Level.BROKEN]:
        things = "thing is" if counts[Level.BROKEN] == 1 else "things are"
        click.secho(f"{counts[Level.BROKEN]} {things} broken; begin at the top.", fg="red", bold=True)
    elif counts[Level.NOTE]:
        click.secho(f"Nothing is broken; {counts[Level.NOTE]} to know.", fg="green", bold=True)
    else:
        click.secho("All is well.", fg="green", bold=True)


def _print_wrapped(lead: str, text: str, width: int, *, deeper: int = 0) -> None:
    indent = " " * (_PARTS_WIDTH + 4 + deeper)
    lines = textwrap.wrap(text, max(20, width - len(indent)), break_long_words=False, break_on_hyphens=False)
    click.echo(lead + f"\n{indent}".join(lines))
