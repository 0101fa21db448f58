"""What a phone was told, on the member's page in Chromium, on a phone and on a desk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_pages import assert_accessible, assert_fits
from wallet_server.db import ALL_PROGRAMS, create_engine, transaction
from wallet_server.notifications.models import Notification
from wallet_server.programs.queries import load_program

DECISIONS: list[dict[str, Any]] = [
    {"text": "+25 points, 145 in all. Your level is Gold now.", "kind": "balance", "speaks": True},
    {"kind": "tier", "state": "deferred", "reason": "quiet_hours",
     "deferred_until": datetime(2030, 1, 1, 8, tzinfo=UTC)},
    {"text": "Two coffees for one today, and a glass of mountain tea with each baklava until seven in the evening.",
     "reason": "google_limit", "at_google": "text", "speaks": True},
    {"text": "Autumn begins", "state": "suppressed", "reason": "day_limit"},
    {"kind": "balance", "state": "suppressed", "reason": "quiet_hours"},
    {"kind": "challenge", "state": "merged", "reason": "merged"},
]  # fmt: skip


def test_the_page_of_a_member_says_what_the_phone_was_told(staff_page: Page, site: Site) -> None:
    engine, now = create_engine(site.database_url), datetime.now(UTC)
    with transaction(engine, ALL_PROGRAMS) as session:
        program = load_program(session, slug="cafe-ohrid")
        for number, decision in enumerate(DECISIONS):
            at = now - timedelta(minutes=number)
            known = {"text": "", "kind": "promotion", "state": "shown", "origin": f"browser:{number}", "decided_at": at}
            values = {**known, **decision}
            values["shown_at"] = at if values["state"] == "shown" else None
            session.add(Notification(program_id=program.id, member_id=UUID(site.member_id), **values))
    engine.dispose()
    for width in (390, 1440):
        staff_page.set_viewport_size({"width": width, "height": 900})
        staff_page.goto(f"/panel/programs/cafe-ohrid/members/{site.member_id}")
        told = staff_page.get_by_role("region", name="What the phone was told, and why")
        # Other stories send the same member a promotion.
        expect(told.get_by_role("listitem").nth(len(DECISIONS) - 1)).to_be_visible()
        expect(told).to_contain_text("enough promotions for one day")
        assert_fits(staff_page)
        assert_accessible(staff_page)
