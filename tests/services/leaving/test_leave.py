"""Leaving: everything that says who somebody was is gone, the books stay right, the person may come back."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import col, select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.issuance.models import IssuedPass
from wallet_server.leaving.services import Left, leave
from wallet_server.ledger.adjustments import Adjust, adjust
from wallet_server.ledger.expiry import expire_due
from wallet_server.ledger.holds import PlaceHold, place_hold
from wallet_server.ledger.services import release_pending
from wallet_server.mail import services as mail
from wallet_server.mail.models import Mail
from wallet_server.members.coefficients import set_coefficient
from wallet_server.members.identity import Contact
from wallet_server.members.models import Card, Consent, Member, MemberStatistics
from wallet_server.members.queries import search
from wallet_server.members.services import Enrol, enrol
from wallet_server.members.tags import set_tags
from wallet_server.outbox.models import OutboxRow
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.recovery.models import Recovery
from wallet_server.recovery.services import look_up, request
from wallet_server.rewards.models import Voucher
from wallet_server.segments.condition import Condition
from wallet_server.segments.queries import count
from wallet_server.staff.models import AuditRecord
from wallet_server.verification import CHECKS
from wallet_server.webhooks.models import Webhook, WebhookDelivery

SECRETS = ("+38970123456", "ana@example.com", "Ana Petrovska", "1990-05-17", "crm-77", "vip-of-ana")


@pytest.fixture
def shop(engine: Engine) -> Shop:
    """A café whose first member has everything that a member can have."""
    shop = open_shop(
        engine, members=2, points={"base_percent": 10, "pending_days": 2, "adjustments": {"four_eyes_above": 100}}
    )
    with transaction(engine, shop.program.id) as session:
        command = Enrol(
            phone="+38970123456",
            email="ana@example.com",
            name="Ana Petrovska",
            birthday=date(1990, 5, 17),
            external_id="crm-77",
            marketing=True,
            channel="till",
        )
        ana = enrol(session, shop.program, command, now=NOW, actor="key:test")
    shop.members.insert(0, ana)
    return shop


def do_leave(shop: Shop, **values: Any) -> Left:
    with transaction(shop.engine, shop.program.id) as session:
        return leave(session, shop.program, shop.member_id, actor="member", now=values.get("now", NOW))


def one(shop: Shop, model: Any, *where: Any) -> Any:
    with reading(shop.engine, ALL_PROGRAMS) as session:
        return session.exec(select(model).where(*where)).one()


def fill(shop: Shop) -> None:
    """Points spendable, pending and held; a voucher, tags, a percent of one's own, a correction that waits."""
    for number in range(3):
        shop.record(purchase(shop.card, f"R{number}", 30_000, occurred_at=NOW - timedelta(days=5)))
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        release_pending(session, NOW)
    burgers = LineInput("burger", None, 5_000, 45_000)
    shop.record(RecordPurchase("R8", shop.card, "A", NOW, (burgers,)))
    shop.record(purchase(shop.card, "R9", 20_000, occurred_at=NOW))
    with transaction(shop.engine, shop.program.id) as session:
        set_tags(session, shop.program, shop.member_id, ["vip-of-ana"], actor="staff:a", now=NOW)
        set_coefficient(
            session, shop.program, shop.card, percent=Decimal(7), outlet=None, ends_at=None, redeem_max_percent=None,
            actor="staff:a", now=NOW,
        )  # fmt: skip
        place_hold(session, shop.program, PlaceHold(shop.card, "A", 4, 600), now=NOW, actor="key:test")
        wish = Adjust(5_000, "Something went wrong", member_id=shop.member_id)
        adjust(session, shop.program, wish, role="manager", actor="staff:a@example.com", address="", now=NOW)
        recovery_id = request(session, shop.program, Contact(email="ana@example.com"), now=NOW)
        session.flush()
        look_up(session, shop.program, recovery_id, NOW)


def everything_written(shop: Shop) -> dict[str, list[str]]:
    """Every row of every table as text."""
    with shop.engine.connect() as connection:
        return {
            name: [" ".join(map(str, row)) for row in connection.execute(sa.text(f'SELECT * FROM "{name}"'))]
            for name in sa.inspect(connection).get_table_names()
        }


def test_nothing_says_any_more_who_it_was(shop: Shop) -> None:
    fill(shop)
    card_number, before = shop.card, everything_written(shop)
    for secret in SECRETS[:-1]:
        assert any(secret in row for rows in before.values() for row in rows), f"{secret} was never there"
    do_leave(shop)
    after = everything_written(shop)
    # The log of who did what to whom, and past answers to tills, name a card that is nobody's now.
    known = {"audit_record", "idempotency_key", "webhook_delivery"}
    for secret in (*SECRETS, card_number):
        found = {name for name, rows in after.items() for row in rows if secret in row}
        assert found <= known, f"{secret} stands in {found - known}"
    for secret in SECRETS[:-1]:
        assert not any(secret in row for rows in after.values() for row in rows)


def test_the_books_stay_right_and_the_points_are_gone(shop: Shop) -> None:
    fill(shop)
    had = shop.balance()
    assert had.spendable
    assert had.pending
    assert had.held
    left = do_leave(shop)
    assert left.points == had.spendable + had.pending + had.held
    now = shop.balance()
    assert (now.spendable, now.pending, now.held, now.owed) == (0, 0, 0, 0)
    later = NOW + timedelta(days=400)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        release_pending(session, later)
        expire_due(session, later)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert [found for check in CHECKS for found in check(session)] == []


