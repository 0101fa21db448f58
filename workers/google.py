"""Bring cards at Google Wallet up to date. Writing the same state twice is harmless."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlmodel import Session

from wallet_server.db import reading, transaction
from wallet_server.issuance.content import CardState
from wallet_server.issuance.google import CardMessage, GoogleTroubleError
from wallet_server.issuance.queries import card_states
from wallet_server.notifications import at_google
from wallet_server.notifications.at_google import Due, Taken
from wallet_server.notifications.queries import said_to
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from workers.runtime import Runtime

TOLD_ELSEWHERE: Final = "another worker tells this card a message"
NO_TIME_LEFT: Final = "Google takes 20 calls a second: the rest waits for the next turn"
CARDS_A_TURN_MAX: Final = 400
"""Cards that are read, and whose messages are taken, in one turn: more than Google takes in its time."""


@dataclass(frozen=True, slots=True)
class AtGoogle:
    """``put``: the version of each card that Google has now; ``troubles``: why the others are still to do."""

    put: dict[UUID, int] = field(default_factory=dict)
    troubles: dict[UUID, str] = field(default_factory=dict)
    told: dict[UUID, bool] = field(default_factory=dict)
    """Messages that Google has, and whether it notified of them."""
    untold: set[UUID] = field(default_factory=set)
    """Messages that are still to be told."""

    def record(self, session: Session, now: datetime) -> None:
        """Write down what became of the messages."""
        at_google.told(session, {key: loud for key, loud in self.told.items() if key not in self.untold}, now)
        at_google.give_back(session, self.untold, now)


def put_cards(runtime: Runtime, passes: Mapping[UUID, Sequence[UUID]], deadline: timedelta) -> AtGoogle:
    """Send cards (by program) to Google, as many as the deadline allows."""
    result = AtGoogle()
    ends_at = time.monotonic() + deadline.total_seconds()
    room = CARDS_A_TURN_MAX
    for program_id, wanted in passes.items():
        if runtime.google is None:
            result.troubles.update(dict.fromkeys(wanted, "Google Wallet is not set up"))
            continue
        pass_ids = wanted[:room]
        room -= len(pass_ids)
        result.troubles.update(dict.fromkeys(wanted[len(pass_ids) :], NO_TIME_LEFT))
        if not pass_ids:
            continue
        program, states = _read(runtime, program_id, pass_ids)
        # Who holds a voided card is told nothing of the member's.
        taken = _take(runtime, program_id, [state.member_id for state in states if not state.voided])
        for state in states:
            if state.member_id in taken.elsewhere and not state.voided:
                result.troubles[state.pass_id] = TOLD_ELSEWHERE
                continue
            mine = () if state.voided else taken.due.get(state.member_id, ())
            if time.monotonic() > ends_at:
                result.troubles[state.pass_id] = NO_TIME_LEFT
                result.untold.update(one.id for one in mine)
                continue
            page_token = runtime.context.mint.page_token(state.member_id, state.member_token_generation)
            try:
                notified = runtime.google.put(
                    program,
                    state,
                    page_url=f"{runtime.context.settings.public_url}/m/{page_token}",
                    notify=any(one.way == "balance" for one in mine),
                    messages=[_message(one) for one in mine if one.way != "balance"],
                )
            except GoogleTroubleError as trouble:
                result.troubles[state.pass_id] = str(trouble)
                result.untold.update(one.id for one in mine)
                if trouble.ours:
                    structlog.get_logger().error("Google Wallet refuses us", reason=str(trouble))
            else:
                result.put[state.pass_id] = state.version
                result.told.update({one.id: notified.get(one.message_id, True) for one in mine})
    return result


def _take(runtime: Runtime, program_id: UUID, member_ids: Sequence[UUID]) -> Taken:
    with transaction(runtime.context.engine, program_id) as session:
        return at_google.take(session, member_ids, runtime.context.clock.now())


def _message(due: Due) -> CardMessage:
    return CardMessage(
        due.message_id, due.text, notify=due.way == "notice", may_be_there=due.may_be_there, ends_at=due.ends_at
    )


def _read(runtime: Runtime, program_id: UUID, pass_ids: Sequence[UUID]) -> tuple[ProgramDefinition, list[CardState]]:
    now = runtime.context.clock.now()
    with reading(runtime.context.engine, program_id) as session:
        program = load_program(session, program_id=program_id)
        return program, card_states(session, program, pass_ids, now, news=said_to)
