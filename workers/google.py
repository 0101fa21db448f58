"""Bring cards at Google Wallet up to date. Writing the same state twice is harmless."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from wallet_server.db import reading
from wallet_server.issuance.content import CardState
from wallet_server.issuance.google import GoogleTroubleError
from wallet_server.issuance.queries import card_states
from wallet_server.notifications.queries import said_to
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from workers.runtime import Runtime

NO_TIME_LEFT: Final = "Google takes 20 calls a second: the rest waits for the next turn"


@dataclass(frozen=True, slots=True)
class AtGoogle:
    """``put``: the version of each card that Google has now; ``troubles``: why the others are still to do."""

    put: dict[UUID, int] = field(default_factory=dict)
    troubles: dict[UUID, str] = field(default_factory=dict)


def put_cards(runtime: Runtime, passes: Mapping[UUID, Sequence[UUID]], deadline: timedelta) -> AtGoogle:
    """Send cards (by program) to Google, as many as the deadline allows."""
    result = AtGoogle()
    ends_at = time.monotonic() + deadline.total_seconds()
    for program_id, pass_ids in passes.items():
        if runtime.google is None:
            result.troubles.update(dict.fromkeys(pass_ids, "Google Wallet is not set up"))
            continue
        program, states = _read(runtime, program_id, pass_ids)
        for state in states:
            if time.monotonic() > ends_at:
                result.troubles[state.pass_id] = NO_TIME_LEFT
                continue
            page_token = runtime.context.mint.page_token(state.member_id, state.member_token_generation)
            try:
                runtime.google.put(program, state, page_url=f"{runtime.context.settings.public_url}/m/{page_token}")
            except GoogleTroubleError as trouble:
                result.troubles[state.pass_id] = str(trouble)
                if trouble.ours:
                    structlog.get_logger().error("Google Wallet refuses us", reason=str(trouble))
            else:
                result.put[state.pass_id] = state.version
    return result


def _read(runtime: Runtime, program_id: UUID, pass_ids: Sequence[UUID]) -> tuple[ProgramDefinition, list[CardState]]:
    now = runtime.context.clock.now()
    with reading(runtime.context.engine, program_id) as session:
        program = load_program(session, program_id=program_id)
        return program, card_states(session, program, pass_ids, now, news=said_to)
