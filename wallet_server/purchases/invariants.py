"""What must always be true of purchases and of what they caused; see :mod:`wallet_server.ledger.invariants`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.idempotency.models import IdempotencyKey
from wallet_server.ledger.invariants import Check, Violation, table, violations
from wallet_server.ledger.models import Entry, Posting
from wallet_server.members.models import MemberStatistics
from wallet_server.purchases.models import Purchase, PurchaseLine, PurchaseTrace

PURCHASE, LINE, TRACE = table(Purchase), table(PurchaseLine), table(PurchaseTrace)
POSTING, ENTRY = table(Posting), table(Entry)
STATISTICS, KEY = table(MemberStatistics), table(IdempotencyKey)


def keys_have_one_answer(session: Session) -> list[Violation]:
    """L7: a key of a client has one stored answer."""
    statement = (
        sa.select(sa.func.min(KEY.c.key).label("key"), KEY.c.client, sa.func.count().label("answers"))
        .group_by(KEY.c.program_id, KEY.c.client, KEY.c.key)
        .having(sa.func.count() > 1)
    )
    return violations(session, "L7", KEY.c.program_id, statement)


def receipts_are_recorded_once(session: Session) -> list[Violation]:
    """L8: a receipt of an outlet is one purchase, which earned and redeemed at most once."""
    twice = (
        sa.select(PURCHASE.c.receipt_id, PURCHASE.c.outlet_id, sa.func.count().label("purchases"))
        .group_by(PURCHASE.c.outlet_id, PURCHASE.c.receipt_id)
        .having(sa.func.count() > 1)
    )
    moved_twice = (
        sa.select(POSTING.c.purchase_id, POSTING.c.kind, sa.func.count().label("postings"))
        .where(POSTING.c.purchase_id.is_not(None), POSTING.c.kind.in_(("earn", "redeem")))
        .group_by(POSTING.c.purchase_id, POSTING.c.kind)
        .having(sa.func.count() > 1)
    )
    return violations(session, "L8", PURCHASE.c.program_id, twice) + violations(
        session, "L8", POSTING.c.program_id, moved_twice
    )


def purchases_agree_with_the_ledger(session: Session) -> list[Violation]:
    """L9 and L16, in part: what a purchase says was earned and redeemed is what the ledger moved for it."""
    moved = (
        sa.select(
            POSTING.c.purchase_id,
            sa.func.sum(sa.case((ENTRY.c.account == "issued", -ENTRY.c.points), else_=0)).label("earned"),
            sa.func.sum(sa.case((ENTRY.c.account == "redeemed", ENTRY.c.points), else_=0)).label("redeemed"),
        )
        .join(ENTRY, ENTRY.c.posting_id == POSTING.c.id)
        .where(POSTING.c.kind.in_(("earn", "redeem")))
        .group_by(POSTING.c.purchase_id)
        .subquery()
    )
    earned, redeemed = sa.func.coalesce(moved.c.earned, 0), sa.func.coalesce(moved.c.redeemed, 0)
    statement = (
        sa.select(
            PURCHASE.c.id,
            PURCHASE.c.points_earned,
            earned.label("ledger earned"),
            PURCHASE.c.points_redeemed,
            redeemed.label("ledger redeemed"),
        )
        .outerjoin(moved, moved.c.purchase_id == PURCHASE.c.id)
        .where(sa.or_(PURCHASE.c.points_earned != earned, PURCHASE.c.points_redeemed != redeemed))
    )
    return violations(session, "L9", PURCHASE.c.program_id, statement)


def lines_add_up(session: Session) -> list[Violation]:
    """L9: a purchase's totals are the sums of its lines, no line is paid beyond its amount, and it has a trace.

    Points of the receipt, which belong to no line, are added to those of the lines.
    """
    sums = (
        sa.select(
            LINE.c.purchase_id,
            sa.func.sum(LINE.c.amount_minor).label("amount"),
            sa.func.sum(LINE.c.discount_minor).label("discount"),
            sa.func.sum(LINE.c.paid_with_points_minor).label("paid"),
            sa.func.sum(LINE.c.points_earned).label("points"),
            sa.func.max(LINE.c.discount_minor + LINE.c.paid_with_points_minor - LINE.c.amount_minor).label("excess"),
        )
        .group_by(LINE.c.purchase_id)
        .subquery()
    )
    statement = (
        sa.select(
            PURCHASE.c.id,
            PURCHASE.c.total_minor,
            sums.c.amount,
            PURCHASE.c.discount_minor,
            sums.c.discount,
            PURCHASE.c.money_due_minor,
            sums.c.paid,
            PURCHASE.c.points_earned,
            PURCHASE.c.receipt_points,
            sums.c.points,
        )
        .outerjoin(sums, sums.c.purchase_id == PURCHASE.c.id)
        .where(
            sa.or_(
                sums.c.purchase_id.is_(None),
                sums.c.amount != PURCHASE.c.total_minor,
                sums.c.discount != PURCHASE.c.discount_minor,
                PURCHASE.c.total_minor - sums.c.discount - sums.c.paid != PURCHASE.c.money_due_minor,
                sums.c.points + PURCHASE.c.receipt_points != PURCHASE.c.points_earned,
                sums.c.excess > 0,
            )
        )
    )
    untraced = (
        sa.select(PURCHASE.c.id, PURCHASE.c.receipt_id)
        .outerjoin(TRACE, TRACE.c.purchase_id == PURCHASE.c.id)
        .where(TRACE.c.purchase_id.is_(None))
    )
    return violations(session, "L9", PURCHASE.c.program_id, statement) + violations(
        session, "L9", PURCHASE.c.program_id, untraced
    )


def statistics_count_the_purchases(session: Session) -> list[Violation]:
    """L19, in part: a member's statistics are what the purchases add up to."""
    sums = (
        sa.select(
            PURCHASE.c.member_id,
            sa.func.count().label("purchases"),
            sa.func.sum(PURCHASE.c.total_minor - PURCHASE.c.discount_minor).label("spend"),
            sa.func.sum(PURCHASE.c.points_earned).label("points"),
            sa.func.min(PURCHASE.c.occurred_at).label("first"),
            sa.func.max(PURCHASE.c.occurred_at).label("last"),
        )
        .group_by(PURCHASE.c.member_id)
        .subquery()
    )
    statement = (
        sa.select(
            STATISTICS.c.member_id,
            STATISTICS.c.purchases,
            sa.func.coalesce(sums.c.purchases, 0).label("counted"),
            STATISTICS.c.spend_minor,
            sa.func.coalesce(sums.c.spend, 0).label("summed"),
        )
        .outerjoin(sums, sums.c.member_id == STATISTICS.c.member_id)
        .where(
            sa.or_(
                STATISTICS.c.purchases != sa.func.coalesce(sums.c.purchases, 0),
                STATISTICS.c.spend_minor != sa.func.coalesce(sums.c.spend, 0),
                STATISTICS.c.points_earned != sa.func.coalesce(sums.c.points, 0),
                STATISTICS.c.first_visit_at.is_distinct_from(sums.c.first),
                STATISTICS.c.last_visit_at.is_distinct_from(sums.c.last),
            )
        )
    )
    return violations(session, "L19", STATISTICS.c.program_id, statement)


CHECKS: Final[Sequence[Check]] = (
    keys_have_one_answer,
    receipts_are_recorded_once,
    purchases_agree_with_the_ledger,
    lines_add_up,
    statistics_count_the_purchases,
)
