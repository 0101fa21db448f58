"""Points of a program file: what they are worth, when they expire, who may give and take them by hand.

Source: ``bonus-processing.md``, "Program settings", and ``mission.md`` B3.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from wallet_server.programs.fields import MINOR_MAX, POINTS_MAX, Code, ExactDecimal, Percent

DAYS_MAX = 3650
_DAYS_OF_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def check_month_day(month: int, day: int) -> None:
    """Raises ``ValueError`` for a day that not every year has."""
    if day > _DAYS_OF_MONTH[month - 1]:
        raise ValueError(f"month {month} has no day {day} in every year")


class Expiry(_Part):
    """When points expire; always at the end of a local day of the program.

    ``rolling_days``: so many days after each earning. ``fixed_date``: on this day of each year, all that was
    earned before it. ``inactivity_days``: all of a member, so many days after the last purchase or visit.
    """

    kind: Literal["none", "rolling_days", "fixed_date", "inactivity_days"] = "none"
    days: Annotated[int, Field(ge=1, le=DAYS_MAX)] | None = None
    month: Annotated[int, Field(ge=1, le=12)] | None = None
    day: Annotated[int, Field(ge=1, le=31)] | None = None

    @model_validator(mode="after")
    def _check_members(self) -> Self:
        needed = {
            "none": (),
            "rolling_days": ("days",),
            "inactivity_days": ("days",),
            "fixed_date": ("month", "day"),
        }[self.kind]
        for name in ("days", "month", "day"):
            given = getattr(self, name) is not None
            if given and name not in needed:
                raise ValueError(f"expiry {self.kind} has no {name}")
            if not given and name in needed:
                raise ValueError(f"expiry {self.kind} needs {' and '.join(needed)}")
        if self.month is not None and self.day is not None:
            check_month_day(self.month, self.day)
        return self


class CarryOver(_Part):
    """What a zeroing leaves: the smaller of both that are given; nothing given leaves nothing."""

    percent: Percent | None = None
    max_points: Annotated[int, Field(ge=0, le=POINTS_MAX)] | None = None


class ZeroingRule(_Part):
    """Balances are set to zero at the end of a local day: of each year, or (without ``month``) of each month."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
    month: Annotated[int, Field(ge=1, le=12)] | None = None
    day: Annotated[int, Field(ge=1, le=31)]
    """Without a month at most 28, so that each month has it."""
    tiers: Annotated[list[Code], Field(max_length=50)] = []
    """Only members of these tiers; none: all."""
    inactive_days: Annotated[int, Field(ge=1, le=DAYS_MAX)] | None = None
    """Only members without a purchase or visit for so many days."""
    carry_over: CarryOver = CarryOver()

    @model_validator(mode="after")
    def _check_day(self) -> Self:
        if self.month is not None:
            check_month_day(self.month, self.day)
        elif self.day > 28:
            raise ValueError("not every month has this day; a monthly zeroing is on day 1 to 28")
        return self


class AdjustmentLimits(_Part):
    """How many points one adjustment by hand may give or take; 0: none at all."""

    owner: Annotated[int, Field(ge=0, le=POINTS_MAX)] = 1_000_000
    manager: Annotated[int, Field(ge=0, le=POINTS_MAX)] = 10_000
    cashier: Annotated[int, Field(ge=0, le=POINTS_MAX)] = 0
    till: Annotated[int, Field(ge=0, le=POINTS_MAX)] = 1_000
    """Through the till API, for each call."""
    four_eyes_above: Annotated[int, Field(ge=0, le=POINTS_MAX)] = 5_000
    """Above this a second manager or owner has to approve."""


class PointsSettings(_Part):
    """Program settings of ``bonus-processing.md``."""

    base_percent: Annotated[ExactDecimal, Field(ge=0, le=1000, max_digits=12)] = Decimal(1)
    base_redeem_percent: Percent = Decimal(100)
    point_value_minor: Annotated[int, Field(ge=1, le=MINOR_MAX)] = 100
    rounding: Literal["down", "half_up", "up"] = "down"
    carry_fraction: bool = False
    earn_on_points_part: bool = False
    pending_days: Annotated[int, Field(ge=0, le=365)] = 0
    negative_balance: Literal["forbid", "allow"] = "forbid"
    min_points: Annotated[int, Field(ge=0, le=POINTS_MAX)] = 0
    expiry: Expiry = Expiry()
    refund_grace_days: Annotated[int, Field(ge=0, le=365)] = 7
    """How long points stay that a refund returns after their lot has expired."""
    zeroing: Annotated[list[ZeroingRule], Field(max_length=20)] = []
    adjustments: AdjustmentLimits = AdjustmentLimits()
