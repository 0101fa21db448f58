"""Google's service account: who signs save links and asks for access tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.auth import jwt
from google.auth.crypt import RSASigner


class GoogleAccountProblem(Exception):
    """The key file cannot be used; the message is a sentence with the cure."""


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A parsed key file. `token_uri` is where assertions are exchanged for access tokens."""

    email: str
    token_uri: str
    signer: RSASigner = field(repr=False)

    @classmethod
    def load(cls, key_file: bytes) -> ServiceAccount:
        """Read the JSON key that Google's console lets one download. Raises `GoogleAccountProblem`."""
        try:
            info = json.loads(key_file)
        except ValueError as error:
            raise GoogleAccountProblem("The service account's key file is not JSON; download it again.") from error
        if not isinstance(info, dict) or info.get("type") != "service_account":
            raise GoogleAccountProblem(
                'The file is not a service account\'s key ("type": "service_account"); create one in Google\'s'
                " console under IAM, Service accounts, Keys."
            )
        for key in ("client_email", "private_key", "token_uri"):
            if not isinstance(info.get(key), str) or not info[key]:
                raise GoogleAccountProblem(f"The service account's key file lacks {key}; download it again.")
        _check_token_uri(info["token_uri"])
        _check_private_key(info["private_key"])
        try:
            signer = RSASigner.from_service_account_info(info)  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise GoogleAccountProblem("The private key in the service account's file cannot be read.") from error
        return cls(info["client_email"], info["token_uri"], signer)

    def sign_jwt(self, claims: Mapping[str, object]) -> str:
        """Return the claims as a JWT, RS256."""
        token: bytes = jwt.encode(self.signer, dict(claims))  # type: ignore[no-untyped-call]
        return token.decode("ascii")


def _check_token_uri(token_uri: str) -> None:
    """Assertions go over https, or to a stand-in on this machine."""
    try:
        parts = urlsplit(token_uri)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost"))
    except ValueError:
        is_safe = False
    if not is_safe:
        raise GoogleAccountProblem(
            f"The service account's key file names {token_uri[:80]!r} as token_uri, which is not https;"
            " download it again."
        )


def _check_private_key(pem: str) -> None:
    """Only RSA keys make RS256, the one algorithm that Google takes; others would be found out with the first card."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise GoogleAccountProblem("The private key in the service account's file cannot be read.") from error
    if not isinstance(key, RSAPrivateKey):
        raise GoogleAccountProblem("The private key in the service account's file is not RSA; download it again.")
