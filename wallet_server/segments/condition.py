"""The condition of a segment: one tree that becomes SQL (``queries.py``) and a sentence for people."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

DAYS_MAX = 3650
TAGS_MAX = 100
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Range(BaseModel):
    """A whole number from ``at_least`` to ``at_most``, both included; at least one is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least: Count | None = None
    at_most: Count | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most, or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least} is more than at_most {self.at_most}")
        return self


class Condition(BaseModel):
    """Every member given must hold; a condition without any is everybody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiers: Annotated[list[str], Field(min_length=1)] | None = None
    """The member's tier is one of these codes."""
    tags: Annotated[list[Tag], Field(min_length=1, max_length=TAGS_MAX)] | None = None
    """The member has one of these tags."""
    visits_last_30_days: Range | None = None
    """Purchases in the 30 days before now."""
    days_since_last_visit: Range | None = None
    """Whole days since the last purchase; members without any never match."""

    @field_validator("days_since_last_visit")
    @classmethod
    def _check_days(cls, value: Range | None) -> Range | None:
        # The calendar ends somewhere: a million days ago there was no date.
        if value is not None and max(value.at_least or 0, value.at_most or 0) > DAYS_MAX:
            raise ValueError(f"at most {DAYS_MAX} days")
        return value
