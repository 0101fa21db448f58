"""What must always be true of the ledger: one function an invariant, each a query that finds no row.

The ids are those of the project's list of invariants; ``wallet-server verify`` runs them all. They work in a
session over all programs, or in a program's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel import Session, SQLModel

from wallet_server.db import ALL_PROGRAMS
from wallet_server.ledger.models import Adjustment, Allocation, Entry, Hold, HoldLot, Lot, MemberBalance, Posting
from wallet_server.ledger.postings import LOT_ACCOUNTS, MEMBER_ACCOUNTS
from wallet_server.members.models import Member

VIOLATIONS_MAX: Final = 100
"""A check names at most so many rows: the first ones say what is wrong."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that breaks an invariant: which check, the row's key, and what is wrong with it."""

    check: str
    row: str
    detail: str


Check = Callable[[Session], list[Violation]]


def table(model: type[SQLModel]) -> sa.Table:
    """The Core table of a model: checks look at rows, not at objects."""
    found: sa.Table = model.__table__  # type: ignore[attr-defined]
    return found


def violations(
    session: Session, check: str, program_id: sa.ColumnElement[Any], statement: sa.Select[Any]
) -> list[Violation]:
    """Run a statement whose rows are violations; its first column is the key, the others are named values."""
    scope = session.info.get("scope")
    assert scope is not None, "name a program, or all of them"
    if scope is not ALL_PROGRAMS:
        statement = statement.where(program_id == scope)
    rows = session.connection().execute(statement.limit(VIOLATIONS_MAX)).all()
    return [
        Violation(
            check,
            str(row[0]),
            ", ".join(f"{name} {value}" for name, value in list(row._mapping.items())[1:]),
        )
        for row in rows
    ]


BALANCE, ENTRY, POSTING = table(MemberBalance), table(Entry), table(Posting)
LOT, ALLOCATION = table(Lot), table(Allocation)
HOLD, HOLD_LOT, ADJUSTMENT = table(Hold), table(HoldLot), table(Adjustment)

KEPT = sa.case((ENTRY.c.account == "owed", -ENTRY.c.points), else_=ENTRY.c.points)
"""An entry as its balance counts it: a debt grows by negative entries."""


def _sum(column: sa.ColumnElement[Any], **when: Any) -> sa.ColumnElement[int]:
    condition = when.get("where")
    value = column if condition is None else sa.case((condition, column), else_=0)
    return sa.func.coalesce(sa.func.sum(value), 0)


def balances_are_sums_of_entries(session: Session) -> list[Violation]:
    """L1: each account of a member's balance is the sum of its entries."""
    sums = (
        sa.select(
            ENTRY.c.member_id,
            *(_sum(KEPT, where=ENTRY.c.account == name).label(name) for name in sorted(MEMBER_ACCOUNTS)),
        )
        .group_by(ENTRY.c.member_id)
        .subquery()
    )
    found: list[Violation] = []
    for name in sorted(MEMBER_ACCOUNTS):
        total = sa.func.coalesce(sums.c[name], 0)
        statement = (
            sa.select(BALANCE.c.member_id, BALANCE.c[name].label(name), total.label("entries"))
            .outerjoin(sums, sums.c.member_id == BALANCE.c.member_id)
            .where(BALANCE.c[name] != total)
        )
        found += violations(session, "L1", BALANCE.c.program_id, statement)
    homeless = (
        sa.select(ENTRY.c.id, ENTRY.c.member_id)
        .outerjoin(BALANCE, BALANCE.c.member_id == ENTRY.c.member_id)
        .where(BALANCE.c.member_id.is_(None))
    )
    return found + violations(session, "L1", ENTRY.c.program_id, homeless)


def accounts_are_never_negative(session: Session) -> list[Violation]:
    """L2: no account of a member is below zero, now or after any entry."""
    low = sa.or_(*(BALANCE.c[name] < 0 for name in sorted(MEMBER_ACCOUNTS)))
    now = sa.select(BALANCE.c.member_id, *(BALANCE.c[name] for name in sorted(MEMBER_ACCOUNTS))).where(low)
    ever = sa.select(ENTRY.c.id, ENTRY.c.account, ENTRY.c.balance_after).where(ENTRY.c.balance_after < 0)
    return violations(session, "L2", BALANCE.c.program_id, now) + violations(session, "L2", ENTRY.c.program_id, ever)


def postings_sum_to_zero(session: Session) -> list[Violation]:
    """L3: the entries of each posting sum to zero, and so do those of each program."""
    sums = sa.select(ENTRY.c.posting_id, sa.func.sum(ENTRY.c.points).label("sum")).group_by(ENTRY.c.posting_id)
    lonely = (
        sa.select(POSTING.c.id, POSTING.c.kind)
        .outerjoin(ENTRY, ENTRY.c.posting_id == POSTING.c.id)
        .where(ENTRY.c.id.is_(None))
    )
    return violations(session, "L3", ENTRY.c.program_id, sums.having(sa.func.sum(ENTRY.c.points) != 0)) + violations(
        session, "L3", POSTING.c.program_id, lonely
    )


