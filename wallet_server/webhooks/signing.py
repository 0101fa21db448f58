"""Signatures of messages, as Standard Webhooks describes them (standardwebhooks.com, specification 1.0). Pure.

The signed text is ``id.timestamp.body``; the key is what follows ``whsec_`` in the secret, decoded.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what every secret begins with
OLD_SECRET_SIGNS: Final = timedelta(hours=24)
"""So long after a rotation messages carry the signature of the secret before, too."""


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature, ``v1,`` and base64 of HMAC-SHA256; ``timestamp`` in Unix seconds."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def headers(secrets: Sequence[str], message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """The three headers of a message that is sent now; a signature for each of the secrets that are good now."""
    timestamp = int(now.timestamp())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, message_id, timestamp, body) for secret in secrets),
    }


def good_generations(generation: int, rotated_at: datetime | None, now: datetime) -> list[int]:
    """Generations of the secret that sign now, the newest first."""
    old_signs = generation > 0 and rotated_at is not None and now < rotated_at + OLD_SECRET_SIGNS
    return [generation, generation - 1] if old_signs else [generation]
