"""Receipts that come late are computed with the rules of their moment; so are refunds of theirs."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.members.coefficients import set_coefficient
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.queries import purchase_by_id, trace_of_purchase
from wallet_server.purchases.services import quote_purchase
from wallet_server.verification import CHECKS

DAY = timedelta(days=1)


def publish(shop: Shop, now: datetime, points: dict[str, Any] | None = None, **sections: Any) -> None:
    file = program_file(**sections)
    file["program"] = {**file["program"], "points": {"base_percent": 1, **(points or {})}}
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        apply_program(session, ProgramFile.model_validate(file), now=now, actor="test")
        shop.program = load_program(session, program_id=shop.program.id)


def version_of(shop: Shop, recorded: Any) -> int:
    with reading(shop.engine, shop.program.id) as session:
        return purchase_by_id(session, recorded.purchase_id).program_version


def test_each_receipt_has_the_version_of_its_moment(engine: Engine) -> None:
    shop = open_shop(engine)
    publish(shop, NOW + DAY, {"base_percent": 2, "pending_days": 5})
    publish(shop, NOW + 2 * DAY, {"base_percent": 3})
    later = NOW + 3 * DAY
    moments = [NOW - DAY, NOW + DAY - timedelta(seconds=1), NOW + DAY, NOW + 2 * DAY, later]
    done = shop.record(
        *(purchase(shop.card, f"A-{n}", 100_000, occurred_at=moment) for n, moment in enumerate(moments)), now=later
    )
    assert [one.quote.points_earned for one in done] == [10, 10, 20, 30, 30]
    assert [version_of(shop, one) for one in done] == [1, 1, 2, 3, 3]
    # Points of the second version are pending, as it said.
    assert (done[0].balance.spendable, done[0].balance.pending) == (80, 20)
    with reading(engine, shop.program.id) as session:
        quoted = quote_purchase(session, shop.program, purchase(shop.card, "", 100_000, occurred_at=moments[2]), later)
    assert quoted.quote.points_earned == 20
    # A refund works with the purchase's own version.
    assert shop.refund(done[2].purchase_id, "R-1", (1, 500), now=later).points_taken_back == 10
    with reading(engine, ALL_PROGRAMS) as session:
        assert [violation for check in CHECKS for violation in check(session)] == []


def test_an_import_brings_its_past_under_todays_rules(engine: Engine) -> None:
    shop = open_shop(engine)
    publish(shop, NOW + DAY, {"base_percent": 2})
    [done] = shop.record(purchase(shop.card, "A-1", 100_000), now=NOW + 2 * DAY, source="import")
    assert (done.quote.points_earned, version_of(shop, done)) == (20, 2)


def test_an_outlet_may_have_opened_or_closed_since(engine: Engine) -> None:
    shop = open_shop(engine)
    outlets = [program_file()["outlets"][0], {"code": "C", "name": "Restaurant C"}]
    publish(shop, NOW + DAY, outlets=outlets)
    later = NOW + 2 * DAY
    closed, opened = shop.record(
        purchase(shop.card, "B-1", occurred_at=NOW, outlet="B"),
        purchase(shop.card, "C-1", occurred_at=NOW, outlet="C"),
        now=later,
    )
    assert (version_of(shop, closed), version_of(shop, opened)) == (1, 2)
    with pytest.raises(DomainError) as refusal:
        shop.record(purchase(shop.card, "B-2", occurred_at=later, outlet="B"), now=later)
    assert refusal.value.code == "unknown_outlet"
    assert shop.refund(closed.purchase_id, "R-1", now=later).points_taken_back == 3


def test_the_definition_in_force_at_a_moment(engine: Engine) -> None:
    shop = open_shop(engine)
    publish(shop, NOW + DAY, {"base_percent": 2})
    with reading(engine, ALL_PROGRAMS) as session:
        at = [
            load_program(session, slug="cafe-ohrid", at=moment).version
            for moment in (NOW - 400 * DAY, NOW, NOW + DAY - timedelta(seconds=1), NOW + DAY, NOW + 9 * DAY)
        ]
        assert at == [1, 1, 1, 2, 2]
        assert load_program(session, slug="cafe-ohrid", number=1).points.base_percent == 1
        assert load_program(session, slug="cafe-ohrid").published_at == NOW + DAY
        with pytest.raises(DomainError):
            load_program(session, slug="cafe-ohrid", number=3)


def test_own_percents_reach_the_receipt_and_its_refund(engine: Engine) -> None:
    shop = open_shop(engine)

    def own(percent: str | None, outlet: str | None = None) -> None:
        with transaction(engine, shop.program.id) as session:
            set_coefficient(
                session,
                shop.program,
                shop.card,
                percent=None if percent is None else Decimal(percent),
                outlet=outlet,
                ends_at=NOW + 9 * DAY if percent and outlet else None,
                redeem_max_percent=None,
                actor="test",
                now=NOW,
            )

    own("5")
    own("8", "B")
    here, there = shop.record(
        purchase(shop.card, "A-1", 50_000, 50_000), purchase(shop.card, "B-1", 50_000, 50_000, outlet="B")
    )
    assert (here.quote.points_earned, there.quote.points_earned) == (50, 80)
    with reading(engine, shop.program.id) as session:
        trace = trace_of_purchase(session, there.purchase_id)
    assert trace is not None
    assert trace.trace["facts"]["own"] == [
        {"percent": "5"},
        {"percent": "8", "outlet": "B", "ends_at": (NOW + 9 * DAY).isoformat()},
    ]
    own(None)
    own(None, "B")
    assert shop.refund(there.purchase_id, "R-1", (1, 1000)).points_taken_back == 40
