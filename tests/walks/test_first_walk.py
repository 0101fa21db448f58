"""The first whole walks, through a real running group and a real browser: nothing in between is faked.

Join, hold a pass, see the till's purchase on the lock screen; win a voucher with three visits and redeem it
once; get a promotion once. The phones are the sandbox's own, and check a pass as an iPhone does.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.group import WAIT_S_MAX, Group, running_group, wait_until
from tests.watched import OpenPage, watched_pages
from wallet_server.sandbox.client import ControlClient

pytestmark = pytest.mark.timeout(300)

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
PHONE = {"viewport": {"width": 390, "height": 844}, "user_agent": IPHONE, "is_mobile": True, "has_touch": True}
PROGRAM = "/panel/programs/cafe-ohrid"
OUTLET = "bazaar"
ZONE = ZoneInfo("Europe/Skopje")
CAPPUCCINO_MINOR = 11_000


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """A newcomer's ``wallet-server up --demo``."""
    with running_group(tmp_path_factory.mktemp("walk") / "data") as group:
        yield group


@pytest.fixture
def open_page(chromium: Browser, group: Group) -> Iterator[OpenPage]:
    """Open a watched browser of its own before the group; a blocked resource fails the walk, too."""
    with watched_pages(chromium, group.url, seconds=30) as open_one:
        yield open_one


@dataclass(frozen=True)
class Joined:
    """A member of the walk and the phone that holds the pass."""

    card_number: str
    member_id: str
    phone_id: str


@dataclass(frozen=True)
class Till:
    """The till of the demo: the key that ``up --demo`` prints."""

    http: httpx.Client
    control: ControlClient

    def purchase(self, card_number: str, occurred_at: datetime, quantity: int = 1) -> dict[str, Any]:
        receipt_id = uuid.uuid4().hex
        answer = self.http.post(
            "/api/v1/purchases",
            headers={"Idempotency-Key": receipt_id},
            json={
                "receipt_id": receipt_id,
                "card_number": card_number,
                "outlet": OUTLET,
                "occurred_at": occurred_at.isoformat(),
                "lines": [{"sku": "cappuccino", "quantity": quantity, "unit_price_minor": CAPPUCCINO_MINOR}],
            },
        )
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def member_with_phone(self, *, marketing: bool) -> Joined:
        name = uuid.uuid4().hex
        answer = self.http.post(
            "/api/v1/members",
            headers={"Idempotency-Key": name},
            json={"email": f"{name}@example.com", "language": "en", "consents": {"marketing": marketing}},
        )
        assert answer.status_code == 201, answer.text
        member = answer.json()
        phone = self.control.post("phones", name=name, language="en", install=member["apple_pass_url"])
        return Joined(member["card_number"], member["member_id"], phone["id"])

    def banners(self, phone_id: str) -> list[str]:
        """What stands on a phone's lock screen, newest first."""
        return [str(banner["text"]) for banner in self.control.get("phones", phone_id)["banners"]]


@pytest.fixture
def till(group: Group) -> Iterator[Till]:
    headers = {"Authorization": f"Bearer {group.logins['api_key']}"}
    with httpx.Client(base_url=group.url, headers=headers, timeout=30) as http:
        yield Till(http, ControlClient.of(group.data))


def sign_in(page: Page, group: Group, role: str) -> None:
    [(email, password)] = [(email, password) for email, password, its in group.logins["staff"] if its == role]
    page.goto("/panel/login")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/members")  # and not the page that asks for a new password: it is printed at each start


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=ZONE)


