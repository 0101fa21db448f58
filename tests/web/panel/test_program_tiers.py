"""The page of tiers: who holds what, and an editor that shows who would move before it publishes."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlmodel import select
from werkzeug.test import TestResponse

from tests.factories import CAFE
from tests.people import add_member, publish
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.members.models import Member, MemberStatistics
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import TIERS_CHANGED

BASE = "/panel/programs/cafe-ohrid"
TIERS = f"{BASE}/program/tiers"
SILVER = f"{TIERS}/levels/silver"
HTMX = {"HX-Request": "true"}
LEVEL = {"name_en": "Gold", "name_mk": "Злато", "code": "gold", "above": "silver", "match": "any"}


@pytest.fixture
def people(server: ServerContext, cast: Cast, clock: StoppedClock) -> None:
    """Ana and Boris are silver by 12 and 10 purchases; Vera has none; a stranger is in the bakery."""
    now = clock.now()
    with transaction(server.engine, ALL_PROGRAMS) as session:
        for name, tier, purchases in (("Ana", "silver", 12), ("Boris", "silver", 10), ("Vera", "base", 0)):
            member_id = add_member(session, cast.cafe, now, tier=tier)
            session.get_one(Member, member_id).name = name
            statistics = session.get_one(MemberStatistics, member_id)
            statistics.purchases = statistics.visits = purchases
            session.add(statistics)
        add_member(session, cast.bakery, now, tier="silver")


def newest(server: ServerContext, slug: str = "cafe-ohrid") -> ProgramDefinition:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return load_program(session, slug=slug)


def version(server: ServerContext) -> dict[str, Any]:
    return {"version": newest(server).version}


def words(response: TestResponse) -> str:
    return " ".join(text_of(response).split())


def test_the_list_says_who_holds_what_and_how_it_is_reached(manager: FlaskClient, people: None) -> None:
    text = words(manager.get(TIERS))
    assert "Silver MKD 10,000.00 spent or 10 purchases 2 67 %" in text
    assert "Member Everybody, from the first day 1 33 %" in text
    assert "Counted since the member joined. A level once reached is kept." in text
    assert "<html" not in manager.get(TIERS, headers=HTMX).get_data(as_text=True)
    assert "Сребро" in text_of(manager.get(TIERS, query_string={"lang": "mk"}))


def test_the_tab_is_there_and_marked(manager: FlaskClient) -> None:
    page = manager.get(SILVER).get_data(as_text=True)
    assert f'href="{TIERS}" aria-current="page"' in page


def test_a_draft_shows_who_would_move_and_changes_nothing(
    manager: FlaskClient, server: ServerContext, people: None
) -> None:
    before = newest(server).version
    draft = {"action": "preview", "name_en": "Silver", "purchases": "11", "match": "any", **version(server)}
    fragment = submit(manager, SILVER, draft, headers=HTMX)
    text = words(fragment)
    assert fragment.status_code == 200
    assert "<form" not in fragment.get_data(as_text=True)
    assert "Up at once 0 Down after grace 1 Stay 2" in text
    assert "Silver becomes Member 1 Boris" in text
    whole = submit(manager, SILVER, draft)  # the button, without JavaScript
    assert "<html" in whole.get_data(as_text=True)
    assert 'value="11"' in whole.get_data(as_text=True)
    assert "Down after grace 1" in words(whole)
    assert newest(server).version == before


def test_while_typing_some_are_looked_at_and_on_demand_all(
    manager: FlaskClient, server: ServerContext, people: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wallet_server.web.panel.program_tiers.TYPED_MAX", 2)
    draft = {"action": "preview", "name_en": "Silver", "purchases": "11", "match": "any", **version(server)}
    some = words(submit(manager, SILVER, draft, headers=HTMX))
    assert "Of the newest 2 members. Look at all" in some
    everybody = words(submit(manager, SILVER, draft))
    assert "Up at once 0 Down after grace 1 Stay 2" in everybody
    assert "Look at all" not in everybody


def test_a_draft_that_cannot_be_yet_says_why(manager: FlaskClient, server: ServerContext) -> None:
    draft = {**LEVEL, "action": "preview", "grace_days": "many", "purchases": "3", **version(server)}
    assert "Days of grace are a whole number from 0 to 366." in words(
        submit(manager, f"{TIERS}/new", draft, headers=HTMX)
    )


def test_a_new_level_is_published_with_all_that_was_typed(
    manager: FlaskClient, server: ServerContext, people: None
) -> None:
    form = {
        **LEVEL, **version(server), "match": "all", "spend": "50000,50", "visits": "12", "points_earned": "100",
        "tenure_days": "30", "bought_quantity": "5", "bought_categories": "coffee, drinks", "bought_skus": "burger",
        "grace_days": "30", "own_color": "1", "color": "#aa8800", "earn_kind": "percent", "earn_value": "5",
        "redeem_percent": "50",
    }  # fmt: skip
    done = submit(manager, f"{TIERS}/new", form, follow_redirects=True)
    assert "The tiers have been published." in text_of(done)
    level = newest(server).level("gold")
    assert level is not None
    assert level.model_dump(mode="json", exclude_none=True) == {
        "code": "gold",
        "name": {"en": "Gold", "mk": "Злато"},
        "reach": {
            "any": [],
            "all": [
                {"spend_minor": 5_000_050},
                {"visits": 12},
                {"points_earned": 100},
                {"tenure_days": 30},
                {"bought": {"quantity": 5, "skus": ["burger"], "categories": ["coffee", "drinks"]}},
            ],
        },
        "color": "#aa8800",
        "earn": {"percent": "5"},
        "redeem": {"max_percent": "50"},
        "grace_days": 30,
    }  # fmt: skip
    assert [level.code for level in newest(server).file.tiers.levels] == ["base", "silver", "gold"]
    text = words(done)
    assert "12 visits, 100 points earned, 30 days of membership and 5 × coffee, drinks, Burger" in text
    assert "5 % back in points · points pay at most 50 % of a purchase · kept for 30 days of grace" in text
    page = manager.get(f"{TIERS}/levels/gold").get_data(as_text=True)
    for value in ("50000.50", "coffee, drinks", "#aa8800"):
        assert value in page
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert session.exec(select(OutboxRow).where(OutboxRow.topic == TIERS_CHANGED)).one().payload["after"] is None


def test_a_level_goes_where_it_was_asked_for(manager: FlaskClient, server: ServerContext) -> None:
    submit(manager, f"{TIERS}/new", {**LEVEL, "above": "base", "purchases": "3", **version(server)})
    assert [level.code for level in newest(server).file.tiers.levels] == ["base", "gold", "silver"]


def test_editing_keeps_the_code_and_what_the_form_cannot_say(manager: FlaskClient, server: ServerContext) -> None:
    form = {"code": "other", "name_en": "Silver Plus", "purchases": "9", "earn_kind": "kept", **version(server)}
    assert submit(manager, SILVER, form).status_code == 303
    level = newest(server).level("silver")
    assert level is not None
    assert level.name["en"] == "Silver Plus"
    assert newest(server).level("other") is None
    assert level.reach is not None
    assert [item.purchases for item in level.reach.any] == [9]


def test_the_first_level_has_no_way_to_be_reached(manager: FlaskClient, server: ServerContext) -> None:
    page = manager.get(f"{TIERS}/levels/base")
    assert "The first level is everybody's." in text_of(page)
    assert 'name="spend"' not in page.get_data(as_text=True)
    form = {"name_en": "Guest", "purchases": "4", "grace_days": "9", **version(server)}
    assert submit(manager, f"{TIERS}/levels/base", form).status_code == 303
    first = newest(server).first_level
    assert first is not None
    assert (first.name["en"], first.reach, first.grace_days) == ("Guest", None, 0)


BAD = [
    ({"code": "not good"}, "A code is letters"),
    ({"code": "silver"}, "Another level has this code."),
    ({"name_en": "", "name_mk": ""}, "Give the level a name of at most 60"),
    ({"name_en": "x" * 61}, "Give the level a name of at most 60"),
    ({"spend": "0"}, "Enter an amount of money above zero."),
    ({"spend": "1.234"}, "Enter an amount of money above zero."),
    ({"purchases": "-1"}, "Enter a whole number above zero."),
    ({"visits": "1.5"}, "Enter a whole number above zero."),
    ({"points_earned": "99999999999"}, "Enter a whole number above zero."),
    ({"tenure_days": "0"}, "Enter a whole number of days above zero."),
    ({"bought_quantity": "5"}, "Enter how many, and of which"),
    ({"bought_skus": "burger"}, "Enter how many, and of which"),
    ({"purchases": ""}, "Say how the level is reached"),
    ({"grace_days": "367"}, "Days of grace are a whole number from 0 to 366."),
    ({"own_color": "1", "color": "red"}, "Choose a colour."),
    ({"earn_kind": "percent", "earn_value": ""}, "Enter a number that makes sense"),
    ({"earn_kind": "discount_percent", "earn_value": "101"}, "Enter a number that makes sense"),
    ({"redeem_percent": "101"}, "Enter a percent from 0 to 100."),
]


@pytest.mark.parametrize(("wrong", "sentence"), BAD)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_published(
    manager: FlaskClient, server: ServerContext, wrong: dict[str, str], sentence: str
) -> None:
    before = newest(server).version
    answer = submit(manager, f"{TIERS}/new", {**LEVEL, "purchases": "3", **wrong, **version(server)})
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert 'role="alert"' in answer.get_data(as_text=True)
    assert newest(server).version == before


def test_two_who_edit_at_once_lose_nothing(manager: FlaskClient, server: ServerContext) -> None:
    opened = version(server)
    submit(manager, f"{TIERS}/new", {**LEVEL, "purchases": "30", **opened})
    late = submit(manager, SILVER, {"name_en": "Argent", "purchases": "8", **opened})
    assert late.status_code == 409
    assert "Somebody else has published" in text_of(late)
    assert 'value="Argent"' in late.get_data(as_text=True)
    assert f'name="version" value="{newest(server).version}"' in late.get_data(as_text=True)
    again = submit(manager, SILVER, {"name_en": "Argent", "purchases": "8", **version(server)})
    assert again.status_code == 303
    assert [level.code for level in newest(server).file.tiers.levels] == ["base", "silver", "gold"]


def test_the_window_is_changed_with_a_preview(manager: FlaskClient, server: ServerContext, people: None) -> None:
    window = f"{TIERS}/window"
    assert "A whole life" in text_of(manager.get(window))
    draft = {"action": "preview", "kind": "rolling_days", "days": "90", **version(server)}
    fragment = submit(manager, window, draft, headers=HTMX)
    assert "<form" not in fragment.get_data(as_text=True)
    assert "Down after grace 2" in words(fragment)  # these two have statistics, but no receipts
    refused = submit(manager, window, {**draft, "action": "publish", "days": "0"})
    assert (refused.status_code, "from 1 to 3,650" in text_of(refused)) == (422, True)
    assert submit(manager, window, {"kind": "never", **version(server)}).status_code == 422
    assert submit(manager, window, {**draft, "action": "publish"}).status_code == 303
    assert newest(server).file.tiers.window.days == 90
    assert "Counted over the last 90 days." in text_of(manager.get(TIERS))


def test_a_level_is_removed_after_a_look_at_who_leaves_it(
    manager: FlaskClient, server: ServerContext, people: None
) -> None:
    page = manager.get(f"{SILVER}/remove")
    assert "Silver becomes Member 2" in words(page)
    assert submit(manager, f"{SILVER}/remove", {"version": "1000"}).status_code == 409
    assert submit(manager, f"{SILVER}/remove", version(server)).status_code == 303
    assert newest(server).level("silver") is None


def test_a_level_that_something_else_needs_stays(manager: FlaskClient, server: ServerContext, cast: Cast) -> None:
    first = submit(manager, f"{TIERS}/levels/base/remove", version(server))
    assert (first.status_code, "stays as long as there are others" in text_of(first)) == (422, True)
    with transaction(server.engine, ALL_PROGRAMS) as session:
        rule = {"name": "Silver doubles", "family": "customer", "when": {"tiers": ["silver"]}, "earn": {"multiply": 2}}
        publish(session, server.clock.now(), rules=[rule])
    answer = submit(manager, f"{SILVER}/remove", version(server))
    assert answer.status_code == 422
    assert "Something else in the program needs this level" in text_of(answer)
    assert newest(server).level("silver") is not None


def test_what_only_a_file_can_say_stays(manager: FlaskClient, server: ServerContext, cast: Cast) -> None:
    twice = {"any": [{"bought": {"quantity": 1, "skus": ["a"]}}, {"bought": {"quantity": 2, "skus": ["b"]}}]}
    levels = [CAFE["tiers"]["levels"][0], {"code": "silver", "name": "S", "reach": twice, "earn": {"max_points": 9}}]
    with transaction(server.engine, ALL_PROGRAMS) as session:
        publish(session, server.clock.now(), tiers={"levels": levels})
    page = manager.get(SILVER).get_data(as_text=True)
    assert 'name="reach_kept" value="1"' in page
    form = {"name_en": "T", "reach_kept": "1", "earn_kind": "kept", **version(server)}
    assert submit(manager, SILVER, form).status_code == 303
    level = newest(server).level("silver")
    assert level is not None
    assert level.model_dump(mode="json", exclude_none=True, exclude_defaults=True)["earn"] == {"max_points": 9}
    assert level.reach is not None
    assert len(level.reach.any) == 2
    assert level.name["en"] == "T"


def test_a_program_without_tiers_invites_to_begin(manager: FlaskClient, server: ServerContext, cast: Cast) -> None:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        publish(session, server.clock.now(), tiers={"levels": []})
    assert "No tiers yet" in text_of(manager.get(TIERS))
    assert submit(manager, f"{TIERS}/new", {"name_en": "Guest", "code": "guest", **version(server)}).status_code == 303
    first = newest(server).first_level
    assert first is not None
    assert first.reach is None


@pytest.mark.parametrize("path", ["", "/new", "/window", "/levels/silver", "/levels/silver/remove"])
def test_cashiers_may_not_and_strangers_are_asked_who_they_are(
    sign_in: SignIn, client: FlaskClient, cast: Cast, path: str
) -> None:
    assert sign_in("cashier@cafe.example").get(TIERS + path).status_code == 403
    assert sign_in("owner@cafe.example").get(TIERS + path).status_code == 200
    assert sign_in("owner@bakery.example").get(TIERS + path).status_code == 404
    assert client.get(TIERS + path).location.startswith("/panel/login?next=")


def test_unknown_levels_wrong_methods_and_missing_proof(manager: FlaskClient, server: ServerContext) -> None:
    assert manager.get(f"{TIERS}/levels/gold").status_code == 404
    assert manager.get(f"{TIERS}/levels/%2e%2e").status_code in (404, 308)
    assert submit(manager, f"{TIERS}/levels/gold", {}, page=f"{TIERS}/new").status_code == 404
    assert submit(manager, f"{TIERS}/levels/gold/remove", {}, page=f"{TIERS}/new").status_code == 404
    assert manager.delete(SILVER).status_code == 405
    assert manager.post(SILVER, data={"name_en": "S"}).status_code == 403
    assert submit(manager, SILVER, {"name_en": "S", "purchases": "2", "version": "x"}).status_code == 409
