"""Reads of purchases, and of what recording one needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.challenges.progress import PurchaseFacts
from wallet_server.errors import NotFoundError
from wallet_server.members.models import Card, Member
from wallet_server.members.tags import tags_of_members
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.commands import CardRow
from wallet_server.purchases.models import Purchase, PurchaseLine, PurchaseTrace, Refund, RefundLine, Visit
from wallet_server.purchases.plan import Person
from wallet_server.purchases.recorded import facts_of_purchase, facts_of_visit
from wallet_server.reads import Asked, Read, ask, known
from wallet_server.rules.book import rule_book
from wallet_server.segments.queries import segments_of_members

PURCHASE: sa.Table = Purchase.__table__  # type: ignore[attr-defined]
_CARD: sa.Table = Card.__table__  # type: ignore[attr-defined]
PURCHASES_MAX = 200


def cards_by_number(session: Session, program_id: UUID, numbers: Collection[str]) -> dict[str, CardRow]:
    """The program's cards with these numbers; unknown ones are missing."""
    return ask(session, cards_asked(program_id, numbers))


def cards_asked(program_id: UUID, numbers: Collection[str]) -> Asked[dict[str, CardRow]]:
    """As :func:`cards_by_number`, to be asked with other things."""
    return Asked(
        _CARDS,
        {"program_id": program_id, "numbers": list(set(numbers))},
        lambda rows: {number: CardRow(card_id, member_id, blocked) for number, card_id, member_id, blocked in rows},
    )


_CARDS: Final = Read(
    lambda one_of: sa.select(_CARD.c.number, _CARD.c.id, _CARD.c.member_id, _CARD.c.blocked_at.is_not(None)).where(
        _CARD.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()), one_of(_CARD.c.number, "numbers")
    )
)


def people_asked_for(
    session: Session,
    program: ProgramDefinition,
    member_ids: Collection[UUID],
    now: datetime,
    *,
    versions: Collection[ProgramDefinition] = (),
) -> dict[UUID, Person]:
    """What the rules of the program (and of older ``versions``) ask of these members; reads nothing beside."""
    books = [rule_book(version) for version in (program, *versions)]
    asks = frozenset[str]().union(*(book.asks for book in books))
    asked_segments = frozenset[str]().union(*(book.segments for book in books))
    asked_tags = frozenset[str]().union(*(book.tags for book in books))
    cards: dict[UUID, set[str]] = {}
    if "members" in asks:
        numbers = select(Card.member_id, Card.number).where(col(Card.member_id).in_(member_ids))
        for member_id, number in session.exec(numbers):
            cards.setdefault(member_id, set()).add(number)
    dates: dict[UUID, tuple[datetime, date | None]] = {}
    if not asks.isdisjoint(("tenure_days_min", "birthday_within_days")):
        asked = select(Member.id, Member.joined_at, col(Member.birthday)).where(col(Member.id).in_(member_ids))
        dates = {member_id: (joined_at, birthday) for member_id, joined_at, birthday in session.exec(asked)}
    segments: Mapping[UUID, frozenset[str]] = {}
    if asked_segments:
        segments = segments_of_members(session, program, member_ids, asked_segments, now)
    tags = tags_of_members(session, member_ids, asked_tags) if asked_tags else {}
    if not (cards or dates or segments or tags):
        return {}
    people: dict[UUID, Person] = {}
    for member_id in member_ids:
        joined_at, birthday = dates.get(member_id, (None, None))
        people[member_id] = Person(
            joined_at=joined_at,
            birthday=birthday,
            cards=frozenset(cards.get(member_id, ())),
            segments=segments.get(member_id, frozenset()),
            tags=tags.get(member_id, frozenset()),
        )
    return people


def receipts_asked(program_id: UUID, receipts: Collection[tuple[UUID, str]]) -> Asked[dict[tuple[UUID, str], UUID]]:
    """Purchases that there are already, by outlet and receipt number; also some that were not asked for."""
    if not receipts:
        return known({})
    values = {
        "program_id": program_id,
        "outlets": list({outlet_id for outlet_id, _receipt_id in receipts}),
        "receipts": list({receipt_id for _outlet_id, receipt_id in receipts}),
    }
    return Asked(_RECORDED, values, lambda rows: {(outlet, receipt): found for outlet, receipt, found in rows})


_RECORDED: Final = Read(
    lambda one_of: sa.select(PURCHASE.c.outlet_id, PURCHASE.c.receipt_id, PURCHASE.c.id).where(
        PURCHASE.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()),
        one_of(PURCHASE.c.outlet_id, "outlets"),
        one_of(PURCHASE.c.receipt_id, "receipts"),
    )
)


