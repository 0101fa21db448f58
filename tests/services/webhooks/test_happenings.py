"""What happens in the program is told: each change by the service that makes it, in its order, and imports never."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.factories import program_file
from tests.services.webhooks.conftest import AddWebhook
from wallet_server.db import set_scope
from wallet_server.ledger.adjustments import Adjust, adjust, decide
from wallet_server.ledger.expiry import expire_due
from wallet_server.ledger.holds import PlaceHold, capture_hold, expire_holds, place_hold, release_hold
from wallet_server.members.services import Enrol, enrol, enrol_many
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.commands import LineInput, RecordPurchase, RecordVisit, RefundPurchase
from wallet_server.purchases.refunds import refund_purchase
from wallet_server.purchases.services import record_purchase, record_purchases
from wallet_server.purchases.visits import record_visit
from wallet_server.rewards.services import redeem_voucher
from wallet_server.tiers.services import grant_tier
from wallet_server.webhooks.events import EVENTS
from wallet_server.webhooks.models import WebhookDelivery

DAY = timedelta(days=1)


class World:
    """The café with a webhook that hears everything, and Ana, who joined before it was there."""

    def __init__(self, session: Session, program: ProgramDefinition) -> None:
        self.session = session
        self.program = program
        self.receipts = 0
        self.seen: set[UUID] = set()
        self.ana = enrol(session, program, Enrol(phone="+38970123456"), now=NOW, actor="member")

    def buy(self, *lines: LineInput, now: Any = NOW, **values: Any) -> Any:
        self.receipts += 1
        number = f"A-{self.receipts}"
        command = RecordPurchase(number, self.ana.card_number, "A", now, lines or (burgers(1),), **values)
        return record_purchase(self.session, self.program, command, now=now, source="till", recorded_by="key:x")

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Names and data of the messages since the last look, in the order of delivery."""
        self.session.flush()
        self.session.expire_all()
        rows = [
            row
            for row in self.session.exec(select(WebhookDelivery).order_by(col(WebhookDelivery.id)))
            if row.id not in self.seen
        ]
        self.seen |= {row.id for row in rows}
        assert all(row.payload["data"] == {**row.payload["data"]} for row in rows)
        assert {row.subject for row in rows} <= {str(self.ana.member_id), str(self.program.id)}
        return [(row.event, row.payload["data"]) for row in rows]

    def names(self) -> list[str]:
        return [name for name, _data in self.told()]

    def publish(self, **sections: Any) -> None:
        file = ProgramFile.model_validate(program_file(**sections))
        apply_program(self.session, file, now=NOW, actor="cli")
        self.program = load_program(self.session, program_id=self.program.id)


def burgers(count: int, price: int = 45000) -> LineInput:
    return LineInput("burger", None, count * 1000, price)


@pytest.fixture
def world(session: Session, program: ProgramDefinition, add_webhook: AddWebhook) -> World:
    world = World(session, program)
    add_webhook()
    set_scope(session, program.id)
    return world


def test_a_new_member_is_told_without_saying_who_it_is(world: World) -> None:
    joined = enrol(
        world.session,
        world.program,
        Enrol(phone="+38970999888", email="b@example.com", name="Boris", outlet="A", channel="till", language="mk"),
        now=NOW,
        actor="key:x",
    )
    again = enrol(world.session, world.program, Enrol(phone="+38970999888"), now=NOW, actor="key:x")
    assert not again.created
    world.ana = joined
    assert world.told() == [
        (
            "member.enrolled",
            {
                "member_id": str(joined.member_id),
                "card_number": joined.card_number,
                "channel": "till",
                "language": "mk",
                "outlet": "A",
            },
        )
    ]


def test_a_purchase_is_told_before_what_follows_from_it(world: World) -> None:
    recorded = world.buy(burgers(5, 250000))
    (first, data), *rest = world.told()
    assert first == "purchase.recorded"
    assert data == {
        "purchase_id": str(recorded.purchase_id),
        "receipt_id": "A-1",
        "member_id": str(world.ana.member_id),
        "card_number": world.ana.card_number,
        "outlet": "A",
        "occurred_at": NOW.isoformat(),
        "total_minor": 1250000,
        "discount_minor": 0,
        "money_due_minor": 1250000,
        "points_redeemed": 0,
        "points_earned": 125,
        "balance": {"spendable": 125, "pending": 0},
    }
    assert [name for name, _data in rest] == ["tier.changed", "challenge.completed", "voucher.issued"]
    [tier, challenge, voucher] = [data for _name, data in rest]
    assert (tier["from"], tier["to"]) == ("base", "silver")
    assert (challenge["challenge"], challenge["round"]) == ("burgers", 1)
    assert challenge["purchase_id"] == str(recorded.purchase_id)
    assert voucher["code"] == recorded.rewards[0].voucher_code
    assert voucher["origin"].startswith("challenge:burgers:")


def test_a_voucher_is_told_when_it_is_used(world: World) -> None:
    code = world.buy(burgers(5)).rewards[0].voucher_code
    world.told()
    redeem_voucher(
        world.session, world.program, code, outlet="A", occurred_at=NOW, receipt_id="A-9", actor="key:x", now=NOW
    )
    [(name, data)] = world.told()
    assert name == "voucher.redeemed"
    assert (data["code"], data["outlet"], data["receipt_id"]) == (code, "A", "A-9")
    assert data["member_id"] == str(world.ana.member_id)


