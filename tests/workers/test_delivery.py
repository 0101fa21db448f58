"""The tick counts what phones fetched, notes whom a campaign has reached, and raises the alarm."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import select
from structlog.testing import capture_logs

from passes.apple.push_outcome import PushVerdict
from tests.conftest import NOW
from wallet_server.campaigns.models import Campaign, CampaignRecipient
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.deliveries import record_fetch
from wallet_server.issuance.models import DeliveryHour, DeliveryMark, DeliveryWatch
from wallet_server.segments.models import Segment
from workers.delivery import count_deliveries, watch_deliveries


def fetch(workshop, member_id) -> None:
    issued = workshop.issued(member_id)
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        record_fetch(session, issued.id, issued.version, workshop.clock.now())


def all_rows(workshop, model):
    with reading(workshop.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(model)))


def test_a_change_is_pushed_fetched_and_counted_once(workshop, clock):
    ana = workshop.on_phone(workshop.join(), "aa")
    count_deliveries(workshop.context)
    clock.advance(60)
    workshop.change(ana)
    clock.advance(2)
    workshop.work()
    clock.advance(2)
    fetch(workshop, ana)
    for _ in range(3):
        clock.advance(5)
        count_deliveries(workshop.context)
    found = {(row.step, row.updates, row.lag_ms) for row in all_rows(workshop, DeliveryHour)}
    assert found == {("accepted", 1, 2_000), ("fetched", 1, 4_000)}


def test_an_idle_server_writes_nothing_while_it_counts(workshop, clock):
    count_deliveries(workshop.context)
    [mark] = all_rows(workshop, DeliveryMark)
    clock.advance(100)
    count_deliveries(workshop.context)
    assert all_rows(workshop, DeliveryMark) == [mark]


def test_a_mark_that_a_moved_clock_left_behind_comes_back(workshop, clock):
    clock.advance(86_400)
    count_deliveries(workshop.context)
    clock.advance(-86_000)
    count_deliveries(workshop.context)
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    clock.advance(5)
    fetch(workshop, ana)
    clock.advance(5)
    count_deliveries(workshop.context)
    assert [(row.step, row.updates) for row in all_rows(workshop, DeliveryHour)] == [("fetched", 1)]


def test_a_refusal_is_seen_on_the_pass_and_a_removal_by_apple_too(workshop, clock):
    ana, boris = workshop.on_phone(workshop.join(), "aa"), workshop.on_phone(workshop.join(), "bb")
    workshop.pushes.answers = {
        "aa": (PushVerdict.RETRY_LATER, 503, "ServiceUnavailable", None),
        "bb": (PushVerdict.GONE, 410, "Unregistered", clock.now() + timedelta(seconds=1)),
    }
    workshop.change(ana, boris)
    clock.advance(5)
    workshop.work()
    assert workshop.issued(ana).push_error == "503 ServiceUnavailable"
    assert (workshop.issued(boris).removed_why, workshop.issued(boris).removed_at) == ("unreachable", clock.now())
    workshop.pushes.answers = {}
    clock.advance(600)
    workshop.work()
    assert workshop.issued(ana).push_error is None


def test_a_campaigns_recipient_is_reached_by_the_fetch_that_follows(workshop, clock):
    ana, boris = workshop.on_phone(workshop.join(), "aa"), workshop.on_phone(workshop.join(), "bb")
    count_deliveries(workshop.context)
    clock.advance(1)
    owned = {"program_id": workshop.program.id}
    with transaction(workshop.engine, ALL_PROGRAMS) as session:
        segment = Segment(code="all", name="All", condition={}, updated_at=NOW, **owned)
        campaign = Campaign(
            name="x", segment_id=segment.id, condition={}, message={}, created_at=NOW, created_by="cli", **owned
        )
        for rows in ([segment], [campaign]):
            session.add_all(rows)
            session.flush()
        for member_id in (ana, boris):
            session.add(
                CampaignRecipient(
                    campaign_id=campaign.id,
                    member_id=member_id,
                    batch=0,
                    state="shown",
                    decided_at=clock.now(),
                    **owned,
                )
            )
    workshop.change(ana, boris)
    clock.advance(7)
    fetch(workshop, ana)
    clock.advance(10)
    count_deliveries(workshop.context)
    found = {row.member_id: row.reached_at for row in all_rows(workshop, CampaignRecipient)}
    assert found == {ana: NOW + timedelta(seconds=8), boris: None}


def test_the_log_says_when_an_alarm_begins_and_when_it_ends(workshop, clock):
    members = [workshop.on_phone(workshop.join(), f"{number:04x}") for number in range(20)]
    workshop.pushes.answers = {
        f"{number:04x}": (PushVerdict.CONFIGURATION, 403, "BadCertificate", None) for number in range(20)
    }
    workshop.change(*members)
    workshop.work()
    with capture_logs() as logs:
        watch_deliveries(workshop.context)
        watch_deliveries(workshop.context)
    [said] = logs
    assert (said["log_level"], said["program"], said["passes"]) == ("error", workshop.program.slug, 20)
    assert said["reason"] == "403 BadCertificate"
    workshop.pushes.answers = {}
    clock.advance(3600)
    workshop.work()
    with capture_logs() as logs:
        watch_deliveries(workshop.context)
    assert [entry["log_level"] for entry in logs] == ["info"]
    [watch] = all_rows(workshop, DeliveryWatch)
    assert watch.passes["apple"] == {"accepted": 20}
