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
    NOTHING,
    Amounts,
    Pair,
    came_back,
    companies_of,
    has_partners,
    redeemed,
)
from wallet_server.programs.definition import ProgramDefinition


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
    and a refund that returns points. For a refund ``program`` is the version that the purchase names, so that
    what comes back finds what was settled. Values and percents are those of now and stay as they are. Costs
    nothing in a program without partners; calling it again changes nothing.
    """
    if not (purchase_ids or hold_ids) or not has_partners(program):
        return 0
    moved = unsettled(session, program.id, now, purchase_ids=purchase_ids, hold_ids=hold_ids)
    originals = {move.original_id for move in moved if move.original_id is not None}
    known = lines_of_redemptions(session, program.id, originals) if originals else {}
    rows: list[dict[str, Any]] = []
    for move in moved:
        day = _day(program, move, now)
        for pair, amounts in _amounts(program, move, known).items():
            rows.append(_row(program.id, move, pair, amounts, day) | {"recorded_at": now})
    insert_rows(session, SettlementLine, rows)
    return len(rows)


def _amounts(
    program: ProgramDefinition, move: Moved, known: dict[UUID, dict[Pair, tuple[Amounts, Amounts]]]
) -> dict[Pair, Amounts]:
    found = redeemed(companies_of(program), program.points.point_value_minor, move.honoured_at, move.issued_at)
    if move.original_id is None:
        return found
    result: dict[Pair, Amounts] = {}
    of_redemption = known.setdefault(move.original_id, {})
    for pair, amounts in found.items():
        original, before = of_redemption.get(pair, (NOTHING, NOTHING))
        assert original.points, "what comes back was settled by another version of the program"
        result[pair] = came_back(original, before, amounts.points)
        # A refund may return points in several postings: each sees what the one before it took back.
        of_redemption[pair] = (original, before + result[pair])
    return result


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
