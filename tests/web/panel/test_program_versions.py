"""Versions of the program in the panel: what each changed, two compared, each as a file that can be applied."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.factories import program_file
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock
from tests.web.panel.rules import HAPPY, NO_FOOD, OVER, publish, said
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.programs.queries import current_file, load_program
from wallet_server.programs.services import apply_program
from wallet_server.programs.yaml_file import parse_program

VERSIONS = "/panel/programs/cafe-ohrid/program/versions"
HTMX = {"HX-Request": "true"}


def points(base_percent: Any) -> dict[str, Any]:
    return {**program_file()["program"], "points": {"base_percent": base_percent}}


def test_the_first_version_has_nothing_before_it(manager: FlaskClient) -> None:
    text = said(manager.get(VERSIONS))
    assert "cli in force" in text
    assert "The program began." in text


def test_each_version_says_what_it_changed(manager: FlaskClient, server: ServerContext, clock: StoppedClock) -> None:
    publish(server, clock, HAPPY, OVER)
    publish(server, clock, {**HAPPY, "earn": {"multiply": 4}}, program=points(2))
    text = said(manager.get(VERSIONS))
    assert "New rule: Happy hour points × 3 · Monday · 16:00–18:00 · Restaurant A · priority 5" in text
    assert (
        "Rule changed: Happy hour before: points × 3 · Monday · 16:00–18:00 · Restaurant A · priority 5 "
        "now: points × 4 · Monday" in text
    )
    assert "Rule removed: Summer 4 % of the price in points" in text
    assert "Program · Points · percent that comes back before: 1 now: 2" in text
    assert text.index("Rule removed: Summer") < text.index("New rule: Happy hour"), "the newest is first"


def test_another_order_of_the_rules_is_told(manager: FlaskClient, server: ServerContext, clock: StoppedClock) -> None:
    publish(server, clock, HAPPY, OVER)
    publish(server, clock, OVER, HAPPY)
    text = said(manager.get(VERSIONS))
    names = HAPPY["name"], OVER["name"]
    assert f"Another order: Rules before: {', '.join(names)} now: {', '.join(reversed(names))}" in text
    assert "Products or categories were changed" not in text


def test_rules_are_told_in_the_readers_language(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    publish(server, clock, {**HAPPY, "when": {"weekdays": ["mon"]}})
    assert "понеделник" in text_in(manager, "mk")
    assert "понедельник" in text_in(manager, "ru")


def text_in(client: FlaskClient, language: str) -> str:
    return said(client.get(VERSIONS, query_string={"lang": language}))


def test_a_change_of_the_catalog_alone_is_said(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    publish(server, clock)
    catalog = program_file()["catalog"]
    publish(server, clock, catalog={**catalog, "products": [*catalog["products"], {"sku": "tea"}]})
    assert "Products or categories were changed" in said(manager.get(VERSIONS))


def test_many_versions_have_pages_and_htmx_gets_the_list_alone(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    for number in range(11):
        publish(server, clock, program=points(number + 2))
    first = said(manager.get(VERSIONS))
    assert "before: 11 now: 12" in first
    assert "before: 2 now: 3" in first
    assert "The program began." not in first
    older = manager.get(VERSIONS, query_string={"before": 3}, headers=HTMX)
    assert "<html" not in older.get_data(as_text=True)
    assert "The program began." in said(older)
    for odd in ("x", "-1", "0", "9" * 20):
        assert manager.get(VERSIONS, query_string={"before": odd}).status_code == 200


def test_two_versions_are_compared(manager: FlaskClient, server: ServerContext, clock: StoppedClock) -> None:
    publish(server, clock, HAPPY)
    publish(server, clock, NO_FOOD)
    url = f"{VERSIONS}/compare"
    text = said(manager.get(url, query_string={"old": 1, "new": 3}))
    assert "Version 1 and version 3" in text
    assert "New rule: No food" in text
    assert "Happy hour" not in text
    assert "New rule: Happy hour" in said(manager.get(url, query_string={"old": 1, "new": 2}))
    assert "Rule removed: Happy hour" in said(manager.get(url, query_string={"old": 2, "new": 1}))
    assert "It is the same version." in said(manager.get(url, query_string={"old": 2, "new": 2}))
    assert "Version 2 and version 3" in said(manager.get(url))
    fragment = manager.get(url, query_string={"old": 1, "new": 2}, headers=HTMX).get_data(as_text=True)
    assert "<html" not in fragment


def test_an_old_version_can_be_downloaded_and_applied_again(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    """Its rules come back, and the products that were added since then stay."""
    publish(server, clock, HAPPY)
    catalog = program_file()["catalog"]
    publish(server, clock, NO_FOOD, catalog={**catalog, "products": [*catalog["products"], {"sku": "tea"}]})
    answer = manager.get(f"{VERSIONS}/file", query_string={"number": 2})
    assert answer.headers["Content-Disposition"] == 'attachment; filename="cafe-ohrid-2.yaml"'
    file = parse_program(answer.get_data())
    assert [rule.name for rule in file.rules] == ["Happy hour"]
    with transaction(server.engine, ALL_PROGRAMS) as session:
        applied = apply_program(session, file, now=clock.now(), actor="cli")
        now = current_file(session, applied.program_id)
    assert [rule.name for rule in now.rules] == ["Happy hour"]
    assert "tea" in [product.sku for product in now.catalog.products]
    newest = parse_program(manager.get(f"{VERSIONS}/file").get_data())
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert newest == current_file(session, load_program(session, slug="cafe-ohrid").id)


@pytest.mark.parametrize("number", ["0", "-1", "99", "9999999999999999999999"])
def test_a_version_that_is_not_there_is_404(manager: FlaskClient, number: str) -> None:
    assert manager.get(f"{VERSIONS}/file", query_string={"number": number}).status_code == 404
    assert manager.get(f"{VERSIONS}/compare", query_string={"old": number, "new": "1"}).status_code == 404
    assert manager.get(f"{VERSIONS}/compare", query_string={"new": number}).status_code == 404


@pytest.mark.parametrize("path", ["", "/compare", "/file"])
def test_who_may_see_versions(sign_in: SignIn, client: FlaskClient, cast: Cast, path: str) -> None:
    assert sign_in("cashier@cafe.example").get(VERSIONS + path).status_code == 403
    assert sign_in("owner@cafe.example").get(VERSIONS + path).status_code == 200
    assert sign_in("owner@bakery.example").get(VERSIONS + path).status_code == 404
    assert client.get(VERSIONS + path).location.startswith("/panel/login?next=")
    assert sign_in("owner@cafe.example").post(VERSIONS + path).status_code in (403, 405)
