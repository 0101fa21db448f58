"""Programs, members, passes and purchases as rows, for tests of the features that read them."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session, select

from tests.factories import program_file
from wallet_server.challenges.progress import LineFacts, PurchaseFacts
from wallet_server.db import new_id
from wallet_server.issuance.models import IssuedPass
from wallet_server.ledger.models import MemberBalance
from wallet_server.members.models import Card, Member, MemberStatistics
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.models import Purchase
from wallet_server.tiers.models import MemberTier

_numbers = itertools.count(1)


def publish(session: Session, now: datetime, slug: str = "cafe-ohrid", **sections: Any) -> ProgramDefinition:
    """Apply the café's file, some sections replaced, in a session over all programs."""
    if "challenges" in sections:
        sections = {"pass": {}, **sections}  # the café's pass draws the stamps of a challenge that is gone then
    document = program_file(**sections)
    document["program"] = {**document["program"], "slug": slug}
    applied = apply_program(session, ProgramFile.model_validate(document), now=now, actor="test")
    session.flush()
    return load_program(session, program_id=applied.program_id)


def add_member(
    session: Session,
    program: ProgramDefinition,
    now: datetime,
    *,
    tier: str = "base",
    language: str = "mk",
    marketing: bool = True,
    live: bool = True,
    last_visit_at: datetime | None = None,
    first_visit_at: datetime | None = None,
    joined_at: datetime | None = None,
) -> UUID:
    """A member with a card, a balance of nothing, and an Apple pass that is on a phone if ``live``."""
    number = next(_numbers)
    member_id, card_id = new_id(), new_id()
    owned: dict[str, Any] = {"program_id": program.id, "member_id": member_id}
    session.add(
        Member(
            id=member_id,
            program_id=program.id,
            phone=f"+3897{number:07d}",
            language=language,
            channel="till",
            referral_code=f"R{number:09d}",
            joined_at=joined_at or now,
        )
    )
    session.flush()
    session.add_all(
        [
            Card(id=card_id, number=f"{number:016d}", created_at=now, **owned),
            MemberBalance(**owned),
            MemberTier(tier=tier, since=now, **owned),
            MemberStatistics(marketing=marketing, last_visit_at=last_visit_at, first_visit_at=first_visit_at, **owned),
        ]
    )
    session.flush()
    session.add(
        IssuedPass(
            card_id=card_id,
            wallet="apple",
            serial=f"s{number}",
            last_modified=now,
            changed_at=now,
            created_at=now,
            live=live,
            **owned,
        )
    )
    session.flush()
    return member_id


def add_purchase(
    session: Session,
    program: ProgramDefinition,
    member_id: UUID,
    occurred_at: datetime,
    *,
    total_minor: int = 10_000,
    discount_minor: int = 0,
    points_earned: int = 1,
    points_redeemed: int = 0,
    outlet: str = "A",
) -> UUID:
    """A purchase as a bare row: no ledger, no statistics."""
    card = session.exec(select(Card).where(Card.member_id == member_id)).one()
    purchase = Purchase(
        program_id=program.id,
        outlet_id=program.outlet(outlet).id,
        receipt_id=f"T-{next(_numbers)}",
        member_id=member_id,
        card_id=card.id,
        occurred_at=occurred_at,
        business_date=occurred_at.date(),
        recorded_at=occurred_at,
        source="till",
        recorded_by="test",
        program_version=program.version,
        total_minor=total_minor,
        discount_minor=discount_minor,
        money_due_minor=total_minor - discount_minor,
        points_redeemed=points_redeemed,
        points_earned=points_earned,
    )
    session.add(purchase)
    session.flush()
    return purchase.id


def facts(
    member_id: UUID,
    day: date,
    *lines: LineFacts,
    outlet: str = "A",
    total_minor: int | None = None,
    purchase_id: UUID | None = None,
) -> PurchaseFacts:
    """What challenges see of a purchase at noon of ``day``."""
    return PurchaseFacts(
        purchase_id=purchase_id or new_id(),
        member_id=member_id,
        outlet=outlet,
        occurred_at=datetime(day.year, day.month, day.day, 11, tzinfo=UTC) + timedelta(seconds=next(_numbers)),
        business_date=day,
        total_minor=sum(line.amount_minor for line in lines) if total_minor is None else total_minor,
        lines=lines,
    )


def line(
    sku: str | None = None, category: str | None = None, quantity: str = "1", amount_minor: int = 100
) -> LineFacts:
    """A line of a receipt; ``quantity`` is a decimal number."""
    whole, _, part = quantity.partition(".")
    return LineFacts(sku, category, int(whole) * 1000 + int((part + "000")[:3]), amount_minor)
