"""What one card says, in words that are the same for Apple Wallet and Google Wallet.

`PassContent` is a loyalty card, the house's door to both wallets; what only Apple knows (other kinds of passes,
tickets) is in `passes.apple.model`, which uses the same fields, colours, places and pictures.

Everything here is a frozen value. A `PassContent` can be built from anything (rows, a test, a preview)
and given to `passes.apple.pass_json` or `passes.google.objects`; each of them checks the content against
the rules of its wallet and raises `PassContentError`, which names the field and the broken rule.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from passes.apple.semantics import Semantics

FieldValue = str | int | float | datetime
"""Shown by the phone in the reader's own format; a `datetime` must be aware."""

HEX_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class PassContentError(ValueError):
    """The content cannot become a valid pass.

    `where` names the field (`back[2].key`), `rule` is the sentence that it breaks.
    """

    def __init__(self, where: str, rule: str) -> None:
        super().__init__(f"{where}: {rule}")
        self.where = where
        self.rule = rule


class PassField(NamedTuple):
    """One labelled value on the pass; say its parts by their names.

    `key` is the field's identity over the life of the pass: phones compare old and new values by key, so it
    must never be reused for another meaning. `change_message` (with ``%@`` for the new value) is what the
    lock screen shows when the value changes; without it a change is silent. Change at most one value with a
    message per update: iOS replaces several by one empty phrase.

    `currency_code` (ISO 4217) and `number_style` format numbers, `date_style` and `time_style` format
    dates; styles are ``none short medium long full``, number styles ``decimal percent scientific
    spell_out``. `attributed_value` is the value with ``<a href>`` links, for the back only.

    `alignment` (``left center right natural``) is for the front except the primary fields. `detectors` names what
    the phone makes a link of in a text on the back (``phone link address calendar``): None is all of them, an
    empty tuple none. A date is shown in the zone of the phone, or with `ignores_time_zone` in its own; with
    `is_relative` as "in 2 hours". `row` (0 or 1) is for auxiliary fields of event tickets. `semantics` tells the
    phone what the value means.

    A tuple, because every card is made of a dozen at every change: one is made in a fraction of a data class's time,
    and what is the same on all cards is one slice of it, between what differs from card to card.

    Source: developer.apple.com/documentation/walletpasses/passfieldcontent
    """

    value: FieldValue
    key: str
    label: str = ""
    change_message: str | None = None
    alignment: str | None = None
    currency_code: str | None = None
    number_style: str | None = None
    date_style: str | None = None
    time_style: str | None = None
    attributed_value: str | None = None
    detectors: tuple[str, ...] | None = None
    ignores_time_zone: bool = False
    is_relative: bool = False
    row: int | None = None
    link: str | None = None
    """An https address that this field stands for; Google shows it as a link, Apple as a link on the back."""
    semantics: Semantics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Colors:
    """Colours as ``#RRGGBB``. The first three are always sent: some readers need every one.

    `strip` is behind the strip picture's place where there is no picture.

    Source: developer.apple.com/documentation/walletpasses/pass (backgroundColor, foregroundColor, labelColor,
    stripColor)
    """

    background: str
    foreground: str
    label: str
    strip: str | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("background", self.background),
            ("foreground", self.foreground),
            ("label", self.label),
            ("strip", self.strip),
        ):
            if value is not None and not HEX_COLOR.fullmatch(value):
                raise PassContentError(f"colors.{name}", f"a colour is written #RRGGBB, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCode:
    """The card's number and the code that tills scan.

    `message` is what the QR says (by default the number); `caption` is the line below it, which a cashier
    can type when the scanner fails. `formats` are tried in this order: ``qr pdf417 aztec code128``, and since
    iOS 27 ``code39 codabar ean13 i2of5``, which need one of the first four behind them for older phones. Google
    shows the first that it knows, which are all but ``i2of5``.

    Source: developer.apple.com/documentation/walletpasses/pass/barcodes
    """

    number: str
    message: str = ""
    caption: str = ""
    label: str = "Card"
    formats: tuple[str, ...] = ("qr",)

    @property
    def scanned(self) -> str:
        return self.message or self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A spot (degrees, metres) near which the pass suggests itself on the lock screen with `relevant_text`.

    Source: developer.apple.com/documentation/walletpasses/pass/locations
    """

    latitude: float
    longitude: float
    relevant_text: str | None = None
    altitude: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """A Bluetooth beacon beside which the pass suggests itself; without `major` and `minor` any of its family.

    Source: developer.apple.com/documentation/walletpasses/pass/beacons
    """

    proximity_uuid: str
    major: int | None = None
    minor: int | None = None
    relevant_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nfc:
    """What the phone tells a contactless reader: at most 64 bytes, encrypted for the reader's key.

    `public_key` is the Base64 text of a SubjectPublicKeyInfo with a P-256 key. It works with Apple's NFC entitlement
    and a "Pass Type ID with NFC" certificate only.

    Source: developer.apple.com/documentation/walletpasses/pass/nfc
    """

    message: str
    public_key: str
    requires_authentication: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturedAction:
    """A button below the pass (iOS 27): an address, or for the kind ``place`` Apple's identifier of a place.

    Source: developer.apple.com/documentation/walletpasses/pass (featuredActions)
    """

    identifier: str
    kind: str
    url: str | None = None
    place_identifier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StampCard:
    """A stamp card's state, drawn on the strip: `filled` of `total` stamps."""

    filled: int
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.total <= 30:
            raise PassContentError("stamps.total", "a stamp card has 1 to 30 stamps")
        if not 0 <= self.filled <= self.total:
            raise PassContentError("stamps.filled", f"filled stamps are 0 to {self.total}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A file (a PNG) with the sums that every bundle needs, computed once: a picture is shared by many passes."""

    data: bytes = field(repr=False)
    sha1: str
    crc32: int

    @classmethod
    def of(cls, data: bytes) -> Picture:
        return cls(data, hashlib.sha1(data, usedforsecurity=False).hexdigest(), zlib.crc32(data))

    def __hash__(self) -> int:
        return self.crc32  # pictures are looked up for every pass


@dataclass(frozen=True, slots=True)
class Scaled:
    """One image at 1x, 2x and 3x. Phones take the one of their screen."""

    x1: Picture
    x2: Picture
    x3: Picture

    def __hash__(self) -> int:
        return self.x1.crc32


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalImages:
    """Pictures in one language. A slot that is filled here stays empty in the pass's own `PassImages`.

    Source: developer.apple.com/documentation/walletpasses/creating-the-source-for-a-pass (localisation, images)
    """

    logo: Scaled | None = None
    strip: Scaled | None = None
    thumbnail: Scaled | None = None
    background: Scaled | None = None
    footer: Scaled | None = None
    artwork: Scaled | None = None
    primary_logo: Scaled | None = None
    secondary_logo: Scaled | None = None

    def slots(self) -> Iterator[tuple[str, Scaled]]:
        """Yield (slot, its pictures), e.g. ``("primaryLogo", …)``."""
        for name, slot in _SLOTS:
            scaled = getattr(self, name, None)
            if scaled is not None:
                yield slot, scaled

    def files(self) -> Iterator[tuple[str, Picture]]:
        """Yield (name in the bundle, picture), e.g. ``("icon@2x.png", …)``."""
        for slot, scaled in self.slots():
            yield f"{slot}.png", scaled.x1
            yield f"{slot}@2x.png", scaled.x2
            yield f"{slot}@3x.png", scaled.x3


@dataclass(frozen=True, slots=True, kw_only=True)
class PassImages(LocalImages):
    """The pictures of a pass. iOS refuses a pass without an icon. A store card shows logo and strip."""

    icon: Scaled


_SLOTS = (
    ("icon", "icon"),
    *((name, name) for name in ("logo", "strip", "thumbnail", "background", "footer", "artwork")),
    ("primary_logo", "primaryLogo"),
    ("secondary_logo", "secondaryLogo"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassContent:
    """One member's card.

    `serial_number` never changes and goes into URLs: letters, digits, ``.``, ``_`` and ``-``.
    `points` is the spendable balance. `progress` holds what moves (challenges, stamps), most important
    first: the front has room for four fields under the strip together with tier and member name, the rest
    goes to the back. `news` is the one field whose change speaks on the lock screen; keep it in every
    version of the pass, because a field that appears for the first time is silent.

    `translations` is language -> literal text -> translated text, for every text above (labels, values,
    change messages, names). A text that is not translated is shown as it stands.

    `localized_images` is language -> pictures that differ in it. `store_identifiers` are apps in Apple's store that
    belong to the card, `app_launch_url` is handed to the installed one. Google has no use for these and the beacons.

    `update_url` (https, without ``/v1`` and without a slash at the end) and `authentication_token` (at least
    16 characters) come together or not at all.
    """

    serial_number: str
    organization_name: str
    program_name: str
    description: str
    colors: Colors
    card: CardCode
    points: PassField
    tier: PassField | None = None
    member: PassField | None = None
    progress: tuple[PassField, ...] = ()
    news: PassField | None = None
    back: tuple[PassField, ...] = ()
    stamps: StampCard | None = None
    places: tuple[Place, ...] = ()
    max_distance_meters: int | None = None
    images: PassImages | None = None
    language: str = "en"
    translations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    update_url: str | None = None
    authentication_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    voided: bool = False
    localized_images: Mapping[str, LocalImages] = field(default_factory=dict)
    beacons: tuple[Beacon, ...] = ()
    nfc: Nfc | None = None
    featured_actions: tuple[FeaturedAction, ...] = ()
    semantics: Semantics | None = None
    sharing_prohibited: bool = False
    store_identifiers: tuple[int, ...] = ()
    app_launch_url: str | None = None


def w3c_date(where: str, moment: datetime) -> str:
    """Return ``2026-12-01T10:00:00+01:00``: seconds, no fraction, a zone with a colon.

    Both wallets take it. Anything else makes iOS refuse the whole pass ("Unable to parse expirationDate … as a date").
    """
    if moment.tzinfo is None:
        raise PassContentError(where, "a date needs its time zone (W3C date and time format)")
    text = moment.isoformat(timespec="seconds")
    if len(text) != len("2026-12-01T10:00:00+01:00"):
        raise PassContentError(where, "the zone of a date is whole minutes, ±HH:MM")
    return text[:-6] + "Z" if text.endswith("+00:00") else text
