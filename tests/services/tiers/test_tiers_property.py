"""Any sequence of purchases, visits, refunds, grants and time ends where counting everything anew ends."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop, purchase
from tests.unit.tiers.naive import Naive
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.members.models import Card, MemberStatistics
from wallet_server.members.services import Enrol, enrol
from wallet_server.purchases.models import Purchase, Visit
from wallet_server.tiers.models import MemberTier
from wallet_server.tiers.services import grant_tier, reconsider, review_due

SKOPJE = ZoneInfo("Europe/Skopje")
REACHES: list[dict[str, Any] | None] = [
    None,
    {"any": [{"spend_minor": 300}, {"visits": 3}]},
    {"all": [{"spend_minor": 500}, {"purchases": 2}]},
]
GRACE = 20
WINDOWS = {
    "lifetime": {"kind": "lifetime"},
    "calendar_year": {"kind": "calendar_year"},
    "rolling_days": {"kind": "rolling_days", "days": 60},
}
_numbers = itertools.count(1)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sleep"), st.one_of(st.integers(1, 70), st.integers(150, 400))),
        st.tuples(st.just("buy"), st.integers(50, 400), st.integers(0, 25)),
        st.tuples(st.just("visit"), st.integers(0, 10)),
        st.tuples(st.just("refund"), st.integers(0, 9)),
        st.tuples(st.just("grant"), st.integers(0, 2), st.integers(1, 90)),
    ),
    min_size=4,
    max_size=12,
)


@dataclass
class World:
    """One member in the real program; every day begins at noon."""

    shop: Shop
    member_id: UUID
    card: str
    card_id: UUID
    now: datetime

    def row(self) -> MemberTier:
        with reading(self.shop.engine, self.shop.program.id) as session:
            return session.exec(select(MemberTier).where(MemberTier.member_id == self.member_id)).one()

    def tick(self) -> None:
        """The clock's turns that are due, each at its own time."""
        while (review_at := self.row().review_at) is not None and review_at <= self.now:
            with transaction(self.shop.engine, ALL_PROGRAMS) as session:
                review_due(session, review_at)
            after = self.row().review_at
            assert after is None or after > review_at, "the clock would turn for ever"

    def sleep(self, days: int) -> None:
        self.now = datetime.combine(self.now.date() + timedelta(days=days), time(12), tzinfo=SKOPJE)
        self.tick()

    def buy(self, spend: int, ago: int) -> None:
        at = datetime.combine(self.now.date() - timedelta(days=ago), time(12), tzinfo=SKOPJE)
        self.shop.record(purchase(self.card, f"R-{next(_numbers)}", spend, occurred_at=at), now=self.now)
        self.tick()

    def visit(self, ago: int) -> None:
        at = datetime.combine(self.now.date() - timedelta(days=ago), time(12), tzinfo=SKOPJE)
        with transaction(self.shop.engine, self.shop.program.id) as session:
            session.add(
                Visit(
                    program_id=self.shop.program.id,
                    outlet_id=self.shop.program.outlet("A").id,
                    visit_id=f"V-{next(_numbers)}",
                    member_id=self.member_id,
                    card_id=self.card_id,
                    occurred_at=at,
                    business_date=at.date(),
                    recorded_at=self.now,
                    recorded_by="test",
                )
            )
            session.get_one(MemberStatistics, self.member_id).visits += 1
            session.flush()
            reconsider(session, self.shop.program, [self.member_id], self.now)
        self.tick()

    def refund(self, index: int) -> None:
        """What a refund of a whole purchase leaves in the rows; how it gets there is tested elsewhere."""
        with transaction(self.shop.engine, self.shop.program.id) as session:
            wanted = select(Purchase).where(Purchase.member_id == self.member_id).order_by(Purchase.id)
            row = session.exec(wanted).all()[index]
            statistics = session.get_one(MemberStatistics, self.member_id)
            statistics.purchases -= 1
            statistics.visits -= 1
            statistics.spend_minor -= row.total_minor
            row.refunded_at, row.returned_minor, row.points_taken_back = self.now, row.total_minor, row.points_earned
            session.add_all([statistics, row])
            session.flush()
            reconsider(session, self.shop.program, [self.member_id], self.now, reason="refunded", lowered=True)
        self.tick()

    def grant(self, tier: int, until: datetime) -> None:
        with transaction(self.shop.engine, self.shop.program.id) as session:
            grant_tier(
                session, self.shop.program, self.member_id, tier=f"level{tier}", until=until, actor="t", now=self.now
            )
        self.tick()


def new_world(shop: Shop) -> World:
    with transaction(shop.engine, shop.program.id) as session:
        command = Enrol(email=f"p{next(_numbers)}@example.com", channel="till")
        member = enrol(session, shop.program, command, now=NOW, actor="test")
        card_id = session.exec(select(Card.id).where(Card.member_id == member.member_id)).one()
    noon = datetime.combine(date(2026, 11, 23), time(12), tzinfo=SKOPJE)
    return World(shop, member.member_id, member.card_number, card_id, noon)


@pytest.mark.parametrize("window", WINDOWS)
def test_any_sequence_ends_where_counting_anew_ends(engine: Engine, window: str) -> None:
    levels = [
        {"code": f"level{number}", "name": "x", "grace_days": GRACE, **({"reach": reach} if reach else {})}
        for number, reach in enumerate(REACHES)
    ]
    shop = open_shop(engine, tiers={"window": WINDOWS[window], "levels": levels})

    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
    @given(STEPS)
    def run(steps: list[tuple[Any, ...]]) -> None:
        world = new_world(shop)
        naive = Naive(REACHES, window, 60, GRACE, world.now.date())
        for step in steps:
            play(world, naive, step)
            assert world.row().tier == f"level{naive.tier}", step
        check_history(world)

    run()


def play(world: World, naive: Naive, step: tuple[Any, ...]) -> None:
    match step:
        case ("sleep", days):
            world.sleep(days)
            naive.sleep(days)
        case ("buy", spend, ago):
            world.buy(spend, ago)
            naive.buy(naive.today - timedelta(days=ago), spend)
        case ("visit", ago):
            world.visit(ago)
            naive.buy(naive.today - timedelta(days=ago), None)
        case ("refund", number):
            open_rows = [index for index, row in enumerate(naive.rows) if row.spend is not None]
            left = [place for place, index in enumerate(open_rows) if not naive.rows[index].gone]
            if left:
                place = left[number % len(left)]
                world.refund(place)
                naive.refund(open_rows[place])
        case ("grant", tier, days):
            day = naive.today + timedelta(days=days)
            world.grant(tier, datetime.combine(day, time(), tzinfo=SKOPJE))
            naive.grant(tier, day)


def check_history(world: World) -> None:
    """The rows of history lead from step to step to the tier held now."""
    steps = world.shop.tier_changes(world.member_id)
    tier = "level0"
    for step in steps:
        assert step.from_tier == tier
        assert step.to_tier != tier
        tier = step.to_tier
    assert world.row().tier == tier
