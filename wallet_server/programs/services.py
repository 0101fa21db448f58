"""Publishing programs, and handing out the keys that tills use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel, col, select

from wallet_server.db import new_id, upsert_rows
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.outbox import services as outbox
from wallet_server.programs import diff, queries
from wallet_server.programs.file import Catalog, OutletSection, ProgramFile, SegmentSection
from wallet_server.programs.models import ApiKey, Category, Outlet, Product, Program, ProgramVersion
from wallet_server.programs.pictures import check_pictures
from wallet_server.segments.models import Segment
from wallet_server.staff import audit
from wallet_server.tokens import fingerprint, new_secret
from wallet_server.webhooks.events import Event
from wallet_server.webhooks.services import emit

SCOPES: Final = ("earn", "redeem", "refund", "members", "adjust")
"""What a till key may be good for."""
API_KEY_PREFIX: Final = "wk_"
"""So that a key is recognised where it should not be, in a log or a repository."""
AUDITED_CHANGES_MAX: Final = 100


@dataclass(frozen=True)
class Applied:
    """What :func:`apply_program` did; no ``changes`` means that the file was in force already."""

    program_id: UUID
    version: int
    created: bool
    changes: tuple[str, ...]


PROGRAM_PUBLISHED: Final = "program.published"
TIERS_CHANGED: Final = "tiers.changed"


def apply_program(session: Session, file: ProgramFile, *, now: datetime, actor: str) -> Applied:
    """Publish a program file: make the program, or bring it to what the file says. All or nothing.

    The session works over all programs. Applying what is in force changes nothing. An outlet that the file
    no longer has is closed, because receipts point at it, and opened again when it comes back. Segments are
    written where the file changed them, so that what staff edited in the panel since then stays.
    Raises ``DomainError(program_currency)`` for another currency, and ``unknown_picture`` for a look with a picture
    that nobody has uploaded here.
    """
    program, created = _locked_program(session, file.program.slug, now)
    old = None if created else queries.current_file(session, program.id)
    outlets = session.exec(select(Outlet).where(Outlet.program_id == program.id)).all()
    closed = {outlet.code for outlet in outlets if outlet.closed_at is not None}
    changes = diff.changes(old, file, closed=closed)
    if not changes:
        return Applied(program.id, program.version, created=False, changes=())
    if old is not None and old.program.currency != file.program.currency:
        raise DomainError(
            "program_currency",
            f"the currency of {file.program.slug} is {old.program.currency}: prices and points are kept in it, "
            "so another currency needs a new program",
        )
    if old is None or old.look.pictures != file.look.pictures:
        check_pictures(session, program.id, file.look)
    _sync_outlets(session, program.id, file.outlets, {outlet.code: outlet.id for outlet in outlets}, now)
    _sync_catalog(session, program.id, old.catalog if old else Catalog(), file.catalog)
    _sync_segments(session, program.id, old.segments if old else [], file.segments, now)
    program.version += 1
    program.updated_at = now
    version = ProgramVersion(
        program_id=program.id,
        number=program.version,
        document=document(file),
        published_at=now,
        published_by=actor,
    )
    session.add_all([program, version])
    audit.record(
        session,
        program_id=program.id,
        actor=actor,
        action="program.published",
        subject=program.slug,
        detail={"version": program.version, "changes": list(changes[:AUDITED_CHANGES_MAX])},
        now=now,
    )
    published = {"version": program.version, "published_at": now.isoformat(), "changes": len(changes)}
    emit(session, program.id, [Event(PROGRAM_PUBLISHED, program.id, published)], now)
    if old is not None:
        # Look, texts or levels may be others now: cards on phones follow, a part at a time, behind the tills' work.
        outbox.add(
            session,
            topic=PROGRAM_PUBLISHED,
            queue="bulk",
            program_id=program.id,
            payload={"v": 1, "after": None},
            now=now,
        )
        if _counts_otherwise(old, file):
            # Who is lifted by the new table has the new level soon; who is not, keeps the old one through its grace.
            outbox.add(
                session,
                topic=TIERS_CHANGED,
                queue="bulk",
                program_id=program.id,
                payload={"v": 1, "after": None},
                now=now,
            )
    session.flush()
    return Applied(program.id, program.version, created=created, changes=changes)


def _counts_otherwise(old: ProgramFile, new: ProgramFile) -> bool:
    """Whether members may have another tier now than a moment ago."""
    if old.tiers != new.tiers or old.program.time_zone != new.program.time_zone:
        return True
    before, after = ({item.code: item.parent for item in file.catalog.categories} for file in (old, new))
    return new.tiers.asks_products and before != after


def change_program(
    session: Session,
    program_id: UUID,
    change: Callable[[ProgramFile], ProgramFile],
    *,
    version: int,
    now: datetime,
    actor: str,
) -> Applied:
    """Publish the file in force with one change, made from version ``version``, which somebody looked at.

    Raises ``DomainError(program_changed)`` if another version has been published since then, and whatever
    ``change`` and :func:`apply_program` raise.
    """
    statement = select(Program).where(Program.id == program_id).with_for_update()
    program = session.exec(statement.execution_options(populate_existing=True)).one()
    if program.version != version:
        raise DomainError(
            "program_changed",
            f"version {program.version} of the program has been published since version {version} was looked at",
            status=409,
            version=program.version,
        )
    return apply_program(session, change(queries.current_file(session, program_id)), now=now, actor=actor)


def document(file: ProgramFile) -> dict[str, Any]:
    """What a version's row keeps: the whole file but its catalog, defaults written out."""
    return file.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"catalog"})


