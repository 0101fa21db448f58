"""Secrets that are derived instead of stored, and fingerprints of those that are stored.

A pass's authenticationToken, a member page's address and a webhook's secret are needed again and again, so
a hash of them would not do, and a copy in the database would be a second place to steal them from. They are
HMAC-SHA256 (RFC 2104) of an id and a generation number under a key that HKDF (RFC 5869) derives from
``WALLET_SECRET_KEY``; raising the generation revokes the old one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from functools import cached_property
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def new_secret() -> str:
    """256 random bits as 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def fingerprint(secret: str) -> str:
    """SHA-256 in hex: enough for secrets of 128 random bits and more, which cannot be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()


class TokenMint:
    """Derives and checks tokens under one ``WALLET_SECRET_KEY``."""

    def __init__(self, secret_key: str) -> None:
        self._secret_key = secret_key.encode()

    def _key(self, purpose: str) -> bytes:
        return HKDF(SHA256(), length=32, salt=None, info=b"wallet-server:" + purpose.encode()).derive(self._secret_key)

    @cached_property
    def _pass_key(self) -> bytes:
        return self._key("apple-authentication-token")

    @cached_property
    def _page_key(self) -> bytes:
        return self._key("member-page")

    @cached_property
    def _recovery_key(self) -> bytes:
        return self._key("recovery-link")

    @cached_property
    def _webhook_key(self) -> bytes:
        return self._key("webhook-secret")

    @cached_property
    def session_key(self) -> str:
        """The key that signs the browser's cookies."""
        return self._key("session").hex()

    def authentication_token(self, pass_id: UUID, generation: int = 0) -> str:
        """A pass's authenticationToken: 256 bits, 43 characters (Apple asks for at least 16)."""
        return _b64(hmac.digest(self._pass_key, pass_id.bytes + generation.to_bytes(4, "big"), "sha256"))

    def is_authentication_token(self, token: str, pass_id: UUID, generation: int = 0) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(token.encode(), self.authentication_token(pass_id, generation).encode())

    def page_token(self, member_id: UUID, generation: int = 0) -> str:
        """The secret part of a member's own addresses: the id and 128 bits of proof."""
        message = member_id.bytes + generation.to_bytes(4, "big")
        return _b64(member_id.bytes + hmac.digest(self._page_key, message, "sha256")[:16])

    def member_of_page_token(self, token: str) -> UUID | None:
        """The member that a page token names, *before* the proof is checked; ``None`` if malformed."""
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        return UUID(bytes=raw[:16]) if len(raw) == 32 else None

    def is_page_token(self, token: str, member_id: UUID, generation: int = 0) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(token.encode(), self.page_token(member_id, generation).encode())

    def recovery_token(self, recovery_id: UUID) -> str:
        """The secret part of the link in a mail: the id and 128 bits of proof; the row says if it is good."""
        return _b64(recovery_id.bytes + hmac.digest(self._recovery_key, recovery_id.bytes, "sha256")[:16])

    def recovery_of_token(self, token: str) -> UUID | None:
        """The recovery that a link proves; ``None`` for one that is not of our making."""
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        if len(raw) != 32:
            return None
        recovery_id = UUID(bytes=raw[:16])
        right = self.recovery_token(recovery_id)
        return recovery_id if hmac.compare_digest(token.encode(), right.encode()) else None

    def webhook_secret(self, webhook_id: UUID, generation: int = 0) -> str:
        """What a webhook's messages are signed with, as Standard Webhooks writes it: 256 bits in base64."""
        message = webhook_id.bytes + generation.to_bytes(4, "big")
        return "whsec_" + base64.b64encode(hmac.digest(self._webhook_key, message, "sha256")).decode()
