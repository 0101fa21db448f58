"""Reads of tiers, of the statistics they are reached by, and of what was counted in their windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Session, col

from wallet_server.db import table_of
from wallet_server.members.models import Member, MemberStatistics
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import PARAMETERS_MAX
from wallet_server.purchases.models import Purchase, PurchaseLine, Visit
from wallet_server.reads import Asked, OneOf, Read, Rows, ask, known
from wallet_server.tiers.levels import Standing
from wallet_server.tiers.models import MemberTier
from wallet_server.tiers.table import NOTHING, Counts, Span, TierTable, tier_table

_DAY_IS_WITHIN: Final = timedelta(days=3)
"""A business date and the moment of its receipt are less than this apart, whatever the zones."""


_PURCHASE, _LINE, _VISIT = table_of(Purchase), table_of(PurchaseLine), table_of(Visit)
_STATISTICS_TABLE, _TIER, _MEMBER = table_of(MemberStatistics), table_of(MemberTier), table_of(Member)


def standings(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], now: datetime
) -> dict[UUID, Standing]:
    """Statistics, tier and window counts of members; a member without a row is missing.

    One statement for the whole batch; one more where the table counts a window of time, and one more where it
    asks for products. ``member_ids`` are members of this program.
    """
    found = ask(session, standings_asked(program, member_ids))
    return with_windows(session, program, found, now)


def standings_asked(program: ProgramDefinition, member_ids: Collection[UUID]) -> Asked[dict[UUID, Standing]]:
    """As :func:`standings` without the window counts, to be asked with other things; then :func:`with_windows`."""
    if not member_ids:
        return known({})

    def answer(rows: Rows) -> dict[UUID, Standing]:
        return {row[0]: Standing(**dict(zip(_STANDING, row[1:], strict=True))) for row in rows}

    asks_tenure = "tenure_days" in tier_table(program).asks
    values = {"program_id": program.id, "member_ids": list(member_ids)}
    return Asked(_STANDINGS_AND_TENURE if asks_tenure else _STANDINGS, values, answer)


def with_windows(
    session: Session, program: ProgramDefinition, found: dict[UUID, Standing], now: datetime
) -> dict[UUID, Standing]:
    """The standings with what the windows of the tier table count, if there are any."""
    table = tier_table(program)
    counted = window_counts(session, table, found, table.today(now))
    if not counted:
        return found
    return {member_id: replace(standing, counts=counted[member_id]) for member_id, standing in found.items()}


_STATISTICS: Final = (
    "spend_minor",
    "purchases",
    "visits",
    "points_earned",
    "first_visit_at",
    "last_visit_at",
    "marketing",
    "coefficients",
)
_HELD: Final = ("tier", "since", "protected_until", "grace_until", "review_at")
_STANDING: Final = (*_STATISTICS, *_HELD, "joined_at")


def _select_standings(one_of: OneOf, joined_at: sa.ColumnElement[Any]) -> sa.Select[Any]:
    statistics, held = _STATISTICS_TABLE.c, _TIER.c
    columns = (*(statistics[name] for name in _STATISTICS), *(held[name] for name in _HELD), joined_at)
    return (
        sa.select(statistics.member_id, *columns)
        .select_from(_STATISTICS_TABLE)
        .outerjoin(_TIER, held.member_id == statistics.member_id)
        .where(
            statistics.program_id == sa.bindparam("program_id", type_=sa.Uuid()),
            one_of(statistics.member_id, "member_ids"),
        )
    )


_STANDINGS: Final = Read(lambda one_of: _select_standings(one_of, sa.null().label("joined_at")))
_STANDINGS_AND_TENURE: Final = Read(
    lambda one_of: _select_standings(one_of, _MEMBER.c.joined_at).join(
        _MEMBER, _MEMBER.c.id == _STATISTICS_TABLE.c.member_id
    )
)


def window_counts(
    session: Session, table: TierTable, member_ids: Collection[UUID], today: date
) -> dict[UUID, tuple[Counts, ...]]:
    """What each member has in the table's windows (:meth:`TierTable.spans`); empty where nothing has to be read."""
    if not (table.counts_days or table.sets) or not member_ids:
        return {}
    spans = table.spans(today)
    counted = _counts(session, table, member_ids, spans, by_day=False)
    return {
        member_id: tuple(counted[member_id].get(place, NOTHING) for place in range(len(spans)))
        for member_id in member_ids
    }


def days_of_members(
    session: Session, program: ProgramDefinition, member_ids: Collection[UUID], now: datetime
) -> dict[UUID, dict[date, Counts]]:
    """What each member has on each business date of a rolling window; empty for other windows.

    From it follows the day on which a level is lost (:func:`wallet_server.tiers.levels.falls_on`).
    """
    table = tier_table(program)
    if table.kind != "rolling_days" or not member_ids:
        return {}
    return dict(_counts(session, table, member_ids, table.spans(table.today(now)), by_day=True))


