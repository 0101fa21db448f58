"""What must always be true of what is resolved later: holds, refunds, expiry, and corrections by hand."""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS
from wallet_server.ledger.violations import (
    ADJUSTMENT,
    ALLOCATION,
    BALANCE,
    ENTRY,
    HOLD,
    HOLD_LOT,
    LOT,
    POSTING,
    VIOLATIONS_MAX,
    Violation,
    brought_to_lots,
    summed,
    table,
    violations,
)
from wallet_server.members.models import Member
from wallet_server.staff.models import StaffUser


def holds_resolve_once(session: Session) -> list[Violation]:
    """L10: a hold's points are set aside while it is open, and once it is not they are captured or free again."""
    own = POSTING.c.reverses_id == HOLD.c.id
    sums = (
        sa.select(
            HOLD.c.id,
            HOLD.c.program_id,
            HOLD.c.state,
            HOLD.c.points,
            HOLD.c.captured_points,
            summed(ENTRY.c.points, where=ENTRY.c.account == "held").label("aside"),
            summed(ENTRY.c.points, where=ENTRY.c.account == "redeemed").label("paid"),
        )
        .select_from(HOLD)
        .outerjoin(POSTING, sa.and_(own, POSTING.c.program_id == HOLD.c.program_id))
        .outerjoin(ENTRY, ENTRY.c.posting_id == POSTING.c.id)
        .group_by(HOLD.c.id)
        .subquery()
    )
    aside = sa.case((sums.c.state == "open", sums.c.points), else_=0)
    statement = sa.select(
        sums.c.id, sums.c.state, sums.c.points, sums.c.aside, sums.c.captured_points, sums.c.paid
    ).where(
        sa.or_(
            sums.c.aside != aside,
            sums.c.paid != sums.c.captured_points,
            (sums.c.state == "captured") != (sums.c.captured_points > 0),
        )
    )
    return violations(session, "L10", sums.c.program_id, statement)


def holds_are_held_in_lots(session: Session) -> list[Violation]:
    """L10: what a lot has set aside is what the open holds have set aside in it, and each hold has its lots."""
    of_lots = (
        sa.select(HOLD_LOT.c.lot_id, sa.func.sum(HOLD_LOT.c.points).label("points"))
        .join(HOLD, HOLD.c.id == HOLD_LOT.c.hold_id)
        .where(HOLD.c.state == "open")
        .group_by(HOLD_LOT.c.lot_id)
        .subquery()
    )
    aside = sa.func.coalesce(of_lots.c.points, 0)
    wrong_lots = (
        sa.select(LOT.c.id, LOT.c.held, aside.label("in open holds"))
        .outerjoin(of_lots, of_lots.c.lot_id == LOT.c.id)
        .where(LOT.c.held != aside)
    )
    of_holds = (
        sa.select(HOLD_LOT.c.hold_id, sa.func.sum(HOLD_LOT.c.points).label("points"))
        .group_by(HOLD_LOT.c.hold_id)
        .subquery()
    )
    found = sa.func.coalesce(of_holds.c.points, 0)
    wrong_holds = (
        sa.select(HOLD.c.id, HOLD.c.points, found.label("in lots"))
        .outerjoin(of_holds, of_holds.c.hold_id == HOLD.c.id)
        .where(HOLD.c.points != found)
    )
    return violations(session, "L10", LOT.c.program_id, wrong_lots) + violations(
        session, "L10", HOLD.c.program_id, wrong_holds
    )


def returns_are_what_was_paid(session: Session) -> list[Violation]:
    """L11: a purchase gets back no more points than paid for it, and each lot no more than it gave."""
    sums = (
        sa.select(POSTING.c.purchase_id, POSTING.c.program_id, sa.func.sum(ENTRY.c.points).label("paid"))
        .join(ENTRY, ENTRY.c.posting_id == POSTING.c.id)
        .where(ENTRY.c.account == "redeemed", POSTING.c.purchase_id.is_not(None))
        .group_by(POSTING.c.purchase_id, POSTING.c.program_id)
        .subquery()
    )
    too_much = sa.select(sums.c.purchase_id, sums.c.paid.label("paid less returned")).where(sums.c.paid < 0)
    kinds = ("redeem", "return")
    of_lots = (
        sa.select(
            ALLOCATION.c.lot_id,
            ALLOCATION.c.program_id,
            POSTING.c.purchase_id,
            sa.func.sum(ALLOCATION.c.points).label("taken"),
        )
        .join(POSTING, POSTING.c.id == ALLOCATION.c.posting_id)
        .where(POSTING.c.kind.in_(kinds), POSTING.c.purchase_id.is_not(None))
        .group_by(ALLOCATION.c.lot_id, ALLOCATION.c.program_id, POSTING.c.purchase_id)
        .subquery()
    )
    wrong_lot = sa.select(of_lots.c.lot_id, of_lots.c.purchase_id, of_lots.c.taken.label("taken less returned")).where(
        of_lots.c.taken < 0
    )
    return violations(session, "L11", sums.c.program_id, too_much) + violations(
        session, "L11", of_lots.c.program_id, wrong_lot
    )


