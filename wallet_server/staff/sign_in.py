"""Signing in and staying signed in: limits on tries, sessions in the database.

A password takes about a tenth of a second to check, on purpose. That must not happen inside a writing
transaction, where it would keep every till waiting (SQLite has one writer); and a try has to be counted
even though the door answers it with an error, which rolls a transaction back. So what checks passwords
takes the engine and opens its own short transactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from wallet_server.db import transaction
from wallet_server.errors import DomainError
from wallet_server.staff import audit
from wallet_server.staff.models import LoginAttempt, StaffRole, StaffSession, StaffUser
from wallet_server.staff.passwords import DEFAULT_PASSWORDS, PASSWORD_LENGTH_MAX, Passwords, check_password
from wallet_server.staff.roles import Role, is_at_least
from wallet_server.tokens import fingerprint, new_secret

IDLE_MAX: Final = timedelta(hours=12)
SESSION_MAX: Final = timedelta(days=7)
SEEN_EVERY: Final = timedelta(minutes=1)
"""How exactly it is kept when a session was last used: a row is not written at each click."""
TRIES_WINDOW: Final = timedelta(minutes=15)
TRIES_MAX: Final = 10
"""Per account and address: a stranger elsewhere does not lock the rightful user out."""
TRIES_ADDRESS_MAX: Final = 50
"""Per address over all accounts."""
TRIES_ACCOUNT_MAX: Final = 100
"""Per account over all addresses."""


@dataclass(frozen=True)
class SignedIn:
    """A new session; ``token`` goes into the browser's cookie and is kept here as a fingerprint only."""

    token: str
    session_id: UUID


@dataclass(frozen=True)
class StaffIdentity:
    """Who is signed in, and the person's role in each program."""

    staff_id: UUID
    email: str
    language: str | None
    session_id: UUID
    roles: Mapping[UUID, str]
    password_is_temporary: bool = False
    seen_at: datetime | None = None
    """When the session was last noted to be in use."""

    @property
    def actor(self) -> str:
        """As the audit log names the person."""
        return f"staff:{self.email}"

    def may(self, program_id: UUID, needed: Role) -> bool:
        """Whether the person's role in a program is at least ``needed``."""
        return is_at_least(self.roles.get(program_id), needed)


@dataclass(frozen=True)
class _Account:
    id: UUID
    password_hash: str
    disabled: bool


def sign_in(
    engine: Engine,
    email: str,
    password: str,
    *,
    now: datetime,
    user_agent: str = "",
    address: str = "",
    passwords: Passwords = DEFAULT_PASSWORDS,
) -> SignedIn:
    """Check a password and begin a session; open no transaction around it.

    Raises ``DomainError``: ``login_failed`` (401), the same for a wrong password, an unknown account and a
    disabled one; ``login_throttled`` (429, ``retry_after_seconds``) after ten tries in 15 minutes.
    """
    email, address = email.strip().lower()[:254], address[:64]
    account = _admitted(engine, email, address, now)
    if not passwords.matches(password[: PASSWORD_LENGTH_MAX + 1], account.password_hash if account else None):
        raise _login_failed()
    if account is None or account.disabled:
        raise _login_failed()
    renewed = passwords.hash(password) if passwords.is_outdated(account.password_hash) else None
    token = new_secret()
    row = StaffSession(
        token_fingerprint=fingerprint(token),
        staff_id=account.id,
        created_at=now,
        seen_at=now,
        expires_at=now + SESSION_MAX,
        user_agent=user_agent[:300],
        address=address,
    )
    with transaction(engine) as session:
        user = session.exec(select(StaffUser).where(StaffUser.id == account.id).with_for_update()).one()
        if user.password_hash != account.password_hash or user.disabled_at is not None:
            raise _login_failed()  # changed while we were checking the old one
        if renewed is not None:
            user.password_hash = renewed
            session.add(user)
        session.add(row)
        _forget_tries(session, email, address)
    return SignedIn(token, row.id)