def _counts(
    session: Session, table: TierTable, member_ids: Iterable[UUID], spans: Sequence[Span], *, by_day: bool
) -> defaultdict[UUID, dict[Any, Counts]]:
    """By member, and by place of the span or by day. Without lines that were refunded."""
    wanted = sorted(member_ids)
    found: defaultdict[UUID, dict[Any, Counts]] = defaultdict(dict)
    if table.counts_days:
        for row in session.connection().execute(_days_statement(table, wanted, spans, by_day)):
            found[row.member_id][row.place] = Counts(
                int(row.spend_minor), int(row.purchases), int(row.visits), int(row.points_earned)
            )
    if table.sets:
        for row in session.connection().execute(_lines_statement(table, wanted, spans, by_day)):
            bought = Counts(bought=table.bought([(row.sku, row.category, int(row.quantity))]))
            found[row.member_id][row.place] = found[row.member_id].get(row.place, NOTHING).plus(bought)
    return found


def _place(day: Any, spans: Sequence[Span], by_day: bool) -> sa.ColumnElement[Any]:
    if by_day:
        place: sa.ColumnElement[Any] = day
    elif len(spans) == 1:
        place = sa.literal(0)
    else:
        place = sa.case(*((day >= span.first, index) for index, span in enumerate(spans)))
    return place.label("place")


def _since(rows: Any, member_ids: Sequence[UUID], spans: Sequence[Span]) -> list[sa.ColumnElement[bool]]:
    """Rows of these members in the windows; the moment is named beside the day, because the index knows it.

    Past the session's scope, and without the program: SQLite would rather walk through all receipts of the
    program than use the index of the member, whose program is that of the ids.
    """
    conditions: list[sa.ColumnElement[bool]] = [rows.c.member_id.in_(member_ids)]
    first = spans[-1].first
    if first is not None:
        moment = datetime(first.year, first.month, first.day, tzinfo=UTC) - _DAY_IS_WITHIN
        conditions += [rows.c.occurred_at >= moment, rows.c.business_date >= first]
    return conditions


def _days_statement(
    table: TierTable, member_ids: Sequence[UUID], spans: Sequence[Span], by_day: bool
) -> sa.Select[Any]:
    purchases: Any = sa.select(
        _PURCHASE.c.member_id,
        _place(_PURCHASE.c.business_date, spans, by_day),
        (_PURCHASE.c.total_minor - _PURCHASE.c.discount_minor - _PURCHASE.c.returned_minor).label("spend_minor"),
        sa.literal(1).label("purchases"),
        (_PURCHASE.c.points_earned - _PURCHASE.c.points_taken_back).label("points_earned"),
    ).where(*_since(_PURCHASE, member_ids, spans), _PURCHASE.c.refunded_at.is_(None))
    rows = purchases
    if "visits" in table.asks:
        visits = sa.select(
            _VISIT.c.member_id,
            _place(_VISIT.c.business_date, spans, by_day),
            sa.literal(0).label("spend_minor"),
            sa.literal(0).label("purchases"),
            sa.literal(0).label("points_earned"),
        ).where(*_since(_VISIT, member_ids, spans))
        rows = sa.union_all(purchases, visits)
    counted = rows.subquery("counted")
    return sa.select(
        counted.c.member_id,
        counted.c.place,
        sa.func.sum(counted.c.spend_minor).label("spend_minor"),
        sa.func.sum(counted.c.purchases).label("purchases"),
        sa.func.count().label("visits"),
        sa.func.sum(counted.c.points_earned).label("points_earned"),
    ).group_by(counted.c.member_id, counted.c.place)


def _lines_statement(
    table: TierTable, member_ids: Sequence[UUID], spans: Sequence[Span], by_day: bool
) -> sa.Select[Any]:
    skus = sorted(frozenset().union(*(products.skus for products in table.sets)))
    categories = sorted(frozenset().union(*(products.categories for products in table.sets)))
    rows = (
        sa.select(
            _PURCHASE.c.member_id,
            _place(_PURCHASE.c.business_date, spans, by_day),
            _LINE.c.sku,
            _LINE.c.category,
            (_LINE.c.quantity_thousandths - _LINE.c.returned_thousandths).label("quantity"),
        )
        .join(_LINE, _LINE.c.purchase_id == _PURCHASE.c.id)
        .where(*_since(_PURCHASE, member_ids, spans), _PURCHASE.c.refunded_at.is_(None))
    )
    if len(skus) + len(categories) <= PARAMETERS_MAX:  # else every line is looked at here
        rows = rows.where(sa.or_(_LINE.c.sku.in_(skus), _LINE.c.category.in_(categories)))
    lines = rows.subquery("lines")
    keys = (lines.c.member_id, lines.c.place, lines.c.sku, lines.c.category)
    return sa.select(*keys, sa.func.sum(lines.c.quantity).label("quantity")).group_by(*keys)


def tiers(session: Session, member_ids: Collection[UUID]) -> dict[UUID, str]:
    """The tier code of each member who holds one."""
    if not member_ids:
        return {}
    return ask(session, Asked(_TIERS, {"member_ids": list(member_ids)}, lambda rows: {row[0]: row[1] for row in rows}))


_TIERS: Final = Read(
    lambda one_of: sa.select(_TIER.c.member_id, _TIER.c.tier).where(one_of(_TIER.c.member_id, "member_ids"))
)


def members_by_tier(session: Session, program: ProgramDefinition) -> Mapping[str, int]:
    """How many members hold each level; codes that the program no longer has too."""
    statement = (
        sa.select(col(MemberTier.tier), sa.func.count())
        .where(col(MemberTier.program_id) == program.id)
        .group_by(col(MemberTier.tier))
    )
    return {code: int(count) for code, count in session.execute(statement)}
