"""Tiers as an owner meets them, in Chromium: a new level shows who would move before it is published."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, Site
from tests.browser.test_pages import assert_accessible, assert_fits

TIERS = "/panel/programs/cafe-ohrid/program/tiers"


def test_a_level_is_published_after_a_look_at_who_would_move(staff_page: Page, site: Site, open_page: OpenPage) -> None:
    page = staff_page
    page.goto(TIERS)
    page.get_by_role("link", name="New level").click()
    moves = page.locator("#moves")
    expect(moves).to_contain_text("Give the level a name")
    page.locator("#name_en").fill("Gold")
    page.get_by_label("Code", exact=True).fill("gold")
    page.get_by_label("Spent").fill("1000")
    expect(moves).to_contain_text("Ana Petrovska")
    page.get_by_label("Spent").fill("900000")
    expect(moves).to_contain_text("Nobody would move.")
    page.get_by_label("Visits").fill("50")
    page.get_by_label("Days of grace").fill("30")
    page.get_by_label("Its own").check()
    page.get_by_label("Benefit").select_option("percent")
    page.get_by_label("How much").fill("5")
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_text("The tiers have been published.")).to_be_visible()
    expect(page.locator("#results")).to_contain_text("spent or 50 visits")
    member = open_page()
    member.goto(site.member_path)
    expect(member.get_by_text("more to reach Silver.")).to_be_visible()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", ["", "/new", "/window", "/levels/silver", "/levels/silver/remove"])
def test_the_pages_of_tiers_fit_and_can_be_used_by_everybody(staff_page: Page, path: str, width: int) -> None:
    staff_page.set_viewport_size({"width": width, "height": 900})
    staff_page.goto(TIERS + path)
    assert_fits(staff_page)
    assert_accessible(staff_page)


@pytest.mark.parametrize("language", ["en", "ru", "mk"])
def test_every_tab_of_the_section_is_in_sight_on_a_phone(staff_page: Page, language: str) -> None:
    staff_page.set_viewport_size({"width": 390, "height": 900})
    staff_page.goto(f"{TIERS}?lang={language}")
    tabs = staff_page.locator(".program-tab")
    assert tabs.count() == 9
    for tab in tabs.all():
        expect(tab).to_be_in_viewport(ratio=1)
