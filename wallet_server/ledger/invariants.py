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
from wallet_server.ledger.models import Allocation, Entry, Lot, MemberBalance, Posting
from wallet_server.ledger.postings import MEMBER_ACCOUNTS
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


def _sum(column: sa.ColumnElement[Any], **when: Any) -> sa.ColumnElement[int]:
    condition = when.get("where")
    value = column if condition is None else sa.case((condition, column), else_=0)
    return sa.func.coalesce(sa.func.sum(value), 0)


def balances_are_sums_of_entries(session: Session) -> list[Violation]:
    """L1: each account of a member's balance is the sum of its entries."""
    sums = (
        sa.select(
            ENTRY.c.member_id,
            *(_sum(ENTRY.c.points, where=ENTRY.c.account == name).label(name) for name in sorted(MEMBER_ACCOUNTS)),
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
    now = sa.select(BALANCE.c.member_id, BALANCE.c.spendable, BALANCE.c.pending, BALANCE.c.held).where(low)
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
            _sum(LOT.c.remaining, where=LOT.c.released).label("released"),
            _sum(LOT.c.remaining, where=sa.not_(LOT.c.released)).label("unreleased"),
        )
        .group_by(LOT.c.member_id)
        .subquery()
    )
    released, unreleased = sa.func.coalesce(sums.c.released, 0), sa.func.coalesce(sums.c.unreleased, 0)
    statement = (
        sa.select(
            BALANCE.c.member_id,
            (BALANCE.c.spendable + BALANCE.c.held).label("balance"),
            released.label("released lots"),
            BALANCE.c.pending,
            unreleased.label("pending lots"),
        )
        .outerjoin(sums, sums.c.member_id == BALANCE.c.member_id)
        .where(sa.or_(BALANCE.c.spendable + BALANCE.c.held != released, BALANCE.c.pending != unreleased))
    )
    return violations(session, "L5", BALANCE.c.program_id, statement)


def earnings_have_lots(session: Session) -> list[Violation]:
    """L5: each posting that brought points to a member has exactly one lot of as many, and no other has any."""
    brought = _member_sum()
    lots = (
        sa.select(LOT.c.posting_id, sa.func.sum(LOT.c.points).label("points"), sa.func.count().label("lots"))
        .group_by(LOT.c.posting_id)
        .subquery()
    )
    earned = sa.case((brought.c.points > 0, brought.c.points), else_=0)
    statement = (
        sa.select(
            POSTING.c.id,
            earned.label("earned"),
            sa.func.coalesce(lots.c.points, 0).label("in lots"),
            sa.func.coalesce(lots.c.lots, 0).label("lots"),
        )
        .join(brought, brought.c.posting_id == POSTING.c.id)
        .outerjoin(lots, lots.c.posting_id == POSTING.c.id)
        .where(sa.or_(earned != sa.func.coalesce(lots.c.points, 0), sa.func.coalesce(lots.c.lots, 0) > 1))
    )
    return violations(session, "L5", POSTING.c.program_id, statement)


def debits_are_allocated(session: Session) -> list[Violation]:
    """L6: what a posting took from a member is what it took from lots."""
    brought = _member_sum()
    allocated = (
        sa.select(ALLOCATION.c.posting_id, sa.func.sum(ALLOCATION.c.points).label("points"))
        .group_by(ALLOCATION.c.posting_id)
        .subquery()
    )
    debit = sa.case((brought.c.points < 0, -brought.c.points), else_=0)
    statement = (
        sa.select(POSTING.c.id, debit.label("debit"), sa.func.coalesce(allocated.c.points, 0).label("allocated"))
        .join(brought, brought.c.posting_id == POSTING.c.id)
        .outerjoin(allocated, allocated.c.posting_id == POSTING.c.id)
        .where(debit != sa.func.coalesce(allocated.c.points, 0))
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
    """L17: entries, lots, allocations and balances belong to the program of their member and posting."""
    member = table(Member)
    found: list[Violation] = []
    for owned in (BALANCE, POSTING, ENTRY, LOT):
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
        sa.func.sum(ENTRY.c.points)
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
    """What each posting brought to (positive) or took from (negative) its member."""
    return (
        sa.select(ENTRY.c.posting_id, _sum(ENTRY.c.points).label("points"))
        .where(ENTRY.c.account.in_(sorted(MEMBER_ACCOUNTS)))
        .group_by(ENTRY.c.posting_id)
        .subquery()
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
)
