"""The designer in Chromium: both wallets follow the typing, a review counts, and the cards follow."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.test_pages import assert_accessible, assert_fits

LOOK = "/panel/programs/cafe-ohrid/program/look"


def test_a_look_is_designed_reviewed_and_published(staff_page: Page) -> None:
    page = staff_page
    page.goto(LOOK)
    preview = page.locator("#preview")
    card = preview.locator(".pass")
    page.get_by_label("Background", exact=True).first.fill("#7a1f3a")
    expect(card).to_have_css("background-color", "rgb(122, 31, 58)")
    expect(preview.locator(".gcard")).to_have_css("background-color", "rgb(122, 31, 58)")
    page.get_by_label("Points", exact=True).fill("4321")
    expect(card).to_contain_text("4,321")
    page.get_by_label("Level", exact=True).select_option("silver")
    expect(card).to_contain_text("Silver")
    expect(preview).to_contain_text("only for large text")
    page.get_by_label("Level", exact=True).select_option("base")

    picture = io.BytesIO()
    Image.new("RGB", (240, 240), (250, 200, 60)).save(picture, "JPEG")
    page.get_by_label("Icon: choose a file").set_input_files(
        {"name": "icon.jpg", "mimeType": "image/jpeg", "buffer": picture.getvalue()}
    )
    expect(page.get_by_role("button", name="Remove it")).to_have_count(1)
    expect(page.get_by_label("Background", exact=True).first).to_have_value("#7a1f3a")

    page.get_by_role("button", name="Add a look").click()
    page.get_by_label("Name", exact=True).fill("Winter")
    page.locator("#look_0_background").fill("#0b2545")
    page.locator("#look_0_strip_kind").select_option("season")
    page.locator("#look_0_motif").select_option("snow")
    page.locator("#look_0_day_0_from").fill("12-01")
    page.locator("#look_0_day_0_to").fill("02-28")
    page.get_by_label("Day", exact=True).fill("2026-12-24")
    expect(preview).to_contain_text("Apple Wallet · Winter")
    expect(card).to_have_css("background-color", "rgb(11, 37, 69)")

    page.get_by_role("button", name="Review and publish").click()
    expect(page.get_by_text("New: Look “Winter”")).to_be_visible()
    expect(page.get_by_text("less than a minute")).to_be_visible()
    assert_fits(page)
    assert_accessible(page)
    page.get_by_role("button", name="Back to the draft").click()
    expect(page.locator("#background")).to_have_value("#7a1f3a")
    page.get_by_role("button", name="Review and publish").click()
    page.get_by_role("button", name="Publish to all").click()
    expect(page.get_by_text("The look is published.")).to_be_visible()
    expect(page.locator("#progress")).to_contain_text("Apple Wallet")
    assert_accessible(page)


def test_a_photo_is_chosen_and_its_point_set_by_a_press(staff_page: Page) -> None:
    page = staff_page
    page.goto(LOOK)
    halves = Image.new("RGB", (900, 1600), (20, 60, 200))
    halves.paste((200, 60, 20), (0, 0, 900, 800))
    picture = io.BytesIO()
    halves.save(picture, "WEBP")
    strip = page.locator("#preview .pass-strip-image")
    drawn = strip.get_attribute("src")
    page.get_by_label("A photo of your own: choose a file").first.set_input_files(
        {"name": "sea.webp", "mimeType": "image/webp", "buffer": picture.getvalue()}
    )
    photo = page.get_by_alt_text("The photo as it was uploaded")
    expect(photo).to_be_visible()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=photo.element_handle())
    assert page.url.endswith("#photo-part"), "the page comes back to where the photo was chosen"
    middle = strip.get_attribute("src")
    assert middle != drawn
    photo.click(position={"x": 10, "y": 5})
    expect(page.get_by_label("From top to bottom")).to_have_value(re.compile("^[0-9]$"))
    expect(strip).not_to_have_attribute("src", str(middle))
    assert_fits(page)
    assert_accessible(page)
    page.get_by_role("region", name="Picture").get_by_role("button", name="Remove it").click()
    expect(photo).to_have_count(0)
    too_large = {"name": "sea.jpg", "mimeType": "image/jpeg", "buffer": bytes(8_000_001)}
    page.get_by_label("A photo of your own: choose a file").first.set_input_files(too_large)
    expect(page.get_by_text("This file is too large.").first).to_be_visible()


@pytest.mark.parametrize("width", [390, 1440])
def test_the_designer_fits_and_can_be_used_by_everybody(staff_page: Page, width: int) -> None:
    # High enough for the whole preview: axe takes what is scrolled out of its box for white on white.
    staff_page.set_viewport_size({"width": width, "height": 1600})
    staff_page.goto(LOOK)
    staff_page.get_by_role("button", name="Add a look").click()
    expect(staff_page.locator("#look_0_name")).to_be_focused()
    staff_page.get_by_text("The back of the card").click()
    assert_fits(staff_page)
    assert_accessible(staff_page)
