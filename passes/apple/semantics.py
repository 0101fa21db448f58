"""Semantic tags: what a pass or one of its fields means, for the phone's suggestions, calendar and Siri.

Each tag has one kind of value. Most are for tickets and boarding passes; a store card has its balance and the
membership tags.

Source: developer.apple.com/documentation/walletpasses/semantictags and the types beside it (currency amounts,
locations, names, seats, wifi networks, event dates).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from passes.content import HEX_COLOR, PassContentError, w3c_date

TAG_CHARACTERS_MAX: Final = 1_000
TAG_ITEMS_MAX: Final = 100
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class CurrencyAmount:
    """An amount in the currency's main unit, e.g. ``CurrencyAmount(Decimal("12.50"), "EUR")``."""

    amount: Decimal
    currency_code: str


@dataclass(frozen=True, slots=True)
class Spot:
    """Degrees."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonName:
    """The parts of a person's name."""

    given_name: str | None = None
    family_name: str | None = None
    middle_name: str | None = None
    name_prefix: str | None = None
    name_suffix: str | None = None
    nickname: str | None = None
    phonetic_representation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A seat at an event or on a vehicle; the colour of its section is ``#RRGGBB``."""

    seat_section: str | None = None
    seat_row: str | None = None
    seat_number: str | None = None
    seat_identifier: str | None = None
    seat_type: str | None = None
    seat_description: str | None = None
    seat_aisle: str | None = None
    seat_level: str | None = None
    seat_section_color: str | None = None


@dataclass(frozen=True, slots=True)
class WifiNetwork:
    """A network that the holder may join."""

    ssid: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDate:
    """When an event starts, as far as it is known; `time_zone` is an IANA name."""

    date: datetime
    ignore_time_components: bool = False
    time_zone: str | None = None
    unannounced: bool = False
    undetermined: bool = False


class Kind(Enum):
    """What the value of a tag is."""

    TEXT = "a text"
    TEXTS = "a tuple of texts"
    NUMBER = "a number"
    SWITCH = "true or false"
    DATE = "a date with its time zone"
    MONEY = "a CurrencyAmount"
    SPOT = "a Spot"
    NAME = "a PersonName"
    SEATS = "a tuple of Seat"
    NETWORKS = "a tuple of WifiNetwork"
    EVENT_DATE = "an EventDate"
    EVENT_TYPE = "a PKEventType"
    SECURITY_PROGRAMS = "a tuple of PKTransitSecurityProgram names"
    CAPABILITIES = "a tuple of PKPassengerCapability names"
    GROUP_TOKENS = "a tuple of AirPlay device group tokens"


_NAMES: Final[Mapping[Kind, str]] = {
    Kind.TEXT: """
        admissionLevel admissionLevelAbbreviation airlineCode attendeeName awayTeamAbbreviation awayTeamLocation
        awayTeamName additionalTicketAttributes boardingGroup boardingSequenceNumber boardingZone carNumber
        confirmationNumber departureAirportCode departureAirportName departureCityName departureGate
        departureLocationDescription departurePlatform departureStationName departureTerminal
        departureLocationTimeZone destinationAirportCode destinationAirportName destinationCityName destinationGate
        destinationLocationDescription destinationPlatform destinationStationName destinationTerminal
        destinationLocationTimeZone entranceDescription eventName eventLiveMessage flightCode genre
        homeTeamAbbreviation homeTeamLocation homeTeamName internationalDocumentsVerifiedDeclarationName
        leagueAbbreviation leagueName membershipProgramName membershipProgramNumber membershipProgramStatus
        priorityStatus securityScreening sportName ticketFareClass transitProvider transitStatus transitStatusReason
        vehicleName vehicleNumber vehicleType venueEntrance venueName venuePhoneNumber venueRoom venueRegionName
        venueEntranceGate venueEntranceDoor venueEntrancePortal venuePlaceID""",
    Kind.TEXTS: """
        artistIDs albumIDs playlistIDs performerNames loungePlaceIDs passengerAirlineSSRs passengerInformationSSRs
        passengerServiceSSRs""",
    Kind.NUMBER: "duration flightNumber",
    Kind.SWITCH: "silenceRequested tailgatingAllowed internationalDocumentsAreVerified",
    Kind.DATE: """
        currentArrivalDate currentBoardingDate currentDepartureDate originalArrivalDate originalBoardingDate
        originalDepartureDate eventStartDate eventEndDate venueGatesOpenDate venueParkingLotsOpenDate
        venueBoxOfficeOpenDate venueDoorsOpenDate venueFanZoneOpenDate venueOpenDate venueCloseDate""",
    Kind.MONEY: "balance totalPrice",
    Kind.SPOT: "departureLocation destinationLocation venueLocation",
    Kind.NAME: "passengerName",
    Kind.SEATS: "seats",
    Kind.NETWORKS: "wifiAccess",
    Kind.EVENT_DATE: "eventStartDateInfo",
    Kind.EVENT_TYPE: "eventType",
    Kind.SECURITY_PROGRAMS: """
        departureLocationSecurityPrograms destinationLocationSecurityPrograms passengerEligibleSecurityPrograms""",
    Kind.CAPABILITIES: "passengerCapabilities",
    Kind.GROUP_TOKENS: "airplay",
}
TAGS: Final[Mapping[str, Kind]] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
"""Every tag with the kind of its value."""

