"""Reading challenge progress."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.challenges.models import ChallengeContribution, ChallengeProgress
from wallet_server.challenges.progress import ChallengeState, Standing, state_of, window_key
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.reads import Asked, OneOf, Read, Rows, ask, known

Key = tuple[UUID, str, str]
"""A member, a challenge's code, a window's key."""
DayKey = tuple[UUID, str, date]
"""A member, a challenge's code, a business date."""
PROGRESS: sa.Table = ChallengeProgress.__table__  # type: ignore[attr-defined]
CONTRIBUTION: sa.Table = ChallengeContribution.__table__  # type: ignore[attr-defined]
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
    return ask(session, board_asked(program, member_ids, windows))


def board_asked(program: ProgramDefinition, member_ids: Collection[UUID], windows: Collection[str]) -> Asked[Board]:
    """As :func:`read_board`, to be asked with other things."""
    assert len(member_ids) <= MEMBERS_MAX, f"{len(member_ids)} members were to be read at once"
    codes = [challenge.code for challenge in program.file.challenges]
    once = [challenge.code for challenge in program.file.challenges if challenge.repeat == "once"]
    if not codes or not member_ids:
        return known(Board())

    def answer(rows: Rows) -> Board:
        board = Board()
        for member_id, challenge, window, progress, completions in rows:
            board.read((member_id, challenge, window), Standing(progress, completions))
        return board

    values = {
        "program_id": program.id,
        "member_ids": list(member_ids),
        "challenges": codes,
        "windows": list(windows),
    }
    return Asked(_BOARD_WITH_ONCE, {**values, "once": once}, answer) if once else Asked(_BOARD, values, answer)


def _select_board(one_of: OneOf, wanted: sa.ColumnElement[bool]) -> sa.Select[Any]:
    table = PROGRESS.c
    return sa.select(table.member_id, table.challenge, table.window, table.progress, table.completions).where(
        table.program_id == sa.bindparam("program_id", type_=sa.Uuid()),
        one_of(table.member_id, "member_ids"),
        one_of(table.challenge, "challenges"),
        wanted,
    )


_BOARD: Final = Read(lambda one_of: _select_board(one_of, one_of(PROGRESS.c.window, "windows")))
_BOARD_WITH_ONCE: Final = Read(
    lambda one_of: _select_board(
        one_of,
        sa.or_(
            one_of(PROGRESS.c.window, "windows"),
            sa.and_(one_of(PROGRESS.c.challenge, "once"), PROGRESS.c.completions > 0),
        ),
    )
)


def days_asked(
    program: ProgramDefinition, member_ids: Collection[UUID], dates: Collection[date]
) -> Asked[dict[DayKey, int]]:
    """What counts already on these business dates, of challenges that limit a day."""
    limited = [challenge for challenge in program.file.challenges if challenge.max_per_day is not None]
    if not limited or not member_ids or not dates:
        return known({})
    values = {
        "program_id": program.id,
        "member_ids": list(member_ids),
        "challenges": [challenge.code for challenge in limited],
        # A day lies within one window; naming the windows lets the index answer.
        "windows": list({window_key(challenge.window.kind, day) for challenge in limited for day in dates}),
        "dates": list(dates),
    }
    return Asked(_DAYS, values, lambda rows: {(member, code, day): int(amount) for member, code, day, amount in rows})


_BY_DAY: Final = (CONTRIBUTION.c.member_id, CONTRIBUTION.c.challenge, CONTRIBUTION.c.business_date)
_DAYS: Final = Read(
    lambda one_of: (
        sa.select(*_BY_DAY, sa.func.sum(CONTRIBUTION.c.amount))
        .where(
            CONTRIBUTION.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()),
            one_of(CONTRIBUTION.c.member_id, "member_ids"),
            one_of(CONTRIBUTION.c.challenge, "challenges"),
            one_of(CONTRIBUTION.c.window, "windows"),
            one_of(CONTRIBUTION.c.business_date, "dates"),
        )
        .group_by(*_BY_DAY)
    )
)


@dataclass(frozen=True, slots=True)
class Before:
    """Where members stand, and what their days count, before something new is counted."""

    board: Board
    days: Mapping[DayKey, int]


def before_asked(
    program: ProgramDefinition, member_ids: Collection[UUID], dates: Collection[date], now: datetime
) -> tuple[Asked[Board], Asked[dict[DayKey, int]]]:
    """What counting purchases of these business dates needs: the two of :class:`Before`.

    To be read after the members' balances were locked.
    """
    windows = {window_key(challenge.window.kind, day) for challenge in program.file.challenges for day in dates}
    windows |= set(current_windows(program, now).values())
    return board_asked(program, member_ids, windows), days_asked(program, member_ids, dates)


def states(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], now: datetime
) -> dict[UUID, tuple[ChallengeState, ...]]:
    """Where members stand in the windows that run now: one state per challenge, in the program file's order."""
    windows = current_windows(program, now)
    return read_board(session, program, member_ids, set(windows.values())).states(program, member_ids, windows)