def _locked_program(session: Session, slug: str, now: datetime) -> tuple[Program, bool]:
    dialect_insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    row = {"id": new_id(), "slug": slug, "version": 0, "created_at": now, "updated_at": now}
    # Two that publish the same new slug at once: the second waits here, and then finds the first's program.
    session.execute(dialect_insert(Program).values(row).on_conflict_do_nothing(index_elements=["slug"]))
    statement = select(Program).where(Program.slug == slug).with_for_update()
    program = session.exec(statement.execution_options(populate_existing=True)).one()
    return program, program.version == 0


def _sync_outlets(
    session: Session,
    program_id: UUID,
    sections: Sequence[OutletSection],
    known: Mapping[str, UUID],
    now: datetime,
) -> None:
    rows: list[dict[str, Any]] = []
    for section in sections:
        fields = section.model_dump(mode="json", exclude={"promoted", "nearby", "beacons"})
        fields["id"] = known.get(section.code) or new_id()
        fields["program_id"] = program_id
        fields["latitude"] = None if section.latitude is None else float(section.latitude)
        fields["longitude"] = None if section.longitude is None else float(section.longitude)
        fields["closed_at"] = None
        rows.append(fields)
    columns = ["name", "time_zone", "latitude", "longitude", "receipt_max_percent", "partner", "closed_at"]
    upsert_rows(session, Outlet, rows, key=["program_id", "code"], update=columns)
    gone = set(known) - {section.code for section in sections}
    session.execute(
        sa.update(Outlet)
        .where(col(Outlet.program_id) == program_id, col(Outlet.code).in_(gone), col(Outlet.closed_at).is_(None))
        .values(closed_at=now)
    )


def _sync_catalog(session: Session, program_id: UUID, old: Catalog, new: Catalog) -> None:
    categories = {category.code: category for category in old.categories}
    rows: list[dict[str, Any]] = [
        {
            "id": new_id(),
            "program_id": program_id,
            "code": category.code,
            "parent_code": category.parent,
            "name": category.name or {},
        }
        for category in new.categories
        if categories.get(category.code) != category
    ]
    upsert_rows(session, Category, rows, key=["program_id", "code"], update=["parent_code", "name"])
    _delete(session, Category, Category.code, program_id, categories.keys() - {item.code for item in new.categories})
    products = {product.sku: product for product in old.products}
    rows = [
        {
            "id": new_id(),
            "program_id": program_id,
            "sku": product.sku,
            "category_code": product.category,
            "name": product.name or {},
            "price_minor": product.price_minor,
            "cost_minor": product.cost_minor,
        }
        for product in new.products
        if products.get(product.sku) != product
    ]
    columns = ["category_code", "name", "price_minor", "cost_minor"]
    upsert_rows(session, Product, rows, key=["program_id", "sku"], update=columns)
    _delete(session, Product, Product.sku, program_id, products.keys() - {item.sku for item in new.products})


def _delete(session: Session, model: type[SQLModel], key: Any, program_id: UUID, gone: Iterable[str]) -> None:
    for part in queries.parts(gone):
        of_program = col(model.program_id) == program_id  # type: ignore[attr-defined]
        session.execute(sa.delete(model).where(of_program, col(key).in_(part)))


def _sync_segments(
    session: Session,
    program_id: UUID,
    old: Sequence[SegmentSection],
    new: Sequence[SegmentSection],
    now: datetime,
) -> None:
    before = {segment.code: segment for segment in old}
    rows = [
        {
            "id": new_id(),
            "program_id": program_id,
            "code": segment.code,
            "name": segment.name,
            "condition": segment.when.model_dump(mode="json", exclude_none=True),
            "updated_at": now,
        }
        for segment in new
        if before.get(segment.code) != segment
    ]
    upsert_rows(session, Segment, rows, key=["program_id", "code"], update=["name", "condition", "updated_at"])


def create_api_key(
    session: Session,
    program_id: UUID,
    *,
    outlet_id: UUID | None = None,
    scopes: Collection[str] = SCOPES,
    now: datetime,
    actor: str,
) -> tuple[ApiKey, str]:
    """Make a till key; returns its row and the secret, which is kept nowhere and cannot be shown again.

    Raises ``DomainError(validation)`` for unknown scopes or none at all.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        wrong = f"unknown scope {', '.join(unknown)}" if unknown else "a key needs at least one scope"
        raise DomainError("validation", f"{wrong}; scopes are {', '.join(SCOPES)}")
    secret = API_KEY_PREFIX + new_secret()
    key = ApiKey(
        program_id=program_id,
        outlet_id=outlet_id,
        scopes=[scope for scope in SCOPES if scope in scopes],
        hint=secret[: len(API_KEY_PREFIX) + 6],
        secret_fingerprint=fingerprint(secret),
        created_at=now,
    )
    session.add(key)
    session.flush()
    audit.record(
        session,
        program_id=program_id,
        actor=actor,
        action="api_key.created",
        subject=key.hint,
        detail={"scopes": key.scopes, "outlet_id": outlet_id and str(outlet_id)},
        now=now,
    )
    return key, secret


def revoke_api_key(session: Session, program_id: UUID, key_id: UUID, *, now: datetime, actor: str) -> None:
    """End a key from this transaction on; revoking it again changes nothing.

    Raises ``NotFoundError(unknown_api_key)``.
    """
    statement = select(ApiKey).where(ApiKey.id == key_id, ApiKey.program_id == program_id).with_for_update()
    key = session.exec(statement).one_or_none()
    if key is None:
        raise NotFoundError("unknown_api_key", "there is no such key in this program")
    if key.revoked_at is not None:
        return
    key.revoked_at = now
    session.add(key)
    audit.record(session, program_id=program_id, actor=actor, action="api_key.revoked", subject=key.hint, now=now)
