"""What event tickets and boarding passes say besides: links, schemes of layout, events that lie ahead.

Source: developer.apple.com/documentation/walletpasses/pass (the keys for poster event tickets, iOS 18, and
semantic boarding passes, iOS 26) and …/upcomingpassinformationentry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from passes.apple.semantics import Semantics, is_writable, semantics_json
from passes.content import HEX_COLOR, PassContentError, PassField, w3c_date

LINK_CHARACTERS_MAX: Final = 2_000
UPCOMING_MAX: Final = 30
IMAGE_BYTES_MAX: Final = 2 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAIL = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")
_PHONE = re.compile(r"\+?[0-9 ()./-]{3,32}")


class EventLink(StrEnum):
    """Buttons of the event guide and of the ticket's menu."""

    BAG_POLICY = "bagPolicyURL"
    ORDER_FOOD = "orderFoodURL"
    PARKING_INFORMATION = "parkingInformationURL"
    DIRECTIONS = "directionsInformationURL"
    BUY_PARKING = "purchaseParkingURL"
    MERCHANDISE = "merchandiseURL"
    TRANSIT_INFORMATION = "transitInformationURL"
    ACCESSIBILITY = "accessibilityURL"
    ADD_ON = "addOnURL"
    CONTACT_MAIL = "contactVenueEmail"
    CONTACT_PHONE = "contactVenuePhoneNumber"
    CONTACT_SITE = "contactVenueWebsite"
    TRANSFER = "transferURL"
    SELL = "sellURL"


