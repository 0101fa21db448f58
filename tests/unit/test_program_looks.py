"""Looks in a program file: what is refused and where, what is hard to read, and their changes in words."""

from __future__ import annotations

from typing import Any, get_args

import jsonschema_rs
import pytest
import yaml

from passes.artwork import MOTIFS
from passes.glyphs import GLYPHS
from tests.factories import program_file
from wallet_server.errors import DomainError
from wallet_server.programs.diff import changes
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.look import CAPTION_CHARACTERS_MAX, LOOKS_MAX, Glyph, Motif, low_contrasts
from wallet_server.programs.yaml_file import dump_program, parse_program, program_schema

WINTER = {"dates": [{"from": "12-01", "to": "02-28", "yearly": True}]}


def cafe(*looks: Any, **section: Any) -> ProgramFile:
    return ProgramFile.model_validate(program_file(**{"pass": {**section, "looks": list(looks)}}))


def refusal(*looks: Any, **section: Any) -> str:
    """What is said of the file, written out and read as an owner's."""
    with pytest.raises(DomainError) as caught:
        parse_program(yaml.safe_dump(program_file(**{"pass": {**section, "looks": list(looks)}}), sort_keys=False))
    return str(caught.value)


@pytest.mark.parametrize(
    ("look", "said"),
    [
        ({}, "pass.looks[0].name: is missing"),
        ({"when": {"tiers": ["platinum"]}}, "pass.looks[0].when.tiers[0]: 'platinum' is not defined in this file"),
        ({"when": {"tiers": []}}, "pass.looks[0].when.tiers"),
        ({"when": {"challenge": {"code": "tea", "at_least": 1}}}, "pass.looks[0].when.challenge.code: 'tea' is not"),
        ({"when": {"challenge": {"code": "burgers"}}}, "give at_least, at_most, or both"),
        ({"when": {"challenge": {"code": "burgers", "at_least": 4, "at_most": 3}}}, "at_least 4 is above at_most 3"),
        ({"when": {"dates": [{"from": "12-01"}]}}, "has no year"),
        ({"strip": {"kind": "stamps"}}, "stamps needs the challenge whose stamps are drawn"),
        ({"strip": {"kind": "stamps", "challenge": "dinner"}}, "challenge 'dinner' is not of kind stamps"),
        ({"strip": {"kind": "progress", "challenge": "tea"}}, "pass.looks[0].strip.challenge: 'tea' is not defined"),
        ({"strip": {"kind": "season"}}, "season needs a motif, such as snow"),
        ({"strip": {"kind": "plain", "challenge": "burgers"}}, "plain shows no challenge"),
        ({"strip": {"kind": "stamps", "challenge": "burgers", "glyph": "skull"}}, "pass.looks[0].strip.glyph"),
        ({"strip": {"kind": "season", "motif": "fog"}}, "pass.looks[0].strip.motif"),
        ({"background": "navy"}, "must be a colour such as #1f3a5f"),
        ({"texts": {"caption": {"en": "x" * (CAPTION_CHARACTERS_MAX + 1)}}}, "one line of at most 40 characters"),
        ({"texts": {"caption": {"en": "two\nlines"}}}, "one line of at most 40 characters"),
        ({"texts": {"caption": {"xx": "x"}}}, "unknown language 'xx'"),
        ({"picture": "x"}, "is not a key that this version knows"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(look: dict[str, Any], said: str) -> None:
    named = look if not look else {"name": "Winter", **look}
    message = refusal(named)
    assert said in message
    assert message.startswith("line "), message


def test_a_progress_to_the_next_level_needs_levels() -> None:
    with pytest.raises(ValueError, match="this program has none"):
        ProgramFile.model_validate(program_file(**{"tiers": {}, "pass": {"strip": {"kind": "progress"}}}))


def test_a_name_stands_once_and_what_is_never_seen_is_refused() -> None:
    assert "'Winter' is there twice" in refusal({"name": "Winter", "when": WINTER}, {"name": "Winter"})
    message = refusal({"name": "Always"}, {"name": "Winter", "when": WINTER})
    assert "pass.looks[1]: 'Winter' is never seen, because 'Always' before it always holds" in message


def test_stamps_and_strip_say_the_same_thing_so_one_of_them_is_given() -> None:
    strip = {"kind": "stamps", "challenge": "burgers", "glyph": "cup"}
    assert "give one of them" in refusal(stamps="burgers", strip=strip)
    assert cafe(stamps="burgers").look.own_strip == cafe(strip={**strip, "glyph": None}).look.own_strip
    assert cafe().look.own_strip.kind == "plain"


def test_text_that_nobody_can_read_is_refused_in_a_look_and_told_of_elsewhere() -> None:
    message = refusal({"name": "Fog", "background": "#dddddd", "foreground": "#ffffff"})
    assert "pass.looks[0]: text in #ffffff on #dddddd has a contrast of 1.4 to 1 and cannot be read" in message
    on_silver = refusal({"name": "Fog", "when": {"tiers": ["silver"]}, "foreground": "#8a8f98"})
    assert "on the colour of level 'silver', #6b7280," in on_silver
    file = cafe({"name": "Dusk", "when": WINTER, "label": "#5f7590"}, background="#8a8a8a")
    told = [(low.at, low.part, low.tier, low.background) for low in low_contrasts(file.look, file.tiers.levels)]
    assert (("pass",), "foreground", None, "#8a8a8a") in told
    assert (("pass", "looks", 0), "label", "silver", "#6b7280") in told
    assert all(low.ratio < 4.5 for low in low_contrasts(file.look, file.tiers.levels))


def test_good_colours_are_not_told_of() -> None:
    assert low_contrasts(cafe().look, ()) == ()


def test_a_look_is_written_as_it_is_read_and_fits_the_schema() -> None:
    look = {
        "name": "Winter",
        "when": {"tiers": ["silver"], "challenge": {"code": "burgers", "at_least": 1, "at_most": 4}, **WINTER},
        "background": "#16324f",
        "accent": "#9fd3f5",
        "strip": {"kind": "stamps", "challenge": "burgers", "glyph": "cup", "motif": "snow"},
        "texts": {"caption": {"en": "Winter", "mk": "Зима"}},
    }
    file = cafe(look, stamps="burgers")
    assert parse_program(dump_program(file)) == file
    assert jsonschema_rs.validator_for(program_schema()).is_valid(
        program_file(**{"pass": {"stamps": "burgers", "looks": [look]}})
    )


def test_there_are_not_too_many() -> None:
    looks = [{"name": f"Look {number}", "when": WINTER} for number in range(LOOKS_MAX + 1)]
    assert cafe(*looks[:-1]).look.looks[-1].name == "Look 39"
    assert "pass.looks" in refusal(*looks)


def test_every_glyph_and_motif_of_the_file_is_drawn() -> None:
    assert set(get_args(Glyph)) == set(GLYPHS)
    assert set(get_args(Motif)) == set(MOTIFS)


def test_changes_of_looks_are_told_in_words() -> None:
    winter = {"name": "Winter", "when": WINTER, "background": "#16324f"}
    gold = {"name": "Gold", "when": {"tiers": ["silver"]}, "label": "#ffffff"}
    [added] = changes(cafe(), cafe(winter))
    assert added.startswith("look Winter added: when dates from 12-01 to 02-28 each year, background #16324f")
    snow = {**winter, "strip": {"kind": "season", "motif": "snow"}}
    assert changes(cafe(winter), cafe({**winter, "background": "#000000"})) == (
        "look Winter: background #16324f → #000000",
    )
    assert changes(cafe(winter), cafe(snow)) == ("look Winter: strip none → season, motif snow",)
    assert changes(cafe(winter, gold), cafe(gold, winter)) == ("looks: order Winter, Gold → Gold, Winter",)
    assert changes(cafe(winter), cafe()) == ("look Winter removed",)
