"""Any pass that Apple Wallet knows: the general content below the house's loyalty card.

`passes.apple.pass_json` writes it and checks it against Apple's rules. A plain store card is better made from
`passes.content.PassContent`, which says the same to Google Wallet.

Sources are named at each type; the layouts are those of developer.apple.com/documentation/walletpasses/pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from passes.apple.enrolment import Personalization
from passes.apple.events import BoardingExtras, EventExtras
from passes.apple.semantics import Semantics
from passes.content import Beacon, Colors, FeaturedAction, LocalImages, Nfc, PassField, PassImages, Place


class PassStyle(StrEnum):
    """The layout. A poster (iOS 27) is no style of its own here: it stands beside ``GENERIC``, see `Pass.poster`."""

    STORE_CARD = "storeCard"
    COUPON = "coupon"
    GENERIC = "generic"
    EVENT_TICKET = "eventTicket"
    BOARDING_PASS = "boardingPass"  # noqa: S105 - a kind of pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFields:
    """The fields by their place on the pass.

    Room on the front: 3 header fields, 1 primary (boarding passes 2), 4 secondary, 4 auxiliary (boarding passes 5);
    on store cards, coupons and generic passes with a square code, secondary and auxiliary together 4. What is
    beyond is refused, because a later layout may show it. `footer` is for posters (one field), `additional_info`
    for event tickets. `transit_type` (``air boat bus generic train``) is for boarding passes, which need it.

    Source: developer.apple.com/documentation/walletpasses/passfields
    """

    header: tuple[PassField, ...] = ()
    primary: tuple[PassField, ...] = ()
    secondary: tuple[PassField, ...] = ()
    auxiliary: tuple[PassField, ...] = ()
    back: tuple[PassField, ...] = ()
    footer: tuple[PassField, ...] = ()
    additional_info: tuple[PassField, ...] = ()
    transit_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Barcode:
    """One code; the phone shows the first of a pass's codes whose format it knows.

    Formats are ``qr pdf417 aztec code128``, and since iOS 27 ``code39 codabar ean13 i2of5``, behind which one of
    the first four must follow. `encoding` is an IANA name; by default ISO 8859-1, which every scanner reads, or
    UTF-8 if the message has other letters.

    Source: developer.apple.com/documentation/walletpasses/pass/barcodes
    """

    message: str
    format: str = "qr"
    encoding: str | None = None
    caption: str = ""


@dataclass(frozen=True, slots=True)
class RelevantMoment:
    """A moment around which the pass suggests itself on the lock screen.

    Source: developer.apple.com/documentation/walletpasses/pass/relevantdates (iOS 18)
    """

    at: datetime


@dataclass(frozen=True, slots=True)
class RelevantSpan:
    """A span of time in which the pass suggests itself.

    Source: developer.apple.com/documentation/walletpasses/pass/relevantdates (iOS 18)
    """

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass of any style.

    `serial_number`, `update_url`, `authentication_token`, `translations` and `localized_images` are as in
    `passes.content.PassContent`. `poster` is the layout of a poster (iOS 27) beside a generic pass, which older
    phones show: both say the same fields. `relevant_date` is for phones before iOS 18. `grouping_identifier`
    keeps tickets of one journey or event together. `user_info` is any JSON for the holder's app. `personalization` is
    the form of a card that is given out over NFC.

    Source: developer.apple.com/documentation/walletpasses/pass
    """

    serial_number: str
    organization_name: str
    description: str
    style: PassStyle
    fields: PassFields
    colors: Colors | None = None
    poster: PassFields | None = None
    barcodes: tuple[Barcode, ...] = ()
    images: PassImages | None = None
    localized_images: Mapping[str, LocalImages] = field(default_factory=dict)
    translations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    update_url: str | None = None
    authentication_token: str | None = field(default=None, repr=False)
    logo_text: str | None = None
    suppress_strip_shine: bool = False
    expires_at: datetime | None = None
    voided: bool = False
    relevant_date: datetime | None = None
    relevant_dates: tuple[RelevantMoment | RelevantSpan, ...] = ()
    places: tuple[Place, ...] = ()
    max_distance_meters: float | None = None
    beacons: tuple[Beacon, ...] = ()
    nfc: Nfc | None = None
    featured_actions: tuple[FeaturedAction, ...] = ()
    semantics: Semantics | None = None
    sharing_prohibited: bool = False
    grouping_identifier: str | None = None
    store_identifiers: tuple[int, ...] = ()
    app_launch_url: str | None = None
    user_info: Mapping[str, Any] | tuple[Any, ...] | None = None
    event: EventExtras | None = None
    boarding: BoardingExtras | None = None
    personalization: Personalization | None = None