def purchase_by_id(session: Session, purchase_id: UUID, *, fresh: bool = False) -> Purchase:
    """One purchase; ``fresh``: as it is now, after a lock. Raises ``NotFoundError(unknown_purchase)``."""
    statement = select(Purchase).where(Purchase.id == purchase_id).execution_options(populate_existing=fresh)
    purchase = session.exec(statement).one_or_none()
    if purchase is None:
        raise NotFoundError("unknown_purchase", "there is no such purchase in this program")
    return purchase


def lines_of_purchase(session: Session, purchase_id: UUID, *, fresh: bool = False) -> Sequence[PurchaseLine]:
    """The lines of a purchase in their order; ``fresh``: as they are now, after a lock."""
    statement = select(PurchaseLine).where(PurchaseLine.purchase_id == purchase_id).order_by(col(PurchaseLine.line))
    return session.exec(statement.execution_options(populate_existing=fresh)).all()


def facts_of_day(session: Session, program: ProgramDefinition, purchase: Purchase) -> list[PurchaseFacts]:
    """The member's other purchases and visits of a purchase's business date, as far as they are not refunded.

    In the order in which they were recorded; at most :data:`PURCHASES_MAX` of each.
    """
    others = session.exec(
        select(Purchase)
        .where(
            Purchase.member_id == purchase.member_id,
            Purchase.business_date == purchase.business_date,
            Purchase.id != purchase.id,
            col(Purchase.refunded_at).is_(None),
        )
        .order_by(col(Purchase.id))
        .limit(PURCHASES_MAX)
    ).all()
    lines: dict[UUID, list[PurchaseLine]] = {other.id: [] for other in others}
    for line in session.exec(
        select(PurchaseLine).where(col(PurchaseLine.purchase_id).in_(lines)).order_by(col(PurchaseLine.line))
    ):
        lines[line.purchase_id].append(line)
    visits = session.exec(
        select(Visit)
        .where(Visit.member_id == purchase.member_id, Visit.business_date == purchase.business_date)
        .order_by(col(Visit.id))
        .limit(PURCHASES_MAX)
    ).all()
    found = [
        facts_of_purchase(
            other,
            lines[other.id],
            program.outlet_by_id(other.outlet_id).section.code,
            {line.line: line.quantity_thousandths - line.returned_thousandths for line in lines[other.id]},
        )
        for other in others
    ]
    found += [facts_of_visit(visit, program.outlet_by_id(visit.outlet_id).section.code) for visit in visits]
    return sorted(found, key=lambda facts: facts.purchase_id)


def refunds_of_purchase(session: Session, purchase_id: UUID) -> Sequence[Refund]:
    """The refunds of a purchase, in their order; at most one for each thousandth of its lines."""
    statement = select(Refund).where(Refund.purchase_id == purchase_id).order_by(col(Refund.id))
    return session.exec(statement.limit(PURCHASES_MAX)).all()


def lines_of_refunds(session: Session, refund_ids: Collection[UUID]) -> dict[UUID, tuple[RefundLine, ...]]:
    """The lines of refunds in their order."""
    found: dict[UUID, list[RefundLine]] = {}
    statement = select(RefundLine).where(col(RefundLine.refund_id).in_(refund_ids)).order_by(col(RefundLine.line))
    for line in session.exec(statement):
        found.setdefault(line.refund_id, []).append(line)
    return {refund_id: tuple(lines) for refund_id, lines in found.items()}


def trace_of_purchase(session: Session, purchase_id: UUID) -> PurchaseTrace | None:
    """Why a purchase earned and paid what it did."""
    return session.exec(select(PurchaseTrace).where(PurchaseTrace.purchase_id == purchase_id)).one_or_none()


def traces_of_purchases(session: Session, purchase_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """The traces of several purchases as they were stored; one that has none is missing."""
    statement = select(PurchaseTrace.purchase_id, PurchaseTrace.trace).where(
        col(PurchaseTrace.purchase_id).in_(set(purchase_ids))
    )
    return {key: dict(trace) for key, trace in session.exec(statement)} if purchase_ids else {}


def lines_of_purchases(session: Session, purchase_ids: Collection[UUID]) -> dict[UUID, list[PurchaseLine]]:
    """The lines of several purchases, each's in their order."""
    found: dict[UUID, list[PurchaseLine]] = {}
    if purchase_ids:
        statement = select(PurchaseLine).where(col(PurchaseLine.purchase_id).in_(set(purchase_ids)))
        for line in session.exec(statement.order_by(col(PurchaseLine.line))):
            found.setdefault(line.purchase_id, []).append(line)
    return found
