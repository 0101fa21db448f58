"""The stand-in tells the server of saves and deletions, and our verifier believes it and nobody else."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from passes.google.callbacks import CallbackEvent, CallbackRefused, CallbackVerifier, parse_root_keys
from tests.services.sandbox.running import Running, running_sandbox
from tests.services.sandbox.test_google_stand_in import CLASS_ID, OBJECT_ID, a_class, an_object, save_link
from wallet_server.sandbox.setup import ISSUER_ID, service_account_path


def verifier(sandbox: Running) -> CallbackVerifier:
    keys = httpx.get(f"http://127.0.0.1:{sandbox.ports.google}/gp/m/issuer/keys").content
    return CallbackVerifier(issuer_id=ISSUER_ID, root_keys=parse_root_keys(keys))


def told(sandbox: Running, count: int) -> list[CallbackEvent]:
    """The first ``count`` notices, once they are there, as a server understands them."""
    end = time.monotonic() + 10
    while len(sandbox.shop.notices) < count:
        assert time.monotonic() < end, sandbox.shop.calls
        time.sleep(0.01)
    check = verifier(sandbox)
    return [check.verify(notice, now=datetime.now(UTC)) for notice in sandbox.shop.notices]


def saved(sandbox: Running, **changes: object) -> str:
    """A phone that has saved the card."""
    account = json.loads(service_account_path(sandbox.folder).read_text())
    phone_id = sandbox.phone()
    payload = {"loyaltyClasses": [a_class(**changes)], "loyaltyObjects": [an_object()]}
    for _ in range(2):  # a second time is no other save
        sandbox.client.post("phones", phone_id, "save", url=save_link(account, payload))
    return phone_id


def test_a_save_and_a_deletion_are_told_once_each(sandbox):
    phone_id = saved(sandbox, issuerName="Кафе Охрид")
    [save] = told(sandbox, 1)
    assert (save.class_id, save.object_id, save.is_saved, save.count) == (CLASS_ID, OBJECT_ID, True, 1)
    for _ in range(2):
        sandbox.client.delete("phones", phone_id, "google", OBJECT_ID)
    first, deleted = told(sandbox, 2)
    assert (first, deleted.is_saved, deleted.object_id) == (save, False, OBJECT_ID)
    assert deleted.nonce != save.nonce
    assert deleted.expires_at_ms > save.expires_at_ms
    assert len(sandbox.shop.notices) == 2


def test_a_server_that_does_not_answer_is_told_again(sandbox):
    sandbox.shop.statuses.extend([503, 500])
    saved(sandbox)
    assert [event.is_saved for event in told(sandbox, 1)] == [True]
    assert sandbox.shop.calls.count("POST /google/callbacks") == 3


def test_the_address_is_that_of_the_class_and_no_other_host_is_called(sandbox):
    saved(sandbox, callbackOptions={"url": "https://stranger.example/google/callbacks"})
    phone_id = sandbox.phone("ana")
    sandbox.until(phone_id, lambda phone: phone["passes"])
    assert sandbox.shop.notices == []
    assert verifier(sandbox)


def test_a_sandbox_that_was_started_again_has_the_same_root_key(prepared, tmp_path):
    with running_sandbox(prepared, tmp_path / "sandbox") as first:
        before = verifier(first)
        saved(first)
        [event] = told(first, 1)
        notice = first.shop.notices[0]
    with running_sandbox(prepared, tmp_path / "sandbox") as second:
        assert before.verify(notice, now=datetime.now(UTC)) == event
        body = second.sandbox.callbacks.notice(CLASS_ID, OBJECT_ID, "del")
        assert not before.verify(json.dumps(body).encode(), now=datetime.now(UTC)).is_saved


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda body: body.update(signature=body["intermediateSigningKey"]["signatures"][0]), "message_signature"),
        (lambda body: body["intermediateSigningKey"].update(signatures=[body["signature"]]), "intermediate_signature"),
        (lambda body: body.update(signedMessage=body["signedMessage"].replace("save", "del ")), "message_signature"),
    ],
)
def test_what_was_changed_on_the_way_is_not_believed(sandbox, change, code):
    body = sandbox.sandbox.callbacks.notice(CLASS_ID, OBJECT_ID, "save")
    assert verifier(sandbox).verify(json.dumps(body).encode(), now=datetime.now(UTC)).is_saved
    change(body)
    with pytest.raises(CallbackRefused) as refused:
        verifier(sandbox).verify(json.dumps(body).encode(), now=datetime.now(UTC))
    assert refused.value.code == code


def test_an_old_notice_is_not_believed(sandbox):
    notice = json.dumps(sandbox.sandbox.callbacks.notice(CLASS_ID, OBJECT_ID, "save")).encode()
    with pytest.raises(CallbackRefused, match="expired"):
        verifier(sandbox).verify(notice, now=datetime.now(UTC) + timedelta(hours=2))
