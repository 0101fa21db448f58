"""What one card says, in words that are the same for Apple Wallet and Google Wallet.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PassField:
    """One labelled value on the pass.

    `key` is the field's identity over the life of the pass: phones compare old and new values by key, so it
    must never be reused for another meaning. `change_message` (with ``%@`` for the new value) is what the
    lock screen shows when the value changes; without it a change is silent. Change at most one value with a
    message per update: iOS replaces several by one empty phrase.

    `currency_code` (ISO 4217) and `number_style` format numbers, `date_style` and `time_style` format
    dates; styles are ``none short medium long full``, number styles ``decimal percent scientific
    spell_out``. `attributed_value` is the value with ``<a href>`` links, for the back only.

    Source: developer.apple.com/documentation/walletpasses/passfieldcontent
    """

    key: str
    value: FieldValue
    label: str = ""
    change_message: str | None = None
    alignment: str | None = None
    currency_code: str | None = None
    number_style: str | None = None
    date_style: str | None = None
    time_style: str | None = None
    attributed_value: str | None = None
    link: str | None = None
    """An https address that this field stands for; Google shows it as a link, Apple as a link on the back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Colors:
    """Colours as ``#RRGGBB``. All three are always sent: some readers need every one."""

    background: str
    foreground: str
    label: str

    def __post_init__(self) -> None:
        for name, value in (
            ("background", self.background),
            ("foreground", self.foreground),
            ("label", self.label),
        ):
            if not HEX_COLOR.fullmatch(value):
                raise PassContentError(f"colors.{name}", f"a colour is written #RRGGBB, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCode:
    """The card's number and the code that tills scan.

    `message` is what the QR says (by default the number); `caption` is the line below it, which a cashier
    can type when the scanner fails.
    """

    number: str
    message: str = ""
    caption: str = ""
    label: str = "Card"

    @property
    def scanned(self) -> str:
        return self.message or self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A spot (degrees) near which the pass suggests itself on the lock screen with `relevant_text`."""

    latitude: float
    longitude: float
    relevant_text: str | None = None
    altitude: float | None = None


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
    """A PNG with the sums that every bundle needs, computed once: a picture is shared by many passes."""

    data: bytes = field(repr=False)
    sha1: str
    crc32: int

    @classmethod
    def of(cls, data: bytes) -> Picture:
        return cls(data, hashlib.sha1(data, usedforsecurity=False).hexdigest(), zlib.crc32(data))


@dataclass(frozen=True, slots=True)
class Scaled:
    """One image at 1x, 2x and 3x. Phones take the one of their screen."""

    x1: Picture
    x2: Picture
    x3: Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class PassImages:
    """The pictures of a store card. The icon is required by iOS; the strip lies behind nothing here."""

    icon: Scaled
    logo: Scaled | None = None
    strip: Scaled | None = None

    def files(self) -> Iterator[tuple[str, Picture]]:
        """Yield (name in the bundle, picture), e.g. ``("icon@2x.png", …)``."""
        for name, scaled in (("icon", self.icon), ("logo", self.logo), ("strip", self.strip)):
            if scaled is not None:
                yield f"{name}.png", scaled.x1
                yield f"{name}@2x.png", scaled.x2
                yield f"{name}@3x.png", scaled.x3


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


def w3c_date(where: str, moment: datetime) -> str:
    """Return ``2026-12-01T10:00:00+01:00``: seconds, no fraction, a zone with a colon.

    Both wallets take it. Anything else makes iOS refuse the whole pass ("Unable to parse expirationDate … as a date").
    """
    if moment.tzinfo is None:
        raise PassContentError(where, "a date needs its time zone (W3C date and time format)")
    text = moment.replace(microsecond=0).isoformat()
    if len(text) != len("2026-12-01T10:00:00+01:00"):
        raise PassContentError(where, "the zone of a date is whole minutes, ±HH:MM")
    return text[:-6] + "Z" if text.endswith("+00:00") else text
