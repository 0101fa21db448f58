"""What an import asks: how far a file has come, and what is there already."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlmodel import Session, col, select

from wallet_server.imports.models import ImportCheckpoint
from wallet_server.purchases.models import Purchase


def find_checkpoint(session: Session, kind: str, file_hash: str) -> ImportCheckpoint | None:
    """How far this file has come in the session's program."""
    statement = select(ImportCheckpoint).where(ImportCheckpoint.kind == kind, ImportCheckpoint.file_hash == file_hash)
    return session.exec(statement).one_or_none()


def totals_minor(session: Session, purchase_ids: Collection[UUID]) -> dict[UUID, int]:
    """The totals of at most 1,000 recorded purchases in minor units, before discounts."""
    if not purchase_ids:
        return {}
    statement = select(Purchase.id, Purchase.total_minor).where(col(Purchase.id).in_(list(purchase_ids)))
    return dict(session.exec(statement).all())
