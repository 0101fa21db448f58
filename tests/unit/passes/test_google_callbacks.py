from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from passes.google.callbacks import (
    PROTOCOL,
    SENDER,
    CallbackRefused,
    CallbackVerifier,
    parse_root_keys,
    signed_bytes,
)
from tests.unit.passes.cards import NOW

ISSUER = "3388000000012345678"
NOW_MS = int(NOW.timestamp() * 1000)
HOUR_MS = 3_600_000


def public(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def sign(key: ec.EllipticCurvePrivateKey, *parts: str) -> str:
    """Sign as Google does; the lengths are written here once more so that a shared mistake shows."""
    joined = b"".join(len(p.encode()).to_bytes(4, "little") + p.encode() for p in parts)
    return base64.b64encode(key.sign(joined, ec.ECDSA(hashes.SHA256()))).decode()


class Google:
    """Google's side: a root key, an intermediate key, and notices signed with it."""

    def __init__(self) -> None:
        self.root = ec.generate_private_key(ec.SECP256R1())
        self.intermediate = ec.generate_private_key(ec.SECP256R1())

    def keys(self, **changes) -> bytes:
        entry = {
            "keyValue": public(self.root),
            "protocolVersion": PROTOCOL,
            "keyExpiration": str(NOW_MS + HOUR_MS),
            **changes,
        }
        other = {"keyValue": "x", "protocolVersion": "ECv1"}
        return json.dumps({"keys": [other, entry]}).encode()

    def notice(
        self,
        message: dict | None = None,
        *,
        envelope: dict | None = None,
        intermediate: dict | None = None,
        issuer: str = ISSUER,
        sender: str = SENDER,
    ) -> bytes:
        signed_key = json.dumps(
            {
                "keyValue": public(self.intermediate),
                "keyExpiration": str(NOW_MS + HOUR_MS),
                **(intermediate or {}),
            }
        )
        content = {
            "classId": f"{ISSUER}.cafe",
            "objectId": f"{ISSUER}.card-1",
            "eventType": "save",
            "expTimeMillis": NOW_MS + HOUR_MS,
            "count": 1,
            "nonce": "n-1",
            **(message or {}),
        }
        signed_message = json.dumps(
            {key: value for key, value in content.items() if value is not None}, ensure_ascii=False
        )
        return json.dumps(
            {
                "signature": sign(self.intermediate, sender, issuer, PROTOCOL, signed_message),
                "intermediateSigningKey": {
                    "signedKey": signed_key,
                    "signatures": [sign(self.root, sender, PROTOCOL, signed_key)],
                },
                "protocolVersion": PROTOCOL,
                "signedMessage": signed_message,
                **(envelope or {}),
            }
        ).encode()

    def verifier(self, **changes) -> CallbackVerifier:
        return CallbackVerifier(**{"issuer_id": ISSUER, "root_keys": parse_root_keys(self.keys()), **changes})


@pytest.fixture(scope="module")
def google() -> Google:
    return Google()


def refusal(google: Google, body: bytes, verifier: CallbackVerifier | None = None) -> str:
    with pytest.raises(CallbackRefused) as caught:
        (verifier or google.verifier()).verify(body, now=NOW)
    return caught.value.code


def test_a_notice_of_google_s_is_believed(google):
    event = google.verifier().verify(google.notice(), now=NOW)
    assert (event.class_id, event.object_id) == (f"{ISSUER}.cafe", f"{ISSUER}.card-1")
    assert (event.is_saved, event.nonce, event.count) == (True, "n-1", 1)
    assert event.expires_at_ms == NOW_MS + HOUR_MS
    deleted = google.verifier().verify(google.notice({"eventType": "del", "count": None}), now=NOW)
    assert (deleted.is_saved, deleted.count) == (False, 1)


def test_letters_outside_ascii_are_counted_in_bytes(google):
    event = google.verifier().verify(google.notice({"objectId": f"{ISSUER}.карта", "nonce": "ѓ"}), now=NOW)
    assert event.object_id == f"{ISSUER}.карта"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
def test_what_is_signed_can_be_split_in_one_way_only(parts):
    data, found = signed_bytes(*parts), []
    while data:
        size = int.from_bytes(data[:4], "little")
        found.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    assert found == parts


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("protocol", {"envelope": {"protocolVersion": "ECv2"}}),
        ("malformed", {"envelope": {"intermediateSigningKey": None}}),
        ("malformed", {"envelope": {"signature": 5}}),
        ("malformed", {"envelope": {"signedMessage": None}}),
        ("malformed", {"envelope": {"signedMessage": "\ud800"}}),
        ("malformed", {"envelope": {"intermediateSigningKey": {"signedKey": "{}", "signatures": "x"}}}),
        ("message_signature", {"envelope": {"signature": "AAAA"}}),
        ("message_signature", {"envelope": {"signature": "not base64!"}}),
        ("message_signature", {"envelope": {"signedMessage": "{}"}}),
        ("message_signature", {"issuer": "1"}),
        ("intermediate_signature", {"sender": "Somebody"}),
        ("intermediate_signature", {"envelope": {"intermediateSigningKey": {"signedKey": "{}", "signatures": []}}}),
        ("intermediate_expired", {"intermediate": {"keyExpiration": str(NOW_MS)}}),
        ("malformed", {"intermediate": {"keyExpiration": "soon"}}),
        ("malformed", {"intermediate": {"keyValue": "AAAA"}}),
        ("message_expired", {"message": {"expTimeMillis": NOW_MS}}),
        ("malformed", {"message": {"expTimeMillis": None}}),
        ("malformed", {"message": {"expTimeMillis": True}}),
        ("other_issuer", {"message": {"objectId": "99.card"}}),
        ("other_issuer", {"message": {"classId": f"{ISSUER}0.cafe"}}),
        ("malformed", {"message": {"eventType": "maybe"}}),
        ("malformed", {"message": {"nonce": ""}}),
        ("malformed", {"message": {"nonce": None}}),
    ],
)
def test_a_notice_that_is_not_right_is_refused(google, code, changes):
    assert refusal(google, google.notice(**changes)) == code


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 50_000])
def test_a_body_that_is_no_notice_is_refused(google, body):
    assert refusal(google, body) == "malformed"
    assert refusal(google, b" " * 70_000) == "too_large"


def test_a_forger_with_keys_of_his_own_is_refused(google):
    assert refusal(google, Google().notice()) == "intermediate_signature"


def test_an_old_root_key_vouches_for_nothing(google):
    keys = parse_root_keys(google.keys(keyExpiration=str(NOW_MS - 1)))
    verifier = google.verifier(root_keys=keys)
    assert refusal(google, google.notice(), verifier) == "intermediate_signature"
    assert verifier.verify(google.notice(), now=NOW - timedelta(hours=1)).nonce == "n-1"


def test_the_sender_s_name_can_be_set(google):
    verifier = google.verifier(sender="GoogleWalletPasses")
    assert verifier.verify(google.notice(sender="GoogleWalletPasses"), now=NOW).nonce == "n-1"


@pytest.mark.parametrize("document", [b"", b"{}", b'{"keys": 5}', b'{"keys": ["x"]}'])
def test_keys_that_cannot_be_read_are_refused(document):
    with pytest.raises(CallbackRefused, match="cannot be read"):
        parse_root_keys(document)


def test_only_p_256_keys_are_taken(google):
    other = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(CallbackRefused):
        parse_root_keys(google.keys(keyValue=public(other)))
