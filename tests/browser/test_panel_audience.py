"""Segments, campaigns, numbers and vouchers as a manager and a cashier meet them, in Chromium."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect
from sqlmodel import select

from tests.browser.conftest import OWNER, OpenPage, Site
from tests.browser.test_pages import assert_accessible, assert_fits
from tests.web.helpers import PASSWORD
from wallet_server.campaigns.services import BATCH_DUE, send_batch
from wallet_server.db import ALL_PROGRAMS, create_engine, transaction
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.queries import load_program
from wallet_server.rewards.models import Voucher

BASE = "/panel/programs/cafe-ohrid"


def work(site: Site) -> int:
    """What the workers do: send the batches that wait; how many there were."""
    engine = create_engine(site.database_url)
    with transaction(engine, ALL_PROGRAMS) as session:
        due = session.exec(select(OutboxRow).where(OutboxRow.topic == BATCH_DUE, OutboxRow.state == "waiting")).all()
        for row in due:
            program = load_program(session, program_id=row.program_id)
            send_batch(session, program, UUID(row.payload["campaign_id"]), row.payload["batch"], datetime.now(UTC))
            row.state = "done"
            session.add(row)
    engine.dispose()
    return len(due)


def voucher_code(site: Site) -> str:
    """A voucher of Ana's that nobody has redeemed."""
    engine = create_engine(site.database_url)
    with transaction(engine, ALL_PROGRAMS) as session:
        code = next(v.code for v in session.exec(select(Voucher)) if v.redeemed_at is None)
    engine.dispose()
    return code


def save_segment(page: Page, name: str) -> None:
    page.goto(f"{BASE}/segments/new")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The segment has been saved.")).to_be_visible()


def test_a_segment_is_counted_while_it_is_built_and_saved_once(staff_page: Page) -> None:
    page = staff_page
    page.goto(f"{BASE}/segments/new")
    count = page.locator("#count")
    expect(count).to_contain_text("All members.")
    page.get_by_label("Member", exact=True).check()
    expect(count).to_contain_text("Members whose tier is Member.")
    page.get_by_role("group", name="Visits in the last 30 days").get_by_label("from").fill("2")
    expect(count).to_contain_text("with at least 2 purchases in the last 30 days")
    expect(count).to_contain_text(re.compile(r"\b1\b.*members", re.DOTALL))
    page.get_by_role("group", name="Days since the last visit").get_by_label("to").fill("x")
    expect(count).to_contain_text("Days are whole numbers")
    page.get_by_role("group", name="Days since the last visit").get_by_label("to").fill("9")
    expect(count).to_contain_text("at most 9 days ago")
    page.get_by_label("Name").fill("Fresh regulars")
    page.get_by_role("button", name="Save").dblclick()
    expect(page.get_by_role("link", name="Fresh regulars")).to_have_count(1)
    page.get_by_role("link", name="Fresh regulars").click()
    page.get_by_text("Delete this segment").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The segment has been deleted.")).to_be_visible()


def test_a_campaign_is_previewed_launched_once_and_watched(staff_page: Page, site: Site) -> None:
    page = staff_page
    save_segment(page, "Everybody")
    page.goto(f"{BASE}/campaigns/new")
    page.get_by_label("Name").fill("Autumn")
    page.get_by_label("Македонски").fill("Кафе на наша сметка")
    banner = page.get_by_role("figure", name="On a locked phone")
    expect(banner).to_contain_text("Кафе на наша сметка")
    page.get_by_label("Segment").select_option(label="Everybody")
    expect(page.locator("#preview")).to_contain_text("In the segment now")
    page.get_by_role("button", name="Review", exact=True).dblclick()
    expect(page.get_by_role("heading", name="Whom it reaches")).to_be_visible()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Launch").dblclick()
    expect(page.get_by_role("heading", name="Sending")).to_be_visible()
    assert work(site) == 1
    # The page follows by itself, and stops asking when nothing more is to come.
    expect(page.get_by_role("heading", name="Sent")).to_be_visible()
    expect(page.locator("#progress")).to_contain_text("Waiting")
    expect(page.locator("#progress")).to_contain_text("100")
    page.reload()
    expect(page.get_by_role("heading", name="Sent")).to_be_visible()
    page.goto(f"{BASE}/campaigns")
    expect(page.get_by_role("link", name="Autumn")).to_have_count(1)


def test_the_chart_is_drawn_and_drawn_again(staff_page: Page) -> None:
    page = staff_page
    page.goto(f"{BASE}/numbers")
    chart = page.locator(".chart")
    expect(chart.locator("canvas")).to_have_count(1)
    expect(chart).to_have_attribute("aria-label", re.compile("A line chart of participation"))
    chart.hover()
    chart.hover(position={"x": 200, "y": 120})
    page.wait_for_timeout(500)
    expect(chart.locator("> div")).to_have_count(1)  # the tooltip is drawn; a box of its own hangs over a phone's edge
    page.get_by_role("link", name="Months").click()
    expect(page).to_have_url(re.compile("every=month"))
    expect(page.get_by_role("columnheader", name="Month")).to_be_visible()
    expect(page.locator(".chart canvas")).to_have_count(1)
    page.set_viewport_size({"width": 390, "height": 844})
    assert_fits(page)
    page.go_back()
    expect(page.get_by_role("columnheader", name="Week")).to_be_visible()
    expect(page.locator(".chart canvas")).to_have_count(1)


