"""Own coefficients of members."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.purchases.shop import Shop, open_shop
from wallet_server.db import reading, transaction
from wallet_server.errors import DomainError
from wallet_server.members.coefficients import Coefficient, coefficients_of_members, set_coefficient
from wallet_server.members.models import Card
from wallet_server.staff.models import AuditRecord

LATER = NOW + timedelta(days=3)


def put(shop: Shop, percent: str | None = "5", *, card: str | None = None, **values: Any) -> tuple[Coefficient, ...]:
    given = {"outlet": None, "ends_at": None, "redeem_max_percent": None, **values}
    with transaction(shop.engine, shop.program.id) as session:
        return set_coefficient(
            session,
            shop.program,
            card or shop.card,
            percent=None if percent is None else Decimal(percent),
            actor="key:test",
            now=NOW,
            **given,
        )


def stored(shop: Shop) -> tuple[Coefficient, ...]:
    with reading(shop.engine, shop.program.id) as session:
        return coefficients_of_members(session, [shop.member_id]).get(shop.member_id, ())


def noted(shop: Shop) -> list[tuple[str, dict[str, Any]]]:
    with reading(shop.engine, shop.program.id) as session:
        rows = session.exec(select(AuditRecord).where(col(AuditRecord.action).startswith("coefficient")))
        return [(row.action, row.detail) for row in sorted(rows, key=lambda row: row.id)]


def test_one_percent_for_the_network_and_one_for_each_outlet(engine: Engine) -> None:
    shop = open_shop(engine)
    assert stored(shop) == ()
    put(shop, "8", outlet="B", ends_at=LATER)
    found = put(shop, "5.50", redeem_max_percent=Decimal(0))
    assert (
        found
        == stored(shop)
        == (
            Coefficient(Decimal("5.5"), None, None, Decimal(0)),
            Coefficient(Decimal(8), "B", LATER, None),
        )
    )
    assert put(shop, "6")[0] == Coefficient(Decimal(6))
    assert [action for action, _detail in noted(shop)] == ["coefficient.set"] * 3
    assert noted(shop)[1][1] == {"percent": "5.5", "outlet": None, "ends_at": None, "redeem_max_percent": "0"}


def test_setting_what_is_set_is_not_noted(engine: Engine) -> None:
    shop = open_shop(engine)
    for ends_at in (LATER, LATER.astimezone(UTC), datetime.fromisoformat("2026-11-26T16:30:00+01:00")):
        put(shop, "5.0", ends_at=ends_at)
    assert len(noted(shop)) == 1


@pytest.mark.parametrize("percent", [None, "0", "0.00"])
def test_no_percent_removes_the_one_of_that_place(engine: Engine, percent: str | None) -> None:
    shop = open_shop(engine)
    put(shop)
    put(shop, "8", outlet="A")
    assert put(shop, percent, outlet="A") == stored(shop) == (Coefficient(Decimal(5)),)
    put(shop, percent, outlet="B")
    assert [action for action, _detail in noted(shop)] == ["coefficient.set", "coefficient.set", "coefficient.removed"]


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"percent": "-1"}, "validation", "percent"),
        ({"percent": "1000.1"}, "validation", "percent"),
        ({"percent": "1.00000001"}, "validation", "percent"),
        ({"percent": f"1.{'0' * 40}1"}, "validation", "percent"),
        ({"percent": "1e-9"}, "validation", "percent"),
        ({"percent": "NaN"}, "validation", "percent"),
        ({"redeem_max_percent": Decimal(101)}, "validation", "redeem_max_percent"),
        ({"percent": None, "redeem_max_percent": Decimal(10)}, "validation", "redeem_max_percent"),
        ({"percent": "0", "ends_at": LATER}, "validation", "ends_at"),
        ({"ends_at": NOW}, "validation", "ends_at"),
        ({"outlet": "Z"}, "unknown_outlet", None),
        ({"card": "1"}, "unknown_card", None),
    ],
)
def test_a_wrong_coefficient_is_refused(
    sqlite_engine: Engine, values: dict[str, Any], code: str, field: str | None
) -> None:
    shop = open_shop(sqlite_engine)
    with pytest.raises(DomainError) as refusal:
        put(shop, **values)
    assert refusal.value.code == code
    assert [error["field"] for error in refusal.value.extra.get("errors", ())] == ([field] if field else [])
    assert (stored(shop), noted(shop)) == ((), [])


def test_a_share_of_nothing_is_refused(sqlite_engine: Engine) -> None:
    shop = open_shop(sqlite_engine, points={"base_percent": 0})
    with pytest.raises(DomainError, match="base_percent is 0"):
        put(shop)


def test_blocked_cards_and_those_of_other_programs(engine: Engine) -> None:
    shop = open_shop(engine)
    other = open_shop(engine, program={**program_file()["program"], "slug": "other"})
    with pytest.raises(DomainError) as refusal:
        put(shop, card=other.card)
    assert refusal.value.code == "unknown_card"
    with transaction(engine, shop.program.id) as session:
        card = session.exec(select(Card).where(Card.number == shop.card)).one()
        card.blocked_at = NOW
        session.add(card)
    with pytest.raises(DomainError) as refusal:
        put(shop)
    assert refusal.value.code == "card_blocked"
