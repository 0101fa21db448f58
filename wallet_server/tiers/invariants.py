"""What must always be true of tiers; see :mod:`wallet_server.ledger.invariants`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS
from wallet_server.ledger.violations import Check, Violation, table, violations
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.models import ProgramVersion
from wallet_server.programs.queries import list_programs, load_program
from wallet_server.tiers.models import MemberTier, TierChange

HELD, CHANGE = table(MemberTier), table(TierChange)
VERSION = table(ProgramVersion)

LOOKED_AT_WITHIN: Final = timedelta(days=1)
"""A till that meets a tier whose time is over asks for a look at once, which is after that time."""
REASONS: Final = frozenset({"reached", "lapsed", "granted", "ended", "refunded", "table"})


def histories_end_at_the_tier_held(session: Session) -> list[Violation]:
    """T1: each step of a member's history begins where the one before ended, and the last ends at the tier held."""
    steps = sa.select(
        CHANGE.c.id,
        CHANGE.c.program_id,
        CHANGE.c.member_id,
        CHANGE.c.from_tier,
        CHANGE.c.to_tier,
        sa.func.lag(CHANGE.c.to_tier).over(partition_by=CHANGE.c.member_id, order_by=CHANGE.c.id).label("before"),
        sa.func.lead(CHANGE.c.id).over(partition_by=CHANGE.c.member_id, order_by=CHANGE.c.id).label("next"),
    ).subquery()
    torn = sa.select(steps.c.id, steps.c.before.label("tier before"), steps.c.from_tier.label("leaves")).where(
        steps.c.before.is_not(None), steps.c.before.is_distinct_from(steps.c.from_tier)
    )
    elsewhere = (
        sa.select(steps.c.id, steps.c.to_tier.label("history ends at"), HELD.c.tier.label("held"))
        .outerjoin(HELD, HELD.c.member_id == steps.c.member_id)
        .where(steps.c.next.is_(None), HELD.c.tier.is_distinct_from(steps.c.to_tier))
    )
    return [
        *violations(session, "T1", steps.c.program_id, torn),
        *violations(session, "T1", steps.c.program_id, elsewhere),
    ]


def changes_say_why(session: Session) -> list[Violation]:
    """T2: each step of a history goes to another tier, for a known reason, and what was granted has an actor."""
    statement = sa.select(CHANGE.c.id, CHANGE.c.from_tier, CHANGE.c.to_tier, CHANGE.c.reason, CHANGE.c.actor).where(
        sa.or_(
            CHANGE.c.from_tier == CHANGE.c.to_tier,
            CHANGE.c.reason.not_in(sorted(REASONS)),
            sa.and_(CHANGE.c.reason == "granted", CHANGE.c.actor == ""),
        )
    )
    return violations(session, "T2", CHANGE.c.program_id, statement)


def promises_are_looked_at_in_time(session: Session) -> list[Violation]:
    """T3: a tier that is protected or in grace was held before that ends, and is looked at when it does."""
    found: list[Violation] = []
    for name in ("protected_until", "grace_until"):
        until = HELD.c[name]
        keep = (HELD.c.member_id, HELD.c.since, until, HELD.c.review_at)
        never = sa.select(*keep).where(until.is_not(None), sa.or_(HELD.c.review_at.is_(None), until < HELD.c.since))
        found += violations(session, "T3", HELD.c.program_id, never)
        late = sa.select(*keep).where(HELD.c.review_at > until, until >= HELD.c.since)
        if (scope := session.info.get("scope")) is not ALL_PROGRAMS:
            late = late.where(HELD.c.program_id == scope)
        found += [
            Violation("T3", str(row.member_id), f"{name} {row[2]}, review_at {row.review_at}")
            for row in session.connection().execute(late)
            if row.review_at > row[2] + LOOKED_AT_WITHIN
        ]
    return found


def tiers_held_were_in_the_program(session: Session) -> list[Violation]:
    """T4: a tier that is held is in the program's table, or was: then it is left over until the clock has looked."""
    scope = session.info.get("scope")
    found: list[Violation] = []
    for row in list_programs(session):
        if scope is not ALL_PROGRAMS and row.id != scope:
            continue
        mine = sa.select(HELD.c.tier).where(HELD.c.program_id == row.id).distinct()
        strange = set(session.connection().execute(mine).scalars()) - _tiers(load_program(session, program_id=row.id))
        if strange:
            strange -= _tiers_of_all_versions(session, row.id)
        statement = sa.select(HELD.c.member_id, HELD.c.tier).where(HELD.c.tier.in_(sorted(strange)))
        if strange:
            found += violations(session, "T4", HELD.c.program_id, statement.where(HELD.c.program_id == row.id))
    return found


def _tiers(program: ProgramDefinition) -> set[str]:
    return {level.code for level in program.file.tiers.levels}


def _tiers_of_all_versions(session: Session, program_id: UUID) -> set[str]:
    documents = session.connection().execute(sa.select(VERSION.c.document).where(VERSION.c.program_id == program_id))
    return {
        level["code"] for document in documents.scalars() for level in (document.get("tiers") or {}).get("levels", ())
    }


CHECKS: Final[Sequence[Check]] = (
    histories_end_at_the_tier_held,
    changes_say_why,
    promises_are_looked_at_in_time,
    tiers_held_were_in_the_program,
)
