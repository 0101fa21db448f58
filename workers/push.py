"""Tell the phones: ``pass.changed``.

A push carries nothing, so a repeated one is harmless: the phone asks what changed, and hears that nothing
did. Changes that came close together are one push: a pass whose newest version was already pushed is
passed over, and a phone with several changed passes is rung once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlmodel import Session, col, select

from passes.apple.push_outcome import PushOutcome, PushVerdict
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.queries import PushTarget, push_targets
from wallet_server.issuance.services import DeadToken, assign_tags, drop_dead_tokens, record_pushed
from wallet_server.outbox.services import Leased
from workers import google
from workers.outcome import OUTAGE_ATTEMPTS_MAX, Again, Settled
from workers.runtime import Runtime

PUSH_DEADLINE_S: Final = 12.0
GOOGLE_DEADLINE: Final = timedelta(seconds=8)
"""Together shorter than the job's time-out, which is shorter than the lease."""
SUSPICIOUS_FROM: Final = 20
SUSPICIOUS_SHARE: Final = 0.05
"""More bad tokens than this in a batch of at least so many: our certificate is wrong, not the phones."""


@dataclass(frozen=True, slots=True)
class _Ringing:
    """What a batch found to push: versions by pass, and the phones."""

    apple: Mapping[UUID, int] = field(default_factory=dict)
    targets: Sequence[PushTarget] = ()
    google: Mapping[UUID, Sequence[UUID]] = field(default_factory=dict)
    """Passes by program."""


def pass_changed(runtime: Runtime, rows: Sequence[Leased]) -> Settled:
    """Push the passes of these rows to Apple's and Google's servers."""
    wanted = [(row, [UUID(item) for item in row.payload["pass_ids"]]) for row in rows]
    with transaction(runtime.context.engine, ALL_PROGRAMS) as session:
        ringing = _prepare(session, sorted({pass_id for _, ids in wanted for pass_id in ids}))
    tokens = sorted({target.push_token for target in ringing.targets})
    outcomes = {
        outcome.token: outcome
        for outcome in (runtime.pusher.push(tokens, deadline_seconds=PUSH_DEADLINE_S) if tokens else [])
    }
    at_google = google.put_cards(runtime, ringing.google, GOOGLE_DEADLINE)
    troubles = {**_troubles(ringing, outcomes), **at_google.troubles}
    rung = {target.pass_id for target in ringing.targets if _accepted(outcomes[target.push_token])}
    pushed = {pass_id: ringing.apple[pass_id] for pass_id in rung - troubles.keys()}
    dead = _dead_tokens(outcomes.values())

    def record(session: Session, now: datetime) -> None:
        record_pushed(session, {**pushed, **at_google.put}, now)
        drop_dead_tokens(session, dead)

    done, again = [], []
    for row, pass_ids in wanted:
        reasons = sorted({troubles[pass_id] for pass_id in pass_ids if pass_id in troubles})
        if reasons:
            again.append(Again(row, "; ".join(reasons), attempts_max=OUTAGE_ATTEMPTS_MAX))
        else:
            done.append(row)
    return Settled(done=done, again=again, record=record)


def _prepare(session: Session, pass_ids: Sequence[UUID]) -> _Ringing:
    """Find what has not been pushed yet and give it its tag; the tag's lock ends with this transaction."""
    changed = session.execute(
        select(IssuedPass.id, IssuedPass.wallet, IssuedPass.program_id).where(
            col(IssuedPass.id).in_(pass_ids),
            col(IssuedPass.live),
            IssuedPass.version > IssuedPass.pushed_version,
        )
    ).all()
    apple = [row.id for row in changed if row.wallet == "apple"]
    at_google: dict[UUID, list[UUID]] = {}
    for row in changed:
        if row.wallet == "google":
            at_google.setdefault(row.program_id, []).append(row.id)
    if not apple:
        return _Ringing(google=at_google)
    assign_tags(session, apple)
    # The version is read after the tag was given: a change that commits later brings its own row.
    versions = session.execute(select(IssuedPass.id, IssuedPass.version).where(col(IssuedPass.id).in_(apple)))
    targets = push_targets(session, apple)
    return _Ringing(apple={row.id: row.version for row in versions}, targets=targets, google=at_google)


def _accepted(outcome: PushOutcome) -> bool:
    return outcome.verdict is PushVerdict.ACCEPTED


def _troubles(ringing: _Ringing, outcomes: Mapping[str, PushOutcome]) -> dict[UUID, str]:
    """The passes of which some phone is still to be told, with the reason."""
    suspicious = _is_suspicious(outcomes.values())
    troubles: dict[UUID, str] = {}
    for target in ringing.targets:
        outcome = outcomes[target.push_token]
        # A phone that has told us its token since is alive, whatever the push service still believes.
        given_up = (
            outcome.verdict is PushVerdict.GONE and (not outcome.timestamp or target.token_at < outcome.timestamp)
        ) or (outcome.verdict is PushVerdict.BAD_TOKEN and not suspicious)
        if not _accepted(outcome) and not given_up:
            troubles[target.pass_id] = f"{outcome.status} {outcome.reason}"
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
