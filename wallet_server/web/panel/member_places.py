"""Where a member's card suggests itself, and why there, in words for the member's page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from wallet_server.i18n import Translator, gettext_noop, localized
from wallet_server.issuance.places import ChosenPlaces, OutletVisits, Why
from wallet_server.programs.definition import ProgramDefinition

REASONS: Final[Mapping[Why, str]] = {
    "visited": gettext_noop("The member goes there."),
    "promoted": gettext_noop("The program promotes it."),
    "near": gettext_noop("Near an outlet where the member goes."),
    "room": gettext_noop("There was room for it."),
    "all": gettext_noop("The card has room for all outlets."),
}


@dataclass(frozen=True, slots=True)
class PlaceView:
    """Outlets that were chosen for the same reason; a visited one stands alone with its visits."""

    names: tuple[str, ...]
    why: str


def place_views(
    program: ProgramDefinition, chosen: ChosenPlaces, visits: Sequence[OutletVisits], t: Translator
) -> list[PlaceView]:
    """The outlets that a card names: where the member goes first, then the others by reason, as in the program file."""
    been = {one.outlet: one for one in visits}
    beacons = {outlet.code for outlet, _beacon in chosen.beacons}
    named: dict[str, list[str]] = {}
    for why in REASONS:
        for code in (code for code in program.outlets if chosen.why.get(code) == why):
            name = localized(program.outlets[code].section.name, t.language, program.languages)
            if code in beacons:
                name = t.gettext("%(outlet)s (beacon)", outlet=name)
            named.setdefault(_why(why, been.get(code), t, program.time_zone), []).append(name)
    return [PlaceView(tuple(names), words) for words, names in named.items()]


def _why(why: Why, visits: OutletVisits | None, t: Translator, zone: str) -> str:
    if why == "visited" and visits is not None:
        last = t.date(visits.last_at, zone)
        return t.ngettext(
            "%(num)s visit, the last on %(date)s", "%(num)s visits, the last on %(date)s", visits.visits, date=last
        )
    return t.gettext(REASONS[why])
