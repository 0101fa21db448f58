"""The numbers page: the chart and the table say the same, in the reader's way of writing figures."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from tests.people import add_member, add_purchase
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, transaction

NUMBERS = "/panel/programs/cafe-ohrid/numbers"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def history(server: ServerContext, cast: Cast, clock: StoppedClock) -> None:
    """Four members since three weeks; a purchase three, two and one weeks ago, one and four of them."""
    now = clock.now()  # a Monday
    long_ago = now - timedelta(days=20)
    with transaction(server.engine, ALL_PROGRAMS) as session:
        members = [
            add_member(session, cast.cafe, now, joined_at=long_ago, last_visit_at=now - timedelta(days=6))
            for _ in range(4)
        ]
        stranger = add_member(session, cast.bakery, now, joined_at=long_ago)
        for days, buyers in ((13, members[:1]), (6, members[:2] + members[:2])):
            for buyer in buyers:
                add_purchase(
                    session, cast.cafe, buyer, now - timedelta(days=days), total_minor=123_456, points_earned=100,
                    points_redeemed=25,
                )  # fmt: skip
        add_purchase(session, cast.bakery, stranger, now - timedelta(days=6), total_minor=999_900)


def words(answer) -> str:
    return " ".join(text_of(answer).replace("\N{THIN SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ").split())


def chart_of(answer) -> dict:
    found = re.search(r'data-chart="([^"]*)"', answer.get_data(as_text=True))
    assert found is not None
    return json.loads(html.unescape(found.group(1)))


def test_a_program_without_members_says_so(manager: FlaskClient) -> None:
    text = words(manager.get(NUMBERS))
    assert "Nothing to count yet" in text
    assert "data-chart" not in text


def test_headlines_table_and_chart_say_the_same(manager: FlaskClient, history: None) -> None:
    answer = manager.get(NUMBERS)
    text = words(answer)
    assert "The newest whole period: Nov 16 – 22" in text
    assert "Participation 50.0 % more than before: 100.0 %" in text
    assert "Purchases per active member 2 more than before: 100.0 %" in text
    assert "Sales to members MKD 4,938.24 more than before: 300.0 %" in text
    assert "Points redeemed 25.0 % as before" in text
    assert "Nov 23 – 29 so far 0.0 % – 0 4 0 0 MKD 0.00 – –" in text
    assert "Nov 16 – 22 50.0 % 2 2 4 0 4 MKD 4,938.24 MKD 1,234.56 25.0 %" in text
    assert "Nov 9 – 15 25.0 % 1 1 4 0 1 MKD 1,234.56 MKD 1,234.56 25.0 %" in text
    chart = chart_of(answer)
    assert [label.replace("\N{THIN SPACE}", " ") for label in chart["labels"]] == [
        "Nov 2 – 8", "Nov 9 – 15", "Nov 16 – 22", "Nov 23 – 29",
    ]  # fmt: skip
    participation, engagement = chart["series"]
    assert participation["values"] == [0.0, 25.0, 50.0, 0.0]
    assert participation["texts"] == ["0.0 %", "25.0 %", "50.0 %", "0.0 %"]
    assert engagement["values"] == [None, 1.0, 2.0, None]
    assert engagement["texts"] == ["–", "1", "2", "–"]
    assert chart["running"] is True


def test_the_definitions_stand_on_the_page(manager: FlaskClient, history: None) -> None:
    text = words(manager.get(NUMBERS))
    assert "What the figures mean" in text
    for term in ("Participation: members with", "Engagement: purchases per", "Redemption: points", "Enrolled: from"):
        assert term in text


def test_weeks_and_months_switch_as_links_and_as_fragments(manager: FlaskClient, history: None) -> None:
    weeks = manager.get(NUMBERS).get_data(as_text=True)
    assert f'href="{NUMBERS}?every=month"' in weeks
    months = manager.get(NUMBERS, query_string={"every": "month"})
    assert "<html" in months.get_data(as_text=True)
    assert "November 2026 so far 50.0 % 2.5" in words(months)
    fragment = manager.get(NUMBERS, query_string={"every": "month"}, headers=HTMX)
    assert "<html" not in fragment.get_data(as_text=True)
    assert chart_of(fragment)["labels"] == ["November 2026"]
    assert "Nov 16" in words(manager.get(NUMBERS, query_string={"every": "century"}))


def test_one_walks_back_and_forth_in_time(
    sign_in: SignIn, manager: FlaskClient, history: None, clock: StoppedClock
) -> None:
    page = manager.get(NUMBERS)
    assert "Earlier" not in words(page)  # nobody was a member before
    assert "Later" not in words(page)
    clock.advance(timedelta(weeks=30))
    manager = sign_in("manager@cafe.example")
    page = manager.get(NUMBERS)
    assert "Nobody bought in this time. The newest purchase was on Nov 17, 2026." in words(page)
    assert f'href="{NUMBERS}?every=week&amp;until=2026-11-17"' in page.get_data(as_text=True)
    assert "Earlier" in words(page)
    back = manager.get(NUMBERS, query_string={"every": "week", "until": "2026-11-17"}, headers=HTMX)
    text = words(back)
    assert "Nov 16 – 22 50.0 %" in text
    assert "so far" not in text
    assert chart_of(back)["running"] is False
    assert f'href="{NUMBERS}?every=month&amp;until=2026-11-17"' in back.get_data(as_text=True)
    later = re.search(r'href="([^"]*until=2027-02-14)"', back.get_data(as_text=True))
    assert later is not None
    assert "Feb 8 – 14" in words(manager.get(html.unescape(later.group(1))))
    assert "Later" not in words(manager.get(NUMBERS, query_string={"until": "2999-01-01"}))


@pytest.mark.parametrize("until", ["0001-01-01", "1999-12-31", "9999-12-31", "x", "2026-02-30", "2000-01-01"])
@pytest.mark.parametrize("every", ["week", "month"])
def test_any_day_may_be_asked_for(manager: FlaskClient, history: None, until: str, every: str) -> None:
    assert manager.get(NUMBERS, query_string={"until": until, "every": every}).status_code == 200


def test_figures_are_written_for_the_reader(manager: FlaskClient, history: None) -> None:
    text = words(manager.get(NUMBERS, query_string={"lang": "ru"}))
    assert "50,0 %" in text
    assert "4 938,24" in text
    assert "16–22 нояб." in text


def test_the_page_loads_the_chart_and_holds_no_inline_script(manager: FlaskClient, history: None) -> None:
    body = manager.get(NUMBERS).get_data(as_text=True)
    assert re.search(r'<script src="[^"]*echarts\.[^"]+" defer>', body)
    assert re.search(r'<script src="[^"]*charts\.[^"]+" defer>', body)
    assert not re.search(r"<script(?![^>]* src=)", body)
    assert " style=" not in body


@pytest.mark.parametrize(
    ("person", "status"),
    [
        ("owner@cafe.example", 200),
        ("manager@cafe.example", 200),
        ("cashier@cafe.example", 403),
        ("owner@bakery.example", 404),
    ],
)
def test_owners_and_managers_read_it(sign_in: SignIn, cast: Cast, person: str, status: int) -> None:
    assert sign_in(person).get(NUMBERS).status_code == status


def test_who_is_not_signed_in_is_asked_and_the_wrong_method_is_refused(
    client: FlaskClient, manager: FlaskClient
) -> None:
    assert client.get(NUMBERS).location.startswith("/panel/login?next=")
    assert client.get(NUMBERS, headers=HTMX).status_code == 401
    assert manager.post(NUMBERS).status_code in (403, 405)