def test_a_voucher_is_typed_and_redeemed_from_the_keyboard(staff_page: Page, site: Site) -> None:
    page = staff_page
    code = voucher_code(site)
    page.goto(f"{BASE}/vouchers")
    expect(page.get_by_label("Voucher code")).to_be_focused()
    page.keyboard.type(f"{code[:4]}-{code[4:8]}-{code[8:12]}-{code[12:]}".lower())
    page.keyboard.press("Enter")
    expect(page.get_by_text("Good to redeem")).to_be_visible()
    expect(page.get_by_role("button", name="Redeem")).to_be_focused()
    page.get_by_label("Outlet").select_option(label="Restaurant B")
    page.get_by_role("button", name="Redeem").click()
    expect(page.get_by_text("Hand it out.")).to_be_visible()
    expect(page.get_by_label("Voucher code")).to_be_focused()
    page.keyboard.type(code)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Already redeemed")).to_be_visible()
    expect(page.get_by_text(f"at Restaurant B by {OWNER}")).to_be_visible()
    expect(page.get_by_role("button", name="Redeem")).to_have_count(0)


def test_it_is_all_there_without_scripts(open_page: OpenPage, site: Site) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/panel/login")
    page.get_by_label("E-mail address").fill(OWNER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{BASE}/segments/new")
    page.get_by_label("Name").fill("Plain")
    page.get_by_role("group", name="Visits in the last 30 days").get_by_label("from").fill("1")
    page.get_by_role("button", name="Count").click()
    expect(page.locator("#count")).to_contain_text("with at least 1 purchase")
    expect(page.get_by_label("Name")).to_have_value("Plain")
    page.get_by_label("Name").press("Enter")  # saves, and does not only count
    page.get_by_role("listitem").filter(has_text="Plain").get_by_role("link", name="Send a message").click()
    page.get_by_label("Name").fill("Plain words")
    page.get_by_label("Македонски").fill("Здраво")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview")).to_contain_text("Здраво")
    page.get_by_role("button", name="Review", exact=True).click()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_role("heading", name="Sending")).to_be_visible()
    work(site)
    page.get_by_role("link", name="Look again").click()
    expect(page.get_by_role("heading", name="Sent")).to_be_visible()
    page.goto(f"{BASE}/numbers")
    page.get_by_role("link", name="Months").click()
    expect(page.get_by_role("columnheader", name="Month")).to_be_visible()
    expect(page.get_by_text("The chart needs JavaScript")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1440])
def test_the_pages_fit_and_can_be_read_by_everybody(staff_page: Page, site: Site, width: int) -> None:
    page = staff_page
    name = f"Wide as {width}"
    save_segment(page, name)
    page.get_by_role("listitem").filter(has_text=name).get_by_role("link", name="Send a message").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Македонски").fill("Здраво на сите " * 12)
    page.get_by_role("button", name="Review", exact=True).click()
    expect(page.get_by_role("heading", name="Whom it reaches")).to_be_visible()
    draft = page.url
    page.goto(draft.replace("/campaigns/", "/campaigns/new?like="))
    page.get_by_label("Name").fill(f"{name}, sent")
    page.get_by_role("button", name="Review", exact=True).click()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_role("heading", name="Sending")).to_be_visible()
    sent = page.url
    work(site)
    page.set_viewport_size({"width": width, "height": 900})
    for path in (
        f"{BASE}/segments",
        f"{BASE}/segments/new",
        f"{BASE}/campaigns",
        f"{BASE}/campaigns/new",
        draft,
        f"{draft}/edit",
        sent,
        f"{BASE}/numbers",
        f"{BASE}/vouchers",
        f"{BASE}/vouchers?code=0",
    ):
        for language in ("ru", "mk", "en"):
            page.goto(f"{path}{'&' if '?' in path else '?'}lang={language}")
            assert_fits(page)
        # Colours, names and roles are the same in every language.
        assert_accessible(page)


@pytest.mark.parametrize("path", ["campaigns", "segments", "program/tiers", "program/keys", "program/webhooks"])
def test_the_words_under_a_heading_are_not_squeezed_beside_its_button(staff_page: Page, path: str) -> None:
    staff_page.set_viewport_size({"width": 390, "height": 900})
    staff_page.goto(f"{BASE}/{path}")
    heading = staff_page.get_by_role("heading", level=1)
    row = heading.locator("xpath=ancestor::div[contains(@class, 'row')][1]")
    words, button = row.locator("> p").bounding_box(), row.locator(".btn").first.bounding_box()
    assert words is not None
    assert button is not None
    assert words["width"] > 350
    assert words["y"] >= button["y"] + button["height"]
    assert_fits(staff_page)
