"""The "Save to Google Wallet" link.

The link carries a JWT that names an object which the REST API has inserted before ("skinny"): a link with
the whole card would pass the length that browsers and scanners take.

Source: developers.google.com/wallet/reference/rest/v1/Jwt and …/retail/loyalty-cards/web.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from passes.google.account import ServiceAccount

SAVE_URL = "https://pay.google.com/gp/v/save/"
JWT_CHARACTERS_MAX = 1800


class SaveLinkTooLong(ValueError):
    """The link would be cut on its way; ids or origins are too long."""


def save_jwt(
    account: ServiceAccount, *, object_id: str, class_id: str, now: datetime, origins: Sequence[str] = ()
) -> str:
    """Return the JWT for an object that exists. `origins` matter only to Google's JavaScript button.

    Raises `SaveLinkTooLong`.
    """
    claims: dict[str, object] = {
        "iss": account.email,
        "aud": "google",
        "typ": "savetowallet",
        "iat": int(now.timestamp()),
        "payload": {"loyaltyObjects": [{"id": object_id, "classId": class_id}]},
    }
    if origins:
        claims["origins"] = list(origins)
    token = account.sign_jwt(claims)
    if len(token) >= JWT_CHARACTERS_MAX:
        raise SaveLinkTooLong(f"the save link's JWT has {len(token)} characters, {JWT_CHARACTERS_MAX} is too many")
    return token


def save_link(account: ServiceAccount, *, object_id: str, class_id: str, now: datetime) -> str:
    """Return the address that the button opens."""
    return SAVE_URL + save_jwt(account, object_id=object_id, class_id=class_id, now=now)
