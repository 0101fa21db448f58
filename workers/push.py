"""Tell the phones: ``pass.changed``. Before that the governor decides what they may say of it.

A push carries nothing, so a repeated one is harmless: the phone asks what changed, and hears that nothing
did. Changes that came close together are one push: a pass whose newest version was already pushed is
passed over, and a phone with several changed passes is rung once.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlmodel import Session

from passes.apple.push_outcome import PushOutcome, PushVerdict
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance.deliveries import record_pushed, record_refused
from wallet_server.issuance.phones import DeadToken, drop_dead_tokens
from wallet_server.issuance.pushes import PushTarget, changed_passes, lock_passes, tag_passes
from wallet_server.notifications.settling import Change, settle
from wallet_server.outbox.services import Leased
from wallet_server.reads import kept_uuid
from workers import google
from workers.outcome import OUTAGE_ATTEMPTS_MAX, Again, Settled
from workers.runtime import Runtime

_Ring = tuple[UUID | None, str]
"""Line and push token: a phone with passes of two types is rung for each of them."""
_Outcomes = dict[_Ring, PushOutcome]

PUSH_DEADLINE_S: Final = 12.0
GOOGLE_DEADLINE: Final = timedelta(seconds=8)
"""Together shorter than the job's time-out, which is shorter than the lease."""
LINE_DEADLINE_S_MIN: Final = 1.0
"""What the last of several pass types has at least; the rest is tried again."""
SUSPICIOUS_FROM: Final = 20
SUSPICIOUS_SHARE: Final = 0.05
"""More bad tokens than this in a batch of at least so many: our certificate is wrong, not the phones."""


@dataclass(frozen=True, slots=True)
class _Ringing:
    """What a batch found to push: versions by pass, and the phones, each with the ring that it gets."""

    apple: Mapping[UUID, int] = field(default_factory=dict)
    phones: Sequence[tuple[PushTarget, _Ring]] = ()
    google: Mapping[UUID, Sequence[UUID]] = field(default_factory=dict)
    """Passes by program."""


def pass_changed(runtime: Runtime, rows: Sequence[Leased]) -> Settled:
    """Push the passes of these rows to Apple's and Google's servers."""
    wanted = [(row, [kept_uuid(item) for item in row.payload["pass_ids"]]) for row in rows]
    changes = [change for row in rows if (change := Change.of(row.program_id, row.payload))]
    with transaction(runtime.context.engine, ALL_PROGRAMS) as session:
        changed = {pass_id for _row, pass_ids in wanted for pass_id in pass_ids}
        now = runtime.context.clock.now()
        settle(session, changes, now, pushed=changed)
        ringing = prepare(session, changed, runtime.program_pushers.keys(), now)
    outcomes = _ring(runtime, ringing)
    at_google = google.put_cards(runtime, ringing.google, GOOGLE_DEADLINE)
    troubles = {**_troubles(ringing, outcomes), **at_google.troubles}
    rung = {phone.pass_id for phone, key in ringing.phones if _accepted(outcomes[key])}
    pushed = {pass_id: ringing.apple[pass_id] for pass_id in rung - troubles.keys()}
    # What is alive for one pass type is no dead phone: another type's certificate may be wrong.
    alive = {outcome.token for outcome in outcomes.values() if _accepted(outcome)}
    dead = [token for token in _dead_tokens(outcomes.values()) if token.push_token not in alive]

    def record(session: Session, now: datetime) -> None:
        # Hours are counted last: all workers share their rows.
        drop_dead_tokens(session, dead, now)
        lock_passes(session, [*troubles, *pushed, *at_google.put])
        record_refused(session, {key: reason for key, reason in troubles.items() if reason != google.NO_TIME_LEFT})
        record_pushed(session, {**pushed, **at_google.put}, now)
        at_google.record(session, now)

    done, again = [], []
    for row, pass_ids in wanted:
        reasons = sorted({troubles[pass_id] for pass_id in pass_ids if pass_id in troubles})
        if reasons:
            again.append(Again(row, "; ".join(reasons), attempts_max=OUTAGE_ATTEMPTS_MAX))
        else:
            done.append(row)
    return Settled(done=done, again=again, record=record)


