"""Delivery in the panel: figures, lists of cards by state, one card's story, and the alarm on every page."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlmodel import select

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, enrol_member
from tests.web.panel.rules import said
from wallet_server.campaigns.models import CampaignRecipient
from wallet_server.campaigns.reached import note_reached
from wallet_server.campaigns.services import create, launch
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance.deliveries import Counts, add_counts, record_fetch, record_pushed, record_refused
from wallet_server.issuance.google_events import google_event, google_object_made
from wallet_server.issuance.models import DeliveryWatch, IssuedPass
from wallet_server.issuance.phones import register_device
from wallet_server.issuance.services import passes_changed
from wallet_server.members.services import Enrolled
from wallet_server.segments.condition import Condition
from wallet_server.segments.services import save_segment

DELIVERY = "/panel/programs/cafe-ohrid/program/delivery"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def ana_on_phone(server: ServerContext, cast: Cast, clock: StoppedClock, member: Enrolled) -> UUID:
    """Ana's card is on her iPhone; it has changed, was told and not fetched for thirty hours."""
    now = clock.now()
    with transaction(server.engine, ALL_PROGRAMS) as session:
        issued = session.exec(
            select(IssuedPass).where(IssuedPass.member_id == member.member_id, IssuedPass.wallet == "apple")
        ).one()
        record_fetch(session, issued.id, 1, now - timedelta(days=3))
        register_device(session, issued, device="phone", push_token="aa", now=now - timedelta(days=3))
    with transaction(server.engine, cast.cafe.id) as session:
        passes_changed(session, cast.cafe, [member.member_id], now - timedelta(hours=31))
        record_pushed(session, {issued.id: 2}, now - timedelta(hours=30))
    return issued.id


def fill(server: ServerContext, cast: Cast, clock: StoppedClock) -> None:
    """Yesterday: 40 updates, of which 30 were fetched within four seconds; today one at Google."""
    counts = Counts.none()
    yesterday = clock.now() - timedelta(days=1)
    for number in range(40):
        counts.add(cast.cafe.id, "apple", "accepted", changed_at=yesterday, now=yesterday + timedelta(seconds=1))
        if number < 30:
            counts.add(cast.cafe.id, "apple", "fetched", changed_at=yesterday, now=yesterday + timedelta(seconds=4))
    counts.add(cast.cafe.id, "google", "accepted", changed_at=clock.now(), now=clock.now() + timedelta(seconds=100))
    with transaction(server.engine, ALL_PROGRAMS) as session:
        add_counts(session, counts)


def test_a_program_without_cards_says_so(manager: FlaskClient) -> None:
    text = said(manager.get(DELIVERY))
    assert "No cards yet." in text
    assert "No card was updated in these days." in text


def test_the_page_says_where_the_cards_are(manager: FlaskClient, ana_on_phone: UUID) -> None:
    text = said(manager.get(DELIVERY))
    assert "Cards in wallets 1 Apple 1 · Google 0" in text
    assert "Not fetched The phone was told long ago" in text
    assert "1 iPhone or watch is registered with us." in text
    assert 'delivery/passes?wallet=apple&amp;state=stale"' in manager.get(DELIVERY).get_data(as_text=True)


