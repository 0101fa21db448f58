"""The ledger against its model: whatever happens in whatever order, both say the same, and no invariant breaks."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.services.ledger.model import FOREVER, Model, Refused
from tests.services.purchases.shop import Shop, open_shop
from wallet_server.db import ALL_PROGRAMS, new_id
from wallet_server.errors import DomainError
from wallet_server.ledger.adjustments import Adjust, adjust
from wallet_server.ledger.expiry import expire_due
from wallet_server.ledger.holds import PlaceHold, capture_hold, expire_holds, place_hold, release_hold
from wallet_server.ledger.invariants import CHECKS
from wallet_server.ledger.models import Lot
from wallet_server.ledger.postings import Movement, earn, redeem
from wallet_server.ledger.queries import balance
from wallet_server.ledger.returns import GivenBack, TakenBack, give_back, take_back
from wallet_server.ledger.services import post, release_pending

GRACE_DAYS = 2
LIMITS = {"manager": 1_000, "four_eyes_above": 1_000}
points = st.integers(1, 30)
days = st.sampled_from([1, 2, 3, 5])


class Ledger(RuleBasedStateMachine):
    """One member's story, in a transaction that is never committed: each example begins with nothing."""

    shop: Shop

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(
            self.shop.engine.execution_options(writes=True), expire_on_commit=False, info={"scope": ALL_PROGRAMS}
        )
        self.model = Model(GRACE_DAYS)
        self.names = 0
        self.sales: dict[int, UUID] = {}
        self.earned: dict[int, int] = {}
        self.holds: dict[int, UUID] = {}

    def teardown(self) -> None:
        self.session.rollback()
        self.session.close()

    @property
    def now(self) -> datetime:
        return NOW + timedelta(hours=self.model.now)

    def name(self) -> int:
        self.names += 1
        return self.names

    def move(self, *movements: Movement) -> None:
        post(self.session, self.shop.program.id, movements, self.now)

    def both(self, real: Any, modelled: Any) -> Any:
        """Do the same in both; they agree on what is refused too."""
        try:
            expected = modelled()
        except Refused:
            with pytest.raises(DomainError):
                real()
            return None
        found = real()
        return found, expected

    @initialize(lots=st.lists(st.tuples(points, st.none() | days), min_size=2, max_size=4))
    def begin(self, lots: list[tuple[int, int | None]]) -> None:
        """Lots of several dates: what takes from one of them only tells little."""
        for gain, expires in lots:
            self.buy(gain, 0, expires, None)

    @rule(gain=points, spend=st.integers(0, 60), expires=st.none() | days, pending=st.none() | days)
    def buy(self, gain: int, spend: int, expires: int | None, pending: int | None) -> None:
        sale, purchase_id = self.name(), new_id()
        spend = min(spend, self.model.spendable)
        member, facts = self.shop.member_id, {"reason": "sale", "occurred_at": self.now, "purchase_id": purchase_id}
        movements = [redeem(member, spend, **facts)] if spend else []
        hours = None if expires is None else 24 * expires
        movements.append(
            earn(
                member,
                gain,
                expires_at=None if hours is None else self.now + timedelta(hours=hours),
                spendable_at=self.now + timedelta(days=pending or 0),
                pending=pending is not None,
                **facts,
            )
        )
        self.move(*movements)
        if spend:
            self.model.redeem(spend, sale)
        until = FOREVER if hours is None else self.model.now + hours
        self.model.earn(self.name(), gain, expires=until, sale=sale, pending=24 * (pending or 0))
        self.sales[sale], self.earned[sale] = purchase_id, gain

    def quarters(self, number: int) -> int:
        """So many quarters of what can be spent; five are refused."""
        return max(1, number * self.model.spendable // 4)

    @rule(share=st.integers(1, 5))
    def redeem(self, share: int) -> None:
        spend = self.quarters(share)
        move = redeem(self.shop.member_id, spend, reason="paid", occurred_at=self.now)
        self.both(lambda: self.move(move), lambda: self.model.redeem(spend))

    @rule(amount=st.integers(-30, 30).filter(bool))
    def adjust(self, amount: int) -> None:
        command = Adjust(points=amount, reason="By hand", member_id=self.shop.member_id)
        values: dict[str, Any] = {"role": "manager", "actor": "staff:ana@example.com", "now": self.now}
        self.both(
            lambda: adjust(self.session, self.shop.program, command, **values),
            lambda: self.model.adjust(self.name(), amount),
        )

    @rule(share=st.integers(1, 5), hours=st.sampled_from([24, 72]))
    def hold(self, share: int, hours: int) -> None:
        name, amount = self.name(), self.quarters(share)
        command = PlaceHold(self.shop.card, "A", amount, 3600 * hours)
        done = self.both(
            lambda: place_hold(self.session, self.shop.program, command, now=self.now, actor="key:test"),
            lambda: self.model.hold(name, amount, hours),
        )
        if done is not None:
            self.holds[name] = done[0].id

    def some_hold(self, data: st.DataObject) -> int:
        """An open hold, or now and then one that was resolved before."""
        resolved = sorted(set(self.holds) - set(self.model.holds))[-1:]
        return data.draw(st.sampled_from(sorted(self.model.holds) + resolved))

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), part=st.none() | st.integers(0, 5))
    def capture(self, data: st.DataObject, part: int | None) -> None:
        name = self.some_hold(data)
        known = self.model.holds.get(name)
        held = known.points if known else 1
        amount = None if part is None else part * held // 4
        values: dict[str, Any] = {"points": amount, "now": self.now, "actor": "key:test"}
        self.both(
            lambda: capture_hold(self.session, self.shop.program, self.holds[name], **values),
            lambda: self.model.capture(name, held if amount is None else amount),
        )

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = self.some_hold(data)
        self.both(
            lambda: release_hold(self.session, self.shop.program, self.holds[name], now=self.now, actor="key:test"),
            lambda: self.model.release(name),
        )

    @precondition(lambda self: any(self.earned.values()))
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        sale = data.draw(st.sampled_from([sale for sale, left in self.earned.items() if left]))
        amount = data.draw(st.integers(1, self.earned[sale]))
        self.earned[sale] -= amount
        found = take_back(self.session, self.shop.program, self.shop.member_id, points=amount, **self.refund(sale))
        assert found == TakenBack(*self.model.take_back(sale, amount))

    @precondition(lambda self: any(self.model.paid.values()))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        sale = data.draw(st.sampled_from([sale for sale, left in self.model.paid.items() if left]))
        paid = sum(share for _lot, share in self.model.paid[sale])
        amount = data.draw(st.integers(1, min(paid, 8)))
        found = give_back(self.session, self.shop.program, self.shop.member_id, points=amount, **self.refund(sale))
        names = [self.name() for _lot in self.model.paid[sale]]
        assert found == GivenBack(*self.model.give_back(names, sale, amount))

    def refund(self, sale: int) -> dict[str, Any]:
        return {"purchase_id": self.sales[sale], "reason": "Refund", "occurred_at": self.now, "now": self.now}

    @rule(wait=days)
    def tick(self, wait: int) -> None:
        self.model.tick(24 * wait)
        for _twice in range(2):
            release_pending(self.session, self.now)
            expire_holds(self.session, self.now)
            expire_due(self.session, self.now)

    @invariant()
    def both_say_the_same(self) -> None:
        found = balance(self.session, self.shop.member_id)
        expected = self.model
        assert (found.spendable, found.pending, found.held, found.owed) == (
            expected.spendable,
            expected.pending,
            expected.held,
            expected.owed,
        )
        rows = self.session.exec(select(Lot.remaining, Lot.held, Lot.released).order_by(col(Lot.id))).all()
        lots = sorted(self.model.lots, key=lambda lot: lot.name)
        assert rows == [(lot.left, lot.held, lot.pending_until is None) for lot in lots]

    @invariant()
    def nothing_is_broken(self) -> None:
        assert [violation for check in CHECKS for violation in check(self.session)] == []


EXAMPLES = {"sqlite": (30, 25), "postgresql": (6, 20)}


def test_the_ledger_does_what_its_model_says(engine: Engine) -> None:
    shop = open_shop(engine, points={"refund_grace_days": GRACE_DAYS, "adjustments": LIMITS})
    examples, steps = EXAMPLES[engine.dialect.name]
    machine = type("LedgerOfShop", (Ledger,), {"shop": shop})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
