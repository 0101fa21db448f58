"""The tick's part in the truth about deliveries: count fetches, look at all passes, raise the alarm."""

from __future__ import annotations

import structlog

from wallet_server.campaigns.reached import note_reached
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.deliveries import count_fetches, fetches_by_program, uncounted_fetches
from wallet_server.issuance.watch import Alarm, look, take_stock
from wallet_server.programs.queries import load_program

LOOK_AT: dict[tuple[str, bool], str] = {
    ("unfetched", True): (
        "phones do not fetch updates: look whether WALLET_PUBLIC_URL answers from outside, its certificate, "
        "and the log for errors of /apple"
    ),
    ("unfetched", False): "phones fetch updates again",
    ("refused", True): "updates of passes are refused: look at the reason, and run wallet-server doctor",
    ("refused", False): "updates of passes are taken again",
}


def count_deliveries(context: ServerContext) -> None:
    """Count what phones have fetched since the last time; nothing is written where nothing was fetched."""
    with reading(context.engine, ALL_PROGRAMS) as session:
        found = uncounted_fetches(session, context.clock.now())
    # A mark that is ahead of us was left by the sandbox's clock, and has to come back.
    if found.since is not None and not found.fetched and found.since <= found.until:
        return
    with transaction(context.engine, ALL_PROGRAMS) as session:
        if count_fetches(session, found):
            for program_id, members in fetches_by_program(found.fetched).items():
                note_reached(session, program_id, members)


def watch_deliveries(context: ServerContext) -> None:
    """Look at the passes of all programs, for the metrics, and say in the log when an alarm begins or ends."""
    now = context.clock.now()
    with reading(context.engine, ALL_PROGRAMS) as session:
        found = look(session, now)
    with transaction(context.engine, ALL_PROGRAMS) as session:
        alarms = take_stock(session, found, now)
        named = [(alarm, load_program(session, program_id=alarm.program_id).slug) for alarm in alarms]
    for alarm, slug in named:
        _say(alarm, slug)


def _say(alarm: Alarm, slug: str) -> None:
    log = structlog.get_logger().bind(program=slug)
    if alarm.kind == "refused":
        log = log.bind(passes=alarm.refused, reason=alarm.reason)
    else:
        log = log.bind(fetched_share=alarm.share, usual_share=alarm.usual)
    (log.error if alarm.on else log.info)(LOOK_AT[alarm.kind, alarm.on])
