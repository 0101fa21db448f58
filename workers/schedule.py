"""What is due by the clock. Every task may run twice, or in two processes: the database decides what is left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from wallet_server.campaigns.services import fail_given_up
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, refresh_planner_statistics, transaction
from wallet_server.idempotency.services import prune as prune_idempotency_keys
from wallet_server.issuance.google_events import prune_callbacks
from wallet_server.issuance.lapses import lapse_vouchers
from wallet_server.issuance.pushes import lock_passes
from wallet_server.issuance.turns import turn_programs
from wallet_server.issuance.voiding import untie_phones
from wallet_server.issuance.watch import KEEP_HOURS, prune_hours
from wallet_server.mail.services import prune as prune_mails
from wallet_server.notifications.ending import end_messages
from wallet_server.notifications.services import prune as prune_messages
from wallet_server.notifications.services import tell_tiers
from wallet_server.notifications.settling import wake
from wallet_server.outbox.services import prune as prune_outbox
from wallet_server.programs.queries import load_program
from wallet_server.purchases.clockwork import expire_due_holds, expire_due_points, run_due_zeroing
from wallet_server.purchases.services import release_due_points
from wallet_server.recovery.services import prune as prune_recoveries
from wallet_server.tiers.services import review_due
from wallet_server.webhooks.deliveries import prune as prune_deliveries
from wallet_server.webhooks.deliveries import ring_forgotten
from workers.delivery import count_deliveries, watch_deliveries

KEEP_DONE_ROWS: Final = timedelta(days=7)
KEEP_IDEMPOTENCY_KEYS: Final = timedelta(days=90)
KEEP_CALLBACKS: Final = timedelta(days=30)
KEEP_DELIVERIES: Final = timedelta(days=30)
KEEP_MAILS: Final = timedelta(days=30)
KEEP_MESSAGES: Final = timedelta(days=90)
CERTIFICATE_WARNING: Final = timedelta(days=60)
CERTIFICATE_ALARM: Final = timedelta(days=7)
TURNS_MAX: Final = 100
"""Batches of one task in one go; the rest is done at its next time."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do every so often; ``every`` is the machine's time."""

    name: str
    every: timedelta
    run: Callable[[ServerContext], None]


def release_points(context: ServerContext) -> None:
    """Make pending points spendable whose time has come, and show it on the passes."""
    for _ in range(TURNS_MAX):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            released = release_due_points(session, context.clock.now())
        if not released:
            return


def review_tiers(context: ServerContext) -> None:
    """Lower tiers that are no longer reached, end temporary ones, lift by tenure; and show it on the passes."""
    for _ in range(TURNS_MAX):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            now = context.clock.now()
            reviewed = review_due(session, now)
            lock_passes(session, (), of_members=reviewed.changed)
            for program_id, member_ids in reviewed.changed.items():
                tell_tiers(session, load_program(session, program_id=program_id), member_ids, now)
        if not reviewed.looked_at:
            return


def expire_points(context: ServerContext) -> None:
    """Let points expire whose time is over, and show it on the passes."""
    for _ in range(TURNS_MAX):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            expired = expire_due_points(session, context.clock.now())
        if not expired:
            return


def expire_vouchers(context: ServerContext) -> None:
    """Take vouchers off the cards whose time is over."""
    for _ in range(TURNS_MAX):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            if not lapse_vouchers(session, context.clock.now()):
                return


def expire_holds(context: ServerContext) -> None:
    """Free points that a till has set aside and not asked for again."""
    for _ in range(TURNS_MAX):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            freed = expire_due_holds(session, context.clock.now())
        if not freed:
            return


def zero_balances(context: ServerContext) -> None:
    """Run the zeroing rules that are due, batch by batch; one that was broken off goes on."""
    for _ in range(TURNS_MAX):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            did_something = run_due_zeroing(session, context.clock.now())
        if not did_something:
            return


def wake_messages(context: ServerContext) -> None:
    """Show what was put off until now: what happened in the night is said in the morning."""
    for _ in range(TURNS_MAX):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            if not wake(session, context.clock.now()):
                return


def end_due_messages(context: ServerContext) -> None:
    """Take messages off the cards whose time is over: an offer that has ended."""
    for _ in range(TURNS_MAX):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            if not end_messages(session, context.clock.now()):
                return


def turn_days(context: ServerContext) -> None:
    """Show a new day on the passes of programs where it has begun: seasons of looks, windows of challenges."""
    after = None
    for _ in range(TURNS_MAX):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            after = turn_programs(session, context.clock.now(), after)
        if after is None:
            return


def fail_lost_recipients(context: ServerContext) -> None:
    """Say of members whose campaign batch was given up that they were not reached."""
    with transaction(context.engine, ALL_PROGRAMS) as session:
        fail_given_up(session, context.clock.now())