EVENT_TYPES: Final = tuple(
    f"PKEventType{name}"
    for name in "Generic LivePerformance Movie Sports Conference Convention Workshop SocialGathering".split()
)
SECURITY_PROGRAMS: Final = tuple(
    f"PKTransitSecurityProgram{name}"
    for name in "TSAPreCheck TSAPreCheckTouchlessID OSS ITI ITD GlobalEntry CLEAR".split()
)
CAPABILITIES: Final = tuple(
    f"PKPassengerCapability{name}" for name in "Preboarding PriorityBoarding Carryon PersonalItem".split()
)
_STORE_CARD_ONLY: Final = ("balance",)
_UPCOMING_ONLY: Final = ("venuePlaceID",)
_CHOICES: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.SECURITY_PROGRAMS: SECURITY_PROGRAMS,
    Kind.CAPABILITIES: CAPABILITIES,
}


@dataclass(frozen=True, slots=True)
class Semantics:
    """Tags with their values, in Apple's own names: ``Semantics.of(membershipProgramName="Cafe Ohrid")``.

    Source: developer.apple.com/documentation/walletpasses/semantictags
    """

    tags: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, **tags: Any) -> Semantics:
        return cls(tuple(sorted(tags.items())))


def semantics_json(where: str, semantics: Semantics, *, style: str) -> dict[str, object]:
    """Return the tags as they stand in `pass.json`.

    `style` is the pass's (``storeCard``), or ``upcoming`` for an event that lies ahead: some tags belong to one.
    Raises `PassContentError` naming the tag.
    """
    if len(semantics.tags) > len(TAGS):
        raise PassContentError(where, "each semantic tag is said once")
    document: dict[str, object] = {}
    for name, value in semantics.tags:
        place = f"{where}.{name}"
        kind = TAGS.get(name)
        if kind is None:
            raise PassContentError(place, "this is not one of Apple's semantic tags")
        if name in document:
            raise PassContentError(place, "each semantic tag is said once")
        if name in _STORE_CARD_ONLY and style != "storeCard":
            raise PassContentError(place, "this tag is for store cards only")
        if name in _UPCOMING_ONLY and style != "upcoming":
            raise PassContentError(place, "this tag is for upcoming events only")
        document[name] = _value(place, kind, value)
    return document


def _value(where: str, kind: Kind, value: Any) -> object:
    match kind:
        case Kind.TEXT:
            return _text(where, value)
        case Kind.NUMBER:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise _wrong(where, kind)
            return value
        case Kind.SWITCH:
            return _switch(where, value)
        case Kind.DATE:
            return _date(where, value)
        case Kind.MONEY:
            return _money(where, value)
        case Kind.SPOT:
            return _spot(where, value)
        case Kind.NAME:
            return _parts(where, kind, value, PersonName)
        case Kind.EVENT_DATE:
            return _event_date(where, value)
        case Kind.EVENT_TYPE:
            return _one_of(where, value, EVENT_TYPES)
        case _:
            return _list(where, kind, value)


