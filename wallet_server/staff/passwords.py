"""Passwords of staff: argon2id hashes, and one-time passwords. No I/O."""

from __future__ import annotations

import base64
import secrets
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from wallet_server.errors import DomainError

PASSWORD_LENGTH_MIN: Final = 10
PASSWORD_LENGTH_MAX: Final = 200
_ALPHABET: Final = "23456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True)
class Passwords:
    """Hashes and checks passwords. The defaults are RFC 9106's second choice (64 MiB, three passes)."""

    time_cost: int = 3
    memory_kib: int = 64 * 1024
    parallelism: int = 4

    @cached_property
    def _hasher(self) -> PasswordHasher:
        return PasswordHasher(self.time_cost, self.memory_kib, self.parallelism, type=Type.ID)

    def hash(self, password: str) -> str:
        """The argon2id hash, with its parameters."""
        return self._hasher.hash(_prepared(password))

    def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether it is the password. Takes the same time where there is no account to compare with."""
        try:
            self._hasher.verify(password_hash or self._nobody, _prepared(password))
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    @property
    def _nobody(self) -> str:
        # In the right form and with the right parameters, so that checking it costs what an account costs.
        salt, digest = (base64.b64encode(bytes(length)).rstrip(b"=").decode() for length in (16, 32))
        return f"$argon2id$v=19$m={self.memory_kib},t={self.time_cost},p={self.parallelism}${salt}${digest}"


DEFAULT_PASSWORDS: Final = Passwords()


def check_password(password: str, email: str) -> str:
    """The same password if it may be used: length before anything else, as NIST SP 800-63B advises.

    Raises ``DomainError(validation)``.
    """
    if len(password) < PASSWORD_LENGTH_MIN:
        raise DomainError("validation", f"password: needs at least {PASSWORD_LENGTH_MIN} characters", field="password")
    if len(password) > PASSWORD_LENGTH_MAX:
        raise DomainError("validation", f"password: has more than {PASSWORD_LENGTH_MAX} characters", field="password")
    if len(set(password)) < 5 or password.lower() in {email, email.partition("@")[0]}:
        raise DomainError("validation", "password: is easy to guess; take another", field="password")
    return password


def one_time_password() -> str:
    """Sixteen characters in four groups that can be read aloud; about 78 random bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))


def _prepared(password: str) -> str:
    # The same word typed on two systems may come in two Unicode forms (NIST SP 800-63B, 3.1.1.2).
    return unicodedata.normalize("NFKC", password)
