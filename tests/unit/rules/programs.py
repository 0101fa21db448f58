"""Program definitions without a database, for tests of pure rules."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from tests.factories import program_file
from wallet_server.programs.definition import OutletRef, ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.rules.receipt import Line, MemberFacts, Receipt

MEMBER = UUID(int=1)
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def definition(
    points: dict[str, Any] | None = None, limits: dict[str, str] | None = None, **sections: Any
) -> ProgramDefinition:
    """The café with these points settings, ``receipt_max_percent`` by outlet, and sections such as ``rules``."""
    base = program_file()
    section = {**base["program"], "points": {"base_percent": 1, **(points or {})}}
    outlets = [
        {**outlet, **({"receipt_max_percent": Decimal(limits[outlet["code"]])} if limits else {})}
        for outlet in base["outlets"]
    ]
    file = ProgramFile.model_validate(program_file(**{"program": section, "outlets": outlets, **sections}))
    return ProgramDefinition(
        id=UUID(int=2),
        slug=file.program.slug,
        version=1,
        file=file,
        outlets={
            outlet.code: OutletRef(UUID(int=10 + index), outlet, outlet.time_zone or file.program.time_zone)
            for index, outlet in enumerate(file.outlets)
        },
        closed_outlets={},
        parents={category.code: category.parent for category in file.catalog.categories},
    )


def receipt(*amounts_minor: int, outlet: str = "A") -> Receipt:
    """One unit a line at these prices."""
    lines = tuple(Line(number, 1000, amount) for number, amount in enumerate(amounts_minor, start=1))
    return Receipt(outlet=outlet, occurred_at=NOON, lines=lines)


def facts(spendable: int = 0, carried: Fraction = Fraction(0)) -> MemberFacts:
    """A member with these points."""
    return MemberFacts(member_id=MEMBER, spendable=spendable, carried=carried)
