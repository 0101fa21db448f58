"""Till keys: who holds one, and whether it is still what it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from wallet_server.db import reading, table_of
from wallet_server.errors import DomainError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.models import ApiKey, Program, ProgramVersion
from wallet_server.programs.queries import DEFINITIONS, load_program
from wallet_server.reads import Asked, OneOf, Read, Rows, ask_alone
from wallet_server.recent import Recent
from wallet_server.tokens import fingerprint

KEYS_KNOWN_MAX: Final = 1_000
"""How many keys a process keeps in memory."""


@dataclass(frozen=True, slots=True)
class TillKey:
    """A key that is not revoked, and the program that it opens, as in force when it was looked up.

    Two are the same if nothing has changed in between, neither the key nor the program's version.
    """

    id: UUID
    program: ProgramDefinition = field(compare=False)
    version_id: UUID
    outlet_id: UUID | None
    scopes: tuple[str, ...]
    hint: str
    fingerprint: str


class TillKeys:
    """The keys of one database.

    Those seen last stay in memory: who asks :func:`refused_keys` in the transaction of what a till wants done saves the
    look-up before it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: Recent[str, TillKey] = Recent(KEYS_KNOWN_MAX)

    def seen(self, secret: str) -> TillKey | None:
        """The key that a till showed, as it was when it was last looked up here; it may have changed since."""
        return self._seen.get(fingerprint(secret))

    def find(self, secret: str) -> TillKey | None:
        """The key that a till showed, unless it is revoked. One statement, if the program's version is in memory."""
        mark = fingerprint(secret)
        found = self._look_up(mark)
        if found is None:
            self._seen.drop(mark)
        else:
            self._seen.put(mark, found)
        return found

    def _look_up(self, mark: str) -> TillKey | None:
        rows = ask_alone(self._engine, Asked(_KEYS, {"fingerprints": [mark]}, list))
        if not rows:
            return None
        [(program_id, version_id, key_id, outlet_id, scopes, hint, _mark)] = rows
        program = DEFINITIONS.get(version_id)
        if program is None:
            with reading(self._engine, program_id) as session:
                program = load_program(session, program_id=program_id)
        return TillKey(key_id, program, version_id, outlet_id, tuple(scopes), hint, mark)


def list_api_keys(session: Session, program_id: UUID, *, limit: int = 500) -> Sequence[ApiKey]:
    """The program's till keys, newest first, revoked ones too."""
    statement = select(ApiKey).where(ApiKey.program_id == program_id).order_by(col(ApiKey.created_at).desc())
    return session.exec(statement.limit(limit)).all()


def refused_keys(keys: Mapping[int, TillKey]) -> Asked[dict[int, DomainError]]:
    """Those of the keys, by place, that are revoked or open another version than when they were looked up.

    ``DomainError(busy)`` (503): who looks the key up again learns which of it is so.
    """

    def refused(rows: Rows) -> dict[int, DomainError]:
        now = {row[-1]: (row[1], row[3], tuple(row[4])) for row in rows}
        return {
            place: DomainError("busy", "the key or its program has just been changed", status=503, retry_after=1)
            for place, key in keys.items()
            if now.get(key.fingerprint) != (key.version_id, key.outlet_id, key.scopes)
        }

    return Asked(_KEYS, {"fingerprints": list({key.fingerprint for key in keys.values()})}, refused)


def _select_keys(one_of: OneOf) -> sa.Select[Any]:
    key, program, version = table_of(ApiKey), table_of(Program), table_of(ProgramVersion)
    return (
        sa.select(
            program.c.id,
            version.c.id,
            key.c.id,
            key.c.outlet_id,
            key.c.scopes,
            key.c.hint,
            key.c.secret_fingerprint,
        )
        .join(program, program.c.id == key.c.program_id)
        .join(version, sa.and_(version.c.program_id == program.c.id, version.c.number == program.c.version))
        .where(one_of(key.c.secret_fingerprint, "fingerprints"), key.c.revoked_at.is_(None))
    )


_KEYS: Final = Read(_select_keys)
