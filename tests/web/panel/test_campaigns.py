"""Campaigns in the panel: written, reviewed, launched once by an explicit yes, watched to the end."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlmodel import select

from tests.people import add_member
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, add_segment, csrf_of, submit, text_of
from wallet_server.campaigns.models import Campaign, CampaignRecipient
from wallet_server.campaigns.services import BATCH_DUE, create, launch, send_batch
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.notifications.models import Notification
from wallet_server.outbox.models import OutboxRow
from wallet_server.segments.services import delete_segment
from wallet_server.web.panel import campaigns

BASE = "/panel/programs/cafe-ohrid"
CAMPAIGNS = f"{BASE}/campaigns"
HTMX = {"HX-Request": "true"}
LAUNCH = {"confirmed": "yes"}


@pytest.fixture
def people(server: ServerContext, cast: Cast, clock: StoppedClock) -> list[UUID]:
    """Six members: three who can be reached, one without consent, two without a pass on a phone."""
    with transaction(server.engine, ALL_PROGRAMS) as session:
        return [
            add_member(session, cast.cafe, clock.now(), marketing=marketing, live=live)
            for marketing, live in (
                (True, True),
                (True, True),
                (True, True),
                (False, True),
                (True, False),
                (True, False),
            )
        ]


@pytest.fixture
def segment(server: ServerContext, cast: Cast, clock: StoppedClock) -> UUID:
    return add_segment(server, cast.cafe, clock)


@pytest.fixture
def draft(server: ServerContext, cast: Cast, clock: StoppedClock, segment: UUID) -> UUID:
    with transaction(server.engine, cast.cafe.id) as session:
        made = create(
            session, cast.cafe, name="Autumn", segment_id=segment, message={"mk": "Здраво", "en": "Hello <b>you</b>"},
            actor="cli", now=clock.now(),
        )  # fmt: skip
        return made.id


def stored(server: ServerContext) -> list[Campaign]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Campaign).order_by(Campaign.created_at)))


def recipients(server: ServerContext) -> list[CampaignRecipient]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(CampaignRecipient)))


def filled(segment: UUID, **values: str) -> dict[str, str]:
    return {"key": new_id().hex, "name": "Autumn", "segment": str(segment), "message-mk": "Здраво", **values}


def words(answer) -> str:
    return " ".join(text_of(answer).split())


def start(server: ServerContext, cast: Cast, campaign_id: UUID, clock: StoppedClock) -> None:
    with transaction(server.engine, cast.cafe.id) as session:
        launch(session, cast.cafe, campaign_id, now=clock.now(), actor="cli")


def send(server: ServerContext, cast: Cast, campaign_id: UUID, clock: StoppedClock) -> None:
    """What the worker does with the first batch."""
    with transaction(server.engine, cast.cafe.id) as session:
        send_batch(session, cast.cafe, campaign_id, 0, clock.now())


def test_an_empty_list_invites_and_a_form_without_segments_says_what_is_missing(manager: FlaskClient) -> None:
    assert "No campaigns yet" in text_of(manager.get(CAMPAIGNS))
    assert "Make the first segment" in text_of(manager.get(f"{CAMPAIGNS}/new"))


def test_the_preview_follows_the_typing(manager: FlaskClient, segment: UUID, people: list[UUID]) -> None:
    form = filled(segment, action="preview") | {"message-en": "A <coffee>  on\nus"}
    fragment = submit(manager, f"{CAMPAIGNS}/new", form, headers=HTMX)
    text = words(fragment)
    assert fragment.status_code == 200
    assert "<form" not in fragment.get_data(as_text=True)
    assert "&lt;coffee&gt;" in fragment.get_data(as_text=True)
    assert "A <coffee> on us" in text
    assert "16/200" in text  # the message as it will be sent: runs of space are one
    assert "In the segment now 6 of them agreed to messages 5 of them have the card on a phone 3" in text
    whole = submit(manager, f"{CAMPAIGNS}/new", form)  # the button, without JavaScript
    assert "<html" in whole.get_data(as_text=True)
    assert "A <coffee> on us" in words(whole)


def test_a_preview_saves_nothing(manager: FlaskClient, server: ServerContext, segment: UUID) -> None:
    for odd in ({}, {"segment": ""}, {"segment": "nonsense"}, {"message-mk": "x" * 300}, {"name": ""}):
        form = filled(segment, action="preview") | odd
        assert submit(manager, f"{CAMPAIGNS}/new", form, headers=HTMX).status_code == 200
    assert stored(server) == []


def test_a_campaign_is_made_once_however_often_the_form_is_sent(
    manager: FlaskClient, server: ServerContext, segment: UUID
) -> None:
    form = filled(segment)
    answers = [submit(manager, f"{CAMPAIGNS}/new", form) for _ in range(2)]
    [campaign] = stored(server)
    assert {answer.location for answer in answers} == {f"{CAMPAIGNS}/{campaign.id}"}
    assert (campaign.name, campaign.message, campaign.launched_at) == ("Autumn", {"mk": "Здраво"}, None)
    assert campaign.created_by == "staff:manager@cafe.example"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": " "}, "Give the campaign a name of at most 120 characters."),
        ({"name": "x" * 121}, "Give the campaign a name of at most 120 characters."),
        ({"segment": ""}, "Choose the segment."),
        ({"segment": "nonsense"}, "Choose the segment."),
        ({"segment": str(uuid4())}, "Choose the segment."),
        ({"message-mk": " ", "message-en": "Hello"}, "Македонски: write a message of at most 200 characters."),
        ({"message-mk": "x" * 201}, "Македонски: write a message of at most 200 characters."),
        ({"message-ru": "x" * 2500}, "Русский: write a message of at most 200 characters."),
        ({"message-en": "bell \x07"}, "English: write a message of at most 200 characters."),
        ({"last_day": "soon"}, "The last day is today or a day of the next year."),
        ({"last_day": "9999-12-31"}, "The last day is today or a day of the next year."),
        ({"last_day": "2026-11-22"}, "The last day is today or a day of the next year."),
    ],
)
def test_a_bad_campaign_comes_back_filled(
    manager: FlaskClient, server: ServerContext, segment: UUID, values: dict[str, str], sentence: str
) -> None:
    answer = submit(manager, f"{CAMPAIGNS}/new", filled(segment) | values)
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    if "message-mk" not in values:
        assert "Здраво" in text_of(answer)
    assert stored(server) == []
    # The corrected form is taken under the key that it came back with.
    key = re.search(r'name="key" value="([0-9a-f]{32})"', answer.get_data(as_text=True))
    assert key is not None
    assert submit(manager, f"{CAMPAIGNS}/new", filled(segment, key=key.group(1))).status_code == 303
    assert len(stored(server)) == 1


def test_a_campaign_starts_from_a_segment_or_from_another_one(manager: FlaskClient, segment: UUID, draft: UUID) -> None:
    body = manager.get(f"{CAMPAIGNS}/new", query_string={"segment": segment}).get_data(as_text=True)
    assert f'value="{segment}" selected' in body
    body = manager.get(f"{CAMPAIGNS}/new", query_string={"like": draft}).get_data(as_text=True)
    assert "Здраво" in body
    assert 'id="name" name="name" maxlength="120" required value=""' in body
    assert manager.get(f"{CAMPAIGNS}/new", query_string={"like": uuid4()}).status_code == 404
    assert manager.get(f"{CAMPAIGNS}/new", query_string={"like": "x", "segment": "x"}).status_code == 200


def test_the_review_says_exactly_whom_it_reaches(manager: FlaskClient, draft: UUID, people: list[UUID]) -> None:
    text = words(manager.get(f"{CAMPAIGNS}/{draft}"))
    assert "All members." in text
    assert "In the segment now 6 of them agreed to messages 5 of them have the card on a phone 3" in text
    assert "3 members will see this message" in text
    assert "Hello <b>you</b>" in text


def test_it_is_launched_once_by_an_explicit_yes(
    manager: FlaskClient, server: ServerContext, draft: UUID, people: list[UUID]
) -> None:
    page = f"{CAMPAIGNS}/{draft}"
    refused = submit(manager, f"{page}/launch", {}, page=page)
    assert refused.status_code == 422
    assert "Tick the box to send it." in text_of(refused)
    assert stored(server)[0].launched_at is None
    proof = csrf_of(manager, page)
    for _ in range(3):  # a double click, and a reload of the form
        answer = manager.post(f"{page}/launch", data={"csrf_token": proof, **LAUNCH})
        assert (answer.status_code, answer.location) == (303, page)
    assert len(recipients(server)) == 6
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert len(session.exec(select(OutboxRow).where(OutboxRow.topic == BATCH_DUE)).all()) == 1


def test_an_empty_segment_is_not_launched(manager: FlaskClient, server: ServerContext, draft: UUID) -> None:
    page = f"{CAMPAIGNS}/{draft}"
    shown = manager.get(page).get_data(as_text=True)
    assert "nobody to send it to" in shown
    assert 'name="confirmed"' not in shown
    answer = submit(manager, f"{page}/launch", LAUNCH, page=page)
    assert answer.status_code == 409
    assert "Nothing was sent." in text_of(answer)
    assert stored(server)[0].launched_at is None


def test_the_progress_comes_by_itself_until_everybody_is_decided(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, draft: UUID, people: list[UUID]
) -> None:
    page = f"{CAMPAIGNS}/{draft}"
    start(server, cast, draft, clock)
    whole = manager.get(page)
    assert "<html" in whole.get_data(as_text=True)
    assert 'hx-trigger="every 1s"' in whole.get_data(as_text=True)
    fragment = manager.get(page, headers=HTMX)
    assert fragment.get_data(as_text=True).strip().startswith('<div id="progress"')
    assert "Sending 0 %" in words(fragment)
    assert "Waiting 6" in words(fragment)

    clock.advance(timedelta(seconds=5))
    send(server, cast, draft, clock)
    fragment = manager.get(page, headers=HTMX)
    text = words(fragment)
    for part in (
        "Sent 100 %", "Waiting 0", "Message put on the card 3", "taken by Apple or Google 0",
        "Not shown 3", "On the card 3 3 0 the phone says it 3 0",
        "Not shown: did not agree to messages 1 1 0", "Not shown: have the card on no phone 2 0 0",
    ):  # fmt: skip
        assert part in text
    assert 'hx-trigger="every 3s"' in fragment.get_data(as_text=True)  # phones are still fetching

    with transaction(server.engine, cast.cafe.id) as session:
        for issued in session.exec(select(IssuedPass).where(IssuedPass.member_id.in_(people[:3]))):
            issued.pushed_at = issued.fetched_at = clock.now()
            session.add(issued)
    fragment = manager.get(page, headers=HTMX)
    assert "fetched by the phone 3" in words(fragment)
    assert "hx-trigger" not in fragment.get_data(as_text=True)


def test_a_large_audience_is_counted_less_often(
    manager: FlaskClient,
    server: ServerContext,
    cast: Cast,
    clock: StoppedClock,
    draft: UUID,
    people: list[UUID],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(campaigns, "COUNTED_PER_SECOND", 3)
    start(server, cast, draft, clock)
    assert 'hx-trigger="every 3s"' in manager.get(f"{CAMPAIGNS}/{draft}").get_data(as_text=True), "six members"
    send(server, cast, draft, clock)
    assert 'hx-trigger="every 5s"' in manager.get(f"{CAMPAIGNS}/{draft}").get_data(as_text=True)


def test_the_page_says_what_was_put_off_or_said_in_silence_and_why_by_wallet(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, draft: UUID, people: list[UUID]
) -> None:
    start(server, cast, draft, clock)
    send(server, cast, draft, clock)
    later = clock.now() + timedelta(hours=9)
    with transaction(server.engine, ALL_PROGRAMS) as session:
        night, silent = (
            session.exec(select(Notification).where(Notification.member_id == member)).one() for member in people[:2]
        )
        night.state, night.reason, night.shown_at, night.speaks = "deferred", "quiet_hours", None, False
        night.deferred_until = later
        silent.speaks, silent.reason = False, "apple_limit"
        waiting = session.exec(select(CampaignRecipient).where(CampaignRecipient.member_id == people[0])).one()
        waiting.state = "waiting"
        card = session.exec(select(IssuedPass).where(IssuedPass.member_id == people[0])).one()
        session.add(IssuedPass(**(card.model_dump(exclude={"id"}) | {"wallet": "google", "serial": "g"})))
    page = f"{CAMPAIGNS}/{draft}"
    fragment = manager.get(page, headers=HTMX)
    assert "Put off: it was night for the member, until 11/24/26, 1:30 AM 1 1 1" in words(fragment)
    assert 'hx-trigger="every 30s"' in fragment.get_data(as_text=True), "nothing happens before the morning"
    assert "On the card 2" not in words(fragment), "while it is being sent only those who wait are looked at"
    with transaction(server.engine, ALL_PROGRAMS) as session:
        session.exec(select(CampaignRecipient).where(CampaignRecipient.member_id == people[0])).one().state = "shown"
    text = words(manager.get(page, headers=HTMX))
    assert "On the card 2 2 0 the phone says it 1 0 in silence: the day's messages were used up 1 0" in text
    assert " 1 1 1 Not shown" in text, "the member who was put off has both wallets"


def test_an_offer_has_a_last_day_that_is_said_and_kept(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, segment: UUID, people: list[UUID]
) -> None:
    submit(manager, f"{CAMPAIGNS}/new", filled(segment, last_day="2026-11-30"))
    [campaign] = stored(server)
    assert campaign.ends_at == datetime(2026, 11, 30, 23, tzinfo=UTC), "midnight in Skopje"
    page = f"{CAMPAIGNS}/{campaign.id}"
    assert "On the cards until Nov 30, 2026" in words(manager.get(page))
    assert 'value="2026-11-30"' in manager.get(f"{page}/edit").get_data(as_text=True)
    like = manager.get(f"{CAMPAIGNS}/new", query_string={"like": campaign.id})
    assert 'value="2026-11-30"' not in like.get_data(as_text=True)
    submit(manager, f"{page}/edit", filled(segment, last_day=""))
    assert stored(server)[0].ends_at is None
    assert "until there is other news" in words(manager.get(page))
    submit(manager, f"{page}/edit", filled(segment, last_day="2026-11-23"))
    clock.advance(timedelta(hours=8))  # past midnight in Skopje
    refused = submit(manager, f"{page}/launch", LAUNCH, page=page)
    assert refused.status_code == 409
    assert "The last day of this campaign has passed. Nothing was sent" in words(refused)
    submit(manager, f"{page}/edit", filled(segment, last_day="2026-11-24"))
    start(server, cast, campaign.id, clock)
    send(server, cast, campaign.id, clock)
    assert "on the cards until Nov 24, 2026" in words(manager.get(page))
    with reading(server.engine, ALL_PROGRAMS) as session:
        ends = {row.ends_at for row in session.exec(select(Notification)) if row.state == "shown"}
    assert ends == {datetime(2026, 11, 24, 23, tzinfo=UTC)}


def test_a_page_that_waits_for_phones_gives_up_after_a_while(
    manager: FlaskClient, sign_in: SignIn, server: ServerContext, cast: Cast, clock: StoppedClock, draft: UUID,
    people: list[UUID],
) -> None:  # fmt: skip
    start(server, cast, draft, clock)
    send(server, cast, draft, clock)
    clock.advance(timedelta(minutes=11))
    body = manager.get(f"{CAMPAIGNS}/{draft}").get_data(as_text=True)
    assert "hx-trigger" not in body


def test_a_launched_campaign_keeps_the_condition_of_its_launch(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, draft: UUID, people: list[UUID]
) -> None:
    start(server, cast, draft, clock)
    add_segment(server, cast.cafe, clock, tiers=["silver"])  # the same code: another condition
    text = text_of(manager.get(f"{CAMPAIGNS}/{draft}"))
    assert "All members." in text
    assert "Silver" not in text


def test_the_list_says_how_far_each_has_come(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, draft: UUID, people: list[UUID]
) -> None:
    assert "draft" in words(manager.get(CAMPAIGNS))
    start(server, cast, draft, clock)
    body = manager.get(CAMPAIGNS, headers=HTMX)
    assert "0 shown of 6 sending" in words(body)
    assert "hx-trigger" in body.get_data(as_text=True)
    assert "<html" not in body.get_data(as_text=True)
    send(server, cast, draft, clock)
    body = manager.get(CAMPAIGNS)
    assert "3 shown of 6 sent" in words(body)
    assert "hx-trigger" not in body.get_data(as_text=True)


def test_a_draft_is_changed_before_its_launch_and_not_after(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, draft: UUID, people: list[UUID],
    segment: UUID,
) -> None:  # fmt: skip
    page, edit = f"{CAMPAIGNS}/{draft}", f"{CAMPAIGNS}/{draft}/edit"
    assert "Здраво" in text_of(manager.get(edit))
    preview = submit(manager, edit, filled(segment, action="preview", name="Winter"), headers=HTMX)
    assert preview.status_code == 200
    assert submit(manager, edit, filled(segment, name="")).status_code == 422
    assert submit(manager, edit, filled(segment, name="Winter")).location == page
    assert stored(server)[0].name == "Winter"
    start(server, cast, draft, clock)
    assert manager.get(edit).location == page
    assert submit(manager, edit, filled(segment, name="Late"), page=f"{CAMPAIGNS}/new").location == page
    assert "so it stays as it is" in text_of(manager.get(page))
    assert stored(server)[0].name == "Winter"


def test_a_draft_is_thrown_away_and_a_launched_one_is_not(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, draft: UUID, people: list[UUID],
    segment: UUID,
) -> None:  # fmt: skip
    submit(manager, f"{CAMPAIGNS}/new", filled(segment, name="Second"))
    second = next(campaign.id for campaign in stored(server) if campaign.name == "Second")
    start(server, cast, draft, clock)
    page = f"{CAMPAIGNS}/{second}"
    assert submit(manager, f"{page}/discard", {}, page=page).location == CAMPAIGNS
    launched = f"{CAMPAIGNS}/{draft}"
    assert submit(manager, f"{launched}/discard", {}, page=f"{CAMPAIGNS}/new").location == launched
    assert [campaign.name for campaign in stored(server)] == ["Autumn"]


def test_a_segment_that_was_just_deleted_is_a_wrong_choice(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, segment: UUID
) -> None:
    with transaction(server.engine, cast.cafe.id) as session:
        delete_segment(session, cast.cafe, segment, actor="cli", now=clock.now())
    answer = submit(manager, f"{CAMPAIGNS}/new", filled(segment))
    assert (answer.status_code, stored(server)) == (422, [])


def test_a_campaign_that_is_not_there_or_of_another_program_is_404(
    sign_in: SignIn, manager: FlaskClient, server: ServerContext, draft: UUID, people: list[UUID]
) -> None:
    stranger = sign_in("owner@bakery.example")
    bakery = "/panel/programs/bakery/campaigns"
    for url in (f"{CAMPAIGNS}/{draft}", f"{bakery}/{draft}"):
        for get in ("", "/edit"):
            assert stranger.get(url + get).status_code == 404
        for post in ("/edit", "/launch", "/discard"):
            assert submit(stranger, url + post, LAUNCH, page=f"{bakery}/new").status_code == 404
    page = f"{CAMPAIGNS}/new"
    assert submit(manager, f"{CAMPAIGNS}/{uuid4()}/launch", LAUNCH, page=page).status_code == 404
    assert submit(manager, f"{CAMPAIGNS}/{uuid4()}/launch", {}, page=page).status_code == 404
    assert manager.get(f"{CAMPAIGNS}/not-an-id").status_code == 404
    assert stored(server)[0].launched_at is None
    assert recipients(server) == []


def test_cashiers_may_not_and_strangers_are_asked_who_they_are(
    sign_in: SignIn, client: FlaskClient, server: ServerContext, draft: UUID, people: list[UUID]
) -> None:
    cashier = sign_in("cashier@cafe.example")
    for path in ("", "/new", f"/{draft}", f"/{draft}/edit"):
        assert cashier.get(CAMPAIGNS + path).status_code == 403
        assert client.get(CAMPAIGNS + path).location.startswith("/panel/login?next=")
    assert submit(cashier, f"{CAMPAIGNS}/{draft}/launch", LAUNCH, page=f"{BASE}/members/new").status_code == 403
    assert stored(server)[0].launched_at is None


def test_a_form_without_proof_and_a_wrong_method_are_refused(
    manager: FlaskClient, server: ServerContext, draft: UUID, people: list[UUID]
) -> None:
    assert manager.post(f"{CAMPAIGNS}/{draft}/launch", data=LAUNCH).status_code == 403
    assert stored(server)[0].launched_at is None
    # A browser that asks again for the address of a refused launch sees the review.
    assert manager.get(f"{CAMPAIGNS}/{draft}/launch").location == f"{CAMPAIGNS}/{draft}"
    assert manager.get(f"{CAMPAIGNS}/{draft}/discard").status_code == 405
