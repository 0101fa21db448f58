"""What a person does, in Chromium, with scripts and without; and what the pages must never do."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import OWNER, OpenPage, Site
from tests.web.helpers import PASSWORD

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
PHONE_WIDTH = {"width": 390, "height": 844}


WIDE = """() => {
    const width = document.documentElement.clientWidth;
    const out = [...document.body.querySelectorAll("*")].filter(it => it.getBoundingClientRect().right > width);
    return document.documentElement.scrollWidth <= width ? null : out.map(it => it.outerHTML.slice(0, 200));
}"""


def assert_fits(page: Page) -> None:
    """Nothing sticks out at the right."""
    assert (found := page.evaluate(WIDE)) is None, "\n".join([f"{page.url} is too wide:", *found])


def assert_accessible(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
    assert found.violations_count == 0, found.generate_report()


def test_a_person_joins_on_a_phone(open_page: OpenPage) -> None:
    page = open_page(viewport=PHONE_WIDTH, user_agent=IPHONE)
    page.goto("/join/cafe-ohrid/poster")
    assert_fits(page)
    page.get_by_label("Phone number").fill("12")
    page.get_by_role("button", name="Get my card").click()
    expect(page.get_by_role("alert")).to_have_text("This is not a complete phone number.")
    page.get_by_label("Phone number").fill("070 777 888")
    page.get_by_role("button", name="Get my card").click()
    expect(page.get_by_role("heading", name="Welcome! Your card is ready")).to_be_visible()
    assert_fits(page)
    apple = page.get_by_role("link", name=re.compile("Apple Wallet"))
    assert ".pkpass" in (apple.get_attribute("href") or "")
    expect(page.get_by_text("Continue on your phone")).to_have_count(0)
    page.get_by_role("link", name="Open my page").click()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()


def test_it_is_all_there_without_scripts(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/join/cafe-ohrid?with=email")
    page.get_by_label("E-mail address").fill("no.script@example.com")
    page.get_by_role("button", name="Get my card").click()
    expect(page.get_by_text("Continue on your phone")).to_be_visible()
    page.goto("/panel/login")
    page.get_by_label("E-mail address").fill(OWNER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("searchbox").fill("Ana")
    page.get_by_role("searchbox").press("Enter")
    page.get_by_role("link", name="Ana Petrovska").click()
    page.get_by_role("link", name="Record a purchase").click()
    page.get_by_label("Amount").fill("100")
    page.get_by_role("button", name="Calculate").click()
    expect(page.locator("#quote")).to_contain_text("MKD")
    expect(page.get_by_label("Amount")).to_have_value("100")
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.get_by_text("Recorded: 1 point.")).to_be_visible()


def test_the_search_answers_while_typing(staff_page: Page) -> None:
    page = staff_page
    expect(page.get_by_role("link", name="Марко Стојановски")).to_be_visible()
    page.get_by_role("searchbox").press_sequentially("ana", delay=20)
    expect(page.get_by_role("link", name="Марко Стојановски")).to_have_count(0)
    expect(page.get_by_role("link", name="Ana Petrovska")).to_be_visible()
    expect(page).to_have_url(re.compile(r"q=ana"))
    page.get_by_role("link", name="Ana Petrovska").click()
    page.go_back()
    expect(page.get_by_role("link", name="Ana Petrovska")).to_be_visible()
    expect(page.locator("html")).to_have_count(1)


def test_a_purchase_is_quoted_while_typing_and_recorded_once(staff_page: Page, site: Site) -> None:
    page = staff_page
    page.goto(f"/panel/programs/cafe-ohrid/members/{site.member_id}/purchase")
    page.get_by_label("Amount").fill("200")
    expect(page.locator("#quote")).to_contain_text("+2")
    page.get_by_label("Product", exact=True).select_option("burger")
    expect(page.locator("#quote")).to_contain_text("+6")
    page.get_by_role("button", name="Another product").click()
    expect(page.get_by_label("Product", exact=True)).to_have_count(2)
    expect(page.get_by_label("Product", exact=True).first).to_have_value("burger")
    page.get_by_label("This many:").check()
    page.get_by_label("Points to use", exact=True).fill("99999")
    expect(page.locator("#quote")).to_contain_text("does not have that many points")
    page.get_by_label("None").check()
    page.get_by_label("Receipt number").fill("DOUBLE-1")
    expect(page.locator("#quote")).to_contain_text("+6")
    page.get_by_role("button", name="Record", exact=True).dblclick()
    expect(page.get_by_text("Recorded: 6 points.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("cell").get_by_role("link", name="Receipt DOUBLE-1")).to_have_count(1)


def test_the_members_page_follows_what_happens_elsewhere(staff_page: Page, site: Site) -> None:
    page = staff_page
    page.goto(f"/panel/programs/cafe-ohrid/members/{site.member_id}")
    before = int(page.locator("#live strong").inner_text().replace(",", ""))
    other = page.context.new_page()
    other.goto(f"/panel/programs/cafe-ohrid/members/{site.member_id}/purchase")
    other.get_by_label("Amount").fill("1000")
    other.get_by_role("button", name="Record", exact=True).click()
    expect(other.get_by_text("Recorded: 10 points.")).to_be_visible()
    expect(page.locator("#live strong")).to_have_text(f"{before + 10:,}")


@pytest.mark.parametrize(("code", "heading"), [("mk", "Членови"), ("ru", "Участники"), ("en", "Members")])
def test_the_language_changes_on_the_spot(staff_page: Page, code: str, heading: str) -> None:
    page = staff_page
    page.locator("summary").nth(1).click()
    page.locator(f".menu-item[lang={code}]").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    expect(page.locator("html")).to_have_attribute("lang", code)


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("language", ["en", "ru", "mk"])
def test_customers_pages_fit_and_can_be_read_by_everybody(page: Page, site: Site, width: int, language: str) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for path in ("/", "/join/cafe-ohrid", f"{site.member_path}/welcome", site.member_path, "/nowhere"):
        page.goto(f"{path}?lang={language}")
        assert_fits(page)
        for summary in page.locator("main summary").all():
            summary.click()
        assert_fits(page)
        if language == "en":  # words change with the language, the structure does not
            assert_accessible(page)


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("language", ["en", "ru", "mk"])
def test_panel_pages_fit_and_can_be_read_by_everybody(staff_page: Page, site: Site, width: int, language: str) -> None:
    page = staff_page
    page.set_viewport_size({"width": width, "height": 900})
    base = "/panel/programs/cafe-ohrid"
    member = f"{base}/members/{site.member_id}"
    for path in (
        f"{base}/members",
        f"{base}/members/new",
        member,
        f"{member}/purchase",
        f"{base}/audit",
        "/panel/account",
    ):
        page.goto(f"{path}?lang={language}")
        assert_fits(page)
        if language == "en":  # words change with the language, the structure does not
            assert_accessible(page)


def test_what_people_typed_is_never_run(staff_page: Page, site: Site) -> None:
    page = staff_page
    page.goto("/panel/programs/cafe-ohrid/members/new")
    page.get_by_label("Phone number or e-mail address").fill("070 111 000")
    page.get_by_label("Name").fill("<img src=x onerror=window.__x=1><script>window.__x=1</script>{{7*7}}")
    page.get_by_role("button", name="Enrol", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("<img src=x")
    expect(page.get_by_role("heading", level=1)).to_contain_text("{{7*7}}")
    page.goto("/panel/programs/cafe-ohrid/members")
    assert page.evaluate("window.__x") is None
