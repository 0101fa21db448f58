"""Who would move if another tier table were published: a look without consequences."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.members.models import Member
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.tiers import Tiers
from wallet_server.tiers.levels import reached
from wallet_server.tiers.queries import standings
from wallet_server.tiers.table import tier_table

MEMBERS_MAX: Final = 100_000
"""How many members are looked at; somebody waits for the answer."""
MEMBERS_AT_ONCE: Final = 2_000
EXAMPLES_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Move:
    """Members who would go from one level to another; ``from_tier`` is None for those who hold none.

    ``protected`` of them keep their level until a promise to them ends. ``examples`` are some of the members.
    """

    from_tier: str | None
    to_tier: str
    rises: bool
    members: int
    protected: int
    examples: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """How many members a table would lift, lower (after its grace), and leave where they are.

    ``members`` were looked at; there are more if ``whole`` is false.
    """

    up: int
    down: int
    same: int
    moves: tuple[Move, ...]
    members: int
    whole: bool


def draft(program: ProgramDefinition, tiers: Tiers) -> ProgramDefinition:
    """The program as it would be with another tier table."""
    return replace(program, file=program.file.model_copy(update={"tiers": tiers}))


def preview(
    session: Session, program: ProgramDefinition, tiers: Tiers, now: datetime, *, limit: int = MEMBERS_MAX
) -> Preview:
    """Who would be lifted at once, and who lowered when the new table's grace is over; changes nothing.

    Counts what is recorded now: who buys in the meantime may stay. Members who joined last come first where
    there are more than ``limit``.
    """
    changed = draft(program, tiers)
    table = tier_table(changed)
    if not table.steps:
        return Preview(0, 0, 0, (), 0, whole=True)
    old = {level.code: index for index, level in enumerate(program.file.tiers.levels)}
    found: defaultdict[tuple[str | None, str], list[UUID]] = defaultdict(list)
    protected: defaultdict[tuple[str | None, str], int] = defaultdict(int)
    looked_at = 0
    before: UUID | None = None
    today = table.today(now)
    while looked_at < limit:
        wanted = min(MEMBERS_AT_ONCE, limit - looked_at)
        statement = sa.select(col(Member.id)).where(col(Member.program_id) == program.id)
        if before is not None:
            statement = statement.where(col(Member.id) < before)
        part = list(session.scalars(statement.order_by(col(Member.id).desc()).limit(wanted)))
        for member_id, standing in standings(session, changed, part, now).items():
            move = (standing.tier, table.steps[reached(table, standing, today)].code)
            found[move].append(member_id)
            if standing.protected_until is not None and standing.protected_until > now:
                protected[move] += 1
        looked_at += len(part)
        if len(part) < wanted:
            break
        before = part[-1]
    moves = [
        Move(
            from_tier=held,
            to_tier=code,
            rises=_rises(held, code, {step.code: index for index, step in enumerate(table.steps)}, old),
            members=len(members),
            protected=protected[held, code],
            examples=tuple(members[:EXAMPLES_MAX]),
        )
        for (held, code), members in found.items()
        if held != code
    ]
    up = sum(move.members for move in moves if move.rises)
    down = sum(move.members for move in moves) - up
    return Preview(
        up=up,
        down=down,
        same=sum(len(members) for members in found.values()) - up - down,
        moves=tuple(
            sorted(moves, key=lambda move: (not move.rises, -move.members, move.from_tier or "", move.to_tier))
        ),
        members=looked_at,
        whole=looked_at < limit,
    )


def _rises(held: str | None, code: str, new: dict[str, int], old: dict[str, int]) -> bool:
    """Whether this is up: among the new levels if both are there, else by how high each stood."""
    if held is None:
        return True
    return new[code] > new.get(held, old.get(held, -1))
