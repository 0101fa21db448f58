"""Writes of tiers: what a purchase, a refund, staff, a new table and the clock do to them.

The caller marks the passes of members whose tier has changed (``issuance.services.passes_changed``), which lives
a floor above.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.db import insert_rows, new_id, upsert_rows
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.ledger.services import lock_balances
from wallet_server.members.models import Member
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.tiers.levels import Cause, Decision, Standing, decide
from wallet_server.tiers.models import MemberTier, TierChange
from wallet_server.tiers.queries import days_of_members, standings
from wallet_server.tiers.table import Counts, tier_table
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit

REVIEWED_AT_ONCE: Final = 500
PROTECTED_DAYS_MAX: Final = 3650
CLOCK: Final = "clock"
"""The actor of what nobody did."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a look at members has done; ``after`` is where to go on, ``None`` when all were looked at."""

    looked_at: int
    changed: Mapping[UUID, frozenset[UUID]]
    """Members by program whose tier is another one now."""
    after: UUID | None = None


def reconsider(
    session: Session,
    program: ProgramDefinition,
    member_ids: Collection[UUID],
    now: datetime,
    *,
    known: Mapping[UUID, Standing] | None = None,
    reason: str = "reached",
    lowered: bool = False,
    actor: str = "",
) -> dict[UUID, str | None]:
    """Give each member the tier that its counts have reached, and return the tiers held now.

    Up at once and never down; with ``lowered`` (after a refund, whose rows are written already) also down at once
    to what is left, but not below a protected tier or one in grace. ``known`` saves the read where the caller has
    just locked and changed the counts itself; its ``tier`` is the one that the row still has. The members'
    balances are locked. ``None`` is the tier in a program without tiers.
    """
    assert reason in ("reached", "refunded"), f"{reason!r} is not what a purchase or a refund does"
    current = standings(session, program, member_ids, now) if known is None else known
    cause: Cause = "refund" if lowered else "event"
    members = {key: current.get(key, Standing()) for key in member_ids}
    return _settle(session, program, members, now, cause=cause, actor=actor)


def _settle(
    session: Session,
    program: ProgramDefinition,
    members: Mapping[UUID, Standing],
    now: datetime,
    *,
    cause: Cause,
    actor: str,
    days: Mapping[UUID, Mapping[date, Counts]] | None = None,
) -> dict[UUID, str | None]:
    table = tier_table(program)
    decisions = {
        member_id: decide(table, standing, now, cause, None if days is None else days.get(member_id, {}))
        for member_id, standing in members.items()
    }
    _write(session, program, members, decisions, now=now, actor=actor)
    return {member_id: decision.tier for member_id, decision in decisions.items()}


def _write(
    session: Session,
    program: ProgramDefinition,
    members: Mapping[UUID, Standing],
    decisions: Mapping[UUID, Decision],
    *,
    now: datetime,
    actor: str,
) -> None:
    """Write what is another than before: the tiers, and one row of history for each step."""
    rows: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    for member_id in sorted(decisions):
        standing, made = members[member_id], decisions[member_id]
        tier = standing.tier if made.tier is None else made.tier
        state = (tier, made.protected_until, made.grace_until, made.review_at)
        if tier is None or state == (
            standing.tier,
            standing.protected_until,
            standing.grace_until,
            standing.review_at,
        ):
            continue
        rows.append(
            {
                "member_id": member_id,
                "program_id": program.id,
                "tier": tier,
                "since": standing.since if tier == standing.tier and standing.since else now,
                "protected_until": made.protected_until,
                "grace_until": made.grace_until,
                "review_at": made.review_at,
            }
        )
        if made.reason is not None and tier != standing.tier:
            steps.append(
                {
                    "id": new_id(),
                    "program_id": program.id,
                    "member_id": member_id,
                    "from_tier": standing.tier,
                    "to_tier": tier,
                    "reason": made.reason,
                    "actor": actor[:200],
                    "at": now,
                }
            )
    columns = ["tier", "since", "protected_until", "grace_until", "review_at"]
    upsert_rows(session, MemberTier, rows, key=["member_id"], update=columns)
    insert_rows(session, TierChange, steps)
    emit(session, program.id, [_event(step) for step in steps], now)


def _event(step: Mapping[str, Any]) -> Event:
    data = {"member_id": str(step["member_id"]), "from": step["from_tier"], "to": step["to_tier"]}
    return Event("tier.changed", step["member_id"], {**data, "reason": step["reason"]})


