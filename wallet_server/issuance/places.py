"""Which outlets a member's card suggests itself at: the ten that serve this member best. Pure.

A pass carries ten places and ten beacons (Apple's "Pass.Locations", "Pass.Beacons"), so a program with more
outlets has to choose. Where all fit, all are named. Otherwise, in this order: outlets that the member visits (most
and most recently), promoted ones (those nearest to where the member goes), outlets near the visited ones, and then
the rest as it comes in the program file.

The choice follows from rows and the program's version alone, not from the time of day: it changes with a visit, a
refund or a new version, each of which raises the pass's version anyhow. No place is ever a reason to push.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from heapq import nsmallest
from itertools import chain, islice
from typing import Final, Literal

from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import OutletSection
from wallet_server.programs.places import OutletBeacon

PLACES_MAX: Final = 10
BEACONS_MAX: Final = 10
Why = Literal["all", "visited", "promoted", "near", "room"]
"""The card has room for all; the member was there; the program promotes it; it is near where the member goes; or it
comes first of the rest, for which there was room."""
VISITED_SEATS: Final = 6
PROMOTED_SEATS: Final = 2
"""The other two are for outlets near the visited ones; what one kind leaves free the next takes."""
HALF_LIFE_DAYS: Final = 90
"""An outlet that was last visited so long before the newest visit counts half."""
NEIGHBOURS_KEPT: Final = PLACES_MAX + VISITED_SEATS
"""So many fill a card, even when the visited ones are among them."""
MAPS_KEPT: Final = 64
EARTH_RADIUS_METERS: Final = 6_371_008.8
"""The mean radius of IUGG: places are told apart, not surveyed."""


@dataclass(frozen=True, slots=True)
class OutletVisits:
    """How often a member was at an outlet, and when last."""

    outlet: str
    visits: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class ChosenPlaces:
    """What goes on one card, each list in the order of the program file, so that equal choices are equal.

    ``why`` says of each outlet of both lists, by code, what it was chosen for.
    """

    outlets: tuple[OutletSection, ...] = ()
    beacons: tuple[tuple[OutletSection, OutletBeacon], ...] = ()
    why: Mapping[str, Why] = field(default_factory=dict, compare=False)


def distance_meters(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The great-circle distance between two (latitude, longitude) in degrees, by the haversine formula."""
    latitudes = math.radians(one[0]), math.radians(other[0])
    across = math.sin((latitudes[1] - latitudes[0]) / 2) ** 2
    along = math.sin(math.radians(other[1] - one[1]) / 2) ** 2
    share = across + math.cos(latitudes[0]) * math.cos(latitudes[1]) * along
    return 2 * EARTH_RADIUS_METERS * math.asin(math.sqrt(min(1.0, share)))


