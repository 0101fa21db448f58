"""Balances set to zero by rule: once for each due date, in batches, and what is carried over."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.ledger.till import assert_sound
from tests.services.purchases.shop import Shop, open_shop
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.ledger.expiry import end_of_day
from wallet_server.ledger.holds import PlaceHold, place_hold
from wallet_server.ledger.models import Lot, Posting, Zeroing
from wallet_server.ledger.postings import earn
from wallet_server.ledger.services import post
from wallet_server.ledger.zeroing import run_due
from wallet_server.members.models import MemberStatistics
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.services import apply_program
from wallet_server.purchases.clockwork import run_due_zeroing
from wallet_server.tiers.models import MemberTier

ZONE = "Europe/Skopje"
YEAR_END = end_of_day(date(2026, 12, 31), ZONE)
DAY = timedelta(days=1)
RULE = {"name": "Year's end", "month": 12, "day": 31}


def shop_with(engine: Engine, *rules: dict[str, Any], members: int = 1, **points: Any) -> Shop:
    return open_shop(engine, members=members, points={"zeroing": list(rules), **points})


def give(shop: Shop, *points: int, now: datetime = NOW, **values: Any) -> None:
    """Points for the first members, one lot each."""
    moves = [
        earn(person.member_id, number, reason="gift", occurred_at=now, **values)
        for person, number in zip(shop.members, points, strict=False)
    ]
    with transaction(shop.engine, shop.program.id) as session:
        post(session, shop.program.id, moves, now)


def zero(shop: Shop, now: datetime, limit: int = 500) -> list[list[UUID]]:
    """Run until nothing is due any more; who lost points in each batch."""

    def holders(program_id: UUID, tiers: Any) -> sa.Select[Any]:
        return sa.select(MemberTier.member_id).where(
            MemberTier.program_id == program_id, col(MemberTier.tier).in_(tiers)
        )

    batches = []
    while True:
        with transaction(shop.engine, ALL_PROGRAMS) as session:
            done = run_due(session, now, holders=holders, limit=limit)
        if done is None:
            return batches
        batches.append(done[shop.program.id])
        assert len(batches) < 20


def spendable(shop: Shop) -> list[int]:
    return [shop.balance(person.member_id).spendable for person in shop.members]


def runs(shop: Shop) -> list[tuple[str, date, int, int, bool]]:
    with reading(shop.engine, shop.program.id) as session:
        rows = session.exec(select(Zeroing).order_by(col(Zeroing.due_on))).all()
    return [(row.rule, row.due_on, row.members, row.points, row.finished_at is not None) for row in rows]


def test_a_rule_runs_when_its_day_is_over_and_once(engine: Engine) -> None:
    shop = shop_with(engine, RULE, members=2)
    give(shop, 100, 7)
    assert zero(shop, YEAR_END - timedelta(seconds=1)) == []
    assert zero(shop, YEAR_END) == [sorted(person.member_id for person in shop.members)]
    assert spendable(shop) == [0, 0]
    give(shop, 5, now=YEAR_END)
    assert zero(shop, YEAR_END + 300 * DAY) == []
    assert spendable(shop) == [5, 0]
    assert runs(shop) == [("Year's end", date(2026, 12, 31), 2, 107, True)]
    assert zero(shop, YEAR_END + 366 * DAY) == [[shop.member_id]]
    assert [run[1] for run in runs(shop)] == [date(2026, 12, 31), date(2027, 12, 31)]
    with reading(engine, shop.program.id) as session:
        found = session.exec(select(Posting).where(Posting.kind == "zero").order_by(col(Posting.id))).first()
    assert found is not None
    assert (found.reason, found.occurred_at) == ("Year's end", YEAR_END)
    assert_sound(engine)


def test_what_came_after_the_day_stays(engine: Engine) -> None:
    shop = shop_with(engine, RULE)
    give(shop, 100)
    give(shop, 5, now=YEAR_END + timedelta(hours=1))
    assert zero(shop, YEAR_END + DAY)
    assert spendable(shop) == [5]
    assert_sound(engine)


def test_a_run_that_was_broken_off_goes_on(engine: Engine) -> None:
    shop = shop_with(engine, RULE, members=5)
    give(shop, 1, 2, 3, 4, 5)

    def holders(*_values: Any) -> Any:
        raise AssertionError("no rule names a tier")

    with transaction(engine, ALL_PROGRAMS) as session:
        assert run_due(session, YEAR_END, holders=holders, limit=2)
    assert sum(spendable(shop)) > 0
    assert [run[4] for run in runs(shop)] == [False]
    assert [len(batch) for batch in zero(shop, YEAR_END, limit=2)] == [2, 1]
    assert spendable(shop) == [0] * 5
    assert runs(shop) == [("Year's end", date(2026, 12, 31), 5, 15, True)]
    assert_sound(engine)


def test_what_is_carried_over_is_what_expires_last(engine: Engine) -> None:
    carry = {"carry_over": {"percent": "50", "max_points": 30}}
    shop = shop_with(engine, {**RULE, **carry}, members=2)
    give(shop, 40, 10, expires_at=YEAR_END + 9 * DAY)
    give(shop, 60, 1)
    zero(shop, YEAR_END)
    assert spendable(shop) == [30, 5]
    with reading(engine, shop.program.id) as session:
        left = session.exec(select(Lot.points, Lot.remaining).order_by(col(Lot.points))).all()
    assert left == [(1, 1), (10, 4), (40, 0), (60, 30)]
    assert_sound(engine)


def test_pending_and_held_points_stay(engine: Engine) -> None:
    shop = shop_with(engine, RULE)
    give(shop, 100)
    give(shop, 20, pending=True, spendable_at=YEAR_END + 9 * DAY)
    with transaction(engine, shop.program.id) as session:
        place_hold(session, shop.program, PlaceHold(shop.card, "A", 30, 60), now=NOW, actor="key:test")
    zero(shop, YEAR_END)
    now = shop.balance()
    assert (now.spendable, now.pending, now.held) == (0, 20, 30)
    assert_sound(engine)


def test_only_members_of_the_named_tiers(engine: Engine) -> None:
    shop = shop_with(engine, {**RULE, "tiers": ["silver"]}, members=2)
    give(shop, 10, 20)
    with transaction(engine, shop.program.id) as session:
        row = session.exec(select(MemberTier).where(MemberTier.member_id == shop.members[1].member_id)).one()
        row.tier = "silver"
    with transaction(engine, ALL_PROGRAMS) as session:
        assert run_due_zeroing(session, YEAR_END)
        assert not run_due_zeroing(session, YEAR_END)
    assert spendable(shop) == [10, 0]


def test_only_members_who_stayed_away(engine: Engine) -> None:
    shop = shop_with(engine, {**RULE, "inactive_days": 10}, members=3)
    give(shop, 10, 20, 30)
    with transaction(engine, shop.program.id) as session:
        for person, last in zip(shop.members, (date(2026, 12, 21), date(2026, 12, 22), None), strict=True):
            row = session.exec(select(MemberStatistics).where(MemberStatistics.member_id == person.member_id)).one()
            row.last_visit_at = last and datetime(last.year, last.month, last.day, 12, tzinfo=NOW.tzinfo)
    zero(shop, YEAR_END)
    assert spendable(shop) == [0, 20, 0]


def test_a_monthly_rule_runs_each_month_and_only_the_last_one_is_made_up_for(engine: Engine) -> None:
    shop = shop_with(engine, {"name": "Monthly", "day": 28})
    give(shop, 10)
    zero(shop, end_of_day(date(2026, 11, 28), ZONE))
    zero(shop, end_of_day(date(2027, 3, 1), ZONE))
    assert [run[1] for run in runs(shop)] == [date(2026, 11, 28), date(2027, 2, 28)]


def test_a_rule_that_was_published_after_its_day_waits_for_the_next(engine: Engine) -> None:
    shop = open_shop(engine)
    give(shop, 10)
    base = program_file()
    section = {**base["program"], "points": {**base["program"]["points"], "zeroing": [RULE]}}
    file = ProgramFile.model_validate({**base, "program": section})
    with transaction(engine, ALL_PROGRAMS) as session:
        apply_program(session, file, now=YEAR_END + timedelta(hours=1), actor="test")
    assert zero(shop, YEAR_END + DAY) == []
    assert spendable(shop) == [10]
    assert zero(shop, YEAR_END + 366 * DAY)
    assert spendable(shop) == [0]


def test_a_new_program_does_not_make_up_for_the_past(engine: Engine) -> None:
    shop = shop_with(engine, RULE, {"name": "Monthly", "day": 22})
    give(shop, 10)
    assert zero(shop, NOW) == []
    assert runs(shop) == []


@pytest.mark.parametrize("rules", [2, 3])
def test_rules_of_one_day_run_one_after_the_other(engine: Engine, rules: int) -> None:
    carry = {"carry_over": {"percent": "50"}}
    shop = shop_with(engine, *({**RULE, **carry, "name": f"rule {number}"} for number in range(rules)))
    give(shop, 80)
    zero(shop, YEAR_END)
    assert spendable(shop) == [80 // 2**rules]
    assert_sound(engine)