def test_from_the_poster_to_a_balance_that_changes_on_the_lock_screen(
    open_page: OpenPage, group: Group, till: Till
) -> None:
    guest = open_page(**PHONE)
    guest.goto("/join/cafe-ohrid/poster")
    guest.get_by_label("Phone number").fill("072 555 123")
    guest.get_by_role("button", name="Get my card").click()
    expect(guest.get_by_role("heading", name="Welcome! Your card is ready")).to_be_visible()
    shown = re.search(r"\b\d{4} \d{4} \d{4} \d{4}\b", guest.locator("main").inner_text())
    assert shown is not None
    card_number = shown.group().replace(" ", "")

    guest.get_by_role("link", name="Open on a simulated phone").click()
    guest.get_by_role("button", name="Add to a new phone").click()
    phone = guest.locator("#phone")
    apple = phone.locator("figure").filter(has_text="Apple Wallet")
    google = phone.locator("figure").filter(has_text="Google Wallet")
    expect(apple).to_contain_text(shown.group())
    expect(google).to_contain_text(shown.group())

    # Noon of a day that is over: none of the demo's rules is about that hour.
    bought = till.purchase(card_number, noon(datetime.now(ZONE).date() - timedelta(days=1)), quantity=3)
    assert bought["points_earned"] == 16, "5 % of 330.00, rounded down"
    assert bought["balance"] == {"spendable": 16, "pending": 0}
    expect(phone.locator("figure").first).to_contain_text("+16 points, 16 in all.", timeout=WAIT_S_MAX * 1000)
    expect(apple).to_contain_text(re.compile(r"points\s*16", re.IGNORECASE))
    expect(google).to_contain_text(re.compile(r"points\s*16", re.IGNORECASE), timeout=WAIT_S_MAX * 1000)
    expect(phone.get_by_text("3 of 8").first).to_be_visible()

    desk = open_page()
    sign_in(desk, group, "cashier")
    desk.goto(f"{PROGRAM}/members?q={card_number}")
    desk.get_by_role("link", name="+38972555123").click()
    expect(desk.locator("#live")).to_contain_text("16")
    expect(desk.locator("#live")).to_contain_text("up to date")
    # In the history; the points of that purchase name it too.
    expect(desk.get_by_role("cell").get_by_role("link", name=re.compile("Receipt"))).to_have_count(1)

    verified = group.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_three_visits_in_a_month_win_a_dinner_that_is_redeemed_once(
    open_page: OpenPage, group: Group, till: Till
) -> None:
    now = datetime.now(ZONE)
    if now.day < 3:  # too early in the month for three days of it: that is what the moved clock is for
        moved = group.command("sandbox", "clock", "set", noon(now.date().replace(day=3)).isoformat())
        assert moved.returncode == 0, moved.stderr
        now = noon(now.date().replace(day=3))
    ana = till.member_with_phone(marketing=False)
    visits = [
        till.purchase(ana.card_number, noon(now.date() - timedelta(days=2))),
        till.purchase(ana.card_number, noon(now.date() - timedelta(days=2))),
        till.purchase(ana.card_number, noon(now.date() - timedelta(days=1))),
        till.purchase(ana.card_number, now),
    ]
    progress = [
        [challenge["progress"] for challenge in visit["challenges"] if challenge["code"] == "dinner"]
        for visit in visits
    ]
    assert progress[:3] == [[1], [1], [2]], "the second purchase of a day is no second visit"
    assert [visit["rewards"] for visit in visits[:3]] == [[], [], []]
    [won] = visits[3]["rewards"]
    code = won["voucher_code"]
    [voucher] = till.http.get(f"/api/v1/members/{ana.card_number}").json()["vouchers"]
    assert voucher["code"] == code

    # The pass on the phone follows.
    def progress_on_pass() -> str:
        [card] = till.control.get("phones", ana.phone_id)["passes"]
        return str(card["values"].get("challenge-dinner", ""))

    wait_until(lambda: progress_on_pass() not in ("0 of 3", "1 of 3", "2 of 3"))

    desk = open_page()
    sign_in(desk, group, "cashier")
    desk.goto(f"{PROGRAM}/vouchers")
    desk.get_by_label("Voucher code").fill(code)
    desk.get_by_role("button", name="Look up").click()
    expect(desk.get_by_text("Free: Dinner for one")).to_be_visible()
    desk.get_by_role("button", name="Redeem").dblclick()
    expect(desk.get_by_text("Hand it out.")).to_be_visible()
    answer = till.http.post(
        f"/api/v1/vouchers/{code}/redeem",
        headers={"Idempotency-Key": uuid.uuid4().hex},
        json={"outlet": OUTLET, "occurred_at": now.isoformat()},
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "voucher_used")


def test_a_promotion_reaches_each_phone_that_wants_it_once(open_page: OpenPage, group: Group, till: Till) -> None:
    willing = [till.member_with_phone(marketing=True) for _ in range(3)]
    unasked = till.member_with_phone(marketing=False)
    for member in (*willing, unasked):
        till.purchase(member.card_number, datetime.now(UTC))
    wait_until(lambda: all(till.banners(member.phone_id) for member in (*willing, unasked)))

    desk = open_page()
    sign_in(desk, group, "manager")
    desk.goto(f"{PROGRAM}/campaigns/new")
    name, text = f"Walk {uuid.uuid4().hex[:6]}", "Baklava is on us this week."
    desk.get_by_label("Name").fill(name)
    desk.get_by_label("English").fill(text)
    desk.get_by_label("Македонски").fill("Оваа недела баклавата е на наша сметка.")
    desk.get_by_label("Segment").select_option(label="Guests with one or two visits this month")
    expect(desk.locator("#preview")).to_contain_text("In the segment now")
    desk.get_by_role("button", name="Review", exact=True).click()
    desk.get_by_role("checkbox").check()
    desk.get_by_role("button", name="Launch").dblclick()
    expect(desk.get_by_role("heading", name="Sent", exact=True)).to_be_visible(timeout=WAIT_S_MAX * 1000)

    wait_until(lambda: all(text in till.banners(member.phone_id) for member in willing))
    desk.goto(f"{PROGRAM}/campaigns")
    expect(desk.get_by_role("link", name=name)).to_have_count(1)
    for member in willing:
        assert till.banners(member.phone_id).count(text) == 1
    assert text not in till.banners(unasked.phone_id)
