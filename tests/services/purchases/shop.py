"""A café with members, for tests of what happens at its tills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Engine
from sqlmodel import SQLModel, col, select

from tests.conftest import NOW
from tests.factories import program_file
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import balance
from wallet_server.members.models import MemberStatistics
from wallet_server.members.services import Enrol, Enrolled, enrol_many
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.commands import LineInput, RecordPurchase, RecordVisit, RefundPurchase, Source
from wallet_server.purchases.refunds import Refunded, refund_purchase
from wallet_server.purchases.services import Recorded, record_purchases
from wallet_server.purchases.visits import Visited, record_visit
from wallet_server.tiers.models import TierChange
from wallet_server.verification import CHECKS

PRICE = 30_000
VISITS: dict[str, Any] = {
    "code": "two",
    "name": {"en": "Two visits"},
    "metric": "visits",
    "target": 2,
    "reward": {"points": 40},
}


@dataclass
class Shop:
    """A program in a database, and what a test does with it."""

    engine: Engine
    program: ProgramDefinition
    members: list[Enrolled]

    @property
    def card(self) -> str:
        return self.members[0].card_number

    @property
    def member_id(self) -> UUID:
        return self.members[0].member_id

    def record(self, *commands: RecordPurchase, now: datetime = NOW, source: Source = "till") -> list[Recorded]:
        with transaction(self.engine, self.program.id) as session:
            results = record_purchases(session, self.program, commands, now=now, source=source, recorded_by="key:test")
        assert all(isinstance(result, Recorded) for result in results)
        return results

    def try_to_record(
        self, commands: Sequence[RecordPurchase], now: datetime = NOW, source: Source = "import"
    ) -> list[Recorded | DomainError]:
        with transaction(self.engine, self.program.id) as session:
            return record_purchases(
                session,
                self.program,
                commands,
                now=now,
                source=source,
                recorded_by="key:test",
                on_error="return",
            )

    def refund(
        self, purchase_id: UUID, refund_id: str, *lines: tuple[int, int], now: datetime = NOW, outlet: str | None = None
    ) -> Refunded:
        """Take (line, thousandths) back, or all that is left."""
        command = RefundPurchase(purchase_id, refund_id, lines or None)
        with transaction(self.engine, self.program.id) as session:
            return refund_purchase(session, self.program, command, now=now, recorded_by="key:test", outlet=outlet)

    def visit(self, visit_id: str, *, now: datetime = NOW, occurred_at: datetime = NOW, outlet: str = "A") -> Visited:
        command = RecordVisit(self.card, outlet, occurred_at, visit_id)
        with transaction(self.engine, self.program.id) as session:
            return record_visit(session, self.program, command, now=now, recorded_by="key:test")

    def balance(self, member_id: UUID | None = None) -> Balance:
        with reading(self.engine, self.program.id) as session:
            return balance(session, member_id or self.member_id)

    def tier_changes(self, member_id: UUID | None = None) -> list[TierChange]:
        """The steps of a member's status, in their order."""
        mine = select(TierChange).where(TierChange.member_id == (member_id or self.member_id))
        with reading(self.engine, self.program.id) as session:
            return list(session.exec(mine.order_by(col(TierChange.at), col(TierChange.id))).all())


def open_shop(engine: Engine, *, members: int = 1, points: dict[str, Any] | None = None, **sections: Any) -> Shop:
    """The café of ``tests.factories`` with these points settings and sections, and some members."""
    file = program_file(**sections)
    if points:
        file["program"] = {**file["program"], "points": {**file["program"]["points"], **points}}
    with transaction(engine, ALL_PROGRAMS) as session:
        applied = apply_program(session, ProgramFile.model_validate(file), now=NOW, actor="test")
        program = load_program(session, program_id=applied.program_id)
    with transaction(engine, program.id) as session:
        people = [Enrol(email=f"person{number}@example.com", channel="till") for number in range(members)]
        enrolled = enrol_many(session, program, people, now=NOW, actor="test")
    return Shop(engine, program, enrolled)


def purchase(card: str, receipt_id: str, *amounts_minor: int, **values: Any) -> RecordPurchase:
    """A receipt with one unit a line at these prices (300.00 if none is given)."""
    lines = tuple(LineInput(None, None, 1000, amount) for amount in amounts_minor or (PRICE,))
    return RecordPurchase(
        **{
            "receipt_id": receipt_id,
            "card_number": card,
            "outlet": "A",
            "occurred_at": NOW,
            "lines": lines,
            **values,
        }
    )


def rows(shop: Shop, model: type[SQLModel]) -> list[Any]:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(model)).all())


def assert_sound(shop: Shop) -> None:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert [violation for check in CHECKS for violation in check(session)] == []


def statistics(shop: Shop) -> MemberStatistics:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        return session.exec(select(MemberStatistics)).one()
