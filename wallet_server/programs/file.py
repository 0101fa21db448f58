"""Programs as files: the shape of a program's definition, checked in full before anything is changed.

The same models are the YAML file (``program apply``), the stored document of a program version, and what
the rest of the server reads. Decimal numbers are exact. Unknown keys are refused.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from wallet_server.i18n import LANGUAGES
from wallet_server.programs.fields import (
    COUNTRY_PATTERN,
    MINOR_MAX,
    POINTS_MAX,
    Code,
    Currency,
    ExactDecimal,
    Percent,
    Sku,
    Slug,
    Texts,
    TimeZone,
)
from wallet_server.programs.look import PassLook, look_problems
from wallet_server.programs.notifications import NotificationSettings
from wallet_server.programs.places import BEACONS_OF_OUTLET_MAX, OutletBeacon, PlacesSettings
from wallet_server.programs.points import PointsSettings
from wallet_server.programs.rule import RULES_MAX, Earn, Moment, Rule
from wallet_server.programs.tiers import Tiers
from wallet_server.segments.condition import Condition


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Validity(_Part):
    """The time of a short-term program: from ``starts_at`` up to, but without, ``ends_at`` it brings something.

    Points go on paying until ``redeem_until``; without it, as long as they are earned. A bound that is missing is
    open; one without an offset is the outlet's local time.
    """

    starts_at: Moment | None = None
    ends_at: Moment | None = None
    redeem_until: Moment | None = None

    @property
    def pays_until(self) -> datetime | None:
        """The bound from which points pay no more."""
        return self.redeem_until or self.ends_at

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        given = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        if not given:
            raise ValueError("give starts_at, ends_at, or both")
        if len({value.tzinfo is None for value in given.values()}) > 1:
            raise ValueError(f"write {' and '.join(given)} all with an offset such as +01:00, or all without")
        if self.redeem_until is not None and (self.ends_at is None or self.redeem_until < self.ends_at):
            raise ValueError("redeem_until is a moment after ends_at, and needs it")
        if self.starts_at is not None and self.ends_at is not None and self.starts_at >= self.ends_at:
            raise ValueError("starts_at is not before ends_at, so the program never runs")
        return self


class ProgramSection(_Part):
    """Who the program is."""

    slug: Slug
    name: Texts
    currency: Currency
    time_zone: TimeZone
    languages: Annotated[list[str], Field(min_length=1, max_length=len(LANGUAGES))]
    country: Annotated[str, StringConstraints(pattern=COUNTRY_PATTERN)] | None = None
    """ISO 3166 code: phone numbers without a country code are read as numbers of this country."""
    points: PointsSettings = PointsSettings()
    validity: Validity | None = None

    @model_validator(mode="after")
    def _check_languages(self) -> Self:
        for language in self.languages:
            if language not in LANGUAGES:
                raise ValueError(f"languages: unknown language {language!r}; one of {', '.join(LANGUAGES)}")
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("languages: a language is named twice")
        return self


class Partner(_Part):
    """The other company that an outlet belongs to."""

    company: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    settlement_percent: Percent


class OutletSection(_Part):
    """A place of the program."""

    code: Code
    name: Texts
    time_zone: TimeZone | None = None
    latitude: Annotated[ExactDecimal, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[ExactDecimal, Field(ge=-180, le=180)] | None = None
    receipt_max_percent: Percent | None = None
    partner: Partner | None = None
    promoted: bool = False
    """Cards suggest themselves here first."""
    nearby: Texts | None = None
    """What the lock screen says near this outlet."""
    beacons: Annotated[list[OutletBeacon], Field(max_length=BEACONS_OF_OUTLET_MAX)] = []

    @model_validator(mode="after")
    def _check_position(self) -> Self:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude go together")
        return self


class CategorySection(_Part):
    """A product category."""

    code: Sku
    parent: Sku | None = None
    name: Texts | None = None


class ProductSection(_Part):
    """A product that the program knows."""

    sku: Sku
    category: Sku | None = None
    name: Texts | None = None
    price_minor: Annotated[int, Field(ge=0, le=MINOR_MAX)] | None = None
    cost_minor: Annotated[int, Field(ge=0, le=MINOR_MAX)] | None = None


class Catalog(_Part):
    """Categories and products."""

    categories: list[CategorySection] = []
    products: list[ProductSection] = []


class ChallengeWindow(_Part):
    """The time in which a challenge is counted, in the outlet's zone."""

    kind: Literal["none", "calendar_day", "calendar_week", "calendar_month", "calendar_year"] = "none"


class ChallengeFilter(_Part):
    """What counts: each given list must contain the receipt's outlet, a line's sku, a line's category."""

    outlets: list[Code] = []
    skus: list[Sku] = []
    categories: list[Sku] = []


class VoucherReward(_Part):
    """A single-use voucher."""

    kind: Literal["free_product"]
    sku: Sku
    valid_days: Annotated[int, Field(ge=1, le=3650)] | None = None


class TierReward(_Part):
    """A level for some days, whatever was reached (``mission.md``: a temporary status)."""

    code: Code
    days: Annotated[int, Field(ge=1, le=3650)]


class Reward(_Part):
    """What a completed challenge brings; exactly one member is given."""

    voucher: VoucherReward | None = None
    points: Annotated[int, Field(ge=1, le=POINTS_MAX)] | None = None
    tier: TierReward | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if sum(item is not None for item in (self.voucher, self.points, self.tier)) != 1:
            raise ValueError("a reward is one of voucher, points, tier")
        return self


