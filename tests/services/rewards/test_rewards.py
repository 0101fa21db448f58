"""Rewards are given for completions; a voucher is redeemed once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlmodel import select

from tests.conftest import NOW
from tests.people import add_member, publish
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.ledger.models import MemberBalance, Posting
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.queries import vouchers
from wallet_server.rewards.services import grant, redeem_voucher
from wallet_server.rewards.wins import Completion, grouped

POINTS = {"code": "points", "name": "Points", "metric": "visits", "target": 1, "reward": {"points": 50}}


def completion(member, challenge="dinner", number=1, purchase=None):
    return Completion(member, challenge, "2026-11", number, purchase or new_id())


def redeem(session, program, code, **values):
    known = {"outlet": "A", "occurred_at": NOW, "receipt_id": None, "actor": "key:test", "now": NOW}
    return redeem_voucher(session, program, code, **known | values)


def test_a_voucher_is_given_with_its_benefit_and_expiry(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    dinner, burger = completion(member), completion(member, "burgers")
    won = grant(session, program, [dinner, burger], NOW)
    assert [(w.member_id, w.purchase_id, w.kind, w.challenge, w.points) for w in won] == [
        (member, dinner.purchase_id, "voucher", "dinner", None),
        (member, burger.purchase_id, "voucher", "burgers", None),
    ]
    found = {voucher.code: voucher for voucher in vouchers(session, [member])[member]}
    first, second = (found[w.voucher_code] for w in won)
    assert (first.benefit, first.origin, first.issued_at) == (
        {"kind": "free_product", "sku": "dinner"},
        "challenge:dinner:2026-11:1",
        NOW,
    )
    assert first.expires_at == NOW + timedelta(days=30)
    assert second.expires_at is None


def test_points_go_through_the_ledger(session):
    program = publish(session, NOW, challenges=[POINTS])
    member = add_member(session, program, NOW)
    done = completion(member, "points")
    won = grant(session, program, [done, completion(member, "points", 2)], NOW)
    assert [(w.kind, w.points, w.voucher_code) for w in won] == [("points", 50, None)] * 2
    assert session.get(MemberBalance, member).spendable == 100
    postings = session.exec(select(Posting)).all()
    assert {(p.kind, p.reason) for p in postings} == {("reward", "Points")}
    assert done.purchase_id in {p.purchase_id for p in postings}


def test_a_challenge_that_is_gone_brings_nothing(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    assert grant(session, program, [completion(member, "gone")], NOW) == []
    assert grant(session, program, [], NOW) == []


def test_the_same_completion_brings_one_voucher(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    grant(session, program, [completion(member)], NOW)
    with pytest.raises(sa.exc.IntegrityError), session.begin_nested():
        grant(session, program, [completion(member)], NOW)


def test_a_voucher_is_redeemed_once(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    [won] = grant(session, program, [completion(member)], NOW)
    used = redeem(session, program, grouped(won.voucher_code).lower(), receipt_id="A-1")
    assert (used.member_id, used.redeemed_at, used.redeemed_outlet_id) == (member, NOW, program.outlet("A").id)
    assert (used.redeemed_by, used.receipt_id) == ("key:test", "A-1")
    with pytest.raises(DomainError) as refused:
        redeem(session, program, won.voucher_code, outlet="B", receipt_id="B-1")
    assert (refused.value.code, refused.value.status) == ("voucher_used", 409)
    assert refused.value.extra == {"redeemed_at": NOW.isoformat()}
    session.expire_all()
    assert session.get(Voucher, used.id).receipt_id == "A-1"
    assert vouchers(session, [member], NOW) == {}
    assert [v.id for v in vouchers(session, [member])[member]] == [used.id]


def test_an_expired_voucher_is_refused_unless_it_was_used_in_time(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    [won] = grant(session, program, [completion(member)], NOW)
    end = NOW + timedelta(days=30)
    assert [v.code for v in vouchers(session, [member], end - timedelta(seconds=1))[member]] == [won.voucher_code]
    assert vouchers(session, [member], end) == {}
    with pytest.raises(DomainError) as refused:
        redeem(session, program, won.voucher_code, occurred_at=end, now=end)
    assert (refused.value.code, refused.value.status) == ("voucher_expired", 409)
    late = redeem(
        session, program, won.voucher_code, occurred_at=end - timedelta(seconds=1), now=end + timedelta(days=2)
    )
    assert late.redeemed_at == end - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("values", "code", "status"),
    [
        ({"code": "nonsense"}, "unknown_voucher", 404),
        ({"code": "0000-0000-0000-0"}, "unknown_voucher", 404),
        ({"outlet": "Z"}, "unknown_outlet", 404),
        ({"occurred_at": NOW + timedelta(minutes=11)}, "validation", 422),
        ({"occurred_at": NOW - timedelta(days=31)}, "validation", 422),
        ({"occurred_at": NOW.replace(tzinfo=None)}, "validation", 422),
        ({"receipt_id": ""}, "validation", 422),
        ({"receipt_id": "x" * 121}, "validation", 422),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(session, values, code, status):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    [won] = grant(session, program, [completion(member)], NOW)
    arguments = {"code": won.voucher_code} | values
    with pytest.raises(DomainError) as refused:
        redeem(session, program, arguments.pop("code"), **arguments)
    assert (refused.value.code, refused.value.status) == (code, status)
    assert vouchers(session, [member], NOW)[member][0].redeemed_at is None


def test_another_program_does_not_know_the_voucher(session):
    program, other = publish(session, NOW), publish(session, NOW, slug="other")
    member = add_member(session, program, NOW)
    [won] = grant(session, program, [completion(member)], NOW)
    with pytest.raises(DomainError) as refused:
        redeem(session, other, won.voucher_code)
    assert refused.value.code == "unknown_voucher"
    session.expire_all()
    assert vouchers(session, [member])[member][0].redeemed_at is None


def test_of_many_tills_at_once_one_redeems(engine):
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        member = add_member(session, program, NOW)
        [won] = grant(session, program, [completion(member)], NOW)
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def till(number: int) -> None:
        start.wait(timeout=20)
        try:
            with transaction(engine, program.id) as session:
                redeem(session, program, won.voucher_code, receipt_id=f"R{number}")
            outcomes.append(f"R{number}")
        except DomainError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=till, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert outcomes.count("voucher_used") == 7
    [winner] = [outcome for outcome in outcomes if outcome != "voucher_used"]
    with reading(engine, program.id) as session:
        assert vouchers(session, [member])[member][0].receipt_id == winner


def test_vouchers_of_many_members_are_listed_newest_first_and_limited(session, monkeypatch):
    monkeypatch.setattr("wallet_server.rewards.queries.VOUCHERS_MAX", 2)
    program = publish(session, NOW)
    first, second, none = (add_member(session, program, NOW) for _ in range(3))
    for day in range(3):
        grant(session, program, [completion(first, number=day + 1)], NOW + timedelta(days=day))
    grant(session, program, [completion(second)], NOW)
    found = vouchers(session, [first, second, none])
    assert [v.origin[-1] for v in found[first]] == ["3", "2"]
    assert len(found[second]) == 1
    assert none not in found
    assert vouchers(session, []) == {}
