"""What must always be true of the ledger: one function an invariant, each a query that finds no row.

The ids are those of the project's list of invariants; ``wallet-server verify`` runs them all. They work in a
session over all programs, or in a program's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.ledger.postings import MEMBER_ACCOUNTS
from wallet_server.ledger.resolutions import (
    adjustments_have_their_people,
    debts_are_paid_first,
    holds_are_held_in_lots,
    holds_resolve_once,
    lots_expire_in_time,
    nobody_adjusts_themselves,
    returns_are_what_was_paid,
)
from wallet_server.ledger.violations import (
    ADJUSTMENT,
    ALLOCATION,
    BALANCE,
    ENTRY,
    HOLD,
    KEPT,
    LOT,
    POSTING,
    VIOLATIONS_MAX,
    Check,
    Violation,
    allocated,
    brought_to_lots,
    summed,
    table,
    violations,
)
from wallet_server.members.models import Member

__all__ = ["CHECKS", "VIOLATIONS_MAX", "Check", "Violation", "table", "violations"]


def balances_are_sums_of_entries(session: Session) -> list[Violation]:
    """L1: each account of a member's balance is the sum of its entries."""
    sums = (
        sa.select(
            ENTRY.c.member_id,
            *(summed(KEPT, where=ENTRY.c.account == name).label(name) for name in sorted(MEMBER_ACCOUNTS)),
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
            summed(LOT.c.held).label("held"),
            summed(LOT.c.remaining, where=LOT.c.released).label("released"),
            summed(LOT.c.remaining, where=sa.not_(LOT.c.released)).label("unreleased"),
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
    brought, given = brought_to_lots(), allocated()
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
    brought, given = brought_to_lots(), allocated()
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
    nobody_adjusts_themselves,
)