def lots_hold_what_balances_say(session: Session) -> list[Violation]:
    """L5: what is left in a member's released lots is spendable and held, in the others pending."""
    sums = (
        sa.select(
            LOT.c.member_id,
            _sum(LOT.c.held).label("held"),
            _sum(LOT.c.remaining, where=LOT.c.released).label("released"),
            _sum(LOT.c.remaining, where=sa.not_(LOT.c.released)).label("unreleased"),
        )
        .group_by(LOT.c.member_id)
        .subquery()
    )
    released, unreleased = sa.func.coalesce(sums.c.released, 0), sa.func.coalesce(sums.c.unreleased, 0)
    held = sa.func.coalesce(sums.c.held, 0)
    statement = (
        sa.select(
            BALANCE.c.member_id,
            (BALANCE.c.spendable + BALANCE.c.held).label("balance"),
            released.label("released lots"),
            BALANCE.c.held,
            held.label("held lots"),
            BALANCE.c.pending,
            unreleased.label("pending lots"),
        )
        .outerjoin(sums, sums.c.member_id == BALANCE.c.member_id)
        .where(
            sa.or_(
                BALANCE.c.spendable + BALANCE.c.held != released,
                BALANCE.c.held != held,
                BALANCE.c.pending != unreleased,
            )
        )
    )
    return violations(session, "L5", BALANCE.c.program_id, statement)


def earnings_have_lots(session: Session) -> list[Violation]:
    """L5: what a posting brought to a member lies in one new lot, or went back to old ones; no other has any."""
    brought, given = _member_sum(), _allocated()
    lots = (
        sa.select(LOT.c.posting_id, sa.func.sum(LOT.c.points).label("points"), sa.func.count().label("lots"))
        .group_by(LOT.c.posting_id)
        .subquery()
    )
    earned = sa.case((brought.c.points > 0, brought.c.points), else_=0)
    housed = sa.func.coalesce(lots.c.points, 0) + sa.case(
        (brought.c.points > 0, sa.func.coalesce(given.c.back, 0)), else_=0
    )
    statement = (
        sa.select(
            POSTING.c.id,
            earned.label("earned"),
            housed.label("in lots"),
            sa.func.coalesce(lots.c.lots, 0).label("lots"),
        )
        .join(brought, brought.c.posting_id == POSTING.c.id)
        .outerjoin(lots, lots.c.posting_id == POSTING.c.id)
        .outerjoin(given, given.c.posting_id == POSTING.c.id)
        .where(sa.or_(earned != housed, sa.func.coalesce(lots.c.lots, 0) > 1))
    )
    return violations(session, "L5", POSTING.c.program_id, statement)


def debits_are_allocated(session: Session) -> list[Violation]:
    """L6: what a posting took from a member is what it took from lots."""
    brought, given = _member_sum(), _allocated()
    debit = sa.case((brought.c.points < 0, -brought.c.points), else_=0)
    taken = sa.func.coalesce(given.c.taken, 0)
    statement = (
        sa.select(POSTING.c.id, debit.label("debit"), taken.label("allocated"))
        .join(brought, brought.c.posting_id == POSTING.c.id)
        .outerjoin(given, given.c.posting_id == POSTING.c.id)
        .where(debit != taken)
    )
    return violations(session, "L6", POSTING.c.program_id, statement)


def lots_add_up(session: Session) -> list[Violation]:
    """L6: a lot's points are what was taken from it and what remains."""
    taken = (
        sa.select(ALLOCATION.c.lot_id, sa.func.sum(ALLOCATION.c.points).label("points"))
        .group_by(ALLOCATION.c.lot_id)
        .subquery()
    )
    used = sa.func.coalesce(taken.c.points, 0)
    statement = (
        sa.select(LOT.c.id, LOT.c.points, LOT.c.remaining, used.label("taken"))
        .outerjoin(taken, taken.c.lot_id == LOT.c.id)
        .where(LOT.c.points - used != LOT.c.remaining)
    )
    return violations(session, "L6", LOT.c.program_id, statement)


def rows_stay_in_their_program(session: Session) -> list[Violation]:
    """L17: entries, lots, allocations, holds and balances belong to the program of their member and posting."""
    member = table(Member)
    found: list[Violation] = []
    for owned in (BALANCE, POSTING, ENTRY, LOT, HOLD, ADJUSTMENT):
        key = owned.c.member_id if owned is BALANCE else owned.c.id
        statement = (
            sa.select(key, owned.c.program_id, member.c.program_id.label("of member"))
            .outerjoin(member, member.c.id == owned.c.member_id)
            .where(sa.or_(member.c.id.is_(None), member.c.program_id != owned.c.program_id))
        )
        found += violations(session, "L17", owned.c.program_id, statement)
    for owned in (ENTRY, LOT, ALLOCATION):
        statement = (
            sa.select(owned.c.id, owned.c.program_id, POSTING.c.program_id.label("of posting"))
            .outerjoin(POSTING, POSTING.c.id == owned.c.posting_id)
            .where(sa.or_(POSTING.c.id.is_(None), POSTING.c.program_id != owned.c.program_id))
        )
        found += violations(session, "L17", owned.c.program_id, statement)
    return found


