"""Each key is answered once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from tests.conftest import NOW
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.idempotency.models import IdempotencyKey
from wallet_server.idempotency.services import Answer, answer_once, is_key, prune, request_hash
from wallet_server.programs.models import Category, Program


@pytest.fixture
def program_id(engine: Engine) -> UUID:
    with transaction(engine, ALL_PROGRAMS) as session:
        program = Program(slug="one", version=1, created_at=NOW, updated_at=NOW)
        session.add(program)
    return program.id


class Till:
    """A client whose requests add a category each time that they really run."""

    def __init__(self, engine: Engine, program_id: UUID) -> None:
        self.engine, self.program_id, self.runs = engine, program_id, 0

    def ask(self, key: str = "k", question: str = "q", refusal: Exception | None = None, client: str = "c") -> Answer:
        def work(session: Session) -> tuple[int, Mapping[str, Any]]:
            self.runs += 1
            session.add(Category(program_id=self.program_id, code=f"effect {self.runs}", name={"en": "x"}))
            session.flush()
            if refusal is not None:
                raise refusal
            return 201, {"b": self.runs, "a": "ж"}

        return answer_once(self.engine, self.program_id, client, key, request_hash(question), work, NOW)

    def effects(self) -> int:
        with reading(self.engine, ALL_PROGRAMS) as session:
            return session.exec(select(sa.func.count()).select_from(Category)).one()

    def keys(self) -> int:
        with reading(self.engine, ALL_PROGRAMS) as session:
            return session.exec(select(sa.func.count()).select_from(IdempotencyKey)).one()


@pytest.fixture
def till(engine: Engine, program_id: UUID) -> Till:
    return Till(engine, program_id)


def test_the_second_answer_is_the_first_byte_for_byte(till: Till) -> None:
    first, second = till.ask(), till.ask()
    assert first == Answer(201, '{"a":"ж","b":1}', replayed=False)
    assert second == Answer(201, first.body_text, replayed=True)
    assert (till.runs, till.effects()) == (1, 1)


def test_keys_belong_to_a_client(till: Till) -> None:
    till.ask()
    assert not till.ask(client="other").replayed
    assert till.effects() == 2


def test_the_same_key_for_another_request_is_refused(till: Till) -> None:
    till.ask()
    with pytest.raises(DomainError) as refusal:
        till.ask(question="other")
    assert (refusal.value.code, refusal.value.status) == ("idempotency_mismatch", 422)
    assert till.effects() == 1


def test_a_refusal_is_kept_without_its_effect_and_repeated(till: Till) -> None:
    refused = till.ask(refusal=DomainError("insufficient_points", "no", status=409, spendable=3))
    assert refused.status == 409
    assert refused.body_text == (
        '{"code":"insufficient_points","detail":"no","retry":"new_key","spendable":3,"status":409}'
    )
    again = till.ask()
    assert again == Answer(409, refused.body_text, replayed=True)
    assert (till.runs, till.effects(), till.keys()) == (1, 0, 1)


@pytest.mark.parametrize(
    "error",
    [
        DomainError("validation", "bad"),
        DomainError("rate_limited", "slow", status=429),
        DomainError("busy", "later", status=503),
        RuntimeError("a bug"),
    ],
)
def test_what_the_caller_may_correct_or_repeat_leaves_the_key_free(till: Till, error: Exception) -> None:
    with pytest.raises(type(error)):
        till.ask(refusal=error)
    assert (till.effects(), till.keys()) == (0, 0)
    assert till.ask().status == 201


@pytest.mark.parametrize("key", ["", "a" * 256, "with space", "ключ", "new\nline"])
def test_a_key_of_the_wrong_form_is_refused(till: Till, key: str) -> None:
    assert not is_key(key)
    with pytest.raises(DomainError) as refusal:
        till.ask(key=key)
    assert refusal.value.code == "validation"
    assert till.runs == 0


def test_the_longest_key_is_taken(till: Till) -> None:
    assert till.ask(key="~" * 255).status == 201


def test_a_running_twin_is_not_waited_for_on_postgresql(till: Till, engine: Engine) -> None:
    started, go_on = threading.Event(), threading.Event()
    results: list[Answer] = []

    def slow(session: Session) -> tuple[int, dict[str, Any]]:
        started.set()
        assert go_on.wait(20)
        return 201, {}

    def run() -> None:
        results.append(answer_once(engine, till.program_id, "c", "k", request_hash("q"), slow, NOW))

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(20)
    if engine.dialect.name == "postgresql":
        with pytest.raises(DomainError) as refusal:
            till.ask()
        assert (refusal.value.code, refusal.value.status) == ("idempotency_in_progress", 409)
        assert refusal.value.extra["retry_after"] == 1
        assert till.ask(key="another").status == 201
    go_on.set()
    thread.join(20)
    assert till.ask() == Answer(201, results[0].body_text, replayed=True)


def test_old_keys_are_forgotten(till: Till, engine: Engine) -> None:
    till.ask()
    with transaction(engine, ALL_PROGRAMS) as session:
        assert prune(session, NOW - timedelta(days=90)) == 0
        session.execute(sa.update(IdempotencyKey).values(created_at=NOW - timedelta(days=91)))
        assert prune(session, NOW - timedelta(days=90)) == 1
    assert not till.ask().replayed


def test_the_parts_of_a_request_are_kept_apart() -> None:
    assert request_hash("ab", "c") != request_hash("a", "bc")
    assert request_hash("ab", b"c") == request_hash(b"ab", "c")


def test_the_database_keeps_one_answer_per_key(till: Till, engine: Engine) -> None:
    till.ask()
    with reading(engine, ALL_PROGRAMS) as session:
        row = session.exec(select(IdempotencyKey).where(col(IdempotencyKey.key) == "k")).one()
        twin = {**row.model_dump(), "id": new_id()}
    with transaction(engine, ALL_PROGRAMS) as session, pytest.raises(sa.exc.IntegrityError):
        session.execute(sa.insert(IdempotencyKey), [twin])
    assert till.keys() == 1
