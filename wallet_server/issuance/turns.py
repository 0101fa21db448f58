"""The turn of a day: passes that look otherwise because a season, a challenge's window or a bar has turned.

A pass shows the local day of its program. Nobody buys at midnight, so nothing else would tell the phones. Only those
passes are raised that can have changed: of the levels of the looks that turned, of the members who had come on in a
window that is over, and of those whose bar has moved (:mod:`.bars`).

What else ends by the clock and shows on a card has its own task: points that become spendable or expire
(``purchases.clockwork``), levels (``tiers.services.review_due``), vouchers (:mod:`.lapses`) and offers
(``notifications.ending``). Own percents of members and the times of rules are on no card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, Self
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.challenges.models import ChallengeProgress
from wallet_server.challenges.progress import window_key
from wallet_server.issuance.bars import moves_by_clock, refresh_moved
from wallet_server.issuance.looks import asks_way
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.services import held_passes, refresh_part
from wallet_server.outbox import services as outbox
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.models import Program
from wallet_server.programs.queries import load_program
from wallet_server.tiers.models import MemberTier

DAY_TURNED: Final = "program.day_turned"
PROGRAMS_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a new day changes on passes. ``everyone``: on all; else for members of ``tiers`` and of ``windows``.

    ``windows`` has challenges by code, with the key of the window that is over. ``bars`` are the days from which and
    to which bars have moved; nothing where they move with what happens only, or everything is shown anew anyhow.
    """

    everyone: bool = False
    tiers: tuple[str, ...] = ()
    windows: Mapping[str, str] = field(default_factory=dict)
    bars: tuple[date, date] | None = None

    @property
    def changes_anything(self) -> bool:
        return self.names_passes or self.bars is not None

    @property
    def names_passes(self) -> bool:
        """Whether there is anything beside bars."""
        return self.everyone or bool(self.tiers or self.windows)

    def as_json(self) -> dict[str, Any]:
        bars = None if self.bars is None else [day.isoformat() for day in self.bars]
        return {"everyone": self.everyone, "tiers": list(self.tiers), "windows": dict(self.windows), "bars": bars}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        bars = value.get("bars")
        return cls(
            everyone=value["everyone"],
            tiers=tuple(value["tiers"]),
            windows=dict(value["windows"]),
            bars=(date.fromisoformat(bars[0]), date.fromisoformat(bars[1])) if bars else None,
        )


def turn_between(program: ProgramDefinition, before: date, today: date) -> Turn:
    """What has turned from one local day of the program to a later one."""
    tiers: dict[str, None] = {}
    everyone = False
    for look in program.file.look.looks:
        dates = look.when.dates or ()
        if any(part.covers(before) for part in dates) == any(part.covers(today) for part in dates):
            continue
        everyone = everyone or look.when.tiers is None
        tiers.update(dict.fromkeys(look.when.tiers or ()))
    if program.file.tiers.window.kind == "calendar_year" and before.year != today.year and asks_way(program):
        everyone = True
    windows = {}
    for challenge in program.file.challenges:
        over = window_key(challenge.window.kind, before)
        if over != window_key(challenge.window.kind, today):
            windows[challenge.code] = over
    if everyone:
        return Turn(everyone=True)
    return Turn(tiers=tuple(tiers), windows=windows, bars=(before, today) if moves_by_clock(program) else None)


def turn_programs(session: Session, now: datetime, after: UUID | None = None) -> UUID | None:
    """Ask for the renewal of passes of each program whose local day has turned since it was last looked at.

    Scope ``ALL_PROGRAMS``. Looks at so many programs at once; returns the id to go on after, None when all are done.
    A program that is looked at for the first time has nothing to renew: its passes show the day they were given out.
    """
    programs = sa.select(col(Program.id), col(Program.turned_on)).order_by(col(Program.id)).limit(PROGRAMS_AT_ONCE)
    rows = session.execute(programs if after is None else programs.where(col(Program.id) > after)).all()
    for program_id, turned_on in rows:
        program = load_program(session, program_id=program_id)
        today = now.astimezone(ZoneInfo(program.time_zone)).date()
        if turned_on is not None and turned_on >= today:
            continue
        is_mine = session.scalar(
            sa.update(Program)
            .where(col(Program.id) == program_id, col(Program.turned_on).is_not_distinct_from(turned_on))
            .values(turned_on=today)
            .returning(col(Program.id)),
            execution_options={"synchronize_session": False},
        )
        if is_mine is not None and turned_on is not None:
            turn = turn_between(program, turned_on, today)
            if turn.changes_anything:
                ask_for_turn(session, program_id, turn, None, now)
    return rows[-1].id if len(rows) == PROGRAMS_AT_ONCE else None


def ask_for_turn(session: Session, program_id: UUID, turn: Turn, after: UUID | None, now: datetime) -> None:
    """Have the passes of a turn renewed, those after ``after``."""
    payload = {"v": 1, "after": None if after is None else str(after), "turn": turn.as_json()}
    outbox.add(session, topic=DAY_TURNED, queue="bulk", program_id=program_id, payload=payload, now=now)


def refresh_turned(
    session: Session, program: ProgramDefinition, turn: Turn, after: UUID | None, now: datetime
) -> UUID | None:
    """Raise the versions of the next part of the passes that a turn has changed and that somebody holds.

    Returns the id to go on after; None when all are done.
    """
    if turn.bars is not None and not turn.names_passes:
        return refresh_moved(session, program, turn.bars, after, now)
    held = held_passes(program.id)
    if not turn.everyone:
        held = held.where(col(IssuedPass.member_id).in_(_members_of(program, turn)))
    reached = refresh_part(session, program.id, held, after, now)
    if reached is None and turn.bars is not None:
        # After all others: who is raised by then is not raised again.
        ask_for_turn(session, program.id, Turn(bars=turn.bars), None, now)
    return reached


def _members_of(program: ProgramDefinition, turn: Turn) -> sa.CompoundSelect[UUID]:
    of_tiers = sa.select(col(MemberTier.member_id)).where(
        col(MemberTier.program_id) == program.id, col(MemberTier.tier).in_(turn.tiers)
    )
    of_windows = sa.select(col(ChallengeProgress.member_id)).where(
        col(ChallengeProgress.program_id) == program.id,
        sa.or_(
            sa.false(),
            *(
                sa.and_(col(ChallengeProgress.challenge) == code, col(ChallengeProgress.window) == window)
                for code, window in turn.windows.items()
            ),
        ),
        sa.or_(col(ChallengeProgress.progress) != 0, col(ChallengeProgress.completions) != 0),
    )
    return of_tiers.union(of_windows)
