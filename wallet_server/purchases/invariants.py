"""What must always be true of purchases and of what they caused; see :mod:`wallet_server.ledger.invariants`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.idempotency.models import IdempotencyKey
from wallet_server.ledger.invariants import VIOLATIONS_MAX, Check, Violation, table, violations
from wallet_server.ledger.models import Entry, Posting
from wallet_server.members.models import MemberStatistics
from wallet_server.programs.queries import load_program
from wallet_server.purchases.models import Purchase, PurchaseLine, PurchaseTrace, Refund, RefundLine, Visit
from wallet_server.purchases.recorded import bought_of
from wallet_server.purchases.remainder import remainder

PURCHASE, LINE, TRACE = table(Purchase), table(PurchaseLine), table(PurchaseTrace)
REFUND, REFUND_LINE, VISIT = table(Refund), table(RefundLine), table(Visit)
POSTING, ENTRY = table(Posting), table(Entry)
STATISTICS, KEY = table(MemberStatistics), table(IdempotencyKey)
RECOMPUTED_AT_ONCE: Final = 500


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
    sums = [(PURCHASE.c.points_earned, moved.c.earned), (PURCHASE.c.points_redeemed, moved.c.redeemed)]
    return _other_than_the_ledger(session, "L9", moved, sums)


def _other_than_the_ledger(
    session: Session, name: str, moved: sa.Subquery, sums: Sequence[tuple[sa.Column[int], sa.ColumnElement[int]]]
) -> list[Violation]:
    """Purchases with a sum of their own that is not the ledger's; where the ledger has none, it is 0."""
    pairs = [(own, sa.func.coalesce(ledger, 0).label(f"ledger {own.key}")) for own, ledger in sums]
    statement = (
        sa.select(PURCHASE.c.id, *(column for pair in pairs for column in pair))
        .outerjoin(moved, moved.c.purchase_id == PURCHASE.c.id)
        .where(sa.or_(*(own != ledger.element for own, ledger in pairs)))
    )
    return violations(session, name, PURCHASE.c.program_id, statement)


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


def refunds_add_up(session: Session) -> list[Violation]:
    """L11: a purchase says of its refunds what they say themselves, and no line came back more than it was sold."""
    sums = (
        sa.select(
            REFUND.c.purchase_id,
            sa.func.sum(REFUND.c.amount_minor).label("amount"),
            sa.func.sum(REFUND.c.money_minor).label("money"),
            sa.func.sum(REFUND.c.points_returned).label("returned"),
            sa.func.sum(REFUND.c.points_taken_back).label("taken"),
        )
        .group_by(REFUND.c.purchase_id)
        .subquery()
    )
    amount, money, returned, taken = (sa.func.coalesce(sums.c[name], 0) for name in sums.c.keys()[1:])
    statement = (
        sa.select(
            PURCHASE.c.id,
            PURCHASE.c.returned_minor,
            amount.label("refunded"),
            PURCHASE.c.money_due_minor,
            money.label("money back"),
            PURCHASE.c.points_returned,
            returned.label("returned"),
            PURCHASE.c.points_taken_back,
            taken.label("taken back"),
        )
        .outerjoin(sums, sums.c.purchase_id == PURCHASE.c.id)
        .where(
            sa.or_(
                PURCHASE.c.returned_minor != amount,
                PURCHASE.c.points_returned != returned,
                PURCHASE.c.points_taken_back != taken,
                money > PURCHASE.c.money_due_minor,
            )
        )
    )
    of_lines = (
        sa.select(
            REFUND.c.purchase_id,
            REFUND_LINE.c.line,
            sa.func.sum(REFUND_LINE.c.quantity_thousandths).label("quantity"),
        )
        .join(REFUND, REFUND.c.id == REFUND_LINE.c.refund_id)
        .group_by(REFUND.c.purchase_id, REFUND_LINE.c.line)
        .subquery()
    )
    back = sa.func.coalesce(of_lines.c.quantity, 0)
    lines = (
        sa.select(LINE.c.purchase_id, LINE.c.line, LINE.c.returned_thousandths, back.label("refunded"))
        .outerjoin(of_lines, sa.and_(of_lines.c.purchase_id == LINE.c.purchase_id, of_lines.c.line == LINE.c.line))
        .where(LINE.c.returned_thousandths != back)
    )
    left = (
        sa.select(
            LINE.c.purchase_id,
            sa.func.sum(LINE.c.quantity_thousandths - LINE.c.returned_thousandths).label("quantity"),
        )
        .group_by(LINE.c.purchase_id)
        .subquery()
    )
    over = (
        sa.select(PURCHASE.c.id, PURCHASE.c.refunded_at, left.c.quantity.label("left"))
        .join(left, left.c.purchase_id == PURCHASE.c.id)
        .where((left.c.quantity == 0) != PURCHASE.c.refunded_at.is_not(None))
    )
    return [
        *violations(session, "L11", PURCHASE.c.program_id, statement),
        *violations(session, "L11", LINE.c.program_id, lines),
        *violations(session, "L11", PURCHASE.c.program_id, over),
    ]


