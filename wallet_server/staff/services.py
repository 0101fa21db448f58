"""Staff accounts: making them, and everything that ends their sessions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.errors import DomainError, NotFoundError
from wallet_server.i18n import LANGUAGES
from wallet_server.staff import audit
from wallet_server.staff.models import StaffRole, StaffSession, StaffUser
from wallet_server.staff.passwords import DEFAULT_PASSWORDS, Passwords, check_password, one_time_password
from wallet_server.staff.roles import ROLES
from wallet_server.staff.sign_in import SignedIn, StaffIdentity, change_password, session_of_token, sign_in, sign_out

__all__ = [
    "SignedIn", "StaffIdentity", "change_password", "create_staff", "grant_role", "reset_password",
    "session_of_token", "set_disabled", "set_language", "set_role", "sign_in", "sign_out",
]  # fmt: skip

EMAIL_LENGTH_MAX = 254


def create_staff(
    session: Session,
    *,
    program_id: UUID,
    email: str,
    role: str,
    password: str | None = None,
    now: datetime,
    actor: str,
    passwords: Passwords = DEFAULT_PASSWORDS,
) -> str:
    """Make an account with a role; returns its password, a temporary one if none is given.

    Raises ``DomainError``: ``validation``; ``staff_exists`` for an e-mail address that has an account, whose
    password somebody else's program must not set (see :func:`grant_role`).
    """
    email = _email(email)
    _check_role(role)
    if _user(session, email) is not None:
        raise DomainError("staff_exists", f"{email} has an account already", status=409)
    chosen = check_password(password, email) if password is not None else one_time_password()
    user = StaffUser(
        email=email,
        password_hash=passwords.hash(chosen),
        password_is_temporary=password is None,
        created_at=now,
    )
    session.add(user)
    session.flush()
    _add_role(session, program_id, user, role, now=now, actor=actor)
    return chosen


def grant_role(session: Session, *, program_id: UUID, email: str, role: str, now: datetime, actor: str) -> None:
    """Give somebody who has an account a role in one more program; the password stays.

    Raises ``DomainError``: ``validation``; ``staff_exists`` for somebody who has a role here; and
    ``NotFoundError(unknown_staff)``.
    """
    _check_role(role)
    user = _user(session, _email(email))
    if user is None:
        raise NotFoundError("unknown_staff", "there is no such account")
    if _role(session, program_id, user.id) is not None:
        raise DomainError("staff_exists", f"{user.email} has a role in this program already", status=409)
    _add_role(session, program_id, user, role, now=now, actor=actor)


def set_role(session: Session, *, program_id: UUID, email: str, role: str | None, now: datetime, actor: str) -> None:
    """Change a role, or take it away with ``None``; the person's sessions end.

    Raises ``DomainError``: ``validation``; ``last_owner`` where nobody would be left to undo it; and
    ``NotFoundError(unknown_staff)``.
    """
    if role is not None:
        _check_role(role)
    user = _user(session, _email(email))
    # All roles of the program are locked: two owners that demote each other at once would both succeed.
    roles = session.exec(
        select(StaffRole).where(StaffRole.program_id == program_id).order_by(col(StaffRole.id)).with_for_update()
    ).all()
    row = next((row for row in roles if user is not None and row.staff_id == user.id), None)
    if user is None or row is None:
        raise NotFoundError("unknown_staff", "nobody with this address works with this program")
    if row.role == role:
        return
    if row.role == "owner" and sum(other.role == "owner" for other in roles) == 1:
        raise DomainError("last_owner", "the last owner of a program keeps that role", status=409)
    before = row.role
    if role is None:
        session.delete(row)
    else:
        row.role = role
        session.add(row)
    _end_sessions(session, user.id, now)
    detail = {"from": before, "to": role}
    audit.record(
        session, program_id=program_id, actor=actor, action="staff.role_changed", subject=user.email, detail=detail,
        now=now,
    )  # fmt: skip


def reset_password(
    session: Session, *, email: str, now: datetime, actor: str, passwords: Passwords = DEFAULT_PASSWORDS
) -> str:
    """Replace a forgotten password by a temporary one, which is returned; the person's sessions end.

    For the operator, who has the machine anyway. Raises ``NotFoundError(unknown_staff)``.
    """
    user = _user(session, _email(email))
    if user is None:
        raise NotFoundError("unknown_staff", "there is no such account")
    password = one_time_password()
    user.password_hash = passwords.hash(password)
    user.password_is_temporary = True
    session.add(user)
    _end_sessions(session, user.id, now)
    audit.record(
        session, program_id=None, actor=actor, action="staff.password_reset", subject=user.email, now=now
    )  # fmt: skip
    return password


def set_disabled(session: Session, *, email: str, disabled: bool, now: datetime, actor: str) -> None:
    """Lock an account in every program and end its sessions, or open it again with its roles and password.

    Raises ``NotFoundError(unknown_staff)``.
    """
    user = _user(session, _email(email))
    if user is None:
        raise NotFoundError("unknown_staff", "there is no such account")
    if (user.disabled_at is not None) == disabled:
        return
    user.disabled_at = now if disabled else None
    session.add(user)
    if disabled:
        _end_sessions(session, user.id, now)
    action = "staff.disabled" if disabled else "staff.enabled"
    audit.record(session, program_id=None, actor=actor, action=action, subject=user.email, now=now)


def set_language(session: Session, staff_id: UUID, language: str) -> None:
    """Remember in which language somebody reads the panel. Raises ``DomainError(validation)``."""
    if language not in LANGUAGES:
        raise DomainError("validation", f"language: is one of {', '.join(LANGUAGES)}", field="language")
    session.execute(sa.update(StaffUser).where(col(StaffUser.id) == staff_id).values(language=language))


def _add_role(session: Session, program_id: UUID, user: StaffUser, role: str, *, now: datetime, actor: str) -> None:
    session.add(StaffRole(program_id=program_id, staff_id=user.id, role=role))
    detail = {"role": role}
    audit.record(
        session, program_id=program_id, actor=actor, action="staff.role_granted", subject=user.email, detail=detail,
        now=now,
    )  # fmt: skip
    session.flush()


def _end_sessions(session: Session, staff_id: UUID, now: datetime) -> None:
    session.execute(
        sa.update(StaffSession)
        .where(col(StaffSession.staff_id) == staff_id, col(StaffSession.ended_at).is_(None))
        .values(ended_at=now)
    )


def _user(session: Session, email: str) -> StaffUser | None:
    return session.exec(select(StaffUser).where(StaffUser.email == email).with_for_update()).one_or_none()


def _role(session: Session, program_id: UUID, staff_id: UUID) -> StaffRole | None:
    statement = select(StaffRole).where(StaffRole.program_id == program_id, StaffRole.staff_id == staff_id)
    return session.exec(statement).one_or_none()


def _email(text: str) -> str:
    email = text.strip().lower()
    name, at, domain = email.partition("@")
    if not (name and at and domain) or len(email) > EMAIL_LENGTH_MAX or not email.isprintable() or " " in email:
        raise DomainError("validation", "email: is not an e-mail address", field="email")
    return email


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise DomainError("validation", f"role: is one of {', '.join(ROLES)}", field="role")
