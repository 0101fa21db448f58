"""What staff may do: three roles, each with all that the next one may."""

from __future__ import annotations

from typing import Final, Literal, get_args

Role = Literal["owner", "manager", "cashier"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""From the most to the least that may be done."""


def is_at_least(role: str | None, needed: Role) -> bool:
    """Whether somebody with ``role`` (``None``: no role in this program) may do what ``needed`` may."""
    return role in ROLES and ROLES.index(role) <= ROLES.index(needed)