def grant_tier(
    session: Session,
    program: ProgramDefinition,
    member_id: UUID,
    *,
    tier: str,
    until: datetime,
    actor: str,
    now: datetime,
) -> str:
    """Give a member a level until a moment, and return the level held now; afterwards it is what is reached then.

    A member who holds a higher level keeps it and gains nothing; one who holds this level has it until then at
    least. Raises ``NotFoundError(unknown_tier | unknown_member)``, ``DomainError(validation)`` for a moment that
    is not in the future or more than ten years away.
    """
    table = tier_table(program)
    wanted = table.index(tier)
    if wanted is None:
        raise NotFoundError("unknown_tier", f"this program has no tier {tier!r}")
    _check_until(until, now)
    standing = _locked_standing(session, program, member_id, now)
    held = table.index(standing.tier)
    if held is not None and held > wanted:
        return table.steps[held].code
    if held == wanted and standing.protected_until is not None:
        until = max(until, standing.protected_until)
    made = _held_until(standing, tier, until, "granted", now)
    _write(session, program, {member_id: standing}, {member_id: made}, now=now, actor=actor)
    return tier


def protect_tier(
    session: Session,
    program: ProgramDefinition,
    member_id: UUID,
    *,
    until: datetime | None,
    actor: str,
    now: datetime,
) -> None:
    """Promise that a member's tier is not lowered before a moment; ``None`` takes the promise back.

    Without it the member is what was reached: a level that is not is left when the clock looks next.
    Raises as :func:`grant_tier`, and ``DomainError(validation)`` for a member without a tier.
    """
    if until is not None:
        _check_until(until, now)
    standing = _locked_standing(session, program, member_id, now)
    if standing.tier is None:
        raise DomainError("validation", "there is no tier to protect in this program", field="tier")
    until = until if until is not None or standing.protected_until is None else now
    made = _held_until(standing, standing.tier, until, None, now)
    _write(session, program, {member_id: standing}, {member_id: made}, now=now, actor=actor)


def _check_until(until: datetime, now: datetime) -> None:
    if until.tzinfo is None or not now < until <= now + timedelta(days=PROTECTED_DAYS_MAX):
        message = f"until is a moment with a time zone, in the next {PROTECTED_DAYS_MAX} days"
        raise DomainError("validation", message, field="until")


def _locked_standing(session: Session, program: ProgramDefinition, member_id: UUID, now: datetime) -> Standing:
    lock_balances(session, [member_id])
    standing = standings(session, program, [member_id], now).get(member_id)
    if standing is None:
        raise NotFoundError("unknown_member", "there is no such member in this program")
    return standing


def _held_until(standing: Standing, tier: str, until: datetime | None, reason: str | None, now: datetime) -> Decision:
    # Looked at by the clock's next turn, which knows when the level would be lost without the promise.
    return Decision(tier, reason if tier != standing.tier else None, until, None, now)


def review_due(session: Session, now: datetime, limit: int = REVIEWED_AT_ONCE) -> Reviewed:
    """Look at members whose time has come, at most ``limit`` of them, and lower or lift who is due.

    Runs in the scope of all programs, in portions: the caller repeats it until nobody was looked at.
    """
    statement = (
        sa.select(col(MemberTier.program_id), col(MemberTier.member_id))
        .where(col(MemberTier.review_at) <= now)
        .order_by(col(MemberTier.review_at), col(MemberTier.member_id))
        .limit(limit)
    )
    due: defaultdict[UUID, list[UUID]] = defaultdict(list)
    for program_id, member_id in session.execute(statement):
        due[program_id].append(member_id)
    changed: dict[UUID, frozenset[UUID]] = {}
    for program_id in sorted(due):
        program = load_program(session, program_id=program_id)
        changed[program_id] = _look_at(session, program, due[program_id], now, "time")
    return Reviewed(sum(map(len, due.values())), changed)


def review_table(
    session: Session, program: ProgramDefinition, after: UUID | None, now: datetime, limit: int = REVIEWED_AT_ONCE
) -> Reviewed:
    """Look at the next members of a program whose tier table was changed: up at once, down after grace."""
    statement = sa.select(col(Member.id)).where(col(Member.program_id) == program.id)
    if after is not None:
        statement = statement.where(col(Member.id) > after)
    part = list(session.scalars(statement.order_by(col(Member.id)).limit(limit)))
    changed = {program.id: _look_at(session, program, part, now, "table")}
    return Reviewed(len(part), changed, part[-1] if len(part) == limit else None)


def _look_at(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], now: datetime, cause: Cause
) -> frozenset[UUID]:
    """Decide about members anew; returns those whose tier is another one now."""
    lock_balances(session, member_ids)
    members = standings(session, program, member_ids, now)
    days = days_of_members(session, program, members, now) if cause == "time" else None
    held = _settle(session, program, members, now, cause=cause, actor=CLOCK, days=days)
    return frozenset(member_id for member_id, tier in held.items() if tier not in (None, members[member_id].tier))
