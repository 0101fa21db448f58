"""What became of a campaign's messages, by wallet, and how soon iPhones had them."""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import select

from tests.conftest import NOW
from tests.people import add_member, publish
from wallet_server.campaigns.delivery_queries import delivery
from wallet_server.campaigns.models import Campaign, CampaignRecipient
from wallet_server.campaigns.reached import note_reached
from wallet_server.issuance.delivery import PassState
from wallet_server.issuance.models import IssuedPass
from wallet_server.segments.models import Segment

LATER = NOW + timedelta(hours=30)


def at(seconds: float):
    return NOW + timedelta(seconds=seconds)


def launched(session):
    """A campaign of a fresh program, and the members that it was shown to."""
    program = publish(session, NOW)
    owned = {"program_id": program.id}
    segment = Segment(code="all", name="All", condition={}, updated_at=NOW, **owned)
    session.add(segment)
    session.flush()
    campaign = Campaign(
        name="x", segment_id=segment.id, condition={}, message={}, created_at=NOW, created_by="cli", **owned
    )
    session.add(campaign)
    session.flush()
    return program, campaign


def recipient(session, program, campaign, **facts):
    """A member to whom the message was shown now, whose card on an iPhone is in this condition."""
    member_id = add_member(session, program, NOW, live=True)
    issued = session.exec(select(IssuedPass).where(IssuedPass.member_id == member_id)).one()
    for name, value in facts.items():
        setattr(issued, name, value)
    session.add(
        CampaignRecipient(
            program_id=program.id, campaign_id=campaign.id, member_id=member_id, batch=0, state="shown", decided_at=NOW
        )
    )
    session.flush()
    return member_id


def test_each_card_is_in_the_state_of_the_message(session):
    program, campaign = launched(session)
    for facts in (
        {"fetched_at": at(4)},
        {"fetched_at": at(-4), "pushed_at": at(2), "unfetched_since": at(2)},
        {"pushed_at": at(2), "unfetched_since": LATER},
        {"pushed_at": at(-9)},
        {"push_error": "503"},
        {"live": False, "removed_at": at(9)},
        {"live": False, "removed_at": at(-9)},
        {"live": False},
        {"wallet": "google", "pushed_at": at(2)},
        {"wallet": "google", "pushed_at": at(-2)},
    ):
        recipient(session, program, campaign, **facts)
    found = delivery(session, program.id, campaign.id, LATER)
    assert found.cards["apple"] == dict.fromkeys(
        (
            PassState.CURRENT,
            PassState.STALE,
            PassState.ACCEPTED,
            PassState.QUEUED,
            PassState.FAILED,
            PassState.REMOVED,
        ),
        1,
    )
    assert found.cards["google"] == {PassState.CURRENT: 1, PassState.QUEUED: 1}
    assert found.of("google", PassState.STALE) == 0


def test_lags_run_from_the_message_to_the_first_fetch(session):
    program, campaign = launched(session)
    members = [recipient(session, program, campaign) for _ in range(4)]
    note_reached(session, program.id, dict(zip(members[:3], (at(2.5), at(4), at(7_200)), strict=True)))
    note_reached(session, program.id, {members[0]: at(9_000), members[3]: at(-5)})
    session.flush()
    lags = delivery(session, program.id, campaign.id, LATER).lags
    assert (lags.count, lags.within(3), lags.within(5), lags.within(3 * 3_600)) == (3, 1, 2, 3)


def test_who_was_not_shown_the_message_does_not_count(session):
    program, campaign = launched(session)
    member_id = recipient(session, program, campaign, fetched_at=at(4))
    row = session.get_one(CampaignRecipient, (campaign.id, member_id))
    row.state = "suppressed"
    session.flush()
    note_reached(session, program.id, {member_id: at(4)})
    found = delivery(session, program.id, campaign.id, LATER)
    assert (found.cards, found.lags.count) == ({}, 0)
