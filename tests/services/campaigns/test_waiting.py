"""A campaign whose members may not be disturbed now goes on later, and ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.people import add_member, publish
from tests.services.campaigns.test_campaigns import made, rows, start
from wallet_server.campaigns import services
from wallet_server.campaigns.invariants import CHECKS
from wallet_server.campaigns.queries import progress
from wallet_server.campaigns.services import send_batch
from wallet_server.notifications.models import Notification
from wallet_server.notifications.queries import newest
from wallet_server.outbox.models import OutboxRow

NIGHT = datetime(2026, 11, 23, 21, 30, tzinfo=UTC)
"""Half past ten in the evening in Skopje."""
MORNING = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
QUIET = {"quiet_hours": {"from": "21:00", "to": "09:00"}}


def work(session: Session) -> list[OutboxRow]:
    session.expire_all()
    due = select(OutboxRow).where(OutboxRow.topic == services.BATCH_DUE, OutboxRow.state == "waiting")
    return list(session.exec(due.order_by(col(OutboxRow.id))))


def send(session: Session, program, campaign, now: datetime) -> None:
    """Do the batch's work as a worker does; the campaign's books agree afterwards."""
    [row] = work(session)
    assert row.not_before <= now, "nobody works before its time"
    row.state = "done"
    session.flush()
    send_batch(session, program, campaign.id, row.payload["batch"], now)
    session.flush()
    assert [violation for check in CHECKS for violation in check(session)] == []


def test_in_the_night_a_campaign_waits_for_the_morning(session):
    program = publish(session, NOW, notifications=QUIET)
    member, silent = add_member(session, program, NOW), add_member(session, program, NOW, marketing=False)
    campaign = made(session, program)
    start(session, program, campaign, NIGHT)
    send(session, program, campaign, NIGHT)
    done = progress(session, campaign.id)
    assert (done.waiting, done.shown, done.suppressed) == (1, 0, {"no_consent": 1})
    [message] = rows(session, Notification, member_id=member)
    assert (message.state, message.reason, message.deferred_until) == ("deferred", "quiet_hours", MORNING)
    [row] = work(session)
    assert row.not_before == MORNING
    send(session, program, campaign, MORNING)
    assert newest(session, [member, silent]) == {member: "Здраво"}
    assert (progress(session, campaign.id).finished, work(session)) == (True, [])


def test_a_second_campaign_of_a_day_waits_and_a_third_is_too_late(session):
    program = publish(session, NOW, notifications={"promotions_per_day": 1, "promotion_wait_hours": 30})
    member = add_member(session, program, NOW)
    first, second, third = (made(session, program, message={"mk": text}) for text in ("1", "2", "3"))
    start(session, program, first)
    send(session, program, first, NOW)
    start(session, program, second, NOW + timedelta(hours=1))
    send(session, program, second, NOW + timedelta(hours=1))
    assert newest(session, [member]) == {member: "1"}
    assert [row.not_before for row in work(session)] == [NOW + timedelta(hours=24)]
    send(session, program, second, NOW + timedelta(hours=24))
    assert newest(session, [member]) == {member: "2"}
    start(session, program, third, NOW + timedelta(hours=25))
    send(session, program, third, NOW + timedelta(hours=25))
    program = publish(session, NOW, notifications={"promotions_per_day": 0, "promotion_wait_hours": 30})
    send(session, program, third, NOW + timedelta(hours=48))
    assert progress(session, third.id).suppressed == {"day_limit": 1}, "there will be no room in time"


def test_members_who_are_put_off_to_different_moments_share_a_batch(session):
    program = publish(session, NOW, notifications={"promotions_per_day": 1})
    members = [add_member(session, program, NOW) for _ in range(3)]
    early = made(session, program)
    start(session, program, early)
    [row] = work(session)
    for minute, member in enumerate(members):
        wanted = [services.Wanted(member, f"other:{minute}", "x")]
        services.ask(session, program, wanted, NOW - timedelta(hours=20) + timedelta(seconds=minute))
    send(session, program, early, NOW)
    [row] = work(session)
    assert row.not_before == NOW + timedelta(hours=4)
    send(session, program, early, NOW + timedelta(hours=4))
    [row] = work(session)
    assert row.not_before == NOW + timedelta(hours=4) + services.AGAIN_AFTER_MIN, "the next two, ten seconds later"
    send(session, program, early, row.not_before)
    assert progress(session, early.id).shown == 3
