"""A rule is tried on an example before it is saved: all that can be written, and what the example says to it."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.web.helpers import StoppedClock
from tests.web.panel.rules import (
    CAPPUCCINO,
    HAPPY,
    HTMX,
    NEW,
    RULE,
    fields,
    publish,
    rules_of,
    said,
    send,
    versions,
)
from wallet_server.context import ServerContext


def test_the_example_shows_what_a_draft_changes(manager: FlaskClient, server: ServerContext) -> None:
    """Cappuccino doubles on Mondays from 16 to 18: 3 points of 300.00 become 6, the burger keeps its 4."""
    fragment = send(manager, CAPPUCCINO, action="try", headers=HTMX)
    text = said(fragment)
    assert fragment.status_code == 200
    assert "<form" not in fragment.get_data(as_text=True)
    assert "points × 2 · Cappuccino · Monday · 16:00–18:00" in text
    assert "Points earned 7 → becomes 10" in text
    assert "Cappuccino Cappuccino hour: points × 2 (product Cappuccino, bought on Monday, bought at 16:30)." in text
    assert "earns 1 % × 2 = 2 %." in text
    whole = send(manager, CAPPUCCINO, action="try")  # the button, without JavaScript
    assert "<html" in whole.get_data(as_text=True)
    assert "Points earned 7 → becomes 10" in said(whole)
    assert versions(server) == 1, "nothing is saved"
    assert rules_of(server) == []


@pytest.mark.parametrize(
    ("receipt", "reason"),
    [
        ({"ex_time": "18:00"}, "Cappuccino hour did not apply: bought at 18:00, not 16:00–18:00."),
        ({"ex_day": "2026-11-24"}, "Cappuccino hour did not apply: bought on Tuesday."),
        ({"ex_sku": ["burger"], "ex_quantity": ["1"]}, "did not apply: product Burger, not Cappuccino."),
    ],
)
def test_the_example_says_why_nothing_changes(manager: FlaskClient, receipt: dict[str, Any], reason: str) -> None:
    text = said(send(manager, {**CAPPUCCINO, **receipt}, action="try", headers=HTMX))
    assert "This receipt stays as it is." in text
    assert reason in text


def test_a_changed_rule_is_compared_with_what_it_was(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    publish(server, clock, {**HAPPY, "outlets": []})
    form = {"name": "Happy hour", "family": "behavior", "weekdays": ["mon"], "earn": "multiply", "earn_value": "4"}
    text = said(send(manager, form, RULE + "Happy hour", action="try", headers=HTMX))
    assert "Points earned 22 → becomes 30" in text
    assert "times" not in text


def test_a_draft_without_an_effect_waits_and_one_without_a_name_is_tried(manager: FlaskClient) -> None:
    text = said(send(manager, {**CAPPUCCINO, "earn_value": ""}, action="try", headers=HTMX))
    assert "Say what the rule does" in text
    assert "Enter a number" not in text
    text = said(send(manager, {**CAPPUCCINO, "name": ""}, action="try", headers=HTMX))
    assert "Give the rule a name" not in text
    assert "7 → becomes 10" in text


@pytest.mark.parametrize(
    ("form", "fact"),
    [
        ({"family": "customer", "tiers": ["silver"]}, {"ex_tier": "silver"}),
        ({"family": "customer", "segments": ["quiet"]}, {"ex_segments": ["quiet"]}),
        ({"family": "customer", "tags": "staff, friends"}, {"ex_tags": "friends"}),
        ({"family": "customer", "tenure": "365"}, {"ex_tenure": "365"}),
        ({"family": "customer", "birthday": "3"}, {"ex_birthday": "3"}),
        ({"family": "customer", "members": "1001 1002"}, {"ex_card": "1"}),
        ({"family": "behavior", "nth": "10"}, {"ex_purchases": "9"}),
        ({"family": "behavior", "payments": "card, cash"}, {"ex_payment": "cash"}),
        ({"family": "behavior", "dates": "24.11. – 1.12.\n2026-11-23"}, {}),
        ({"family": "behavior", "dates": "11-23"}, {}),
        ({"family": "behavior", "total_from": "750", "total_to": "750,01"}, {}),
        ({"family": "product", "quantity": "2"}, {"ex_quantity": ["2", "1"]}),
        ({"family": "product", "categories": ["drinks"]}, {}),
        ({"family": "product", "price_from": "300", "price_to": "300.01", "tiers": ["silver"]}, {"ex_tier": "silver"}),
        ({"family": "product", "outlets": ["B"]}, {"ex_outlet": "B"}),
        ({"family": "product", "starts": "2026-11-23T16:30", "ends": "2026-11-23T16:31"}, {}),
    ],
)
def test_every_condition_can_be_written_and_tried(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock, form: dict[str, Any], fact: dict[str, Any]
) -> None:
    publish(server, clock)
    rule = {"name": "Rule", "earn": "multiply", "earn_value": "2", **form}
    assert "→ becomes" in said(send(manager, {**rule, **fact}, action="try", headers=HTMX))
    if fact:
        assert "stays as it is" in said(send(manager, {**rule, "ex_tier": "base"}, action="try", headers=HTMX))
    assert send(manager, rule).status_code == 303
    [saved] = rules_of(server)
    assert saved.when.given() or saved.outlets or saved.starts_at
    before = saved
    page = manager.get(RULE + "Rule").get_data(as_text=True)
    assert send(manager, fields(page), RULE + "Rule").status_code == 303
    assert rules_of(server) == [before], "the form gives the rule that it was filled with"


@pytest.mark.parametrize(
    ("form", "effect"),
    [
        ({"earn": "percent", "earn_value": "5"}, "8 → becomes 52"),
        ({"earn": "fixed_percent", "earn_value": "2,5"}, None),
        ({"earn": "fixed_points", "earn_value": "0.5"}, None),
        ({"earn": "max_percent", "earn_value": "0"}, None),
        ({"earn": "max_points", "earn_value": "1"}, None),
        ({"earn": "none", "earn_value": ""}, "7 → becomes 0"),
        ({"earn": "discount_percent", "earn_value": "10"}, "MKD 750.00 → becomes MKD 675.00"),
        ({"earn": "", "redeem": "max_percent", "redeem_value": "0"}, "Points may pay 750 → becomes 0"),
    ],
)
def test_every_effect_can_be_written(
    manager: FlaskClient, server: ServerContext, form: dict[str, str], effect: str | None
) -> None:
    rule = {"name": "Rule", "family": "product", "ex_points": "1000", **form}
    if effect and "52" not in effect:
        assert effect in said(send(manager, rule, action="try", headers=HTMX))
    assert send(manager, rule).status_code == 303
    [saved] = rules_of(server)
    written = {**(saved.earn.model_dump(exclude_none=True) if saved.earn else {})}
    assert list(written) == ([form["earn"]] if form["earn"] else [])
    page = manager.get(RULE + "Rule").get_data(as_text=True)
    send(manager, fields(page), RULE + "Rule")
    assert rules_of(server) == [saved]


def test_fitting_makes_the_example_one_that_the_rule_is_about(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    publish(server, clock)
    form = {**CAPPUCCINO, "weekdays": ["wed"], "tiers": ["silver"], "quantity": "3", "ex_day": "2026-11-23"}
    fragment = send(manager, form, action="fit", headers=HTMX)
    body = fragment.get_data(as_text=True)
    assert 'name="ex_time" value="16:00"' in body
    assert '<option value="silver" selected>' in body
    assert "→ becomes" in said(fragment)
    whole = send(manager, form, action="fit")
    assert "<html" in whole.get_data(as_text=True)
    more = send(manager, form, action="more", headers=HTMX).get_data(as_text=True)
    assert more.count('name="ex_sku"') == 3


@pytest.mark.parametrize(
    ("receipt", "sentence"),
    [
        ({"ex_outlet": "Z"}, "Choose the outlet."),
        ({"ex_day": "someday"}, "Enter the day and the time of the example."),
        ({"ex_time": ""}, "Enter the day and the time of the example."),
        ({"ex_day": "9999-12-31"}, ""),
        ({"ex_day": "0001-01-01"}, ""),
        ({"ex_sku": ["nothing"], "ex_quantity": ["1"]}, "Choose a product that has a price."),
        ({"ex_quantity": ["0", "1"]}, "A quantity is more than 0"),
        ({"ex_quantity": ["-1", "1"]}, "A quantity is more than 0"),
        ({"ex_sku": [], "ex_quantity": []}, "Enter an amount or choose a product."),
        ({"ex_amount": "a lot"}, "Enter an amount or choose a product."),
        ({"ex_points": "many"}, "Points of the example are a whole number"),
        ({"ex_purchases": "99999999999"}, "Purchases of the example are a whole number"),
        ({"ex_tenure": "40000"}, "Days are whole numbers up to 36,500."),
        ({"ex_birthday": "1.5"}, "Days are whole numbers up to 36,500."),
    ],
)
def test_an_example_that_is_none_says_why(manager: FlaskClient, receipt: dict[str, Any], sentence: str) -> None:
    answer = send(manager, {**CAPPUCCINO, **receipt}, action="try", headers=HTMX)
    assert answer.status_code == 200
    assert sentence in said(answer)


def test_a_big_catalog_is_typed_instead_of_ticked(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    catalog = {
        "categories": [{"code": "all"}],
        "products": [{"sku": f"P{number:03}", "category": "all", "price_minor": 10000} for number in range(201)],
    }
    publish(server, clock, catalog=catalog, challenges=[], **{"pass": {}})
    page = manager.get(NEW).get_data(as_text=True)
    assert 'name="skus"' not in page
    form: dict[str, Any] = {"name": "R", "family": "product", "more_skus": "P200\r\nwith, comma"}
    form |= {"earn": "multiply", "earn_value": "3"}
    form |= {"ex_sku": ["P200"], "ex_quantity": ["1"]}
    assert "1 → becomes 3" in said(send(manager, form, action="try", headers=HTMX))
    assert send(manager, form).status_code == 303
    assert rules_of(server)[0].when.skus == ["P200", "with, comma"]
    again = fields(manager.get(RULE + "R").get_data(as_text=True))
    assert again["more_skus"].split() == ["P200", "with,", "comma"]


def test_an_example_may_be_far_ahead(manager: FlaskClient) -> None:
    """A till's receipt of the future is refused; an example is only an example."""
    assert "→ becomes" in said(send(manager, {**CAPPUCCINO, "ex_day": "2030-11-25"}, action="try", headers=HTMX))
