"""The points of the program: what members have, the agreement in words, and its form."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.factories import CAFE
from tests.people import publish
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, csrf_of, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.ledger.adjustments import Adjust, adjust
from wallet_server.members.services import Enrolled
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.points import PointsSettings
from wallet_server.programs.queries import load_program

PAGE = "/panel/programs/cafe-ohrid/program/points"
EDIT = f"{PAGE}/edit"
HTMX = {"HX-Request": "true"}
FORM: dict[str, Any] = {
    "base_percent": "1", "base_redeem_percent": "100", "point_value": "1.00", "rounding": "down", "pending_days": "0",
    "negative_balance": "forbid", "min_points": "0", "expiry": "none", "rolling_days": "", "inactivity_days": "",
    "expiry_month": "", "expiry_day": "", "refund_grace_days": "7", "owner": "1000000", "manager": "10000",
    "cashier": "0", "till": "1000", "four_eyes_above": "5000",
    "zeroing_0_name": "", "zeroing_0_month": "", "zeroing_0_day": "",
}  # fmt: skip


def newest(server: ServerContext) -> ProgramDefinition:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return load_program(session, slug="cafe-ohrid")


def points(server: ServerContext) -> PointsSettings:
    return newest(server).points


def save(client: FlaskClient, server: ServerContext, **values: Any) -> TestResponse:
    form = {**FORM, "version": newest(server).version, "action": "publish", **values}
    return submit(client, EDIT, form, follow_redirects=True)


def preview(client: FlaskClient, server: ServerContext, **values: Any) -> TestResponse:
    form = {**FORM, "version": newest(server).version, "action": "preview", **values}
    return client.post(EDIT, data={"csrf_token": csrf_of(client, EDIT), **form}, headers=HTMX)


def words(response: TestResponse) -> str:
    return " ".join(text_of(response).replace("\N{NO-BREAK SPACE}", " ").split())


def test_what_members_have_and_when_it_ends(
    manager: FlaskClient, server: ServerContext, member: Enrolled, clock: StoppedClock
) -> None:
    assert "Points outstanding 0 Worth MKD 0.00" in words(manager.get(PAGE))
    for days, amount in ((10, 100), (60, 40), (200, 7)):
        settings = {**CAFE["program"]["points"], "expiry": {"kind": "rolling_days", "days": days}}
        with transaction(server.engine, ALL_PROGRAMS) as session:
            program = publish(session, clock.now(), program={**CAFE["program"], "points": settings})
        with transaction(server.engine, program.id) as session:
            command = Adjust(amount, "A gift", member_id=member.member_id)
            adjust(session, program, command, role="owner", actor="cli", now=clock.now())
    page = words(manager.get(PAGE))
    assert "Points outstanding 147 Worth MKD 147.00 End within 30 days 100 End within 90 days 140" in page
    assert "December 2026 100 · MKD 100.00 January 2027 40 · MKD 40.00" in page
    assert "Points end 200 days after they were earned." in page


def test_another_programs_points_are_not_counted(
    manager: FlaskClient, server: ServerContext, cast: Cast, member: Enrolled, clock: StoppedClock, sign_in: SignIn
) -> None:
    with transaction(server.engine, cast.cafe.id) as session:
        command = Adjust(9, "A gift", member_id=member.member_id)
        adjust(session, cast.cafe, command, role="owner", actor="cli", now=clock.now())
    page = words(sign_in("owner@bakery.example").get("/panel/programs/bakery/program/points"))
    assert "Points outstanding 0" in page


def test_the_agreement_is_in_words(manager: FlaskClient) -> None:
    page = words(manager.get(PAGE))
    for sentence in (
        "A point pays MKD 1.00.",
        "1 % of what is bought comes back.",
        "Points do not expire.",
        "More than 5,000 wait for a second person.",
    ):
        assert sentence in page
    assert f'href="{PAGE}" aria-current="page"' in manager.get(EDIT).get_data(as_text=True)


def test_the_form_shows_what_is_in_force_and_saving_it_changes_nothing(
    manager: FlaskClient, server: ServerContext
) -> None:
    before = newest(server)
    assert "Nothing is changed yet." in words(manager.get(EDIT))
    save(manager, server)
    assert points(server) == before.points
    assert newest(server).version == before.version


def test_a_preview_says_what_would_change_and_publishes_nothing(manager: FlaskClient, server: ServerContext) -> None:
    before = newest(server).version
    answer = preview(manager, server, base_percent="2,5", expiry="rolling_days", rolling_days="365")
    assert "<html" not in answer.get_data(as_text=True)
    text = words(answer)
    assert "before: 1 % of what is bought comes back. now: 2.5 % of what is bought comes back." in text
    assert "now: Points end 365 days after they were earned." in text
    assert newest(server).version == before
    assert "Enter a percent from 0 to 1,000." in words(preview(manager, server, base_percent="much"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"expiry": "rolling_days", "rolling_days": "90"}, {"kind": "rolling_days", "days": 90}),
        ({"expiry": "inactivity_days", "inactivity_days": "180"}, {"kind": "inactivity_days", "days": 180}),
        (
            {"expiry": "fixed_date", "expiry_month": "3", "expiry_day": "31"},
            {"kind": "fixed_date", "month": 3, "day": 31},
        ),
    ],
)
def test_each_kind_of_expiry_can_be_published(
    manager: FlaskClient, server: ServerContext, values: dict[str, str], expected: dict[str, Any]
) -> None:
    assert "The points are published." in words(save(manager, server, **values))
    assert points(server).expiry.model_dump(exclude_none=True) == expected


def test_everything_else_can_be_published(manager: FlaskClient, server: ServerContext) -> None:
    save(
        manager,
        server,
        point_value="0.50",
        base_redeem_percent="30",
        rounding="half_up",
        carry_fraction="yes",
        earn_on_points_part="yes",
        pending_days="14",
        negative_balance="allow",
        min_points="50",
        refund_grace_days="0",
        manager="2000",
        cashier="10",
        four_eyes_above="1000",
    )
    found = points(server)
    assert (found.point_value_minor, int(found.base_redeem_percent), found.rounding) == (50, 30, "half_up")
    assert (found.carry_fraction, found.earn_on_points_part, found.pending_days) == (True, True, 14)
    assert (found.negative_balance, found.min_points, found.refund_grace_days) == ("allow", 50, 0)
    assert (found.adjustments.manager, found.adjustments.cashier, found.adjustments.four_eyes_above) == (2000, 10, 1000)


def test_zeroing_rules_are_added_changed_and_removed(manager: FlaskClient, server: ServerContext) -> None:
    yearly = {
        "zeroing_0_name": "New year", "zeroing_0_month": "12", "zeroing_0_day": "31", "zeroing_0_percent": "50",
        "zeroing_0_max_points": "1000", "zeroing_0_tiers": "silver", "zeroing_0_inactive_days": "30",
    }  # fmt: skip
    page = words(save(manager, server, **yearly))
    assert (
        "New year: on December 31 of each year, only tiers Silver, only without a purchase for 30 days,"
        " 50 % stay, at most 1,000 points." in page
    )
    (rule,) = points(server).zeroing
    assert (rule.month, rule.day, rule.tiers, rule.carry_over.max_points) == (12, 31, ["silver"], 1000)
    monthly = {"zeroing_1_name": "Monthly", "zeroing_1_month": "", "zeroing_1_day": "28"}
    save(manager, server, **yearly, **monthly)
    assert [one.name for one in points(server).zeroing] == ["New year", "Monthly"]
    save(manager, server, **yearly, **monthly, zeroing_0_remove="yes")
    assert [(one.name, one.month) for one in points(server).zeroing] == [("Monthly", None)]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"base_percent": "1001"}, "Enter a percent from 0 to 1,000."),
        ({"base_redeem_percent": "101"}, "Enter a percent from 0 to 100."),
        ({"point_value": "0"}, "Enter what a point is worth, above zero."),
        ({"pending_days": "366"}, "Enter a whole number from 0 to 365."),
        ({"pending_days": "1.5"}, "Enter a whole number from 0 to 365."),
        ({"rounding": "sideways"}, "Choose one of these."),
        ({"expiry": "rolling_days"}, "Enter a whole number from 1 to 3,650."),
        ({"expiry": "fixed_date", "expiry_month": "2", "expiry_day": "30"}, "Choose a day that each such month has."),
        ({"zeroing_0_name": "x", "zeroing_0_day": "31"}, "Choose a day that each such month has."),
        ({"zeroing_0_day": "1"}, "Give it a name."),
        (
            {"zeroing_0_name": "x", "zeroing_0_day": "1", "zeroing_1_name": "x", "zeroing_1_day": "2"},
            "Another one has this name.",
        ),
        ({"four_eyes_above": "-1"}, "Enter a whole number from 0 to 1,000,000,000."),
    ],
)
def test_what_cannot_be_is_refused_and_kept(
    manager: FlaskClient, server: ServerContext, values: dict[str, str], sentence: str
) -> None:
    before = newest(server).version
    answer = save(manager, server, **values, min_points="77")
    assert answer.status_code == 422
    assert sentence in words(answer)
    assert 'name="min_points" inputmode="decimal" maxlength="20" value="77"' in answer.get_data(as_text=True)
    assert newest(server).version == before


def test_who_was_overtaken_looks_again(manager: FlaskClient, server: ServerContext, clock: StoppedClock) -> None:
    old = newest(server).version
    save(manager, server, min_points="5")
    answer = save(manager, server, version=old, pending_days="3")
    assert answer.status_code == 409
    assert "Somebody else has published the program" in words(answer)
    assert points(server).pending_days == 0
    assert f'name="version" value="{newest(server).version}"' in answer.get_data(as_text=True)


def test_who_may_not_cannot(sign_in: SignIn, client: FlaskClient, cast: Cast) -> None:
    cashier, stranger = sign_in("cashier@cafe.example"), sign_in("owner@bakery.example")
    for url in (PAGE, EDIT):
        assert cashier.get(url).status_code == 403
        assert stranger.get(url).status_code == 404
        assert client.get(url).status_code == 303
    assert sign_in("manager@cafe.example").post(PAGE).status_code in (403, 405)
