"""Many tills at once: no point is spent twice, no receipt and no key has its effect twice."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.errors import DomainError
from wallet_server.idempotency.services import Answer, answer_once
from wallet_server.ledger.invariants import CHECKS as LEDGER_CHECKS
from wallet_server.purchases.commands import RecordPurchase
from wallet_server.purchases.invariants import CHECKS as PURCHASE_CHECKS
from wallet_server.purchases.models import Purchase
from wallet_server.purchases.services import record_purchase

TILLS = 16


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Run the calls in as many threads, let go together; a refusal is a result."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        gate.wait(30)
        try:
            return call()
        except DomainError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def till(shop: Shop, command: RecordPurchase, key: str) -> Callable[[], Answer]:
    def work(session: Session) -> tuple[int, dict[str, Any]]:
        done = record_purchase(session, shop.program, command, now=NOW, source="till", recorded_by="key:test")
        return 201, {"purchase_id": done.purchase_id, "redeemed": done.quote.points_redeemed}

    return lambda: answer_once(shop.engine, shop.program.id, "key", key, f"hash of {key}", work, NOW)


def statuses(results: list[Any]) -> Counter[str]:
    return Counter(
        result.code if isinstance(result, DomainError) else json.loads(result.body_text).get("code", "recorded")
        for result in results
    )


def assert_sound(engine: Engine) -> None:
    with reading(engine, ALL_PROGRAMS) as session:
        assert [violation for check in (*LEDGER_CHECKS, *PURCHASE_CHECKS) for violation in check(session)] == []


def purchases(engine: Engine) -> int:
    with reading(engine, ALL_PROGRAMS) as session:
        return session.exec(select(sa.func.count()).select_from(Purchase)).one()


def test_sixteen_tills_redeem_one_balance(engine: Engine) -> None:
    shop = open_shop(engine)
    shop.record(purchase(shop.card, "start", 1_000_000))
    assert shop.balance().spendable == 100
    results = at_once(
        [till(shop, purchase(shop.card, f"A-{n}", 3000, redeem_points=30), f"key-{n}") for n in range(TILLS)]
    )
    assert statuses(results) == {"recorded": 3, "insufficient_points": TILLS - 3}
    assert shop.balance().spendable == 10
    assert purchases(engine) == 4
    assert_sound(engine)


def test_a_storm_of_one_key_has_one_effect(engine: Engine) -> None:
    shop = open_shop(engine)
    results = at_once([till(shop, purchase(shop.card, "A-1"), "same") for _till in range(TILLS)])
    answered = [result for result in results if isinstance(result, Answer)]
    assert len({result.body_text for result in answered}) == 1
    assert sum(not result.replayed for result in answered) == 1
    assert set(statuses(results)) <= {"recorded", "idempotency_in_progress"}
    assert purchases(engine) == 1
    assert shop.balance().spendable == 3
    assert_sound(engine)


def test_a_storm_of_new_keys_for_one_receipt_has_one_effect(engine: Engine) -> None:
    shop = open_shop(engine, members=2)
    other = shop.members[1].card_number
    # Half of the tills have scanned another card: their locks do not meet, only the receipt's own key does.
    cards = [shop.card, other] * (TILLS // 2)
    results = at_once([till(shop, purchase(card, "A-1"), f"key-{n}") for n, card in enumerate(cards)])
    assert statuses(results) == {"recorded": 1, "duplicate_receipt": TILLS - 1}
    bodies = [json.loads(result.body_text) for result in results]
    assert len({UUID(body["purchase_id"]) for body in bodies}) == 1
    assert purchases(engine) == 1
    assert_sound(engine)


def test_two_imports_of_the_same_receipts_record_each_once(engine: Engine) -> None:
    shop = open_shop(engine, members=4)
    batch = [purchase(shop.members[n % 4].card_number, f"A-{n}") for n in range(60)]
    results = at_once(
        [lambda: shop.try_to_record(batch), lambda: shop.try_to_record(batch), lambda: shop.try_to_record(batch[::-1])]
    )
    flat = [result for part in results if isinstance(part, list) for result in part]
    assert sum(not isinstance(result, DomainError) for result in flat) == 60
    assert {result.code for result in flat if isinstance(result, DomainError)} == {"duplicate_receipt"}
    assert purchases(engine) == 60
    assert_sound(engine)
