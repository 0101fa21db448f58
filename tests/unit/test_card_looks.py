"""Which look a card has, and what its strip shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from tests.unit.test_card_content import STATE, content, program, standing
from wallet_server.issuance.content import card_strip, look_of_card
from wallet_server.issuance.looks import (
    BAR_STEPS,
    StripState,
    brand_of,
    everyones_look,
    state_of_hero,
    strip_art,
)

WINTER = {"dates": [{"from": "12-01", "to": "02-28", "yearly": True}]}
LOOKS = [
    {"name": "Gift near", "when": {"challenge": {"code": "burgers", "at_least": 4}}, "accent": "#ffd166"},
    {"name": "Silver winter", "when": {"tiers": ["silver"], **WINTER}, "strip": {"kind": "progress"}},
    {
        "name": "Winter",
        "when": WINTER,
        "background": "#16324f",
        "label": "#9fd3f5",
        "strip": {"kind": "season", "motif": "snow"},
        "texts": {"caption": {"en": "Winter", "mk": "Зима"}},
    },
]
SECTION = {"stamps": "burgers", "background": "#1f3a5f", "looks": LOOKS}
JANUARY, JUNE = date(2027, 1, 5), date(2026, 6, 5)


def shown(**changes):
    return look_of_card(program(**{"pass": SECTION}), replace(STATE, **changes))


def art(section=SECTION, **changes):
    here = program(**{"pass": section})
    return strip_art(here, card_strip(here, replace(STATE, **changes)))


def test_the_first_look_that_holds_is_shown_and_the_section_completes_it():
    assert shown(today=JUNE).index is None
    assert (shown(today=JANUARY).name, shown(today=JANUARY, tier="silver").name) == ("Winter", "Silver winter")
    near = shown(today=JANUARY, challenges=(standing("burgers", 4, 5),))
    assert (near.name, near.accent, near.background) == ("Gift near", "#ffd166", "#1f3a5f")
    assert shown(today=JUNE, challenges=(standing("burgers", 3, 5),)).index is None


@pytest.mark.parametrize(
    ("day", "winter"),
    [("2026-11-30", False), ("2026-12-01", True), ("2027-02-28", True), ("2027-03-01", False), ("2028-02-29", False)],
)
def test_a_season_crosses_the_turn_of_the_year(day, winter):
    assert (shown(today=date.fromisoformat(day)).name == "Winter") is winter


def test_a_background_is_the_look_s_then_the_level_s_then_the_section_s():
    assert shown(today=JANUARY).background == "#16324f"
    assert shown(today=JANUARY, tier="silver").background == "#6b7280"
    assert shown(today=JUNE, tier="silver").background == "#6b7280"
    for tier in ("base", None, "a level of history"):
        assert shown(today=JUNE, tier=tier).background == "#1f3a5f"


def test_stamps_are_drawn_and_then_said_on_the_back_only():
    card = content(replace(STATE, name=None, today=JUNE), **{"pass": SECTION})
    assert (card.stamps.filled, card.stamps.total) == (1, 5)
    assert [field.key for field in card.progress] == ["challenge-dinner"]
    snow = content(replace(STATE, name=None, today=JANUARY), **{"pass": SECTION})
    assert snow.stamps is None
    assert {field.key for field in snow.progress} == {"challenge-dinner", "challenge-burgers"}
    assert snow.colors.background == "#16324f"


def test_stamps_beyond_the_card_are_cut_to_it_and_unknown_ones_are_none():
    assert art(challenges=(standing("burgers", 9, 5),)).stamps.filled == 5
    assert art(challenges=()).stamps.filled == 0
    assert art({**SECTION, "stamps": None}).stamps is None


def test_the_words_of_a_season_are_in_the_language_of_the_card():
    assert art(today=JANUARY).caption == "Зима"
    assert art(today=JANUARY, language="ru").caption == "Зима"  # the program's first language stands in
    assert art(today=JANUARY, language="en").caption == "Winter"


@pytest.mark.parametrize(("progress", "done"), [(0, 0), (2, 0), (3, 1), (50, 20), (99, 39), (100, 40)])
def test_a_bar_towards_a_far_goal_goes_in_steps_and_is_full_only_at_the_goal(progress, done):
    section = {"strip": {"kind": "progress", "challenge": "dinner"}}
    sections = {"pass": section, "challenges": [{**challenge(), "target": 100}]}
    here = program(**sections)
    drawn = strip_art(here, card_strip(here, replace(STATE, challenges=(standing("dinner", progress, 100),))))
    assert (drawn.bar.done, drawn.bar.steps, drawn.bar.glyph) == (done, BAR_STEPS, "gift")


def challenge():
    return {
        "code": "dinner",
        "name": {"en": "Dinner", "mk": "Вечера"},
        "metric": "visits",
        "target": 3,
        "reward": {"points": 10},
    }


def test_the_way_to_the_next_level_names_it_and_ends_at_the_top():
    way = {"strip": {"kind": "progress"}}
    drawn = art(way, language="en", tier="base", tier_done=7)
    assert (drawn.bar.done, drawn.bar.steps, drawn.bar.glyph) == (7, BAR_STEPS, "crown")
    assert drawn.caption == "On the way to Silver"
    top = art(way, language="en", tier="silver", tier_done=None)
    assert (top.bar.done, top.caption) == (BAR_STEPS, "Silver")
    assert art(way, language="en", tier=None).bar.done == 0


def test_google_s_address_says_the_state_and_only_states_of_this_program_are_drawn():
    here = program(**{"pass": SECTION})
    state = card_strip(here, replace(STATE, today=JUNE))
    assert state.hero_name == "hero-own-0-mk-1-of-5"
    assert state_of_hero(here, state.hero_name) == state
    winter = card_strip(here, replace(STATE, today=JANUARY, tier="gone"))
    assert winter == StripState(2, None, "mk")
    assert state_of_hero(here, winter.hero_name) == winter
    for name in ("hero", "hero-9-0-mk", "hero-2-9-mk", "hero-2-0-fr", "hero-2-0-mk-1-of-5", "hero-own-0-mk-6-of-5"):
        assert state_of_hero(here, name) is None, name


def test_the_program_s_own_look_follows_the_season_and_no_level():
    here = program(**{"pass": SECTION})
    assert everyones_look(here, JANUARY).name == "Winter"
    assert everyones_look(here, JUNE).background == everyones_look(here, None).background == "#1f3a5f"


def test_the_mark_beside_the_name_is_that_of_the_program_s_own_stamps_in_all_looks():
    looks = [{"name": "Way", "when": {"tiers": ["silver"]}, "strip": {"kind": "progress", "glyph": "crown"}}]
    here = program(**{"pass": {"strip": {"kind": "stamps", "challenge": "burgers", "glyph": "cup"}, "looks": looks}})
    for tier in ("base", "silver"):
        assert brand_of(here, look_of_card(here, replace(STATE, tier=tier)), "en").glyph == "cup"


LAKE = {"picture": "a" * 64, "x": 20, "y": 80}
OVER_THE_LAKE = {"kind": "stamps", "challenge": "burgers", "glyph": "cup", "motif": "leaves", "photo": LAKE}


@pytest.mark.parametrize(
    ("strip", "photo", "motif", "glyph"),
    [
        ({"kind": "progress"}, "a" * 64, "leaves", "star"),
        ({"kind": "stamps", "challenge": "burgers"}, "a" * 64, "leaves", "cup"),
        ({"kind": "progress", "challenge": "burgers"}, "a" * 64, "leaves", "star"),
        ({"kind": "plain"}, "a" * 64, "leaves", "star"),
        ({"kind": "stamps", "challenge": "burgers", "glyph": "crown"}, "a" * 64, "leaves", "crown"),
        ({"kind": "stamps", "challenge": "burgers", "motif": "snow"}, None, "snow", "cup"),
        ({"kind": "progress", "motif": "hills"}, None, "hills", "star"),
        ({"kind": "season", "motif": "snow"}, None, "snow", "star"),
        ({"kind": "progress", "photo": {"picture": "b" * 64}}, "b" * 64, "hills", "star"),
    ],
)
def test_a_strip_of_a_level_keeps_what_lies_behind_all_cards_unless_it_names_its_own(strip, photo, motif, glyph):
    section = {"strip": OVER_THE_LAKE, "looks": [{"name": "Silver", "when": {"tiers": ["silver"]}, "strip": strip}]}
    drawn = art(section, tier="silver")
    assert (drawn.photo.digest if drawn.photo else None, drawn.motif, drawn.glyph) == (photo, motif, glyph)
    if photo == "a" * 64:
        assert (drawn.photo.x, drawn.photo.y) == (20, 80)
    assert art(section, tier="base").photo.digest == "a" * 64
