"""What must always be true of challenges and of what they won; see :mod:`wallet_server.ledger.invariants`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.challenges.models import ChallengeContribution, ChallengeProgress
from wallet_server.ledger.invariants import Check, Violation, table, violations
from wallet_server.programs.models import Outlet
from wallet_server.rewards.models import Voucher

CONTRIBUTION, PROGRESS = table(ChallengeContribution), table(ChallengeProgress)
VOUCHER, OUTLET = table(Voucher), table(Outlet)


def progress_is_the_sum_of_contributions(session: Session) -> list[Violation]:
    """L19, in part: a member's progress in a window is the sum of what purchases contributed to it."""
    sums = (
        sa.select(
            CONTRIBUTION.c.member_id,
            CONTRIBUTION.c.challenge,
            CONTRIBUTION.c.window,
            sa.func.sum(CONTRIBUTION.c.amount).label("amount"),
        )
        .group_by(CONTRIBUTION.c.member_id, CONTRIBUTION.c.challenge, CONTRIBUTION.c.window)
        .subquery()
    )
    same = sa.and_(
        sums.c.member_id == PROGRESS.c.member_id,
        sums.c.challenge == PROGRESS.c.challenge,
        sums.c.window == PROGRESS.c.window,
    )
    total = sa.func.coalesce(sums.c.amount, 0)
    wrong = (
        sa.select(
            PROGRESS.c.id,
            PROGRESS.c.challenge,
            PROGRESS.c.window,
            PROGRESS.c.progress,
            total.label("contributions"),
        )
        .outerjoin(sums, same)
        .where(PROGRESS.c.progress != total)
    )
    homeless = (
        sa.select(CONTRIBUTION.c.id, CONTRIBUTION.c.challenge, CONTRIBUTION.c.window)
        .outerjoin(
            PROGRESS,
            sa.and_(
                PROGRESS.c.member_id == CONTRIBUTION.c.member_id,
                PROGRESS.c.challenge == CONTRIBUTION.c.challenge,
                PROGRESS.c.window == CONTRIBUTION.c.window,
            ),
        )
        .where(PROGRESS.c.id.is_(None))
    )
    return violations(session, "L19", PROGRESS.c.program_id, wrong) + violations(
        session, "L19", CONTRIBUTION.c.program_id, homeless
    )


def a_purchase_counts_once(session: Session) -> list[Violation]:
    """L23: a purchase contributes to a challenge at most once, and what it contributes is more than nothing."""
    twice = (
        sa.select(CONTRIBUTION.c.source_id, CONTRIBUTION.c.challenge, sa.func.count().label("contributions"))
        .group_by(CONTRIBUTION.c.source_id, CONTRIBUTION.c.challenge)
        .having(sa.func.count() > 1)
    )
    nothing = sa.select(CONTRIBUTION.c.id, CONTRIBUTION.c.challenge, CONTRIBUTION.c.amount).where(
        CONTRIBUTION.c.amount <= 0
    )
    return violations(session, "L23", CONTRIBUTION.c.program_id, twice) + violations(
        session, "L23", CONTRIBUTION.c.program_id, nothing
    )


def vouchers_were_won(session: Session) -> list[Violation]:
    """L25, in part: a voucher has an origin of its own, and a window brought no more vouchers than completions."""
    twice = (
        sa.select(sa.func.min(VOUCHER.c.code).label("code"), VOUCHER.c.origin, sa.func.count().label("vouchers"))
        .group_by(VOUCHER.c.member_id, VOUCHER.c.origin)
        .having(sa.func.count() > 1)
    )
    # The first characters of the origin are compared, because LIKE would take the "_" of a code for any letter.
    prefix = sa.literal("challenge:") + PROGRESS.c.challenge + ":" + PROGRESS.c.window + ":"
    # A member is of one program (L17). Naming the program here too leads SQLite to an index by program, on which
    # each voucher of a year looked at all progress: minutes instead of a second.
    won_here = sa.and_(
        VOUCHER.c.member_id == PROGRESS.c.member_id,
        sa.func.substr(VOUCHER.c.origin, 1, sa.func.length(prefix)) == prefix,
    )
    too_many = (
        sa.select(
            PROGRESS.c.id,
            PROGRESS.c.challenge,
            PROGRESS.c.window,
            PROGRESS.c.completions,
            sa.func.count().label("vouchers"),
        )
        .join(VOUCHER, won_here)
        .group_by(PROGRESS.c.id, PROGRESS.c.challenge, PROGRESS.c.window, PROGRESS.c.completions)
        .having(sa.func.count() > PROGRESS.c.completions)
    )
    from_nowhere = sa.select(VOUCHER.c.id, VOUCHER.c.origin).where(
        sa.func.substr(VOUCHER.c.origin, 1, len("challenge:")) == "challenge:",
        ~sa.exists().where(won_here),
    )
    return [
        *violations(session, "L25", VOUCHER.c.program_id, twice),
        *violations(session, "L25", PROGRESS.c.program_id, too_many),
        *violations(session, "L25", VOUCHER.c.program_id, from_nowhere),
    ]


def used_vouchers_say_where(session: Session) -> list[Violation]:
    """A voucher that was redeemed says by whom and at which outlet of its own program, and was not expired then."""
    statement = (
        sa.select(VOUCHER.c.id, VOUCHER.c.redeemed_at, VOUCHER.c.expires_at, VOUCHER.c.redeemed_by)
        .outerjoin(
            OUTLET,
            sa.and_(OUTLET.c.id == VOUCHER.c.redeemed_outlet_id, OUTLET.c.program_id == VOUCHER.c.program_id),
        )
        .where(
            VOUCHER.c.redeemed_at.is_not(None),
            sa.or_(
                OUTLET.c.id.is_(None),
                VOUCHER.c.redeemed_by.is_(None),
                VOUCHER.c.expires_at <= VOUCHER.c.redeemed_at,
            ),
        )
    )
    return violations(session, "L17", VOUCHER.c.program_id, statement)


CHECKS: Final[Sequence[Check]] = (
    progress_is_the_sum_of_contributions,
    a_purchase_counts_once,
    vouchers_were_won,
    used_vouchers_say_where,
)
