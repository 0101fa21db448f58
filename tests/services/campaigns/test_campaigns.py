"""A campaign reaches each member of its frozen audience exactly once, whatever dies on the way."""

from __future__ import annotations

import random
import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlmodel import col, select

from tests.conftest import NOW
from tests.people import add_member, publish
from wallet_server.campaigns import services
from wallet_server.campaigns.models import Campaign, CampaignRecipient
from wallet_server.campaigns.queries import find_campaign, list_campaigns, preview, progress
from wallet_server.campaigns.services import create, fail_given_up, launch, send_batch
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.issuance.models import IssuedPass
from wallet_server.members.models import MemberStatistics
from wallet_server.notifications.models import Notification
from wallet_server.notifications.queries import newest
from wallet_server.outbox.models import OutboxRow
from wallet_server.segments.condition import Condition
from wallet_server.segments.services import save_segment
from wallet_server.staff import audit

MESSAGE = {"mk": "Здраво", "en": "Hello"}
LATER = NOW + timedelta(minutes=5)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(services, "BATCH_MEMBERS", 4)


def made(session, program, condition=None, **values):
    condition = Condition.model_validate(condition or {})
    segment = save_segment(session, program, code="s", name="S", condition=condition, actor="staff:o", now=NOW)
    known = {"name": "Autumn", "segment_id": segment.id, "message": MESSAGE, "actor": "staff:o", "now": NOW}
    return create(session, program, **known | values)


def start(session, program, campaign, now=NOW):
    return launch(session, program, campaign.id, now=now, actor="staff:o")


def rows(session, model=CampaignRecipient, **where):
    session.expire_all()
    return session.exec(select(model).filter_by(**where)).all()


def batches(session):
    due = session.exec(select(OutboxRow).where(col(OutboxRow.topic) == services.BATCH_DUE)).all()
    assert all(row.queue == "bulk" and row.payload["v"] == 1 for row in due)
    return sorted(row.payload["batch"] for row in due)


def test_a_launch_freezes_the_audience_in_batches(session):
    program, other = publish(session, NOW), publish(session, NOW, slug="other")
    members = {add_member(session, program, NOW, tier="silver") for _ in range(10)}
    add_member(session, program, NOW)
    add_member(session, other, NOW, tier="silver")
    campaign = made(session, program, {"tiers": ["silver"]})
    assert progress(session, campaign.id).audience == 0
    assert start(session, program, campaign) == 10
    add_member(session, program, NOW, tier="silver")  # too late
    recipients = rows(session)
    assert {row.member_id for row in recipients} == members
    assert sorted(row.batch for row in recipients) == [0] * 4 + [1] * 4 + [2] * 2
    assert {row.state for row in recipients} == {"waiting"}
    assert batches(session) == [0, 1, 2]
    assert find_campaign(session, program, campaign.id).launched_at == NOW
    assert audit.newest(session, program.id)[0].action == "campaign.launched"


def test_the_segment_counts_as_it_is_at_launch(session):
    program = publish(session, NOW)
    add_member(session, program, NOW)
    silver = add_member(session, program, NOW, tier="silver")
    campaign = made(session, program)
    save_segment(
        session, program, code="s", name="S", condition=Condition(tiers=["silver"]), actor="staff:o", now=LATER
    )
    assert start(session, program, campaign, LATER) == 1
    assert [row.member_id for row in rows(session)] == [silver]
    assert find_campaign(session, program, campaign.id).condition == {"tiers": ["silver"]}


def test_everybody_in_a_batch_is_decided_in_their_language(session):
    program = publish(session, NOW)
    macedonian = add_member(session, program, NOW)
    english = add_member(session, program, NOW, language="en")
    russian = add_member(session, program, NOW, language="ru")  # no text: the program's first language
    silent = add_member(session, program, NOW, marketing=False)
    campaign = made(session, program)
    start(session, program, campaign)
    assert send_batch(session, program, campaign.id, 0, LATER) == 4
    assert newest(session, [macedonian, english, russian, silent]) == {
        macedonian: "Здраво",
        english: "Hello",
        russian: "Здраво",
    }
    states = {row.member_id: (row.state, row.reason, row.decided_at) for row in rows(session)}
    assert states[silent] == ("suppressed", "no_consent", LATER)
    assert states[english] == ("shown", "", LATER)


