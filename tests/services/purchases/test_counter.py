"""Tills that come at the same moment are recorded together, and each gets what is its own."""

from __future__ import annotations

import json
import threading
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.factories import edited, program_file
from tests.postgres import wait_until_somebody_waits
from tests.services.purchases.shop import Shop, open_shop, purchase
from tests.services.purchases.test_concurrency import TILLS, assert_sound, at_once, purchases, statuses
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.errors import DomainError
from wallet_server.idempotency.services import Answer, Call, answer_each_once, refusal_document
from wallet_server.ledger.models import MemberBalance
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.keys import TillKey, TillKeys
from wallet_server.programs.services import apply_program, create_api_key, revoke_api_key
from wallet_server.purchases import counter as counter_module
from wallet_server.purchases.commands import RecordPurchase
from wallet_server.purchases.counter import BATCH_MAX, Counter, Turn
from wallet_server.purchases.models import Purchase
from wallet_server.purchases.services import Recorded, record_purchases


def open_counter(shop: Shop, places: int | None = None) -> Counter:
    return Counter(shop.engine, refusal=refusal_document, places=places)


def turn(shop: Shop, command: RecordPurchase, key: str, *, hash_of: str = "", by: str = "key:a") -> Turn:
    def body(done: Recorded) -> tuple[int, Mapping[str, Any]]:
        return 201, {"purchase_id": done.purchase_id, "spendable": done.balance.spendable}

    call = Call(shop.program.id, "till", key, f"hash of {hash_of or key}", NOW)
    return Turn(shop.program, call, command, by, body)


def till_key(shop: Shop) -> TillKey:
    with transaction(shop.engine, shop.program.id) as session:
        _row, secret = create_api_key(session, shop.program.id, now=NOW, actor="test")
    found = TillKeys(shop.engine).find(secret)
    assert found is not None
    return found


def asked(counter: Counter, *turns: Turn) -> list[Callable[[], Answer]]:
    return [lambda one=one: counter.record(one) for one in turns]  # type: ignore[misc]


