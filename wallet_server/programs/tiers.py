"""Tiers of a program file: how each level is reached, over which time, and what it brings (``mission.md`` B4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wallet_server.programs.fields import MINOR_MAX, POINTS_MAX, Code, Color, Sku, Texts
from wallet_server.programs.rule import Earn, Redeem, check_effects

DAYS_MAX = 3650
COUNT_MAX = 1_000_000
LEVELS_MAX = 50


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bought(_Part):
    """So many units of these products or of products of these categories (and their sub-categories), together."""

    quantity: Annotated[int, Field(ge=1, le=COUNT_MAX)]
    skus: Annotated[list[Sku], Field(max_length=500)] = []
    categories: Annotated[list[Sku], Field(max_length=500)] = []

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if not self.skus and not self.categories:
            raise ValueError("bought needs skus or categories")
        return self


class Threshold(_Part):
    """One way to reach a tier, counted in the tier table's window; exactly one member is given."""

    spend_minor: Annotated[int, Field(ge=1, le=MINOR_MAX)] | None = None
    """After discounts, without what was refunded."""
    purchases: Annotated[int, Field(ge=1, le=COUNT_MAX)] | None = None
    visits: Annotated[int, Field(ge=1, le=COUNT_MAX)] | None = None
    """Purchases and visits without money."""
    points_earned: Annotated[int, Field(ge=1, le=POINTS_MAX)] | None = None
    """By purchases."""
    tenure_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """Local days since the member joined; no window."""
    bought: Bought | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        names = tuple(type(self).model_fields)
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"a threshold is exactly one of {', '.join(names)}")
        return self


class Reach(_Part):
    """What a tier asks for: any, or all, of its thresholds."""

    any: Annotated[list[Threshold], Field(max_length=20)] = []
    all: Annotated[list[Threshold], Field(max_length=20)] = []

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if bool(self.any) == bool(self.all):
            raise ValueError("give either any or all, with at least one threshold")
        return self


class TierLevel(_Part):
    """A level of the program; the first has no ``reach`` and is everybody's."""

    code: Code
    name: Texts
    reach: Reach | None = None
    color: Color | None = None
    """Background of the pass for this tier; the program's own where it is missing."""
    earn: Earn | None = None
    """What the bonus engine does for members of this level, as a customer rule with priority 0."""
    redeem: Redeem | None = None
    grace_days: Annotated[int, Field(ge=0, le=366)] = 0
    """How long a member keeps the level after it is no longer reached."""

    @model_validator(mode="after")
    def _check_effects(self) -> Self:
        if self.earn is not None or self.redeem is not None:
            check_effects("customer", self.earn, self.redeem)
        return self


class TierWindow(_Part):
    """The time over which tier thresholds are counted, in business dates; it turns at midnight in the program's zone.

    ``lifetime`` levels are kept for ever. In a ``calendar_year`` a level reached is kept to the end of the next
    year; with ``rolling_days`` as long as the last ``days`` days reach it; then ``grace_days``. The rules in full:
    ``tiers/levels.py``.
    """

    kind: Literal["lifetime", "calendar_year", "rolling_days"] = "lifetime"
    days: Annotated[int, Field(ge=1, le=DAYS_MAX)] | None = None

    @model_validator(mode="after")
    def _check_days(self) -> Self:
        if (self.kind == "rolling_days") != (self.days is not None):
            raise ValueError("days belongs to rolling_days, and rolling_days needs it")
        return self


class Tiers(_Part):
    """The tier table, lowest level first."""

    window: TierWindow = TierWindow()
    levels: Annotated[list[TierLevel], Field(max_length=LEVELS_MAX)] = []

    @property
    def thresholds(self) -> Iterator[Threshold]:
        """All thresholds of all levels."""
        for level in self.levels:
            if level.reach is not None:
                yield from (*level.reach.any, *level.reach.all)

    @property
    def asks_tenure(self) -> bool:
        """Whether a level can be reached by time alone."""
        return any(threshold.tenure_days is not None for threshold in self.thresholds)

    @property
    def asks_products(self) -> bool:
        """Whether it matters which category is part of which."""
        return any(threshold.bought is not None for threshold in self.thresholds)

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        for index, level in enumerate(self.levels):
            if index == 0 and level.reach is not None:
                raise ValueError(f"levels: the first level, {level.code!r}, is everybody's and has no reach")
            if index > 0 and level.reach is None:
                raise ValueError(f"levels: {level.code!r} needs a reach")
        return self
