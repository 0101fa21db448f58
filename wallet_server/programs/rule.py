"""The rules of a program file: whom or what a rule is about, when it holds, and what it does.

Source: ``bonus-processing.md``, sections "A rule", "Earn effects", "Redeem effects" and "Discounts". What a
rule says is checked here as far as it can be without the rest of the file; codes of outlets, tiers and
segments, and percents of a base of nothing, are checked by :class:`wallet_server.programs.file.ProgramFile`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from wallet_server.programs.fields import MINOR_MAX, POINTS_MAX, Code, ExactDecimal, Percent, Sku

Family = Literal["customer", "product", "behavior"]
FAMILIES: Final[tuple[Family, ...]] = ("customer", "product", "behavior")
"""In the order in which their coefficients K1, K2, K3 are written."""
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CONDITIONS: Final[Mapping[Family, tuple[str, ...]]] = {
    "customer": ("members", "tiers", "segments", "tags", "tenure_days_min", "birthday_within_days"),
    "product": ("skus", "categories", "quantity_min", "unit_price_minor", "margin_percent"),
    "behavior": ("weekdays", "time", "dates", "receipt_total_minor", "nth_purchase", "payment_types"),
}
"""The conditions of each family, in the order in which they are asked."""
ALLOWED: Final[Mapping[Family, tuple[str, ...]]] = {
    **CONDITIONS,
    "product": (*CONDITIONS["product"], *CONDITIONS["customer"], *CONDITIONS["behavior"]),
}
"""What a rule of each family may ask.

A product rule may also say for whom and when ("cappuccino doubles on Mondays from 16 to 18"): it is asked about a
line, and a line has a receipt and a member. The others are about the receipt, so they cannot ask a line.
"""
RULES_MAX: Final = 5_000
CODES_MAX: Final = 5_000
"""How many codes one condition may list."""
YEAR_MIN, YEAR_MAX = 1970, 2999
LEAP_YEAR: Final = 2000
_MONTH_DAY: Final = re.compile(r"\d\d-\d\d")
_DAY: Final = re.compile(r"\d\d\d\d-\d\d-\d\d")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _is_written_out(value: Any) -> Any:
    # A number, quoted or not, would be read as seconds since 1970.
    if not isinstance(value, datetime) and not (isinstance(value, str) and _DAY.match(value)):
        raise ValueError("must be a moment such as 2026-06-01T00:00:00+02:00, or 2026-06-01T00:00:00 for local time")
    return value


def _is_in_range(value: datetime) -> datetime:
    if not YEAR_MIN <= value.year <= YEAR_MAX:
        raise ValueError(f"the year must be from {YEAR_MIN} to {YEAR_MAX}")
    return value


Moment = Annotated[
    datetime,
    BeforeValidator(_is_written_out),
    AfterValidator(_is_in_range),
    PlainSerializer(datetime.isoformat, return_type=str, when_used="always"),
]
"""A moment with its offset from UTC, or without one: then it is the outlet's local time."""
ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
EarnPercent = Annotated[ExactDecimal, Field(ge=0, le=1000, max_digits=8)]
Coefficient = Annotated[ExactDecimal, Field(ge=0, le=1000, max_digits=8)]
MarginPercent = Annotated[ExactDecimal, Field(ge=-100_000, le=100, max_digits=12)]
CardNumber = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,32}$")]
Minor = Annotated[int, Field(ge=0, le=MINOR_MAX)]
_Codes = Field(min_length=1, max_length=CODES_MAX)


class MinorRange(_Part):
    """An amount in the minor unit: ``from`` is inclusive, ``to`` exclusive, one of them may be missing."""

    from_: Annotated[Minor | None, Field(alias="from")] = None
    to: Minor | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.from_ is None and self.to is None:
            raise ValueError("give from, to, or both")
        if self.to is not None and (self.from_ or 0) >= self.to:
            raise ValueError(f"from {self.from_ or 0} is not before to {self.to}, so nothing is in between")
        return self


class PercentRange(_Part):
    """A percent: ``from`` is inclusive, ``to`` exclusive, one of them may be missing; below zero is a loss."""

    from_: Annotated[MarginPercent | None, Field(alias="from")] = None
    to: MarginPercent | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.from_ is None and self.to is None:
            raise ValueError("give from, to, or both")
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise ValueError(f"from {self.from_} is not before to {self.to}, so nothing is in between")
        return self


class TimeWindow(_Part):
    """Hours of a day at the outlet; ``to`` is exclusive, and earlier than ``from`` if the window crosses midnight."""

    from_: Annotated[ClockTime, Field(alias="from")]
    to: ClockTime

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if self.from_ == self.to:
            raise ValueError(f"from and to are both {self.to}, so the window never opens")
        return self


def _day_or_month_day(text: str) -> str:
    whole = _DAY.fullmatch(text)
    try:
        if whole:
            if not YEAR_MIN <= date.fromisoformat(text).year <= YEAR_MAX:
                raise ValueError
        elif _MONTH_DAY.fullmatch(text):
            date(LEAP_YEAR, int(text[:2]), int(text[3:]))  # 02-29 is a day of the calendar
        else:
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} is no day such as 2026-03-08, or 03-08 with yearly: true") from None
    return text


CalendarDay = Annotated[
    str,
    AfterValidator(_day_or_month_day),
    WithJsonSchema({"type": "string", "pattern": r"^(\d\d\d\d-)?\d\d-\d\d$"}),
]