def test_text_is_never_evaluated(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    text = "{{ 7*7 }} ${x} %(name)s <b>%@</b>"
    campaign = made(session, program, message={"mk": text})
    start(session, program, campaign)
    send_batch(session, program, campaign.id, 0, NOW)
    assert newest(session, [member]) == {member: text}


def test_consent_taken_back_after_the_launch_is_heard(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    campaign = made(session, program)
    start(session, program, campaign)
    session.get(MemberStatistics, member).marketing = False
    session.flush()
    send_batch(session, program, campaign.id, 0, NOW)
    assert progress(session, campaign.id).suppressed == {"no_consent": 1}


def test_a_batch_that_runs_again_finds_nobody(session):
    program = publish(session, NOW)
    member = add_member(session, program, NOW)
    campaign = made(session, program)
    start(session, program, campaign)
    assert [send_batch(session, program, campaign.id, 0, NOW) for _ in range(3)] == [1, 0, 0]
    assert [row.version for row in rows(session, IssuedPass, member_id=member)] == [2]
    assert send_batch(session, program, campaign.id, 99, NOW) == 0
    assert send_batch(session, program, new_id(), 0, NOW) == 0


def test_a_campaign_that_was_not_launched_sends_nothing(session):
    program = publish(session, NOW)
    add_member(session, program, NOW)
    assert send_batch(session, program, made(session, program).id, 0, NOW) == 0


def test_a_second_launch_is_refused(session):
    program = publish(session, NOW)
    add_member(session, program, NOW)
    campaign = made(session, program)
    start(session, program, campaign)
    with pytest.raises(DomainError) as refused:
        start(session, program, campaign, LATER)
    assert (refused.value.code, refused.value.status) == ("campaign_launched", 409)
    assert (len(rows(session)), batches(session)) == (1, [0])


def test_a_launch_after_the_end_is_refused(session):
    program = publish(session, NOW)
    add_member(session, program, NOW)
    campaign = made(session, program, ends_at=LATER)
    with pytest.raises(DomainError) as refused:
        start(session, program, campaign, LATER)
    assert (refused.value.code, refused.value.status) == ("campaign_over", 409)
    assert (find_campaign(session, program, campaign.id).launched_at, batches(session)) == (None, [])
    start(session, program, campaign, LATER - timedelta(seconds=1))
    assert batches(session) == [0]


def test_nobody_to_send_to_is_refused(session):
    program = publish(session, NOW)
    campaign = made(session, program)
    with pytest.raises(DomainError) as refused:
        start(session, program, campaign)
    assert (refused.value.code, refused.value.status) == ("empty_audience", 409)
    assert find_campaign(session, program, campaign.id).launched_at is None
    assert batches(session) == []


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"message": {}}, "message.mk"),
        ({"message": {"en": "Hello"}}, "message.mk"),
        ({"message": {"mk": "  "}}, "message.mk"),
        ({"message": {"mk": "x" * 201}}, "message.mk"),
        ({"message": {"mk": "x", "de": "Hallo"}}, "message.de"),
        ({"message": {"mk": "x\u0007y"}}, "message.mk"),
    ],
)
def test_a_bad_campaign_is_refused(session, values, field):
    program = publish(session, NOW)
    with pytest.raises(DomainError) as refused:
        made(session, program, **values)
    assert (refused.value.code, refused.value.extra["field"]) == ("validation", field)
    assert list_campaigns(session, program) == []


def test_another_programs_campaign_does_not_exist(session):
    program, other = publish(session, NOW), publish(session, NOW, slug="other")
    add_member(session, program, NOW)
    campaign = made(session, program)
    for attempt in (
        lambda: start(session, other, campaign),
        lambda: find_campaign(session, other, campaign.id),
        lambda: create(
            session, other, name="x", segment_id=campaign.segment_id, message=MESSAGE, actor="staff:o", now=NOW
        ),
    ):
        with pytest.raises(DomainError) as refused:
            attempt()
        assert refused.value.status == 404
    assert send_batch(session, other, campaign.id, 0, NOW) == 0
    assert list_campaigns(session, other) == []


def test_progress_adds_up_and_tells_what_arrived(session):
    program = publish(session, NOW)
    members = [add_member(session, program, NOW) for _ in range(5)]
    add_member(session, program, NOW, marketing=False)
    add_member(session, program, NOW, live=False)
    campaign = made(session, program)
    start(session, program, campaign)
    for row in rows(session, IssuedPass):
        row.pushed_at = row.fetched_at = NOW  # of before the message
    session.flush()
    for batch in (0, 1):
        assert not progress(session, campaign.id).finished
        send_batch(session, program, campaign.id, batch, LATER)
    pushed, fetched = members[0], members[1]
    for row in rows(session, IssuedPass):
        if row.member_id in (pushed, fetched):
            row.pushed_at = LATER
        if row.member_id == fetched:
            row.fetched_at = LATER + timedelta(seconds=1)
    session.flush()
    done = progress(session, campaign.id)
    assert (done.audience, done.waiting, done.shown, done.failed, done.decided) == (7, 0, 5, 0, 7)
    assert done.suppressed == {"no_consent": 1, "no_pass": 1}
    assert (done.accepted, done.fetched, done.finished) == (2, 1, True)


