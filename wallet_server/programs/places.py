"""Places of a program file: where a card on a phone suggests itself, and with which words.

Source: Apple's "Pass.Locations" and "Pass.Beacons" (a pass carries ten of each), and ``mission.md`` W6.
"""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from wallet_server.programs.fields import Texts

BEACONS_OF_OUTLET_MAX: Final = 10
DISTANCE_METERS_MAX: Final = 100_000
OUTLET_WORD: Final = "{outlet}"
"""What the outlet's name takes the place of."""
UUID_PATTERN: Final = r"^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OutletBeacon(_Part):
    """A Bluetooth beacon (iBeacon) in an outlet; without ``major`` and ``minor`` any of its family."""

    uuid: Annotated[str, StringConstraints(pattern=UUID_PATTERN)]
    major: Annotated[int, Field(ge=0, le=65_535)] | None = None
    minor: Annotated[int, Field(ge=0, le=65_535)] | None = None

    @model_validator(mode="after")
    def _check_minor(self) -> Self:
        if self.minor is not None and self.major is None:
            raise ValueError("minor tells beacons of one major apart: give major too")
        return self

    @property
    def identity(self) -> tuple[str, int | None, int | None]:
        """What two beacons must not share; a UUID is the same in capitals."""
        return self.uuid.lower(), self.major, self.minor


class PlacesSettings(_Part):
    """How near is near, and what the lock screen says there."""

    max_distance_meters: Annotated[int, Field(ge=10, le=DISTANCE_METERS_MAX)] | None = None
    """Wallet takes the smaller of this and its own limit."""
    text: Texts | None = None
    """For outlets that say nothing of their own; ``{outlet}`` is the outlet's name."""
