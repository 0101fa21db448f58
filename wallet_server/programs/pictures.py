"""The pictures that a program's look names: uploaded once, kept in the database, known by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlmodel import Session, col

from passes.artwork.brought import Slot, brought_master
from passes.content import PassContentError
from wallet_server.db import new_id, reading
from wallet_server.errors import DomainError
from wallet_server.programs.look import PassLook
from wallet_server.programs.models import ProgramPicture, ProgramVersion
from wallet_server.staff import audit

UNNAMED_KEPT: Final = timedelta(days=1)
"""A draft that nobody publishes for so long has lost its pictures."""
PICTURES_MAX: Final = 200

PictureOf = Callable[[UUID, str], bytes | None]
"""The master of a picture of a program, by its hash."""


def add_picture(session: Session, program_id: UUID, data: bytes, slot: Slot, *, now: datetime, actor: str) -> str:
    """Draw an uploaded picture anew and keep it; returns its name. What was uploaded before is there once.

    Raises ``DomainError(picture_refused)`` for what is no picture of that place, and where a program has too many.
    """
    try:
        master = brought_master(data, slot)
    except PassContentError as refused:
        raise DomainError("picture_refused", str(refused), field=slot) from refused
    sha256 = hashlib.sha256(master).hexdigest()
    if picture(session, program_id, sha256) is not None:
        return sha256
    prune_pictures(session, program_id, now - UNNAMED_KEPT)
    held = session.scalar(
        sa.select(sa.func.count()).select_from(ProgramPicture).where(col(ProgramPicture.program_id) == program_id)
    )
    if (held or 0) >= PICTURES_MAX:
        raise DomainError("picture_refused", f"{slot}: a program keeps at most {PICTURES_MAX} pictures", field=slot)
    insert = (sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert)(ProgramPicture)
    row = {"id": new_id(), "program_id": program_id, "sha256": sha256, "slot": slot, "data": master}
    session.execute(
        insert.values({**row, "uploaded_at": now, "uploaded_by": actor}).on_conflict_do_nothing(
            index_elements=["program_id", "sha256"]
        )
    )
    audit.record(
        session, program_id=program_id, actor=actor, action="picture.uploaded", subject=sha256[:12],
        detail={"slot": slot, "bytes": len(master)}, now=now,
    )  # fmt: skip
    return sha256


def picture(session: Session, program_id: UUID, sha256: str) -> bytes | None:
    """The master of a picture: a PNG, or a photo's JPEG."""
    return session.scalar(
        sa.select(col(ProgramPicture.data)).where(
            col(ProgramPicture.program_id) == program_id, col(ProgramPicture.sha256) == sha256
        )
    )


def check_pictures(session: Session, program_id: UUID, look: PassLook) -> None:
    """Raises ``DomainError(unknown_picture)`` for a look that names a picture which this server does not have."""
    named = look.pictures
    rows = session.execute(
        sa.select(col(ProgramPicture.sha256), col(ProgramPicture.slot)).where(
            col(ProgramPicture.program_id) == program_id,
            col(ProgramPicture.sha256).in_({one.sha256 for one in named}),
        )
    )
    kept: dict[str, str] = {row.sha256: row.slot for row in rows}
    for one in named:
        # A photo is kept otherwise than what is drawn small.
        if one.sha256 not in kept or (kept[one.sha256] == "photo") != (one.slot == "photo"):
            where = ".".join(map(str, one.at))
            raise DomainError(
                "unknown_picture",
                f"{where}: this server does not have the {one.slot} {one.sha256[:12]}…;"
                " upload it in the panel, or leave the line out",
                field=where,
            )


def prune_pictures(session: Session, program_id: UUID, before: datetime) -> None:
    """Forget pictures of drafts: uploaded before that moment, and named by no version."""
    # A hash stands in a look for nothing but its picture, wherever it stands.
    look = col(ProgramVersion.document)["pass"].as_string()
    named = (
        sa.select(sa.literal(1))
        .where(col(ProgramVersion.program_id) == program_id, look.contains(col(ProgramPicture.sha256)))
        .exists()
    )
    session.execute(
        sa.delete(ProgramPicture).where(
            col(ProgramPicture.program_id) == program_id,
            col(ProgramPicture.uploaded_at) < before,
            ~named,
        ),
        execution_options={"synchronize_session": False},
    )


def stored_pictures(engine: Engine) -> PictureOf:
    """Reads pictures whenever they are asked for; whoever draws with them keeps what was drawn."""

    def read(program_id: UUID, sha256: str) -> bytes | None:
        with reading(engine, program_id) as session:
            return picture(session, program_id, sha256)

    return read
