"""Which cards the gallery shows: each look once, and none left out."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

from tests.factories import CAFE
from tests.unit.test_card_content import program
from wallet_server.issuance.gallery import STATES_MAX, cards, percents, seasons

WINTER = {"from": "12-01", "to": "02-28", "yearly": True}
NEW_YEAR = {"from": "12-24", "to": "01-06", "yearly": True}
NOVEMBER = date(2026, 11, 22)


def dressed(*looks, **sections):
    named = [{"name": f"Look {place}", **look} for place, look in enumerate(looks)]
    return program(**{"pass": {"stamps": "burgers", "looks": named}, **sections})


def test_a_program_without_seasons_has_one_beginning_today():
    [one] = seasons(dressed(), NOVEMBER)
    assert (one.day, one.looks) == (NOVEMBER, ())


def test_seasons_that_overlap_are_one_more():
    here = dressed({"when": {"dates": [NEW_YEAR]}}, {"when": {"tiers": ["silver"], "dates": [WINTER]}})
    found = [(one.day.isoformat(), one.looks) for one in seasons(here, NOVEMBER)]
    assert found == [("2026-11-22", ()), ("2026-12-01", (1,)), ("2026-12-24", (0, 1))]
    [_, winter, holidays] = seasons(here, NOVEMBER)
    assert [part.from_ for part in winter.ranges(here)] == ["12-01"]
    assert [part.from_ for part in holidays.ranges(here)] == ["12-24", "12-01"]


def test_states_are_none_some_and_where_a_look_begins_and_all_but_one():
    here = dressed({"when": {"challenge": {"code": "burgers", "at_least": 2, "at_most": 2}}})
    assert percents(here) == (0, 40, 60, 80)
    assert [card.strip.done for card in cards(here, seasons(here, NOVEMBER)[0], "en")] == [0, 2, 3, 4] * 2


def test_a_challenge_that_ends_at_its_goal_is_shown_full():
    once = [{**challenge, "repeat": "once"} for challenge in CAFE["challenges"]]
    assert percents(dressed(challenges=once)) == (0, 60, 100)


def test_of_many_states_the_emptiest_and_the_fullest_are_always_shown():
    steps = [
        {"when": {"challenge": {"code": "burgers", "at_least": units, "at_most": units}}} for units in range(2, 19)
    ]
    target = [{**challenge, "target": 20, "repeat": "once"} for challenge in CAFE["challenges"]]
    found = percents(dressed(*steps, challenges=target))
    assert len(found) == STATES_MAX
    assert (found[0], found[-1]) == (0, 100)
    gaps = [more - less for less, more in pairwise(found)]
    assert max(gaps) <= 20, "the middle is shown too"


def test_the_way_to_the_next_level_is_shown_from_its_begin_to_its_end():
    here = dressed({"when": {"challenge": {"code": "burgers", "at_most": 0}}, "strip": {"kind": "progress"}})
    found = [card for card in cards(here, seasons(here, NOVEMBER)[0], "en") if card.look.name]
    assert [(card.sample.tier, card.strip.done) for card in found] == [
        ("base", 0), ("base", 24), ("base", 39), ("silver", 40),
    ]  # fmt: skip


def test_cards_that_look_alike_are_shown_once():
    here = dressed({"when": {"dates": [WINTER]}, "strip": {"kind": "season", "motif": "snow"}})
    ordinary, winter = seasons(here, NOVEMBER)
    assert [card.sample.tier for card in cards(here, winter, "en")] == ["base", "silver"]
    assert [card.look.name for card in cards(here, ordinary, "en")] == [""] * 6


def test_a_program_without_levels_has_cards_too():
    here = dressed(tiers={})
    assert {card.sample.tier for card in cards(here, seasons(here, NOVEMBER)[0], "en")} == {None}
