"""Points in the panel, in Chromium: a manager asks for many, the owner approves, the member's card shows it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_pages import assert_accessible, assert_fits
from tests.watched import OpenPage
from tests.web.helpers import PASSWORD, QUICK
from wallet_server.db import ALL_PROGRAMS, create_engine, transaction
from wallet_server.programs.queries import load_program
from wallet_server.staff.services import create_staff

BASE = "/panel/programs/cafe-ohrid"
MANAGER = "manager.of.points@cafe.example"


@pytest.fixture(scope="module")
def manager(site: Site) -> str:
    """A manager of the café, who signs in with ``PASSWORD``."""
    engine = create_engine(site.database_url)
    with transaction(engine, ALL_PROGRAMS) as session:
        program = load_program(session, slug="cafe-ohrid")
        create_staff(
            session, program_id=program.id, email=MANAGER, role="manager", password=PASSWORD, now=datetime.now(UTC),
            actor="cli", passwords=QUICK,
        )  # fmt: skip
    engine.dispose()
    return MANAGER


def sign_in(page: Page, email: str) -> None:
    page.goto("/panel/login")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/members")


def test_a_manager_gives_many_points_and_the_owner_approves(
    open_page: OpenPage, staff_page: Page, site: Site, manager: str
) -> None:
    asking = open_page()
    sign_in(asking, manager)
    asking.goto(f"{BASE}/members/{site.member_id}")
    before = int(asking.locator(".loyalty-card-balance strong").inner_text().replace(",", ""))
    asking.get_by_text("Give or take points").click()
    asking.get_by_label("How many points").fill("6000")
    asking.get_by_label("Reason", exact=True).fill("A lost paper card")
    asking.get_by_role("button", name="Record", exact=True).click()
    expect(asking.get_by_text("It waits for a second manager or the owner.")).to_be_visible()
    expect(asking.get_by_role("region", name="Waits for a second person")).to_contain_text("+6,000")

    owner = staff_page
    owner.goto(f"{BASE}/members")
    entry = owner.get_by_role("link", name=re.compile("Adjustments"))
    expect(entry).to_contain_text("1")
    entry.click()
    expect(owner.locator("#results")).to_contain_text("A lost paper card")
    assert_fits(owner)
    assert_accessible(owner)
    owner.get_by_role("button", name="Approve").click()
    expect(owner.get_by_text("Approved: the member's card shows it in a moment.")).to_be_visible()

    # The manager's page is still open: the card on it is live.
    expect(asking.locator(".loyalty-card-balance strong")).to_have_text(f"{before + 6000:,}")
    card = open_page()
    card.goto(site.member_path)
    expect(card.locator(".loyalty-card-balance strong")).to_have_text(f"{before + 6000:,}")
    expect(card.get_by_text("A lost paper card")).to_be_visible()


def test_a_refund_shows_what_it_does_while_typing(staff_page: Page, site: Site) -> None:
    page = staff_page
    page.goto(f"{BASE}/members/{site.member_id}")
    page.get_by_role("link", name="Receipt A-2").first.click()
    page.get_by_role("link", name="Refund").click()
    page.get_by_label(re.compile("Burger")).fill("1")
    expect(page.locator("#effects")).to_contain_text("MKD 450.00")
    page.get_by_label(re.compile("Burger")).fill("3")
    expect(page.locator("#effects")).to_contain_text("Less than that is left of this purchase.")
    page.get_by_label(re.compile("Burger")).fill("1")
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert_fits(page)
    assert_accessible(page)
    page.get_by_role("button", name="Refund").click()
    expect(page.get_by_role("region", name="Refunds")).to_contain_text("Burger × 1")
    assert_accessible(page)


def test_points_are_changed_after_a_look_at_what_changes(staff_page: Page) -> None:
    page = staff_page
    page.goto(f"{BASE}/program/points")
    page.get_by_role("link", name="Change", exact=True).click()
    expect(page.locator("#changes")).to_contain_text("Nothing is changed yet.")
    page.get_by_label("Least points to begin paying").fill("5")
    expect(page.locator("#changes")).to_contain_text("A member needs 5 points to begin.")
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("The points are published.")).to_be_visible()
    expect(page.get_by_text("A member needs 5 points to begin.")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", ["/program/points", "/program/points/edit", "/adjustments?state=posted"])
def test_the_pages_of_points_fit_and_can_be_used_by_everybody(staff_page: Page, path: str, width: int) -> None:
    staff_page.set_viewport_size({"width": width, "height": 900})
    for language in ("en", "ru", "mk"):
        staff_page.goto(f"{BASE}{path}{'&' if '?' in path else '?'}lang={language}")
        assert_fits(staff_page)
    assert_accessible(staff_page)


def test_the_whole_member_page_can_be_used_by_everybody(staff_page: Page, site: Site) -> None:
    page = staff_page
    page.goto(f"{BASE}/members/{site.member_id}")
    for summary in page.locator("main summary").all():
        summary.click()
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert_fits(page)
        assert_accessible(page)


def test_what_each_line_earned_is_in_sight_on_a_phone(staff_page: Page, site: Site) -> None:
    page = staff_page
    page.set_viewport_size({"width": 390, "height": 900})
    for language in ("en", "ru", "mk"):
        page.goto(f"{BASE}/members/{site.member_id}?lang={language}")
        page.locator("a[href*='/purchases/']").first.click()
        lines = page.locator("section[aria-labelledby=lines]")
        hidden = lines.locator(".table-responsive").evaluate("it => it.scrollWidth - it.clientWidth")
        assert hidden <= 0, f"{hidden} px of the lines are out of sight ({language})"
        expect(lines.get_by_text(re.compile(r"· [\d.,]+ %")).first).to_be_visible()  # what the rules of now give
    assert_accessible(page)


def test_what_a_level_asks_for_is_not_cut_on_a_phone(staff_page: Page) -> None:
    staff_page.set_viewport_size({"width": 390, "height": 900})
    for language in ("en", "ru", "mk"):
        staff_page.goto(f"{BASE}/program/tiers/levels/silver?lang={language}")
        field = staff_page.locator("[name=spend]")
        expect(field).to_have_value("10000.00")
        assert field.evaluate("it => it.scrollWidth - it.clientWidth") <= 0
        assert_fits(staff_page)


def test_the_heading_of_the_settlement_is_not_squeezed_beside_its_buttons(staff_page: Page) -> None:
    staff_page.set_viewport_size({"width": 390, "height": 900})
    staff_page.goto(f"{BASE}/program/partners")
    box = staff_page.get_by_role("heading", level=1).bounding_box()
    assert box is not None
    assert box["width"] > 350
    assert_fits(staff_page)
