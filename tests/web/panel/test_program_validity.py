"""When a program runs, and whose its outlets are: small forms that publish a version."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.factories import CAFE
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import Partner, ProgramFile, Validity
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program

BASE = "/panel/programs/cafe-ohrid/program"
VALIDITY = f"{BASE}/validity"
PARTNERS = f"{BASE}/partners/edit"


def program(server: ServerContext) -> ProgramDefinition:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return load_program(session, slug="cafe-ohrid")


def validity(server: ServerContext) -> Validity | None:
    return program(server).file.program.validity


def publish(server: ServerContext, clock: StoppedClock, **values: Any) -> None:
    file = ProgramFile.model_validate({**CAFE, "program": {**CAFE["program"], **values}})
    with transaction(server.engine, ALL_PROGRAMS) as session:
        apply_program(session, file, now=clock.now(), actor="cli")


def save(client: FlaskClient, url: str, version: int = 1, **values: str) -> TestResponse:
    return submit(client, url, {"version": str(version), **values}, follow_redirects=True)


def test_a_program_runs_in_a_window_and_then_always_again(manager: FlaskClient, server: ServerContext) -> None:
    assert "Change – When the program runs Always." in " ".join(text_of(manager.get(f"{BASE}/points")).split())
    window = {"starts_at": "2026-12-01T08:00", "ends_at": "2027-01-07T00:00", "redeem_until": "2027-02-01T00:00"}
    page = text_of(save(manager, VALIDITY, **window))
    assert "It begins on Dec 1, 2026 08:00." in page
    assert "Points pay until Feb 1, 2027 00:00." in page
    found = validity(server)
    assert found is not None
    assert found.model_dump() == {name: f"{text}:00" for name, text in window.items()}
    assert 'value="2027-01-07T00:00"' in manager.get(VALIDITY).get_data(as_text=True)
    save(manager, VALIDITY, version=2, starts_at="", ends_at="", redeem_until="")
    assert validity(server) is None
    assert program(server).version == 3


def test_a_bound_with_an_offset_stays_while_it_is_left_alone(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    publish(server, clock, validity={"starts_at": "2026-12-01T08:00:00+01:00", "ends_at": "2027-01-07T00:00:30+01:00"})
    save(manager, VALIDITY, version=2, starts_at="2026-12-01T08:00", ends_at="2027-01-07T00:00")
    assert program(server).version == 2, "nothing was changed"
    save(manager, VALIDITY, version=2, starts_at="2026-12-01T09:00", ends_at="2027-01-07T00:00")
    found = validity(server)
    assert found is not None
    assert found.model_dump(exclude_none=True) == {"starts_at": "2026-12-01T09:00:00", "ends_at": "2027-01-07T00:00:30"}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"starts_at": "soon"}, "Enter a day and a time."),
        ({"ends_at": "2026-13-01T00:00"}, "Enter a day and a time."),
        ({"starts_at": "0001-01-01T00:00"}, "The end comes after the beginning"),
        ({"starts_at": "2026-12-01T00:00", "ends_at": "2026-12-01T00:00"}, "The end comes after the beginning"),
        ({"redeem_until": "2026-12-01T00:00"}, "The end comes after the beginning"),
    ],
)
def test_a_window_that_cannot_be_is_refused(
    manager: FlaskClient, server: ServerContext, values: dict[str, str], sentence: str
) -> None:
    answer = save(manager, VALIDITY, **values)
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert program(server).version == 1


def test_an_outlet_becomes_a_partners_and_the_programs_again(manager: FlaskClient, server: ServerContext) -> None:
    page = text_of(save(manager, PARTNERS, company_B="Books Ltd", percent_B="79,5"))
    assert "The partners are published." in page
    assert "Books Ltd" in page
    [own, partner] = [outlet.partner for outlet in program(server).file.outlets]
    assert own is None
    assert partner == Partner.model_validate({"company": "Books Ltd", "settlement_percent": "79.5"})
    body = manager.get(PARTNERS).get_data(as_text=True)
    assert 'name="percent_B" inputmode="decimal" maxlength="12" value="79.5"' in body
    save(manager, PARTNERS, version=2, company_B="", percent_B="")
    assert [outlet.partner for outlet in program(server).file.outlets] == [None, None]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"company_B": "Books Ltd"}, "Enter a percent from 0 to 100."),
        ({"company_B": "Books Ltd", "percent_B": "100.1"}, "Enter a percent from 0 to 100."),
        ({"company_B": "Books Ltd", "percent_B": "-1"}, "Enter a percent from 0 to 100."),
        ({"company_B": "Books Ltd", "percent_B": "most"}, "Enter a percent from 0 to 100."),
        ({"percent_B": "50"}, "Enter the company that this percent is settled with."),
    ],
)
def test_a_partner_that_cannot_be_is_refused_at_its_outlet(
    manager: FlaskClient, server: ServerContext, values: dict[str, str], sentence: str
) -> None:
    answer = save(manager, PARTNERS, **values)
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert 'id="problem_B" role="alert"' in answer.get_data(as_text=True)
    assert program(server).version == 1


@pytest.mark.parametrize("url", [VALIDITY, PARTNERS])
def test_who_was_overtaken_looks_again(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock, url: str
) -> None:
    publish(server, clock, country="RS")
    answer = save(manager, url, version=1, ends_at="2027-01-01T00:00", company_B="Books Ltd", percent_B="5")
    assert "Somebody has changed the program meanwhile." in text_of(answer)
    assert program(server).version == 2


@pytest.mark.parametrize("url", [VALIDITY, PARTNERS])
def test_who_may(sign_in: SignIn, client: FlaskClient, cast: Cast, url: str) -> None:
    cashier = sign_in("cashier@cafe.example")
    assert cashier.get(url).status_code == 403
    assert submit(cashier, url, {"version": "1"}, page="/panel/account").status_code == 403
    assert sign_in("owner@bakery.example").get(url).status_code == 404
    assert client.get(url).status_code == 303
    owner = sign_in("owner@cafe.example")
    assert owner.put(url).status_code == 405
    for language in ("ru", "mk"):
        assert owner.get(url, query_string={"lang": language}).status_code == 200
