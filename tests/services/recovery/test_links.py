"""A link opens once, whoever is faster; replacing a card keeps all that the member has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, assert_sound, open_shop, purchase
from wallet_server.db import transaction
from wallet_server.errors import DomainError
from wallet_server.members.identity import Contact
from wallet_server.members.queries import member_by_id
from wallet_server.recovery.cards import replace_card
from wallet_server.recovery.services import look_up, request, use_link


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return open_shop(engine, points={"base_percent": 10})


def test_of_several_presses_at_once_one_gets_the_card(shop: Shop) -> None:
    with transaction(shop.engine, shop.program.id) as session:
        recovery_id = request(session, shop.program, Contact(email="person0@example.com"), now=NOW)
        session.flush()
        look_up(session, shop.program, recovery_id, NOW)
    together = Barrier(4)

    def press(_number: int) -> str:
        together.wait(20)
        try:
            with transaction(shop.engine, shop.program.id) as session:
                return str(use_link(session, recovery_id, NOW).id)
        except DomainError as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(press, range(4)))
    assert answers == sorted([str(shop.member_id), "link_over", "link_over", "link_over"])


def test_a_new_card_has_all_that_the_old_one_had(shop: Shop) -> None:
    shop.record(purchase(shop.card, "R1", 30_000))
    before = shop.balance()
    with transaction(shop.engine, shop.program.id) as session:
        number = replace_card(
            session, shop.program, member_by_id(session, shop.member_id), actor="staff:a@example.com", now=NOW
        )
    [refused] = shop.try_to_record([purchase(shop.card, "R2", 30_000)])
    assert refused.code == "card_blocked"
    shop.record(purchase(number, "R2", 30_000))
    assert shop.balance().spendable == 2 * before.spendable > 0
    assert_sound(shop)
