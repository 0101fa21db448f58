"""Rules in the panel: read in words, tried on an example before they are saved, published as a new version."""

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
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.models import ProgramVersion
from wallet_server.programs.queries import current_file, load_program
from wallet_server.programs.rule import Rule
from wallet_server.programs.services import apply_program

BASE = "/panel/programs/cafe-ohrid/program"
RULES = f"{BASE}/rules"
NEW = f"{RULES}/new"
HTMX = {"HX-Request": "true"}
RULE = f"{RULES}/rule?name="

HAPPY: dict[str, Any] = {
    "name": "Happy hour", "family": "behavior", "when": {"weekdays": ["mon"], "time": {"from": "16:00", "to": "18:00"}},
    "earn": {"multiply": 3}, "outlets": ["A"], "priority": 5,
}  # fmt: skip
OVER = {"name": "Summer", "family": "behavior", "ends_at": "2026-08-31T00:00:00", "earn": {"percent": 4}}
LATER = {"name": "Next year", "family": "customer", "starts_at": "2027-01-01T00:00:00+01:00", "earn": {"multiply": 2},
         "when": {"tiers": ["silver"]}}  # fmt: skip
NO_FOOD = {"name": "No food", "family": "product", "when": {"categories": ["food"]}, "earn": {"none": True},
           "redeem": {"max_percent": 0}}  # fmt: skip
CAPPUCCINO = {
    "name": "Cappuccino hour", "family": "product", "skus": ["cappuccino"], "weekdays": ["mon"], "time_from": "16:00",
    "time_to": "18:00", "earn": "multiply", "earn_value": "2",
}  # fmt: skip
MONDAY = {"ex_outlet": "A", "ex_day": "2026-11-23", "ex_time": "16:30", "ex_sku": ["cappuccino", "burger"],
          "ex_quantity": ["1", "1"]}  # fmt: skip
SEGMENTS = [{"code": "quiet", "name": "Quiet ones", "when": {"days_since_last_visit": {"at_least": 14}}}]


@pytest.fixture
def manager(sign_in: SignIn, cast: Cast) -> FlaskClient:
    return sign_in("manager@cafe.example")


def publish(server: ServerContext, clock: StoppedClock, *rules: dict[str, Any], **sections: Any) -> int:
    """The café with these rules; the number of the version."""
    file = ProgramFile.model_validate(program_file(rules=list(rules), segments=SEGMENTS, **sections))
    with transaction(server.engine, ALL_PROGRAMS) as session:
        return apply_program(session, file, now=clock.now(), actor="cli").version


def rules_of(server: ServerContext) -> list[Rule]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        program = load_program(session, slug="cafe-ohrid")
        return list(current_file(session, program.id).rules)


def versions(server: ServerContext) -> int:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return load_program(session, slug="cafe-ohrid").version


def said(response: Any) -> str:
    return re.sub(r"[\u00a0\u202f]", " ", " ".join(text_of(response).split()))


def send(client: FlaskClient, form: dict[str, Any], url: str = NEW, action: str = "save", **options: Any) -> Any:
    """The form as its page sends it, with the version that the page was opened with."""
    page = client.get(url).get_data(as_text=True)
    found = re.search(r'name="version" value="(\d+)"', page)
    assert found is not None
    return submit(client, url, {"version": found.group(1), **MONDAY, "action": action, **form}, **options)


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


# The example


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


def fields(page: str) -> dict[str, Any]:
    """What the form on a page would send."""
    form = page[page.index('<form class="rule-form"') : page.index("</form>", page.index('<form class="rule-form"'))]
    values: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name = re.search(r' name="([^"]+)"', tag)
        value = re.search(r' value="([^"]*)"', tag)
        if name is None or (("checkbox" in tag or "radio" in tag) and " checked" not in tag):
            continue
        values.setdefault(name.group(1), []).append(value.group(1) if value else "on")
    for name, text in re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>([^<]*)</textarea>', form):
        values[name] = [text]
    for name, options in re.findall(r'<select[^>]* name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options)
        values.setdefault(name, []).append(chosen.group(1) if chosen else "")
    plain = {name: found[0] if len(found) == 1 else found for name, found in values.items()}
    return {name: value for name, value in plain.items() if name not in ("csrf_token", "version", "action")}