def refunds_agree_with_the_ledger(session: Session) -> list[Violation]:
    """L11 and L12, in part: points that a purchase says were returned and taken back are what the ledger moved."""
    earning = sa.alias(POSTING, "earning")
    moved = (
        sa.select(
            POSTING.c.purchase_id,
            sa.func.sum(sa.case((ENTRY.c.account == "redeemed", -ENTRY.c.points), else_=0)).label("returned"),
            sa.func.sum(sa.case((ENTRY.c.account == "issued", ENTRY.c.points), else_=0)).label("taken"),
        )
        .join(ENTRY, ENTRY.c.posting_id == POSTING.c.id)
        .outerjoin(earning, earning.c.id == POSTING.c.reverses_id)
        .where(
            sa.or_(
                POSTING.c.kind.in_(("return", "reissue")),
                # A reward that is taken back corrects the reward, not what the purchase has earned. A purchase that
                # had earned nothing has no earning to correct, and what is left of it may earn.
                sa.and_(
                    POSTING.c.kind == "take_back",
                    sa.or_(
                        earning.c.kind == "earn",
                        sa.and_(
                            POSTING.c.reverses_id.is_(None),
                            sa.exists().where(PURCHASE.c.id == POSTING.c.purchase_id, PURCHASE.c.points_earned == 0),
                        ),
                    ),
                ),
            )
        )
        .group_by(POSTING.c.purchase_id)
        .subquery()
    )
    sums = [(PURCHASE.c.points_returned, moved.c.returned), (PURCHASE.c.points_taken_back, moved.c.taken)]
    return _other_than_the_ledger(session, "L11", moved, sums)


def refunds_can_be_recomputed(session: Session) -> list[Violation]:
    """L12: what was taken back of a purchase is what it had earned less what is left of it earns.

    Computed again with the purchase's own version and facts, for every purchase that was refunded.
    """
    found: list[Violation] = []
    after: UUID | None = None
    while len(found) < VIOLATIONS_MAX:
        wanted = sa.select(Purchase).where(col(Purchase.id).in_(sa.select(REFUND.c.purchase_id)))
        if after is not None:
            wanted = wanted.where(col(Purchase.id) > after)
        part = session.execute(wanted.order_by(col(Purchase.id)).limit(RECOMPUTED_AT_ONCE)).scalars().all()
        if not part:
            break
        after = part[-1].id
        ids = [purchase.id for purchase in part]
        traces = {trace.purchase_id: trace for trace in _of(session, PurchaseTrace, ids)}
        lines: dict[UUID, list[PurchaseLine]] = {}
        for line in _of(session, PurchaseLine, ids):
            lines.setdefault(line.purchase_id, []).append(line)
        for purchase in part:
            if purchase.id in traces and purchase.id in lines:
                found += _recompute(session, purchase, lines[purchase.id], traces[purchase.id])
    return found[:VIOLATIONS_MAX]


def _of(session: Session, model: Any, purchase_ids: Sequence[UUID]) -> Sequence[Any]:
    return session.execute(sa.select(model).where(model.purchase_id.in_(purchase_ids))).scalars().all()


def _recompute(
    session: Session, purchase: Purchase, lines: Sequence[PurchaseLine], trace: PurchaseTrace
) -> list[Violation]:
    version = load_program(session, program_id=purchase.program_id, number=purchase.program_version)
    left = {line.line: line.quantity_thousandths - line.returned_thousandths for line in lines}
    rest = remainder(version, bought_of(purchase, sorted(lines, key=lambda line: line.line), trace, version), left)
    taken = purchase.points_earned - rest.points_earned
    returned = purchase.points_redeemed - rest.points_redeemed
    if (taken, returned) == (purchase.points_taken_back, purchase.points_returned):
        return []
    detail = (
        f"points_taken_back {purchase.points_taken_back}, computed {taken}, "
        f"points_returned {purchase.points_returned}, computed {returned}"
    )
    return [Violation("L12", str(purchase.id), detail)]


def statistics_count_the_purchases(session: Session) -> list[Violation]:
    """L19, in part: a member's statistics are what the purchases, less what came back, and the visits add up to."""
    kept = sa.union_all(
        sa.select(
            PURCHASE.c.member_id,
            sa.case((PURCHASE.c.refunded_at.is_(None), 1), else_=0).label("purchases"),
            sa.case((PURCHASE.c.refunded_at.is_(None), 1), else_=0).label("visits"),
            (PURCHASE.c.total_minor - PURCHASE.c.discount_minor - PURCHASE.c.returned_minor).label("spend"),
            (PURCHASE.c.points_earned - PURCHASE.c.points_taken_back).label("points"),
            sa.case((PURCHASE.c.refunded_at.is_(None), PURCHASE.c.occurred_at)).label("moment"),
        ),
        sa.select(
            VISIT.c.member_id,
            sa.literal(0),
            sa.literal(1),
            sa.literal(0),
            sa.literal(0),
            VISIT.c.occurred_at,
        ),
    ).subquery()
    sums = (
        sa.select(
            kept.c.member_id,
            sa.func.sum(kept.c.purchases).label("purchases"),
            sa.func.sum(kept.c.visits).label("visits"),
            sa.func.sum(kept.c.spend).label("spend"),
            sa.func.sum(kept.c.points).label("points"),
            sa.func.min(kept.c.moment).label("first"),
            sa.func.max(kept.c.moment).label("last"),
        )
        .group_by(kept.c.member_id)
        .subquery()
    )
    statement = (
        sa.select(
            STATISTICS.c.member_id,
            STATISTICS.c.purchases,
            sa.func.coalesce(sums.c.purchases, 0).label("counted"),
            STATISTICS.c.visits,
            sa.func.coalesce(sums.c.visits, 0).label("visited"),
            STATISTICS.c.spend_minor,
            sa.func.coalesce(sums.c.spend, 0).label("summed"),
        )
        .outerjoin(sums, sums.c.member_id == STATISTICS.c.member_id)
        .where(
            sa.or_(
                STATISTICS.c.purchases != sa.func.coalesce(sums.c.purchases, 0),
                STATISTICS.c.visits != sa.func.coalesce(sums.c.visits, 0),
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
    refunds_add_up,
    refunds_agree_with_the_ledger,
    refunds_can_be_recomputed,
    statistics_count_the_purchases,
)
