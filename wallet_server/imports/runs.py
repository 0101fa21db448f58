"""One run of an import: read a batch, take it in one short transaction together with its place, go on.

A batch is prepared before its transaction begins, and the next one waits its turn like any till, so that an
import of a year does not stall the shop. A run that was killed goes on behind its last batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from wallet_server.clock import Clock
from wallet_server.db import is_locked, reading, refresh_planner_statistics, transaction
from wallet_server.errors import DomainError
from wallet_server.imports import rows, services
from wallet_server.imports.files import Record, Table, file_hash, open_table
from wallet_server.imports.report import RefusalFile
from wallet_server.imports.rows import MemberRow, Read, ReceiptRow, Refusal
from wallet_server.imports.services import Kind, Outcome, Place
from wallet_server.programs.queries import load_program
from wallet_server.staff import audit

BATCH_ITEMS_MAX: Final = 150
BATCH_RECORDS_MAX: Final = 1_500
"""A transaction's work, which a till may have to wait for: some 0.15 s. Batches of 500 are a tenth faster."""
LOCKED_RETRIES_MAX: Final = 10
LOCKED_PAUSE_SECONDS: Final = 0.2
SHOWN_REFUSALS_MAX: Final = 50


@dataclass(frozen=True)
class Progress:
    """Where a run is: ``position`` of ``total`` bytes (CSV) or rows (Parquet); ``items`` are this run's own."""

    position: int
    total: int
    items: int
    place: Place


@dataclass(frozen=True)
class Summary:
    """What a run came to; the counts of ``place`` are those of the whole file.

    ``untouched`` says that the file had been taken before and nothing was done; ``resumed_at`` how many
    records an interrupted run had done. ``items`` and ``records`` are this run's own, in ``seconds`` (hashing and
    skipping included). ``refusals`` are this run's first 50.
    """

    place: Place
    untouched: bool = False
    resumed_at: int = 0
    items: int = 0
    records: int = 0
    seconds: float = 0.0
    refusals: tuple[Refusal, ...] = ()
    refusals_file: Path | None = None


@dataclass
class _Batch:
    items: list[MemberRow | ReceiptRow] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    refused: int = 0
    records: int = 0

    @property
    def full(self) -> bool:
        return len(self.items) >= BATCH_ITEMS_MAX or self.records >= BATCH_RECORDS_MAX

    def add(self, read: Read) -> None:
        self.records += read.records
        self.refusals += read.refusals
        if read.item is None:
            self.refused += 1
        else:
            self.items.append(read.item)


def run(
    engine: Engine,
    clock: Clock,
    *,
    slug: str,
    kind: Kind,
    path: Path,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> Summary:
    """Import a file into a program.

    Raises ``DomainError``: ``unknown_program``; ``import_file`` for a file that cannot be read as a whole;
    ``import_running``. Refused rows are no error: the summary counts them.
    """
    begun = time.monotonic()
    with reading(engine) as session:
        program_id = load_program(session, slug=slug).id
    this = _Run(engine, clock, program_id, kind, f"import:{path.name}"[:200])
    digest = file_hash(path)
    members = kind == "members"
    columns, required = (rows.MEMBER_COLUMNS, ()) if members else (rows.RECEIPT_COLUMNS, rows.RECEIPT_REQUIRED)
    with open_table(path, columns, required) as table:
        place = this.start(digest)
        if place.finished:
            return Summary(place, untouched=True)
        resumed_at = place.records
        shown: list[Refusal] = []
        items = 0
        with RefusalFile(path, keep_up_to_row=_skip(table, resumed_at)) as refusal_file:
            for batch in _batches(rows.members(table.records) if members else rows.receipts(table.records)):
                place, outcome = this.take(place, batch, refusal_file)
                shown += outcome.refusals[: SHOWN_REFUSALS_MAX - len(shown)]
                items += len(batch.items) + batch.refused
                on_progress(Progress(table.position, table.total, items, place))
            place = this.finish(place)
    if place.created:
        try:
            refresh_planner_statistics(engine)
        except sa.exc.DBAPIError as error:
            if not is_locked(error):  # busy or too slow: the rows are in all the same
                raise
    return Summary(
        place=place,
        resumed_at=resumed_at,
        items=items,
        records=place.records - resumed_at,
        seconds=time.monotonic() - begun,
        refusals=tuple(shown),
        refusals_file=refusal_file.path if place.refused else None,
    )


def _skip(table: Table, records: int) -> int:
    """Pass over what an interrupted run has done; the row at which its last record began."""
    last: Record | None = None
    for _number in range(records):
        last = next(table.records, None)
        if last is None:
            raise DomainError("import_file", "the file has become shorter while it was imported")
    return last.number if last is not None else 0


def _batches(reads: Iterator[Read]) -> Iterator[_Batch]:
    batch = _Batch()
    for read in reads:
        batch.add(read)
        if batch.full:
            yield batch
            batch = _Batch()
    if batch.records:
        yield batch


@dataclass(frozen=True)
class _Run:
    """The transactions of a run."""

    engine: Engine
    clock: Clock
    program_id: UUID
    kind: Kind
    actor: str

    def start(self, digest: str) -> Place:
        try:
            with transaction(self.engine, self.program_id) as session:
                return services.start(session, self.program_id, self.kind, digest, now=self.clock.now())
        except sa.exc.IntegrityError as error:
            raise services.running() from error

    def take(self, place: Place, batch: _Batch, refusal_file: RefusalFile) -> tuple[Place, Outcome]:
        """Take a batch and move the place behind it, or do neither; waits for locks up to ten times."""
        for attempt in range(LOCKED_RETRIES_MAX + 1):
            try:
                with transaction(self.engine, self.program_id) as session:
                    now = self.clock.now()
                    outcome = self._outcome(session, batch, now)
                    moved = services.move_on(session, place, outcome, records=batch.records, now=now)
                    refusal_file.add(outcome.refusals)
            except sa.exc.DBAPIError as error:
                refusal_file.roll_back()
                if attempt == LOCKED_RETRIES_MAX or not is_locked(error):
                    raise
                time.sleep(LOCKED_PAUSE_SECONDS * (attempt + 1))
            except BaseException:
                refusal_file.roll_back()
                raise
            else:
                refusal_file.commit()
                return moved, outcome
        raise AssertionError("the last attempt returns or raises")

    def _outcome(self, session: Session, batch: _Batch, now: datetime) -> Outcome:
        """What the batch's own refusals and those of the services come to."""
        program = load_program(session, program_id=self.program_id)  # outlets may be added while we run
        if self.kind == "members":
            people = [item for item in batch.items if isinstance(item, MemberRow)]
            taken = services.take_members(session, program, people, now=now, actor=self.actor)
        else:
            receipts = [item for item in batch.items if isinstance(item, ReceiptRow)]
            taken = services.take_receipts(session, program, receipts, now=now, actor=self.actor)
        refusals = sorted((*batch.refusals, *taken.refusals), key=lambda refusal: refusal.row)
        return replace(taken, refused=taken.refused + batch.refused, refusals=tuple(refusals))

    def finish(self, place: Place) -> Place:
        with transaction(self.engine, self.program_id) as session:
            now = self.clock.now()
            nothing = Outcome(created=0, already_there=0, refused=0, refusals=())
            moved = services.move_on(session, place, nothing, records=0, finished=True, now=now)
            audit.record(
                session,
                program_id=self.program_id,
                actor="cli",
                action=f"{self.kind}.imported",
                subject=self.actor,
                detail={"created": moved.created, "already_there": moved.already_there, "refused": moved.refused},
                now=now,
            )
        return moved
