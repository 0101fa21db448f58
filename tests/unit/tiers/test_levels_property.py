"""The rules of tiers against the second writing of them, over thousands of days, without a database."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.rules.programs import definition
from tests.unit.tiers.naive import Naive
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.tiers.levels import Cause, Standing, decide
from wallet_server.tiers.table import NOTHING, Counts, tier_table

SKOPJE = ZoneInfo("Europe/Skopje")
DAYS = 60
REACHES: list[dict[str, Any] | None] = [
    None,
    {"any": [{"spend_minor": 300}, {"visits": 3}]},
    {"all": [{"spend_minor": 500}, {"purchases": 2}]},
    {"any": [{"spend_minor": 1200}]},
]
WINDOWS: dict[str, dict[str, Any]] = {
    "lifetime": {"kind": "lifetime"},
    "calendar_year": {"kind": "calendar_year"},
    "rolling_days": {"kind": "rolling_days", "days": DAYS},
}


def program(window: str, grace: int) -> ProgramDefinition:
    levels = [
        {"code": f"level{number}", "name": "x", "grace_days": grace, **({"reach": reach} if reach else {})}
        for number, reach in enumerate(REACHES)
    ]
    return definition(tiers={"window": WINDOWS[window], "levels": levels})


@dataclass
class Member:
    """One member without a database: receipts by day, and what would be in the member's row."""

    program: ProgramDefinition
    now: datetime
    standing: Standing = field(default_factory=lambda: Standing(tier="level0"))
    rows: list[tuple[date, int | None]] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)

    def _counted(self) -> Standing:
        """The standing as it would be read afresh."""
        table = tier_table(self.program)
        rows = [row for index, row in enumerate(self.rows) if index not in self.gone]

        def total(days: list[tuple[date, int | None]]) -> Counts:
            found = NOTHING
            for _day, spend in days:
                found = found.plus(Counts(spend or 0, int(spend is not None), 1, 0))
            return found

        spans = table.spans(table.today(self.now))
        everything = total(rows)
        return replace(
            self.standing,
            spend_minor=everything.spend_minor,
            purchases=everything.purchases,
            visits=everything.visits,
            counts=tuple(total([row for row in rows if span.has(row[0])]) for span in spans),
        )

    def _days(self) -> dict[date, Counts]:
        found: dict[date, Counts] = {}
        for index, (day, spend) in enumerate(self.rows):
            if index not in self.gone:
                found[day] = found.get(day, NOTHING).plus(Counts(spend or 0, int(spend is not None), 1, 0))
        return found

    def decide(self, cause: Cause, standing: Standing | None = None) -> None:
        counted = standing or self._counted()
        days = self._days() if cause == "time" else None
        made = decide(tier_table(self.program), counted, self.now, cause, days)
        self.standing = replace(
            counted,
            tier=made.tier,
            protected_until=made.protected_until,
            grace_until=made.grace_until,
            review_at=made.review_at,
        )

    def tick(self) -> None:
        until = self.now
        while self.standing.review_at is not None and self.standing.review_at <= until:
            before = self.now = self.standing.review_at
            self.decide("time")
            assert self.standing.review_at is None or self.standing.review_at > before
        self.now = until

    def sleep(self, days: int) -> None:
        self.now = datetime.combine(self.now.date() + timedelta(days=days), time(12), tzinfo=SKOPJE)
        self.tick()

    def buy(self, day: date, spend: int | None) -> None:
        moment = datetime.combine(day, time(12), tzinfo=SKOPJE)
        before = self._counted()
        held = before.tier
        self.rows.append((day, spend))
        if spend is None:  # a visit without money: read afresh
            self.decide("event")
            self.tick()
            return
        after = before.after_purchase(
            self.program, now=self.now, occurred_at=moment, business_date=day, spend_minor=spend, points_earned=0
        )
        assert replace(after, tier=held, first_visit_at=None, last_visit_at=None) == self._counted()
        self.decide("event", replace(after, tier=held, first_visit_at=None, last_visit_at=None))
        assert self.standing.tier == after.tier, "a batch goes on with the tier that its receipts bring"
        self.tick()

    def refund(self, index: int) -> None:
        self.gone.add(index)
        self.decide("refund")
        self.tick()

    def grant(self, tier: int, until: datetime) -> None:
        held = int((self.standing.tier or "level0").removeprefix("level"))
        if tier >= held:
            promised = self.standing.protected_until if tier == held else None
            until = max(until, promised) if promised is not None else until
            self.standing = replace(
                self.standing, tier=f"level{tier}", protected_until=until, grace_until=None, review_at=self.now
            )
        self.tick()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sleep"), st.one_of(st.integers(1, 70), st.integers(150, 400))),
        st.tuples(st.just("buy"), st.integers(50, 600), st.integers(0, 25)),
        st.tuples(st.just("visit"), st.integers(0, 10)),
        st.tuples(st.just("refund"), st.integers(0, 9)),
        st.tuples(st.just("grant"), st.integers(0, 3), st.integers(1, 90)),
    ),
    min_size=3,
    max_size=25,
)


@pytest.mark.parametrize("grace", [0, 20])
@pytest.mark.parametrize("window", WINDOWS)
def test_the_rules_agree_with_the_second_writing(window: str, grace: int) -> None:
    made = program(window, grace)

    @settings(max_examples=150, deadline=None)
    @given(STEPS)
    def run(steps: list[tuple[Any, ...]]) -> None:
        noon = datetime(2026, 11, 23, 12, tzinfo=SKOPJE)
        member, naive = Member(made, noon), Naive(REACHES, window, DAYS, grace, noon.date())
        for step in steps:
            play(member, naive, step)
            assert member.standing.tier == f"level{naive.tier}", step

    run()


def play(member: Member, naive: Naive, step: tuple[Any, ...]) -> None:
    match step:
        case ("sleep", days):
            member.sleep(days)
            naive.sleep(days)
        case ("buy", spend, ago):
            member.buy(naive.today - timedelta(days=ago), spend)
            naive.buy(naive.today - timedelta(days=ago), spend)
        case ("visit", ago):
            member.buy(naive.today - timedelta(days=ago), None)
            naive.buy(naive.today - timedelta(days=ago), None)
        case ("refund", number):
            left = [index for index, row in enumerate(naive.rows) if row.spend is not None and not row.gone]
            if left:
                member.refund(left[number % len(left)])
                naive.refund(left[number % len(left)])
        case ("grant", tier, days):
            day = naive.today + timedelta(days=days)
            member.grant(tier, datetime.combine(day, time(), tzinfo=SKOPJE))
            naive.grant(tier, day)
