"""A manager writes a rule and sees what it changes before saving it; then the till gives it. In Chromium."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_pages import assert_accessible, assert_fits

BASE = "/panel/programs/cafe-ohrid"
RULES = f"{BASE}/program/rules"


def delete_rule(page: Page, name: str) -> None:
    page.goto(RULES)
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_text("Delete this rule").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text(f"The rule “{name}” has been deleted.")).to_be_visible()


def test_cappuccino_doubles_on_mondays_from_16_to_18(staff_page: Page, site: Site) -> None:
    page = staff_page
    page.goto(f"{BASE}/members")
    page.get_by_role("link", name="Program", exact=True).click()
    page.get_by_role("link", name="New rule", exact=True).first.click()

    # The example stands beside the form, and follows the typing.
    example = page.locator("#example")
    expect(example).to_contain_text("Say what the rule does, and see here what changes.")
    page.get_by_label("Name").fill("Cappuccino hour")
    page.get_by_label("Cappuccino", exact=True).check()
    page.get_by_text("When and how", exact=True).last.click()
    page.get_by_text("Mon", exact=True).click()
    hours = page.get_by_role("group", name="Hours")
    hours.get_by_label("from").fill("16:00")
    hours.get_by_label("to").fill("18:00")
    page.get_by_label("How much").fill("two")
    expect(page.locator("#error-earn")).to_contain_text("Enter a number that fits")
    page.get_by_label("How much").fill("2")
    expect(page.locator("#error-earn")).to_be_empty()
    expect(example).to_contain_text("points × 2 · Cappuccino · Monday · 16:00–18:00")

    side = page.locator("#side")
    side.get_by_label("Day", exact=True).fill("2026-11-24")
    side.get_by_label("Time", exact=True).fill("16:30")
    expect(example).to_contain_text("This receipt stays as it is.")
    example.get_by_text("1 rule did not apply").first.click()
    expect(example).to_contain_text("Cappuccino hour did not apply: bought on Tuesday.")
    side.get_by_label("Day", exact=True).fill("2026-11-23")
    side.get_by_label("Product").first.select_option("cappuccino")
    side.get_by_label("Product").nth(1).select_option("")
    expect(example.locator(".is-changed")).to_contain_text("3")
    expect(example.locator(".is-changed strong")).to_have_text("6")

    # By one button the example is one that the rule is about.
    side.get_by_label("Day", exact=True).fill("2026-11-25")
    expect(example).to_contain_text("This receipt stays as it is.")
    page.get_by_role("button", name="Fit it to the rule").click()
    expect(side.get_by_label("Time", exact=True)).to_have_value("16:00")
    expect(example.locator(".is-changed strong")).to_be_visible()
    assert_accessible(page)
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert_fits(page)

    page.get_by_role("button", name="Save").last.dblclick()
    expect(page.get_by_text("The rule “Cappuccino hour” is in force now.")).to_be_visible()
    expect(page.get_by_role("link", name="Cappuccino hour", exact=True)).to_have_count(1)
    page.get_by_role("link", name="Versions").click()
    expect(page.get_by_text("New rule: Cappuccino hour")).to_be_visible()

    # So that the purchase below is a Monday's whatever day the test runs on: all days, all day.
    page.goto(RULES)
    page.get_by_role("link", name="Cappuccino hour", exact=True).click()
    for day in ("Tue", "Wed", "Thu", "Fri", "Sat", "Sun"):
        page.get_by_text(day, exact=True).click()
    hours = page.get_by_role("group", name="Hours")
    hours.get_by_label("from").fill("")
    hours.get_by_label("to").fill("")
    page.get_by_role("button", name="Save").last.click()
    expect(page.get_by_text("is in force now.")).to_be_visible()
    page.goto(f"{BASE}/members/{site.member_id}/purchase")
    page.get_by_label("Product").first.select_option("cappuccino")
    quote = page.locator("#quote")
    expect(quote).to_contain_text("+6")
    quote.get_by_text("Why these points").click()
    expect(quote).to_contain_text("Cappuccino hour: points × 2")
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_text("Recorded: 6 points.")).to_be_visible()

    # The member reads why.
    page.goto(site.member_path + "?lang=en")
    page.get_by_text("Why?").first.click()
    expect(page.get_by_text("Cappuccino hour: points × 2").first).to_be_visible()
    assert_accessible(page)
    delete_rule(page, "Cappuccino hour")


def test_what_two_managers_write_at_once_is_not_lost(staff_page: Page) -> None:
    page = staff_page
    page.goto(f"{RULES}/new")
    page.get_by_label("Name").fill("Mine")
    page.get_by_label("How much").fill("3")
    other = page.context.new_page()
    other.goto(f"{RULES}/new")
    other.get_by_label("Name").fill("Theirs")
    other.get_by_label("How much").fill("2")
    other.get_by_role("button", name="Save").last.click()
    expect(other.get_by_text("The rule “Theirs” is in force now.")).to_be_visible()
    other.close()
    page.get_by_role("button", name="Save").last.click()
    expect(page.get_by_text("Nothing you typed is lost")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("Mine")
    page.get_by_role("button", name="Save").last.click()
    expect(page.get_by_role("link", name="Mine", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Theirs", exact=True)).to_be_visible()
    page.get_by_role("button", name="Move “Theirs” down").click()
    expect(page.get_by_role("button", name="Move “Theirs” down")).to_be_disabled()
    page.get_by_label("Find a rule by its name").fill("their")
    expect(page.get_by_role("link", name="Mine", exact=True)).to_have_count(0)
    for name in ("Mine", "Theirs"):
        delete_rule(page, name)


def test_only_the_conditions_of_the_family_are_shown(staff_page: Page) -> None:
    page = staff_page
    page.goto(f"{RULES}/new")
    sections = {family: page.locator(f"[data-of={family}]") for family in ("product", "customer", "behavior")}
    for family, shown in (
        ("What is bought", {"product", "customer", "behavior"}),
        ("Who buys", {"customer"}),
        ("When and how", {"behavior"}),
    ):
        page.locator(".family-choice").get_by_text(family, exact=True).click()
        for name, section in sections.items():
            expect(section).to_be_visible(visible=name in shown)
