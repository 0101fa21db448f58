"""A voucher whose time is over leaves the cards of both wallets, once, though nothing else has happened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.people import add_member, publish
from tests.workers.conftest import StoppedClock, Workshop
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.lapses import lapse_vouchers
from wallet_server.issuance.queries import card_states
from wallet_server.ledger.services import lock_balances
from wallet_server.notifications.models import Notification
from wallet_server.rewards import services
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.returns import Lost, withdraw
from wallet_server.rewards.services import grant, redeem_voucher
from wallet_server.rewards.wins import Completion
from workers.schedule import expire_vouchers

MONTH = timedelta(days=30).total_seconds()
"""The dinner of the café's challenge is to be had for so long."""


def dinner(member: UUID, number: int = 1) -> Completion:
    return Completion(member, "dinner", "2026-11", number, member)


def won(workshop: Workshop, member: UUID, number: int = 1) -> str:
    with transaction(workshop.engine, workshop.program.id) as session:
        [one] = grant(session, workshop.program, [dinner(member, number)], workshop.clock.now())
    assert one.voucher_code
    return one.voucher_code


def on_card(workshop: Workshop, member: UUID) -> list[str]:
    with reading(workshop.engine, workshop.program.id) as session:
        issued = workshop.issued(member)
        [state] = card_states(session, workshop.program, [issued.id], workshop.clock.now(), news=lambda *_: {})
    return [voucher.code for voucher in state.vouchers]


def lapsed(workshop: Workshop) -> dict[str, bool]:
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        return {one.code: one.lapsed_at is not None for one in session.exec(select(Voucher))}


def test_a_voucher_that_is_over_leaves_the_cards_of_both_wallets_once(workshop: Workshop, clock: StoppedClock) -> None:
    member = workshop.at_google(workshop.on_phone(workshop.join(), "a1"))
    code = won(workshop, member)
    workshop.change(member)
    workshop.work()
    pushed, put = len(workshop.pushes.tokens), len(workshop.cards.cards)
    start = workshop.issued(member).version, workshop.issued(member, "google").version
    clock.advance(MONTH - 1)
    expire_vouchers(workshop.context)
    workshop.work()
    assert on_card(workshop, member) == [code]
    assert workshop.issued(member).version == start[0], "it is still good"
    clock.advance(1)
    for _tick in range(3):
        expire_vouchers(workshop.context)
        workshop.work()
    assert on_card(workshop, member) == []
    assert (workshop.issued(member).version, workshop.issued(member, "google").version) == (start[0] + 1, start[1] + 1)
    assert workshop.pushes.tokens[pushed:] == ["a1"]
    assert len(workshop.cards.cards) == put + 1
    assert lapsed(workshop) == {code: True}
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        assert session.exec(select(Notification)).all() == [], "nobody's phone speaks of it"


def test_what_was_redeemed_withdrawn_or_has_no_end_is_let_alone(workshop: Workshop, clock: StoppedClock) -> None:
    used, lost, free = (workshop.on_phone(workshop.join(), token) for token in ("u", "l", "f"))
    codes = [won(workshop, member) for member in (used, lost, free)]
    with transaction(workshop.engine, workshop.program.id) as session:
        when = {"occurred_at": NOW, "now": NOW, "receipt_id": None, "actor": "till", "outlet": "A"}
        redeem_voucher(session, workshop.program, codes[0], **when)
        lock_balances(session, [lost])
        withdraw(session, workshop.program, [Lost(dinner(lost), frozenset())], reason="refund", now=NOW)
        session.execute(sa.update(Voucher).where(col(Voucher.member_id) == free).values(expires_at=None))
    start = [workshop.issued(member).version for member in (used, lost, free)]
    clock.advance(2 * MONTH)
    expire_vouchers(workshop.context)
    assert [workshop.issued(member).version for member in (used, lost, free)] == start


def test_many_vouchers_lapse_in_portions_program_by_program(
    workshop: Workshop, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services.lapse_due, "__kwdefaults__", {"limit": 2})
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        other = publish(session, NOW, slug="other")
        guest = add_member(session, other, NOW)
        session.flush()
        session.info["scope"] = other.id
        grant(session, other, [dinner(guest)], NOW)
    members = [workshop.on_phone(workshop.join(), f"m{number}") for number in range(5)]
    for member in members:
        won(workshop, member)
    start = [workshop.issued(member).version for member in (*members, guest)]
    clock.advance(MONTH)
    portions = []
    while True:
        with transaction(workshop.engine, ALL_PROGRAMS) as session:
            portions.append(lapse_vouchers(session, clock.now()))
        if not portions[-1]:
            break
    assert sorted(portions) == [0, 1, 1, 2, 2]
    assert [workshop.issued(member).version for member in (*members, guest)] == [one + 1 for one in start]


def test_a_voucher_that_a_till_redeems_at_this_moment_is_its_own(postgresql_engine: Engine) -> None:
    """A till that is late by a minute tells of the redemption while the clock looks: neither waits for the other."""
    late = NOW + timedelta(seconds=MONTH)
    with transaction(postgresql_engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        member = add_member(session, program, NOW)
        session.info["scope"] = program.id
        [one] = grant(session, program, [dinner(member)], NOW)

    def lapse() -> int:
        with transaction(postgresql_engine, ALL_PROGRAMS) as session:
            return lapse_vouchers(session, late)

    when = {"occurred_at": late - timedelta(minutes=1), "now": late, "receipt_id": None, "actor": "till"}
    with ThreadPoolExecutor(1) as tick, transaction(postgresql_engine, program.id) as session:
        redeem_voucher(session, program, one.voucher_code or "", outlet="A", **when)
        assert tick.submit(lapse).result(10) == 0
    assert lapse() == 0
