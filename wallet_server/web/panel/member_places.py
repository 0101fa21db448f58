"""Where a member's card suggests itself, and why there, in words for the member's page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wallet_server.i18n import Translator, gettext_noop, localized
from wallet_server.issuance.places import ChosenPlaces, OutletVisits, Why
from wallet_server.programs.definition import ProgramDefinition

REASONS: Final[Mapping[Why, str]] = {
    "all": gettext_noop("The card has room for all outlets."),
    "visited": gettext_noop("The member goes there."),
    "promoted": gettext_noop("The program promotes it."),
    "near": gettext_noop("It is near an outlet where the member goes."),
    "room": gettext_noop("There was room for it."),
}


@dataclass(frozen=True, slots=True)
class PlaceView:
    """One outlet. ``by_place`` and ``by_beacon`` say how the phone notices that it is close."""

    name: str
    why: str
    by_place: bool
    by_beacon: bool


def place_views(
    program: ProgramDefinition, chosen: ChosenPlaces, visits: Sequence[OutletVisits], t: Translator
) -> list[PlaceView]:
    """The outlets that a card names, in the order of the program file."""
    been = {one.outlet: one for one in visits}
    placed = {outlet.code for outlet in chosen.outlets}
    beacons = {outlet.code for outlet, _beacon in chosen.beacons}
    return [
        PlaceView(
            name=localized(ref.section.name, t.language, program.languages),
            why=_why(chosen.why[code], been.get(code), t, program.time_zone),
            by_place=code in placed,
            by_beacon=code in beacons,
        )
        for code, ref in program.outlets.items()
        if code in placed | beacons
    ]


def _why(why: Why, visits: OutletVisits | None, t: Translator, zone: str) -> str:
    if why == "visited" and visits is not None:
        last = t.date(visits.last_at, zone)
        return t.ngettext(
            "%(num)s visit, the last on %(date)s", "%(num)s visits, the last on %(date)s", visits.visits, date=last
        )
    return t.gettext(REASONS[why])
