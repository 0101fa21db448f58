"""The gallery of looks in Chromium: every picture arrives, a choice swaps the cards, and it fits a phone."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.test_pages import assert_accessible, assert_fits

GALLERY = "/panel/programs/cafe-ohrid/program/look/gallery"
ALL_ARRIVED = (
    "() => [...document.querySelectorAll('#gallery img')].every(image => image.complete && image.naturalWidth)"
)


def test_all_looks_in_both_wallets(staff_page: Page) -> None:
    page = staff_page
    page.goto("/panel/programs/cafe-ohrid/program/look")
    page.get_by_role("link", name="All looks").click()
    expect(page.locator("#gallery .pass")).not_to_have_count(0)
    page.wait_for_function(ALL_ARRIVED)
    assert_fits(page)
    assert_accessible(page)
    with page.expect_response(lambda answer: "wallet=both" in answer.url):
        page.get_by_role("combobox", name="Wallet").select_option("both")
    expect(page.locator("#gallery .gcard")).to_have_count(page.locator("#gallery .pass").count())
    page.get_by_role("combobox", name="Language").select_option("ru")
    expect(page.locator("#gallery")).to_contain_text("Баллы")
    page.wait_for_function(ALL_ARRIVED)
    page.set_viewport_size({"width": 390, "height": 844})
    assert_fits(page)