def test_a_preview_says_whom_it_would_reach(session):
    program = publish(session, NOW)
    for marketing in (True, True, False):
        for live in (True, False):
            add_member(session, program, NOW, marketing=marketing, live=live)
    found = preview(session, program, Condition(), NOW)
    assert (found.audience, found.reachable) == (6, 2)


def test_a_batch_that_was_given_up_fails_its_members_and_ends_the_campaign(session):
    program = publish(session, NOW)
    for _ in range(6):
        add_member(session, program, NOW)
    campaign = made(session, program)
    start(session, program, campaign)
    send_batch(session, program, campaign.id, 0, NOW)
    assert fail_given_up(session, NOW) == 0
    for row in session.exec(select(OutboxRow).where(col(OutboxRow.topic) == services.BATCH_DUE)):
        row.state = "failed"
    session.flush()
    assert fail_given_up(session, LATER) == 2
    assert fail_given_up(session, LATER) == 0
    done = progress(session, campaign.id)
    assert (done.shown, done.failed, done.finished) == (4, 2, True)
    assert {row.reason for row in rows(session, state="failed")} == {"given_up"}


def test_campaigns_are_listed_newest_first(session):
    program = publish(session, NOW)
    for hour in range(3):
        made(session, program, name=f"c{hour}", now=NOW + timedelta(hours=hour))
    assert [c.name for c in list_campaigns(session, program, limit=2)] == ["c2", "c1"]


class Crash(Exception):
    """A worker that died."""


def test_listmonk_3022_fetch_checkpoint(engine, monkeypatch):
    """Workers die at random points, run again and overlap: nobody is lost and nobody is doubled (C2, C3)."""
    rng = random.Random(11)
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        members = [add_member(session, program, NOW, marketing=rng.random() < 0.8) for _ in range(40)]
        campaign = made(session, program)
        start(session, program, campaign)
    real_ask, real_mark = services.ask, services._mark

    def sometimes(real):
        def patched(*arguments, **values):
            if rng.random() < 0.3:
                raise Crash
            result = real(*arguments, **values)
            if rng.random() < 0.3:
                raise Crash
            return result

        return patched

    monkeypatch.setattr(services, "ask", sometimes(real_ask))
    monkeypatch.setattr(services, "_mark", sometimes(real_mark))
    crashes, finished = 0, set()
    for _round in range(200):
        if len(finished) == 10:
            break
        for batch in rng.sample(range(10), 10):
            try:
                with transaction(engine, program.id) as session:
                    send_batch(session, program, campaign.id, batch, NOW)
                finished.add(batch)  # an outbox row that is done; the others are run again
            except Crash:
                crashes += 1
    assert crashes > 10
    with reading(engine, program.id) as session:
        done = progress(session, campaign.id)
        assert done.finished
        assert done.shown + sum(done.suppressed.values()) == len(members) == done.audience
        messages = session.exec(select(Notification)).all()
        assert len(messages) == len({message.member_id for message in messages}) == len(members)
        assert sum(message.state == "shown" for message in messages) == done.shown
        for row in session.exec(select(IssuedPass)):
            shown = any(m.member_id == row.member_id and m.state == "shown" for m in messages)
            assert row.version == (2 if shown else 1)


def test_mautic_3669_two_crons(engine):
    """Several workers with the same batches at the same moment."""
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        for _ in range(20):
            add_member(session, program, NOW)
        campaign = made(session, program)
        start(session, program, campaign)
    sent: list[int] = []
    errors: list[BaseException] = []
    ready = threading.Barrier(4)

    def worker() -> None:
        ready.wait(timeout=20)
        try:
            for batch in range(5):
                with transaction(engine, program.id) as session:
                    sent.append(send_batch(session, program, campaign.id, batch, NOW))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert sum(sent) == 20
    with reading(engine, program.id) as session:
        assert session.exec(select(sa.func.count()).select_from(Notification)).one() == 20
        assert set(session.exec(select(IssuedPass.version))) == {2}


def test_two_launches_at_once_make_one_audience(engine):
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW)
        for _ in range(6):
            add_member(session, program, NOW)
        campaign = made(session, program)
    outcomes: list[object] = []
    ready = threading.Barrier(4)

    def launcher() -> None:
        ready.wait(timeout=20)
        try:
            with transaction(engine, program.id) as session:
                outcomes.append(launch(session, program, campaign.id, now=NOW, actor="staff:o"))
        except DomainError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=launcher) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcomes, key=str) == [6, *["campaign_launched"] * 3]
    with transaction(engine, ALL_PROGRAMS) as session:
        assert batches(session) == [0, 1]
        assert session.exec(select(Campaign.launched_at)).one() == NOW
