"""Each check of challenges and vouchers finds exactly the row that was broken on purpose."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
import sqlalchemy as sa
from sqlmodel import col

from tests.conftest import NOW
from tests.people import add_member, facts, line, publish
from wallet_server.challenges import invariants
from wallet_server.challenges.models import ChallengeContribution, ChallengeProgress
from wallet_server.challenges.services import advance
from wallet_server.db import new_id, set_scope
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.services import grant, redeem_voucher

CHECKS = {check.__name__: check for check in invariants.CHECKS}


@pytest.fixture
def program(session):
    """Two programs with progress, completions, a used voucher and an open one each."""
    published = [publish(session, NOW, slug=slug) for slug in ("one", "two")]
    for program in published:
        member = add_member(session, program, NOW)
        bought = [facts(member, date(2026, 11, day), line("burger", "food", "2")) for day in (5, 6, 7)]
        won = grant(session, program, advance(session, program, bought, NOW).completions, NOW)
        assert {w.challenge for w in won} == {"dinner", "burgers"}
        redeem_voucher(
            session,
            program,
            won[0].voucher_code,
            outlet="A",
            occurred_at=NOW,
            receipt_id=None,
            actor="cli",
            now=NOW,
        )
    return published[0]


def broken(session):
    return {name for name, check in CHECKS.items() if check(session)}


def test_what_the_services_write_breaks_nothing(session, program):
    assert broken(session) == set()


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        (sa.update(ChallengeProgress).values(progress=col(ChallengeProgress.progress) + 1), "progress_is_the_sum"),
        (sa.delete(ChallengeContribution).where(col(ChallengeContribution.amount) == 1), "progress_is_the_sum"),
        (sa.update(ChallengeContribution).values(window="2020"), "progress_is_the_sum"),
        (sa.update(ChallengeProgress).values(completions=0), "vouchers_were_won"),
        (sa.update(Voucher).values(origin="challenge:burger_:all:1"), "vouchers_were_won"),
        (sa.update(Voucher).where(col(Voucher.redeemed_at).is_not(None)).values(redeemed_by=None), "used_vouchers"),
        (
            sa.update(Voucher).where(col(Voucher.redeemed_at).is_not(None)).values(redeemed_outlet_id=new_id()),
            "used_vouchers",
        ),
        (
            sa.update(Voucher)
            .where(col(Voucher.redeemed_at).is_not(None))
            .values(expires_at=NOW - timedelta(seconds=1)),
            "used_vouchers",
        ),
    ],
)
def test_a_broken_row_is_found_by_its_check(session, program, statement, check):
    table = statement.table
    mine = sa.select(table.c.id).where(table.c.program_id == program.id, *statement._where_criteria)
    first = session.connection().execute(mine.order_by(table.c.id).limit(1)).scalar_one()
    session.connection().execute(statement.where(table.c.id == first))
    [name] = broken(session)
    assert name.startswith(check)
    found = CHECKS[name](session)
    assert found[0].row
    assert found[0].detail
    set_scope(session, program.id)
    assert CHECKS[name](session) == found
    set_scope(session, new_id())
    assert broken(session) == set()


def test_a_purchase_that_counts_for_two_members_is_found(session, program):
    row = session.execute(sa.select(ChallengeContribution)).scalars().first()
    other = add_member(session, program, NOW)
    progress = {"window": row.window, "challenge": row.challenge, "member_id": other, "program_id": row.program_id}
    session.add(ChallengeProgress(progress=row.amount, **progress))
    session.add(
        ChallengeContribution(source_id=row.source_id, business_date=row.business_date, amount=row.amount, **progress)
    )
    session.flush()
    assert broken(session) == {"a_purchase_counts_once"}


def test_a_contribution_of_nothing_is_found(session, program):
    member = add_member(session, program, NOW)
    key = {"window": "all", "challenge": "burgers", "member_id": member, "program_id": program.id}
    session.add(ChallengeProgress(progress=0, **key))
    session.add(ChallengeContribution(source_id=new_id(), business_date=date(2026, 11, 5), amount=0, **key))
    session.flush()
    assert broken(session) == {"a_purchase_counts_once"}