class BoardingLink(StrEnum):
    """Buttons of a boarding pass."""

    CHANGE_SEAT = "changeSeatURL"
    ENTERTAINMENT = "entertainmentURL"
    BUY_BAGGAGE = "purchaseAdditionalBaggageURL"
    BUY_LOUNGE = "purchaseLoungeAccessURL"
    BUY_WIFI = "purchaseWifiURL"
    UPGRADE = "upgradeURL"
    MANAGE = "managementURL"
    SERVICE_ANIMAL = "registerServiceAnimalURL"
    LOST_BAG = "reportLostBagURL"
    WHEELCHAIR = "requestWheelchairURL"
    PROVIDER_MAIL = "transitProviderEmail"
    PROVIDER_PHONE = "transitProviderPhoneNumber"
    PROVIDER_SITE = "transitProviderWebsiteURL"
    ORDER_FOOD = "orderFoodURL"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteImage:
    """A picture that the phone fetches (https), at most 2 MB; `sha256` in hexadecimal."""

    url: str
    sha256: str
    scale: int = 1
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpcomingEvent:
    """One event of a ticket for several (a season ticket), poster event tickets only.

    `date_is_all_day`, `date_is_unannounced`, `date_is_undetermined` and `ignore_time_components` say how much of
    the date is known; `time_zone` is an IANA name. Without `header` and `map_of_venue` but with `reuse_images`
    the phone shows the pictures that it already has.

    Source: developer.apple.com/documentation/walletpasses/upcomingpassinformationentry
    """

    identifier: str
    name: str
    date: datetime | None = None
    time_zone: str | None = None
    ignore_time_components: bool = False
    date_is_all_day: bool = False
    date_is_unannounced: bool = False
    date_is_undetermined: bool = False
    is_active: bool = False
    semantics: Semantics | None = None
    links: Mapping[EventLink, str] = field(default_factory=dict)
    back: tuple[PassField, ...] = ()
    additional_info: tuple[PassField, ...] = ()
    store_identifiers: tuple[int, ...] = ()
    header: tuple[RemoteImage, ...] = ()
    map_of_venue: tuple[RemoteImage, ...] = ()
    reuse_images: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventExtras:
    """Keys of event tickets. With `poster` the ticket is a poster where the phone can show one.

    Source: developer.apple.com/documentation/walletpasses/pass (preferredStyleSchemes, eventLogoText,
    useAutomaticColors, suppressHeaderDarkening, footerBackgroundColor, auxiliaryStoreIdentifiers, …URL)
    """

    poster: bool = False
    logo_text: str | None = None
    use_automatic_colors: bool = False
    suppress_header_darkening: bool = False
    footer_background: str | None = None
    store_identifiers: tuple[int, ...] = ()
    links: Mapping[EventLink, str] = field(default_factory=dict)
    upcoming: tuple[UpcomingEvent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardingExtras:
    """Keys of boarding passes. With `semantic` the phone lays the pass out from its semantic tags (iOS 26).

    Source: developer.apple.com/documentation/walletpasses/pass (preferredStyleSchemes, …URL, transitProvider…)
    """

    semantic: bool = False
    links: Mapping[BoardingLink, str] = field(default_factory=dict)


FieldsWriter = Callable[[str, tuple[PassField, ...], str], list[object]]
"""Writes the fields of one group: where they are, the fields, the group's name."""


def event_json(where: str, extras: EventExtras, write_fields: FieldsWriter) -> dict[str, object]:
    """Return the keys of `pass.json`. Raises `PassContentError`."""
    document: dict[str, object] = {}
    if extras.poster:
        document["preferredStyleSchemes"] = ["posterEventTicket", "eventTicket"]
    if extras.logo_text is not None:
        document["eventLogoText"] = _text(f"{where}.logo_text", extras.logo_text)
    if extras.use_automatic_colors:
        document["useAutomaticColors"] = True
    if extras.suppress_header_darkening:
        document["suppressHeaderDarkening"] = True
    if extras.footer_background is not None:
        if not HEX_COLOR.fullmatch(extras.footer_background):
            raise PassContentError(f"{where}.footer_background", "a colour is written #RRGGBB")
        document["footerBackgroundColor"] = extras.footer_background
    if extras.store_identifiers:
        document["auxiliaryStoreIdentifiers"] = store_identifiers(
            f"{where}.store_identifiers", extras.store_identifiers
        )
    document.update(_links(f"{where}.links", extras.links, EventLink))
    if extras.upcoming:
        document["upcomingPassInformation"] = _upcoming(where, extras, write_fields)
    if not extras.poster and document.keys() - {"preferredStyleSchemes"}:
        raise PassContentError(f"{where}.poster", "these keys are for poster event tickets")
    return document


def boarding_json(where: str, extras: BoardingExtras) -> dict[str, object]:
    """Return the keys of `pass.json`. Raises `PassContentError`."""
    document: dict[str, object] = dict(_links(f"{where}.links", extras.links, BoardingLink))
    if extras.semantic:
        document["preferredStyleSchemes"] = ["semanticBoardingPass", "boardingPass"]
    return document


def store_identifiers(where: str, identifiers: tuple[int, ...]) -> list[int]:
    """Check identifiers of apps in Apple's store. Raises `PassContentError`."""
    for index, identifier in enumerate(identifiers):
        if type(identifier) is not int or not 0 < identifier < 2**53:
            raise PassContentError(f"{where}[{index}]", "a store identifier is the app's number in Apple's store")
    return list(identifiers)


def _upcoming(where: str, extras: EventExtras, write_fields: FieldsWriter) -> list[object]:
    if len(extras.upcoming) > UPCOMING_MAX:
        raise PassContentError(f"{where}.upcoming", f"at most {UPCOMING_MAX} upcoming events")
    seen: set[str] = set()
    entries: list[object] = []
    for index, event in enumerate(extras.upcoming):
        place = f"{where}.upcoming[{index}]"
        if event.identifier in seen:
            raise PassContentError(f"{place}.identifier", "an upcoming event's identifier is its own")
        seen.add(event.identifier)
        entries.append(_upcoming_event(place, event, write_fields))
    return entries


def _upcoming_event(where: str, event: UpcomingEvent, write_fields: FieldsWriter) -> dict[str, object]:
    entry: dict[str, object] = {
        "type": "event",
        "identifier": _text(f"{where}.identifier", event.identifier),
        "name": _text(f"{where}.name", event.name),
    }
    if event.is_active:
        entry["isActive"] = True
    if event.date is not None:
        entry["dateInformation"] = _date_information(where, event, event.date)
    if event.semantics is not None:
        entry["semantics"] = semantics_json(f"{where}.semantics", event.semantics, style="upcoming")
    if event.links:
        entry["URLs"] = _links(f"{where}.links", event.links, EventLink)
    if event.back:
        entry["backFields"] = write_fields(f"{where}.back", event.back, "backFields")
    if event.additional_info:
        entry["additionalInfoFields"] = write_fields(
            f"{where}.additional_info", event.additional_info, "additionalInfoFields"
        )
    if event.store_identifiers:
        entry["auxiliaryStoreIdentifiers"] = store_identifiers(f"{where}.store_identifiers", event.store_identifiers)
    images: dict[str, object] = {}
    for key, name, pictures in (
        ("headerImage", "header", event.header),
        ("venueMap", "map_of_venue", event.map_of_venue),
    ):
        if pictures:
            images[key] = {"URLs": [_remote(f"{where}.{name}[{n}]", image) for n, image in enumerate(pictures)]}
        elif event.reuse_images:
            images[key] = {"reuseExisting": True}
    if images:
        entry["images"] = images
    return entry


def _date_information(where: str, event: UpcomingEvent, date: datetime) -> dict[str, object]:
    made: dict[str, object] = {"date": w3c_date(f"{where}.date", date)}
    if event.time_zone is not None:
        made["timeZone"] = _text(f"{where}.time_zone", event.time_zone)
    for key, switch in (
        ("ignoreTimeComponents", event.ignore_time_components),
        ("isAllDay", event.date_is_all_day),
        ("isUnannounced", event.date_is_unannounced),
        ("isUndetermined", event.date_is_undetermined),
    ):
        if switch:
            made[key] = True
    return made


def _remote(where: str, image: RemoteImage) -> dict[str, object]:
    if not _SHA256.fullmatch(image.sha256):
        raise PassContentError(f"{where}.sha256", "the picture's SHA-256 is 64 hexadecimal digits")
    if image.scale not in (1, 2, 3):
        raise PassContentError(f"{where}.scale", "a picture's scale is 1, 2 or 3")
    made: dict[str, object] = {
        "URL": web_address(f"{where}.url", image.url),
        "SHA256": image.sha256,
        "scale": image.scale,
    }
    if image.size is not None:
        if not 0 < image.size <= IMAGE_BYTES_MAX:
            raise PassContentError(f"{where}.size", "a picture has at most 2 MB")
        made["size"] = image.size
    return made


def _links(
    where: str,
    links: Mapping[EventLink, str] | Mapping[BoardingLink, str],
    kinds: type[StrEnum],
) -> dict[str, object]:
    made: dict[str, object] = {}
    for name, value in links.items():
        place = f"{where}.{name}"
        if name not in set(kinds):
            raise PassContentError(place, f"this pass has no such link; it has {', '.join(kinds)}")
        if str(name).endswith("Email"):
            if not _MAIL.fullmatch(value):
                raise PassContentError(place, "this is an e-mail address")
        elif str(name).endswith("PhoneNumber"):
            if not _PHONE.fullmatch(value):
                raise PassContentError(place, "this is a telephone number")
        else:
            web_address(place, value)
        made[str(name)] = value
    return made


def web_address(where: str, url: str) -> str:
    """Check an https address. Raises `PassContentError`."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme != "https" or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise PassContentError(where, "this is an https address")
    if len(url) > LINK_CHARACTERS_MAX:
        raise PassContentError(where, f"an address has at most {LINK_CHARACTERS_MAX} characters")
    return url


def _text(where: str, text: str) -> str:
    if not text.strip() or len(text) > LINK_CHARACTERS_MAX or not is_writable(text):
        raise PassContentError(where, f"this is a text of 1 to {LINK_CHARACTERS_MAX} characters")
    return text
