"""Send mails: ``mail.due``.

Two short transactions around a conversation with the mail server, and one in its middle: right before the end
of a text is said, ``handed_over`` is committed. That is what keeps a mail from going out twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.mail.letters import write_letter
from wallet_server.mail.sender import Outcome, Verdict
from wallet_server.mail.services import Due, hand_over, settle, take_up
from wallet_server.outbox.services import Leased
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from workers.outcome import OUTAGE_ATTEMPTS_MAX, Again, Settled
from workers.runtime import Runtime

BEGIN_WITHIN_S: Final = 5.0
"""With the 18 seconds that one mail may take, shorter than the job's time-out."""
NEXT_TURN: Final = timedelta(seconds=0.5)
NO_TIME_LEFT: Final = "other mails took the time of this turn"
NO_MAIL_SERVER: Final = "no mail server is set (WALLET_SMTP_URL)"
_REPEATED: Final = frozenset({Verdict.LATER, Verdict.OURS})


def mail_due(runtime: Runtime, rows: Sequence[Leased]) -> Settled:
    """Send the mails of these rows, one after the other."""
    named = {UUID(row.payload["mail_id"]): row for row in rows}
    context = runtime.context
    with transaction(context.engine, ALL_PROGRAMS) as session:
        due = take_up(
            session,
            named.keys(),
            context.mint,
            public_url=context.settings.public_url,
            now=context.clock.now(),
        )
    programs = _programs(runtime, due)
    outcomes: dict[UUID, Outcome] = {}
    ends_at = time.monotonic() + BEGIN_WITHIN_S
    for mail_id, one in due.items():
        if outcomes and time.monotonic() > ends_at:
            break
        outcomes[mail_id] = _send(runtime, programs[one.program_id], one)

    def record(session: Session, now: datetime) -> None:
        settle(session, outcomes, now)

    again = [
        Again(named[mail_id], outcome.reason, attempts_max=OUTAGE_ATTEMPTS_MAX)
        for mail_id, outcome in outcomes.items()
        if outcome.verdict in _REPEATED
    ]
    again += [
        Again(named[mail_id], NO_TIME_LEFT, delay=NEXT_TURN, attempts_max=OUTAGE_ATTEMPTS_MAX)
        for mail_id in due.keys() - outcomes.keys()
    ]
    repeated = {one.row.id for one in again}
    return Settled(done=[row for row in rows if row.id not in repeated], again=again, record=record)


def _programs(runtime: Runtime, due: Mapping[UUID, Due]) -> dict[UUID, ProgramDefinition]:
    with reading(runtime.context.engine, ALL_PROGRAMS) as session:
        return {
            program_id: load_program(session, program_id=program_id)
            for program_id in {one.program_id for one in due.values()}
        }


def _send(runtime: Runtime, program: ProgramDefinition, due: Due) -> Outcome:
    context = runtime.context
    log = structlog.get_logger().bind(mail=str(due.order.mail_id), kind=due.order.kind)
    if runtime.mail is None:
        return Outcome(Verdict.REFUSED, NO_MAIL_SERVER)
    try:
        letter = write_letter(
            due.order,
            program,
            mail_from=context.settings.WALLET_MAIL_FROM,
            written_at=context.machine_clock.now(),
        )
    except ValueError as error:
        return Outcome(Verdict.REFUSED, f"the address cannot be written to: {type(error).__name__}")

    def begin() -> bool:
        with transaction(context.engine, ALL_PROGRAMS) as session:
            return hand_over(session, due.order.mail_id, context.clock.now())

    outcome = runtime.mail.send(letter, begin)
    if outcome.verdict is Verdict.OURS:
        log.error("the mail server refuses us", reason=outcome.reason)
    elif outcome.verdict is not Verdict.SENT:
        log.warning("a mail was not sent", verdict=outcome.verdict.value, reason=outcome.reason)
    return outcome
