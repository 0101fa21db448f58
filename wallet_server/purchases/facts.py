"""The member's state and the receipt as the rules saw them, kept with a purchase's trace and read again. Pure.

A refund computes what is left with the same facts (``bonus-processing.md``, "Refunds"), whatever the member, the
tier or the catalog have become since. Only what the rules of the purchase's program version asked for is kept, and
of a birthday not the year: no rule asks for an age.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

from wallet_server.rules.numbers import shortest
from wallet_server.rules.receipt import MemberFacts, OwnCoefficient, Receipt

LEAP_YEAR: Final = 2000
"""The year that kept birthdays get: it has a 29 February."""


def facts_document(facts: MemberFacts, receipt: Receipt) -> dict[str, Any]:
    """What is kept: JSON that only grows. Percents and the carried fraction are exact texts."""
    document: dict[str, Any] = {
        "tier": facts.tier,
        "purchases": facts.purchases,
        "carried": shortest(facts.carried),
    }
    for name in ("segments", "tags", "cards"):
        values = getattr(facts, name)
        if values:
            document[name] = sorted(values)
    if facts.own:
        document["own"] = [_own_document(own) for own in facts.own]
    if facts.joined_at is not None:
        document["joined_at"] = facts.joined_at.isoformat()
    if facts.birthday is not None:
        document["birthday"] = f"{facts.birthday:%m-%d}"
    # The catalog keeps no past: where a category belonged, and what a product cost.
    above = {line.categories[0]: list(line.categories[1:]) for line in receipt.lines if len(line.categories) > 1}
    if above:
        document["above"] = dict(sorted(above.items()))
    costs = {
        line.sku: line.cost_minor for line in receipt.lines if line.sku is not None and line.cost_minor is not None
    }
    if costs:
        document["costs"] = dict(sorted(costs.items()))
    return document


def read_facts(document: Mapping[str, Any], member_id: UUID) -> MemberFacts:
    """The facts of :func:`facts_document`; the balance of then is not among them, ``spendable`` is 0."""
    joined_at, birthday = document.get("joined_at"), document.get("birthday")
    return MemberFacts(
        member_id=member_id,
        spendable=0,
        carried=Fraction(document["carried"]),
        tier=document["tier"],
        purchases=document["purchases"],
        joined_at=None if joined_at is None else datetime.fromisoformat(joined_at),
        birthday=None if birthday is None else date.fromisoformat(f"{LEAP_YEAR}-{birthday}"),
        cards=frozenset(document.get("cards", ())),
        segments=frozenset(document.get("segments", ())),
        tags=frozenset(document.get("tags", ())),
        own=own_coefficients(document.get("own", ())),
    )


def own_coefficients(document: Sequence[Mapping[str, Any]]) -> tuple[OwnCoefficient, ...]:
    """Own coefficients as the engine asks for them, of ``member_statistics.coefficients`` or of kept facts."""
    return tuple(_read_own(own) for own in document)


def _own_document(own: OwnCoefficient) -> dict[str, Any]:
    document: dict[str, Any] = {"percent": shortest(own.percent)}
    if own.outlet is not None:
        document["outlet"] = own.outlet
    if own.ends_at is not None:
        document["ends_at"] = own.ends_at.isoformat()
    if own.redeem_max_percent is not None:
        document["redeem_max_percent"] = shortest(own.redeem_max_percent)
    return document


def _read_own(document: Mapping[str, Any]) -> OwnCoefficient:
    ends_at, limit = document.get("ends_at"), document.get("redeem_max_percent")
    return OwnCoefficient(
        percent=Fraction(document["percent"]),
        outlet=document.get("outlet"),
        ends_at=None if ends_at is None else datetime.fromisoformat(ends_at),
        redeem_max_percent=None if limit is None else Fraction(limit),
    )
