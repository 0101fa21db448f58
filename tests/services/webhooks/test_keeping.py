"""Webhooks are made, changed, rotated, switched off and on, and each of it stands in the audit log."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.people import publish
from tests.services.webhooks.conftest import POLICY, URL, AddWebhook, deliveries, due_rows
from wallet_server.db import new_id
from wallet_server.errors import DomainError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.staff.models import AuditRecord
from wallet_server.webhooks import deliveries as worker
from wallet_server.webhooks.events import EVENTS, Event
from wallet_server.webhooks.models import Webhook
from wallet_server.webhooks.queries import find_webhook, list_webhooks
from wallet_server.webhooks.services import (
    WEBHOOKS_MAX,
    change_webhook,
    create_webhook,
    delete_webhook,
    disable_webhook,
    emit,
    enable_webhook,
    retry_delivery,
    retry_failed,
    rotate_secret,
    send_test,
)

OWNER = "staff:owner@cafe.example"
ANA = new_id()


def audited(session: Session) -> list[str]:
    session.flush()
    rows = session.exec(select(AuditRecord).where(col(AuditRecord.action).like("webhook%")).order_by(AuditRecord.id))
    return [row.action for row in rows]


def test_a_webhook_is_kept_with_its_events_in_the_order_of_the_catalogue(session, program, add_webhook) -> None:
    webhook = add_webhook("tier.changed", "member.enrolled", "tier.changed", url="https://Shop.example")
    assert (webhook.url, webhook.events) == ("https://shop.example/", ["member.enrolled", "tier.changed"])
    assert (webhook.disabled_at, webhook.secret_generation, webhook.created_by) == (None, 0, OWNER)
    assert add_webhook("*", *EVENTS).events == ["*"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"url": "http://shop.example/"}, "url_https"),
        ({"url": "https://127.0.0.1/"}, "url_private"),
        ({"events": []}, "events_none"),
        ({"events": ["purchase.recorded", "purchase.imagined"]}, "events_unknown"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(session, program, add_webhook, values, reason) -> None:
    webhook = add_webhook()
    fields = {"url": URL, "events": ["*"], "policy": POLICY, "actor": OWNER, "now": NOW, **values}
    for attempt in (
        lambda: create_webhook(session, program.id, **fields),
        lambda: change_webhook(session, program.id, webhook.id, **fields),
    ):
        with pytest.raises(DomainError) as refused:
            attempt()
        assert (refused.value.code, refused.value.extra["reason"]) == ("validation", reason)
    [kept] = session.exec(select(Webhook))
    assert (kept.url, kept.events) == (URL, ["*"])
    assert audited(session) == ["webhook.created"]


def test_there_is_an_end_to_how_many(session, program, add_webhook) -> None:
    for _ in range(WEBHOOKS_MAX):
        add_webhook()
    with pytest.raises(DomainError) as refused:
        add_webhook()
    assert (refused.value.code, refused.value.status) == ("too_many_webhooks", 409)
    add_webhook(program_id=publish(session, NOW, "bakery").id)


def test_each_change_is_written_down_once_and_without_secrets(session, program, add_webhook) -> None:
    webhook = add_webhook("tier.changed", url="https://shop.example/hook?token=s3cret")
    same = {"actor": OWNER, "now": NOW}
    fields = {"events": ["tier.changed"], "policy": POLICY, **same}
    change_webhook(session, program.id, webhook.id, url="https://shop.example/hook?token=s3cret", **fields)
    change_webhook(session, program.id, webhook.id, url="https://shop.example/new?token=s3cret", **fields)
    rotate_secret(session, program.id, webhook.id, **same)
    for _ in range(2):
        disable_webhook(session, program.id, webhook.id, because="away", **same)
    for _ in range(2):
        enable_webhook(session, program.id, webhook.id, **same)
    actions = ["created", "changed", "rotated", "disabled", "enabled"]
    assert audited(session) == [f"webhook.{action}" for action in actions]
    for row in session.exec(select(AuditRecord).where(col(AuditRecord.action).like("webhook%"))):
        assert "s3cret" not in f"{row.subject} {row.detail}"
        assert "whsec" not in f"{row.subject} {row.detail}"
    assert webhook.secret_generation == 1
    assert (webhook.disabled_at, webhook.disabled_because) == (None, "")


@pytest.mark.parametrize(
    "act",
    [
        lambda session, program_id, webhook_id: rotate_secret(session, program_id, webhook_id, actor=OWNER, now=NOW),
        lambda session, program_id, webhook_id: enable_webhook(session, program_id, webhook_id, actor=OWNER, now=NOW),
        lambda session, program_id, webhook_id: delete_webhook(session, program_id, webhook_id, actor=OWNER, now=NOW),
        lambda session, program_id, webhook_id: retry_failed(session, program_id, webhook_id, actor=OWNER, now=NOW),
        lambda session, program_id, webhook_id: send_test(session, program_id, webhook_id, now=NOW),
        lambda session, program_id, webhook_id: disable_webhook(
            session, program_id, webhook_id, because="", actor=OWNER, now=NOW
        ),
        lambda session, program_id, webhook_id: change_webhook(
            session, program_id, webhook_id, url=URL, events=["*"], policy=POLICY, actor=OWNER, now=NOW
        ),
    ],
)
def test_another_programs_webhook_does_not_exist(session, program, add_webhook, act) -> None:
    bakerys = add_webhook(program_id=publish(session, NOW, "bakery").id)
    for webhook_id in (bakerys.id, new_id()):
        with pytest.raises(DomainError) as refused:
            act(session, program.id, webhook_id)
        assert (refused.value.code, refused.value.status) == ("unknown_webhook", 404)


def failed_message(session: Session, program: ProgramDefinition, add_webhook: AddWebhook):
    webhook = add_webhook()
    emit(session, program.id, [Event("tier.changed", ANA, {})], NOW)
    disable_webhook(session, program.id, webhook.id, because="away", actor=OWNER, now=NOW)
    [row] = deliveries(session)
    assert (row.state, row.last_error, row.finished_at) == ("failed", "away", NOW)
    return webhook, row


def test_what_waits_has_failed_when_the_webhook_is_switched_off_and_can_be_sent_again(
    session, program, add_webhook
) -> None:
    webhook, row = failed_message(session, program, add_webhook)
    same = {"actor": OWNER, "now": NOW}
    for act in (
        lambda: retry_delivery(session, program.id, webhook.id, row.id, **same),
        lambda: retry_failed(session, program.id, webhook.id, **same),
        lambda: send_test(session, program.id, webhook.id, now=NOW),
    ):
        with pytest.raises(DomainError) as refused:
            act()
        assert refused.value.code == "webhook_disabled"
    enable_webhook(session, program.id, webhook.id, **same)
    [row] = deliveries(session)
    assert row.state == "failed"
    retry_delivery(session, program.id, webhook.id, row.id, **same)
    retry_delivery(session, program.id, webhook.id, row.id, **same)
    [row] = deliveries(session)
    assert (row.state, row.finished_at, row.not_before) == ("waiting", None, NOW)
    assert len(due_rows(session)) == 2
    assert audited(session).count("webhook.retried") == 1


def test_all_that_failed_can_be_sent_again(session, program, add_webhook) -> None:
    webhook, _ = failed_message(session, program, add_webhook)
    enable_webhook(session, program.id, webhook.id, actor=OWNER, now=NOW)
    assert retry_failed(session, program.id, webhook.id, actor=OWNER, now=NOW) == 1
    assert retry_failed(session, program.id, webhook.id, actor=OWNER, now=NOW) == 0


def test_another_webhooks_message_is_unknown(session, program, add_webhook) -> None:
    _, row = failed_message(session, program, add_webhook)
    other = add_webhook()
    for delivery_id in (row.id, new_id()):
        with pytest.raises(DomainError) as refused:
            retry_delivery(session, program.id, other.id, delivery_id, actor=OWNER, now=NOW)
        assert (refused.value.code, refused.value.status) == ("unknown_delivery", 404)


def test_what_is_over_is_deleted_after_a_while_and_what_waits_never(session, program, add_webhook) -> None:
    failed_message(session, program, add_webhook)
    add_webhook()
    emit(session, program.id, [Event("tier.changed", ANA, {})], NOW - timedelta(days=99))
    assert worker.prune(session, NOW) == 0
    assert worker.prune(session, NOW + timedelta(seconds=1)) == 1
    assert [row.state for row in deliveries(session)] == ["waiting"]


def test_a_deleted_webhook_is_gone_for_everybody_and_its_row_with_its_last_message(
    session, program, add_webhook
) -> None:
    for _ in range(WEBHOOKS_MAX - 1):
        add_webhook()
    webhook_id = add_webhook().id
    emit(session, program.id, [Event("tier.changed", ANA, {})], NOW)
    delete_webhook(session, program.id, webhook_id, actor=OWNER, now=NOW)
    assert [row.state for row in deliveries(session, webhook_id=webhook_id)] == ["failed"]
    for act in (enable_webhook, rotate_secret, retry_failed, delete_webhook):
        with pytest.raises(DomainError) as refused:
            act(session, program.id, webhook_id, actor=OWNER, now=NOW)
        assert refused.value.code == "unknown_webhook"
    with pytest.raises(DomainError):
        find_webhook(session, program.id, webhook_id)
    assert webhook_id not in {one.id for one in list_webhooks(session, program.id)}
    add_webhook()  # there is room for another
    emit(session, program.id, [Event("tier.changed", ANA, {})], NOW)
    assert len(deliveries(session, webhook_id=webhook_id)) == 1
    assert audited(session)[-2:] == ["webhook.deleted", "webhook.created"]
    worker.prune(session, NOW)
    assert session.get(Webhook, webhook_id) is not None, "its log is kept as long as all logs"
    worker.prune(session, NOW + timedelta(seconds=1))
    session.expire_all()
    assert session.get(Webhook, webhook_id) is None
    assert len(list_webhooks(session, program.id)) == WEBHOOKS_MAX


def test_messages_whose_work_was_given_up_are_rung_again_once(session, program, add_webhook) -> None:
    webhook = add_webhook()
    emit(session, program.id, [Event("tier.changed", ANA, {}), Event("tier.changed", ANA, {})], NOW)
    assert worker.ring_forgotten(session, NOW + timedelta(minutes=15)) == 0
    later = NOW + timedelta(minutes=16)
    assert worker.ring_forgotten(session, later) == 1, "the second waits for the first"
    assert worker.ring_forgotten(session, later) == 0
    assert due_rows(session)[-1].payload == {"v": 1, "webhook_id": str(webhook.id), "subjects": [str(ANA)]}
