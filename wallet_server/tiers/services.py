"""Writes of tiers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlmodel import Session

from wallet_server.db import upsert_rows
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.tiers.levels import Standing, reached
from wallet_server.tiers.models import MemberTier
from wallet_server.tiers.queries import standings


def reconsider(
    session: Session,
    program: ProgramDefinition,
    member_ids: Collection[UUID],
    now: datetime,
    *,
    known: Mapping[UUID, Standing] | None = None,
) -> dict[UUID, str | None]:
    """Give each member the tier that its statistics have reached, and return the tiers held now.

    Upgrades at once, never down. ``known`` saves the read where the caller has just locked and changed the
    statistics itself. ``None`` is the tier in a program without tiers.
    """
    current = standings(session, member_ids) if known is None else known
    levels = program.file.tiers.levels
    result: dict[UUID, str | None] = {}
    changed: list[dict[str, object]] = []
    for member_id in member_ids:
        standing = current.get(member_id, Standing())
        tier = result[member_id] = reached(levels, standing)
        if tier is not None and tier != standing.tier:
            changed.append({"member_id": member_id, "program_id": program.id, "tier": tier, "since": now})
    upsert_rows(session, MemberTier, changed, key=["member_id"], update=["tier", "since"])
    return result
