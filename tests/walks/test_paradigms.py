"""The ready programs P1 to P5, each with one member's year: what she has at the end of each month.

What is expected are the tables of docs/paradigms/*.md: the page promises them.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import select

from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.ledger.queries import balance
from wallet_server.members.services import Enrol, enrol
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.programs.templates import TEMPLATES, find_template
from wallet_server.programs.yaml_file import parse_program
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.purchases.services import Recorded, record_purchase
from wallet_server.rewards.models import Voucher
from wallet_server.rules.receipt import RedeemPoints
from wallet_server.tiers.models import MemberTier
from wallet_server.verification import run_checks
from workers.schedule import TASKS

PAGES: Final = Path(__file__).parents[2] / "docs" / "paradigms"
OF_THE_MACHINE: Final = {"prune", "count rows", "watch certificate", "fail lost recipients", "ring forgotten webhooks"}
"""Tasks of the tick that move no points and no tiers."""
START: Final = date(2027, 1, 1)

Month = tuple[int, int, str | None, int]
"""Points earned in the month, points that can be spent at its end, the tier then, and vouchers won so far."""


def ready_program(slug: str) -> ProgramFile:
    return parse_program(find_template(slug).text())


@dataclass
class Year:
    """One member of a ready program, and the days that pass for her."""

    engine: Engine
    program: ProgramDefinition
    card: str
    member_id: UUID
    today: date = START
    earned: int = 0
    months: list[Month] = field(default_factory=list)
    receipts: int = 0

    def moment(self, hour: int = 12) -> datetime:
        return datetime(
            self.today.year, self.today.month, self.today.day, hour, tzinfo=ZoneInfo(self.program.time_zone)
        )

    def until(self, day: date) -> None:
        """Let the days pass, with the tick of each, noting down the months that end."""
        while self.today < day:
            self.today += timedelta(days=1)
            self.tick()
            if self.today.day == 1:
                self.months.append(self.now())
                self.earned = 0

    def tick(self) -> None:
        moment = self.moment(0).astimezone(UTC) + timedelta(minutes=1)
        context: Any = SimpleNamespace(engine=self.engine, clock=SimpleNamespace(now=lambda: moment))
        for task in TASKS:
            if task.name not in OF_THE_MACHINE:
                task.run(context)

    def now(self) -> Month:
        with reading(self.engine, self.program.id) as session:
            tier = session.exec(select(MemberTier.tier).where(MemberTier.member_id == self.member_id)).one_or_none()
            vouchers = session.exec(select(Voucher).where(Voucher.member_id == self.member_id)).all()
            return self.earned, balance(session, self.member_id).spendable, tier, len(vouchers)

    def buy(
        self,
        day: str,
        *amounts_minor: int,
        skus: Sequence[str] = (),
        redeem: RedeemPoints = 0,
        outlet: str | None = None,
        category: str | None = None,
    ) -> Recorded:
        """A receipt at noon of a day (``"03-15"``): so many amounts, or these products.

        A product has its catalog's price, or another one: ``"headphones@6000"``.
        """
        self.until(date.fromisoformat(f"{self.today.year}-{day}"))
        self.receipts += 1
        moment = self.moment().astimezone(UTC)
        prices = {product.sku: product.price_minor for product in ready_program(self.program.slug).catalog.products}
        lines = [LineInput(None, category, 1000, amount) for amount in amounts_minor]
        for sku, _, price in (text.partition("@") for text in skus):
            lines.append(LineInput(sku, None, 1000, int(price or prices[sku] or 0)))
        with transaction(self.engine, self.program.id) as session:
            command = RecordPurchase(
                receipt_id=str(self.receipts),
                card_number=self.card,
                outlet=outlet or next(iter(self.program.outlets)),
                occurred_at=moment,
                lines=tuple(lines),
                redeem_points=redeem,
            )
            recorded = record_purchase(
                session, self.program, command, now=moment, source="till", recorded_by="key:test"
            )
        self.earned += recorded.quote.points_earned + sum(won.points or 0 for won in recorded.rewards)
        return recorded

    def end(self) -> list[Month]:
        self.until(date(self.today.year + 1, 1, 1))
        assert run_checks(self.engine).violations == []
        return self.months


def promised(slug: str) -> list[Month]:
    """The months that a paradigm's page shows."""
    cells = [
        [cell.strip().replace(",", "") for cell in line.strip("|\n").split("|")]
        for line in (PAGES / f"{slug}.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith(("| month", "| ---"))
    ]
    assert [row[0] for row in cells] == list(calendar.month_name)[1:]
    return [(int(row[1]), int(row[2]), None if row[3] == "–" else row[3], int(row[4])) for row in cells]


@pytest.fixture
def begin(engine: Engine) -> Any:
    def year(slug: str, **person: Any) -> Year:
        opening = datetime(2026, 12, 31, 12, tzinfo=UTC)
        with transaction(engine, ALL_PROGRAMS) as session:
            applied = apply_program(session, ready_program(slug), now=opening, actor="test")
            program = load_program(session, program_id=applied.program_id)
        with transaction(engine, program.id) as session:
            member = enrol(
                session, program, Enrol(email="ana@example.com", channel="till", **person), now=opening, actor="test"
            )
        return Year(engine, program, member.card_number, member.member_id)

    return year


def test_levels(begin: Any) -> None:
    """P1: 8,000 denars a month; then she moves away, and two years later she is a guest again."""
    year = begin("levels", birthday=date(1990, 9, 16))
    for month in range(1, 12):
        year.buy(f"{month:02}-15", 800_000)
    gift_card = year.buy("12-10", 100_000, category="gift-cards", redeem="max")
    assert (gift_card.quote.points_earned, gift_card.quote.points_redeemed) == (0, 0)
    paid = year.buy("12-20", 800_000, redeem="max")
    assert (paid.quote.points_redeemed, paid.quote.money_due_minor) == (2400, 560_000)
    assert year.end() == promised("levels")
    year.until(date(2029, 1, 31))
    assert year.now() == (0, 0, "family", 0)
    year.until(date(2029, 2, 2))
    assert year.now() == (0, 0, "guest", 0)


def test_lifetime(begin: Any) -> None:
    """P2: a reader who comes about once a month."""
    year = begin("lifetime")
    for day in ("01-10", "02-20", "03-15", "04-30", "05-22", "07-01", "08-08", "09-09", "10-10", "11-11"):
        year.buy(day, skus=["novel", "novel"])
    paid = year.buy("12-01", skus=["novel", "picture-book"], redeem="max")
    assert paid.quote.points_redeemed == 130
    year.buy("12-20", skus=["picture-book"])
    assert year.end() == promised("lifetime")


def test_checkpoint(begin: Any) -> None:
    """P3: each month, but for the summer; and after October no more."""
    year = begin("checkpoint")
    for day in ("01-20", "02-15", "03-10", "04-05", "05-04", "06-02"):
        year.buy(day, 350_000)
    year.until(date(2027, 7, 9))
    assert year.now()[2] == "monthly", "in grace"
    year.buy("09-01", 100_000)
    year.buy("09-20", 250_000)
    prescription = year.buy("10-15", 90_000, category="prescription", redeem="max")
    assert (prescription.quote.points_earned, prescription.quote.points_redeemed) == (0, 0)
    assert year.end() == promised("checkpoint")
    year.until(date(2028, 4, 14))
    assert year.now() == (0, 0, "guest", 1)


def test_return(begin: Any) -> None:
    """P4: a regular who stays away for two months, then for four."""
    year = begin("return")
    for day in ("01-10", "02-10", "04-20"):
        year.buy(day, skus=["haircut"])
    paid = year.buy("08-25", skus=["haircut"], redeem="max")
    assert (paid.quote.points_redeemed, paid.quote.money_due_minor) == (480, 192_000)
    paid = year.buy("09-20", skus=["haircut"], redeem="max")
    assert (paid.quote.points_redeemed, paid.quote.money_due_minor) == (384, 201_600)
    year.buy("10-20", skus=["haircut"])
    assert year.end() == promised("return")
    year.until(date(2028, 6, 18))
    assert year.now()[1] == 0


def test_margin(begin: Any) -> None:
    """P5: a phone first, then what belongs to it."""
    year = begin("margin")
    year.buy("01-10", skus=["phone"])
    year.buy("02-25", skus=["headphones", "case"])
    year.buy("04-05", skus=["setup", "case"])
    year.buy("05-12", skus=["setup"])
    sale = year.buy("06-15", skus=["headphones@6000"], redeem="max")
    assert sale.quote.points_redeemed == 60
    phone = year.buy("09-10", skus=["phone"], redeem="max")
    assert phone.quote.redeemable_points == 0
    web = year.buy("11-20", skus=["case", "setup"], redeem="max", outlet="web")
    assert web.quote.points_redeemed == 62
    assert year.end() == promised("margin")


def test_every_ready_program_can_be_read(begin: Any) -> None:
    assert [found.code for found in TEMPLATES] == ["P1", "P2", "P3", "P4", "P5"]
    for found in TEMPLATES:
        file = ready_program(found.slug)
        assert {language for text in (file.program.name,) for language in text} == {"en", "mk", "ru"}
        assert (PAGES / f"{found.slug}.md").is_file()