def ring_forgotten_webhooks(context: ServerContext) -> None:
    """Ask again for messages to others whose row of work was given up."""
    with transaction(context.engine, ALL_PROGRAMS) as session:
        ring_forgotten(session, context.clock.now())


def prune(context: ServerContext) -> None:
    """Delete what nobody asks for any more."""
    now = context.machine_clock.now()
    for prune_one, before in (
        (prune_outbox, now - KEEP_DONE_ROWS),
        (prune_idempotency_keys, now - KEEP_IDEMPOTENCY_KEYS),
        (prune_callbacks, now - KEEP_CALLBACKS),
        (prune_deliveries, now - KEEP_DELIVERIES),
        (prune_hours, now - KEEP_HOURS),
        (prune_messages, now - KEEP_MESSAGES),
        (prune_mails, now - KEEP_MAILS),
        (prune_recoveries, now - KEEP_MAILS),
    ):
        for _ in range(TURNS_MAX):
            with transaction(context.engine, ALL_PROGRAMS) as session:
                if not prune_one(session, before):
                    break


def untie_phones_of_void_passes(context: ServerContext) -> None:
    """Forget which phones held passes that are no longer good."""
    for _ in range(TURNS_MAX):
        with transaction(context.engine, ALL_PROGRAMS) as session:
            if not untie_phones(session, context.clock.now()):
                return


def count_rows(context: ServerContext) -> None:
    """Let the database count its rows, so that it goes on choosing indexes by facts as the program grows."""
    refresh_planner_statistics(context.engine)


def watch_certificate(context: ServerContext) -> None:
    """Say in the log that Apple's certificate is about to expire, from 60 days before; an alarm from 7."""
    wallets, now = context.wallets, context.machine_clock.now()
    for signer in (wallets.signer, *wallets.programs.values()):
        left = signer.not_after - now
        log = structlog.get_logger().bind(expires=f"{signer.not_after:%Y-%m-%d}", pass_type=signer.pass_type_id)
        if left < timedelta(0):
            log.error("Apple's certificate has expired: passes can neither be added nor updated until it is renewed")
        elif left < CERTIFICATE_ALARM:
            log.error("Apple's certificate expires within a week", days=left.days)
        elif left < CERTIFICATE_WARNING:
            log.warning("Apple's certificate expires soon", days=left.days)


TASKS: Final = (
    Task("release points", timedelta(seconds=2), release_points),
    Task("review tiers", timedelta(seconds=2), review_tiers),
    Task("expire holds", timedelta(seconds=2), expire_holds),
    Task("expire points", timedelta(seconds=10), expire_points),
    Task("expire vouchers", timedelta(seconds=10), expire_vouchers),
    Task("zero balances", timedelta(seconds=30), zero_balances),
    Task("wake messages", timedelta(seconds=5), wake_messages),
    Task("end messages", timedelta(seconds=10), end_due_messages),
    Task("count deliveries", timedelta(seconds=5), count_deliveries),
    Task("watch deliveries", timedelta(minutes=1), watch_deliveries),
    Task("turn days", timedelta(seconds=30), turn_days),
    Task("fail lost recipients", timedelta(seconds=10), fail_lost_recipients),
    Task("ring forgotten webhooks", timedelta(minutes=1), ring_forgotten_webhooks),
    Task("prune", timedelta(hours=1), prune),
    Task("untie phones of void passes", timedelta(hours=1), untie_phones_of_void_passes),
    Task("count rows", timedelta(hours=24), count_rows),
    Task("watch certificate", timedelta(hours=12), watch_certificate),
)


@dataclass
class Scheduler:
    """The tick: runs each task at its time; one that fails does not stop the others.

    ``context`` is asked before each turn: imported keys are others than those at the start.
    """

    context: Callable[[], ServerContext]
    monotonic: Callable[[], float]
    tasks: tuple[Task, ...] = TASKS
    _due_at: dict[str, float] = field(default_factory=dict, init=False)

    def turn(self) -> None:
        """Run the tasks that are due."""
        context = self.context()
        for task in self.tasks:
            now = self.monotonic()
            if now < self._due_at.get(task.name, now):
                continue
            self._due_at[task.name] = now + task.every.total_seconds()
            try:
                task.run(context)
            except Exception as error:  # noqa: BLE001 - the others must go on, and this one comes again
                structlog.get_logger().error("a scheduled task failed", task=task.name, exc_info=error)

    def run(self, stop: threading.Event) -> None:
        """Take turns until ``stop`` is set."""
        while not stop.is_set():
            self.turn()
            stop.wait(0.5)
