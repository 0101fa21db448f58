"""Writing challenge progress: what a batch of purchases adds, and what it completes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

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
from wallet_server.challenges.queries import Before, Board, DayKey, before_asked, current_windows
from wallet_server.db import insert_rows, new_id, upsert_rows
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import Challenge
from wallet_server.reads import one_round


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


def advance(
    session: Session,
    program: ProgramDefinition,
    facts: Sequence[PurchaseFacts],
    now: datetime,
    *,
    before: Before | None = None,
) -> Advance:
    """Count purchases (and visits) for the program's challenges, in the order given.

    The caller holds the members' balance rows locked (``ledger.services.lock_balances``), so that two
    purchases of one member never read the same standing; ``before`` saves the reads where the caller has made
    them after locking. At most five statements, whatever the size of the batch. Each purchase may be counted
    once only: a second time breaks a constraint.
    """
    member_ids = list(dict.fromkeys(fact.member_id for fact in facts))
    steps = [
        _Step(fact, challenge, window_key(challenge.window.kind, fact.business_date), amount)
        for fact in facts
        for challenge in program.file.challenges
        if (amount := contribution(challenge, fact, program.ancestors))
    ]
    windows = current_windows(program, now)
    if before is None:
        before = _read_before(session, program, member_ids, {fact.business_date for fact in facts}, now)
    board = before.board
    days: defaultdict[DayKey, int] = defaultdict(int, before.days)
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


def _read_before(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], dates: Collection[date], now: datetime
) -> Before:
    board_asked, days_asked = before_asked(program, member_ids, dates, now)
    with one_round(session) as ask:
        board, days = ask(board_asked), ask(days_asked)
    return Before(board.value, days.value)


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
