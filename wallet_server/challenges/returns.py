"""Taking challenge progress back: what the returned lines of a purchase had counted for counts no more.

Progress stays the sum of what purchases contributed. Where a day's limit had cut off another purchase of that day,
the room that comes free is that purchase's, as if the refunded one had never been. The caller holds the member's
balance row locked, as for :func:`wallet_server.challenges.services.advance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.challenges.models import ChallengeContribution, ChallengeProgress
from wallet_server.challenges.progress import (
    Completion,
    PurchaseFacts,
    Standing,
    contribution,
    lost_rounds,
)
from wallet_server.db import insert_rows, new_id
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import Challenge
from wallet_server.rewards.returns import Lost

CONTRIBUTION: sa.Table = ChallengeContribution.__table__  # type: ignore[attr-defined]
PROGRESS: sa.Table = ChallengeProgress.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Less:
    """Progress that was taken back of one window, in the metric's own unit, and the rounds no longer reached."""

    challenge: str
    window: str
    amount: int
    lost: tuple[Lost, ...]


def take_back(
    session: Session,
    program: ProgramDefinition,
    recorded: ProgramDefinition,
    *,
    bought: PurchaseFacts,
    left: PurchaseFacts | None,
    same_day: Sequence[PurchaseFacts],
) -> list[Less]:
    """Count a purchase by what is left of it (``None``: nothing); rounds stay completed until :func:`uncomplete`.

    ``recorded`` is the version with which it was counted, ``bought`` the purchase as it was then. ``same_day`` are
    the member's other purchases and visits of that business date, in the order in which they were recorded, as far
    as they are not refunded; only challenges with ``max_per_day`` ask for them.
    """
    rows = session.connection().execute(
        sa.select(CONTRIBUTION).where(
            CONTRIBUTION.c.program_id == program.id,
            CONTRIBUTION.c.member_id == bought.member_id,
            CONTRIBUTION.c.source_id == bought.purchase_id,
        )
    )
    result: list[Less] = []
    for row in rows.all():
        challenge = recorded.challenge(row.challenge) or program.challenge(row.challenge)
        amount = _left_of(challenge, row.amount, bought, left, recorded)
        freed = row.amount - amount
        if not freed:
            continue
        _set(session, row.id, amount)
        if challenge is not None and challenge.max_per_day is not None:
            freed -= _refill(session, recorded, challenge, row, freed, same_day=same_day)
        result.append(_lower(session, program, recorded, row, freed))
    return result


def _left_of(
    challenge: Challenge | None,
    counted: int,
    bought: PurchaseFacts,
    left: PurchaseFacts | None,
    recorded: ProgramDefinition,
) -> int:
    if left is None:
        return 0
    if challenge is None or not contribution(challenge, bought, recorded.ancestors):
        return counted  # counted by a definition that nobody has any more: it goes with the last line
    return min(counted, contribution(challenge, left, recorded.ancestors))


def _set(session: Session, contribution_id: UUID, amount: int) -> None:
    here = CONTRIBUTION.c.id == contribution_id
    session.connection().execute(
        sa.update(CONTRIBUTION).where(here).values(amount=amount) if amount else sa.delete(CONTRIBUTION).where(here)
    )


def _refill(
    session: Session,
    recorded: ProgramDefinition,
    challenge: Challenge,
    row: sa.Row[Any],
    freed: int,
    *,
    same_day: Sequence[PurchaseFacts],
) -> int:
    """Let the day's other purchases count where the limit had cut them off; how much of ``freed`` they took."""
    counted = {
        other.source_id: (other.id, other.amount)
        for other in session.connection().execute(
            sa.select(CONTRIBUTION.c.id, CONTRIBUTION.c.source_id, CONTRIBUTION.c.amount).where(
                CONTRIBUTION.c.program_id == row.program_id,
                CONTRIBUTION.c.member_id == row.member_id,
                CONTRIBUTION.c.challenge == row.challenge,
                CONTRIBUTION.c.window == row.window,
                CONTRIBUTION.c.business_date == row.business_date,
            )
        )
    }
    left, added = freed, []
    for facts in same_day:
        contribution_id, before = counted.get(facts.purchase_id, (None, 0))
        more = min(left, max(0, contribution(challenge, facts, recorded.ancestors) - before))
        if not more:
            continue
        left -= more
        if contribution_id is not None:
            _set(session, contribution_id, before + more)
        else:
            kept = ("program_id", "member_id", "challenge", "window", "business_date")
            same = {name: getattr(row, name) for name in kept}
            added.append(same | {"id": new_id(), "source_id": facts.purchase_id, "amount": more})
    insert_rows(session, ChallengeContribution, added)
    return freed - left


def _lower(
    session: Session, program: ProgramDefinition, recorded: ProgramDefinition, row: sa.Row[Any], amount: int
) -> Less:
    """Write the lower progress, and name the rounds that it no longer reaches."""
    if not amount:
        return Less(row.challenge, row.window, 0, ())
    connection = session.connection()
    here = _place(program.id, row.member_id, row.challenge, row.window)
    before = connection.execute(sa.select(PROGRESS.c.progress, PROGRESS.c.completions).where(*here)).one()
    connection.execute(sa.update(PROGRESS).where(*here).values(progress=before.progress - amount))
    challenge = program.challenge(row.challenge) or recorded.challenge(row.challenge)
    if challenge is None:
        return Less(row.challenge, row.window, amount, ())
    numbers = lost_rounds(challenge, Standing(before.progress, before.completions), before.progress - amount)
    sources = _sources(session, row) if numbers else frozenset[UUID]()
    lost = tuple(
        Lost(Completion(row.member_id, row.challenge, row.window, number, row.source_id), sources)
        for number in reversed(numbers)
    )
    return Less(row.challenge, row.window, amount, lost)


def _sources(session: Session, row: sa.Row[Any]) -> frozenset[UUID]:
    """The purchases that count for the window of this row, and its own."""
    others = session.connection().execute(
        sa.select(CONTRIBUTION.c.source_id).where(
            CONTRIBUTION.c.program_id == row.program_id,
            CONTRIBUTION.c.member_id == row.member_id,
            CONTRIBUTION.c.challenge == row.challenge,
            CONTRIBUTION.c.window == row.window,
        )
    )
    return frozenset({row.source_id, *others.scalars()})


def uncomplete(session: Session, program: ProgramDefinition, undone: Sequence[Completion]) -> None:
    """Count these rounds as not completed: they can be won again."""
    places: dict[tuple[UUID, str, str], int] = {}
    for completion in undone:
        key = (completion.member_id, completion.challenge, completion.window)
        places[key] = places.get(key, 0) + 1
    for key, count in places.items():
        left = PROGRESS.c.completions - count
        session.connection().execute(
            sa.update(PROGRESS)
            .where(*_place(program.id, *key))
            .values(completions=left, completed_at=sa.case((left > 0, PROGRESS.c.completed_at), else_=sa.null()))
        )


def _place(program_id: UUID, member_id: UUID, challenge: str, window: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        PROGRESS.c.program_id == program_id,
        PROGRESS.c.member_id == member_id,
        PROGRESS.c.challenge == challenge,
        PROGRESS.c.window == window,
    )
