"""What is still needed, in numbers and in sentences."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from tests.conftest import NOW
from tests.unit.rules.programs import definition
from wallet_server.i18n import translator
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.tiers.levels import Standing
from wallet_server.tiers.projection import Keep, Need, Next, projection, projection_sentences
from wallet_server.tiers.table import Counts

TODAY = date(2026, 11, 23)
GOLD = {"any": [{"spend_minor": 500_000}, {"visits": 12}]}


def program(window: dict[str, Any] | None = None, gold: dict[str, Any] | None = None) -> ProgramDefinition:
    levels = [
        {"code": "base", "name": {"en": "Member"}},
        {"code": "gold", "name": {"en": "Gold", "mk": "Злато"}, "reach": gold or GOLD, "grace_days": 30},
        {"code": "top", "name": {"en": "Top"}, "reach": {"all": [{"spend_minor": 900_000}, {"purchases": 20}]}},
    ]
    return definition(tiers={"window": window or {"kind": "lifetime"}, "levels": levels})


def said(made: ProgramDefinition, standing: Standing, days: dict[date, Counts] | None = None) -> list[str]:
    sentences = projection_sentences(projection(made, standing, NOW, days), translator("en"), made)
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in sentences]


def test_a_life_long_level_is_only_ever_climbed() -> None:
    found = projection(program(), Standing(tier="base", spend_minor=380_000, visits=10), NOW)
    assert found.keep is None
    assert found.next == Next("gold", (Need("spend_minor", 120_000), Need("visits", 2)), any=True, until=None)
    assert said(program(), Standing(tier="base", spend_minor=380_000, visits=10)) == [
        "MKD 1,200.00 or 2 visits more to reach Gold."
    ]
    assert said(program(), Standing(tier="gold", spend_minor=500_000, purchases=19)) == [
        "MKD 4,000.00 and 1 purchase more to reach Top."
    ]
    assert said(program(), Standing(tier="top")) == []


def test_a_year_s_level_needs_as_much_again_by_the_end_of_the_next() -> None:
    year = program({"kind": "calendar_year"})
    last, this = Counts(600_000, 9, 9), Counts(380_000, 10, 10)
    standing = Standing(tier="gold", counts=(this, last))
    found = projection(year, standing, NOW).keep
    assert found == Keep("gold", date(2026, 12, 31), (Need("spend_minor", 120_000), Need("visits", 2)), any=True)
    assert said(year, standing) == [
        "MKD 1,200.00 or 2 visits more by December 31, 2026 to keep Gold.",
        "MKD 5,200.00 and 10 purchases more by December 31, 2026 to reach Top.",
    ]
    safe = Standing(tier="gold", counts=(Counts(600_000, 20, 20), Counts()))
    assert said(year, safe)[0] == "Gold is safe until December 31, 2027."


def test_in_grace_the_new_year_counts_and_the_grace_is_the_deadline() -> None:
    year = program({"kind": "calendar_year"})
    midnight = NOW.replace(hour=23, minute=0) + timedelta(days=9)
    standing = Standing(tier="gold", grace_until=midnight, counts=(Counts(380_000, 1, 1), Counts()))
    assert projection(year, standing, NOW).keep == Keep(
        "gold", date(2026, 12, 2), (Need("spend_minor", 120_000), Need("visits", 11)), any=True
    )


def test_a_rolling_level_is_lost_with_the_receipt_that_leaves() -> None:
    rolling = program({"kind": "rolling_days", "days": 365})
    old, new = TODAY - timedelta(days=300), TODAY - timedelta(days=20)
    days = {old: Counts(300_000, 1, 1), new: Counts(380_000, 1, 1)}
    standing = Standing(tier="gold", counts=(Counts(680_000, 2, 2),))
    found = projection(rolling, standing, NOW, days).keep
    last = old + timedelta(days=364)
    assert found == Keep("gold", last, (Need("spend_minor", 120_000), Need("visits", 11)), any=True)
    assert said(rolling, standing, days)[0] == "MKD 1,200.00 or 11 visits more by January 26, 2027 to keep Gold."
    assert projection(rolling, standing, NOW).keep is None


def test_a_temporary_level_says_what_would_make_it_last() -> None:
    until = NOW.replace(hour=23, minute=0) + timedelta(days=30)
    standing = Standing(tier="gold", protected_until=until, spend_minor=100_000, visits=11)
    assert said(program(), standing)[0] == "MKD 4,000.00 or 1 visit more by December 23, 2026 to keep Gold."


def test_time_that_cannot_be_hurried_is_not_offered_beside_other_ways() -> None:
    gold = {"any": [{"tenure_days": 400}, {"visits": 12}, {"points_earned": 5}]}
    year = program({"kind": "calendar_year"}, gold)
    standing = Standing(tier="gold", joined_at=NOW, counts=(Counts(visits=2), Counts(visits=12)))
    assert said(year, standing)[0] == "10 visits or 5 points more by December 31, 2026 to keep Gold."
    base = Standing(tier="base", joined_at=NOW, counts=(Counts(), Counts()))
    assert projection(year, base, NOW).next is not None


def test_products_are_asked_for_in_whole_units() -> None:
    made = program(gold={"all": [{"bought": {"quantity": 5, "skus": ["burger"]}}]})
    standing = Standing(tier="base", counts=(Counts(bought=(2_500,)),))
    assert said(made, standing) == ["3 chosen products more to reach Gold."]


@pytest.mark.parametrize("language", ["en", "ru", "mk"])
def test_money_and_dates_are_the_readers(language: str) -> None:
    made = program({"kind": "calendar_year"})
    standing = Standing(tier="gold", counts=(Counts(380_000, 10, 10), Counts(600_000, 9, 9)))
    t = translator(language)
    first = projection_sentences(projection(made, standing, NOW), t, made)[0]
    assert t.money(120_000, "MKD") in first
    assert t.date(date(2026, 12, 31), style="long") in first


def test_a_program_without_tiers_says_nothing() -> None:
    assert said(definition(tiers={"levels": []}), Standing()) == []


def test_the_receipt_of_the_next_day_still_counts_on_the_day_of_the_fall() -> None:
    rolling = program({"kind": "rolling_days", "days": 365})
    old = TODAY - timedelta(days=300)
    days = {old: Counts(300_000, 1, 1), old + timedelta(days=1): Counts(380_000, 1, 1)}
    standing = Standing(tier="gold", counts=(Counts(680_000, 2, 2),))
    found = projection(rolling, standing, NOW, days).keep
    assert found is not None
    assert found.needs == (Need("spend_minor", 120_000), Need("visits", 11))


def test_a_promise_beyond_the_window_is_what_counts() -> None:
    year = program({"kind": "calendar_year"})
    until = NOW.replace(year=2028, hour=23, minute=0)
    standing = Standing(tier="gold", protected_until=until, counts=(Counts(600_000, 20, 20), Counts()))
    assert said(year, standing)[0] == "Gold is safe until November 23, 2028."
