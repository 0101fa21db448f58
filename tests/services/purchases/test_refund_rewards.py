"""Refunds take progress of challenges back, and what it had won."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.services.purchases.shop import VISITS, assert_sound, open_shop, purchase, rows, statistics
from wallet_server.challenges.models import ChallengeContribution
from wallet_server.db import transaction
from wallet_server.errors import DomainError
from wallet_server.purchases.commands import LineInput
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.services import redeem_voucher

DAY = timedelta(days=1)


NO_STAMPS: dict[str, Any] = {"pass": {}}


def test_a_voucher_won_with_what_came_back_is_withdrawn(engine: Engine) -> None:
    shop = open_shop(engine)
    [done] = shop.record(purchase(shop.card, "A-1", lines=(LineInput("burger", None, 5000, 45_000),)))
    [won] = [reward for reward in done.rewards if reward.challenge == "burgers"]
    refund = shop.refund(done.purchase_id, "R-1", (1, 1000))
    assert refund.vouchers_withdrawn == (won.voucher_code,)
    assert refund.vouchers_kept == ()
    [burgers] = [state for state in refund.challenges if state.code == "burgers"]
    assert (burgers.progress, burgers.completions) == (4, 0)
    for occurred_at in (NOW, NOW - DAY):  # not even by a till that says it was earlier
        with pytest.raises(DomainError) as refusal, transaction(engine, shop.program.id) as session:
            redeem_voucher(
                session,
                shop.program,
                str(won.voucher_code),
                outlet="A",
                occurred_at=occurred_at,
                receipt_id=None,
                actor="key:test",
                now=NOW,
            )
        assert refusal.value.code == "voucher_expired"
        assert "withdrawn" in refusal.value.detail
    assert_sound(shop)
    # The same round is won again, and lost again.
    [again] = shop.record(purchase(shop.card, "A-2", lines=(LineInput("burger", None, 1000, 45_000),)))
    assert [reward.challenge for reward in again.rewards] == ["burgers"]
    assert len(shop.refund(again.purchase_id, "R-1").vouchers_withdrawn) == 1
    assert_sound(shop)


def test_a_used_voucher_is_kept_and_its_round_with_it(engine: Engine) -> None:
    shop = open_shop(engine)
    [done] = shop.record(purchase(shop.card, "A-1", lines=(LineInput("burger", None, 15_000, 45_000),)))
    codes = [str(reward.voucher_code) for reward in done.rewards if reward.challenge == "burgers"]
    assert len(codes) == 3
    with transaction(engine, shop.program.id) as session:
        redeem_voucher(
            session,
            shop.program,
            codes[2],
            outlet="A",
            occurred_at=NOW,
            receipt_id=None,
            actor="key:test",
            now=NOW,
        )
    refund = shop.refund(done.purchase_id, "R-1", (1, 11_000))
    assert refund.vouchers_kept == (codes[2],)
    assert set(refund.vouchers_withdrawn) == set(codes[:2])
    origins = {voucher.code: voucher.origin for voucher in rows(shop, Voucher)}
    assert origins[codes[2]] == "challenge:burgers:all:1"
    assert origins[codes[0]].startswith("withdrawn:")
    [burgers] = [state for state in refund.challenges if state.code == "burgers"]
    assert burgers.completions == 1
    assert_sound(shop)
    # The round that was eaten is paid for first: nothing new at 5, the next at 10.
    [more] = shop.record(purchase(shop.card, "A-2", lines=(LineInput("burger", None, 5000, 45_000),)))
    assert more.rewards == ()
    [last] = shop.record(purchase(shop.card, "A-3", lines=(LineInput("burger", None, 1000, 45_000),)))
    assert [reward.challenge for reward in last.rewards] == ["burgers"]
    assert_sound(shop)


def test_points_won_by_a_completion_that_is_undone_are_taken_back(engine: Engine) -> None:
    shop = open_shop(engine, challenges=[VISITS], **NO_STAMPS)
    [first] = shop.record(purchase(shop.card, "A-1", 10_000))
    [second] = shop.record(purchase(shop.card, "A-2", 10_000))
    assert second.balance.spendable == 42
    refund = shop.refund(first.purchase_id, "R-1")
    assert refund.trace["effects"]["reward_points_taken_back"] == 40
    assert (refund.points_taken_back, refund.balance.spendable) == (1, 1)
    assert_sound(shop)
    shop.visit("V-1")
    assert shop.balance().spendable == 41
    refund = shop.refund(second.purchase_id, "R-1")
    assert refund.balance.spendable == 0
    assert_sound(shop)


def test_a_days_limit_lets_the_other_purchase_of_the_day_count(engine: Engine) -> None:
    challenge = {**VISITS, "target": 3, "max_per_day": 1, "filter": {"outlets": ["A"]}}
    shop = open_shop(engine, challenges=[challenge], **NO_STAMPS)
    [first] = shop.record(purchase(shop.card, "A-1"))
    [second] = shop.record(purchase(shop.card, "A-2"))
    [contribution] = rows(shop, ChallengeContribution)
    assert contribution.source_id == first.purchase_id
    refund = shop.refund(first.purchase_id, "R-1")
    assert refund.challenges[0].progress == 1
    [contribution] = rows(shop, ChallengeContribution)
    assert contribution.source_id == second.purchase_id
    shop.visit("V-1")
    shop.refund(second.purchase_id, "R-1")
    [contribution] = rows(shop, ChallengeContribution)
    assert contribution.source_id not in {first.purchase_id, second.purchase_id}
    assert shop.balance().spendable == 0
    assert_sound(shop)


def test_money_and_progress_count_by_what_is_left(engine: Engine) -> None:
    spend = {**VISITS, "code": "spend", "metric": "spend_minor", "target": 100_000}
    shop = open_shop(engine, challenges=[spend, VISITS], **NO_STAMPS)
    [done] = shop.record(purchase(shop.card, "A-1", 40_000, 50_000))
    refund = shop.refund(done.purchase_id, "R-1", (1, 250))
    assert [state.progress for state in refund.challenges] == [80_000, 1]
    assert statistics(shop).spend_minor == 80_000
    assert statistics(shop).visits == 1
    assert_sound(shop)


def test_vouchers_name_why_they_were_withdrawn(engine: Engine) -> None:
    shop = open_shop(engine)
    [done] = shop.record(purchase(shop.card, "A-1", lines=(LineInput("burger", None, 5000, 45_000),)))
    shop.refund(done.purchase_id, "R-7")
    [voucher] = rows(shop, Voucher)
    assert voucher.benefit["withdrawn"] == "Refund R-7 of receipt A-1"
    assert voucher.expires_at == NOW
