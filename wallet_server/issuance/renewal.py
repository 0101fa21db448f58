"""A renewed certificate: passes stay as they are, and whoever asks for one next gets it signed anew.

Phones say since when they have their copy (``If-Modified-Since``); a copy that another certificate signed counts
as changed, so every pass's ``last_modified`` moves when a program's certificate is another than before. Nobody is
pushed: what is installed keeps working.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.issuance.credentials import Wallets
from wallet_server.issuance.models import IssuedPass, SigningCertificate
from wallet_server.issuance.services import one_second_after
from wallet_server.programs.models import Program


def certificates_to_take(session: Session, wallets: Wallets) -> dict[UUID, str]:
    """Fingerprint by program, where another certificate signs than the last one known (scope ``ALL_PROGRAMS``)."""
    known: Mapping[UUID, str] = {row.program_id: row.fingerprint for row in session.exec(select(SigningCertificate))}
    signs = {program_id: wallets.signer_of(program_id).fingerprint for program_id in session.exec(select(Program.id))}
    return {program_id: one for program_id, one in signs.items() if known.get(program_id) != one}


def take_certificates(session: Session, wallets: Wallets, now: datetime) -> int:
    """Remember who signs from now on, and have the passes of others fetched anew; how many programs there were.

    Of processes that start together one does it; the others find nothing left.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(sa.text("LOCK TABLE signing_certificate IN SHARE ROW EXCLUSIVE MODE"))
    changed = certificates_to_take(session, wallets)
    for program_id, fingerprint in changed.items():
        session.merge(SigningCertificate(program_id=program_id, fingerprint=fingerprint, first_used_at=now))
    _count_as_changed(session, changed.keys(), now)
    return len(changed)


def _count_as_changed(session: Session, program_ids: Collection[UUID], now: datetime) -> None:
    second = now.replace(microsecond=0)
    mine = sa.and_(col(IssuedPass.program_id).in_(list(program_ids)), col(IssuedPass.wallet) == "apple")
    # Locked in the order of their ids, as everybody who changes several passes does.
    locked = sa.select(col(IssuedPass.id)).where(mine).order_by(col(IssuedPass.id)).with_for_update().cte("locked")
    modified = col(IssuedPass.last_modified)
    session.execute(
        sa.update(IssuedPass)
        .where(col(IssuedPass.id).in_(sa.select(locked.c.id)))
        .values(last_modified=sa.case((modified < second, second), else_=one_second_after(modified))),
        execution_options={"synchronize_session": False},
    )
