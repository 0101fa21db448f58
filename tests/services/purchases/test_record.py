"""Recording purchases: what is written, in which order, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import SQLModel, col, select

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.purchases.shop import open_shop, purchase
from tests.statements import heard
from wallet_server.challenges.models import ChallengeContribution
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.issuance.models import IssuedPass
from wallet_server.ledger.models import Allocation, Entry, Lot, Posting
from wallet_server.ledger.queries import entries
from wallet_server.members.models import Card, MemberStatistics
from wallet_server.outbox.models import OutboxRow
from wallet_server.purchases.commands import LineInput
from wallet_server.purchases.models import Purchase, PurchaseLine
from wallet_server.purchases.queries import lines_of_purchase, trace_of_purchase
from wallet_server.purchases.services import Recorded, quote_purchase, release_due_points
from wallet_server.tiers.models import MemberTier


def count(engine: Engine, model: type[SQLModel]) -> int:
    with reading(engine, ALL_PROGRAMS) as session:
        return session.exec(select(sa.func.count()).select_from(model)).one()


def test_a_purchase_earns_and_is_kept_with_its_lines_and_trace(engine: Engine) -> None:
    shop = open_shop(engine)
    lines = (LineInput("cappuccino", None, 2000, 30_000), LineInput(None, "cake", 500, 10_001))
    [done] = shop.record(purchase(shop.card, "A-1", lines=lines, payment_type="card"))
    assert done.quote.total_minor == 65_001
    assert done.quote.points_earned == 6
    assert (done.balance.spendable, done.balance.sequence, done.tier) == (6, 1, "base")
    assert shop.balance() == done.balance
    with reading(engine, shop.program.id) as session:
        kept = session.exec(select(Purchase)).one()
        assert kept.member_id == shop.member_id
        assert kept.id == done.purchase_id
        assert (kept.receipt_id, kept.total_minor, kept.points_earned) == ("A-1", 65_001, 6)
        assert (kept.business_date, kept.source, kept.payment_type) == (date(2026, 11, 23), "till", "card")
        first, second = lines_of_purchase(session, kept.id)
        assert (first.category, first.amount_minor, first.points_earned) == ("coffee", 60_000, 6)
        assert (second.category, second.amount_minor, second.earn_percent) == ("cake", 5001, "1")
        trace = trace_of_purchase(session, kept.id)
        assert trace is not None
        assert trace.trace["v"] == 1
        assert trace.trace["steps"][-1]["effect"]["exact"] == "6.5001"


def test_points_pay_and_the_rest_earns(engine: Engine) -> None:
    shop = open_shop(engine)
    shop.record(purchase(shop.card, "A-1", 10_000_000))
    [done] = shop.record(purchase(shop.card, "A-2", 100_000, redeem_points=300))
    assert (done.quote.points_redeemed, done.quote.points_earned, done.quote.money_due_minor) == (300, 7, 70_000)
    assert done.balance.spendable == 1000 - 300 + 7
    with reading(engine, shop.program.id) as session:
        rows = entries(session, shop.member_id)
        assert [(row.sequence, row.kind, row.points, row.balance_after) for row in rows] == [
            (3, "earn", 7, 707),
            (2, "redeem", -300, 700),
            (1, "earn", 1000, 1000),
        ]
        assert {row.reason for row in rows} == {"Receipt A-1", "Receipt A-2"}


def test_a_member_twice_in_a_batch_spends_what_the_first_receipt_brought(engine: Engine) -> None:
    shop = open_shop(engine)
    done = shop.record(
        purchase(shop.card, "A-1", 1_000_000),
        purchase(shop.card, "A-2", 8_000, redeem_points="max"),
        purchase(shop.card, "A-3", 8_000, redeem_points="max"),
    )
    redeemed = [part.quote.points_redeemed for part in done]
    assert redeemed == [0, 80, 20]
    assert shop.balance().spendable == 0
    with reading(engine, shop.program.id) as session:
        [lot] = session.exec(select(Lot)).all()
        assert (lot.points, lot.remaining) == (100, 0)
        assert sorted(session.exec(select(Allocation.points)).all()) == [20, 80]


def test_the_fraction_is_carried_between_receipts_and_inside_a_batch(engine: Engine) -> None:
    shop = open_shop(engine, points={"base_percent": 100, "carry_fraction": True})
    done = shop.record(purchase(shop.card, "A-1", 60), purchase(shop.card, "A-2", 60))
    done += shop.record(purchase(shop.card, "A-3", 60))
    assert [part.quote.points_earned for part in done] == [0, 1, 0]
    assert shop.balance().carried == Fraction(4, 5)


def test_the_tier_rises_within_a_batch_and_never_falls(engine: Engine) -> None:
    shop = open_shop(engine)
    results = shop.record(*(purchase(shop.card, f"A-{number}", 100) for number in range(9)))
    assert {result.tier for result in results} == {"base"}
    [tenth] = shop.record(purchase(shop.card, "A-10", 100))
    assert tenth.tier == "silver"
    with reading(engine, shop.program.id) as session:
        row = session.exec(select(MemberTier)).one()
        assert (row.tier, row.since) == ("silver", NOW)
        statistics = session.exec(select(MemberStatistics)).one()
        assert (statistics.purchases, statistics.spend_minor) == (10, 1000)
        assert (statistics.first_visit_at, statistics.last_visit_at) == (NOW, NOW)


def test_challenges_move_and_their_rewards_are_told(engine: Engine) -> None:
    shop = open_shop(engine)
    burgers = (LineInput("burger", None, 4000, 45_000),)
    [first] = shop.record(purchase(shop.card, "A-1", lines=burgers))
    assert {state.code: state.progress for state in first.challenges} == {"dinner": 1, "burgers": 4}
    assert first.rewards == ()
    [second] = shop.record(purchase(shop.card, "A-2", lines=burgers))
    assert {state.code: state.progress for state in second.challenges} == {"dinner": 1, "burgers": 3}
    [won] = second.rewards
    assert (won.kind, won.challenge, won.purchase_id) == ("voucher", "burgers", second.purchase_id)
    assert won.voucher_code


def test_points_won_by_a_challenge_are_in_the_balance_of_the_answer(engine: Engine) -> None:
    challenge = {
        "code": "second",
        "name": "Second visit",
        "metric": "purchases",
        "target": 2,
        "reward": {"points": 25},
    }
    shop = open_shop(engine, challenges=[challenge], **{"pass": {}})
    first, second = shop.record(purchase(shop.card, "A-1"), purchase(shop.card, "A-2"))
    assert first.rewards == ()
    assert [reward.points for reward in second.rewards] == [25]
    assert second.balance.spendable == 3 + 3 + 25
    assert shop.balance() == second.balance


def test_passes_are_marked_changed_and_live_ones_pushed(engine: Engine) -> None:
    shop = open_shop(engine, members=2)
    with transaction(engine, shop.program.id) as session:
        held = session.exec(select(IssuedPass).where(IssuedPass.member_id == shop.member_id)).first()
        assert held is not None
        held.live = True
        session.add(held)
    shop.record(purchase(shop.card, "A-1"))
    with reading(engine, shop.program.id) as session:
        versions = session.exec(select(IssuedPass.member_id, IssuedPass.version)).all()
        assert sorted(version for member, version in versions if member == shop.member_id) == [2, 2]
        assert {version for member, version in versions if member != shop.member_id} == {1}
        [row] = session.exec(select(OutboxRow)).all()
        assert row.payload["pass_ids"] == [str(held.id)]


def test_pending_points_become_spendable_when_their_time_has_come(engine: Engine) -> None:
    shop = open_shop(engine, points={"pending_days": 14})
    [done] = shop.record(purchase(shop.card, "A-1"), now=NOW)
    assert done.spendable_at == NOW + timedelta(days=14)
    assert (done.balance.spendable, done.balance.pending) == (0, 3)
    assert shop.try_to_record([purchase(shop.card, "A-2", redeem_points=1)], source="till")[0].code == (
        "insufficient_points"
    )
    for moment, released in ((NOW + timedelta(days=13, hours=23), 0), (NOW + timedelta(days=14), 1)):
        with transaction(engine, ALL_PROGRAMS) as session:
            assert release_due_points(session, moment) == released
    with transaction(engine, ALL_PROGRAMS) as session:
        assert release_due_points(session, NOW + timedelta(days=30)) == 0
    assert (shop.balance().spendable, shop.balance().pending) == (3, 0)
    with reading(engine, shop.program.id) as session:
        rows = entries(session, shop.member_id)
        assert [(row.account, row.points, row.balance_after) for row in rows] == [
            ("spendable", 3, 3),
            ("pending", -3, 0),
            ("pending", 3, 3),
        ]
    [paid] = shop.record(purchase(shop.card, "A-3", redeem_points="max"))
    assert paid.quote.points_redeemed == 3


def test_a_receipt_whose_pending_days_are_over_is_spendable_at_once(engine: Engine) -> None:
    shop = open_shop(engine, points={"pending_days": 14})
    [done] = shop.record(purchase(shop.card, "A-1", occurred_at=NOW - timedelta(days=20)))
    assert (done.balance.spendable, done.balance.pending) == (3, 0)


def test_a_till_whose_clock_is_ahead_delays_no_points(engine: Engine) -> None:
    shop = open_shop(engine)
    [done] = shop.record(purchase(shop.card, "A-1", occurred_at=NOW + timedelta(minutes=9)))
    assert (done.balance.spendable, done.spendable_at) == (3, NOW)


def test_a_late_receipt_counts_on_its_own_day_at_the_outlet(engine: Engine) -> None:
    shop = open_shop(engine)
    late = datetime(2026, 10, 31, 23, 30, tzinfo=UTC)  # half past midnight in Skopje
    shop.record(purchase(shop.card, "A-1", occurred_at=late))
    with reading(engine, shop.program.id) as session:
        kept = session.exec(select(Purchase)).one()
        assert (kept.business_date, kept.occurred_at, kept.recorded_at) == (date(2026, 11, 1), late, NOW)
        [contribution] = session.exec(
            select(ChallengeContribution).where(ChallengeContribution.challenge == "dinner")
        ).all()
        assert contribution.window == "2026-11"


def test_statistics_keep_the_first_and_last_visit_of_late_receipts(engine: Engine) -> None:
    shop = open_shop(engine)
    shop.record(purchase(shop.card, "A-1"))
    shop.record(purchase(shop.card, "A-2", occurred_at=NOW - timedelta(days=5)))
    with reading(engine, shop.program.id) as session:
        statistics = session.exec(select(MemberStatistics)).one()
        assert (statistics.first_visit_at, statistics.last_visit_at) == (NOW - timedelta(days=5), NOW)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"receipt_id": ""}, "validation"),
        ({"receipt_id": "A\n1"}, "validation"),
        ({"receipt_id": "A" * 121}, "validation"),
        ({"payment_type": "x" * 33}, "validation"),
        ({"occurred_at": NOW.replace(tzinfo=None)}, "validation"),
        ({"occurred_at": NOW + timedelta(minutes=11)}, "validation"),
        ({"occurred_at": NOW - timedelta(days=31)}, "validation"),
        ({"redeem_points": -1}, "validation"),
        ({"lines": ()}, "validation"),
        ({"lines": (LineInput(None, None, 1000, 1),) * 1001}, "validation"),
        ({"lines": (LineInput(None, None, 0, 1),)}, "validation"),
        ({"lines": (LineInput(None, None, 1000, -1),)}, "validation"),
        ({"lines": (LineInput("x" * 121, None, 1000, 1),)}, "validation"),
        ({"lines": (LineInput(None, None, 10**9, 10**12),)}, "validation"),
        ({"card_number": "0000000000000000"}, "unknown_card"),
        ({"outlet": "Z"}, "unknown_outlet"),
        ({"redeem_points": 1}, "insufficient_points"),
    ],
)
def test_a_refused_receipt_leaves_no_trace(engine: Engine, values: dict[str, object], code: str) -> None:
    shop = open_shop(engine)
    with pytest.raises(DomainError) as refusal:
        shop.record(purchase(shop.card, **{"receipt_id": "A-1", **values}))
    assert refusal.value.code == code
    for model in (Purchase, PurchaseLine, Posting, Entry, Lot, OutboxRow, ChallengeContribution):
        assert count(engine, model) == 0


def test_an_import_may_bring_any_past(engine: Engine) -> None:
    shop = open_shop(engine)
    [done] = shop.record(purchase(shop.card, "A-1", occurred_at=NOW - timedelta(days=3000)), source="import")
    assert done.balance.spendable == 3


def test_a_blocked_card_is_refused(engine: Engine) -> None:
    shop = open_shop(engine)
    with transaction(engine, shop.program.id) as session:
        session.execute(sa.update(Card).values(blocked_at=NOW))
    with pytest.raises(DomainError) as refusal:
        shop.record(purchase(shop.card, "A-1"))
    assert (refusal.value.code, refusal.value.status) == ("card_blocked", 409)


def test_the_same_receipt_again_is_refused_and_names_the_first(engine: Engine) -> None:
    shop = open_shop(engine)
    [first] = shop.record(purchase(shop.card, "A-1"))
    with pytest.raises(DomainError) as refusal:
        shop.record(purchase(shop.card, "A-1", 99_999_900))
    assert (refusal.value.code, refusal.value.status) == ("duplicate_receipt", 409)
    assert refusal.value.extra["purchase_id"] == str(first.purchase_id)
    [elsewhere] = shop.record(purchase(shop.card, "A-1", outlet="B"))
    assert elsewhere.balance.spendable == 6


def test_refused_receipts_of_a_batch_do_not_stop_the_others(engine: Engine) -> None:
    shop = open_shop(engine, members=2)
    other = shop.members[1].card_number
    shop.record(purchase(shop.card, "A-0"))
    results = shop.try_to_record(
        [
            purchase(shop.card, "A-1"),
            purchase("1234", "A-2"),
            purchase(shop.card, "A-1"),
            purchase(other, "A-0"),
            purchase(other, "A-3", redeem_points=1),
            purchase(other, "A-4", lines=()),
            purchase(other, "A-5"),
        ]
    )
    codes = [result.code if isinstance(result, DomainError) else None for result in results]
    assert codes == [
        None,
        "unknown_card",
        "duplicate_receipt",
        "duplicate_receipt",
        "insufficient_points",
        "validation",
        None,
    ]
    assert count(engine, Purchase) == 3
    assert shop.balance().spendable == 6
    assert shop.balance(shop.members[1].member_id).spendable == 3


def test_a_quote_says_the_same_and_changes_nothing(engine: Engine) -> None:
    shop = open_shop(engine)
    shop.record(purchase(shop.card, "A-0", 1_000_000))
    asked = purchase(shop.card, "A-1", 50_000, redeem_points=20)
    with reading(engine, shop.program.id) as session:
        quoted = quote_purchase(session, shop.program, asked, NOW)
    before = shop.balance()
    assert quoted.quote.points_redeemed == 20
    assert count(engine, Purchase) == 1
    [done] = shop.record(asked)
    assert done.quote == quoted.quote
    assert done.balance.spendable == before.spendable - 20 + done.quote.points_earned


def test_another_programs_cards_skus_and_outlets_mean_nothing(engine: Engine) -> None:
    shop = open_shop(engine)
    section = {**program_file()["program"], "slug": "other"}
    catalog = {"categories": [{"code": "tobacco"}], "products": [{"sku": "cappuccino", "category": "tobacco"}]}
    other = open_shop(engine, program=section, catalog=catalog)
    with pytest.raises(DomainError) as refusal:
        shop.record(purchase(other.card, "A-1"))
    assert refusal.value.code == "unknown_card"
    line = (LineInput("cappuccino", None, 1000, 100),)
    with transaction(engine, ALL_PROGRAMS) as session:
        from wallet_server.purchases.services import record_purchase

        for each in (shop, other):
            command = purchase(each.card, "A-1", lines=line)
            record_purchase(session, each.program, command, now=NOW, source="till", recorded_by="x")
        assert session.info["scope"] is ALL_PROGRAMS
    with reading(engine, ALL_PROGRAMS) as session:
        rows = session.exec(select(PurchaseLine.program_id, PurchaseLine.category)).all()
    assert dict(rows) == {shop.program.id: "coffee", other.program.id: "tobacco"}


def test_a_batch_costs_a_fixed_number_of_statements(engine: Engine) -> None:
    shop = open_shop(engine, members=20)

    def statements(size: int, prefix: str) -> int:
        receipts = [purchase(shop.members[index % 20].card_number, f"{prefix}{index}") for index in range(size)]
        with heard(engine) as said:
            shop.record(*receipts, source="import")
        return len(said)

    few, many = statements(20, "A"), statements(200, "B")
    assert many <= few + 3
    assert many <= 30


def test_recorded_is_in_the_order_of_the_commands(engine: Engine) -> None:
    shop = open_shop(engine, members=3)
    commands = [
        purchase(member.card_number, f"A-{index}", 10_000 * (index + 1))
        for index, member in enumerate(reversed(shop.members))
    ]
    results = shop.record(*commands)
    assert [result.quote.total_minor for result in results] == [10_000, 20_000, 30_000]
    assert all(isinstance(result, Recorded) for result in results)
    with reading(engine, shop.program.id) as session:
        for index, result in enumerate(results):
            kept = session.exec(select(Purchase).where(col(Purchase.id) == result.purchase_id)).one()
            assert kept.receipt_id == f"A-{index}"
