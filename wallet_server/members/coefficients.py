"""Own coefficients: individual percents on a member's card, for the network or for one outlet, until a date.

Source: ``bonus-processing.md``, "A rule": a member's own coefficient is a customer rule like any other, and the
outlet's own percent beats the network's. Kept in ``member_statistics.coefficients``, at most one for the network
and one for each outlet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlmodel import Session, col, select

from wallet_server.errors import DomainError
from wallet_server.members.models import MemberStatistics
from wallet_server.members.queries import member_of_card
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import parts
from wallet_server.staff import audit

PERCENT_MAX: Final = 1000
REDEEM_PERCENT_MAX: Final = 100
PERCENT_DIGITS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One percent of a member; ``outlet`` None is the whole network, ``ends_at`` is exclusive."""

    percent: Decimal
    outlet: str | None = None
    ends_at: datetime | None = None
    redeem_max_percent: Decimal | None = None


def percent_text(percent: Decimal) -> str:
    """The shortest exact text: ``"5"``, ``"2.5"``."""
    return format(percent.normalize(), "f")


def read_coefficients(document: Iterable[Mapping[str, Any]]) -> tuple[Coefficient, ...]:
    """The coefficients of a row's JSON, the network's first."""
    found = [
        Coefficient(
            percent=Decimal(item["percent"]),
            outlet=item.get("outlet"),
            ends_at=datetime.fromisoformat(item["ends_at"]) if item.get("ends_at") else None,
            redeem_max_percent=Decimal(item["redeem_max_percent"]) if item.get("redeem_max_percent") else None,
        )
        for item in document
    ]
    return tuple(sorted(found, key=lambda one: one.outlet or ""))


def coefficients_of_members(session: Session, member_ids: Collection[UUID]) -> dict[UUID, tuple[Coefficient, ...]]:
    """The coefficients of members; who has none is missing. Those that have ended are there too."""
    found: dict[UUID, tuple[Coefficient, ...]] = {}
    for part in parts(member_ids):
        statement = select(MemberStatistics.member_id, MemberStatistics.coefficients).where(
            col(MemberStatistics.member_id).in_(part)
        )
        found.update(
            {member_id: read_coefficients(document) for member_id, document in session.exec(statement) if document}
        )
    return found


def set_coefficient(
    session: Session,
    program: ProgramDefinition,
    card_number: str,
    *,
    percent: Decimal | None,
    outlet: str | None,
    ends_at: datetime | None,
    redeem_max_percent: Decimal | None,
    actor: str,
    now: datetime,
) -> tuple[Coefficient, ...]:
    """Set the member's percent for an outlet (its code), or for the network (None); all that the member has then.

    In place of the one before for the same place; ``percent`` None or 0 removes it. Purchases recorded from now
    on are computed with it, late ones too. Setting what is set changes nothing and is not noted.

    Raises ``DomainError``: ``unknown_card``, ``card_blocked``, ``unknown_outlet``; ``validation`` for a percent
    out of range or in a program whose base percent is 0, an end that is not in the future, and a limit of paying
    or an end without a percent.
    """
    _check(program, percent, ends_at, redeem_max_percent, now)
    if outlet is not None:
        program.outlet(outlet)
    member_id = member_of_card(session, card_number).member.id
    row = session.exec(
        select(MemberStatistics).where(MemberStatistics.member_id == member_id).with_for_update()
    ).one_or_none()
    if row is None:  # somebody who came in before statistics were kept
        row = MemberStatistics(program_id=program.id, member_id=member_id)
        session.add(row)
    before = read_coefficients(row.coefficients)
    after = [one for one in before if one.outlet != outlet]
    if percent:
        after.append(Coefficient(percent, outlet, ends_at, redeem_max_percent))
    result = read_coefficients([_document(one) for one in after])
    if result == before:
        return result
    row.coefficients = [_document(one) for one in result]
    session.add(row)
    session.flush()
    audit.record(
        session,
        program_id=program.id,
        actor=actor,
        action="coefficient.set" if percent else "coefficient.removed",
        subject=card_number,
        detail=_document(after[-1]) if percent else {"outlet": outlet},
        now=now,
    )
    return result


def _check(
    program: ProgramDefinition,
    percent: Decimal | None,
    ends_at: datetime | None,
    redeem_max_percent: Decimal | None,
    now: datetime,
) -> None:
    errors: list[dict[str, str]] = []
    for name, value, highest in (
        ("percent", percent, PERCENT_MAX),
        ("redeem_max_percent", redeem_max_percent, REDEEM_PERCENT_MAX),
    ):
        if value is not None and not (value.is_finite() and 0 <= value <= highest and _digits(value)):
            errors.append(_error(name, f"must be from 0 to {highest}, with at most {PERCENT_DIGITS_MAX} digits"))
    if percent and not program.points.base_percent:
        errors.append(_error("percent", "needs a base percent above 0: the program's base_percent is 0"))
    if ends_at is not None and ends_at <= now:
        errors.append(_error("ends_at", "must be in the future"))
    for name, given in (("ends_at", ends_at), ("redeem_max_percent", redeem_max_percent)):
        if not percent and given is not None:
            errors.append(_error(name, "goes with a percent"))
    if errors:
        sentence = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
        raise DomainError("validation", sentence, errors=errors)


def _digits(value: Decimal) -> bool:
    normal = value.normalize()
    _sign, digits, exponent = normal.as_tuple()
    assert isinstance(exponent, int), "only finite numbers come here"
    # A number of more digits than the context's 28 comes back rounded: then it is another number.
    return normal == value and len(digits) <= PERCENT_DIGITS_MAX and exponent >= -PERCENT_DIGITS_MAX


def _error(field: str, message: str) -> dict[str, str]:
    return {"field": field, "message": message}


def _document(one: Coefficient) -> dict[str, Any]:
    return {
        "percent": percent_text(one.percent),
        "outlet": one.outlet,
        "ends_at": one.ends_at.isoformat() if one.ends_at else None,
        "redeem_max_percent": None if one.redeem_max_percent is None else percent_text(one.redeem_max_percent),
    }
