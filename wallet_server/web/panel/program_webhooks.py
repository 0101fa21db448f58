"""Webhooks: the list with how each fares, the form, and one webhook with its secret and everything it was told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from flask import Response, flash, request, url_for
from sqlmodel import Session

from wallet_server.db import new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import Translator, gettext_noop
from wallet_server.idempotency.services import answer_once, request_hash
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed, form_key
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other
from wallet_server.webhooks.address import URL_LENGTH_MAX, address_policy
from wallet_server.webhooks.deliveries import ANSWERED_GONE, NEVER_ANSWERED
from wallet_server.webhooks.events import ALL_EVENTS, EVENTS, TEST_EVENT
from wallet_server.webhooks.models import Webhook, WebhookDelivery
from wallet_server.webhooks.queries import Health, find_webhook, health, list_webhooks, log
from wallet_server.webhooks.services import (
    DISABLED_BY_STAFF,
    WEBHOOKS_MAX,
    change_webhook,
    create_webhook,
    delete_webhook,
    disable_webhook,
    enable_webhook,
    note_secret_shown,
    retry_delivery,
    retry_failed,
    rotate_secret,
    send_test,
)
from wallet_server.webhooks.signing import good_generations

MESSAGES_SHOWN: Final = 50
TEST_NAME: Final = gettext_noop("A test from this page")
STATES: Final = ("waiting", "delivered", "failed")
REFUSALS: Final = {
    "url_form": gettext_noop("This is no complete address. It looks like https://shop.example.com/hook."),
    "url_https": gettext_noop("The address must begin with https://."),
    "url_login": gettext_noop("Leave the login out of the address: the signature proves who writes."),
    "url_private": gettext_noop("This address lies inside a private network or on this machine, so it is not allowed."),
    "events_none": gettext_noop("Choose at least one event."),
    "events_unknown": gettext_noop("Choose at least one event."),
}
BECAUSE: Final = {
    NEVER_ANSWERED: gettext_noop("For three days nothing but failures came back."),
    ANSWERED_GONE: gettext_noop("The receiver said that the address is gone for good (410)."),
    DISABLED_BY_STAFF: gettext_noop("Somebody switched it off here."),
}
"""Why a webhook is off, by what the table keeps."""


@dataclass(frozen=True)
class WebhookRow:
    """One line of the list."""

    webhook: Webhook
    health: Health


@dataclass(frozen=True)
class WebhookForm:
    """The form as typed; ``key`` is its own, so that a reload makes no second webhook."""

    key: str
    url: str = ""
    everything: bool = True
    events: tuple[str, ...] = ()

    def chosen(self) -> tuple[str, ...]:
        """As the webhook keeps them."""
        return (ALL_EVENTS,) if self.everything else self.events


@blueprint.get("/programs/<slug>/program/webhooks")
@allowed("owner")
def program_webhooks(desk: Desk) -> Response:
    with reading(server().engine, desk.program.id) as session:
        rows = [WebhookRow(one, health(session, one.id)) for one in list_webhooks(session, desk.program.id)]
    return panel_page(
        desk,
        "panel/program/webhooks.html",
        rows=rows,
        is_full=len(rows) >= WEBHOOKS_MAX,
        because=BECAUSE,
        all_events=ALL_EVENTS,
        broken=[row for row in rows if row.webhook.disabled_because in (NEVER_ANSWERED, ANSWERED_GONE)],
    )


@blueprint.get("/programs/<slug>/program/webhooks/new")
@allowed("owner")
def program_webhooks_new(desk: Desk) -> Response:
    return _form_page(desk, None, WebhookForm(new_id().hex))


@blueprint.post("/programs/<slug>/program/webhooks/new")
@allowed("owner")
def program_webhooks_create(desk: Desk) -> Response:
    context = server()
    now = context.clock.now()
    form = _typed()

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        made = create_webhook(
            session,
            desk.program.id,
            url=form.url,
            events=form.chosen(),
            policy=address_policy(context.settings),
            actor=desk.actor,
            now=now,
        )
        return 201, {"v": 1, "webhook_id": made.id}

    try:
        asked = request_hash("webhook", form.url, *form.chosen())
        answer = answer_once(context.engine, desk.program.id, desk.client, form.key, asked, work, now)
    except DomainError as error:
        return _form_page(desk, None, form, refused=error)
    body = json.loads(answer.body_text)
    if answer.status != 201:
        # The stored refusal would be repeated under the old key, so the corrected form gets a new one.
        refused = DomainError(body["code"], body["detail"], status=answer.status)
        again = WebhookForm(new_id().hex, form.url, form.everything, form.events)
        return _form_page(desk, None, again, refused=refused)
    flash(reader().gettext("The webhook has been made. Give its secret to the receiver, then send a test."), "success")
    return see_other(_address(desk, UUID(body["webhook_id"])))


@blueprint.get("/programs/<slug>/program/webhooks/<uuid:webhook_id>")
@allowed("owner")
def program_webhooks_one(desk: Desk, webhook_id: UUID) -> Response:
    return _webhook_page(desk, webhook_id)


@blueprint.get("/programs/<slug>/program/webhooks/<uuid:webhook_id>/edit")
@allowed("owner")
def program_webhooks_edit(desk: Desk, webhook_id: UUID) -> Response:
    found = _found(desk, webhook_id)
    everything = ALL_EVENTS in found.events
    return _form_page(desk, found, WebhookForm("", found.url, everything, () if everything else tuple(found.events)))


@blueprint.post("/programs/<slug>/program/webhooks/<uuid:webhook_id>/edit")
@allowed("owner")
def program_webhooks_change(desk: Desk, webhook_id: UUID) -> Response:
    context = server()
    form = _typed()
    found = _found(desk, webhook_id)
    try:
        with transaction(context.engine, desk.program.id) as session:
            change_webhook(
                session,
                desk.program.id,
                webhook_id,
                url=form.url,
                events=form.chosen(),
                policy=address_policy(context.settings),
                actor=desk.actor,
                now=context.clock.now(),
            )
    except DomainError as error:
        return _form_page(desk, found, form, refused=error)
    flash(reader().gettext("The webhook has been saved."), "success")
    return see_other(_address(desk, webhook_id))


@blueprint.post("/programs/<slug>/program/webhooks/<uuid:webhook_id>/secret")
@allowed("owner")
def program_webhooks_secret(desk: Desk, webhook_id: UUID) -> Response:
    """Show the secret on this one page; that somebody looked at it is written down."""
    context = server()
    with transaction(context.engine, desk.program.id) as session:
        found = note_secret_shown(session, desk.program.id, webhook_id, actor=desk.actor, now=context.clock.now())
    return _webhook_page(desk, webhook_id, secret=context.mint.webhook_secret(webhook_id, found.secret_generation))


@blueprint.post("/programs/<slug>/program/webhooks/<uuid:webhook_id>/rotate")
@allowed("owner")
def program_webhooks_rotate(desk: Desk, webhook_id: UUID) -> Response:
    if request.form.get("confirmed") != "yes":
        error = reader().gettext("Tick the box to make a new secret.")
        return _webhook_page(desk, webhook_id, error=error, http_status=422)
    _act(desk, webhook_id, rotate_secret)
    flash(reader().gettext("There is a new secret. The one before still signs beside it for 24 hours."), "success")
    return see_other(_address(desk, webhook_id))


@blueprint.post("/programs/<slug>/program/webhooks/<uuid:webhook_id>/disable")
@allowed("owner")
def program_webhooks_disable(desk: Desk, webhook_id: UUID) -> Response:
    _act(desk, webhook_id, disable_webhook, because=DISABLED_BY_STAFF)
    flash(reader().gettext("The webhook is off. What waited for it has failed and can be sent again."), "success")
    return see_other(_address(desk, webhook_id))


@blueprint.post("/programs/<slug>/program/webhooks/<uuid:webhook_id>/enable")
@allowed("owner")
def program_webhooks_enable(desk: Desk, webhook_id: UUID) -> Response:
    _act(desk, webhook_id, enable_webhook)
    flash(reader().gettext("The webhook is on. It is told of what happens from now on."), "success")
    return see_other(_address(desk, webhook_id))


@blueprint.post("/programs/<slug>/program/webhooks/<uuid:webhook_id>/delete")
@allowed("owner")
def program_webhooks_delete(desk: Desk, webhook_id: UUID) -> Response:
    if request.form.get("confirmed") != "yes":
        error = reader().gettext("Tick the box to delete the webhook.")
        return _webhook_page(desk, webhook_id, error=error, http_status=422)
    _act(desk, webhook_id, delete_webhook)
    flash(reader().gettext("The webhook has been deleted."), "success")
    return see_other(url_for("panel.program_webhooks", slug=desk.program.slug))


@blueprint.post("/programs/<slug>/program/webhooks/<uuid:webhook_id>/test")
@allowed("owner")
def program_webhooks_test(desk: Desk, webhook_id: UUID) -> Response:
    def send(session: Session, program_id: UUID, webhook_id: UUID, *, actor: str, now: datetime) -> None:
        del actor  # a test changes nothing, so the audit log does not name it
        send_test(session, program_id, webhook_id, now=now)

    return _sent(desk, webhook_id, send, gettext_noop("The test is on its way; its answer appears below."))


@blueprint.post("/programs/<slug>/program/webhooks/<uuid:webhook_id>/retry")
@allowed("owner")
def program_webhooks_retry_all(desk: Desk, webhook_id: UUID) -> Response:
    return _sent(desk, webhook_id, retry_failed, gettext_noop("What failed is sent again, the oldest first."))


@blueprint.post("/programs/<slug>/program/webhooks/<uuid:webhook_id>/messages/<uuid:delivery_id>/retry")
@allowed("owner")
def program_webhooks_retry(desk: Desk, webhook_id: UUID, delivery_id: UUID) -> Response:
    return _sent(desk, webhook_id, retry_delivery, gettext_noop("The message is sent again."), delivery_id=delivery_id)


def _sent(desk: Desk, webhook_id: UUID, act: Callable[..., object], sentence: str, **values: Any) -> Response:
    t = reader()
    try:
        _act(desk, webhook_id, act, **values)
    except DomainError as error:
        if error.code != "webhook_disabled":
            raise
        flash(t.gettext("The webhook is off. Switch it on first."), "danger")
    else:
        flash(t.gettext(sentence), "success")
    return see_other(_address(desk, webhook_id))


def _act(desk: Desk, webhook_id: UUID, act: Callable[..., object], **values: Any) -> None:
    context = server()
    with transaction(context.engine, desk.program.id) as session:
        act(session, desk.program.id, webhook_id, actor=desk.actor, now=context.clock.now(), **values)


def _found(desk: Desk, webhook_id: UUID) -> Webhook:
    with reading(server().engine, desk.program.id) as session:
        return find_webhook(session, desk.program.id, webhook_id)


def _address(desk: Desk, webhook_id: UUID) -> str:
    return url_for("panel.program_webhooks_one", slug=desk.program.slug, webhook_id=webhook_id)


def _webhook_page(
    desk: Desk, webhook_id: UUID, *, secret: str = "", error: str = "", http_status: int = 200
) -> Response:
    context = server()
    now = context.clock.now()
    only = request.args.get("state", "")
    with reading(context.engine, desk.program.id) as session:
        found = find_webhook(session, desk.program.id, webhook_id)
        before = request.args.get("before", type=UUID)
        messages = log(
            session,
            webhook_id,
            only=only if only in STATES else None,
            before=before,
            limit=MESSAGES_SHOWN + 1,
        )
        fares = health(session, webhook_id)
    return panel_page(
        desk,
        "panel/program/webhooks_one.html",
        block="messages",
        http_status=http_status,
        webhook=found,
        health=fares,
        messages=messages[:MESSAGES_SHOWN],
        next_before=messages[MESSAGES_SHOWN - 1].id if len(messages) > MESSAGES_SHOWN else None,
        is_first_page=before is None,
        only=only if only in STATES else "",
        pretty=_pretty,
        is_moving=before is None and _is_moving(messages, found),
        event_names={**EVENTS, TEST_EVENT: TEST_NAME},
        all_events=ALL_EVENTS,
        because=BECAUSE,
        old_secret_signs=len(good_generations(found.secret_generation, found.rotated_at, now)) > 1,
        secret=secret,
        error=error,
    )


def _is_moving(messages: Sequence[WebhookDelivery], webhook: Webhook) -> bool:
    """Whether the log is worth looking at again in a moment: something is being tried for the first time."""
    return webhook.disabled_at is None and any(
        message.state == "waiting" and message.last_status is None and not message.last_error for message in messages
    )


def _pretty(message: WebhookDelivery) -> str:
    return json.dumps(message.payload, ensure_ascii=False, indent=2, sort_keys=False)


def _typed() -> WebhookForm:
    return WebhookForm(
        key=form_key(),
        url=request.form.get("url", "").strip()[: URL_LENGTH_MAX + 1],
        everything=request.form.get("which") != "some",
        events=tuple(name for name in EVENTS if name in request.form.getlist("events")),
    )


def _form_page(desk: Desk, found: Webhook | None, form: WebhookForm, *, refused: DomainError | None = None) -> Response:
    return panel_page(
        desk,
        "panel/program/webhooks_form.html",
        http_status=refused.status if refused else 200,
        webhook=found,
        form=form,
        events=EVENTS,
        url_length_max=URL_LENGTH_MAX,
        error=_sentence_of(refused, reader()) if refused else "",
        error_field=str(refused.extra.get("field", "")) if refused else "",
    )


def _sentence_of(error: DomainError, t: Translator) -> str:
    if error.code == "too_many_webhooks":
        return t.gettext("There are %(most)s webhooks, which is the most. Change one of them.", most=WEBHOOKS_MAX)
    if error.code == "idempotency_mismatch":
        return t.gettext("This form has been sent before with other content. Nothing was changed.")
    sentence = REFUSALS.get(str(error.extra.get("reason", "")))
    return t.gettext(sentence) if sentence else error.detail