def sequences_have_no_gap(session: Session) -> list[Violation]:
    """L18: a member's entries are numbered 1, 2, 3 … up to the balance's sequence."""
    statement = (
        sa.select(
            BALANCE.c.member_id,
            BALANCE.c.sequence,
            sa.func.count(ENTRY.c.sequence).label("entries"),
            sa.func.coalesce(sa.func.max(ENTRY.c.sequence), 0).label("last"),
        )
        .outerjoin(ENTRY, ENTRY.c.member_id == BALANCE.c.member_id)
        .group_by(BALANCE.c.member_id, BALANCE.c.sequence)
        .having(
            sa.or_(
                sa.func.count(ENTRY.c.sequence) != BALANCE.c.sequence,
                sa.func.coalesce(sa.func.max(ENTRY.c.sequence), 0) != BALANCE.c.sequence,
            )
        )
    )
    return violations(session, "L18", BALANCE.c.program_id, statement)


def entries_carry_their_balance(session: Session) -> list[Violation]:
    """L19, in part: replaying a member's entries in order gives the balance that each of them has noted."""
    running = (
        sa.func.sum(KEPT)
        .over(partition_by=(ENTRY.c.member_id, ENTRY.c.account), order_by=ENTRY.c.sequence)
        .label("replayed")
    )
    replay = (
        sa.select(ENTRY.c.id, ENTRY.c.program_id, ENTRY.c.balance_after, running)
        .where(ENTRY.c.sequence.is_not(None))
        .subquery()
    )
    statement = sa.select(replay.c.id, replay.c.balance_after, replay.c.replayed).where(
        replay.c.balance_after.is_distinct_from(replay.c.replayed)
    )
    return violations(session, "L19", replay.c.program_id, statement)


def _member_sum() -> sa.Subquery:
    """What each posting brought to (positive) or took from (negative) its member's lots."""
    return (
        sa.select(ENTRY.c.posting_id, _sum(ENTRY.c.points).label("points"))
        .where(ENTRY.c.account.in_(sorted(LOT_ACCOUNTS)))
        .group_by(ENTRY.c.posting_id)
        .subquery()
    )


def _allocated() -> sa.Subquery:
    """What each posting took from lots, and what it gave back to them; both positive."""
    points = ALLOCATION.c.points
    return (
        sa.select(
            ALLOCATION.c.posting_id,
            _sum(points, where=points > 0).label("taken"),
            _sum(-points, where=points < 0).label("back"),
        )
        .group_by(ALLOCATION.c.posting_id)
        .subquery()
    )


def _entry_sums(*names: tuple[str, str, sa.ColumnElement[bool]]) -> list[sa.ColumnElement[int]]:
    """Sums of the entries on an account where a condition holds, each under a name."""
    return [
        _sum(ENTRY.c.points, where=sa.and_(ENTRY.c.account == account, condition)).label(name)
        for name, account, condition in names
    ]


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
            *_entry_sums(("aside", "held", sa.true()), ("paid", "redeemed", sa.true())),
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
    """L21: points by hand have a person and a reason, above the limit a second person, and are nobody's own."""
    member = table(Member)
    brought = _member_sum()
    alone = sa.and_(
        ADJUSTMENT.c.needs_approval,
        ADJUSTMENT.c.state != "waiting",
        sa.or_(ADJUSTMENT.c.decided_by == "", ADJUSTMENT.c.decided_by == ADJUSTMENT.c.requested_by),
    )
    own = sa.and_(member.c.email.is_not(None), ADJUSTMENT.c.requested_by == "staff:" + member.c.email)
    own_decision = sa.and_(member.c.email.is_not(None), ADJUSTMENT.c.decided_by == "staff:" + member.c.email)
    wrong = (
        sa.select(
            ADJUSTMENT.c.id,
            ADJUSTMENT.c.points,
            sa.func.coalesce(brought.c.points, 0).label("posted"),
            ADJUSTMENT.c.state,
            ADJUSTMENT.c.requested_by,
            ADJUSTMENT.c.decided_by,
        )
        .join(member, member.c.id == ADJUSTMENT.c.member_id)
        .outerjoin(brought, brought.c.posting_id == ADJUSTMENT.c.posting_id)
        .where(
            sa.or_(
                alone,
                own,
                own_decision,
                ADJUSTMENT.c.requested_by == "",
                ADJUSTMENT.c.reason == "",
                sa.and_(ADJUSTMENT.c.state == "posted", sa.func.coalesce(brought.c.points, 0) != ADJUSTMENT.c.points),
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


CHECKS: Final[Sequence[Check]] = (
    balances_are_sums_of_entries,
    accounts_are_never_negative,
    postings_sum_to_zero,
    lots_hold_what_balances_say,
    earnings_have_lots,
    debits_are_allocated,
    lots_add_up,
    rows_stay_in_their_program,
    sequences_have_no_gap,
    entries_carry_their_balance,
    holds_resolve_once,
    holds_are_held_in_lots,
    returns_are_what_was_paid,
    debts_are_paid_first,
    lots_expire_in_time,
    adjustments_have_their_people,
)
