"""Webhooks in the panel: made, tested, rotated, switched off and on, and everything that was sent; for owners only."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlmodel import col, select

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, csrf_of, submit, text_of
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, new_id, reading, transaction
from wallet_server.staff.models import AuditRecord
from wallet_server.webhooks.address import AddressPolicy
from wallet_server.webhooks.deliveries import ANSWERED_GONE, NEVER_ANSWERED
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.models import Webhook, WebhookDelivery
from wallet_server.webhooks.services import WEBHOOKS_MAX, create_webhook, disable_webhook, emit

HOOKS = "/panel/programs/cafe-ohrid/program/webhooks"
NEW = f"{HOOKS}/new"
URL = "https://shop.example/hook"
HTMX = {"HX-Request": "true"}
ANA = new_id()


@pytest.fixture
def owner(sign_in: SignIn, cast: Cast) -> FlaskClient:
    return sign_in("owner@cafe.example")


@pytest.fixture
def hook(server: ServerContext, cast: Cast, clock: StoppedClock) -> UUID:
    return add_webhook(server, cast.cafe.id, clock)


def add_webhook(server: ServerContext, program_id: UUID, clock: StoppedClock, url: str = URL) -> UUID:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        return create_webhook(
            session, program_id, url=url, events=["*"], policy=AddressPolicy(), actor="cli", now=clock.now()
        ).id


def happen(server: ServerContext, cast: Cast, clock: StoppedClock, *names: str, **values) -> list[UUID]:
    """Messages of the café's webhooks, with these values in their rows."""
    with transaction(server.engine, ALL_PROGRAMS) as session:
        emit(session, cast.cafe.id, [Event(name, ANA, {"n": n}) for n, name in enumerate(names)], clock.now())
        session.flush()
        rows = session.exec(select(WebhookDelivery).order_by(col(WebhookDelivery.id).desc()).limit(len(names))).all()
        for row in rows:
            row.sqlmodel_update(values)
            session.add(row)
        return [row.id for row in rows]


def saved(server: ServerContext) -> list[Webhook]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(Webhook).order_by(col(Webhook.id))))


def messages(server: ServerContext) -> list[WebhookDelivery]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(WebhookDelivery).order_by(col(WebhookDelivery.id))))


def audited(server: ServerContext) -> list[str]:
    with reading(server.engine, ALL_PROGRAMS) as session:
        return [row.action for row in session.exec(select(AuditRecord)) if row.action.startswith("webhook")]


def words(response) -> str:
    return " ".join(text_of(response).split())


def test_an_empty_list_invites(owner: FlaskClient) -> None:
    assert "No webhooks yet" in text_of(owner.get(HOOKS))


def test_a_webhook_is_made_with_chosen_events(owner: FlaskClient, server: ServerContext) -> None:
    made = submit(owner, NEW, {"url": URL, "which": "some", "events": ["tier.changed", "member.enrolled"]})
    [webhook] = saved(server)
    assert made.status_code == 303
    assert made.location.endswith(f"/webhooks/{webhook.id}")
    assert (webhook.url, webhook.events) == (URL, ["member.enrolled", "tier.changed"])
    assert webhook.created_by == "staff:owner@cafe.example"
    page = words(owner.get(made.location))
    assert "Nothing yet. Send a test" in page
    listed = words(owner.get(HOOKS))
    assert f"{URL} 2 events · nothing has arrived yet on" in listed


def test_all_events_is_the_other_choice(owner: FlaskClient, server: ServerContext) -> None:
    submit(owner, NEW, {"url": URL, "which": "all", "events": ["tier.changed"]})
    assert saved(server)[0].events == ["*"]
    assert "all events" in text_of(owner.get(HOOKS))


