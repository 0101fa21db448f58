"""The settlement page: what each company owes for a month, its postings, and the file for the accountant."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.factories import CAFE
from tests.services.purchases.shop import purchase
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, enrol_member, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.purchases.services import record_purchase

PARTNERS = "/panel/programs/cafe-ohrid/program/partners"
LINES = f"{PARTNERS}/lines"
CSV = f"{PARTNERS}/settlement.csv"
HTMX = {"HX-Request": "true"}
OUTLETS: list[dict[str, Any]] = [
    {"code": "A", "name": "Own"},
    {
        "code": "F",
        "name": {"en": "Fuel station", "mk": "Пумпа"},
        "partner": {"company": "Fuel Ltd", "settlement_percent": "90"},
    },
    {"code": "K", "name": "Books", "partner": {"company": "=Books & Co", "settlement_percent": "79.5"}},
]


@pytest.fixture
def coalition(server: ServerContext, cast: Cast, clock: StoppedClock) -> ProgramDefinition:
    """The café with two partners, and a member who earned at one and paid at the other."""
    points = {"base_percent": 10}
    file = {**CAFE, "outlets": OUTLETS, "program": {**CAFE["program"], "points": points}}
    with transaction(server.engine, ALL_PROGRAMS) as session:
        apply_program(session, ProgramFile.model_validate(file), now=clock.now(), actor="cli")
        program = load_program(session, slug="cafe-ohrid")
    member = enrol_member(server, program, clock, email="ana@example.com", language="en")
    for number, (outlet, amount, points_paid) in enumerate((("F", 10_000, 0), ("A", 5_000, 0), ("K", 9_000, 12))):
        command = purchase(
            member.card_number, f"R{number}", amount, outlet=outlet, redeem_points=points_paid, occurred_at=clock.now()
        )
        with transaction(server.engine, program.id) as session:
            record_purchase(session, program, command, now=clock.now(), source="till", recorded_by="key:test")
    return program


def test_a_program_without_partners_says_how_to_get_some(manager: FlaskClient) -> None:
    page = text_of(manager.get(PARTNERS))
    assert "No partners" in page
    assert "Earlier" not in page
    assert "Nothing crossed between companies" in text_of(manager.get(LINES))


@pytest.mark.usefixtures("coalition")
def test_the_month_says_who_pays_whom(manager: FlaskClient) -> None:
    page = " ".join(text_of(manager.get(PARTNERS)).replace("\N{NO-BREAK SPACE}", " ").split())
    assert "Settlement with partners November 2026 · so far" in page
    assert "Fuel Ltd It pays the program MKD 9.00" in page
    assert "it owes MKD 9.00" in page
    assert "=Books & Co The program pays it MKD 9.54" in page
    assert "Cafe Ohrid the program It pays MKD 0.54" in page
    assert "Fuel station · Fuel Ltd 90 % of the value" in page


@pytest.mark.usefixtures("coalition")
def test_the_postings_of_a_company_are_shown(manager: FlaskClient) -> None:
    page = manager.get(PARTNERS).get_data(as_text=True)
    assert f'href="{LINES}?month=2026-11&amp;company=Fuel+Ltd"' in page
    every = text_of(manager.get(LINES))
    assert every.count("Receipt R2") == 2
    fuel = " ".join(text_of(manager.get(f"{LINES}?month=2026-11&company=Fuel+Ltd")).split())
    assert fuel.count("Receipt R2") == 1
    assert "Fuel Ltd → issued, honoured by =Books & Co" in fuel
    own = text_of(manager.get(f"{LINES}?month=2026-11&company="))
    assert "Cafe Ohrid" in own
    assert own.count("Receipt R2") == 1
    assert "Nothing crossed" in text_of(manager.get(f"{LINES}?month=2026-10"))


@pytest.mark.usefixtures("coalition")
def test_the_file_balances_to_zero(manager: FlaskClient) -> None:
    answer = manager.get(f"{CSV}?month=2026-11")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert "settlement-cafe-ohrid-2026-11.csv" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    assert [(row["company"], row["owes_minor"], row["gets_minor"], row["balance_minor"]) for row in rows] == [
        ("'=Books & Co", "0", "954", "954"),
        ("Fuel Ltd", "900", "0", "-900"),
        ("Cafe Ohrid", "0", "0", "-54"),
    ]
    assert sum(int(row["balance_minor"]) for row in rows) == 0


@pytest.mark.usefixtures("coalition")
def test_months_are_turned_over_up_to_the_running_one(sign_in: SignIn, clock: StoppedClock) -> None:
    clock.advance(timedelta(days=62))  # January
    manager = sign_in("manager@cafe.example")
    page = manager.get(PARTNERS).get_data(as_text=True)
    assert "January 2027" in page
    assert "month=2026-12" in page
    november = manager.get(f"{PARTNERS}?month=2026-11").get_data(as_text=True)
    assert "Earlier" not in november
    assert "month=2026-12" in november
    assert "so far" not in november
    for wrong in ("2027-02", "2026-13", "yesterday", "0001-01", "2026-1"):
        assert "January 2027" in text_of(manager.get(f"{PARTNERS}?month={wrong}"))


@pytest.mark.usefixtures("coalition")
def test_fragment_and_whole_page(manager: FlaskClient) -> None:
    for url in (PARTNERS, LINES):
        assert "<html" in manager.get(url).get_data(as_text=True)
        fragment = manager.get(url, headers=HTMX).get_data(as_text=True)
        assert "<html" not in fragment
        assert "Fuel Ltd" in fragment


@pytest.mark.parametrize("url", [PARTNERS, LINES, CSV])
def test_who_may_see_it(app: Any, cast: Cast, sign_in: SignIn, url: str) -> None:
    assert sign_in("owner@cafe.example").get(url).status_code == 200
    assert sign_in("cashier@cafe.example").get(url).status_code == 403
    assert sign_in("owner@bakery.example").get(url).status_code == 404
    assert app.test_client().get(url).status_code == 303
    assert sign_in("owner@cafe.example").post(url).status_code in (400, 405)
    assert sign_in("owner@cafe.example").get(url.replace("cafe-ohrid", "nowhere")).status_code == 404


@pytest.mark.usefixtures("coalition")
@pytest.mark.parametrize("query", ["page=0", "page=-5", "page=99999999999", "page=x", "company=" + "x" * 5000])
def test_odd_addresses_are_answered(manager: FlaskClient, query: str) -> None:
    assert manager.get(f"{LINES}?{query}").status_code == 200
