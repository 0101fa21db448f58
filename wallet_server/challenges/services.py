"""Writing challenge progress: what a batch of purchases adds, and what it completes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.challenges.models import ChallengeContribution, ChallengeProgress
from wallet_server.challenges.progress import (
    ChallengeState,
    Completion,
    PurchaseFacts,
    Standing,
    advanced,
    allowed_today,
    contribution,
    window_key,
)
from wallet_server.challenges.queries import Board, current_windows, read_board
from wallet_server.db import among, insert_rows, new_id, upsert_rows
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import Challenge

CONTRIBUTION: sa.Table = ChallengeContribution.__table__  # type: ignore[attr-defined]
_DayKey = tuple[UUID, str, date]


@dataclass(frozen=True)
class Advance:
    """What a batch of purchases did: every member's standing after it, and the rounds it completed."""

    states: Mapping[UUID, tuple[ChallengeState, ...]]
    completions: Sequence[Completion]


@dataclass(frozen=True)
class _Step:
    """One purchase that counts for one challenge; ``amount`` before the daily limit."""

    facts: PurchaseFacts
    challenge: Challenge
    window: str
    amount: int


def advance(session: Session, program: ProgramDefinition, facts: Sequence[PurchaseFacts], now: datetime) -> Advance:
    """Count purchases (and visits) for the program's challenges, in the order given.

    The caller holds the members' balance rows locked (``ledger.services.lock_balances``), so that two
    purchases of one member never read the same standing. At most five statements, whatever the size of the
    batch. Each purchase may be counted once only: a second time breaks a constraint.
    """
    member_ids = list(dict.fromkeys(fact.member_id for fact in facts))
    steps = [
        _Step(fact, challenge, window_key(challenge.window.kind, fact.business_date), amount)
        for fact in facts
        for challenge in program.file.challenges
        if (amount := contribution(challenge, fact, program.ancestors))
    ]
    windows = current_windows(program, now)
    board = read_board(session, program, member_ids, {*windows.values(), *(step.window for step in steps)})
    days = _counted_by_day(session, program, steps)
    contributions: list[dict[str, object]] = []
    completions: list[Completion] = []
    completed_at: dict[tuple[UUID, str, str], datetime] = {}
    for step in steps:
        member_id, code = step.facts.member_id, step.challenge.code
        day = (member_id, code, step.facts.business_date)
        amount = allowed_today(step.challenge, step.amount, days[day])
        if amount == 0:
            continue
        days[day] += amount
        key = (member_id, code, step.window)
        standing, rounds = advanced(
            step.challenge,
            board.standings.get(key, Standing()),
            amount,
            completed_elsewhere=board.completed_elsewhere(key),
        )
        board.put(key, standing)
        for number in rounds:
            completions.append(
                Completion(member_id, code, step.window, number, step.facts.purchase_id, step.facts.visit)
            )
            completed_at[key] = max(step.facts.occurred_at, completed_at.get(key, step.facts.occurred_at))
        contributions.append(
            {
                "id": new_id(),
                "program_id": program.id,
                "member_id": member_id,
                "challenge": code,
                "window": step.window,
                "source_id": step.facts.purchase_id,
                "business_date": step.facts.business_date,
                "amount": amount,
            }
        )
    insert_rows(session, ChallengeContribution, contributions)
    _save(session, program, board, completed_at)
    return Advance(board.states(program, member_ids, windows), completions)


def _counted_by_day(session: Session, program: ProgramDefinition, steps: Sequence[_Step]) -> defaultdict[_DayKey, int]:
    """What already counts on the business dates of the steps, for challenges that limit a day."""
    limited = [step for step in steps if step.challenge.max_per_day is not None]
    counted: defaultdict[_DayKey, int] = defaultdict(int)
    if not limited:
        return counted
    table = CONTRIBUTION.c
    by = (table.member_id, table.challenge, table.business_date)
    rows = session.connection().execute(
        sa.select(*by, sa.func.sum(table.amount))
        .where(
            table.program_id == program.id,
            among(session, table.member_id, {step.facts.member_id for step in limited}),
            among(session, table.challenge, {step.challenge.code for step in limited}),
            # A day lies within one window; naming the windows lets the index answer.
            among(session, table.window, {step.window for step in limited}),
            among(session, table.business_date, {step.facts.business_date for step in limited}),
        )
        .group_by(*by)
    )
    for member_id, challenge, day, amount in rows:
        counted[member_id, challenge, day] = int(amount)
    return counted


def _save(
    session: Session,
    program: ProgramDefinition,
    board: Board,
    completed_at: Mapping[tuple[UUID, str, str], datetime],
) -> None:
    """Write the standings that moved; those that completed a round also get its moment."""
    moved: list[dict[str, object]] = []
    completed: list[dict[str, object]] = []
    for key in board.changed:
        member_id, challenge, window = key
        standing = board.standings[key]
        row: dict[str, object] = {
            "id": new_id(),
            "program_id": program.id,
            "member_id": member_id,
            "challenge": challenge,
            "window": window,
            "progress": standing.progress,
            "completions": standing.completions,
            "completed_at": completed_at.get(key),
        }
        (completed if key in completed_at else moved).append(row)
    key_columns = ("member_id", "challenge", "window")
    upsert_rows(session, ChallengeProgress, moved, key=key_columns, update=("progress", "completions"))
    upsert_rows(
        session, ChallengeProgress, completed, key=key_columns, update=("progress", "completions", "completed_at")
    )
