"""A link opens once, whoever is faster; replacing a card keeps all that the member has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, assert_sound, open_shop, purchase
from wallet_server.db import reading, transaction
from wallet_server.errors import DomainError
from wallet_server.mail.models import Mail
from wallet_server.members.identity import Contact
from wallet_server.members.queries import member_by_id
from wallet_server.recovery.cards import replace_card
from wallet_server.recovery.services import look_up, request, use_link


@pytest.fixture
def shop(engine: Engine) -> Shop:
    return open_shop(engine, points={"base_percent": 10})


@pytest.mark.parametrize(
    ("forms", "answers"), [("abcd", ["used", *["link_over"] * 3]), ("aaaa", ["used", *["again"] * 3])]
)
def test_of_several_presses_at_once_one_gets_the_card(shop: Shop, forms: str, answers: list[str]) -> None:
    with transaction(shop.engine, shop.program.id) as session:
        recovery_id = request(session, shop.program, Contact(email="person0@example.com"), now=NOW)
        session.flush()
        look_up(session, shop.program, recovery_id, NOW)
    together = Barrier(4)

    def press(form: str) -> str:
        together.wait(20)
        try:
            with transaction(shop.engine, shop.program.id) as session:
                used = use_link(session, recovery_id, NOW, by=form)
                assert used.member.id == shop.member_id
                return "again" if used.again else "used"
        except DomainError as error:
            return error.code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(press, forms)) == sorted(answers)


def test_of_two_wishes_looked_up_at_once_one_is_sent(shop: Shop) -> None:
    """A double click gives two rows of work, and several workers take them."""
    asked = []
    with transaction(shop.engine, shop.program.id) as session:
        asked += [
            request(session, shop.program, Contact(email="person0@example.com"), now=NOW + timedelta(seconds=second))
            for second in range(4)
        ]
    together = Barrier(4)

    def work(recovery_id: UUID) -> None:
        together.wait(20)
        with transaction(shop.engine, shop.program.id) as session:
            look_up(session, shop.program, recovery_id, NOW)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, asked))
    with reading(shop.engine, shop.program.id) as session:
        assert len(session.exec(select(Mail)).all()) == 1


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
