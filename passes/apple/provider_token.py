"""A signing key for APNs (a .p8 file) instead of a certificate: one for all pass types of a team.

The key signs a token that goes along with each push. APNs refuses tokens older than an hour, and one that is
renewed more often than every 20 minutes. Both hold for all workers together without any talk between them: the
moment of issue is a step of the clock, and the signature is deterministic (RFC 6979), so that each worker makes
the same token.

Source: developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns.
"""

from __future__ import annotations

import json
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

STEP_SECONDS: Final = 35 * 60
HELD_SECONDS_MIN: Final = 20 * 60
"""Together less than the hour after which APNs calls a token expired."""
_TEN_CHARACTERS: Final = re.compile(r"[A-Z0-9]{10}")
_P256_BYTES: Final = 32


class ProviderKeyProblem(Exception):
    """The key cannot be used; the message is a sentence with the cure."""


def load_push_key(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a .p8 file. Raises `ProviderKeyProblem`."""
    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ProviderKeyProblem(
            "The push key cannot be read: give the .p8 file as Apple's developer site handed it out."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ProviderKeyProblem("The push key is not one of Apple's: those are P-256 keys in a .p8 file.")
    return key


class ProviderToken:
    """Makes and keeps the token of one key. Not for use by two threads at once."""

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        *,
        key_id: str,
        team_id: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key = key
        self._head = _part({"alg": "ES256", "kid": key_id})
        self._team_id = team_id
        self._clock = clock
        self._bearer = ""
        self._issued_at = 0.0
        self._step = 0.0
        self._keep_until = 0.0
        self._before: tuple[str, float] | None = None

    @classmethod
    def load(
        cls, key_pem: bytes, *, key_id: str, team_id: str, clock: Callable[[], float] = time.time
    ) -> ProviderToken:
        """Read the .p8 file that Apple's developer site lets one download once. Raises `ProviderKeyProblem`."""
        for name, value in (("key id", key_id), ("team id", team_id)):
            if not _TEN_CHARACTERS.fullmatch(value):
                raise ProviderKeyProblem(
                    f"Apple's {name} has ten capital letters and digits, this one is {value!r}: copy it from the"
                    " page of the key at developer.apple.com."
                )
        return cls(load_push_key(key_pem), key_id=key_id, team_id=team_id, clock=clock)

    def bearer(self) -> str:
        """The token to send now."""
        now = self._clock()
        step = now - now % STEP_SECONDS
        if not self._bearer or (self._step != step and now >= self._keep_until):
            self._make(step, step)
        return self._bearer

    def refused(self, bearer: str) -> bool:
        """APNs calls `bearer` old or wrong; whether there is another one to try now.

        A token is replaced out of its turn once in 20 minutes: what is refused then is refused for another
        reason than its age.
        """
        if bearer != self._bearer:
            return True
        now = self._clock()
        if now < self._keep_until:
            return False
        self._make(now, now - now % STEP_SECONDS)
        self._keep_until = now + HELD_SECONDS_MIN
        return self._bearer != bearer

    def renewed_too_often(self) -> None:
        """APNs wants the token kept: go back to the one before, if that is young enough, and stay with it."""
        now = self._clock()
        if self._before is not None and now - self._before[1] < STEP_SECONDS + HELD_SECONDS_MIN:
            self._bearer, self._issued_at = self._before
        self._before = None
        self._keep_until = now + HELD_SECONDS_MIN

    def _make(self, issued_at: float, step: float) -> None:
        if self._bearer:
            self._before = (self._bearer, self._issued_at)
        signed = f"{self._head}.{_part({'iss': self._team_id, 'iat': int(issued_at)})}"
        signature = self._key.sign(signed.encode(), ec.ECDSA(SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(signature)
        raw = r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")  # RFC 7518, section 3.4
        self._bearer = f"{signed}.{_base64(raw)}"
        self._issued_at, self._step = issued_at, step


def _part(document: dict[str, object]) -> str:
    return _base64(json.dumps(document, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
