"""Refunds: what comes back and where it goes, and that a purchase refunded whole might never have been."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from fractions import Fraction
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import SQLModel, col, select

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.challenges.models import ChallengeContribution, ChallengeProgress
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.ledger.models import Lot
from wallet_server.ledger.queries import entries
from wallet_server.members.models import MemberStatistics
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.commands import LineInput
from wallet_server.purchases.models import Purchase, PurchaseLine, Refund
from wallet_server.purchases.queries import lines_of_refunds, purchase_by_id, refunds_of_purchase, trace_of_purchase
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.services import redeem_voucher
from wallet_server.tiers.queries import changes_of_member
from wallet_server.verification import CHECKS

DAY = timedelta(days=1)


def rows(shop: Shop, model: type[SQLModel]) -> list[Any]:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(model)).all())


def assert_sound(shop: Shop) -> None:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert [violation for check in CHECKS for violation in check(session)] == []


def statistics(shop: Shop) -> MemberStatistics:
    [found] = rows(shop, MemberStatistics)
    return found


def test_smoke(engine: Engine) -> None:
    shop = open_shop(engine, points={"base_percent": 50})
    [done] = shop.record(purchase(shop.card, "A-1", lines=(LineInput(None, None, 3000, 100),)))
    assert done.quote.points_earned == 1
    taken = [shop.refund(done.purchase_id, f"R-{n}", (1, 1000)).points_taken_back for n in range(3)]
    assert taken == [0, 1, 0]
    assert_sound(shop)
