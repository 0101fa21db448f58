"""Reading challenge progress."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.challenges.models import ChallengeProgress
from wallet_server.challenges.progress import ChallengeState, Standing, state_of, window_key
from wallet_server.db import among
from wallet_server.programs.definition import ProgramDefinition

Key = tuple[UUID, str, str]
"""A member, a challenge's code, a window's key."""
PROGRESS: sa.Table = ChallengeProgress.__table__  # type: ignore[attr-defined]
MEMBERS_MAX = 5_000
"""How many members are read at once."""


@dataclass
class Board:
    """Standings of some members, as read and then evolved in memory.

    ``once`` holds, for challenges that can be completed once only, the windows in which a member did;
    ``changed`` the keys that were put since reading, in order.
    """

    standings: dict[Key, Standing] = field(default_factory=dict)
    once: dict[tuple[UUID, str], set[str]] = field(default_factory=dict)
    changed: dict[Key, None] = field(default_factory=dict)

    def read(self, key: Key, standing: Standing) -> None:
        """Take in what the database holds."""
        self.standings[key] = standing
        if standing.completions:
            self.once.setdefault(key[:2], set()).add(key[2])

    def put(self, key: Key, standing: Standing) -> None:
        """Take in what is to be written."""
        self.read(key, standing)
        self.changed[key] = None

    def completed_elsewhere(self, key: Key) -> bool:
        """Whether the member completed the challenge in another window (of those that were read)."""
        return bool(self.once.get(key[:2], set()) - {key[2]})

    def states(
        self, program: ProgramDefinition, member_ids: Iterable[UUID], windows: Mapping[str, str]
    ) -> dict[UUID, tuple[ChallengeState, ...]]:
        """Each member's standing in the given window of every challenge, in the order of the program file."""
        states: dict[UUID, tuple[ChallengeState, ...]] = {}
        for member_id in member_ids:
            mine: list[ChallengeState] = []
            for challenge in program.file.challenges:
                key = (member_id, challenge.code, windows[challenge.code])
                standing = self.standings.get(key, Standing())
                elsewhere = self.completed_elsewhere(key)
                mine.append(state_of(challenge, key[2], standing, completed_elsewhere=elsewhere))
            states[member_id] = tuple(mine)
        return states


def current_windows(program: ProgramDefinition, now: datetime) -> dict[str, str]:
    """The key of each challenge's window that runs now, in the program's zone."""
    today = now.astimezone(ZoneInfo(program.time_zone)).date()
    return {challenge.code: window_key(challenge.window.kind, today) for challenge in program.file.challenges}


def read_board(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], windows: Collection[str]
) -> Board:
    """Standings of the members in the windows, and wherever a challenge of ``repeat: once`` was completed.

    One statement; none for a program without challenges.
    """
    assert len(member_ids) <= MEMBERS_MAX, f"{len(member_ids)} members were to be read at once"
    board = Board()
    codes = [challenge.code for challenge in program.file.challenges]
    once = [challenge.code for challenge in program.file.challenges if challenge.repeat == "once"]
    if not codes or not member_ids:
        return board
    table = PROGRESS.c
    wanted = among(session, table.window, windows)
    if once:
        wanted = sa.or_(wanted, sa.and_(among(session, table.challenge, once), table.completions > 0))
    rows = session.connection().execute(
        sa.select(table.member_id, table.challenge, table.window, table.progress, table.completions).where(
            table.program_id == program.id,
            among(session, table.member_id, member_ids),
            among(session, table.challenge, codes),
            wanted,
        )
    )
    for member_id, challenge, window, progress, completions in rows:
        board.read((member_id, challenge, window), Standing(progress, completions))
    return board


def states(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], now: datetime
) -> dict[UUID, tuple[ChallengeState, ...]]:
    """Where members stand in the windows that run now: one state per challenge, in the program file's order."""
    windows = current_windows(program, now)
    return read_board(session, program, member_ids, set(windows.values())).states(program, member_ids, windows)
