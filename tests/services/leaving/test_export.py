"""What a member takes along: all of it, in words of JSON, and nobody else's."""

from __future__ import annotations

import json
from datetime import date, timedelta

from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.services.purchases.shop import open_shop, purchase
from tests.statements import heard
from wallet_server.db import reading, transaction
from wallet_server.leaving import export
from wallet_server.leaving.export import export_member
from wallet_server.members.models import Member
from wallet_server.members.services import Enrol, enrol
from wallet_server.members.tags import set_tags
from wallet_server.models import metadata

ELSEWHERE = {
    "posting": "with its entries",
    "purchase_line": "with its purchase",
    "member_statistics": "own percents; the rest is counted from the rows that are there",
    "member_balance": "the balance",
    "lot": "what is left of earnings, as the balance says",
    "hold": "points set aside, as the balance says",
    "adjustment": "with the entry that it made",
    "settlement_line": "what shops owe each other",
    "challenge_contribution": "counted in the progress",
    "campaign_recipient": "with the message",
    "mail": "notes of 30 days, without a text",
    "recovery": "notes of 30 days",
    "hold_lot": "of the hold",
}


def test_everything_that_is_kept_of_a_member_is_in_it(engine: Engine) -> None:
    shop = open_shop(engine, members=2, points={"base_percent": 10})
    with transaction(engine, shop.program.id) as session:
        command = Enrol(phone="+38970123456", name="Ana", birthday=date(1990, 5, 17), marketing=True, channel="till")
        ana = enrol(session, shop.program, command, now=NOW, actor="key:test")
        set_tags(session, shop.program, ana.member_id, ["vip"], actor="staff:a", now=NOW)
    shop.members.insert(0, ana)
    for number in range(3):
        moment = NOW - timedelta(days=number)
        shop.record(purchase(ana.card_number, f"R{number}", 30_000, 1_000, occurred_at=moment))
    [other] = shop.record(purchase(shop.members[1].card_number, "of a stranger", 30_000))
    shop.visit("V1")
    with reading(engine, shop.program.id) as session:
        document = export_member(session, shop.program, session.get_one(Member, ana.member_id), NOW)
    text = json.dumps(document, ensure_ascii=False)
    assert (document["member"]["phone"], document["member"]["birthday"]) == ("+38970123456", "1990-05-17")
    assert [one["number"] for one in document["cards"]] == [ana.card_number]
    assert [one["tag"] for one in document["tags"]] == ["vip"]
    assert {one["kind"] for one in document["consents"]} == {"terms", "marketing"}
    assert [(one["receipt_id"], len(one["lines"]), one["outlet"]) for one in document["purchases"]] == [
        ("R0", 2, "A"), ("R1", 2, "A"), ("R2", 2, "A"),
    ]  # fmt: skip
    assert [one["visit_id"] for one in document["visits"]] == ["V1"]
    assert document["points"][0]["balance_after"] == document["balance"]["spendable"] == shop.balance().spendable
    assert str(other.purchase_id) not in text
    assert "of a stranger" not in text


def test_no_table_about_members_is_forgotten() -> None:
    about = {table.name for table in metadata.sorted_tables if "member_id" in table.c}
    said = {part.model.__tablename__ for part in export._PARTS.values()} | {"purchase", "entry"}
    assert about - said - ELSEWHERE.keys() == set(), "say in the export what is kept, or here why not"
    assert said <= about


def test_the_newest_of_a_kind_come_where_there_are_too_many(engine: Engine, monkeypatch) -> None:
    shop = open_shop(engine)
    monkeypatch.setattr(export, "ROWS_MAX", 2)
    monkeypatch.setattr(export, "_LINES_AT_ONCE", 1)
    for number in range(3):
        shop.record(purchase(shop.card, f"R{number}", 30_000, occurred_at=NOW - timedelta(days=3 - number)))
    with reading(engine, shop.program.id) as session, heard(session) as said:
        document = export_member(session, shop.program, session.get_one(Member, shop.member_id), NOW)
    assert [one["receipt_id"] for one in document["purchases"]] == ["R2", "R1"]
    assert all(one["lines"] for one in document["purchases"])
    assert len(document["points"]) == 2
    assert len(said) < 30
