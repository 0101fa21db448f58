"""Until it is launched, a campaign may be written anew or thrown away; afterwards neither."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.conftest import NOW
from tests.people import add_member, publish
from wallet_server.campaigns.queries import find_campaign, list_campaigns, outcomes, preview
from wallet_server.campaigns.services import create, discard, launch, revise, send_batch
from wallet_server.db import new_id
from wallet_server.errors import DomainError
from wallet_server.segments.condition import Condition
from wallet_server.segments.services import delete_segment, save_segment
from wallet_server.staff import audit

LATER = NOW + timedelta(minutes=5)
ACTOR = "staff:o"


def segment(session, program, code="s", **condition):
    return save_segment(session, program, code=code, name=code, condition=Condition(**condition), actor=ACTOR, now=NOW)


def draft(session, program, message="Здраво"):
    return create(
        session, program, name="Autumn", segment_id=segment(session, program).id, message={"mk": message},
        actor=ACTOR, now=NOW,
    )  # fmt: skip


def test_a_draft_is_written_anew(session):
    program = publish(session, NOW)
    campaign, silver = draft(session, program), segment(session, program, "silver", tiers=["silver"])
    values = {"name": " Winter ", "segment_id": silver.id, "message": {"mk": "Зима", "en": "Winter"}}
    revise(session, program, campaign.id, **values, actor=ACTOR, now=LATER)
    session.expire_all()
    found = find_campaign(session, program, campaign.id)
    assert (found.name, found.segment_id, found.message) == ("Winter", silver.id, {"mk": "Зима", "en": "Winter"})
    assert found.condition == {"tiers": ["silver"]}
    assert audit.newest(session, program.id)[0].action == "campaign.revised"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": " "}, "name"),
        ({"message": {"en": "Hello"}}, "message.mk"),
        ({"message": {"mk": "x" * 201}}, "message.mk"),
    ],
)
def test_a_bad_revision_changes_nothing(session, values, field):
    program = publish(session, NOW)
    campaign = draft(session, program)
    known = {"name": "Winter", "segment_id": campaign.segment_id, "message": {"mk": "Зима"}}
    with pytest.raises(DomainError) as refused:
        revise(session, program, campaign.id, **known | values, actor=ACTOR, now=LATER)
    assert (refused.value.code, refused.value.extra["field"]) == ("validation", field)
    session.expire_all()
    assert find_campaign(session, program, campaign.id).name == "Autumn"


def test_a_discarded_draft_is_gone_and_frees_its_segment(session):
    program = publish(session, NOW)
    campaign = draft(session, program)
    segment_id = campaign.segment_id
    discard(session, program, campaign.id, actor=ACTOR, now=LATER)
    assert list_campaigns(session, program) == []
    assert audit.newest(session, program.id)[0].action == "campaign.discarded"
    delete_segment(session, program, segment_id, actor=ACTOR, now=LATER)


def test_a_launched_campaign_stays_as_it_is(session):
    program = publish(session, NOW)
    add_member(session, program, NOW)
    campaign = draft(session, program)
    launch(session, program, campaign.id, now=NOW, actor=ACTOR)
    values = {"name": "Winter", "segment_id": campaign.segment_id, "message": {"mk": "Зима"}}
    for change in (
        lambda: revise(session, program, campaign.id, **values, actor=ACTOR, now=LATER),
        lambda: discard(session, program, campaign.id, actor=ACTOR, now=LATER),
    ):
        with pytest.raises(DomainError) as refused:
            change()
        assert (refused.value.code, refused.value.status) == ("campaign_launched", 409)
    assert find_campaign(session, program, campaign.id).name == "Autumn"


def test_another_program_has_no_such_draft(session):
    program, other = publish(session, NOW), publish(session, NOW, slug="other")
    campaign = draft(session, program)
    for owner, campaign_id in ((other, campaign.id), (program, new_id())):
        with pytest.raises(DomainError) as refused:
            discard(session, owner, campaign_id, actor=ACTOR, now=LATER)
        assert refused.value.code == "unknown_campaign"


def test_a_list_says_how_far_each_campaign_has_come(session):
    program = publish(session, NOW)
    for marketing in (True, True, False):
        add_member(session, program, NOW, marketing=marketing)
    sent, waiting, unlaunched = (draft(session, program, text) for text in ("А", "Б", "В"))
    for campaign in (sent, waiting):
        launch(session, program, campaign.id, now=NOW, actor=ACTOR)
    send_batch(session, program, sent.id, 0, LATER)
    found = outcomes(session, [sent.id, waiting.id, unlaunched.id])
    assert {id_: (o.audience, o.waiting, o.shown) for id_, o in found.items()} == {
        sent.id: (3, 0, 2),
        waiting.id: (3, 3, 0),
    }
    assert outcomes(session, []) == {}


def test_a_preview_tells_consent_from_reach(session):
    program = publish(session, NOW)
    for marketing, live in ((True, True), (True, False), (True, False), (False, True)):
        add_member(session, program, NOW, marketing=marketing, live=live)
    found = preview(session, program, Condition(), NOW)
    assert (found.audience, found.consenting, found.reachable) == (4, 3, 1)


@pytest.mark.parametrize(
    ("text", "accepted"), [("Здраво \N{HEAVY BLACK HEART}\ufe0f\u200d\N{FIRE}", True), ("tab\x07", False)]
)
def test_a_message_may_hold_any_emoji_and_no_control_character(session, text, accepted):
    program = publish(session, NOW)
    if accepted:
        assert draft(session, program, text).message == {"mk": text}
        return
    with pytest.raises(DomainError) as refused:
        draft(session, program, text)
    assert refused.value.extra["field"] == "message.mk"