def change_password(
    engine: Engine,
    identity: StaffIdentity,
    *,
    old_password: str,
    new_password: str,
    now: datetime,
    address: str = "",
    passwords: Passwords = DEFAULT_PASSWORDS,
) -> None:
    """Set one's own password and end one's other sessions; open no transaction around it.

    Raises ``DomainError``: ``validation`` for a new password that is no good; ``login_failed`` for a wrong
    old one; ``login_throttled`` as :func:`sign_in` does, because a borrowed browser must not try for ever.
    """
    check_password(new_password, identity.email)
    account = _admitted(engine, identity.email, address[:64], now)
    if not passwords.matches(old_password[: PASSWORD_LENGTH_MAX + 1], account.password_hash if account else None):
        raise _login_failed()
    assert account is not None, "an unknown account matches no password"
    renewed = passwords.hash(new_password)
    with transaction(engine) as session:
        user = session.exec(select(StaffUser).where(StaffUser.id == account.id).with_for_update()).one()
        if user.password_hash != account.password_hash:
            raise _login_failed()
        user.password_hash = renewed
        user.password_is_temporary = False
        session.add(user)
        session.execute(
            sa.update(StaffSession)
            .where(
                col(StaffSession.staff_id) == user.id,
                col(StaffSession.id) != identity.session_id,
                col(StaffSession.ended_at).is_(None),
            )
            .values(ended_at=now)
        )
        _forget_tries(session, identity.email, address[:64])
        audit.record(
            session,
            program_id=None,
            actor=identity.actor,
            action="staff.password_changed",
            subject=identity.email,
            now=now,
        )


def session_of_token(session: Session, token: str, now: datetime, *, note: bool = True) -> StaffIdentity | None:
    """Who holds a session's token; ``None`` for a forged, ended or expired one.

    Notes, at most once a minute, that the session is in use, and needs a writing session over all programs
    for that; with ``note=False`` it only reads (see :func:`note_is_due`).
    """
    found = session.exec(
        select(StaffSession, StaffUser)
        .join(StaffUser, col(StaffUser.id) == StaffSession.staff_id)
        .where(
            StaffSession.token_fingerprint == fingerprint(token),
            col(StaffSession.ended_at).is_(None),
            col(StaffUser.disabled_at).is_(None),
            col(StaffSession.expires_at) > now,
            col(StaffSession.seen_at) > now - IDLE_MAX,
        )
    ).one_or_none()
    if found is None:
        return None
    row, user = found
    if note and now - row.seen_at >= SEEN_EVERY:
        session.execute(sa.update(StaffSession).where(col(StaffSession.id) == row.id).values(seen_at=now))
    roles = session.execute(
        sa.select(col(StaffRole.program_id), col(StaffRole.role)).where(col(StaffRole.staff_id) == user.id)
    )
    return StaffIdentity(
        staff_id=user.id,
        email=user.email,
        language=user.language,
        session_id=row.id,
        roles=dict(roles.all()),
        password_is_temporary=user.password_is_temporary,
        seen_at=row.seen_at,
    )


def note_is_due(identity: StaffIdentity, now: datetime) -> bool:
    """Whether :func:`session_of_token` would have something to note."""
    return identity.seen_at is None or now - identity.seen_at >= SEEN_EVERY


def sign_out(session: Session, token: str, now: datetime) -> None:
    """End a session; a token that is none does nothing."""
    session.execute(
        sa.update(StaffSession)
        .where(col(StaffSession.token_fingerprint) == fingerprint(token), col(StaffSession.ended_at).is_(None))
        .values(ended_at=now)
    )


def _admitted(engine: Engine, email: str, address: str, now: datetime) -> _Account | None:
    """Count this try and read the account, unless there were too many tries."""
    recent = col(LoginAttempt.at) > now - TRIES_WINDOW
    by_email, by_address = col(LoginAttempt.email) == email, col(LoginAttempt.address) == address
    limits = (
        (TRIES_MAX, sa.and_(by_email, by_address)),
        (TRIES_ADDRESS_MAX, by_address),
        (TRIES_ACCOUNT_MAX, by_email),
    )
    with transaction(engine) as session:
        if session.get_bind().dialect.name == "postgresql":
            # One try at a time per account: of twenty sent at once, each would count the others as not yet there.
            session.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(email, 0))))
        session.execute(sa.delete(LoginAttempt).where(col(LoginAttempt.at) <= now - TRIES_WINDOW))
        for limit, which in limits:
            tries = session.exec(
                select(LoginAttempt.at).where(recent, which).order_by(col(LoginAttempt.at).desc()).limit(limit)
            ).all()
            if len(tries) >= limit:
                wait_s = max(1, round((tries[-1] + TRIES_WINDOW - now).total_seconds()))
                raise DomainError(
                    "login_throttled",
                    "too many tries; wait a little",
                    status=429,
                    retry_after_seconds=wait_s,
                )
        session.add(LoginAttempt(email=email, address=address, at=now))
        user = session.exec(select(StaffUser).where(StaffUser.email == email)).one_or_none()
    return _Account(user.id, user.password_hash, user.disabled_at is not None) if user else None


def _forget_tries(session: Session, email: str, address: str) -> None:
    session.execute(
        sa.delete(LoginAttempt).where(col(LoginAttempt.email) == email, col(LoginAttempt.address) == address)
    )


def _login_failed() -> DomainError:
    return DomainError("login_failed", "the e-mail address or the password is wrong", status=401)
