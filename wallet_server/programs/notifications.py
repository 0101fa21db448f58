"""Notifications of a program file: how often, and when, a member's phone may speak."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

CLOCK_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
MERGE_SECONDS_MAX = 3600
WAIT_HOURS_MAX = 14 * 24

ClockTime = Annotated[str, StringConstraints(pattern=CLOCK_PATTERN)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class QuietHours(_Part):
    """Hours of the member's day in which no phone speaks, such as 21:00 to 09:00."""

    starts: Annotated[ClockTime, Field(alias="from")]
    ends: Annotated[ClockTime, Field(alias="to")]

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.starts == self.ends:
            raise ValueError("quiet hours that begin when they end would be the whole day, or none of it")
        return self

    @property
    def first(self) -> time:
        """When it becomes quiet."""
        return time.fromisoformat(self.starts)

    @property
    def last(self) -> time:
        """When phones may speak again."""
        return time.fromisoformat(self.ends)


class NotificationSettings(_Part):
    """What the governor holds to. What is missing is not limited."""

    quiet_hours: QuietHours | None = None
    promotions_per_day: Annotated[int, Field(ge=0, le=24)] | None = None
    """In any 24 hours, for each member."""
    promotions_per_week: Annotated[int, Field(ge=0, le=100)] | None = None
    """In any seven days, for each member."""
    promotion_wait_hours: Annotated[int, Field(ge=1, le=WAIT_HOURS_MAX)] = 48
    """A promotion that has had to wait for so long is not shown any more."""
    messages_per_day: Annotated[int, Field(ge=1, le=100)] = 10
    """On an iPhone, in any 24 hours; what is more lies on the card in silence. A till's balance is not held back."""
    merge_seconds: Annotated[int, Field(ge=0, le=MERGE_SECONDS_MAX)] = 20
    """What follows a message within this time, before a phone has fetched it, is said together with it."""
