"""JSON web tokens that the Google stand-in receives: signed by our service account, checked by its public key.

Source: RFC 7515 and 7519; developers.google.com/identity/protocols/oauth2/service-account (assertions) and
developers.google.com/wallet/retail/loyalty-cards/use-cases/jwt (save links).
"""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class BadToken(Exception):
    """The token does not hold; the message says why."""


def verified_claims(token: str, key: rsa.RSAPublicKey) -> dict[str, Any]:
    """The claims of an RS256 token. Raises :class:`BadToken`."""
    try:
        head, claims, signature = token.split(".")
        header = json.loads(_decode(head))
        document = json.loads(_decode(claims))
        if not isinstance(header, dict) or header.get("alg") != "RS256":
            raise BadToken("the token is not signed with RS256")
        key.verify(_decode(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise BadToken("the token's signature is not the service account's") from error
    except (ValueError, RecursionError) as error:
        raise BadToken("this is not a JSON web token") from error
    if not isinstance(document, dict):
        raise BadToken("the token's claims are not an object")
    return document


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