def test_a_form_that_is_sent_twice_makes_one_webhook(owner: FlaskClient, server: ServerContext) -> None:
    values = {"csrf_token": csrf_of(owner, NEW), "key": uuid4().hex, "url": URL, "which": "all"}
    first, second = (owner.post(NEW, data=values) for _ in range(2))
    assert first.location == second.location
    assert len(saved(server)) == 1
    other = owner.post(NEW, data={**values, "url": "https://other.example/"})
    assert other.status_code == 422
    assert "sent before with other content" in text_of(other)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"url": ""}, "no complete address"),
        ({"url": "shop.example"}, "no complete address"),
        ({"url": "http://shop.example/"}, "must begin with https://"),
        ({"url": "https://ana:pw@shop.example/"}, "Leave the login out"),
        ({"url": "https://192.168.0.1/"}, "inside a private network"),
        ({"url": "https://169.254.169.254/"}, "inside a private network"),
        ({"which": "some"}, "Choose at least one event."),
        ({"which": "some", "events": "no.event"}, "Choose at least one event."),
    ],
)
def test_a_wrong_form_says_what_is_wrong_and_changes_nothing(
    owner: FlaskClient, server: ServerContext, hook: UUID, values, sentence
) -> None:
    for url in (NEW, f"{HOOKS}/{hook}/edit"):
        refused = submit(owner, url, {"url": URL, "which": "all", **values})
        assert refused.status_code == 422
        assert sentence in text_of(refused)
        assert 'role="alert"' in refused.get_data(as_text=True)
    [kept] = saved(server)
    assert (kept.url, kept.events) == (URL, ["*"])


def test_there_is_an_end_to_how_many(owner: FlaskClient, server: ServerContext, cast: Cast, clock) -> None:
    for number in range(WEBHOOKS_MAX):
        add_webhook(server, cast.cafe.id, clock, f"https://shop.example/{number}")
    page = owner.get(HOOKS)
    assert "New webhook" not in text_of(page)
    refused = submit(owner, NEW, {"url": URL, "which": "all"})
    assert refused.status_code == 409
    assert f"There are {WEBHOOKS_MAX} webhooks" in text_of(refused)


def test_a_webhook_is_changed(owner: FlaskClient, server: ServerContext, hook: UUID) -> None:
    form = owner.get(f"{HOOKS}/{hook}/edit").get_data(as_text=True)
    assert f'value="{URL}"' in form
    values = {"url": "https://new.example/", "which": "some", "events": "tier.changed"}
    done = submit(owner, f"{HOOKS}/{hook}/edit", values, follow_redirects=True)
    assert "The webhook has been saved" in text_of(done)
    [webhook] = saved(server)
    assert (webhook.url, webhook.events) == ("https://new.example/", ["tier.changed"])
    assert "checked" in re.search(
        r'<input[^>]*value="tier.changed"[^>]*>', owner.get(f"{HOOKS}/{hook}/edit").get_data(as_text=True)
    ).group(0)


def test_the_secret_is_shown_on_one_page_and_that_is_written_down(
    owner: FlaskClient, server: ServerContext, hook: UUID
) -> None:
    page = f"{HOOKS}/{hook}"
    assert "whsec_" not in owner.get(page).get_data(as_text=True)
    shown = submit(owner, f"{page}/secret", {}, page=page)
    assert server.mint.webhook_secret(hook) in shown.get_data(as_text=True)
    assert shown.headers["Cache-Control"] == "no-store"
    assert "whsec_" not in owner.get(page).get_data(as_text=True)
    assert audited(server)[-1] == "webhook.secret_shown"


def test_a_new_secret_is_made_by_an_explicit_yes(
    owner: FlaskClient, server: ServerContext, hook: UUID, clock: StoppedClock
) -> None:
    page = f"{HOOKS}/{hook}"
    missing = submit(owner, f"{page}/rotate", {}, page=page)
    assert missing.status_code == 422
    assert "Tick the box" in text_of(missing)
    done = submit(owner, f"{page}/rotate", {"confirmed": "yes"}, page=page, follow_redirects=True)
    assert "still signs beside it for 24 hours" in text_of(done)
    assert "The secret before signs too" in text_of(done)
    [webhook] = saved(server)
    assert (webhook.secret_generation, webhook.rotated_at) == (1, clock.now())
    shown = submit(owner, f"{page}/secret", {}, page=page).get_data(as_text=True)
    assert server.mint.webhook_secret(hook, 1) in shown
    clock.advance(timedelta(hours=24))
    assert "The secret before signs too" not in text_of(owner.get(page))


