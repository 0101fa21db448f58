"""Signatures: what the specification's own text says, checked by a reader of it who knows nothing of ours."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from tests.services.webhooks.receiver import Heard, is_signed
from wallet_server.db import new_id
from wallet_server.tokens import TokenMint
from wallet_server.webhooks.signing import good_generations, headers, signature

NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)
MINT = TokenMint("0123456789abcdefghijklmnopqrstuvwxyz-test")
SECRET = MINT.webhook_secret(new_id())
BODY = '{"city":"Охрид"}'.encode()


def heard(fields: dict[str, str], body: bytes = BODY) -> Heard:
    return Heard("/", fields, body)


def signed(fields: dict[str, str], body: bytes = BODY, secret: str = SECRET, seconds: float = 0) -> bool:
    return is_signed(heard(fields, body), secret, now=NOW.timestamp() + seconds)


def test_the_example_of_the_specification() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_is_verified_with_its_secret_and_no_other() -> None:
    fields = headers([SECRET], "id-1", NOW, BODY)
    assert fields["webhook-timestamp"] == "1795447800"
    assert signed(fields)
    assert not signed(fields, secret=MINT.webhook_secret(new_id()))


def test_whatever_is_altered_is_found() -> None:
    fields = headers([SECRET], "id-1", NOW, BODY)
    for index in range(len(BODY)):
        assert not signed(fields, BODY[:index] + bytes([BODY[index] ^ 1]) + BODY[index + 1 :])
    assert not signed({**fields, "webhook-id": "id-2"})
    assert not signed({**fields, "webhook-timestamp": "1795447801"})
    assert not signed(fields, seconds=301)
    assert not signed(fields, seconds=-301)


def test_both_secrets_verify_a_message_of_the_day_after_a_rotation() -> None:
    new = MINT.webhook_secret(new_id())
    fields = headers([new, SECRET], "id-1", NOW, BODY)
    assert fields["webhook-signature"].count("v1,") == 2
    assert signed(fields)
    assert signed(fields, secret=new)


@pytest.mark.parametrize(
    ("generation", "rotated", "signing"),
    [
        (0, None, [0]),
        (1, timedelta(0), [1, 0]),
        (2, timedelta(hours=23, minutes=59, seconds=59), [2, 1]),
        (2, timedelta(hours=24), [2]),
        (3, timedelta(days=30), [3]),
    ],
)
def test_the_secret_before_signs_for_a_day(generation, rotated, signing) -> None:
    rotated_at = None if rotated is None else NOW - rotated
    assert good_generations(generation, rotated_at, NOW) == signing


def test_secrets_differ_by_webhook_generation_and_server() -> None:
    webhook_id = new_id()
    secrets = {
        MINT.webhook_secret(webhook_id),
        MINT.webhook_secret(webhook_id, 1),
        MINT.webhook_secret(new_id()),
        TokenMint("another-key-0123456789-abcdefghijklmnop").webhook_secret(webhook_id),
    }
    assert len(secrets) == 4
    assert MINT.webhook_secret(webhook_id) in secrets
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}
