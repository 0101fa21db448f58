"""Where a simulated phone is, and which of its cards lie on the lock screen there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import Session

from wallet_server.i18n import localized
from wallet_server.issuance.places import distance_meters, outlet_map
from wallet_server.programs.queries import list_programs, load_program
from wallet_server.web.rendering import reader

SPOTS_MAX: Final = 200
STORE_CARD_METERS: Final = 100
"""How near iOS asks a store card's holder to be; a pass can only ask for less (Wallet Developer Guide)."""


@dataclass(frozen=True, slots=True)
class Spot:
    """An outlet to which a phone can be carried; ``key`` names it in addresses."""

    key: str
    name: str
    position: tuple[float, float]


def spots(session: Session) -> list[Spot]:
    """The outlets of all programs that have a position, at most 200; needs a session over all programs."""
    found: list[Spot] = []
    for listed in list_programs(session):
        program = load_program(session, program_id=listed.id)
        here = outlet_map(program)
        found += [
            Spot(
                f"{program.slug}:{code}",
                localized(here.outlets[code].name, reader().language, program.languages),
                position,
            )
            for code, position in here.positions.items()
        ]
        if len(found) >= SPOTS_MAX:
            break
    return found[:SPOTS_MAX]


def suggestions(cards: Sequence[Mapping[str, Any]], spot: Spot) -> Iterator[dict[str, Any]]:
    """The cards that suggest themselves there, each with what it says at its nearest place."""
    for card in cards:
        near = min(((_meters(spot, place), place["text"]) for place in card["places"]), default=None)
        if near is not None and near[0] <= min(card["max_distance"] or STORE_CARD_METERS, STORE_CARD_METERS):
            yield {"icon": card["images"]["icon"], "title": card["organization"], "text": near[1]}


def _meters(spot: Spot, place: Mapping[str, Any]) -> float:
    return distance_meters(spot.position, (place["latitude"], place["longitude"]))
