"""Reads of purchases, and of what recording one needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.members.models import Card
from wallet_server.purchases.commands import CardRow
from wallet_server.purchases.models import Purchase, PurchaseLine, PurchaseTrace

PURCHASE: sa.Table = Purchase.__table__  # type: ignore[attr-defined]
PURCHASES_MAX = 200


def cards_by_number(session: Session, program_id: UUID, numbers: Collection[str]) -> dict[str, CardRow]:
    """The program's cards with these numbers; unknown ones are missing."""
    statement = select(Card.number, Card.id, Card.member_id, Card.blocked_at).where(
        Card.program_id == program_id, col(Card.number).in_(set(numbers))
    )
    return {
        number: CardRow(card_id, member_id, blocked_at is not None)
        for number, card_id, member_id, blocked_at in session.exec(statement)
    }


def recorded_receipts(
    session: Session, program_id: UUID, receipts: Collection[tuple[UUID, str]]
) -> dict[tuple[UUID, str], UUID]:
    """Purchases that there are already, by outlet and receipt number."""
    by_outlet: dict[UUID, set[str]] = {}
    for outlet_id, receipt_id in receipts:
        by_outlet.setdefault(outlet_id, set()).add(receipt_id)
    found: dict[tuple[UUID, str], UUID] = {}
    for outlet_id, receipt_ids in by_outlet.items():
        statement = select(Purchase.receipt_id, Purchase.id).where(
            Purchase.program_id == program_id,
            Purchase.outlet_id == outlet_id,
            col(Purchase.receipt_id).in_(receipt_ids),
        )
        found.update({(outlet_id, receipt_id): purchase_id for receipt_id, purchase_id in session.exec(statement)})
    return found


def purchases_of_member(session: Session, member_id: UUID, *, limit: int = 50) -> Sequence[Purchase]:
    """A member's purchases, newest first, at most ``limit`` (≤ 200)."""
    statement = (
        select(Purchase)
        .where(Purchase.member_id == member_id)
        .order_by(col(Purchase.occurred_at).desc(), col(Purchase.id).desc())
        .limit(max(1, min(limit, PURCHASES_MAX)))
    )
    return session.exec(statement).all()


def lines_of_purchase(session: Session, purchase_id: UUID) -> Sequence[PurchaseLine]:
    """The lines of a purchase in their order."""
    statement = select(PurchaseLine).where(PurchaseLine.purchase_id == purchase_id).order_by(col(PurchaseLine.line))
    return session.exec(statement).all()


def trace_of_purchase(session: Session, purchase_id: UUID) -> PurchaseTrace | None:
    """Why a purchase earned and paid what it did."""
    return session.exec(select(PurchaseTrace).where(PurchaseTrace.purchase_id == purchase_id)).one_or_none()
