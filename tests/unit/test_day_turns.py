"""What a new day changes on the passes of a program."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from tests.factories import CAFE
from tests.unit.test_card_content import program
from wallet_server.issuance.turns import Turn, turn_between

WINTER = {"from": "12-01", "to": "02-28", "yearly": True}
WEEK = {"code": "week", "name": "Week", "metric": "visits", "target": 2, "window": {"kind": "calendar_week"},
        "reward": {"points": 5}}  # fmt: skip
NOTHING: dict[str, str] = {}


def turned(before: str, today: str, looks: Any = (), **sections: Any) -> Turn:
    here = program(**{"pass": {"looks": [{"name": f"Look {n}", **look} for n, look in enumerate(looks)]}, **sections})
    return turn_between(here, date.fromisoformat(before), date.fromisoformat(today))


def test_an_ordinary_midnight_changes_nothing():
    assert not turned("2026-11-23", "2026-11-24", [{"when": {"dates": [WINTER]}}]).changes_anything


@pytest.mark.parametrize(("before", "today"), [("2026-11-30", "2026-12-01"), ("2026-11-02", "2027-01-01")])
def test_a_season_begins_on_every_pass(before, today):
    turn = turned(before, today, [{"when": {"dates": [WINTER]}}])
    assert (turn.everyone, turn.tiers, turn.windows) == (True, (), NOTHING)


def test_a_season_ends():
    assert turned("2027-02-28", "2027-03-01", [{"when": {"dates": [WINTER]}}]).everyone
    assert turned("2028-02-28", "2028-02-29", [{"when": {"dates": [WINTER]}}]).everyone


def test_a_season_of_some_levels_turns_on_their_passes():
    looks = [
        {"when": {"tiers": ["silver"], "dates": [WINTER]}},
        {"when": {"tiers": ["silver", "base"], "dates": [{"from": "2026-12-01"}]}},
    ]
    assert turned("2026-11-30", "2026-12-01", looks).tiers == ("silver", "base")
    assert turned("2026-12-01", "2026-12-02", looks).tiers == ("silver", "base")
    assert turned("2027-02-28", "2027-03-01", looks).tiers == ("silver",)


def test_windows_turn_on_the_passes_of_those_who_had_come_on_in_them():
    turn = turned("2026-11-30", "2026-12-01")
    assert (turn.everyone, turn.windows) == (False, {"dinner": "2026-11"})
    challenges = [*CAFE["challenges"], WEEK]
    assert turned("2026-11-29", "2026-11-30", challenges=challenges).windows == {"week": "2026-W48"}
    # A server that was off over the turn of both.
    assert turned("2026-11-29", "2026-12-02", challenges=challenges).windows == {
        "week": "2026-W48",
        "dinner": "2026-11",
    }


def test_a_year_of_levels_turns_where_the_way_to_the_next_is_drawn():
    tiers = {**CAFE["tiers"], "window": {"kind": "calendar_year"}}
    way = {"pass": {"strip": {"kind": "progress"}}, "tiers": tiers}
    assert turned("2026-12-31", "2027-01-01", **way).everyone
    assert not turned("2026-12-30", "2026-12-31", **way).changes_anything
    assert not turned("2026-12-31", "2027-01-01", tiers=tiers).everyone


def test_a_turn_is_written_and_read():
    turn = Turn(tiers=("gold",), windows={"dinner": "2026-11"})
    assert Turn.from_json(turn.as_json()) == turn