def debts_are_paid_first(session: Session) -> list[Violation]:
    """L12: a purchase loses no more points than it brought, and who owes has nothing to spend."""
    sums = (
        sa.select(POSTING.c.purchase_id, POSTING.c.program_id, sa.func.sum(ENTRY.c.points).label("issued"))
        .join(ENTRY, ENTRY.c.posting_id == POSTING.c.id)
        .where(ENTRY.c.account == "issued", POSTING.c.purchase_id.is_not(None))
        .group_by(POSTING.c.purchase_id, POSTING.c.program_id)
        .subquery()
    )
    too_much = sa.select(sums.c.purchase_id, sums.c.issued.label("taken back less earned")).where(sums.c.issued > 0)
    unpaid = sa.select(BALANCE.c.member_id, BALANCE.c.owed, BALANCE.c.spendable).where(
        BALANCE.c.owed > 0, BALANCE.c.spendable > 0
    )
    return violations(session, "L12", sums.c.program_id, too_much) + violations(
        session, "L12", BALANCE.c.program_id, unpaid
    )


def lots_expire_in_time(session: Session) -> list[Violation]:
    """L13: a lot with a date never expires before it, and gets no points back after it."""
    early = (
        sa.select(ALLOCATION.c.id, LOT.c.id.label("lot"), LOT.c.expires_at, POSTING.c.recorded_at)
        .join(LOT, LOT.c.id == ALLOCATION.c.lot_id)
        .join(POSTING, POSTING.c.id == ALLOCATION.c.posting_id)
        .where(
            sa.or_(
                sa.and_(POSTING.c.kind == "expire", LOT.c.expires_at > POSTING.c.recorded_at),
                sa.and_(ALLOCATION.c.points < 0, LOT.c.expires_at <= POSTING.c.recorded_at),
            )
        )
    )
    return violations(session, "L13", ALLOCATION.c.program_id, early)


def adjustments_have_their_people(session: Session) -> list[Violation]:
    """L21: points by hand have a person and a reason, and above the limit a second person."""
    brought = brought_to_lots()
    posted = sa.func.coalesce(brought.c.points, 0)
    alone = sa.and_(
        ADJUSTMENT.c.needs_approval,
        ADJUSTMENT.c.state != "waiting",
        sa.or_(ADJUSTMENT.c.decided_by == "", ADJUSTMENT.c.decided_by == ADJUSTMENT.c.requested_by),
    )
    wrong = (
        sa.select(
            ADJUSTMENT.c.id,
            ADJUSTMENT.c.points,
            posted.label("posted"),
            ADJUSTMENT.c.state,
            ADJUSTMENT.c.requested_by,
            ADJUSTMENT.c.decided_by,
        )
        .outerjoin(brought, brought.c.posting_id == ADJUSTMENT.c.posting_id)
        .where(
            sa.or_(
                alone,
                ADJUSTMENT.c.requested_by == "",
                ADJUSTMENT.c.reason == "",
                sa.and_(ADJUSTMENT.c.state == "posted", posted != ADJUSTMENT.c.points),
            )
        )
    )
    unasked = (
        sa.select(POSTING.c.id, POSTING.c.kind, sa.func.count(ADJUSTMENT.c.id).label("adjustments"))
        .outerjoin(ADJUSTMENT, ADJUSTMENT.c.posting_id == POSTING.c.id)
        .where(POSTING.c.kind == "adjust")
        .group_by(POSTING.c.id, POSTING.c.kind)
        .having(sa.func.count(ADJUSTMENT.c.id) != 1)
    )
    return violations(session, "L21", ADJUSTMENT.c.program_id, wrong) + violations(
        session, "L21", POSTING.c.program_id, unasked
    )


def nobody_adjusts_themselves(session: Session) -> list[Violation]:
    """L21: staff neither ask for points on their own account nor approve them; known by their e-mail address."""
    member, staff = table(Member), table(StaffUser)
    rows = (
        sa.select(
            ADJUSTMENT.c.id,
            ADJUSTMENT.c.requested_by,
            ADJUSTMENT.c.decided_by,
            staff.c.id.label("staff_id"),
            staff.c.email,
        )
        .join(member, member.c.id == ADJUSTMENT.c.member_id)
        .join(staff, staff.c.email == member.c.email)
        .order_by(ADJUSTMENT.c.id)
    )
    scope = session.info.get("scope")
    if scope is not ALL_PROGRAMS:
        rows = rows.where(ADJUSTMENT.c.program_id == scope)
    found: list[Violation] = []
    # The log names people by id or by e-mail, and a database writes an id as it likes: compared here.
    for row in session.connection().execute(rows):
        names = {f"staff:{row.staff_id}", f"staff:{row.email}"}
        if names & {row.requested_by, row.decided_by} and len(found) < VIOLATIONS_MAX:
            found.append(Violation("L21", str(row.id), f"of the member's own account, by {row.email}"))
    return found
