"""Storms: many tills at the same moment with one balance, and with one key."""

from __future__ import annotations

import json
import threading
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Engine

from tests.benchmarks.market import Market, new_postgres, open_market
from tests.postgres import postgres_server
from wallet_server.db import ALL_PROGRAMS, create_engine, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.idempotency.services import Answer, Call, refusal_document
from wallet_server.ledger.invariants import CHECKS as LEDGER_CHECKS
from wallet_server.ledger.postings import earn
from wallet_server.ledger.queries import balances
from wallet_server.ledger.services import post
from wallet_server.members.queries import member_of_card
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.purchases.counter import Counter, Turn
from wallet_server.purchases.invariants import CHECKS as PURCHASE_CHECKS
from wallet_server.purchases.services import Recorded
from wallet_server.rules.receipt import RedeemPoints

TILLS = 64
COUNTERS = 2
"""As many web processes would have: what meets at one counter could never meet in the database."""
POINTS = 100
PAID = 30
PRICE_MINOR = 50_000


def storms(data: Path, rounds: int) -> dict[str, int]:
    """How many rounds of each storm went wrong, on each database."""
    result = {"tills": TILLS, "rounds": rounds}
    with postgres_server() as folder:
        for kind, url in (
            ("sqlite", f"sqlite:///{data / 'storms.sqlite'}"),
            ("postgresql", new_postgres(folder, "storms")),
        ):
            engine = create_engine(url, pool_size=8)
            for name, wrong in storm(engine, rounds).items():
                result[f"{kind}_{name}_wrong"] = wrong
            engine.dispose()
    return result


def storm(engine: Engine, rounds: int) -> dict[str, int]:
    """Both storms on an empty database; raises ``AssertionError`` if its books do not add up at the end."""
    market = open_market(engine, members=rounds * 2, sold=0)
    arena = _Arena(market)
    with ThreadPoolExecutor(TILLS) as threads:
        spent = sum(not arena.double_spend(threads, number) for number in range(rounds))
        same = sum(not arena.same_key(threads, rounds + number) for number in range(rounds))
    with reading(engine, ALL_PROGRAMS) as session:
        violations = [violation for check in (*LEDGER_CHECKS, *PURCHASE_CHECKS) for violation in check(session)]
    assert not violations, violations[:5]
    return {"double_spends": spent, "same_keys": same}


class _Arena:
    """Where tills meet."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._counters = [Counter(market.engine, refusal=refusal_document) for _process in range(COUNTERS)]

    def double_spend(self, threads: ThreadPoolExecutor, number: int) -> bool:
        """Every till wants 30 of one card's 100 points: three get them."""
        card = self._market.cards[number]
        member_id = self._give(card, number)
        results = self._at_once(
            threads, card, [(f"d{number}-{till}", f"d{number}-{till}", PAID) for till in range(TILLS)]
        )
        codes = Tally(_code(result) for result in results)
        with reading(self._market.engine, self._market.program.id) as session:
            left = balances(session, [member_id])[member_id]
        paid = POINTS // PAID
        answers = [json.loads(result.body_text) for result in results if isinstance(result, Answer)]
        earned = sum(answer["points_earned"] for answer in answers if "code" not in answer)
        return codes == {"recorded": paid, "insufficient_points": TILLS - paid} and left.spendable == (
            POINTS - PAID * paid + earned
        )

    def same_key(self, threads: ThreadPoolExecutor, number: int) -> bool:
        """Every till sends the same request with the same key: it is done once, and all hear the same."""
        card = self._market.cards[number]
        results = self._at_once(threads, card, [(f"k{number}", f"k{number}", 0)] * TILLS)
        answers = [result for result in results if isinstance(result, Answer)]
        others = {_code(result) for result in results if not isinstance(result, Answer)}
        return (
            sum(not answer.replayed for answer in answers) == 1
            and len({answer.body_text for answer in answers}) == 1
            and answers[0].status == 201
            and others <= {"idempotency_in_progress"}
        )

    def _give(self, card: str, number: int) -> UUID:
        now = datetime.now(UTC)
        with transaction(self._market.engine, self._market.program.id) as session:
            member_id = member_of_card(session, card).member.id
            gift = earn(member_id, POINTS, reason=f"Gift {number}", occurred_at=now, kind="reward")
            post(session, self._market.program.id, [gift], now)
        return member_id

    def _at_once(
        self, threads: ThreadPoolExecutor, card: str, asked: Sequence[tuple[str, str, RedeemPoints]]
    ) -> list[Answer | DomainError]:
        gate = threading.Barrier(len(asked))
        now = datetime.now(UTC)
        program = self._market.program

        def body(done: Recorded) -> tuple[int, Mapping[str, Any]]:
            return 201, {"purchase_id": done.purchase_id, "points_earned": done.quote.points_earned}

        def till(place: int) -> Answer | DomainError:
            key, receipt_id, redeem = asked[place]
            lines = (LineInput("water", None, 1000, PRICE_MINOR),)
            command = RecordPurchase(receipt_id, card, "A", now, lines, redeem_points=redeem)
            turn = Turn(program, Call(program.id, "till", key, "hash", now), command, "key:bench", body)
            gate.wait(60)
            try:
                return self._counters[place % COUNTERS].record(turn)
            except DomainError as error:
                return error

        return list(threads.map(till, range(len(asked))))


def _code(result: Answer | DomainError) -> str:
    if isinstance(result, DomainError):
        return result.code
    return str(json.loads(result.body_text).get("code", "recorded"))
