"""What the ledger's tests do at a till, and the look at every invariant afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.ledger.holds import HoldState, PlaceHold, capture_hold, expire_holds, place_hold, release_hold
from wallet_server.ledger.invariants import CHECKS
from wallet_server.ledger.models import Lot
from wallet_server.ledger.postings import Balance, Movement, earn, redeem
from wallet_server.ledger.services import post

MINUTES = 60


def assert_sound(engine: Engine) -> None:
    """No invariant of the ledger is broken by any row."""
    with reading(engine, ALL_PROGRAMS) as session:
        assert [found for check in CHECKS for found in check(session)] == []


@dataclass(frozen=True)
class Till:
    """One member's points, moved by hand; each call is a transaction of its own."""

    shop: Shop

    def earn(self, points: int, purchase_id: UUID | None = None, *, now: datetime = NOW, **values: Any) -> Balance:
        given = {"reason": "sale", "occurred_at": now, "purchase_id": purchase_id, **values}
        return self.move(earn(self.shop.member_id, points, **given), now=now)

    def pay(self, points: int, purchase_id: UUID | None = None, *, now: datetime = NOW) -> Balance:
        move = redeem(self.shop.member_id, points, reason="paid", occurred_at=now, purchase_id=purchase_id)
        return self.move(move, now=now)

    def move(self, *movements: Movement, now: datetime = NOW) -> Balance:
        with transaction(self.shop.engine, self.shop.program.id) as session:
            return post(session, self.shop.program.id, movements, now)[self.shop.member_id]

    def hold(self, points: int, seconds: int = 15 * MINUTES, *, now: datetime = NOW, **values: Any) -> HoldState:
        given = {"card_number": self.shop.card, "outlet": "A", "expires_in_seconds": seconds, **values}
        command = PlaceHold(points=points, **given)
        with transaction(self.shop.engine, self.shop.program.id) as session:
            return place_hold(session, self.shop.program, command, now=now, actor="key:test")

    def capture(
        self, hold_id: UUID, points: int | None = None, *, now: datetime = NOW, outlet: str | None = None
    ) -> HoldState:
        with transaction(self.shop.engine, self.shop.program.id) as session:
            return capture_hold(
                session, self.shop.program, hold_id, points=points, now=now, actor="key:test", outlet=outlet
            )

    def release(self, hold_id: UUID, *, now: datetime = NOW) -> HoldState:
        with transaction(self.shop.engine, self.shop.program.id) as session:
            return release_hold(session, self.shop.program, hold_id, now=now, actor="key:test")

    def expire_holds(self, now: datetime, **limit: int) -> dict[UUID, list[UUID]]:
        with transaction(self.shop.engine, ALL_PROGRAMS) as session:
            return expire_holds(session, now, **limit)

    def lots(self) -> list[tuple[int, int, int]]:
        """Points, what is left, what is held; of each lot, the smallest first."""
        with reading(self.shop.engine, self.shop.program.id) as session:
            return list(session.exec(select(Lot.points, Lot.remaining, Lot.held).order_by(col(Lot.points))))

    def accounts(self) -> tuple[int, int, int, int]:
        """Spendable, pending, held, owed."""
        now = self.shop.balance()
        return now.spendable, now.pending, now.held, now.owed