def test_what_the_clock_does_afterwards_brings_nothing_back(shop: Shop) -> None:
    fill(shop)
    do_leave(shop)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        release_pending(session, NOW + timedelta(days=30))
    assert shop.balance().spendable == 0


def test_vouchers_end_and_corrections_that_wait_are_refused(shop: Shop) -> None:
    fill(shop)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        held = session.exec(select(Voucher).where(Voucher.member_id == shop.member_id)).all()
    assert do_leave(shop).vouchers == len(held) > 0
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert all(voucher.expires_at == NOW for voucher in session.exec(select(Voucher)))
        states = session.connection().execute(sa.text("SELECT state, decided_by FROM adjustment")).all()
    assert states == [("refused", "system")]


def test_the_passes_are_void_and_their_phones_are_told(shop: Shop) -> None:
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        mine = session.exec(select(IssuedPass).where(IssuedPass.member_id == shop.member_id)).all()
        for issued in mine:
            issued.live = True
            session.add(issued)
    assert do_leave(shop).passes == 2
    with reading(shop.engine, ALL_PROGRAMS) as session:
        for issued in session.exec(select(IssuedPass).where(IssuedPass.member_id == shop.member_id)):
            assert (issued.voided_at, issued.version) == (NOW, 2)
        pushed = [row.payload["pass_ids"] for row in session.exec(select(OutboxRow)) if row.topic == "pass.changed"]
    assert sorted(pushed[-1]) == sorted(str(issued.id) for issued in mine)


def test_consent_stays_as_proof_with_its_withdrawal(shop: Shop) -> None:
    do_leave(shop)
    with reading(shop.engine, ALL_PROGRAMS) as session:
        rows = session.exec(
            select(Consent).where(Consent.member_id == shop.member_id).order_by(col(Consent.kind), col(Consent.id))
        ).all()
        statistics = session.get_one(MemberStatistics, shop.member_id)
    assert [(row.kind, row.granted, row.source) for row in rows] == [
        ("marketing", True, "till"),
        ("marketing", False, "leaving"),
        ("terms", True, "till"),
        ("terms", False, "leaving"),
    ]
    assert (statistics.marketing, statistics.coefficients) == (False, [])


def test_the_person_may_join_again_as_somebody_new(shop: Shop) -> None:
    card_number = shop.card
    do_leave(shop)
    with transaction(shop.engine, shop.program.id) as session:
        again = enrol(
            session,
            shop.program,
            Enrol(phone="+38970123456", email="ana@example.com", external_id="crm-77", card_number=card_number),
            now=NOW,
            actor="key:test",
        )
    assert (again.created, again.card_number) == (True, card_number)
    assert again.member_id != shop.member_id


def test_nobody_leaves_twice_and_strangers_do_not_leave(shop: Shop) -> None:
    do_leave(shop)
    with pytest.raises(DomainError) as twice:
        do_leave(shop)
    assert twice.value.code == "member_left"
    shop.members[0] = type(shop.members[0])(new_id(), new_id(), "0", False)
    with pytest.raises(NotFoundError):
        do_leave(shop)


def test_whoever_has_left_is_in_no_list_and_in_no_segment(shop: Shop) -> None:
    do_leave(shop)
    with reading(shop.engine, shop.program.id) as session:
        assert shop.member_id not in {member.id for member in search(session, "")}
        assert count(session, shop.program, Condition(), NOW) == 2


def test_mails_and_links_are_forgotten(shop: Shop) -> None:
    fill(shop)
    mail_id = one(shop, Mail).id
    do_leave(shop)
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        assert session.exec(select(Mail)).all() == []
        assert session.exec(select(Recovery)).all() == []
        assert mail.take_up(session, [mail_id], None, public_url="", now=NOW) == {}


def test_others_are_told_to_forget_too_and_the_log_says_what_happened(shop: Shop) -> None:
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        session.add(
            Webhook(
                program_id=shop.program.id, url="https://crm.example/", events=["*"], created_at=NOW, created_by="x"
            )
        )
    card_number = shop.card
    do_leave(shop)
    told = one(shop, WebhookDelivery, WebhookDelivery.event == "member.left")
    assert told.payload["data"] == {"member_id": str(shop.member_id), "card_numbers": [card_number]}
    logged = one(shop, AuditRecord, AuditRecord.action == "member.left")
    assert (logged.actor, logged.subject) == ("member", str(shop.member_id))


def test_a_till_does_not_know_the_card_any_more(shop: Shop) -> None:
    card_number = shop.card
    do_leave(shop)
    [refused] = shop.try_to_record([purchase(card_number, "R1", 30_000)])
    assert (refused.code, shop.balance().spendable) == ("unknown_card", 0)
    card = one(shop, Card, Card.member_id == shop.member_id)
    [blocked] = shop.try_to_record([purchase(card.number, "R1", 30_000)])
    assert blocked.code == "card_blocked"


def test_goods_that_come_back_afterwards_bring_no_points_to_spend(shop: Shop) -> None:
    shop.record(purchase(shop.card, "R1", 30_000, occurred_at=NOW - timedelta(days=5)))
    [sale] = shop.record(purchase(shop.card, "R2", 30_000, occurred_at=NOW - timedelta(days=4)))
    do_leave(shop)
    shop.refund(sale.purchase_id, "F1", now=NOW + timedelta(days=1))
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert [found for check in CHECKS for found in check(session)] == []


def test_the_secret_address_dies(shop: Shop) -> None:
    before = one(shop, Member, Member.id == shop.member_id)
    do_leave(shop)
    after = one(shop, Member, Member.id == shop.member_id)
    assert after.token_generation == before.token_generation + 1
    assert after.referral_code != before.referral_code
    assert after.left_at == NOW
