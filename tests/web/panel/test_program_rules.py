"""Rules in the panel: read in words, saved as a new version."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote as quoted

import pytest
from flask.testing import FlaskClient
from sqlmodel import select

from tests.factories import program_file
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, submit, text_of
from tests.web.panel.rules import (
    CAPPUCCINO,
    HAPPY,
    HTMX,
    LATER,
    MONDAY,
    NEW,
    NO_FOOD,
    OVER,
    RULE,
    RULES,
    fields,
    publish,
    rules_of,
    said,
    send,
    versions,
)
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.programs.models import ProgramVersion

# The list


def test_an_empty_list_invites(manager: FlaskClient) -> None:
    assert "No rules yet" in text_of(manager.get(RULES))


def test_the_list_says_each_rule_in_words(manager: FlaskClient, server: ServerContext, clock: StoppedClock) -> None:
    publish(server, clock, HAPPY, OVER, LATER, NO_FOOD)
    text = said(manager.get(RULES))
    assert "Happy hour running priority 5 points × 3 Monday 16:00–18:00 Restaurant A" in text
    assert "Summer over 4 % of the price in points until Aug 31, 2026 00:00" in text
    assert "Next year not yet points × 2 tier Silver from Jan 1, 2027 00:00 (UTC+0100)" in text
    assert "No food running earns nothing; cannot be paid with points category food" in text
    assert text.index("What is bought") < text.index("No food") or text.index("Who buys") < text.index("Next year")


@pytest.mark.parametrize(("language", "words"), [("mk", "Сребро"), ("ru", "Серебро")])
def test_the_list_is_read_in_the_readers_language(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock, language: str, words: str
) -> None:
    publish(server, clock, LATER)
    assert words in text_of(manager.get(RULES, query_string={"lang": language}))


def test_a_rule_is_found_by_its_name_and_htmx_gets_the_list_alone(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    publish(server, clock, HAPPY, OVER)
    fragment = manager.get(RULES, query_string={"q": "hAPPy"}, headers=HTMX)
    assert "<html" not in fragment.get_data(as_text=True)
    assert "Happy hour" in text_of(fragment)
    assert "Summer" not in text_of(fragment)
    assert "No rule has that in its name." in text_of(manager.get(RULES, query_string={"q": "x" * 500}))


def test_a_long_list_has_pages(manager: FlaskClient, server: ServerContext, clock: StoppedClock) -> None:
    publish(server, clock, *({**OVER, "name": f"R{number:03}"} for number in range(101)))
    first = text_of(manager.get(RULES))
    assert "R099" in first
    assert "R100" not in first
    assert "R100" in text_of(manager.get(RULES, query_string={"page": 2}))
    for odd in ("0", "-3", "x", "999"):
        assert manager.get(RULES, query_string={"page": odd}).status_code == 200


# Saving


def test_saving_publishes_a_new_version_that_counts_at_the_till(manager: FlaskClient, server: ServerContext) -> None:
    answer = send(manager, CAPPUCCINO)
    assert (answer.status_code, answer.location) == (303, RULES)
    assert "The rule “Cappuccino hour” is in force now." in text_of(manager.get(RULES))
    with reading(server.engine, ALL_PROGRAMS) as session:
        newest = session.exec(select(ProgramVersion).order_by(ProgramVersion.number.desc())).first()  # type: ignore[attr-defined]
    assert newest is not None
    assert (newest.number, newest.published_by.startswith("staff:")) == (2, True)
    assert newest.document["rules"] == [
        {
            "name": "Cappuccino hour", "family": "product", "priority": 0, "outlets": [], "earn": {"multiply": "2"},
            "when": {"skus": ["cappuccino"], "weekdays": ["mon"], "time": {"from": "16:00", "to": "18:00"}},
        }
    ]  # fmt: skip


def test_a_behavior_rule_limits_the_receipt(manager: FlaskClient, server: ServerContext) -> None:
    rule = {"name": "R", "family": "behavior", "redeem": "receipt_max_percent", "redeem_value": "50"}
    assert send(manager, rule).status_code == 303
    assert rules_of(server)[0].redeem is not None


def test_conditions_that_the_family_cannot_have_are_left_out(manager: FlaskClient, server: ServerContext) -> None:
    """They stand in parts of the page that are not shown then."""
    form = {"name": "R", "family": "behavior", "earn": "multiply", "earn_value": "2", "skus": ["cappuccino"],
            "tiers": ["silver"], "weekdays": ["mon"], "quantity": "nonsense"}  # fmt: skip
    assert send(manager, form).status_code == 303
    assert rules_of(server)[0].when.given() == ("weekdays",)


def test_a_form_that_is_sent_twice_makes_one_rule(manager: FlaskClient, server: ServerContext) -> None:
    values = {"version": "1", **MONDAY, **CAPPUCCINO, "action": "save"}
    for _ in range(2):
        assert submit(manager, NEW, values).location == RULES
    assert [rule.name for rule in rules_of(server)] == ["Cappuccino hour"]
    assert versions(server) == 2


BAD = [
    ({"name": ""}, "name", "Give the rule a name"),
    ({"name": "x" * 121}, "name", "Give the rule a name"),
    ({"name": "Happy hour"}, "name", "Another rule has this name."),
    ({"family": "other"}, "family", "Choose what the rule goes by."),
    ({"earn": ""}, "earn", "Choose what the rule does"),
    ({"earn_value": ""}, "earn", "Enter a number that fits"),
    ({"earn_value": "two"}, "earn", "Enter a number that fits"),
    ({"earn_value": "1001"}, "earn", "Enter a number that fits"),
    ({"earn": "max_points", "earn_value": "1.5"}, "earn", "whole number"),
    ({"redeem": "receipt_max_percent", "redeem_value": "50"}, "redeem", "Only a rule about when and how"),
    ({"redeem": "max_percent", "redeem_value": ""}, "redeem", "Enter a percent from 0 to 100."),
    ({"redeem": "max_percent", "redeem_value": "101"}, "redeem", "Enter a percent from 0 to 100."),
    ({"priority": "high"}, "priority", "The priority is a whole number"),
    ({"priority": "1000001"}, "priority", "The priority is a whole number"),
    ({"starts": "tomorrow"}, "starts", "Enter a day and a time."),
    ({"starts": "2026-13-01T00:00"}, "starts", "Enter a day and a time."),
    ({"ends": "1969-01-01T00:00"}, "ends", "Enter a day and a time."),
    ({"starts": "2026-12-01T00:00", "ends": "2026-12-01T00:00"}, "ends", "The end is not after the beginning."),
    ({"outlets": ["gone"]}, "outlets", "no such outlet any more"),
    ({"tiers": ["gone"]}, "tiers", "no such tier any more"),
    ({"segments": ["gone"]}, "segments", "no such segment any more"),
    ({"members": "a_b"}, "members", "Card numbers are letters"),
    ({"tags": "<b>"}, "tags", "Tags are words"),
    ({"tenure": "0"}, "tenure", "Days are whole numbers from 1"),
    ({"tenure": "1.5"}, "tenure", "Days are whole numbers from 1"),
    ({"birthday": "183"}, "birthday", "Days are whole numbers from 0 to 182."),
    ({"more_skus": "x" * 121}, "skus", "at most 120 characters"),
    ({"quantity": "0"}, "quantity", "A quantity is more than 0"),
    ({"quantity": "1.2345"}, "quantity", "A quantity is more than 0"),
    ({"price_from": "5", "price_to": "5"}, "price", "Enter amounts"),
    ({"price_from": "cheap"}, "price", "Enter amounts"),
    ({"price_from": "0.001"}, "price", "Enter amounts"),
    ({"margin_to": "101"}, "margin", "Enter percents of at most 100"),
    ({"margin_from": "--5"}, "margin", "Enter percents of at most 100"),
    ({"time_from": "16:00", "time_to": "16:00"}, "time", "Enter two different times"),
    ({"time_to": ""}, "time", "Enter two different times"),
    ({"time_to": "24:00"}, "time", "Enter two different times"),
    ({"dates": "Christmas"}, "dates", "One day or two a line"),
    ({"dates": "2026-02-30"}, "dates", "One day or two a line"),
    ({"dates": "2026-12-24 – 12-26"}, "dates", "One day or two a line"),
    ({"dates": "2026-12-26 – 2026-12-24"}, "dates", "One day or two a line"),
    ({"total_to": "0"}, "total", "Enter amounts"),
    ({"nth": "0"}, "nth", "The number of a purchase"),
    ({"payments": "x" * 33}, "payments", "Ways to pay"),
]


@pytest.mark.parametrize(("form", "field", "sentence"), BAD)
def test_a_bad_rule_says_so_at_the_field_and_is_not_saved(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock, form: dict[str, Any], field: str, sentence: str
) -> None:
    before = publish(server, clock, HAPPY)
    answer = send(manager, {**CAPPUCCINO, **form})
    body = answer.get_data(as_text=True)
    assert answer.status_code == 422
    found = re.search(rf'id="error-{field}" role="alert">([^<]+)<', body)
    assert found is not None, field
    assert sentence in found.group(1)
    for name, value in form.items():
        if isinstance(value, str) and value and name not in ("family", "earn", "redeem"):
            assert value.replace("<", "&lt;").replace(">", "&gt;") in body, "what was typed comes back"
    assert versions(server) == before
    if form.get("name") != "" and all(form.values()) and form != {"family": "other"}:
        tried = send(manager, {**CAPPUCCINO, **form}, action="try", headers=HTMX).get_data(as_text=True)
        assert sentence in tried, "while one types, too"
        assert f'id="error-{field}" role="alert" hx-swap-oob="true">' in tried


def test_a_share_of_a_base_of_nothing_is_refused(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    program = {**program_file()["program"], "points": {"base_percent": 0}}
    publish(server, clock, program=program)
    answer = send(manager, {**CAPPUCCINO, "earn": "percent"})
    assert answer.status_code == 422
    assert "a percent of that is nothing" in text_of(answer)


def test_a_draft_that_was_overtaken_is_kept_and_can_be_saved_then(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    publish(server, clock, HAPPY)
    page = manager.get(NEW).get_data(as_text=True)
    opened = re.search(r'name="version" value="(\d+)"', page)
    assert opened is not None
    publish(server, clock, HAPPY, OVER)
    form = {**CAPPUCCINO, **MONDAY, "version": opened.group(1), "action": "save"}
    refused = submit(manager, NEW, form)
    body = refused.get_data(as_text=True)
    assert refused.status_code == 409
    assert "Somebody has published version 3 meanwhile." in text_of(refused)
    assert 'value="Cappuccino hour"' in body
    assert 'name="version" value="3"' in body
    assert len(rules_of(server)) == 2
    assert submit(manager, NEW, {**form, "version": "3"}).status_code == 303
    assert [rule.name for rule in rules_of(server)] == ["Happy hour", "Summer", "Cappuccino hour"]


def test_a_rule_that_was_deleted_meanwhile_can_be_added_again(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    before = publish(server, clock, HAPPY)
    publish(server, clock)
    form = {**CAPPUCCINO, **MONDAY, "version": str(before), "action": "save"}
    refused = submit(manager, RULE + "Happy hour", form, page=NEW)
    assert refused.status_code == 409
    assert "This rule is no longer in it: saving adds it again." in text_of(refused)
    assert f'action="{NEW}"' in refused.get_data(as_text=True)


def test_a_rule_is_changed_in_its_place_and_may_get_another_name(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    publish(server, clock, HAPPY, OVER)
    form = {"name": "Happier hour", "family": "behavior", "earn": "multiply", "earn_value": "4"}
    assert send(manager, form, RULE + "Happy hour").status_code == 303
    assert [rule.name for rule in rules_of(server)] == ["Happier hour", "Summer"]


def test_a_validity_with_an_offset_stays_as_it_is_while_it_is_left_alone(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    publish(server, clock, {**LATER, "ends_at": "2027-02-01T00:00:30+01:00"})
    [before] = rules_of(server)
    page = manager.get(RULE + quoted("Next year")).get_data(as_text=True)
    send(manager, {**fields(page), "priority": "1"}, RULE + "Next year")
    [after] = rules_of(server)
    assert (after.starts_at, after.ends_at, after.priority) == (before.starts_at, before.ends_at, 1)
    send(manager, {**fields(page), "ends": "2027-03-01T00:00"}, RULE + "Next year")
    [local] = rules_of(server)
    assert local.starts_at is not None
    assert local.starts_at.isoformat() == "2027-01-01T00:00:00"


def test_a_copy_is_a_new_rule(manager: FlaskClient, server: ServerContext, clock: StoppedClock) -> None:
    publish(server, clock, HAPPY)
    url = f"{NEW}?copy=Happy hour"
    page = manager.get(url).get_data(as_text=True)
    assert 'value="Happy hour (copy)"' in page
    assert send(manager, fields(page), NEW).status_code == 303
    first, second = rules_of(server)
    assert second == first.model_copy(update={"name": "Happy hour (copy)"})


def test_rules_change_places_within_their_family(
    manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    version = publish(server, clock, HAPPY, LATER, OVER)
    move = {"name": "Summer", "direction": "up", "version": str(version)}
    assert submit(manager, f"{RULES}/move", move, page=RULES).location == RULES
    assert [rule.name for rule in rules_of(server)] == ["Summer", "Next year", "Happy hour"]
    # The first stays where it is, and that is no new version.
    submit(manager, f"{RULES}/move", {**move, "version": str(version + 1)}, page=RULES)
    assert versions(server) == version + 1
    stale = submit(manager, f"{RULES}/move", {**move, "direction": "down"}, page=RULES)
    assert stale.status_code == 303
    assert "Somebody has changed the program meanwhile." in text_of(manager.get(RULES))
    for bad, status in (({"direction": "sideways"}, 400), ({"name": "None such"}, 404)):
        answer = submit(manager, f"{RULES}/move", {**move, "version": str(version + 1), **bad}, page=RULES)
        assert answer.status_code == status


def test_a_rule_is_deleted(manager: FlaskClient, server: ServerContext, clock: StoppedClock) -> None:
    version = publish(server, clock, HAPPY, OVER)
    gone = {"name": "Happy hour", "version": str(version)}
    assert submit(manager, f"{RULES}/delete", gone, page=RULES).location == RULES
    assert "The rule “Happy hour” has been deleted." in text_of(manager.get(RULES))
    assert [rule.name for rule in rules_of(server)] == ["Summer"]
    assert submit(manager, f"{RULES}/delete", {**gone, "version": str(version + 1)}, page=RULES).status_code == 404


# Who may, and what is not there


@pytest.mark.parametrize("path", ["", "/new"])
def test_cashiers_may_not_and_strangers_are_asked_who_they_are(
    sign_in: SignIn, client: FlaskClient, cast: Cast, path: str
) -> None:
    assert sign_in("cashier@cafe.example").get(RULES + path).status_code == 403
    assert sign_in("owner@cafe.example").get(RULES + path).status_code == 200
    assert sign_in("owner@bakery.example").get(RULES + path).status_code == 404
    assert client.get(RULES + path).location.startswith("/panel/login?next=")


def test_a_rule_that_is_not_there_or_of_another_program_is_404(
    sign_in: SignIn, manager: FlaskClient, server: ServerContext, clock: StoppedClock
) -> None:
    version = publish(server, clock, HAPPY)
    stranger = sign_in("owner@bakery.example")
    assert stranger.get(RULE + "Happy hour").status_code == 404
    bakery = "/panel/programs/bakery/program/rules"
    assert stranger.get(f"{bakery}/rule?name=Happy hour").status_code == 404
    form = {**CAPPUCCINO, "version": "1"}
    assert submit(stranger, f"{bakery}/rule?name=Happy hour", form, page=f"{bakery}/new").status_code == 404
    for name in ("None such", "", "x" * 1000):
        assert manager.get(RULE + name).status_code == 404
        form = {**CAPPUCCINO, "version": str(version)}
        assert submit(manager, RULE + name, form, page=NEW).status_code == 404
    assert [rule.name for rule in rules_of(server)] == ["Happy hour"]


def test_a_form_without_proof_and_a_wrong_method_are_refused(manager: FlaskClient) -> None:
    assert manager.post(NEW, data=CAPPUCCINO).status_code == 403
    assert manager.get(f"{RULES}/move").status_code == 405
    assert manager.get(f"{RULES}/delete").status_code == 405


@pytest.mark.parametrize("version", ["", "x", "-1", "99"])
def test_a_version_that_never_was_is_one_that_was_overtaken(
    manager: FlaskClient, server: ServerContext, version: str
) -> None:
    assert submit(manager, NEW, {**CAPPUCCINO, **MONDAY, "version": version}).status_code == 409
    assert versions(server) == 1
