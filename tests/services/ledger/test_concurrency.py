"""Sixteen tills at once on one balance: each point is set aside, used and freed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.services.ledger.till import Till, assert_sound
from tests.services.purchases.shop import open_shop
from tests.services.purchases.test_concurrency import TILLS, at_once
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.ledger.adjustments import Adjust, adjust, decide
from wallet_server.ledger.holds import HoldState
from wallet_server.ledger.models import Hold
from wallet_server.purchases.clockwork import expire_due_points, run_due_zeroing

LATER = NOW + timedelta(minutes=15)


@pytest.fixture
def till(engine: Engine) -> Till:
    points = {"zeroing": [{"name": "Monthly", "day": 28}], "adjustments": {"four_eyes_above": 10}}
    return Till(open_shop(engine, points=points))


def counted(results: list[Any]) -> Counter[str]:
    return Counter(result.code if isinstance(result, DomainError) else "done" for result in results)


def states(till: Till) -> Counter[str]:
    with reading(till.shop.engine, till.shop.program.id) as session:
        return Counter(session.exec(select(Hold.state)).all())


def test_sixteen_tills_hold_one_balance(till: Till) -> None:
    till.earn(100)
    results = at_once([lambda: till.hold(30) for _till in range(TILLS)])
    assert counted(results) == {"done": 3, "insufficient_points": TILLS - 3}
    assert till.accounts() == (10, 0, 90, 0)
    assert_sound(till.shop.engine)


def test_a_hold_is_captured_by_one_of_sixteen(till: Till) -> None:
    till.earn(100)
    hold = till.hold(30)
    results = at_once([lambda: till.capture(hold.id) for _till in range(TILLS)])
    assert counted(results) == {"done": 1, "hold_captured": TILLS - 1}
    assert till.accounts() == (70, 0, 0, 0)
    assert_sound(till.shop.engine)


def test_captures_and_the_clock_race_for_holds(till: Till) -> None:
    till.earn(16)
    holds = [till.hold(2) for _hold in range(TILLS // 2)]
    before = LATER - timedelta(seconds=1)

    def captured(hold: HoldState) -> Callable[[], Any]:
        return lambda: till.capture(hold.id, now=before)

    results = at_once([*(captured(hold) for hold in holds), *([lambda: till.expire_holds(LATER)] * (TILLS // 2))])
    tills = counted(results[: len(holds)])
    assert set(tills) <= {"done", "hold_expired"}
    found = states(till)
    assert found["captured"] == tills["done"]
    assert found["captured"] + found["expired"] == len(holds)
    assert till.accounts() == (2 * found["expired"], 0, 0, 0)
    assert_sound(till.shop.engine)


def test_holds_and_payments_and_expiry_of_one_balance(till: Till) -> None:
    till.earn(50, expires_at=LATER)
    till.earn(50)

    def expire() -> int:
        with transaction(till.shop.engine, ALL_PROGRAMS) as session:
            return expire_due_points(session, LATER)

    calls: list[Callable[[], Any]] = []
    for _each in range(TILLS // 4):
        calls += [lambda: till.hold(20), lambda: till.pay(20), lambda: till.earn(1), expire]
    results = at_once(calls)
    assert set(counted(results)) <= {"done", "insufficient_points"}
    assert_sound(till.shop.engine)


def test_a_zeroing_runs_once_in_sixteen_processes(till: Till) -> None:
    till.earn(100)
    due = NOW + timedelta(days=30)

    def run() -> bool:
        with transaction(till.shop.engine, ALL_PROGRAMS) as session:
            return run_due_zeroing(session, due)

    assert sum(at_once([run] * TILLS)) == 1
    assert till.accounts() == (0, 0, 0, 0)
    assert_sound(till.shop.engine)


def test_an_adjustment_is_decided_once(till: Till) -> None:
    shop = till.shop
    with transaction(shop.engine, shop.program.id) as session:
        command = Adjust(points=100, reason="Broken scanner", member_id=shop.member_id)
        asked = adjust(session, shop.program, command, role="manager", actor="staff:ana@example.com", now=NOW)

    def answer(number: int) -> Callable[[], Any]:
        def run() -> Any:
            actor = f"staff:person{number}@example.org"
            with transaction(shop.engine, shop.program.id) as session:
                return decide(
                    session,
                    shop.program,
                    asked.adjustment_id,
                    approve=number % 2 == 0,
                    role="manager",
                    actor=actor,
                    now=NOW,
                )

        return run

    results = at_once([answer(number) for number in range(TILLS)])
    assert counted(results) == {"done": 1, "adjustment_decided": TILLS - 1}
    assert till.accounts()[0] in (0, 100)
    assert_sound(shop.engine)
