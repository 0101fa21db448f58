"""A card's hard days, through a real running group: lost and found by mail, stolen, left. Nothing is faked between.

The mail goes over SMTP to the sandbox's mail server; the phones check and refuse passes as iPhones do.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.group import Group, running_group, wait_until
from tests.walks.test_first_walk import PHONE, ZONE, Till, noon, sign_in
from tests.watched import OpenPage, watched_pages
from wallet_server.sandbox.client import ControlClient

pytestmark = pytest.mark.timeout(300)

MAIL = "ana@example.com"


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with running_group(tmp_path_factory.mktemp("walk") / "data") as group:
        yield group


@pytest.fixture
def open_page(chromium: Browser, group: Group) -> Iterator[OpenPage]:
    with watched_pages(chromium, group.url, seconds=30) as open_one:
        yield open_one


@pytest.fixture
def till(group: Group) -> Iterator[Till]:
    headers = {"Authorization": f"Bearer {group.logins['api_key']}"}
    with httpx.Client(base_url=group.url, headers=headers, timeout=30) as http:
        yield Till(http, ControlClient.of(group.data))


def join(page: Page, till: Till, count: int) -> str:
    """Join by e-mail, and open the link of the mail, which is the ``count``-th to that address; the card's number."""
    page.goto("/join/cafe-ohrid/poster?with=email")
    page.get_by_label("E-mail address").fill(MAIL)
    page.get_by_role("button", name="Get my card").click()
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
    open_the_newest_mail(page, till, count)
    page.get_by_role("button", name="Show my card").click()
    expect(page.get_by_role("heading", name="Welcome! Your card is ready")).to_be_visible()
    return card_number(page)


def card_number(page: Page) -> str:
    shown = re.search(r"\b\d{4} \d{4} \d{4} \d{4}\b", page.locator("main").inner_text())
    assert shown is not None
    return shown.group().replace(" ", "")


def on_a_phone(page: Page) -> str:
    """Put both passes of the welcome page on a new simulated phone; the phone's id."""
    page.get_by_role("link", name="Open on a simulated phone").click()
    page.get_by_role("button", name="Add to a new phone").click()
    expect(page.locator("#phone")).to_be_visible()
    return urlsplit(page.url).path.rsplit("/", 1)[-1]


def ask_for_the_card(page: Page) -> None:
    page.goto("/join/cafe-ohrid?with=email")
    page.get_by_role("link", name="Lost your card?").click()
    page.get_by_label("The phone number or e-mail address that you joined with").fill(MAIL)
    page.get_by_role("button", name="Send me a link").click()
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()


def open_the_newest_mail(page: Page, till: Till, count: int) -> None:
    wait_until(lambda: [mail["to"] for mail in till.control.get("mails")["mails"]].count(MAIL) == count)
    page.get_by_role("link", name="Open the sandbox's mail box").click()
    page.locator(".mail", has_text=MAIL).first.click()
    expect(page.get_by_role("heading", name="Your card of")).to_be_visible()
    page.locator(".letter-text a").click()
    expect(page.get_by_role("heading", name="Your card is here")).to_be_visible()


def passes(till: Till, phone_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    detail = till.control.get("phones", phone_id)
    return detail["passes"][0], detail["google"][0]


def is_void(till: Till, phone_id: str) -> bool:
    apple, google = passes(till, phone_id)
    return bool(apple["face"]["voided"]) and google["state"] == "INACTIVE"


def test_lost_found_stolen_and_left(open_page: OpenPage, group: Group, till: Till) -> None:
    first = open_page(**PHONE)
    number = join(first, till, 1)
    old_phone = on_a_phone(first)

    # Lost: another browser, the same card, on a second phone beside the first.
    second = open_page(**PHONE)
    ask_for_the_card(second)
    open_the_newest_mail(second, till, 2)
    used = second.url
    second.get_by_role("button", name="Show my card").click()
    expect(second.get_by_role("heading", name="Welcome! Your card is ready")).to_be_visible()
    assert card_number(second) == number
    new_phone = on_a_phone(second)
    assert passes(till, new_phone)[0]["serial"] == passes(till, old_phone)[0]["serial"]
    till.purchase(number, noon_yesterday(), quantity=3)
    for phone_id in (old_phone, new_phone):
        wait_until(lambda phone_id=phone_id: bool(till.banners(phone_id)))
    assert second.request.get(used).status == 410

    # Stolen: both phones are shut out, the points move to a new card.
    third = open_page(**PHONE)
    ask_for_the_card(third)
    open_the_newest_mail(third, till, 3)
    third.get_by_label("My phone was stolen").check()
    third.get_by_role("button", name="Show my card").click()
    expect(third.get_by_role("heading", name="Welcome! Your card is ready")).to_be_visible()
    again = card_number(third)
    assert again != number
    member_url = third.url.removesuffix("/welcome")
    safe_phone = on_a_phone(third)
    for phone_id in (old_phone, new_phone):
        wait_until(lambda phone_id=phone_id: is_void(till, phone_id))
        assert till.banners(phone_id)[0] == "This card is no longer valid."
    assert till.http.get(f"/api/v1/members/{number}").json()["code"] == "card_blocked"
    assert till.http.get(f"/api/v1/members/{again}").json()["balance"]["spendable"] == 16
    assert not is_void(till, safe_phone)

    # Left: the last phone too, and the person is nobody.
    third.goto(member_url)
    third.get_by_role("link", name="Leave the program").click()
    expect(third.get_by_text("You lose 16 points")).to_be_visible()
    third.get_by_label("Yes, I want to leave").check()
    third.get_by_role("button", name="Leave the program").click()
    expect(third.get_by_role("heading", name="You have left the program")).to_be_visible()
    wait_until(lambda: is_void(till, safe_phone))
    desk = open_page()
    sign_in(desk, group, "cashier")
    desk.goto(f"/panel/programs/cafe-ohrid/members?q={MAIL}")
    expect(desk.get_by_role("main")).not_to_contain_text(MAIL)
    assert join(open_page(**PHONE), till, 4) not in (number, again)

    verified = group.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_strangers_hear_the_same_and_get_nothing(open_page: OpenPage, till: Till) -> None:
    known = till.member_with_phone(marketing=False)
    before = till.control.get("mails")["count"]
    page = open_page(**PHONE)
    for contact in (
        f"{uuid.uuid4().hex}@example.com",
        f"{till.control.get('phones', known.phone_id)['name']}@example.com",
    ):
        page.goto("/recover/cafe-ohrid")
        page.get_by_role("textbox").fill(contact)
        page.get_by_role("button", name="Send me a link").click()
        expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()
    wait_until(lambda: till.control.get("mails")["count"] > before)
    found = till.control.get("mails")
    assert (found["count"], found["mails"][0]["to"]) == (before + 1, contact)


def noon_yesterday() -> datetime:
    return noon(datetime.now(ZONE).date() - timedelta(days=1))