def test_a_test_is_written_down_and_the_page_looks_for_its_answer(
    owner: FlaskClient, server: ServerContext, hook: UUID
) -> None:
    page = f"{HOOKS}/{hook}"
    done = submit(owner, f"{page}/test", {}, page=page, follow_redirects=True)
    assert "The test is on its way" in text_of(done)
    assert "A test from this page" in text_of(done)
    assert 'hx-trigger="load delay:2s"' in done.get_data(as_text=True)
    [message] = messages(server)
    assert (message.event, message.state) == ("webhook.test", "waiting")
    with transaction(server.engine, ALL_PROGRAMS) as session:
        row = session.get_one(WebhookDelivery, message.id)
        row.state, row.last_status, row.attempts = "delivered", 204, 1
        session.add(row)
    fragment = owner.get(page, headers=HTMX)
    assert "<html" not in fragment.get_data(as_text=True)
    assert "204" in text_of(fragment)
    assert 'hx-trigger="load' not in fragment.get_data(as_text=True)


def test_the_log_shows_what_was_sent_and_what_came_back(
    owner: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, hook: UUID
) -> None:
    values = {"attempts": 3, "last_status": 503, "last_error": "503 <b>busy</b>"}
    happen(server, cast, clock, "purchase.recorded", state="waiting", **values)
    happen(server, cast, clock, "tier.changed", state="failed", **values)
    happen(server, cast, clock, "member.enrolled", state="delivered", attempts=1, last_status=200)
    page = owner.get(f"{HOOKS}/{hook}")
    text = words(page)
    assert text.index("Somebody became a member") < text.index("A member moved") < text.index("A purchase was recorded")
    assert "503 <b>busy</b>" in text
    assert "&lt;b&gt;busy" in page.get_data(as_text=True)
    assert "3 tries" in text
    assert "1 try" in text
    assert '"type": "tier.changed"' in text
    only = words(owner.get(f"{HOOKS}/{hook}", query_string={"state": "failed"}))
    assert "A member moved" in only
    assert "A purchase was recorded" not in only
    for odd in ("x", "", "waiting' OR 1=1"):
        assert owner.get(f"{HOOKS}/{hook}", query_string={"state": odd}).status_code == 200


def test_a_long_log_has_pages(
    owner: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, hook: UUID
) -> None:
    happen(server, cast, clock, *["tier.changed"] * 51, state="delivered", last_status=200)
    first = owner.get(f"{HOOKS}/{hook}")
    assert first.get_data(as_text=True).count("A member moved") == 50
    link = re.search(r'href="([^"]*before=[^"]*)"', first.get_data(as_text=True)).group(1)
    second = owner.get(link, headers=HTMX)
    assert second.get_data(as_text=True).count("A member moved") == 1
    assert "First page" in text_of(second)
    assert owner.get(f"{HOOKS}/{hook}", query_string={"before": str(uuid4())}).status_code == 200


def test_what_failed_is_sent_again_one_or_all(
    owner: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, hook: UUID
) -> None:
    page = f"{HOOKS}/{hook}"
    ids = happen(server, cast, clock, *["tier.changed"] * 3, state="failed", attempts=9)
    done = submit(owner, f"{page}/messages/{ids[0]}/retry", {}, page=page, follow_redirects=True)
    assert "The message is sent again" in text_of(done)
    assert sorted(row.state for row in messages(server)) == ["failed", "failed", "waiting"]
    submit(owner, f"{page}/retry", {}, page=page)
    assert {row.state for row in messages(server)} == {"waiting"}
    unknown = submit(owner, f"{page}/messages/{uuid4()}/retry", {}, page=page)
    assert unknown.status_code == 404


def test_off_and_on(owner: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, hook: UUID) -> None:
    page = f"{HOOKS}/{hook}"
    happen(server, cast, clock, "tier.changed")
    off = submit(owner, f"{page}/disable", {}, page=page, follow_redirects=True)
    assert "Somebody switched it off here." in text_of(off)
    assert [row.state for row in messages(server)] == ["failed"]
    for action in ("test", "retry"):
        refused = submit(owner, f"{page}/{action}", {}, page=page, follow_redirects=True)
        assert "Switch it on first" in text_of(refused)
    assert "off" in words(owner.get(HOOKS))
    submit(owner, f"{page}/enable", {}, page=page)
    assert saved(server)[0].disabled_at is None
    assert audited(server) == ["webhook.created", "webhook.disabled", "webhook.enabled"]


