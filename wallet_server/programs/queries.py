"""Reading programs: the definition in force, the catalog, and who holds a till key."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col, select

from wallet_server.db import ALL_PROGRAMS, table_of
from wallet_server.errors import NotFoundError
from wallet_server.programs.definition import OutletRef, ProgramDefinition
from wallet_server.programs.file import OutletSection, ProgramFile
from wallet_server.programs.models import Category, Outlet, Product, Program, ProgramVersion
from wallet_server.reads import Asked, Read, known
from wallet_server.recent import Recent

DEFINITIONS_MAX: Final = 64
"""How many definitions a process keeps in memory."""
PARAMETERS_MAX: Final = 5_000
"""How many values go into one ``IN``; SQLite takes 32,766 and PostgreSQL 65,535."""
VERSION_MAX: Final = 2**31 - 1

_Value = TypeVar("_Value")


DEFINITIONS: Final = Recent[UUID, ProgramDefinition](DEFINITIONS_MAX)
"""By the id of their version's row and not by number: a number whose transaction was rolled back is given again, an id
never is. What an id stands for never changes, so nothing ever has to be thrown out for being old."""


def load_program(
    session: Session,
    *,
    slug: str | None = None,
    program_id: UUID | None = None,
    at: datetime | None = None,
    number: int | None = None,
) -> ProgramDefinition:
    """The definition in force of one program, named by its slug or its id.

    With ``at`` the one that was in force at that moment (the first, before it), with ``number`` that version.
    Works in any scope, because it is how a door learns its program; within another program's scope the
    program does not exist. Costs one statement, or four for a version that is not in memory yet.
    Raises ``NotFoundError(unknown_program)``.
    """
    assert (slug is None) != (program_id is None), "name the program by slug or by id"
    session.flush()
    # On the connection, where no scope is added: each statement names the one program that it reads.
    connection = session.connection()
    program, version = table_of(Program), table_of(ProgramVersion)
    which = version.c.number == (program.c.version if number is None else number)
    if at is not None:
        which = sa.or_(version.c.published_at <= at, version.c.number == 1)
    head = connection.execute(
        sa.select(
            program.c.id,
            program.c.slug,
            version.c.number,
            version.c.id.label("version_id"),
            version.c.published_at,
        )
        .join(version, sa.and_(version.c.program_id == program.c.id, which))
        .where(program.c.slug == slug if slug is not None else program.c.id == program_id)
        .order_by(version.c.number.desc())
        .limit(1)
    ).one_or_none()
    scope = session.info.get("scope")
    if head is None or scope not in (None, ALL_PROGRAMS, head.id):
        raise NotFoundError("unknown_program", "there is no such program")
    found = DEFINITIONS.get(head.version_id)
    if found is None:
        document = connection.execute(sa.select(version.c.document).where(version.c.id == head.version_id)).scalar_one()
        found = _definition(connection, head, document)
        DEFINITIONS.put(head.version_id, found)
    return found


def _definition(connection: sa.Connection, head: Any, document: Mapping[str, Any]) -> ProgramDefinition:
    program_id = head.id
    file = ProgramFile.model_validate(document)
    sections = {section.code: section for section in file.outlets}
    outlet, category = table_of(Outlet), table_of(Category)
    open_outlets: dict[str, OutletRef] = {}
    closed_outlets: dict[str, OutletRef] = {}
    for row in connection.execute(sa.select(outlet).where(outlet.c.program_id == program_id)):
        section = sections.get(row.code)
        if section is not None:
            open_outlets[row.code] = OutletRef(row.id, section, section.time_zone or file.program.time_zone)
        else:
            # Its company stays: points that it issued before it left are still settled.
            section = OutletSection(code=row.code, name=row.name, time_zone=row.time_zone, partner=row.partner)
            closed_outlets[row.code] = OutletRef(row.id, section, section.time_zone or file.program.time_zone)
    parents = connection.execute(
        sa.select(category.c.code, category.c.parent_code).where(category.c.program_id == program_id)
    )
    return ProgramDefinition(
        id=program_id,
        slug=head.slug,
        version=head.number,
        file=file,
        # In the file's order, which is the order that the owner wants to read.
        outlets={code: open_outlets[code] for code in sections if code in open_outlets},
        closed_outlets=closed_outlets,
        parents={row.code: row.parent_code for row in parents},
        published_at=head.published_at,
    )


def current_file(session: Session, program_id: UUID) -> ProgramFile:
    """The whole file in force, with its catalog; applying it changes nothing.

    Raises ``NotFoundError(unknown_program)``.
    """
    in_force = sa.and_(
        col(Program.id) == col(ProgramVersion.program_id), col(Program.version) == col(ProgramVersion.number)
    )
    document = session.exec(
        select(ProgramVersion.document).join(Program, in_force).where(ProgramVersion.program_id == program_id)
    ).one_or_none()
    if document is None:
        raise NotFoundError("unknown_program", "there is no such program")
    category, product = table_of(Category), table_of(Product)
    categories = session.execute(
        sa.select(category.c.code, category.c.parent_code.label("parent"), category.c.name)
        .where(category.c.program_id == program_id)
        .order_by(category.c.code)
    )
    products = session.execute(
        sa.select(
            product.c.sku,
            product.c.category_code.label("category"),
            product.c.name,
            product.c.price_minor,
            product.c.cost_minor,
        )
        .where(product.c.program_id == program_id)
        .order_by(product.c.sku)
    )
    catalog = {
        "categories": [{**row, "name": row["name"] or None} for row in categories.mappings()],
        "products": [{**row, "name": row["name"] or None} for row in products.mappings()],
    }
    return ProgramFile.model_validate({**document, "catalog": catalog})


def list_versions(
    session: Session, program_id: UUID, *, before: int | None = None, limit: int = 20
) -> Sequence[ProgramVersion]:
    """The program's published versions, newest first, those before number ``before``, at most ``limit`` (≤ 100)."""
    statement = select(ProgramVersion).where(ProgramVersion.program_id == program_id)
    if before is not None:
        statement = statement.where(col(ProgramVersion.number) < min(before, VERSION_MAX))
    return session.exec(statement.order_by(col(ProgramVersion.number).desc()).limit(max(1, min(limit, 100)))).all()