class Gate:
    """Holds every batch until it is opened, and notes their sizes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.sizes = threading.Event(), []  # type: ignore[var-annotated]
        self.first = threading.Event()
        recorded = answer_each_once

        def held(engine: Engine, calls: Sequence[Call], *arguments: Any, **values: Any) -> Any:
            self.sizes.append(len(calls))
            self.first.set()
            assert self.opened.wait(30)
            return recorded(engine, calls, *arguments, **values)

        monkeypatch.setattr(counter_module, "answer_each_once", held)


def queue_behind(counter: Counter, gate: Gate, turns: Sequence[Turn]) -> list[Any]:
    """The first is being served when all others come."""
    results: dict[int, Any] = {}

    def run(place: int) -> None:
        try:
            results[place] = counter.record(turns[place])
        except Exception as error:  # noqa: BLE001 - a result like any other
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(turns))]
    threads[0].start()
    assert gate.first.wait(30)
    for waiting, thread in enumerate(threads[1:], start=1):
        thread.start()
        with counter._came:
            assert counter._came.wait_for(lambda expected=waiting: len(counter._queue) == expected, 30)  # type: ignore[misc]
    gate.opened.set()
    for thread in threads:
        thread.join(60)
    return [results[place] for place in range(len(turns))]


def test_who_comes_while_another_is_served_goes_together(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = open_shop(engine, members=TILLS)
    gate = Gate(monkeypatch)
    turns = [
        turn(shop, purchase(one.card_number, f"A-{n}"), f"key-{n}", by=f"key:{n}") for n, one in enumerate(shop.members)
    ]
    results = queue_behind(open_counter(shop, places=1), gate, turns)
    assert gate.sizes == [1, TILLS - 1]
    assert statuses(results) == {"recorded": TILLS}
    assert all(json.loads(result.body_text)["spendable"] == 3 for result in results)
    with engine.connect() as connection:
        actors = connection.execute(sa.select(Purchase.recorded_by)).scalars()  # type: ignore[call-overload]
        assert set(actors) == {f"key:{n}" for n in range(TILLS)}
    assert_sound(engine)


def test_a_refused_till_does_not_touch_the_others(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = open_shop(engine, members=8)
    cards = [one.card_number for one in shop.members]
    commands = [
        purchase(cards[0], "A-0"),
        purchase(cards[1], "A-1"),
        purchase("0000000000000000", "A-2"),
        purchase(cards[3], "A-3", redeem_points=5),
        purchase(cards[4], "A-1"),
        purchase(cards[5], "A-5", outlet="nowhere"),
        purchase(cards[6], "", 30_000),
        purchase(cards[7], "A-7"),
    ]
    turns = [turn(shop, command, f"key-{n}") for n, command in enumerate(commands)]
    gate = Gate(monkeypatch)
    counter = open_counter(shop, places=1)
    results = queue_behind(counter, gate, turns)
    assert gate.sizes == [1, 7]
    assert statuses(results) == {
        "recorded": 3,
        "unknown_card": 1,
        "insufficient_points": 1,
        "duplicate_receipt": 1,
        "unknown_outlet": 1,
        "validation": 1,
    }
    assert isinstance(results[6], DomainError), "what is malformed is not kept"
    assert json.loads(results[3].body_text)["retry"] == "new_key"
    again = [counter.record(one) for place, one in enumerate(turns) if place != 6]
    first = [result for place, result in enumerate(results) if place != 6]
    assert [answer.body_text for answer in again] == [answer.body_text for answer in first]
    assert all(answer.replayed for answer in again)
    assert purchases(engine) == 3
    assert_sound(engine)


def test_one_card_or_key_is_served_once_in_a_batch(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = open_shop(engine, members=3)
    cards = [one.card_number for one in shop.members]
    gate = Gate(monkeypatch)
    turns = [
        turn(shop, purchase(cards[0], "A-0"), "a"),
        turn(shop, purchase(cards[1], "A-1"), "b"),
        turn(shop, purchase(cards[1], "A-2"), "c"),  # the same card
        turn(shop, purchase(cards[2], "A-1"), "b", hash_of="another"),  # the same key for something else
        turn(shop, purchase(cards[2], "A-3"), "d"),
    ]
    results = queue_behind(open_counter(shop, places=1), gate, turns)
    assert gate.sizes == [1, 2, 2]
    assert [json.loads(results[place].body_text)["spendable"] for place in (0, 1, 2, 4)] == [3, 3, 6, 3]
    assert isinstance(results[3], DomainError)
    assert results[3].code == "idempotency_mismatch"
    assert_sound(engine)


def test_a_batch_that_fails_is_done_one_by_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = open_shop(engine, members=5)
    gate = Gate(monkeypatch)
    recorded = record_purchases

    def failing(session: Any, program: Any, commands: Sequence[RecordPurchase], **values: Any) -> Any:
        done = recorded(session, program, commands, **values)
        if any(command.receipt_id == "A-3" for command in commands):
            raise ZeroDivisionError("a mistake of ours")
        return done

    monkeypatch.setattr(counter_module, "record_purchases", failing)
    turns = [turn(shop, purchase(one.card_number, f"A-{n}"), f"key-{n}") for n, one in enumerate(shop.members)]
    counter = open_counter(shop, places=1)
    results = queue_behind(counter, gate, turns)
    assert gate.sizes == [1, 4, 1, 1, 1, 1]
    assert Tally(type(result) for result in results) == {Answer: 4, ZeroDivisionError: 1}
    assert purchases(engine) == 4
    monkeypatch.setattr(counter_module, "record_purchases", recorded)
    assert not counter.record(turns[3]).replayed, "a mistake of ours is not kept"
    assert_sound(engine)


def test_a_till_alone_is_served_at_once_and_the_counter_is_free_after_a_mistake(engine: Engine) -> None:
    shop = open_shop(engine)
    counter = open_counter(shop)
    assert counter.record(turn(shop, purchase(shop.card, "A-1"), "a")).status == 201
    with pytest.raises(DomainError, match="idempotency key"):
        counter.record(turn(shop, purchase(shop.card, "A-2"), "not a key"))
    assert counter.record(turn(shop, purchase(shop.card, "A-2"), "b")).status == 201
    assert (counter._serving, counter._queue, counter._expected) == (0, [], 1)


def test_more_tills_than_a_batch_holds(engine: Engine) -> None:
    count = BATCH_MAX * 2 + 5
    shop = open_shop(engine, members=count)
    counter = open_counter(shop)
    turns = [turn(shop, purchase(one.card_number, f"A-{n}"), f"key-{n}") for n, one in enumerate(shop.members)]
    assert statuses(at_once(asked(counter, *turns))) == {"recorded": count}
    assert purchases(engine) == count
    assert_sound(engine)


def test_a_till_gives_up_after_a_while_and_blocks_nobody(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(sqlite_engine, members=3)
    gate = Gate(monkeypatch)
    counter = open_counter(shop, places=1)
    first = threading.Thread(
        target=counter.record, args=(turn(shop, purchase(shop.members[0].card_number, "A-0"), "a"),)
    )
    first.start()
    assert gate.first.wait(30)
    monkeypatch.setattr(counter_module, "WAIT_SECONDS_MAX", 0.01)
    with pytest.raises(DomainError) as refused:
        counter.record(turn(shop, purchase(shop.members[1].card_number, "A-1"), "b"))
    assert (refused.value.code, refused.value.status) == ("busy", 503)
    gate.opened.set()
    first.join(30)
    assert counter.record(turn(shop, purchase(shop.members[1].card_number, "A-1"), "b")).status == 201
    assert purchases(sqlite_engine) == 2


def test_nobody_stands_behind_a_batch_that_is_held_up(
    postgresql_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(postgresql_engine, members=3)
    counter = open_counter(shop)
    locked, free, later = (
        turn(shop, purchase(one.card_number, f"A-{n}"), f"key-{n}") for n, one in enumerate(shop.members)
    )
    monkeypatch.setattr(counter_module, "PATIENCE_SECONDS", 0.05)
    with transaction(shop.engine, shop.program.id) as session, ThreadPoolExecutor(1) as pool:
        session.exec(
            select(MemberBalance).where(MemberBalance.member_id == shop.members[0].member_id).with_for_update()
        ).one()
        waits = pool.submit(counter.record, locked)
        wait_until_somebody_waits(shop.engine)
        for one in (free, later):
            assert counter.record(one).status == 201
        assert not waits.done()
        session.commit()
        assert waits.result(30).status == 201
    assert_sound(shop.engine)


def test_a_till_whose_key_has_changed_meanwhile_is_turned_away_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(engine, members=4)
    found = [till_key(shop) for _member in shop.members]
    turns = [
        replace(turn(shop, purchase(one.card_number, f"A-{n}"), f"key-{n}"), till_key=found[n])
        for n, one in enumerate(shop.members)
    ]
    counter = open_counter(shop, places=1)
    assert counter.record(turns[1]).status == 201
    with transaction(engine, shop.program.id) as session:
        revoke_api_key(session, shop.program.id, found[1].id, now=NOW, actor="test")
        revoke_api_key(session, shop.program.id, found[2].id, now=NOW, actor="test")
    gate = Gate(monkeypatch)
    results = queue_behind(counter, gate, turns)
    assert gate.sizes == [1, 3]
    assert statuses(results) == {"recorded": 2, "busy": 2}
    assert [type(results[place]) for place in (1, 2)] == [DomainError, DomainError], "neither anew nor again"
    assert purchases(engine) == 3
    doubled = edited(program_file(), "program.points.base_percent", 2)
    with transaction(engine, ALL_PROGRAMS) as session:
        apply_program(session, ProgramFile.model_validate(doubled), now=NOW, actor="test")
    late = turn(shop, purchase(shop.members[0].card_number, "A-9"), "late")
    with pytest.raises(DomainError, match="changed"):
        counter.record(replace(late, till_key=found[0]))
    assert_sound(engine)