def test_days_have_their_updates_shares_and_lags(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    fill(server, cast, clock)
    text = said(manager.get(DELIVERY))
    assert "Nov 22 40 75.0 % 4 s 5 s 1 s" in text
    assert "All of them 40 75.0 %" in text
    assert "95 % within 5 s" in text
    google = said(manager.get(DELIVERY, query_string={"wallet": "google"}, headers=HTMX))
    assert "so far 1 2 min 2 min" in google
    assert "Cards in wallets" not in google, "htmx gets the days alone"
    assert "Fetched" not in google


def test_a_list_leads_to_the_members_and_asks_for_how_long(
    manager: FlaskClient, ana_on_phone: UUID, member: Enrolled
) -> None:
    page = manager.get(f"{DELIVERY}/passes", query_string={"state": "stale", "wallet": "apple"})
    assert "Ana Petrovska" in said(page)
    assert f"/members/{member.member_id}#truth" in page.get_data(as_text=True)
    later = manager.get(f"{DELIVERY}/passes", query_string={"state": "stale", "hours": "72"}, headers=HTMX)
    assert "There are no such cards." in said(later)
    assert "<html" not in later.get_data(as_text=True)


@pytest.mark.parametrize("query", [{"state": "x"}, {"wallet": "x"}, {"state": ""}, {"wallet": ""}])
def test_an_unknown_list_is_not_found(manager: FlaskClient, query: dict[str, str]) -> None:
    assert manager.get(f"{DELIVERY}/passes", query_string=query).status_code == 404


def test_hours_and_places_that_nobody_offers_are_ignored(manager: FlaskClient, ana_on_phone: UUID) -> None:
    before_time = {"since": "0001-01-01T00:00:00+14:00", "after": str(UUID(int=1))}
    odd = ({"hours": "1"}, {"hours": "x"}, {"hours": "9" * 30}, {"after": "x"}, {"since": "2026-11-23"}, before_time)
    for query in odd:
        answer = manager.get(f"{DELIVERY}/passes", query_string={"state": "stale", **query})
        assert "Ana Petrovska" in said(answer)


def test_a_long_list_has_pages(manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock) -> None:
    for number in range(52):
        enrol_member(server, cast.cafe, clock, phone=f"+389701{number:05d}", name=f"Member {number:02d}", language="en")
    first = manager.get(f"{DELIVERY}/passes", query_string={"state": "new", "wallet": "google"})
    text = said(first)
    assert "Member 49" in text
    assert "Member 50" not in text
    next_page = re.search(r'href="([^"]*after=[^"]*)"', first.get_data(as_text=True))
    assert next_page
    rest = said(manager.get(unescape(next_page[1])))
    assert "Member 50" in rest
    assert "Member 51" in rest
    assert "Member 49" not in rest


def test_refusals_are_told_with_their_reason(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, ana_on_phone: UUID, member: Enrolled
) -> None:
    with transaction(server.engine, cast.cafe.id) as session:
        passes_changed(session, cast.cafe, [member.member_id], clock.now())
        record_refused(session, {ana_on_phone: "403 <BadCertificate>"})
    page = manager.get(DELIVERY)
    assert "403 &lt;BadCertificate&gt;" in page.get_data(as_text=True)
    assert "Apple Wallet · 1 card" in said(page)
    story = said(manager.get(f"/panel/programs/cafe-ohrid/members/{member.member_id}"))
    assert "Refused, and tried again since" in story


def test_a_members_page_tells_the_story_of_each_card(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock, ana_on_phone: UUID, member: Enrolled
) -> None:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        google = session.exec(
            select(IssuedPass).where(IssuedPass.member_id == member.member_id, IssuedPass.wallet == "google")
        ).one()
        google_object_made(session, google.id, google.version, clock.now())
        google_event(session, google.serial, saved=True, nonce="a", expires_ms=1, now=clock.now())
        google_event(session, google.serial, saved=False, nonce="b", expires_ms=2, now=clock.now())
    text = said(manager.get(f"/panel/programs/cafe-ohrid/members/{member.member_id}"))
    assert "Apple Wallet Not fetched · 1 phone" in text
    assert "First added to a phone" in text
    assert "Google Wallet Removed" in text
    with transaction(server.engine, ALL_PROGRAMS) as session:
        record_fetch(session, ana_on_phone, 2, clock.now())
    text = said(manager.get(f"/panel/programs/cafe-ohrid/members/{member.member_id}"))
    assert "The newest update took 31 h." in text


def test_the_alarm_stands_on_every_page_for_managers_and_not_for_cashiers(
    manager: FlaskClient, sign_in: SignIn, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    members = "/panel/programs/cafe-ohrid/members"
    assert "phones fetch fewer" not in said(manager.get(members))
    with transaction(server.engine, ALL_PROGRAMS) as session:
        session.add(
            DeliveryWatch(
                program_id=cast.cafe.id,
                watched_at=clock.now(),
                passes={},
                before={},
                unfetched_alarm_since=clock.now(),
                fetched_share=0.1,
                usual_share=0.9,
                refused_alarm_since=clock.now(),
            )
        )
    text = said(manager.get(members))
    assert "phones fetch fewer updates of their cards than usual. Of the last hours 10 %, usually 90 %." in text
    assert "refuses updates of many cards" in text
    assert "phones fetch fewer" not in said(sign_in("cashier@cafe.example").get(members))


def test_another_programs_cards_are_not_in_the_figures(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    enrol_member(server, cast.bakery, clock, phone="+38970999999", name="Baker", language="en")
    assert "No cards yet." in said(manager.get(DELIVERY))
    assert "Baker" not in said(manager.get(f"{DELIVERY}/passes", query_string={"state": "new"}))
    assert manager.get("/panel/programs/bakery/program/delivery").status_code == 404


def test_a_campaign_says_where_its_messages_are_and_how_soon_phones_had_them(
    manager: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, ana_on_phone: UUID, member: Enrolled
) -> None:
    with transaction(server.engine, cast.cafe.id) as session:
        segment = save_segment(session, cast.cafe, code="all", name="All", condition=Condition(), actor="cli",
                               now=clock.now())  # fmt: skip
        made = create(session, cast.cafe, name="Lunch", segment_id=segment.id, message={"mk": "x"}, actor="cli",
                      now=clock.now())  # fmt: skip
        launch(session, cast.cafe, made.id, now=clock.now(), actor="cli")
        row = session.get_one(CampaignRecipient, (made.id, member.member_id))
        row.state, row.decided_at = "shown", clock.now() - timedelta(seconds=90)
    address = f"/panel/programs/cafe-ohrid/campaigns/{made.id}"
    assert "Not fetched for a day 1 0" in said(manager.get(address))
    with transaction(server.engine, cast.cafe.id) as session:
        record_fetch(session, ana_on_phone, 2, clock.now())
        note_reached(session, cast.cafe.id, {member.member_id: clock.now()})
    text = said(manager.get(address))
    assert "The card has it 1 0" in text
    assert "Half of the iPhones had it within 75 s, 95 % within 89 s." in text