def test_a_webhook_is_deleted_once_it_is_meant(
    owner: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, hook: UUID
) -> None:
    page = f"{HOOKS}/{hook}"
    happen(server, cast, clock, "tier.changed")
    refused = submit(owner, f"{page}/delete", {}, page=page)
    assert refused.status_code == 422
    assert "Tick the box to delete the webhook." in text_of(refused)
    assert audited(server) == ["webhook.created"]
    done = submit(owner, f"{page}/delete", {"confirmed": "yes"}, page=page, follow_redirects=True)
    assert "The webhook has been deleted." in text_of(done)
    assert URL not in text_of(done)
    assert owner.get(page).status_code == 404
    assert [row.state for row in messages(server)] == ["failed"]
    assert audited(server) == ["webhook.created", "webhook.deleted"]
    assert submit(owner, f"{page}/delete", {"confirmed": "yes"}, page=NEW).status_code == 404


@pytest.mark.parametrize(
    ("because", "sentence"),
    [(NEVER_ANSWERED, "nothing but failures came back"), (ANSWERED_GONE, "gone for good (410)")],
)
def test_a_webhook_that_was_switched_off_by_itself_is_told_in_a_banner(
    owner: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock, hook: UUID, because, sentence
) -> None:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        disable_webhook(session, cast.cafe.id, hook, because=because, actor="system", now=clock.now())
    for url in (HOOKS, f"{HOOKS}/{hook}"):
        page = owner.get(url)
        banner = re.search(r'alert-danger[^"]*" role="alert">([^<]*)', page.get_data(as_text=True))
        assert sentence in banner.group(1)


def test_a_failing_webhook_says_since_when(owner: FlaskClient, server: ServerContext, hook: UUID, clock) -> None:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        row = session.get_one(Webhook, hook)
        row.failing_since = clock.now()
        session.add(row)
    assert "failing" in text_of(owner.get(HOOKS))
    assert "nothing has arrived" in text_of(owner.get(f"{HOOKS}/{hook}"))


def test_another_programs_webhook_does_not_exist(
    owner: FlaskClient, server: ServerContext, cast: Cast, clock: StoppedClock
) -> None:
    bakerys = add_webhook(server, cast.bakery.id, clock, "https://bakery.example/")
    assert "bakery.example" not in text_of(owner.get(HOOKS))
    for webhook_id in (bakerys, uuid4()):
        page = f"{HOOKS}/{webhook_id}"
        for url in (page, f"{page}/edit"):
            assert owner.get(url).status_code == 404
        for action in ("edit", "secret", "rotate", "disable", "enable", "test", "retry", "delete"):
            done = submit(owner, f"{page}/{action}", {"confirmed": "yes", "url": URL, "which": "all"}, page=NEW)
            assert done.status_code == 404, action
    assert owner.get(f"{HOOKS}/nonsense").status_code == 404
    [untouched] = saved(server)
    assert (untouched.url, untouched.secret_generation, untouched.disabled_at) == ("https://bakery.example/", 0, None)


@pytest.mark.parametrize("person", ["manager@cafe.example", "cashier@cafe.example"])
def test_only_owners_see_webhooks(sign_in: SignIn, cast: Cast, hook: UUID, person: str) -> None:
    client = sign_in(person)
    for url in (HOOKS, NEW, f"{HOOKS}/{hook}", f"{HOOKS}/{hook}/edit"):
        assert client.get(url).status_code == 403
    deleted = submit(client, f"{HOOKS}/{hook}/delete", {"confirmed": "yes"}, page="/panel/account")
    assert deleted.status_code == 403


@pytest.mark.parametrize("language", ["ru", "mk"])
def test_pages_render_in_every_language(owner: FlaskClient, hook: UUID, language: str) -> None:
    for url in (HOOKS, NEW, f"{HOOKS}/{hook}"):
        assert owner.get(url, query_string={"lang": language}).status_code == 200
