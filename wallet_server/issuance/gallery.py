"""Every look that the cards of a program can have: each season, level and state. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final

from wallet_server.issuance.content import CardState, card_strip, look_of_card
from wallet_server.issuance.looks import StripState
from wallet_server.issuance.specimen import Sample, specimen
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.look import ResolvedLook
from wallet_server.programs.rule import DateRange

DAYS_AHEAD: Final = 366
STATES_MAX: Final = 8
WAYS_SHOWN: Final = (0, 60, 99)
"""In percent. On a level below the last nobody has come the whole way."""
POINTS_SHOWN: Final = 1_250


@dataclass(frozen=True, slots=True)
class Season:
    """Days on which the same looks hold: the first of them from today on. ``looks`` are places in the file."""

    day: date
    looks: tuple[int, ...]

    def ranges(self, program: ProgramDefinition) -> tuple[DateRange, ...]:
        """The days of its looks that hold on its first day."""
        dates = (part for place in self.looks for part in program.file.look.looks[place].when.dates or ())
        return tuple(dict.fromkeys(part for part in dates if part.covers(self.day)))


@dataclass(frozen=True, slots=True)
class GalleryCard:
    """One card that differs from all others of its season: its state, look and strip."""

    sample: Sample
    state: CardState
    look: ResolvedLook
    strip: StripState


def seasons(program: ProgramDefinition, today: date) -> tuple[Season, ...]:
    """The seasons of the year from today on, the one of today first; one where no look asks for days."""
    dated = [(place, look.when.dates) for place, look in enumerate(program.file.look.looks) if look.when.dates]
    found: dict[tuple[int, ...], date] = {}
    for ahead in range(DAYS_AHEAD if dated else 1):
        day = today + timedelta(days=ahead)
        found.setdefault(tuple(place for place, dates in dated if any(part.covers(day) for part in dates)), day)
    return tuple(Season(day, looks) for looks, day in found.items())


def percents(program: ProgramDefinition) -> tuple[int, ...]:
    """How far the challenges are shown to have come: nothing, some, all but one unit, and where a look begins or ends.

    A challenge that begins anew at its goal is never full.
    """
    wanted: dict[int, None] = {0: None, 60: None}
    shown = {strip.challenge for strip in program.file.look.strips if strip.challenge}
    for look in program.file.look.looks:
        asked = look.when.challenge
        challenge = program.challenge(asked.code) if asked is not None else None
        if asked is None or challenge is None:
            continue
        shown.add(asked.code)
        for units in (asked.at_least, None if asked.at_most is None else asked.at_most + 1):
            if units is not None and units <= challenge.target:
                wanted[_percent(units, challenge.target)] = None
    for code in sorted(shown):
        challenge = program.challenge(code)
        if challenge is not None:
            last = challenge.target - (1 if challenge.repeat == "unlimited" else 0)
            wanted[_percent(last, challenge.target)] = None
    return _thinned(sorted(wanted))


def _thinned(found: list[int]) -> tuple[int, ...]:
    """At most ``STATES_MAX`` of them, evenly: the emptiest and the fullest are always among them."""
    if len(found) <= STATES_MAX:
        return tuple(found)
    last = len(found) - 1
    return tuple(found[round(place * last / (STATES_MAX - 1))] for place in range(STATES_MAX))


def _percent(units: int, target: int) -> int:
    """The least percent of which the specimen makes so many units."""
    return min(100, -(-units * 100 // target))


def cards(program: ProgramDefinition, season: Season, language: str) -> Iterator[GalleryCard]:
    """Each card that looks different in a season, level by level."""
    tiers: list[str | None] = [level.code for level in program.file.tiers.levels] or [None]
    for tier in tiers:
        seen: set[StripState] = set()
        for percent in percents(program):
            sample = Sample(tier=tier, points=POINTS_SHOWN, percent=percent, language=language, day=season.day)
            for card in _on_all_ways(program, sample):
                if card.strip not in seen:
                    seen.add(card.strip)
                    yield card


def _on_all_ways(program: ProgramDefinition, sample: Sample) -> Iterator[GalleryCard]:
    """The card; where it draws the way to the next level, at the begin, the middle and the end of that way."""
    card = _card(program, sample)
    if card.look.strip.kind != "progress" or card.look.strip.challenge is not None:
        yield card
        return
    for way in WAYS_SHOWN:
        yield _card(program, replace(sample, way=way))


def _card(program: ProgramDefinition, sample: Sample) -> GalleryCard:
    state = specimen(program, sample)
    return GalleryCard(sample, state, look_of_card(program, state), card_strip(program, state))
