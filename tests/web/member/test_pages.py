"""The member's own page: what it shows, and that only its address opens it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import numpy
import pytest
import sqlalchemy as sa
import zxingcpp
from flask.testing import FlaskClient

from tests.factories import CAFE, edited, program_file
from tests.web.conftest import Cast
from tests.web.helpers import StoppedClock, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.members.services import Enrolled
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.purchases.services import record_purchase
from wallet_server.web.member.pages import platform
from wallet_server.web.qr import qr_svg

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Mobile Safari/537.36"
DESKTOP = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def buy(server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, receipt: str, burgers: int) -> None:
    command = RecordPurchase(
        receipt, member.card_number, "A", clock.now(), (LineInput("burger", None, 1000 * burgers, 45000),)
    )
    with transaction(server.engine, cast.cafe.id) as session:
        record_purchase(session, cast.cafe, command, now=clock.now(), source="till", recorded_by="key:x")


@pytest.fixture
def address(server: ServerContext, member: Enrolled) -> str:
    return f"/m/{server.mint.page_token(member.member_id)}"


def test_a_new_member_sees_an_empty_card(client: FlaskClient, address: str, member: Enrolled) -> None:
    answer = client.get(address)
    text = " ".join(text_of(answer).split())
    assert answer.status_code == 200
    assert "0 points" in text
    assert member.card_number in text
    assert "Nothing yet" in text
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert 'name="robots" content="noindex"' in answer.get_data(as_text=True)


def test_points_that_end_are_told_in_time(
    client: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, address: str
) -> None:
    rolling = edited(CAFE, "program.points.expiry", {"kind": "rolling_days", "days": 30})
    with transaction(server.engine, ALL_PROGRAMS) as session:
        apply_program(session, ProgramFile.model_validate(rolling), now=clock.now(), actor="cli")
        cafe = load_program(session, slug="cafe-ohrid")
    buy(server, replace(cast, cafe=cafe), member, clock, "A-1", 2)
    clock.advance(timedelta(days=1))
    buy(server, replace(cast, cafe=cafe), member, clock, "A-2", 6)
    text = " ".join(text_of(client.get(address)).split())
    assert "Next to expire: 9 points, after Dec 23, 2026." in text
    for language, said in (("mk", "23.12.2026 г."), ("ru", "23 дек. 2026 г.")):
        told = text_of(client.get(f"{address}?lang={language}")).replace("\N{NARROW NO-BREAK SPACE}", " ")
        assert said in told.replace("\N{NO-BREAK SPACE}", " ")
        assert "г.." not in told
    client.get(f"{address}?lang=en")
    clock.advance(timedelta(days=30))
    text = " ".join(text_of(client.get(address)).split())
    assert "Next to expire: 27 points, after Dec 24, 2026." in text
    clock.advance(timedelta(days=1))
    assert "Next to expire" not in text_of(client.get(address))


def test_after_purchases_it_shows_points_progress_vouchers_and_reasons(
    client: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, address: str
) -> None:
    buy(server, cast, member, clock, "A-1", 6)
    text = " ".join(text_of(client.get(address)).split())
    assert "27 points" in text
    assert "Receipt A-1" in text
    assert "+27" in text
    assert "1 / 5" in text
    assert "1 / 3" in text
    assert "Free: Burger" in text
    body = client.get(address).get_data(as_text=True)
    assert body.count('class="stamped"') == 1


def test_a_used_or_expired_voucher_is_gone(
    client: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, address: str
) -> None:
    for day in range(3):
        buy(server, cast, member, clock, f"A-{day}", 1)
        clock.advance(timedelta(days=1))
    assert "Free: Dinner" in text_of(client.get(address))
    clock.advance(timedelta(days=31))
    assert "Free: Dinner" not in text_of(client.get(address))


def test_history_goes_on_page_by_page(
    client: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, address: str
) -> None:
    for number in range(25):
        buy(server, cast, member, clock, f"R{number:02d}", 1)
    first = client.get(address).get_data(as_text=True)
    assert "R24" in first
    assert "R04" not in first
    older = re.search(r'href="([^"]+\?before=\d+)#', first)
    assert older is not None
    second = client.get(older.group(1)).get_data(as_text=True)
    assert "R04" in second
    assert "R24" not in second


@pytest.mark.parametrize("token", ["x", "A" * 43, "A" * 500, "%00", "..%2Fpanel"])
def test_a_wrong_token_leads_nowhere(client: FlaskClient, cast: Cast, token: str) -> None:
    assert client.get(f"/m/{token}").status_code == 404
    assert client.get(f"/m/{token}/welcome").status_code == 404


def test_a_forged_token_of_a_real_member_leads_nowhere(client: FlaskClient, address: str) -> None:
    forged = address[:-1] + ("A" if address[-1] != "A" else "E")
    assert client.get(forged).status_code == 404


def test_a_revoked_address_leads_nowhere(client: FlaskClient, server: ServerContext, address: str) -> None:
    with server.engine.begin() as connection:
        connection.execute(sa.text("UPDATE member SET token_generation = 1"))
    assert client.get(address).status_code == 404


def test_the_page_is_in_the_members_language_until_another_is_chosen(
    client: FlaskClient, server: ServerContext, cast: Cast, address: str
) -> None:
    with server.engine.begin() as connection:
        connection.execute(sa.text("UPDATE member SET language = 'mk'"))
    assert '<html lang="mk"' in client.get(address).get_data(as_text=True)
    assert '<html lang="ru"' in client.get(f"{address}?lang=ru").get_data(as_text=True)


@pytest.mark.parametrize(
    ("agent", "kind"), [(IPHONE, "apple"), (ANDROID, "google"), (DESKTOP, "desktop"), ("", "desktop")]
)
def test_the_wallet_of_this_phone_comes_first(agent: str, kind: str) -> None:
    assert platform(agent) == kind


def test_only_a_desktop_offers_to_continue_on_the_phone(client: FlaskClient, address: str) -> None:
    for agent, offered in ((IPHONE, False), (ANDROID, False), (DESKTOP, True)):
        text = text_of(client.get(f"{address}/welcome", headers={"User-Agent": agent}))
        assert ("Continue on your phone" in text) is offered


def test_a_name_is_text_and_never_markup(
    client: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, address: str
) -> None:
    buy(server, cast, member, clock, "<img src=x onerror=alert(1)>", 1)
    body = client.get(address).get_data(as_text=True)
    assert "<img" not in body
    assert "&lt;img" in body


@pytest.mark.parametrize("content", ["9348938479246707", "https://wallet.example.com/m/" + "A" * 43, "Здраво"])
def test_codes_can_be_scanned(content: str) -> None:
    svg = str(qr_svg(content, 'a "label" <b>'))
    assert "<b>" not in svg
    size = int(re.search(r'viewBox="0 0 (\d+) ', svg).group(1))  # type: ignore[union-attr]
    rows = [[255] * size for _ in range(size)]
    path = re.search(r' d="([^"]+)"', svg).group(1)  # type: ignore[union-attr]
    x = y = 0.0
    for command, number, second in re.findall(r"([Mmh])(-?[\d.]+)(?: (-?[\d.]+))?", path):
        if command == "M":
            x, y = float(number), float(second)
        elif command == "m":
            x, y = x + float(number), y + float(second)
        else:
            for step in range(int(float(number))):
                rows[int(y - 0.5)][int(x) + step] = 0
            x += float(number)
    scale = 8
    image = numpy.kron(numpy.array(rows, dtype=numpy.uint8), numpy.ones((scale, scale), dtype=numpy.uint8))
    [found] = zxingcpp.read_barcodes(image)
    assert found.text == content


def test_a_purchase_says_why_it_earned_its_points(
    client: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, address: str
) -> None:
    """In plain words; without what staff know about others and about costs."""
    rules = [
        {"name": "Coffee", "family": "product", "when": {"skus": ["cappuccino"]}, "earn": {"multiply": 2}},
        {"name": "Happy hour", "family": "behavior", "when": {"time": {"from": "03:00", "to": "03:01"}},
         "earn": {"multiply": 5}},
        {"name": "Card of Petar", "family": "customer", "when": {"members": ["9999"]}, "earn": {"multiply": 9}},
        {"name": "Ana our friend", "family": "customer", "when": {"members": [member.card_number]},
         "earn": {"multiply": 3}},
        {"name": "Sleepers", "family": "customer", "when": {"tiers": ["silver"], "segments": ["quiet"]},
         "earn": {"multiply": 4}},
        {"name": "Margin", "family": "product", "when": {"margin_percent": {"from": 10}}, "earn": {"fixed_points": 1}},
        {"name": "New Year secret", "family": "behavior", "starts_at": "2027-01-01T00:00:00", "earn": {"multiply": 2}},
    ]  # fmt: skip
    catalog = program_file()["catalog"]
    cappuccino = {**catalog["products"][0], "cost_minor": 9000}
    file = program_file(
        rules=rules,
        segments=[{"code": "quiet", "name": "Quiet ones", "when": {}}],
        catalog={**catalog, "products": [cappuccino, *catalog["products"][1:]]},
    )
    with transaction(server.engine, ALL_PROGRAMS) as session:
        apply_program(session, ProgramFile.model_validate(file), now=clock.now(), actor="cli")
    with transaction(server.engine, cast.cafe.id) as session:
        program = load_program(session, program_id=cast.cafe.id)
        lines = (LineInput("cappuccino", None, 2000, 30000), LineInput("burger", None, 1000, 45000))
        receipt = RecordPurchase("R-1", member.card_number, "A", clock.now(), lines)
        record_purchase(session, program, receipt, now=clock.now(), source="till", recorded_by="key:1")
    text = " ".join(text_of(client.get(address)).split())
    assert "Why?" in text
    assert "Cappuccino × 2 Coffee: points × 2 (product Cappuccino)." in text
    assert "Just for you: points × 3." in text
    assert "Happy hour did not apply: bought at" in text
    for secret in ("Petar", "9999", "Ana our friend", "Sleepers", "Quiet ones", "margin", "New Year", "may pay"):
        assert secret not in text, secret


def test_a_place_in_the_history_may_be_any_number(client: FlaskClient, address: str) -> None:
    for before in ("0", "-1", "x", "9" * 30):
        assert client.get(address, query_string={"before": before}).status_code == 200
