"""Delivery in the panel, in Chromium: from the alarm to the figures, to the list, to the member's card."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect
from sqlmodel import Session, select

from tests.browser.conftest import Site
from tests.browser.test_pages import PHONE_WIDTH, assert_accessible, assert_fits
from wallet_server.db import ALL_PROGRAMS, create_engine, transaction
from wallet_server.issuance.deliveries import Counts, add_counts, record_fetch, record_pushed, record_refused
from wallet_server.issuance.google_events import google_object_made
from wallet_server.issuance.models import DeliveryHour, DeliveryWatch, IssuedPass
from wallet_server.issuance.phones import register_device, unregister_device
from wallet_server.issuance.services import passes_changed
from wallet_server.issuance.watch import look, take_stock
from wallet_server.programs.queries import load_program

BASE = "/panel/programs/cafe-ohrid"
SCALES = """chart => echarts.getInstanceByDom(chart).getModel().queryComponents({mainType: "yAxis"})
    .map(axis => axis.axis.scale.getTicks().map(tick => tick.value))"""


@pytest.fixture
def trouble(site: Site) -> Any:
    """Ana's iPhone was told two days ago and has not fetched; a month of updates; an alarm. Taken back afterwards."""
    engine = create_engine(site.database_url)
    now = datetime.now(UTC)
    ana = UUID(site.member_id)
    with transaction(engine, ALL_PROGRAMS) as session:
        program = load_program(session, slug="cafe-ohrid")
        issued = _pass_of(session, ana, "apple")
        record_fetch(session, issued.id, issued.version, now - timedelta(days=5))
        register_device(session, issued, device="phone of Ana", push_token="aa", now=now - timedelta(days=5))
        at_google = _pass_of(session, ana, "google")
        google_object_made(session, at_google.id, at_google.version, now - timedelta(days=4))
        passes_changed(session, program, [ana], now - timedelta(days=2))
        session.refresh(issued)
        record_pushed(session, {issued.id: issued.version}, now - timedelta(days=2) + timedelta(seconds=3))
        record_refused(session, {at_google.id: "403 permissionDenied: the issuer account may not write this class"})
        add_counts(session, _month(program.id, now))
        take_stock(session, look(session, now), now)
        watch = session.get_one(DeliveryWatch, program.id)
        watch.unfetched_alarm_since, watch.fetched_share, watch.usual_share = now - timedelta(hours=2), 0.12, 0.93
    yield
    with transaction(engine, ALL_PROGRAMS) as session:
        for row in (*session.exec(select(DeliveryWatch)), *session.exec(select(DeliveryHour))):
            session.delete(row)
        unregister_device(session, _pass_of(session, ana, "apple"), device="phone of Ana", now=now)
    engine.dispose()


def _pass_of(session: Session, member_id: UUID, wallet: str) -> IssuedPass:
    return session.exec(select(IssuedPass).where(IssuedPass.member_id == member_id, IssuedPass.wallet == wallet)).one()


def _month(program_id: UUID, now: datetime) -> Counts:
    counts = Counts.none()
    for day in range(30):
        begun = now - timedelta(days=day, minutes=5)
        for number in range(40 + 13 * day % 50):
            counts.add(program_id, "apple", "accepted", changed_at=begun, now=begun + timedelta(seconds=number % 3))
            if day == 3 or number % 12:
                late = timedelta(seconds=2 + number**2 / 4)
                counts.add(program_id, "apple", "fetched", changed_at=begun, now=begun + late)
        counts.add(program_id, "google", "accepted", changed_at=begun, now=begun + timedelta(seconds=4))
    return counts


@pytest.mark.usefixtures("trouble")
def test_a_manager_goes_from_the_alarm_to_the_member(staff_page: Page) -> None:
    page = staff_page
    alert = page.get_by_role("alert").filter(has_text="phones fetch fewer updates")
    expect(alert).to_contain_text("Of the last hours 12 %, usually 93 %.")
    alert.get_by_role("link", name="Delivery").click()
    expect(page.get_by_role("heading", name="Delivery", exact=True)).to_be_visible()
    for viewport in (PHONE_WIDTH, {"width": 1440, "height": 900}):
        page.set_viewport_size(viewport)
        assert_fits(page)
        assert_accessible(page)
    expect(page.locator(".chart canvas")).to_be_visible()
    shares, counts = page.locator(".chart").evaluate(SCALES)
    assert shares == [0, 25, 50, 75, 100], "no share is more than all"
    assert all(isinstance(tick, int) for tick in counts), "half an update is none"
    expect(page.get_by_role("region", name="Why updates are refused")).to_contain_text("403 permissionDenied")
    page.get_by_role("link", name="Google Wallet", exact=True).click()
    expect(page.get_by_role("columnheader", name="To Google")).to_be_visible()
    page.get_by_role("link", name="Apple Wallet, Not fetched: 1").click()
    page.get_by_role("link", name="3 d", exact=True).click()
    expect(page.get_by_text("There are no such cards.")).to_be_visible()
    page.get_by_role("link", name="24 h", exact=True).click()
    page.set_viewport_size(PHONE_WIDTH)
    assert_fits(page)
    assert_accessible(page)
    page.get_by_role("link", name="Ana Petrovska").click()
    story = page.get_by_role("region", name="What became of the cards")
    expect(story.get_by_text("Taken by Apple or Google").first).to_be_visible()
    assert_fits(page)
    assert_accessible(page)
