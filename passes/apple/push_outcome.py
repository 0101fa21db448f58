"""What APNs answers to a push, and what to do about it.

Source: developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple

BAD_TOKEN_REASONS: Final = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic"})
RECONNECT_REASONS: Final = frozenset({"IdleTimeout"})
STALE_KEY_REASONS: Final = frozenset({"ExpiredProviderToken", "InvalidProviderToken", "MissingProviderToken"})
"""Our own token is wrong or old: a new one is tried once."""
TOO_MANY_KEYS_REASON: Final = "TooManyProviderTokenUpdates"


class PushVerdict(StrEnum):
    """What to do about a token after a push."""

    ACCEPTED = "accepted"
    """APNs took it; whether the phone ever fetches is another question."""
    GONE = "gone"
    """Drop registrations made before the outcome's `timestamp`; younger ones are alive."""
    BAD_TOKEN = "bad_token"  # noqa: S105 - a verdict, not a secret
    """Drop the token's registrations. Many in one batch mean a wrong certificate: stop then."""
    RETRY_LATER = "retry_later"
    """Nothing is known to be wrong with the token; push again with back-off."""
    CONFIGURATION = "configuration"
    """Certificate, topic or request are wrong: stop this program's pushes and raise an alarm."""


class PushOutcome(NamedTuple):
    """What came of one token. `status` is the HTTP status, 0 if there was no answer."""

    token: str
    status: int
    reason: str
    timestamp: datetime | None
    verdict: PushVerdict


def verdict_of(status: int, reason: str) -> PushVerdict:
    """Classify an answer of APNs other than 200."""
    if status == 410:
        return PushVerdict.GONE
    if status == 429 or status >= 500:
        return PushVerdict.RETRY_LATER
    if status == 400 and reason in BAD_TOKEN_REASONS:
        return PushVerdict.BAD_TOKEN
    return PushVerdict.CONFIGURATION


def parse_answer(answer: bytes) -> tuple[str, datetime | None]:
    """The reason and the time stamp of an answer's body; empty and `None` for what is not Apple's JSON."""
    try:
        document = json.loads(answer)
        reason = document.get("reason", "")
        milliseconds = document.get("timestamp")
        timestamp = datetime.fromtimestamp(milliseconds / 1000, UTC) if isinstance(milliseconds, int) else None
    except (ValueError, AttributeError, OverflowError, OSError):
        return "", None
    return str(reason), timestamp
