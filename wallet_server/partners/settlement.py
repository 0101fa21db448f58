"""What companies of a coalition owe each other for points, as pure values.

A partner company that issues points pays its ``settlement_percent`` of their value when they are honoured
elsewhere; one that honours points that were issued elsewhere gets its own ``settlement_percent`` of their value.
The program's own company stands between them: it collects, pays, and has the difference. A company that honours
its own points settles nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final
from uuid import UUID

from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import OutletSection

PROGRAM_COMPANY: Final = ""
"""The company that runs the program. A partner's name is never empty."""

Pair = tuple[str, str]
"""The company that issued the points, and the one that honoured them."""


@dataclass(frozen=True, slots=True)
class Company:
    """Whose an outlet is. ``percent`` is the share of the points' value that is settled with it."""

    name: str
    percent: Fraction


_PROGRAM: Final = Company(PROGRAM_COMPANY, Fraction(0))


@dataclass(frozen=True, slots=True)
class Amounts:
    """Points that crossed from one company to another, and money in the minor unit; negative if they came back."""

    points: int
    value_minor: int
    issuer_owes_minor: int
    honourer_gets_minor: int

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.points + other.points,
            self.value_minor + other.value_minor,
            self.issuer_owes_minor + other.issuer_owes_minor,
            self.honourer_gets_minor + other.honourer_gets_minor,
        )


NOTHING: Final = Amounts(0, 0, 0, 0)


def has_partners(program: ProgramDefinition) -> bool:
    """Whether any outlet, open or closed, belongs to another company."""
    references = (*program.outlets.values(), *program.closed_outlets.values())
    return any(reference.section.partner is not None for reference in references)


def companies_of(program: ProgramDefinition) -> dict[UUID, Company]:
    """The company of each outlet that belongs to a partner; all others are the program's own."""
    references = (*program.outlets.values(), *program.closed_outlets.values())
    return {
        reference.id: company for reference in references if (company := company_of(reference.section)) is not _PROGRAM
    }


def company_of(section: OutletSection) -> Company:
    """Whose an outlet is."""
    partner = section.partner
    return _PROGRAM if partner is None else Company(partner.company, Fraction(partner.settlement_percent))


def redeemed(
    companies: Mapping[UUID, Company],
    point_value_minor: int,
    honoured_at: UUID | None,
    issued_at: Iterable[tuple[UUID | None, int]],
) -> dict[Pair, Amounts]:
    """What one redemption brings about between companies.

    ``issued_at`` are its points by the outlet that issued them; without an outlet (welcome gifts, adjustments) it
    was the program. Each amount is rounded half up, once for each pair of companies.
    """
    honourer = companies.get(honoured_at, _PROGRAM) if honoured_at is not None else _PROGRAM
    points: dict[str, int] = {}
    owes: dict[str, Fraction] = {}
    for outlet_id, count in issued_at:
        issuer = companies.get(outlet_id, _PROGRAM) if outlet_id is not None else _PROGRAM
        if issuer.name == honourer.name:
            continue
        points[issuer.name] = points.get(issuer.name, 0) + count
        share = count * point_value_minor * issuer.percent / 100
        owes[issuer.name] = owes.get(issuer.name, Fraction(0)) + share
    return {
        (name, honourer.name): Amounts(
            points=count,
            value_minor=count * point_value_minor,
            issuer_owes_minor=half_up(owes[name]),
            honourer_gets_minor=half_up(count * point_value_minor * honourer.percent / 100),
        )
        for name, count in points.items()
    }


def came_back(original: Amounts, before: Amounts, points: int) -> Amounts:
    """What a refund that returns so many points takes back of a redemption; negative amounts.

    ``original`` is the redemption's own, ``before`` what came back of it before (negative). What is left in force
    depends only on how many points are left, so any slicing of a refund ends at the same amounts, and a whole one
    at nothing.
    """
    left = original.points + before.points - points
    assert left >= 0, "more points came back than were honoured"

    def change(amount: int, already: int) -> int:
        return half_up(Fraction(amount * left, original.points)) - (amount + already)

    return Amounts(
        points=-points,
        value_minor=change(original.value_minor, before.value_minor),
        issuer_owes_minor=change(original.issuer_owes_minor, before.issuer_owes_minor),
        honourer_gets_minor=change(original.honourer_gets_minor, before.honourer_gets_minor),
    )


def half_up(value: Fraction) -> int:
    """An amount that is not negative, rounded to the minor unit."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)