def _ring(runtime: Runtime, ringing: _Ringing) -> _Outcomes:
    """Push once to each phone on each line; what came of it by line and push token."""
    tokens: dict[UUID | None, set[str]] = {}
    for _phone, (line, token) in ringing.phones:
        tokens.setdefault(line, set()).add(token)
    ends_at = time.monotonic() + PUSH_DEADLINE_S
    outcomes: _Outcomes = {}
    for line, on_line in tokens.items():
        pusher = runtime.pusher if line is None else runtime.program_pushers[line]
        left = max(LINE_DEADLINE_S_MIN, ends_at - time.monotonic())
        for outcome in pusher.push(sorted(on_line), deadline_seconds=left):
            outcomes[line, outcome.token] = outcome
    return outcomes


def prepare(session: Session, pass_ids: Collection[UUID], own_lines: Collection[UUID], now: datetime) -> _Ringing:
    """Find what has not been pushed yet and give it its tag; the tag's lock ends with this transaction.

    The passes are locked before the tag, in the order of their ids: whoever has the tag waits for no pass that
    another worker, who waits for the tag, has changed.
    """
    versions: dict[UUID, int] = {}
    lines: dict[UUID, UUID | None] = {}  # its program's own, or that of all others
    at_google: dict[UUID, list[UUID]] = {}
    for pass_id, wallet, program_id, version in changed_passes(session, pass_ids):
        if wallet == "apple":
            versions[pass_id] = version
            lines[pass_id] = program_id if program_id in own_lines else None
        else:
            at_google.setdefault(program_id, []).append(pass_id)
    if not versions:
        return _Ringing(google=at_google)
    targets = tag_passes(session, versions, now).targets
    phones = [(phone, (lines[phone.pass_id], phone.push_token)) for phone in targets]
    return _Ringing(versions, phones, at_google)


def _accepted(outcome: PushOutcome) -> bool:
    return outcome.verdict is PushVerdict.ACCEPTED


def _troubles(ringing: _Ringing, outcomes: _Outcomes) -> dict[UUID, str]:
    """The passes of which some phone is still to be told, with the reason."""
    suspicious = _is_suspicious(outcomes.values())
    troubles: dict[UUID, str] = {}
    for phone, key in ringing.phones:
        outcome = outcomes[key]
        if _accepted(outcome):
            continue
        # A phone that has told us its token since is alive, whatever the push service still believes.
        given_up = (
            outcome.verdict is PushVerdict.GONE and (not outcome.timestamp or phone.token_at < outcome.timestamp)
        ) or (outcome.verdict is PushVerdict.BAD_TOKEN and not suspicious)
        if not given_up:
            troubles[phone.pass_id] = f"{outcome.status} {outcome.reason}"
    wrong = [outcome for outcome in outcomes.values() if outcome.verdict is PushVerdict.CONFIGURATION]
    if wrong or suspicious:
        first = wrong[0] if wrong else next(o for o in outcomes.values() if o.verdict is PushVerdict.BAD_TOKEN)
        structlog.get_logger().error(
            "the push service refuses us: look at the certificate", status=first.status, reason=first.reason
        )
    return troubles


def _is_suspicious(outcomes: Collection[PushOutcome]) -> bool:
    bad = sum(outcome.verdict is PushVerdict.BAD_TOKEN for outcome in outcomes)
    return len(outcomes) >= SUSPICIOUS_FROM and bad > SUSPICIOUS_SHARE * len(outcomes)


def _dead_tokens(outcomes: Collection[PushOutcome]) -> list[DeadToken]:
    dead = [DeadToken(o.token, o.timestamp) for o in outcomes if o.verdict is PushVerdict.GONE]
    if not _is_suspicious(outcomes):
        dead += [DeadToken(o.token, None) for o in outcomes if o.verdict is PushVerdict.BAD_TOKEN]
    return dead
