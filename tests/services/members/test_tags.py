"""Tags of members: what is set, what stays, and the rules that ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.services.purchases.shop import Shop, open_shop, purchase
from wallet_server.db import new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.members.models import MemberTag
from wallet_server.members.tags import set_tags, tags_of_member
from wallet_server.purchases.queries import trace_of_purchase
from wallet_server.staff.models import AuditRecord

RULE = {"name": "Press", "family": "customer", "when": {"tags": ["press", "vip"]}, "earn": {"percent": 10}}


def put(shop: Shop, tags: Sequence[str], *, actor: str = "staff:a", now: datetime = NOW) -> tuple[str, ...]:
    with transaction(shop.engine, shop.program.id) as session:
        return set_tags(session, shop.program, shop.member_id, tags, actor=actor, now=now)


def test_exactly_these_tags_are_set_and_those_that_stay_keep_their_origin(engine: Engine) -> None:
    shop = open_shop(engine, members=2)
    assert put(shop, ["vip", "press", "vip"]) == ("press", "vip")
    assert put(shop, ["vip", "blue"], actor="staff:b", now=NOW + timedelta(days=1)) == ("blue", "vip")
    with reading(engine, shop.program.id) as session:
        rows = session.exec(select(MemberTag).order_by(MemberTag.tag)).all()
        assert [(row.tag, row.set_by, row.set_at) for row in rows] == [
            ("blue", "staff:b", NOW + timedelta(days=1)),
            ("vip", "staff:a", NOW),
        ]
        assert tags_of_member(session, shop.members[1].member_id) == ()
        audited = session.exec(
            select(AuditRecord).where(AuditRecord.action == "member.tagged").order_by(AuditRecord.at)
        ).all()
    assert [row.detail for row in audited] == [
        {"added": ["press", "vip"], "removed": []},
        {"added": ["blue"], "removed": ["press"]},
    ]
    assert put(shop, ["vip", "blue"]) == ("blue", "vip")
    with reading(engine, shop.program.id) as session:
        assert len(session.exec(select(AuditRecord).where(AuditRecord.action == "member.tagged")).all()) == 2
    assert put(shop, []) == ()


@pytest.mark.parametrize("tags", [["no tag"], [""], ["-x"], ["a" * 64], ["ok", "VIP!"], [f"t{n}" for n in range(51)]])
def test_bad_tags_are_refused_and_change_nothing(engine: Engine, tags: list[str]) -> None:
    shop = open_shop(engine)
    put(shop, ["vip"])
    with pytest.raises(DomainError) as refused:
        put(shop, tags)
    assert (refused.value.code, refused.value.extra["field"]) == ("validation", "tags")
    with reading(engine, shop.program.id) as session:
        assert tags_of_member(session, shop.member_id) == ("vip",)


def test_nobody_of_another_program_can_be_tagged(engine: Engine) -> None:
    shop = open_shop(engine)
    with transaction(engine, shop.program.id) as session, pytest.raises(DomainError) as refused:
        set_tags(session, shop.program, new_id(), ["vip"], actor="staff:a", now=NOW)
    assert (refused.value.code, refused.value.status) == ("unknown_member", 404)


def test_a_rule_asks_for_the_tags_of_the_moment_and_the_trace_keeps_them(engine: Engine) -> None:
    shop = open_shop(engine, rules=[RULE])
    [before] = shop.record(purchase(shop.card, "1", 100_000))
    put(shop, ["press", "secret"])
    [tagged] = shop.record(purchase(shop.card, "2", 100_000))
    put(shop, [])
    [after] = shop.record(purchase(shop.card, "3", 100_000))
    assert [recorded.quote.points_earned for recorded in (before, tagged, after)] == [10, 100, 10]
    with reading(engine, shop.program.id) as session:
        trace = trace_of_purchase(session, tagged.purchase_id)
    assert trace is not None
    assert trace.trace["facts"]["tags"] == ["press"]
    assert "secret" not in str(trace.trace)
