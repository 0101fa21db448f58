"""Each check of campaigns finds exactly what was broken on purpose."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlmodel import col

from tests.conftest import NOW
from tests.people import add_member, publish
from wallet_server.campaigns import invariants, services
from wallet_server.campaigns.models import Campaign, CampaignRecipient
from wallet_server.db import new_id, set_scope
from wallet_server.notifications.models import Notification
from wallet_server.outbox.models import OutboxRow
from wallet_server.segments.condition import Condition
from wallet_server.segments.services import save_segment

CHECKS = {check.__name__: check for check in invariants.CHECKS}
STATE = col(CampaignRecipient.state)


@pytest.fixture
def campaign(session, monkeypatch):
    """In each of two programs: a campaign of which one batch is sent and one waits, and one not launched."""
    monkeypatch.setattr(services, "BATCH_MEMBERS", 2)
    campaigns = []
    for slug in ("one", "two"):
        program = publish(session, NOW, slug=slug)
        for marketing in (True, False, True):
            add_member(session, program, NOW, marketing=marketing)
        segment = save_segment(session, program, code="s", name="S", condition=Condition(), actor="cli", now=NOW)
        made = [
            services.create(
                session, program, name=name, segment_id=segment.id, message={"mk": "x"}, actor="cli", now=NOW
            )
            for name in ("sent", "draft")
        ]
        services.launch(session, program, made[0].id, now=NOW, actor="cli")
        services.send_batch(session, program, made[0].id, 0, NOW)
        row = session.execute(sa.select(OutboxRow).where(OutboxRow.payload["batch"].as_integer() == 0)).scalars()
        for first in row:
            first.state = "done"
        session.flush()
        campaigns.append(made[0])
    return campaigns[0]


def broken(session):
    return {name for name, check in CHECKS.items() if check(session)}


def test_what_the_services_write_breaks_nothing(session, campaign):
    assert broken(session) == set()
    states = session.execute(sa.select(STATE).where(col(CampaignRecipient.campaign_id) == campaign.id)).scalars()
    assert sorted(states) == ["shown", "suppressed", "waiting"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (sa.update(Campaign).where(col(Campaign.name) == "sent").values(launched_at=None), "audiences_were_frozen"),
        (sa.update(Campaign).where(col(Campaign.name) == "draft").values(launched_at=NOW), "audiences_were_frozen"),
        (sa.delete(Notification).where(col(Notification.state) == "shown"), "recipients_agree"),
        (sa.update(Notification).where(col(Notification.state) == "shown").values(shown_at=None), "messages_are_shown"),
        (sa.update(CampaignRecipient).where(STATE == "suppressed").values(state="shown"), "recipients_agree"),
        (sa.update(CampaignRecipient).where(STATE == "shown").values(decided_at=None), "recipients_agree"),
        (sa.update(CampaignRecipient).where(STATE == "waiting").values(batch=7), "nobody_waits"),
    ],
)
def test_a_broken_row_is_found_by_its_check(session, campaign, statement, expected):
    session.connection().execute(statement.where(statement.table.c.program_id == campaign.program_id))
    [name] = broken(session)
    assert name.startswith(expected)
    found = CHECKS[name](session)
    assert len(found) == 1
    set_scope(session, campaign.program_id)
    assert CHECKS[name](session) == found
    set_scope(session, new_id())
    assert broken(session) == set()


def test_a_batch_whose_outbox_row_is_gone_is_found(session, campaign):
    rows = sa.delete(OutboxRow).where(
        OutboxRow.payload["batch"].as_integer() == 1, col(OutboxRow.program_id) == campaign.program_id
    )
    session.execute(rows, execution_options={"synchronize_session": False})
    assert broken(session) == {"nobody_waits_for_nothing"}


def test_a_failed_batch_is_no_lost_one(session, campaign):
    for row in session.execute(sa.select(OutboxRow).where(OutboxRow.payload["batch"].as_integer() == 1)).scalars():
        row.state = "failed"
    session.flush()
    assert broken(session) == set()
    assert services.fail_given_up(session, NOW) == 2
    assert broken(session) == set()
