"""Points between the companies of a coalition: what each redemption and refund settles, and the month's report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.services.ledger.test_invariants import corrupt
from tests.services.purchases.shop import Shop, open_shop, purchase
from tests.statements import heard
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.ledger.holds import PlaceHold, place_hold
from wallet_server.ledger.models import Posting
from wallet_server.ledger.returns import give_back
from wallet_server.partners.invariants import CHECKS
from wallet_server.partners.models import SettlementLine
from wallet_server.partners.queries import SettlementReport, settlement_lines, settlement_report
from wallet_server.partners.services import settle
from wallet_server.partners.settlement import Amounts
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import current_file, load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.commands import RefundPurchase
from wallet_server.purchases.holds import capture_hold
from wallet_server.purchases.refunds import refund_purchase

OUTLETS: list[dict[str, Any]] = [
    {"code": "A", "name": "Own"},
    {"code": "F", "name": "Fuel", "partner": {"company": "Fuel Ltd", "settlement_percent": "90"}},
    {"code": "G", "name": "Fuel too", "partner": {"company": "Fuel Ltd", "settlement_percent": "90"}},
    {"code": "K", "name": "Books", "partner": {"company": "Books Ltd", "settlement_percent": "79.5"}},
]
MONTH = date(2026, 11, 1)


@pytest.fixture
def shop(engine: Engine) -> Shop:
    """A coalition in which a tenth of each receipt comes back; one point is one denar."""
    return open_shop(engine, points={"base_percent": 10}, outlets=OUTLETS, challenges=[], **{"pass": {}})


def buy(shop: Shop, receipt: str, outlet: str, amount: int, redeem: int = 0, now: datetime = NOW) -> UUID:
    command = purchase(shop.card, receipt, amount, outlet=outlet, redeem_points=redeem, occurred_at=now)
    [recorded] = shop.record(command, now=now)
    return recorded.purchase_id


def lines(shop: Shop) -> list[tuple[str, str, int, int, int, int]]:
    with reading(shop.engine, shop.program.id) as session:
        rows = session.exec(select(SettlementLine).order_by(sa.text("id"))).all()
        return [
            (row.issuer, row.honourer, row.points, row.value_minor, row.issuer_owes_minor, row.honourer_gets_minor)
            for row in rows
        ]


def report(shop: Shop, month: date = MONTH) -> SettlementReport:
    with reading(shop.engine, shop.program.id) as session:
        return settlement_report(session, load_program(session, program_id=shop.program.id), month)


def broken(shop: Shop) -> Iterator[str]:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        for check in CHECKS:
            yield from (found.check for found in check(session))


def give(shop: Shop, purchase_id: UUID, points: int, now: datetime = NOW) -> None:
    with transaction(shop.engine, shop.program.id) as session:
        program = load_program(session, program_id=shop.program.id)
        give_back(
            session,
            program,
            shop.member_id,
            purchase_id=purchase_id,
            points=points,
            reason="Refund",
            occurred_at=now,
            now=now,
        )
        settle(session, program, now, purchase_ids=[purchase_id])


def publish(shop: Shop, now: datetime, **sections: Any) -> None:
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        document = current_file(session, shop.program.id).model_dump(mode="json", by_alias=True, exclude_none=True)
        apply_program(session, ProgramFile.model_validate({**document, **sections}), now=now, actor="test")
        shop.program = load_program(session, program_id=shop.program.id)


def test_points_are_settled_with_who_issued_and_who_honoured_them(shop: Shop) -> None:
    buy(shop, "1", "F", 10_000)  # 10 points of Fuel
    buy(shop, "2", "A", 5_000)  # 5 of the program
    assert lines(shop) == []
    buy(shop, "3", "K", 100_000, redeem=12)  # 10 of Fuel and 2 of the program, oldest first
    assert sorted(lines(shop)) == [
        ("", "Books Ltd", 2, 200, 0, 159),
        ("Fuel Ltd", "Books Ltd", 10, 1000, 900, 795),
    ]
    found = report(shop)
    assert [(row.company, row.issued.points, row.honoured.points, row.balance_minor) for row in found.partners] == [
        ("Books Ltd", 0, 12, 954),
        ("Fuel Ltd", 10, 0, -900),
    ]
    assert (found.program.issued.points, found.program.honoured.points) == (2, 0)
    assert found.program_balance_minor == -54
    assert sum(row.balance_minor for row in found.partners) + found.program_balance_minor == 0
    assert not list(broken(shop))


def test_a_company_settles_nothing_with_itself(shop: Shop) -> None:
    buy(shop, "1", "F", 10_000)
    buy(shop, "2", "G", 10_000, redeem=10)
    assert lines(shop) == []
    assert [row.balance_minor for row in report(shop).partners] == [0, 0]
    assert not list(broken(shop))


def test_the_program_settles_as_an_issuer_and_as_a_honourer(shop: Shop) -> None:
    buy(shop, "1", "K", 10_000)
    buy(shop, "2", "A", 10_000, redeem=3)
    assert lines(shop) == [("Books Ltd", "", 3, 300, 239, 0)]  # 238.5, half up
    found = report(shop)
    assert (found.program.honoured.points, found.program_balance_minor) == (3, 239)
    assert not list(broken(shop))


@pytest.mark.parametrize("slices", [(7,), (1, 6), (3, 3, 1), (1,) * 7])
def test_a_refund_in_any_slices_leaves_nothing(shop: Shop, slices: tuple[int, ...]) -> None:
    buy(shop, "1", "F", 30_000)
    bought = buy(shop, "2", "K", 10_000, redeem=7)
    for number, points in enumerate(slices):
        give(shop, bought, points, NOW + timedelta(minutes=number))
        assert not list(broken(shop))
    settled = lines(shop)
    assert len(settled) == 1 + len(slices)
    assert [sum(line[place] for line in settled) for place in (2, 3, 4, 5)] == [0, 0, 0, 0]


def test_points_of_a_lot_that_has_expired_come_back_to_the_same_company(engine: Engine) -> None:
    shop = open_shop(
        engine,
        points={"base_percent": 10, "expiry": {"kind": "rolling_days", "days": 5}},
        outlets=OUTLETS,
        challenges=[],
        **{"pass": {}},
    )
    buy(shop, "1", "F", 10_000)
    bought = buy(shop, "2", "K", 1_000, redeem=10)
    give(shop, bought, 4, NOW + timedelta(days=20))
    assert lines(shop)[1:] == [("Fuel Ltd", "Books Ltd", -4, -400, -360, -318)]
    buy(shop, "3", "A", 10_000, redeem=4, now=NOW + timedelta(days=20, minutes=1))
    assert lines(shop)[2:] == [("Fuel Ltd", "", 4, 400, 360, 0)]
    assert not list(broken(shop))


def test_what_was_settled_stays_when_companies_and_values_change(shop: Shop) -> None:
    buy(shop, "1", "F", 10_000)
    bought = buy(shop, "2", "K", 10_000, redeem=10)
    later = NOW + timedelta(days=10)
    others = [
        OUTLETS[0],
        {**OUTLETS[1], "partner": {"company": "Fuel and Co", "settlement_percent": "50"}},
        # G is closed, Books has a new owner, and a point pays half as much.
        {**OUTLETS[3], "partner": {"company": "Letters Ltd", "settlement_percent": "100"}},
    ]
    points = {"base_percent": 10, "point_value_minor": 50}
    section = shop.program.section.model_dump(mode="json", exclude_none=True)
    publish(shop, later, outlets=others, program={**section, "points": points})
    give(shop, bought, 4, later + timedelta(minutes=1))
    buy(shop, "3", "K", 10_000, redeem=4, now=later + timedelta(minutes=2))
    assert lines(shop) == [
        ("Fuel Ltd", "Books Ltd", 10, 1000, 900, 795),
        ("Fuel Ltd", "Books Ltd", -4, -400, -360, -318),
        ("Fuel and Co", "Letters Ltd", 4, 200, 100, 200),
    ]
    assert not list(broken(shop))
    # The first month stays as it was; the names of then are in the report beside those of now.
    december = report(shop, date(2026, 12, 1))
    assert [row.company for row in december.partners] == ["Books Ltd", "Fuel and Co", "Fuel Ltd", "Letters Ltd"]
    assert sum(row.balance_minor for row in december.partners) == -december.program_balance_minor
    assert report(shop).pairs == ((("Fuel Ltd", "Books Ltd"), lines_sum(shop, 0)),)


def lines_sum(shop: Shop, place: int) -> Amounts:
    return Amounts(*lines(shop)[place][2:])


def test_the_day_is_that_of_the_recording_where_the_points_were_honoured(engine: Engine) -> None:
    outlets = [OUTLETS[0], {**OUTLETS[1], "time_zone": "Pacific/Kiritimati"}]
    shop = open_shop(engine, points={"base_percent": 10}, outlets=outlets, challenges=[], **{"pass": {}})
    buy(shop, "1", "A", 10_000)
    evening = datetime(2026, 11, 30, 20, tzinfo=UTC)
    command = purchase(
        shop.card, "2", 10_000, outlet="F", redeem_points=5, occurred_at=datetime(2026, 11, 25, 12, tzinfo=UTC)
    )
    shop.record(command, now=evening)
    assert report(shop).pairs == ()
    assert len(report(shop, date(2026, 12, 31)).pairs) == 1


def test_settling_again_changes_nothing(shop: Shop) -> None:
    buy(shop, "1", "F", 10_000)
    bought = buy(shop, "2", "K", 10_000, redeem=10)
    with transaction(shop.engine, shop.program.id) as session:
        assert settle(session, shop.program, NOW, purchase_ids=[bought]) == 0
    assert len(lines(shop)) == 1


def test_a_program_without_partners_reads_nothing(engine: Engine) -> None:
    shop = open_shop(engine, points={"base_percent": 10})
    buy(shop, "1", "A", 10_000)
    with transaction(engine, shop.program.id) as session, heard(session) as said:
        assert settle(session, shop.program, NOW, purchase_ids=[new_id()], hold_ids=[new_id()]) == 0
    assert said == []


def test_the_lines_behind_a_report_name_their_postings(shop: Shop) -> None:
    buy(shop, "1", "F", 20_000)
    buy(shop, "2", "K", 10_000, redeem=5)
    buy(shop, "3", "A", 10_000, redeem=5)
    with reading(shop.engine, shop.program.id) as session:
        every, more = settlement_lines(session, shop.program, MONTH)
        books, _ = settlement_lines(session, shop.program, MONTH, company="Books Ltd")
        own, _ = settlement_lines(session, shop.program, MONTH, company="")
        nobody, _ = settlement_lines(session, shop.program, date(2026, 10, 5))
    assert ([row.reason for row in every], more) == (["Receipt 2", "Receipt 3"], False)
    assert [row.line.honourer for row in books] == ["Books Ltd"]
    assert [row.outlet_id for row in own] == [shop.program.outlet("A").id]
    assert nobody == []


@pytest.mark.parametrize(
    ("sql", "check"),
    [
        ("UPDATE settlement_line SET points = points + 1 WHERE points > 0", "S1"),
        ("UPDATE settlement_line SET issuer_owes_minor = issuer_owes_minor + 1 WHERE points > 0", "S1"),
        ("UPDATE settlement_line SET honourer = 'Fuel & Co' WHERE points > 0", "S1"),
        ("DELETE FROM settlement_line WHERE points > 0", "S1"),
        ("DELETE FROM settlement_line WHERE points < 0", "S1"),
        ("UPDATE settlement_line SET honourer_gets_minor = honourer_gets_minor - 1 WHERE points < 0", "S3"),
        ("UPDATE settlement_line SET points = -points WHERE points > 0", "S2"),
    ],
)
def test_a_line_that_was_changed_is_found(shop: Shop, sql: str, check: str) -> None:
    buy(shop, "1", "F", 10_000)
    give(shop, buy(shop, "2", "K", 10_000, redeem=10), 10)
    assert not list(broken(shop))
    corrupt(shop.engine, sql)
    assert check in set(broken(shop))


def test_a_coalition_has_exact_percents(shop: Shop) -> None:
    partner = shop.program.outlet("K").section.partner
    assert partner is not None
    assert partner.settlement_percent == Decimal("79.5")
    with reading(shop.engine, shop.program.id) as session:
        assert session.exec(select(Posting)).all() == []


def test_held_points_are_settled_when_they_pay(shop: Shop) -> None:
    buy(shop, "1", "F", 10_000)
    with transaction(shop.engine, shop.program.id) as session:
        command = PlaceHold(card_number=shop.card, outlet="A", points=10, expires_in_seconds=600)
        hold = place_hold(session, shop.program, command, now=NOW, actor="key:test")
    assert lines(shop) == []
    with transaction(shop.engine, shop.program.id) as session:
        capture_hold(session, shop.program, hold.id, points=8, now=NOW, actor="key:test", outlet="K")
    assert lines(shop) == [("Fuel Ltd", "Books Ltd", 8, 800, 720, 636)]
    assert not list(broken(shop))


def test_a_refund_at_the_till_takes_the_settlement_back(shop: Shop) -> None:
    buy(shop, "1", "F", 10_000)
    bought = buy(shop, "2", "K", 10_000, redeem=10)
    for part in (250, 750):
        with transaction(shop.engine, shop.program.id) as session:
            command = RefundPurchase(purchase_id=bought, refund_id=str(part), lines=((1, part),))
            refund_purchase(session, shop.program, command, now=NOW, recorded_by="key:test")
        assert not list(broken(shop))
    assert [sum(line[place] for line in lines(shop)) for place in (2, 3, 4, 5)] == [0, 0, 0, 0]
    assert lines(shop)[1] == ("Fuel Ltd", "Books Ltd", -2, -200, -180, -159)
