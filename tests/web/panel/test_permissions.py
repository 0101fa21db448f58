"""Every page of the panel, for everybody who may and may not see it; nothing is left out (invariants S1, S2, S3)."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from tests.web.conftest import Cast, SignIn
from wallet_server.members.services import Enrolled
from wallet_server.staff.roles import ROLES
from wallet_server.web.security import permission_of

PEOPLE = {"owner": "owner@cafe.example", "manager": "manager@cafe.example", "cashier": "cashier@cafe.example"}


def program_rules(app: Flask) -> Iterator[tuple[Rule, str, str]]:
    """Each address of a program in the panel, with its method and the role that it needs."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/panel/programs/"):
            needed = permission_of(app, rule.endpoint)
            assert needed in ROLES, f"{rule.endpoint} is open to {needed}"
            for method in sorted((rule.methods or set()) & {"GET", "POST", "PUT", "PATCH", "DELETE"}):
                yield rule, method, needed


def address(app: Flask, rule: Rule, slug: str, member_id: UUID) -> str:
    values = {name: uuid4() if name.endswith("_id") else "x" for name in rule.arguments}
    values |= {"slug": slug} | ({"member_id": member_id} if "member_id" in rule.arguments else {})
    with app.test_request_context():
        return app.url_map.bind("localhost").build(rule.endpoint, values)


def ask(client: FlaskClient, method: str, url: str) -> int:
    client.application.config["WTF_CSRF_ENABLED"] = False  # proof is another test's matter
    try:
        return client.open(url, method=method).status_code
    finally:
        client.application.config["WTF_CSRF_ENABLED"] = True


def test_there_are_pages_to_test(app: Flask) -> None:
    assert len(list(program_rules(app))) >= 10


def test_who_is_not_signed_in_sees_the_login_page(app: Flask, client: FlaskClient, member: Enrolled) -> None:
    for rule, method, _ in program_rules(app):
        url = address(app, rule, "cafe-ohrid", member.member_id)
        assert ask(client, method, url) == 303, (method, url)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_what_it_may_and_nothing_else(
    app: Flask, sign_in: SignIn, member: Enrolled, cast: Cast, role: str
) -> None:
    client = sign_in(PEOPLE[role])
    for rule, method, needed in program_rules(app):
        status = ask(client, method, address(app, rule, "cafe-ohrid", member.member_id))
        allowed = ROLES.index(role) <= ROLES.index(needed)  # type: ignore[arg-type]
        assert (status != 403) is allowed, (role, method, rule.rule, status)


def test_another_program_does_not_exist(app: Flask, sign_in: SignIn, member: Enrolled, cast: Cast) -> None:
    """Neither through its own address, nor its members through ours."""
    stranger = sign_in("owner@bakery.example")
    for rule, method, _ in program_rules(app):
        assert ask(stranger, method, address(app, rule, "cafe-ohrid", member.member_id)) == 404, (method, rule.rule)
        if "member_id" in rule.arguments:
            assert ask(stranger, method, address(app, rule, "bakery", member.member_id)) == 404, (method, rule.rule)


def test_a_program_that_is_none_is_answered_like_anothers(app: Flask, sign_in: SignIn, member: Enrolled) -> None:
    client = sign_in(PEOPLE["owner"])
    for rule, method, _ in program_rules(app):
        assert ask(client, method, address(app, rule, "no-such-program", member.member_id)) == 404


def test_every_writing_address_wants_proof(app: Flask, sign_in: SignIn, member: Enrolled, cast: Cast) -> None:
    client = sign_in(PEOPLE["owner"])
    seen = 0
    for rule in app.url_map.iter_rules():
        if "POST" in (rule.methods or set()) and rule.rule.startswith(("/panel", "/join", "/sandbox")):
            values = {name: uuid4() if name.endswith("_id") else "x" for name in rule.arguments}
            with app.test_request_context():
                url = app.url_map.bind("localhost").build(rule.endpoint, values, method="POST")
            assert client.post(url).status_code == 403, url
            seen += 1
    assert seen >= 8
