"""The phone's page in a real browser: what happens to the phone appears without a reload, under the strict policy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from tests.services.sandbox.running import PASS_TYPE_ID

WIDE, NARROW = {"width": 1400, "height": 1000}, {"width": 390, "height": 844}


@pytest.fixture
def address(app) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page(viewport=WIDE, locale="en")
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    page.close()
    assert complaints == []


def change(sandbox, phone_id, **fields):
    card = sandbox.shop.cards["ana"]
    sandbox.shop.put(
        replace(card, **{name: getattr(card, name)._replace(value=value) for name, value in fields.items()})
    )

    async def deliver():
        sandbox.sandbox.phones.deliver(phone_id, PASS_TYPE_ID)

    sandbox.run(deliver())


def test_a_banner_and_the_new_balance_appear_by_themselves(page, address, sandbox):
    phone_id = sandbox.phone("ana", name="Ana")
    page.goto(f"{address}/sandbox/phones/{phone_id}")
    expect(page.locator(".pass-header dd").first).to_have_text("126")
    change(sandbox, phone_id, points=500)
    expect(page.locator(".banner p")).to_have_text("You have 500 points")
    expect(page.locator(".pass-header dd").first).to_have_text("500")

    page.locator(".flip-front").click()
    expect(page.locator(".flip.is-back")).to_be_visible()
    assert "side=back" in page.url
    change(sandbox, phone_id, news="Two for one today")
    expect(page.locator(".group-field dd").first).to_have_text("Two for one today")
    expect(page.locator(".flip.is-back")).to_be_visible()  # the live update kept the side
    page.get_by_role("switch").click()
    expect(page.get_by_role("switch")).to_have_attribute("aria-checked", "false")
    assert sandbox.shop.registrations == {}


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["desktop", "phone"])
@pytest.mark.parametrize("path", ["", "/new", "/{phone}", "/{phone}?side=back"])
def test_no_page_is_wider_than_the_screen(page, address, sandbox, size, path):
    phone_id = sandbox.phone("ana", name="A person with a very long name indeed, longer than usual")
    page.set_viewport_size(size)
    page.goto(f"{address}/sandbox/phones{path.format(phone=phone_id)}")
    expect(page.locator("main")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