class Challenge(_Part):
    """A goal over a window that purchases move; a stamp card is the visual form of one."""

    code: Code
    name: Texts
    kind: Literal["goal", "stamps"] = "goal"
    metric: Literal["visits", "purchases", "spend_minor", "quantity"]
    target: Annotated[int, Field(ge=1, le=MINOR_MAX)]
    window: ChallengeWindow = ChallengeWindow()
    filter: ChallengeFilter = ChallengeFilter()
    max_per_day: Annotated[int, Field(ge=1, le=1000)] | None = None
    repeat: Literal["unlimited", "once_per_window", "once"] = "unlimited"
    reward: Reward

    @model_validator(mode="after")
    def _check_stamps(self) -> Self:
        if self.kind == "stamps" and self.target > 30:
            raise ValueError("a stamp card has at most 30 stamps")
        return self


class SegmentSection(_Part):
    """A saved selection of members."""

    code: Code
    name: Annotated[str, StringConstraints(min_length=1, max_length=120)]
    when: Condition


class ProgramFile(_Part):
    """A whole program file."""

    program: ProgramSection
    outlets: list[OutletSection] = []
    catalog: Catalog = Catalog()
    rules: Annotated[list[Rule], Field(max_length=RULES_MAX)] = []
    tiers: Tiers = Tiers()
    challenges: list[Challenge] = []
    segments: list[SegmentSection] = []
    look: Annotated[PassLook, Field(alias="pass")] = PassLook()
    places: PlacesSettings = PlacesSettings()
    notifications: NotificationSettings = NotificationSettings()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        catalog = self.catalog
        outlets = _codes(("outlets",), "code", [outlet.code for outlet in self.outlets])
        _codes(("catalog", "categories"), "code", [category.code for category in catalog.categories])
        _codes(("catalog", "products"), "sku", [product.sku for product in catalog.products])
        levels = _codes(("tiers", "levels"), "code", [level.code for level in self.tiers.levels])
        _codes(("challenges",), "code", [challenge.code for challenge in self.challenges])
        segments = _codes(("segments",), "code", [segment.code for segment in self.segments])
        _codes(("rules",), "name", [rule.name for rule in self.rules])
        parents = {category.code: category.parent for category in catalog.categories}
        for index, category in enumerate(catalog.categories):
            _known(("catalog", "categories", index, "parent"), category.parent, parents)
            _no_cycle(("catalog", "categories", index, "parent"), category.code, parents)
        for index, product in enumerate(catalog.products):
            _known(("catalog", "products", index, "category"), product.category, parents)
        for index, challenge in enumerate(self.challenges):
            for number, outlet in enumerate(challenge.filter.outlets):
                _known(("challenges", index, "filter", "outlets", number), outlet, outlets)
            if challenge.reward.tier is not None:
                _known(("challenges", index, "reward", "tier", "code"), challenge.reward.tier.code, levels)
        for index, segment in enumerate(self.segments):
            for number, tier in enumerate(segment.when.tiers or ()):
                _known(("segments", index, "when", "tiers", number), tier, levels)
        for index, rule in enumerate(self.rules):
            # Skus and categories may be ones that only tills know, as in the filters of challenges.
            for key, values, known in (
                (("outlets",), rule.outlets, outlets),
                (("when", "tiers"), rule.when.tiers or (), levels),
                (("when", "segments"), rule.when.segments or (), segments),
            ):
                for number, value in enumerate(values):
                    _known(("rules", index, *key, number), value, known)
            self._check_base(("rules", index, "earn"), rule.earn)
        self._check_zeroing(levels)
        self._check_beacons()
        for index, level in enumerate(self.tiers.levels):
            self._check_base(("tiers", "levels", index, "earn"), level.earn)
        kinds = {challenge.code: challenge.kind for challenge in self.challenges}
        for at, message in look_problems(self.look, self.tiers.levels, kinds):
            raise _problem(at, message)
        return self

    def _check_zeroing(self, levels: Container[str]) -> None:
        at = ("program", "points", "zeroing")
        _codes(at, "name", [rule.name for rule in self.program.points.zeroing])
        for index, rule in enumerate(self.program.points.zeroing):
            for number, tier in enumerate(rule.tiers):
                _known((*at, index, "tiers", number), tier, levels)

    def _check_beacons(self) -> None:
        seen: dict[tuple[str, int | None, int | None], str] = {}
        for index, outlet in enumerate(self.outlets):
            for number, beacon in enumerate(outlet.beacons):
                if beacon.identity in seen:
                    at = ("outlets", index, "beacons", number)
                    raise _problem(at, f"this beacon is in outlet {seen[beacon.identity]!r} already")
                seen[beacon.identity] = outlet.code

    def _check_base(self, at: tuple[str | int, ...], earn: Earn | None) -> None:
        if earn is not None and earn.needs_base and not self.program.points.base_percent:
            raise _problem(at, "percent and fixed_percent are shares of base_percent, which is 0 in this program")


def _problem(at: tuple[str | int, ...], message: str) -> PydanticCustomError:
    """An error of the whole file that knows its place in it (``yaml_file.py`` turns the place into a line)."""
    return PydanticCustomError("program_file", "{message}", {"message": message, "at": at})


def _codes(at: tuple[str, ...], key: str, values: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            raise _problem((*at, index, key), f"{value!r} is there twice")
        seen.add(value)
    return seen


def _known(at: tuple[str | int, ...], value: str | None, known: Container[str]) -> None:
    if value is not None and value not in known:
        raise _problem(at, f"{value!r} is not defined in this file")


def _no_cycle(at: tuple[str | int, ...], code: str, parents: Mapping[str, str | None]) -> None:
    seen = {code}
    parent = parents[code]
    while parent is not None:
        if parent in seen:
            raise _problem(at, f"{code!r} is its own ancestor")
        seen.add(parent)
        parent = parents.get(parent)
