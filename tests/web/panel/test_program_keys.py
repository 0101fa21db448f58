"""API keys in the panel: made once, shown once, revoked by an explicit yes; for owners only."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlmodel import select

from tests.factories import CAFE
from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, csrf_of, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.keys import TillKeys
from wallet_server.programs.models import ApiKey
from wallet_server.programs.services import SCOPES, apply_program, create_api_key
from wallet_server.staff.models import AuditRecord
from wallet_server.web.panel.program_keys import SCOPE_NAMES

KEYS = "/panel/programs/cafe-ohrid/program/keys"
NEW = f"{KEYS}/new"


@pytest.fixture
def owner(sign_in: SignIn, cast: Cast) -> FlaskClient:
    return sign_in("owner@cafe.example")


def saved(server: ServerContext) -> list[ApiKey]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(ApiKey).order_by(ApiKey.created_at)))


def add_key(server: ServerContext, program_id, clock: StoppedClock) -> ApiKey:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        return create_api_key(session, program_id, now=clock.now(), actor="cli")[0]


def shown_key(response) -> str:
    found = re.search(r'id="secret" value="([^"]+)"', response.get_data(as_text=True))
    assert found, text_of(response)
    return found.group(1)


def revoke_url(key: ApiKey) -> str:
    return f"{KEYS}/{key.id}/revoke"


def test_every_scope_has_a_name() -> None:
    assert set(SCOPE_NAMES) == set(SCOPES)


def test_an_empty_list_invites(owner: FlaskClient) -> None:
    assert "No keys yet" in text_of(owner.get(KEYS))


def test_a_key_is_shown_once_and_works(owner: FlaskClient, server: ServerContext) -> None:
    made = submit(owner, NEW, {"outlet": "A", "scopes": ["earn", "redeem"]})
    assert made.status_code == 200
    assert made.headers["Cache-Control"] == "no-store"
    secret = shown_key(made)
    key = TillKeys(server.engine).find(secret)
    assert key is not None
    assert key.scopes == ("earn", "redeem")
    assert key.outlet_id is not None
    text = " ".join(text_of(made).split())
    assert "Restaurant A" in text
    assert "Quotes, purchases and visits" in text
    page = owner.get(KEYS).get_data(as_text=True)
    assert secret not in page
    assert key.hint in page


def test_a_reload_makes_no_second_key_and_shows_none(owner: FlaskClient, server: ServerContext) -> None:
    form = owner.get(NEW).get_data(as_text=True)
    values = {
        "csrf_token": csrf_of(owner, NEW),
        "key": re.search(r'name="key" value="([^"]+)"', form).group(1),
        "scopes": "earn",
    }
    secret = shown_key(owner.post(NEW, data=values))
    again = owner.post(NEW, data=values, follow_redirects=True)
    assert "Its key cannot be shown again" in text_of(again)
    assert secret not in again.get_data(as_text=True)
    assert len(saved(server)) == 1
    other = owner.post(NEW, data={**values, "scopes": "redeem"})
    assert other.status_code == 422
    assert "sent before with other content" in text_of(other)
    assert len(saved(server)) == 1


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "Tick at least one thing"),
        ({"scopes": "everything"}, "Tick at least one thing"),
        ({"scopes": "earn", "outlet": "Z"}, "no such outlet any more"),
    ],
)
def test_a_wrong_form_says_what_is_wrong_and_can_be_corrected(
    owner: FlaskClient, server: ServerContext, values, sentence
) -> None:
    key = uuid4().hex
    refused = submit(owner, NEW, {"key": key, **values})
    assert refused.status_code == 422
    assert sentence in text_of(refused)
    assert saved(server) == []
    again = re.search(r'name="key" value="([^"]+)"', refused.get_data(as_text=True)).group(1)
    submit(owner, NEW, {"key": again, "scopes": "earn"})
    assert len(saved(server)) == 1


def test_a_key_is_revoked_by_an_explicit_yes(
    owner: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    key = add_key(server, cast.cafe.id, clock)
    missing = submit(owner, revoke_url(key), {}, page=KEYS)
    assert missing.status_code == 422
    assert "Tick the box" in text_of(missing)
    assert saved(server)[0].revoked_at is None
    done = submit(owner, revoke_url(key), {"confirmed": "yes"}, page=KEYS, follow_redirects=True)
    assert "The key has been revoked" in text_of(done)
    assert "1 revoked key" in text_of(done)
    assert saved(server)[0].revoked_at == clock.now()
    submit(owner, revoke_url(key), {"confirmed": "yes"}, page=NEW)
    with reading(server.engine, ALL_PROGRAMS) as session:
        actions = session.exec(select(AuditRecord.action).where(AuditRecord.action == "api_key.revoked")).all()
    assert len(actions) == 1


def test_another_programs_key_cannot_be_revoked(
    owner: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    key = add_key(server, cast.bakery.id, clock)
    assert submit(owner, revoke_url(key), {"confirmed": "yes"}, page=NEW).status_code == 404
    assert owner.post(f"{KEYS}/nonsense/revoke").status_code in (403, 404)
    assert saved(server)[0].revoked_at is None
    assert key.hint not in owner.get(KEYS).get_data(as_text=True)


@pytest.mark.parametrize("person", ["manager@cafe.example", "cashier@cafe.example"])
def test_only_owners_see_keys(sign_in: SignIn, cast: Cast, person: str) -> None:
    client = sign_in(person)
    assert client.get(KEYS).status_code == 403
    assert client.get(NEW).status_code == 403


def test_an_outlet_that_is_closed_keeps_its_name_in_the_list(
    owner: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    submit(owner, NEW, {"outlet": "B", "scopes": "earn"})
    with transaction(server.engine, ALL_PROGRAMS) as session:
        file = ProgramFile.model_validate({**CAFE, "outlets": CAFE["outlets"][:1]})
        apply_program(session, file, now=clock.now(), actor="cli")
    assert "Restaurant B" in text_of(owner.get(KEYS))
