"""Which outlets a card suggests itself at, and what the lock screen says there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from passes.apple.pass_json import pass_json
from tests.unit.test_card_content import STATE, content, program
from wallet_server.issuance.google import card_object, program_class
from wallet_server.issuance.places import (
    OutletMap,
    OutletVisits,
    chosen_places,
    distance_meters,
    outlet_map,
)
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.diff import changes
from wallet_server.programs.file import ProgramFile

NEWEST = datetime(2026, 11, 23, 12, tzinfo=UTC)
FAMILY = "E2C56DB5-DFFB-48D2-B060-D0F5A71096E0"


def street(length: int, **outlets) -> list[dict]:
    """Outlets S0, S1 … about 1.1 km from one to the next along a meridian; ``S3={…}`` adds keys to one."""
    return [
        {"code": f"S{n}", "name": f"Shop {n}", "latitude": f"{41 + n / 100}", "longitude": "20.80"}
        | outlets.get(f"S{n}", {})
        for n in range(length)
    ]


def chain(length: int, **outlets) -> ProgramDefinition:
    return program(outlets=street(length, **outlets), challenges=[], **{"pass": {}})


def codes(where: ProgramDefinition, *visits: OutletVisits) -> list[str]:
    return [section.code for section in chosen_places(where, visits).outlets]


def been(outlet: str, visits: int, days_ago: int = 0) -> OutletVisits:
    return OutletVisits(outlet, visits, NEWEST - timedelta(days=days_ago))


def test_ten_outlets_are_all_named_whoever_comes():
    where = chain(10)
    assert codes(where) == [f"S{n}" for n in range(10)] == codes(where, been("S7", 3))


def test_an_outlet_without_a_position_takes_no_seat():
    where = chain(11, S4={"latitude": None, "longitude": None})
    assert "S4" not in codes(where, been("S4", 9))
    assert len(codes(where)) == 10


def test_distances_are_those_of_the_globe():
    skopje, ohrid = (41.9961, 21.4317), (41.1172, 20.8016)
    assert distance_meters(skopje, ohrid) == pytest.approx(111_000, rel=0.01)
    assert distance_meters((0, 179.5), (0, -179.5)) == pytest.approx(111_195, rel=0.001)
    assert distance_meters((90, 0), (90, 135)) == pytest.approx(0, abs=1e-6)


def test_the_neighbourhood_of_a_regular_is_chosen():
    """Seen from S30 alone the ten nearest are itself and five on one side, four on the other."""
    assert codes(chain(40), been("S30", 5)) == ["S25", *(f"S{n}" for n in range(26, 35))]


def test_visited_outlets_come_before_near_ones():
    chosen = codes(chain(40), been("S0", 5), been("S20", 4), been("S39", 1))
    assert {"S0", "S20", "S39", "S1", "S38", "S19", "S21"} <= set(chosen)


def test_who_visits_many_keeps_four_seats_for_others():
    """Six visited ones, two promoted ones, and what is near the six."""
    visits = [been(f"S{n}", 20 - n) for n in range(0, 40, 3)]
    chosen = codes(chain(40, S31={"promoted": True}, S35={"promoted": True}, S38={"promoted": True}), *visits)
    assert {"S0", "S3", "S6", "S9", "S12", "S15"} <= set(chosen)
    assert len(chosen) == 10
    assert sum(code in {"S31", "S35", "S38"} for code in chosen) == 2


def test_the_promoted_outlet_nearest_to_the_member_comes_first():
    promoted = {f"S{n}": {"promoted": True} for n in (0, 20, 39)}
    chosen = codes(chain(40, **promoted), *(been(f"S{n}", 1) for n in (34, 35, 36, 37, 33, 32)))
    assert "S39" in chosen
    assert "S20" in chosen
    assert "S0" not in chosen


def test_a_promoted_outlet_is_suggested_to_who_was_nowhere_yet():
    assert codes(chain(40, S39={"promoted": True})) == [*(f"S{n}" for n in range(9)), "S39"]


def test_what_was_long_ago_counts_less():
    """Seven visited outlets fight for six seats: four visits half a year ago are one visit today."""
    visits = [been(f"S{n}", 2) for n in range(0, 35, 6)]
    assert "S39" in codes(chain(40), *visits, been("S39", 9, days_ago=180))
    assert "S39" not in codes(chain(40), *visits, been("S39", 7, days_ago=180))


def test_outlets_that_are_gone_are_passed_over():
    assert codes(chain(40), been("CLOSED", 50), been("S30", 1)) == codes(chain(40), been("S30", 1))


def test_the_order_of_visits_means_nothing():
    visits = [been(f"S{n}", n + 1, n) for n in range(0, 40, 5)]
    where = chain(40)
    assert chosen_places(where, visits) == chosen_places(where, visits[::-1])


def test_neighbours_are_measured_once(monkeypatch):
    where = outlet_map(chain(40))
    first = where.nearest("S3")
    monkeypatch.setattr("wallet_server.issuance.places.distance_meters", None)
    assert where.nearest("S3") is first
    assert OutletMap({}, {}).nearest("S3") == []


def beacons_of(number: int, count: int) -> dict:
    return {"beacons": [{"uuid": FAMILY, "major": number, "minor": minor} for minor in range(count)]}


def test_a_card_carries_ten_beacons_those_of_visited_outlets_first():
    where = chain(6, **{f"S{n}": beacons_of(n, 4) for n in range(6)})
    chosen = chosen_places(where, [been("S5", 3), been("S4", 1)])
    # S5 and S4 whole, and two of their neighbour; in the order of the file.
    assert [beacon.major for _, beacon in chosen.beacons] == [3, 3, 4, 4, 4, 4, 5, 5, 5, 5]
    assert len(chosen.outlets) == 6


def test_an_outlet_may_have_beacons_and_no_position():
    where = chain(2, S1={"latitude": None, "longitude": None, **beacons_of(1, 1)})
    assert [section.code for section in chosen_places(where).outlets] == ["S0"]
    assert [section.code for section, _ in chosen_places(where).beacons] == ["S1"]


def card(**sections):
    return content(replace(STATE, language="en"), challenges=[], **{"pass": {}}, **sections)


def test_the_lock_screen_says_which_outlet_is_near_in_every_language():
    shown = card(outlets=street(1, S0={"name": {"en": "Old Town", "mk": "Стар град"}}))
    [place] = shown.places
    assert place.relevant_text == "Old Town is close by"
    assert set(shown.translations) == {"en", "mk", "ru"}
    assert shown.translations["mk"][place.relevant_text].startswith("Стар град")


def test_an_outlet_and_the_program_may_say_something_of_their_own():
    text = {"en": "Coffee at {outlet}?", "mk": "Кафе во {outlet}?"}
    outlets = street(2, S1={"nearby": {"en": "Two for one until six", "mk": "Две за едно"}, **beacons_of(7, 1)})
    shown = card(outlets=outlets, places={"text": text})
    assert [place.relevant_text for place in shown.places] == ["Coffee at Shop 0?", "Two for one until six"]
    assert [beacon.relevant_text for beacon in shown.beacons] == ["Two for one until six"]
    assert shown.translations["mk"]["Coffee at Shop 0?"] == "Кафе во Shop 0?"


def test_apple_takes_the_places_as_numbers():
    shown = card(outlets=street(12, S0=beacons_of(7, 1)), places={"max_distance_meters": 150})
    document = pass_json(shown, pass_type_id="pass.com.example", team_id="TEAM123456")
    assert len(document["locations"]) == 10
    assert document["locations"][0] == {"latitude": 41.0, "longitude": 20.8, "relevantText": "Shop 0 is close by"}
    assert document["maxDistance"] == 150
    assert document["beacons"] == [
        {"proximityUUID": FAMILY, "major": 7, "minor": 0, "relevantText": "Shop 0 is close by"}
    ]


def google_places(where: ProgramDefinition, *visits: OutletVisits) -> tuple[int, int]:
    """How many places go to Google with the program, and how many with a card."""
    issuer = {"issuer_id": "3388", "public_url": "https://x.example", "places": True}
    shared = program_class(where, **issuer)["merchantLocations"]
    state = replace(STATE, challenges=(), visits=visits)
    return len(shared), len(card_object(where, state, page_url="https://x.example/m/1", **issuer)["merchantLocations"])


def test_google_hears_of_places_once_either_with_the_program_or_with_the_card():
    assert google_places(chain(10)) == (10, 0)
    assert google_places(chain(11), been("S10", 1)) == (0, 10)


def test_a_card_that_is_over_suggests_itself_nowhere():
    shown = content(replace(STATE, voided=True), outlets=street(3, S0=beacons_of(7, 1)), challenges=[], **{"pass": {}})
    assert (shown.places, shown.beacons, shown.max_distance_meters) == ((), (), None)


@pytest.mark.parametrize(
    ("outlet", "said"),
    [
        ({"beacons": [{"uuid": "no-uuid"}]}, "should match pattern"),
        ({"beacons": [{"uuid": FAMILY, "minor": 3}]}, "give major too"),
        ({"beacons": [{"uuid": FAMILY, "major": 65_536}]}, "less than or equal to 65535"),
        ({"beacons": [{"uuid": FAMILY, "major": 1}, {"uuid": FAMILY.lower(), "major": 1}]}, "in outlet 'S0' already"),
        (beacons_of(1, 11), "at most 10 items"),
    ],
    ids=["family", "minor alone", "too big", "twice", "eleven"],
)
def test_a_beacon_that_no_phone_could_find_is_refused(outlet, said):
    with pytest.raises(ValidationError, match=said):
        chain(1, S0=outlet)


def test_changes_of_places_are_said_in_words():
    sections = {"challenges": [], "pass": {}}
    before = program(outlets=street(2), **sections).file
    after = ProgramFile.model_validate(
        before.model_dump(mode="json", by_alias=True)
        | {"places": {"max_distance_meters": 200}, "outlets": street(2, S1={"promoted": True, **beacons_of(1, 1)})}
    )
    assert changes(before, after) == (
        "outlet S1: promoted no → yes",
        f"outlet S1: beacons none → uuid {FAMILY}, major 1, minor 0",
        "places: max_distance_meters none → 200",
    )


def test_each_place_says_why_it_was_chosen():
    here = chain(40, S39={"promoted": True}, S5={"beacons": [{"uuid": FAMILY}]})
    visits = [OutletVisits("S20", 5, NEWEST), OutletVisits("S5", 1, NEWEST)]
    why = chosen_places(here, visits).why
    assert {code for code, reason in why.items() if reason == "visited"} == {"S5", "S20"}
    assert {code for code, reason in why.items() if reason == "promoted"} == {"S39"}
    near = {code for code, reason in why.items() if reason == "near"}
    assert near >= {"S4", "S6", "S19", "S21"}
    assert len(why) == 10
    assert set(chosen_places(here).why.values()) == {"promoted", "room"}
    assert set(chosen_places(chain(3)).why.values()) == {"all"}
