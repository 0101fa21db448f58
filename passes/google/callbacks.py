"""Is a save or delete notice really Google's?

The scheme is ECv2SigningOnly: Google signs the notice with a short-lived key, and that key with a root key
which it publishes. What is signed is a list of texts, each preceded by its length in *bytes*; counting
characters instead works until the first letter outside ASCII.

Sources: developers.google.com/wallet/retail/loyalty-cards/use-cases/use-callbacks-for-saves-and-deletions;
developers.google.com/pay/api/processors/guides/test-and-validation/paymenttoken-cryptography (ECv2 chain).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

GOOGLE_KEYS_URL = "https://pay.google.com/gp/m/issuer/keys"
SENDER = "GooglePayPasses"
PROTOCOL = "ECv2SigningOnly"
BODY_BYTES_MAX = 64 * 1024
_KEYS_MAX = 50
_SIGNATURES_MAX = 20


class CallbackRefused(Exception):
    """The notice is not to be believed. `code` is stable, the message is for the log."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class RootKey:
    """One of Google's published keys."""

    key: ec.EllipticCurvePublicKey
    expires_at_ms: int | None


@dataclass(frozen=True, slots=True)
class CallbackEvent:
    """A believed notice. Google may repeat it: remember `nonce` until `expires_at_ms`."""

    class_id: str
    object_id: str
    is_saved: bool
    """True when the card was saved to a wallet, False when it was deleted from one."""
    expires_at_ms: int
    count: int
    nonce: str


def parse_root_keys(document: bytes) -> tuple[RootKey, ...]:
    """Read what `GOOGLE_KEYS_URL` serves. Keys of other protocols are left out.

    Raises `CallbackRefused` (``bad_keys``) if it is not such a document.
    """
    try:
        entries = json.loads(document)["keys"]
        return tuple(
            RootKey(_public_key(entry["keyValue"]), _milliseconds(entry.get("keyExpiration")))
            for entry in entries[:_KEYS_MAX]
            if entry.get("protocolVersion") == PROTOCOL
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CallbackRefused("bad_keys", "The list of Google's keys cannot be read.") from error


class CallbackVerifier:
    """Checks notices for one issuer against a set of root keys. `sender` is Google's name in the signature."""

    def __init__(self, *, issuer_id: str, root_keys: Sequence[RootKey], sender: str = SENDER) -> None:
        self._issuer_id = issuer_id
        self._root_keys = tuple(root_keys)
        self._sender = sender

    def verify(self, body: bytes, *, now: datetime) -> CallbackEvent:
        """Return the event, or raise `CallbackRefused`.

        Codes: ``too_large``, ``malformed``, ``protocol``, ``intermediate_signature``, ``intermediate_expired``,
        ``message_signature``, ``message_expired``, ``other_issuer``. A known nonce is the caller's to find.
        """
        if len(body) > BODY_BYTES_MAX:
            raise CallbackRefused("too_large", "The notice is larger than any of Google's.")
        now_ms = int(now.timestamp() * 1000)
        envelope = _object(body)
        if envelope.get("protocolVersion") != PROTOCOL:
            raise CallbackRefused("protocol", f"The notice's protocol is not {PROTOCOL}.")
        signing_key = self._intermediate_key(envelope, now_ms)
        message = _text(envelope, "signedMessage")
        signed = signed_bytes(self._sender, self._issuer_id, PROTOCOL, message)
        if not _verifies([signing_key], [_text(envelope, "signature")], signed):
            raise CallbackRefused("message_signature", "The notice's signature does not verify.")
        return self._event(_object(message.encode()), now_ms)

    def _intermediate_key(self, envelope: Mapping[str, object], now_ms: int) -> ec.EllipticCurvePublicKey:
        intermediate = envelope.get("intermediateSigningKey")
        if not isinstance(intermediate, dict):
            raise CallbackRefused("malformed", "The notice has no intermediate signing key.")
        signed_key = _text(intermediate, "signedKey")
        signatures = intermediate.get("signatures")
        if not isinstance(signatures, list) or not all(isinstance(item, str) for item in signatures):
            raise CallbackRefused("malformed", "The intermediate key's signatures are not a list of texts.")
        alive = [root.key for root in self._root_keys if root.expires_at_ms is None or root.expires_at_ms > now_ms]
        signed = signed_bytes(self._sender, PROTOCOL, signed_key)
        if not _verifies(alive, signatures[:_SIGNATURES_MAX], signed):
            raise CallbackRefused("intermediate_signature", "No key of Google's signed the intermediate key.")
        # Only now is its content worth reading.
        content = _object(signed_key.encode())
        expires_at_ms = _integer(content, "keyExpiration")
        if expires_at_ms <= now_ms:
            raise CallbackRefused("intermediate_expired", "The intermediate key has expired.")
        try:
            return _public_key(_text(content, "keyValue"))
        except ValueError as error:
            raise CallbackRefused("malformed", "The intermediate key is not a P-256 key.") from error

    def _event(self, message: Mapping[str, object], now_ms: int) -> CallbackEvent:
        expires_at_ms = _integer(message, "expTimeMillis")
        if expires_at_ms <= now_ms:
            raise CallbackRefused("message_expired", "The notice has expired; Google sends a new one if needed.")
        class_id, object_id = _text(message, "classId"), _text(message, "objectId")
        for resource in (class_id, object_id):
            if not resource.startswith(f"{self._issuer_id}."):
                raise CallbackRefused("other_issuer", f"{resource!r} belongs to another issuer.")
        kind = _text(message, "eventType")
        if kind not in ("save", "del"):
            raise CallbackRefused("malformed", f"The event {kind!r} is neither save nor del.")
        nonce = _text(message, "nonce")
        if not nonce or len(nonce) > 200:
            raise CallbackRefused("malformed", "The notice's nonce has no usable length.")
        return CallbackEvent(
            class_id=class_id,
            object_id=object_id,
            is_saved=kind == "save",
            expires_at_ms=expires_at_ms,
            count=_integer(message, "count", default=1),
            nonce=nonce,
        )


def signed_bytes(*parts: str) -> bytes:
    """Return what is signed: each part as UTF-8 after its length in bytes, four bytes little-endian."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "little") + part for part in encoded)


def _verifies(keys: Iterable[ec.EllipticCurvePublicKey], signatures: Sequence[str], signed: bytes) -> bool:
    decoded = [value for value in map(_base64, signatures) if value is not None]
    for key in keys:
        for signature in decoded:
            try:
                key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                continue
            return True
    return False


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _public_key(text: str) -> ec.EllipticCurvePublicKey:
    """Return the key; raises `ValueError` for anything but P-256."""
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except UnsupportedAlgorithm as error:
        raise ValueError("not a P-256 key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a P-256 key")
    return key


def _object(data: bytes) -> dict[str, object]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CallbackRefused("malformed", "The notice is not JSON.") from error
    if not isinstance(document, dict):
        raise CallbackRefused("malformed", "The notice is not a JSON object.")
    return document


def _text(document: Mapping[str, object], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise CallbackRefused("malformed", f"{key} is missing or not a text.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise CallbackRefused("malformed", f"{key} holds half a character.") from error
    return value


def _integer(document: Mapping[str, object], key: str, default: int | None = None) -> int:
    """Return a number that Google writes as a number in one place and as a text in another."""
    found = _milliseconds(document.get(key))
    if found is None:
        found = default
    if found is None:
        raise CallbackRefused("malformed", f"{key} is missing or not a number.")
    return found


def _milliseconds(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 19:
        return int(value)
    return None
