"""What brings a reward, what was won, and the codes on vouchers: values and rules without I/O."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Digits and capitals without I, L, O, U: read aloud and typed without mistakes (Crockford's base 32)."""
RANDOM_CHARACTERS = 12
"""60 random bits: guessing is hopeless at any rate that a till's limit lets through."""
WITHDRAWN = "withdrawn:"
"""What the origin of a voucher begins with whose completion was undone; its old origin follows."""
_LOOK_ALIKE = str.maketrans("OIL", "011", " -")


@dataclass(frozen=True)
class Completion:
    """A challenge was completed: the ``round``-th time (from 1) in its ``window``, by ``purchase_id``.

    ``by_visit``: it was a visit without money, and ``purchase_id`` is that visit's id.
    """

    member_id: UUID
    challenge: str
    window: str
    round: int
    purchase_id: UUID
    by_visit: bool = False

    @property
    def origin(self) -> str:
        """What makes the reward unique for the member: ``challenge:dinner:2026-11:1``."""
        return f"challenge:{self.challenge}:{self.window}:{self.round}"


@dataclass(frozen=True)
class Won:
    """A reward that was given for a completion: a voucher's code, points, or a level until a moment."""

    member_id: UUID
    purchase_id: UUID
    kind: Literal["voucher", "points", "tier"]
    challenge: str
    voucher_code: str | None = None
    points: int | None = None
    tier: str | None = None
    tier_until: datetime | None = None


def new_voucher_code() -> str:
    """A fresh code: 12 random characters and a check character, so that a slip of the finger is seen at once."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return body + check_character(body)


def check_character(body: str) -> str:
    """Luhn's check character over :data:`ALPHABET` (mod 32): finds each wrong and nearly each swapped character."""
    total = 0
    for index, character in enumerate(reversed(body)):
        product = ALPHABET.index(character) * (2 if index % 2 == 0 else 1)
        total += product // len(ALPHABET) + product % len(ALPHABET)
    return ALPHABET[-total % len(ALPHABET)]


def parse_voucher_code(text: str) -> str | None:
    """The code as stored, from what was scanned or typed; ``None`` if it cannot be one.

    Case, spaces and hyphens do not matter; O is read as 0, I and L as 1.
    """
    code = text.upper().translate(_LOOK_ALIKE)
    if len(code) != RANDOM_CHARACTERS + 1 or any(character not in ALPHABET for character in code):
        return None
    return code if check_character(code[:-1]) == code[-1] else None


def grouped(code: str) -> str:
    """A voucher code as people read it: ``ABCD-EFGH-JKMN-P``."""
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))