@dataclass(frozen=True)
class OutletMap:
    """The open outlets of one program version that a card can suggest itself at.

    ``outlets`` are those with a position or a beacon, by code; ``positions`` of those that have one.
    """

    outlets: Mapping[str, OutletSection]
    positions: Mapping[str, tuple[float, float]]
    _nearest: dict[tuple[str, bool], Sequence[tuple[int, str]]] = field(default_factory=dict, repr=False)

    @property
    def shares_places(self) -> bool:
        """Whether all cards name the same places, because there is room for all."""
        return len(self.positions) <= PLACES_MAX

    @property
    def needs_choice(self) -> bool:
        """Whether a card cannot name all places, or not all beacons."""
        return not self.shares_places or self.beacons > BEACONS_MAX

    @cached_property
    def beacons(self) -> int:
        """How many there are."""
        return sum(len(section.beacons) for section in self.outlets.values())

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The place of each outlet in the program file."""
        return {code: place for place, code in enumerate(self.outlets)}

    @cached_property
    def promoted(self) -> Sequence[str]:
        """The outlets at which cards are to suggest themselves first."""
        return [code for code, section in self.outlets.items() if section.promoted]

    def nearest(self, code: str, *, promoted: bool = False) -> Sequence[tuple[int, str]]:
        """The nearest other outlets with their distances in whole metres; measured once for each outlet."""
        if (code, promoted) not in self._nearest:
            distances = self._distances(code, self.promoted if promoted else self.positions)
            # Two threads may measure the same at once: they find the same.
            self._nearest[code, promoted] = nsmallest(NEIGHBOURS_KEPT, distances)
        return self._nearest[code, promoted]

    def _distances(self, code: str, others: Iterable[str]) -> Iterator[tuple[int, str]]:
        here = self.positions.get(code)
        for other in others:
            there = self.positions.get(other)
            if here is not None and there is not None and other != code:
                # Whole metres: what is equally far must not be told apart by the last bit of a float.
                yield round(distance_meters(here, there)), other


@lru_cache(maxsize=MAPS_KEPT)
def outlet_map(program: ProgramDefinition) -> OutletMap:
    """The map of a program version, made once for the definition that is kept in memory."""
    sections = [ref.section for ref in program.outlets.values()]
    return OutletMap(
        {one.code: one for one in sections if one.latitude is not None or one.beacons},
        {
            one.code: (float(one.latitude), float(one.longitude))
            for one in sections
            if one.latitude is not None and one.longitude is not None
        },
    )


def chosen_places(program: ProgramDefinition, visits: Sequence[OutletVisits] = ()) -> ChosenPlaces:
    """The places and beacons of one member's card; ``visits`` are looked at only where not all fit."""
    here = outlet_map(program)
    placed: list[str] = []
    beacons: list[tuple[str, OutletBeacon]] = []
    reasons: dict[str, Why] = {}
    for code, why in _ranked(here, visits) if here.needs_choice else _all(here):
        if len(placed) >= min(PLACES_MAX, len(here.positions)) and len(beacons) >= min(BEACONS_MAX, here.beacons):
            break
        if code in here.positions and len(placed) < PLACES_MAX:
            placed.append(code)
            reasons[code] = why
        reasons |= {code: why} if here.outlets[code].beacons and len(beacons) < BEACONS_MAX else {}
        beacons += [(code, beacon) for beacon in here.outlets[code].beacons][: BEACONS_MAX - len(beacons)]
    placed.sort(key=here.order.__getitem__)
    beacons.sort(key=lambda item: here.order[item[0]])
    return ChosenPlaces(
        tuple(here.outlets[code] for code in placed),
        tuple((here.outlets[code], beacon) for code, beacon in beacons),
        reasons,
    )


def _all(here: OutletMap) -> Iterator[tuple[str, Why]]:
    for code in here.outlets:
        yield code, "all"


def _ranked(here: OutletMap, visits: Sequence[OutletVisits]) -> Iterator[tuple[str, Why]]:
    """The outlets of the map, each once with its reason, the most useful first. Whoever has enough asks no further."""
    visited = _by_score([item for item in visits if item.outlet in here.outlets])
    most = visited[:VISITED_SEATS]
    near = _by_distance(here.nearest(code) for code in most)
    promoted = [*_by_distance(here.nearest(code, promoted=True) for code in most), *here.promoted]
    new = islice((code for code in dict.fromkeys(promoted) if code not in visited), PROMOTED_SEATS)
    ranks: tuple[tuple[Why, Iterable[str]], ...] = (
        ("visited", most),
        ("promoted", new),
        ("near", near),
        ("visited", visited),
        ("promoted", promoted),
        ("room", here.outlets),
    )
    told: set[str] = set()
    for why, codes in ranks:
        for code in codes:
            if code not in told:
                told.add(code)
                yield code, why


def _by_score(visits: Sequence[OutletVisits]) -> list[str]:
    if not visits:
        return []
    newest = max(item.last_at for item in visits)

    def score(item: OutletVisits) -> tuple[float, str]:
        age_days = (newest - item.last_at).days
        return -item.visits * 0.5 ** (age_days / HALF_LIFE_DAYS), item.outlet

    return [item.outlet for item in sorted(visits, key=score)]


def _by_distance(measured: Iterable[Sequence[tuple[int, str]]]) -> list[str]:
    """What is near any of several outlets, the nearest first, each once."""
    return list(dict.fromkeys(code for _distance, code in sorted(chain.from_iterable(measured))))