def test_a_refund_is_told_with_what_came_back(world: World) -> None:
    recorded = world.buy(burgers(2, 600000))
    world.told()
    refund = RefundPurchase(recorded.purchase_id, "R-1", ((1, 1500),))
    refund_purchase(world.session, world.program, refund, now=NOW, recorded_by="key:x")
    (name, data), *rest = world.told()
    assert name == "purchase.refunded"
    assert data["lines"] == [{"line": 1, "quantity": "1.5"}]
    assert (data["refund_id"], data["receipt_id"], data["amount_minor"]) == ("R-1", "A-1", 900000)
    assert data["points_taken_back"] == 90
    assert [name for name, _data in rest] == ["tier.changed"]


def test_a_visit_is_told(world: World) -> None:
    visit = RecordVisit(world.ana.card_number, "B", NOW, "V-1")
    visited = record_visit(world.session, world.program, visit, now=NOW, recorded_by="key:x")
    [(name, data)] = world.told()
    assert (name, data["visit_id"], data["outlet"], data["visit"]) == ("visit.recorded", "V-1", "B", str(visited.id))


def test_holds_are_told_from_beginning_to_end(world: World) -> None:
    world.buy(burgers(20))
    world.told()
    place = PlaceHold(world.ana.card_number, "A", 30, 600)
    options = {"now": NOW, "actor": "key:x"}
    session, program = world.session, world.program
    first, second, third = (place_hold(session, program, place, **options) for _ in range(3))
    capture_hold(session, program, first.id, points=10, **options)
    release_hold(session, program, second.id, **options)
    expire_holds(session, NOW + timedelta(minutes=11))
    told = world.told()
    assert [name for name, _data in told] == ["hold.placed"] * 3 + ["hold.captured"] + ["hold.released"] * 2
    assert [data["captured_points"] for name, data in told if name == "hold.captured"] == [10]
    assert [data["state"] for _name, data in told[-2:]] == ["released", "expired"]
    assert told[-1][1]["hold_id"] == str(third.id)


def test_corrections_are_told_when_they_are_made_and_not_when_they_are_asked_for(world: World) -> None:
    session, ana = world.session, world.ana.member_id
    adjust(session, world.program, Adjust(5, "Sorry", member_id=ana), role="owner", actor="staff:a@x", now=NOW)
    [(name, data)] = world.told()
    assert (name, data["points"], data["spendable"]) == ("points.adjusted", 5, 5)
    above = world.program.points.adjustments.four_eyes_above + 1
    waiting = adjust(
        session, world.program, Adjust(above, "Sorry a lot", member_id=ana), role="owner", actor="staff:a@x", now=NOW
    )
    assert world.told() == []
    decide(session, world.program, waiting.adjustment_id, approve=True, role="owner", actor="staff:b@x", now=NOW)
    assert world.names() == ["points.adjusted"]


def test_points_that_expire_are_told(world: World) -> None:
    points = {**program_file()["program"]["points"], "expiry": {"kind": "rolling_days", "days": 30}}
    world.publish(program={**program_file()["program"], "points": points})
    world.buy(burgers(10))
    world.told()
    expire_due(world.session, NOW + 40 * DAY)
    [(name, data)] = world.told()
    assert (name, data["member_id"]) == ("points.expired", str(world.ana.member_id))


def test_a_tier_that_is_given_is_told(world: World) -> None:
    grant_tier(
        world.session, world.program, world.ana.member_id, tier="silver", until=NOW + DAY, actor="staff:a", now=NOW
    )
    [(name, data)] = world.told()
    assert (name, data["to"], data["reason"]) == ("tier.changed", "silver", "granted")


def test_a_new_version_of_the_program_is_told(world: World) -> None:
    before = world.program.version
    world.publish(challenges=[], **{"pass": {}})
    [(name, data)] = world.told()
    assert (name, data["version"]) == ("program.published", before + 1)
    world.publish(challenges=[], **{"pass": {}})
    assert world.told() == []


def test_imports_tell_nothing_of_the_past(world: World) -> None:
    session, program = world.session, world.program
    enrol_many(session, program, [Enrol(phone="+38970555444", channel="import")], now=NOW, actor="cli")
    command = RecordPurchase("I-1", world.ana.card_number, "A", NOW - 40 * DAY, (burgers(5, 500000),))
    recorded = record_purchases(session, program, [command], now=NOW, source="import", recorded_by="cli")
    assert recorded[0].rewards
    assert world.told() == []
    world.buy()
    assert world.names() == ["purchase.recorded"], "after the import others are told again"


def test_the_page_lists_every_event_with_the_data_that_is_sent(world: World) -> None:
    """docs/webhooks.md and the code say the same names; what a purchase's message holds is on the page."""
    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z]+\.[a-z]+)` \| [^|]+ \| ([^|]+) \|$", page, flags=re.MULTILINE))
    assert set(rows) == {*EVENTS, "webhook.test"}
    world.buy(burgers(5, 250000))
    visit = RecordVisit(world.ana.card_number, "B", NOW, "V-1")
    record_visit(world.session, world.program, visit, now=NOW, recorded_by="key:x")
    for name, data in world.told():
        documented = set(re.findall(r"`([a-z_]+)`", rows[name]))
        assert set(data) <= documented, name
