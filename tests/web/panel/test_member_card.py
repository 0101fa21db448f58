"""Staff help somebody in trouble: a new card for a stolen phone, leaving on request. Roles: test_permissions."""

from __future__ import annotations

import pytest
from sqlmodel import select

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import form_key_of, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.members.models import Card, Member
from wallet_server.members.services import Enrolled
from wallet_server.members.tags import tags_of_member
from wallet_server.staff.models import AuditRecord
from wallet_server.tiers.queries import tiers

MEMBERS = "/panel/programs/cafe-ohrid/members"


@pytest.fixture
def page(member: Enrolled) -> str:
    return f"{MEMBERS}/{member.member_id}"


def cards(server: ServerContext, member: Enrolled) -> list[Card]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Card).where(Card.member_id == member.member_id).order_by(Card.created_at)))


def test_a_cashier_gives_a_new_card_and_shows_it(
    server: ServerContext, cast: Cast, member: Enrolled, page: str, sign_in: SignIn
) -> None:
    cashier = sign_in("cashier@cafe.example")
    old_page = f"/m/{server.mint.page_token(member.member_id)}"
    answer = submit(cashier, f"{page}/replace-card", {"sure": "yes"}, page=page)
    assert (answer.status_code, answer.location) == (303, page)
    old, new = cards(server, member)
    assert (old.number, old.blocked_at is None, new.blocked_at) == (member.card_number, False, None)
    shown = cashier.get(page)
    assert "The old card is blocked" in text_of(shown)
    assert cashier.get(old_page).status_code == 404
    assert cashier.get(f"/m/{server.mint.page_token(member.member_id, 1)}").status_code == 200
    with reading(server.engine, ALL_PROGRAMS) as session:
        logged = session.exec(select(AuditRecord).where(AuditRecord.action == "card.replaced")).one()
    assert (logged.actor, logged.subject) == ("staff:cashier@cafe.example", str(member.member_id))


def test_a_button_pressed_twice_gives_one_card(
    server: ServerContext, cast: Cast, member: Enrolled, page: str, sign_in: SignIn
) -> None:
    cashier = sign_in("cashier@cafe.example")
    form = {"sure": "yes", "key": form_key_of(cashier, page)}
    for _press in range(2):
        assert submit(cashier, f"{page}/replace-card", form, page=page).location == page
    assert len(cards(server, member)) == 2
    submit(cashier, f"{page}/replace-card", {"sure": "yes", "key": form_key_of(cashier, page)}, page=page)
    assert len(cards(server, member)) == 3


def test_leaving_pressed_twice_says_the_same_twice(cast: Cast, member: Enrolled, page: str, sign_in: SignIn) -> None:
    manager = sign_in("manager@cafe.example")
    form = {"sure": "yes", "key": form_key_of(manager, page)}
    for _press in range(2):
        assert submit(manager, f"{page}/leave", form, page="/join/cafe-ohrid").location == page
    assert text_of(manager.get(page)).count("The member has left, and is forgotten.") == 1


def test_a_manager_lets_a_member_leave(
    server: ServerContext, cast: Cast, member: Enrolled, page: str, sign_in: SignIn
) -> None:
    manager = sign_in("manager@cafe.example")
    assert submit(manager, f"{page}/leave", {"sure": "yes"}, page=page).location == page
    assert "This member has left the program" in text_of(manager.get(page))
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert session.get_one(Member, member.member_id).phone is None
    for action in ("leave", "replace-card"):
        again = submit(manager, f"{page}/{action}", {"sure": "yes"}, page="/join/cafe-ohrid")
        assert again.status_code == 409
    assert len(cards(server, member)) == 1


def test_nothing_is_written_to_somebody_who_has_left(
    server: ServerContext, cast: Cast, member: Enrolled, page: str, sign_in: SignIn
) -> None:
    manager = sign_in("manager@cafe.example")
    submit(manager, f"{page}/leave", {"sure": "yes"}, page=page)
    assert "Tags and own percents" not in text_of(manager.get(page))
    for action, fields in (("tags", {"tags": "vip"}), ("tier", {"tier": "silver", "last_day": "2199-12-31"})):
        assert submit(manager, f"{page}/{action}", fields, page="/join/cafe-ohrid").status_code == 409
    with reading(server.engine, ALL_PROGRAMS) as session:
        assert tags_of_member(session, member.member_id) == ()
        assert tiers(session, [member.member_id]) != {member.member_id: "silver"}


@pytest.mark.parametrize("action", ["leave", "replace-card"])
def test_without_the_tick_nothing_happens(
    server: ServerContext, cast: Cast, member: Enrolled, page: str, sign_in: SignIn, action: str
) -> None:
    manager = sign_in("manager@cafe.example")
    assert submit(manager, f"{page}/{action}", {}, page=page).status_code == 303
    assert "Tick the box" in text_of(manager.get(page))
    assert [card.number for card in cards(server, member)] == [member.card_number]
    assert manager.get(f"{page}/{action}").status_code == 405


def test_a_cashier_is_not_offered_what_a_manager_does(cast: Cast, member: Enrolled, page: str, sign_in: SignIn) -> None:
    assert "Let the member leave" in text_of(sign_in("manager@cafe.example").get(page))
    seen = text_of(sign_in("cashier@cafe.example").get(page))
    assert "Replace the card" in seen
    assert "Let the member leave" not in seen
