"""Writing down what companies owe each other, in the transaction in which points moved between them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlmodel import Session

from wallet_server.db import insert_rows, new_id
from wallet_server.partners.models import SettlementLine
from wallet_server.partners.queries import Moved, lines_of_redemptions, unsettled
from wallet_server.partners.settlement import (
    Amounts,
    Pair,
    came_back,
    companies_of,
    has_partners,
    redeemed,
)
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program


def settle(
    session: Session,
    program: ProgramDefinition,
    now: datetime,
    *,
    purchase_ids: Collection[UUID] = (),
    hold_ids: Collection[UUID] = (),
) -> int:
    """Settle the points that these purchases and holds have just moved; how many lines were written.

    To be called in the transaction that posted them, with the same ``now``: after a redemption, a captured hold,
    and a refund that returns points. ``program`` is the version in force: its companies, percents and value of a
    point are written down and stay as they are, and a refund takes back of what was written then. Costs nothing
    in a program without partners; calling it again changes nothing.
    """
    if not (purchase_ids or hold_ids) or not has_partners(program):
        return 0
    moved = unsettled(session, program.id, now, purchase_ids=purchase_ids, hold_ids=hold_ids)
    originals = {move.original_id for move in moved if move.original_id is not None}
    known = lines_of_redemptions(session, program.id, originals) if originals else {}
    rows: list[dict[str, Any]] = []
    for move in moved:
        day = _day(program, move, now)
        for pair, amounts in _amounts(session, program, move, known).items():
            rows.append(_row(program.id, move, pair, amounts, day) | {"recorded_at": now})
    insert_rows(session, SettlementLine, rows)
    return len(rows)


def _amounts(
    session: Session,
    program: ProgramDefinition,
    move: Moved,
    known: dict[UUID, dict[Pair, tuple[Amounts, Amounts]]],
) -> dict[Pair, Amounts]:
    if move.original_id is None:
        return _redeemed(program, move)
    result: dict[Pair, Amounts] = {}
    settled = known.setdefault(move.original_id, {})
    for pair, amounts in _as_it_was(session, program, move, settled).items():
        original, before = settled[pair]
        result[pair] = came_back(original, before, amounts.points)
        # A refund may return points in several postings: each sees what the one before it took back.
        settled[pair] = (original, before + result[pair])
    return result


def _redeemed(program: ProgramDefinition, move: Moved) -> dict[Pair, Amounts]:
    return redeemed(companies_of(program), program.points.point_value_minor, move.honoured_at, move.issued_at)


def _as_it_was(
    session: Session, program: ProgramDefinition, move: Moved, settled: Collection[Pair]
) -> dict[Pair, Amounts]:
    """What comes back by the companies that outlets belonged to when the points were honoured."""
    then = load_program(session, program_id=program.id, at=move.original_recorded_at)
    found = _redeemed(then, move)
    if then.version > 1 and not set(found) <= set(settled):
        # It was recorded while that version was being published, with the one before.
        found = _redeemed(load_program(session, program_id=program.id, number=then.version - 1), move)
    return {pair: amounts for pair, amounts in found.items() if pair in settled}


def _day(program: ProgramDefinition, move: Moved, now: datetime) -> date:
    """The local day of today, at the outlet that honoured the points: a month that is over never changes."""
    zone = program.outlet_by_id(move.honoured_at).zone if move.honoured_at is not None else program.time_zone
    return now.astimezone(ZoneInfo(zone)).date()


def _row(program_id: UUID, move: Moved, pair: Pair, amounts: Amounts, day: date) -> dict[str, Any]:
    issuer, honourer = pair
    return {
        "id": new_id(),
        "program_id": program_id,
        "member_id": move.member_id,
        "posting_id": move.posting_id,
        "business_date": day,
        "issuer": issuer,
        "honourer": honourer,
        "points": amounts.points,
        "value_minor": amounts.value_minor,
        "issuer_owes_minor": amounts.issuer_owes_minor,
        "honourer_gets_minor": amounts.honourer_gets_minor,
    }
