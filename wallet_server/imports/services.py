"""Taking one batch of a file into the database, and moving the place where an interrupted import goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.errors import DomainError
from wallet_server.imports.models import ImportCheckpoint
from wallet_server.imports.queries import find_checkpoint, totals_minor
from wallet_server.imports.rows import MemberRow, ReceiptRow, Refusal
from wallet_server.members.queries import cards_of_external_ids
from wallet_server.members.services import IMPORT_CHANNEL, Enrol, enrol_many
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.commands import RecordPurchase
from wallet_server.purchases.services import record_purchases

Kind = Literal["members", "receipts"]
CHECKPOINT: sa.Table = ImportCheckpoint.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file has come: ``records`` read, and what they came to."""

    checkpoint_id: UUID
    records: int
    created: int
    already_there: int
    refused: int
    finished: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a batch came to. ``refused`` counts members or receipts; each has one ``refusal`` or more."""

    created: int
    already_there: int
    refused: int
    refusals: tuple[Refusal, ...]


def start(session: Session, program_id: UUID, kind: Kind, file_hash: str, *, now: datetime) -> Place:
    """Where to go on with this file: at its beginning, or behind the last batch that was committed.

    A finished file that had refusals begins again, because their causes may be gone; what was taken then is
    found to be there already.
    """
    row = find_checkpoint(session, kind, file_hash)
    if row is None:
        row = ImportCheckpoint(program_id=program_id, kind=kind, file_hash=file_hash, updated_at=now)
    elif row.finished and row.refused:
        row.rows_done = row.created = row.already_there = row.refused = 0
        row.finished = False
        row.updated_at = now
    session.add(row)
    session.flush()
    return Place(row.id, row.rows_done, row.created, row.already_there, row.refused, row.finished)


def move_on(
    session: Session, place: Place, outcome: Outcome, *, records: int, finished: bool = False, now: datetime
) -> Place:
    """Move the place behind a batch of ``records``, in the batch's own transaction.

    Raises ``DomainError(import_running)`` if somebody else has moved it: two runs of one file would count
    the same rows twice.
    """
    moved = replace(
        place,
        records=place.records + records,
        created=place.created + outcome.created,
        already_there=place.already_there + outcome.already_there,
        refused=place.refused + outcome.refused,
        finished=finished,
    )
    result = session.connection().execute(
        sa.update(CHECKPOINT)
        .where(
            CHECKPOINT.c.id == place.checkpoint_id,
            CHECKPOINT.c.rows_done == place.records,
            sa.not_(CHECKPOINT.c.finished),
        )
        .values(
            rows_done=moved.records,
            created=moved.created,
            already_there=moved.already_there,
            refused=moved.refused,
            finished=moved.finished,
            updated_at=now,
        )
    )
    if result.rowcount != 1:
        raise running()
    return moved


def running() -> DomainError:
    """The refusal of a second run beside the first."""
    return DomainError("import_running", "the same file is being imported by somebody else", status=409)


def take_members(
    session: Session, program: ProgramDefinition, rows: Sequence[MemberRow], *, now: datetime, actor: str
) -> Outcome:
    """Enrol members; a refused one changes nothing and the others join. Who is a member already stays as is."""
    commands = [
        Enrol(
            phone=row.phone,
            email=row.email,
            language=row.language,
            name=row.name,
            birthday=row.birthday,
            channel=row.channel or IMPORT_CHANNEL,
            outlet=row.outlet,
            referral_code=row.referral_code,
            external_id=row.external_id,
            marketing=row.marketing,
            card_number=row.card_number,
        )
        for row in rows
    ]
    results = enrol_many(session, program, commands, now=now, actor=actor, on_error="return")
    refusals = [
        Refusal(row.row, row.subject, result.code, result.detail)
        for row, result in zip(rows, results, strict=True)
        if isinstance(result, DomainError)
    ]
    created = sum(1 for result in results if not isinstance(result, DomainError) and result.created)
    return Outcome(created, len(rows) - created - len(refusals), len(refusals), tuple(refusals))


def take_receipts(
    session: Session, program: ProgramDefinition, rows: Sequence[ReceiptRow], *, now: datetime, actor: str
) -> Outcome:
    """Record receipts; a refused one changes nothing and the others are recorded.

    A receipt that is recorded already counts as there, unless its total is another: then it is told, for it
    may be the second half of one whose lines did not stand together.
    """
    numbers = cards_of_external_ids(session, {row.external_id for row in rows if row.external_id is not None})
    refusals = [_unknown_member(row) for row in rows if row.external_id is not None and row.external_id not in numbers]
    refused_rows = {refusal.row for refusal in refusals}
    known = [row for row in rows if row.row not in refused_rows]
    commands = [_with_card(row, numbers) for row in known]
    results = record_purchases(
        session, program, commands, now=now, source="import", recorded_by=actor, on_error="return"
    )
    errors = [(row, result) for row, result in zip(known, results, strict=True) if isinstance(result, DomainError)]
    firsts = {row.row: UUID(error.extra["purchase_id"]) for row, error in errors if error.code == "duplicate_receipt"}
    totals = totals_minor(session, set(firsts.values()))
    already_there = 0
    for row, error in errors:
        total_minor = sum(line.amount_minor for line in row.command.lines)
        if row.row not in firsts:
            refusals.append(Refusal(row.row, row.command.receipt_id, error.code, error.detail))
        elif totals[firsts[row.row]] == total_minor:
            already_there += 1
        else:
            reason = (
                f"recorded already with the total {totals[firsts[row.row]]}, here it is {total_minor} (minor units); "
                "do its lines stand together?"
            )
            refusals.append(Refusal(row.row, row.command.receipt_id, error.code, reason))
    return Outcome(
        created=len(results) - len(errors),
        already_there=already_there,
        refused=len(refusals),
        refusals=tuple(sorted(refusals, key=lambda refusal: refusal.row)),
    )


def _unknown_member(row: ReceiptRow) -> Refusal:
    reason = f"there is no member with the external_id {row.external_id!r}"
    return Refusal(row.row, row.command.receipt_id, "unknown_member", reason)


def _with_card(row: ReceiptRow, numbers: dict[str, str]) -> RecordPurchase:
    return row.command if row.external_id is None else replace(row.command, card_number=numbers[row.external_id])