def _list(where: str, kind: Kind, value: Any) -> list[object]:
    if not isinstance(value, tuple):
        raise _wrong(where, kind)
    if len(value) > TAG_ITEMS_MAX:
        raise PassContentError(where, f"a tag has at most {TAG_ITEMS_MAX} values")
    made: list[object] = []
    for index, item in enumerate(value):
        place = f"{where}[{index}]"
        if kind is Kind.SEATS:
            made.append(_parts(place, kind, item, Seat))
        elif kind is Kind.NETWORKS:
            made.append(_parts(place, kind, item, WifiNetwork))
        elif kind is Kind.GROUP_TOKENS:
            made.append({"airplayDeviceGroupToken": _text(place, item)})
        elif kind in _CHOICES:
            made.append(_one_of(place, item, _CHOICES[kind]))
        else:
            made.append(_text(place, item))
    return made


def _wrong(where: str, kind: Kind) -> PassContentError:
    return PassContentError(where, f"the value of this tag is {kind.value}")


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise PassContentError(where, "this is a text that is not empty")
    if len(value) > TAG_CHARACTERS_MAX:
        raise PassContentError(where, f"a tag has at most {TAG_CHARACTERS_MAX} characters")
    if not is_writable(value):
        raise PassContentError(where, "the text holds half a character (a lone surrogate)")
    return value


def is_writable(text: str) -> bool:
    """Whether a text can be written as UTF-8: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _switch(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, Kind.SWITCH)
    return value


def _date(where: str, value: Any) -> str:
    if not isinstance(value, datetime):
        raise _wrong(where, Kind.DATE)
    return w3c_date(where, value)


def _one_of(where: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise PassContentError(where, f"one of {', '.join(choices)}, not {value!r}")
    return str(value)


def _money(where: str, value: Any) -> object:
    if not isinstance(value, CurrencyAmount) or not isinstance(value.amount, Decimal):
        raise _wrong(where, Kind.MONEY)
    if not value.amount.is_finite() or abs(value.amount) >= 10**15:
        raise PassContentError(f"{where}.amount", "an amount is finite and has at most 15 digits before the point")
    if not _CURRENCY.fullmatch(value.currency_code):
        raise PassContentError(f"{where}.currency_code", "a currency is its ISO 4217 code, such as EUR")
    return {"amount": f"{value.amount:f}", "currencyCode": value.currency_code}


def _spot(where: str, value: Any) -> object:
    if not isinstance(value, Spot):
        raise _wrong(where, Kind.SPOT)
    if not (-90 <= value.latitude <= 90 and -180 <= value.longitude <= 180):
        raise PassContentError(where, "latitude is -90 to 90 and longitude -180 to 180 degrees")
    return {"latitude": value.latitude, "longitude": value.longitude}


def _event_date(where: str, value: Any) -> object:
    if not isinstance(value, EventDate):
        raise _wrong(where, Kind.EVENT_DATE)
    made: dict[str, object] = {"date": _date(f"{where}.date", value.date)}
    if value.time_zone is not None:
        made["timeZone"] = _text(f"{where}.time_zone", value.time_zone)
    for name, switch in (
        ("ignoreTimeComponents", value.ignore_time_components),
        ("unannounced", value.unannounced),
        ("undetermined", value.undetermined),
    ):
        if switch:
            made[name] = _switch(where, switch)
    return made


def _parts(where: str, kind: Kind, value: Any, expected: type[PersonName | Seat | WifiNetwork]) -> object:
    if not isinstance(value, expected):
        raise _wrong(where, kind)
    made: dict[str, object] = {}
    for part in fields(expected):
        text = getattr(value, part.name)
        if text is None:
            continue
        made[camel(part.name)] = _text(f"{where}.{part.name}", text)
        if part.name == "seat_section_color" and not HEX_COLOR.fullmatch(text):
            raise PassContentError(f"{where}.{part.name}", f"a colour is written #RRGGBB, not {text!r}")
    return made


def camel(name: str) -> str:
    """``seat_section`` -> ``seatSection``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