def version_by_number(session: Session, program_id: UUID, number: int) -> ProgramVersion:
    """One published version; raises ``NotFoundError(unknown_version)``."""
    found = None
    if 0 < number <= VERSION_MAX:
        statement = select(ProgramVersion).where(
            ProgramVersion.program_id == program_id, ProgramVersion.number == number
        )
        found = session.exec(statement).one_or_none()
    if found is None:
        raise NotFoundError("unknown_version", "the program has no such version")
    return found


def list_programs(session: Session) -> Sequence[Program]:
    """All programs of the server by slug."""
    return session.exec(select(Program).order_by(col(Program.slug))).all()


def categories_asked(program_id: UUID, skus: Collection[str]) -> Asked[dict[str, str | None]]:
    """The category of each product that the catalog knows; other skus are missing in the answer."""
    if not skus:
        return known({})
    return Asked(_CATEGORIES, {"program_id": program_id, "skus": list(set(skus))}, lambda rows: dict(list(rows)))


_PRODUCT: Final[sa.Table] = Product.__table__  # type: ignore[attr-defined]
_CATEGORIES: Final = Read(
    lambda one_of: sa.select(_PRODUCT.c.sku, _PRODUCT.c.category_code).where(
        _PRODUCT.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()), one_of(_PRODUCT.c.sku, "skus")
    )
)


def costs_asked(program_id: UUID, skus: Collection[str]) -> Asked[dict[str, int]]:
    """What one unit of each product costs the shop, where the catalog says it, in the minor unit."""
    if not skus:
        return known({})
    return Asked(_COSTS, {"program_id": program_id, "skus": list(set(skus))}, lambda rows: dict(list(rows)))


_COSTS: Final = Read(
    lambda one_of: sa.select(_PRODUCT.c.sku, _PRODUCT.c.cost_minor).where(
        _PRODUCT.c.program_id == sa.bindparam("program_id", type_=sa.Uuid()),
        one_of(_PRODUCT.c.sku, "skus"),
        _PRODUCT.c.cost_minor.is_not(None),
    )
)


def product_names(session: Session, skus: Collection[str]) -> dict[str, dict[str, str]]:
    """Names by language of each product that the catalog knows and that has a name."""
    found: dict[str, dict[str, str]] = {}
    for part in parts(skus):
        rows = session.exec(select(Product.sku, Product.name).where(col(Product.sku).in_(part)))
        found.update({sku: dict(name) for sku, name in rows if name})
    return found


def category_names(session: Session, codes: Collection[str]) -> dict[str, dict[str, str]]:
    """Names by language of each category that the catalog knows and that has a name."""
    found: dict[str, dict[str, str]] = {}
    for part in parts(codes):
        rows = session.exec(select(Category.code, Category.name).where(col(Category.code).in_(part)))
        found.update({code: dict(name) for code, name in rows if name})
    return found


def categories(session: Session, *, limit: int = 200) -> Sequence[Category]:
    """Categories of the catalog by code, at most ``limit``."""
    return session.exec(select(Category).order_by(col(Category.code)).limit(limit)).all()


def products(session: Session, *, skus: Collection[str] | None = None, limit: int = 200) -> Sequence[Product]:
    """Products of the catalog with their prices, category by category, at most ``limit``; only ``skus`` if given."""
    statement = select(Product).order_by(col(Product.category_code), col(Product.sku)).limit(limit)
    if skus is not None:
        statement = statement.where(col(Product.sku).in_(skus))
    return session.exec(statement).all()


def closed_outlets(session: Session, program_id: UUID) -> set[str]:
    """Codes of outlets that a file had once and that are closed now."""
    closed = select(Outlet.code).where(Outlet.program_id == program_id, col(Outlet.closed_at).is_not(None))
    return set(session.exec(closed).all())


def parts(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    """The different values, in lists that are short enough for one statement."""
    unique = list(dict.fromkeys(values))
    for start in range(0, len(unique), PARAMETERS_MAX):
        yield unique[start : start + PARAMETERS_MAX]
