"""What must always be true of passes and phones; see :mod:`wallet_server.ledger.invariants`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlmodel import Session

from wallet_server.issuance.models import Device, IssuedPass, Registration, UpdateTag
from wallet_server.issuance.services import PASS_CHANGED
from wallet_server.ledger.invariants import Check, Violation, table, violations
from wallet_server.outbox.models import OutboxRow

PASS, REGISTRATION, DEVICE = table(IssuedPass), table(Registration), table(Device)
TAG, OUTBOX = table(UpdateTag), table(OutboxRow)


def live_passes_are_on_phones(session: Session) -> list[Violation]:
    """P4: an Apple pass is live exactly while a phone is registered for it."""
    held = sa.exists().where(REGISTRATION.c.pass_id == PASS.c.id)
    statement = sa.select(PASS.c.id, PASS.c.serial, PASS.c.live).where(PASS.c.wallet == "apple", PASS.c.live != held)
    return violations(session, "P4", PASS.c.program_id, statement)


def phones_hold_passes(session: Session) -> list[Violation]:
    """P4: a phone that holds no pass is forgotten, and its push token with it."""
    tied = sa.exists().where(REGISTRATION.c.device_id == DEVICE.c.id)
    # A phone belongs to no program, so the one without passes is everybody's finding.
    idle = sa.select(DEVICE.c.id, DEVICE.c.created_at).where(~tied).limit(100)
    return [Violation("P4", str(row.id), f"since {row.created_at}") for row in session.connection().execute(idle)]


def tags_were_given_out(session: Session) -> list[Violation]:
    """P1: no pass has a tag above the last one given, or the next change would go unheard."""
    last = sa.func.coalesce(sa.select(sa.func.max(TAG.c.last)).scalar_subquery(), 0)
    statement = sa.select(PASS.c.id, PASS.c.update_tag).where(PASS.c.update_tag > last)
    return violations(session, "P1", PASS.c.program_id, statement)


def nobody_has_a_version_of_the_future(session: Session) -> list[Violation]:
    """P1: what was pushed or fetched is not newer than the pass."""
    statement = sa.select(PASS.c.id, PASS.c.version, PASS.c.pushed_version, PASS.c.fetched_version).where(
        sa.or_(PASS.c.pushed_version > PASS.c.version, PASS.c.fetched_version > PASS.c.version)
    )
    return violations(session, "P1", PASS.c.program_id, statement)


def changes_of_live_passes_are_on_their_way(session: Session) -> list[Violation]:
    """P6: where a live pass is behind, the outbox of its program still has pushes to do."""
    on_its_way = sa.exists().where(
        OUTBOX.c.program_id == PASS.c.program_id,
        OUTBOX.c.topic == PASS_CHANGED,
        OUTBOX.c.state.in_(("waiting", "leased")),
    )
    statement = sa.select(PASS.c.id, PASS.c.version, PASS.c.pushed_version, PASS.c.fetched_version).where(
        PASS.c.live, PASS.c.version > PASS.c.pushed_version, PASS.c.version > PASS.c.fetched_version, ~on_its_way
    )
    return violations(session, "P6", PASS.c.program_id, statement)


def waits_have_their_reason(session: Session) -> list[Violation]:
    """P7: a pass is behind only while it is held and not shown at its newest, and owes a fetch only of a push."""
    shown = sa.case((PASS.c.wallet == "apple", PASS.c.fetched_version), else_=PASS.c.pushed_version)
    behind = sa.and_(PASS.c.behind_since.is_not(None), sa.or_(~PASS.c.live, shown >= PASS.c.version))
    current = sa.and_(PASS.c.live, PASS.c.behind_since.is_(None), shown < PASS.c.version)
    owes = sa.and_(
        PASS.c.unfetched_since.is_not(None),
        sa.or_(~PASS.c.live, PASS.c.wallet != "apple", PASS.c.fetched_version >= PASS.c.pushed_version),
    )
    statement = sa.select(
        PASS.c.id, PASS.c.version, PASS.c.pushed_version, PASS.c.fetched_version, PASS.c.behind_since
    ).where(sa.or_(behind, current, owes))
    return violations(session, "P7", PASS.c.program_id, statement)


CHECKS: Final[Sequence[Check]] = (
    live_passes_are_on_phones,
    phones_hold_passes,
    tags_were_given_out,
    nobody_has_a_version_of_the_future,
    changes_of_live_passes_are_on_their_way,
    waits_have_their_reason,
)