class DateRange(_Part):
    """Days, both ends included: once (``2026-03-08``), or ``yearly`` (``03-08``), then also across New Year.

    Without ``to`` it is one day. 02-29 alone comes in leap years only.
    """

    from_: Annotated[CalendarDay, Field(alias="from")]
    to: CalendarDay | None = None
    yearly: bool = False

    @model_validator(mode="after")
    def _check_days(self) -> Self:
        for day in (self.from_, self.to or self.from_):
            if self.yearly and not _MONTH_DAY.fullmatch(day):
                raise ValueError(f"{day!r} has a year; a yearly day is written 03-08")
            if not self.yearly and not _DAY.fullmatch(day):
                raise ValueError(f"{day!r} has no year; write 2026-03-08, or say yearly: true")
        if not self.yearly and self.to is not None and self.to < self.from_:
            raise ValueError(f"from {self.from_} is after to {self.to}")
        return self

    def covers(self, day: date) -> bool:
        """Whether the day is one of these."""
        first, last = self.from_, self.to or self.from_
        if not self.yearly:
            return first <= day.isoformat() <= last
        text = f"{day:%m-%d}"
        return first <= text <= last if first <= last else text >= first or text <= last


class RuleConditions(_Part):
    """What must hold, all of it; nothing at all always holds. A family has its own conditions."""

    members: Annotated[list[CardNumber], _Codes] | None = None
    """The member has one of these card numbers."""
    tiers: Annotated[list[Code], _Codes] | None = None
    segments: Annotated[list[Code], _Codes] | None = None
    """The member is in one of these segments when the receipt is recorded."""
    tags: Annotated[list[Code], _Codes] | None = None
    """The member has one of these tags when the receipt is recorded."""
    tenure_days_min: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """Local days since the member joined."""
    birthday_within_days: Annotated[int, Field(ge=0, le=182)] | None = None
    """Days before or after the birthday; one on 02-29 is on 02-28 in other years."""
    skus: Annotated[list[Sku], _Codes] | None = None
    categories: Annotated[list[Sku], _Codes] | None = None
    """A category includes its sub-categories."""
    quantity_min: Annotated[ExactDecimal, Field(gt=0, le=1_000_000, decimal_places=3)] | None = None
    unit_price_minor: MinorRange | None = None
    margin_percent: PercentRange | None = None
    """The share of the unit price that is above the product's ``cost_minor``; never without a known cost."""
    weekdays: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], _Codes] | None = None
    time: TimeWindow | None = None
    dates: Annotated[list[DateRange], Field(min_length=1, max_length=400)] | None = None
    receipt_total_minor: MinorRange | None = None
    """All lines, before discounts and points."""
    nth_purchase: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """This is the member's purchase with this number, counted from 1."""
    payment_types: (
        Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=32, strip_whitespace=True)]], _Codes]
        | None
    ) = None

    def given(self) -> tuple[str, ...]:
        """The names of the conditions that the rule has."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)


def _is_true(value: bool) -> bool:
    if not value:
        raise ValueError("must be true; leave it out where lines do earn")
    return value


class Earn(_Part):
    """What a rule does to what is earned; exactly one member is given."""

    multiply: Coefficient | None = None
    percent: EarnPercent | None = None
    fixed_percent: EarnPercent | None = None
    fixed_points: Annotated[ExactDecimal, Field(gt=0, le=POINTS_MAX, decimal_places=3)] | None = None
    max_percent: EarnPercent | None = None
    max_points: Annotated[int, Field(ge=0, le=POINTS_MAX)] | None = None
    none: Annotated[bool, AfterValidator(_is_true)] | None = None
    discount_percent: Annotated[Percent, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        _check_only_one(self, "earn")
        return self

    @property
    def needs_base(self) -> bool:
        """It is a share of the base percent, which then must not be nothing."""
        return self.percent is not None or self.fixed_percent is not None


class Redeem(_Part):
    """A limit on what points may pay: of each matching line, or of the whole receipt; exactly one is given."""

    max_percent: Percent | None = None
    receipt_max_percent: Percent | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        _check_only_one(self, "redeem")
        return self


def _check_only_one(part: BaseModel, name: str) -> None:
    names = type(part).model_fields
    given = [key for key in names if getattr(part, key) is not None]
    if len(given) != 1:
        found = f"not {' and '.join(given)} together" if given else "and none is given"
        raise ValueError(f"{name} takes one of {', '.join(names)}, {found}")


def check_effects(family: Family, earn: Earn | None, redeem: Redeem | None) -> None:
    """Raises ``ValueError`` for effects that a family does not have."""
    if earn is None and redeem is None:
        raise ValueError("give earn, redeem, or both: a rule without an effect does nothing")
    points = earn.fixed_points if earn else None
    if points is not None and family != "product" and points != points.to_integral_value():
        raise ValueError(f"earn.fixed_points of a {family} rule is for the whole receipt, so it is a whole number")
    if redeem is not None and redeem.receipt_max_percent is not None and family != "behavior":
        raise ValueError(f"redeem.receipt_max_percent is for behavior rules and outlets, not for {family} rules")


class Rule(_Part):
    """A rule. ``starts_at`` and ``ends_at`` are half-open; no ``outlets`` means the whole network."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
    family: Family
    when: RuleConditions = RuleConditions()
    outlets: Annotated[list[Code], Field(max_length=CODES_MAX)] = []
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    earn: Earn | None = None
    redeem: Redeem | None = None

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        for name in self.when.given():
            if name not in ALLOWED[self.family]:
                home = next(family for family, names in CONDITIONS.items() if name in names)
                raise ValueError(f"when.{name} is a condition of {home} rules, and this is a {self.family} rule")
        check_effects(self.family, self.earn, self.redeem)
        if self.starts_at is not None and self.ends_at is not None:
            if (self.starts_at.tzinfo is None) != (self.ends_at.tzinfo is None):
                raise ValueError("write starts_at and ends_at both with an offset such as +01:00, or both without")
            if self.starts_at >= self.ends_at:
                raise ValueError("starts_at is not before ends_at, so the rule never holds")
        return self
