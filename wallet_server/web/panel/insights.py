"""The owner's numbers: participation and engagement over time, as a chart and as the same table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from flask import Response, request

from wallet_server.db import reading, to_json
from wallet_server.i18n import Translator
from wallet_server.insights.periods import DEFINITIONS, Every, Period, Report
from wallet_server.insights.queries import PERIODS_SHOWN, newest_purchase_at, report
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader

OLDEST_DAY: Final = date(2000, 1, 1)
FORWARD: Final = {"week": timedelta(weeks=PERIODS_SHOWN), "month": timedelta(days=365)}
NOTHING: Final = "–"
"""Where a share of nothing would stand."""


@dataclass(frozen=True)
class Headline:
    """One big number of the newest whole period; ``change`` is against the one before, in words."""

    label: str
    value: str
    change: str
    is_up: bool | None


@dataclass(frozen=True)
class Row:
    """One period with every figure as its reader writes it."""

    label: str
    running: bool
    members: str
    new_members: str
    active_members: str
    participation: str
    purchases: str
    engagement: str
    spend: str
    spend_per_purchase: str
    redemption: str


@blueprint.get("/programs/<slug>/numbers")
@allowed("manager")
def insights(desk: Desk) -> Response:
    """Twelve weeks or months up to now, or up to the day ``?until=``."""
    context = server()
    t, zone, now = reader(), desk.program.time_zone, context.clock.now()
    every: Every = "month" if request.args.get("every") == "month" else "week"
    until = min(_asked_until(request.args.get("until", ""), zone) or now, now)
    with reading(context.engine, desk.program.id) as session:
        whole = report(session, desk.program, every=every, now=now, until=until)
        newest = newest_purchase_at(session, desk.program)
    found = _since_the_first_member(whole)
    is_quiet = not any(period.purchases for period in found.periods)
    return panel_page(
        desk,
        "panel/insights/numbers.html",
        block="report",
        every=every,
        rows=[_row(period, every, desk.program.currency, t) for period in reversed(found.periods)],
        headlines=_headlines(found, desk.program.currency, t),
        headline_period=_label(found.newest_whole, every, t) if found.newest_whole else "",
        chart=to_json(chart(found, t)),
        definitions=DEFINITIONS,
        is_empty=newest is None and found.current.members == 0,
        until=until.date() if until < now else None,
        earlier=whole.periods[0].span.first - timedelta(days=1) if whole.periods[0].members else None,
        later=found.current.span.last + FORWARD[every] if found.current.span.end <= now else None,
        newest_day=newest.astimezone(ZoneInfo(zone)).date() if newest and is_quiet else None,
    )


def _asked_until(text: str, zone: str) -> datetime | None:
    """Noon of the day that the address names; ``None`` for no day, or one that no program has seen."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return datetime.combine(day, time(12), tzinfo=ZoneInfo(zone)) if day >= OLDEST_DAY else None


def _since_the_first_member(found: Report) -> Report:
    """Without the empty periods before the program had members; the newest one always stays."""
    since = next((place for place, period in enumerate(found.periods) if period.members), len(found.periods) - 1)
    return Report(found.every, found.periods[since:])


def chart(found: Report, t: Translator) -> dict[str, Any]:
    """What ``charts.js`` draws: numbers for the lines, and beside each its text for the reader.

    ``running`` tells that the last point still grows.
    """
    periods = found.periods
    return {
        "labels": [_label(period, found.every, t) for period in periods],
        "running": periods[-1].running,
        "running_note": t.gettext("so far"),
        "description": t.gettext("A line chart of participation and engagement; the table below has the same numbers."),
        "series": [
            {
                "name": t.gettext("Participation"),
                "values": [_hundredths(period.participation) for period in periods],
                "texts": [_percent(period.participation, t) for period in periods],
                "axis": "percent",
            },
            {
                "name": t.gettext("Purchases per active member"),
                "values": [_number(period.purchases_per_active_member) for period in periods],
                "texts": [_decimal(period.purchases_per_active_member, t) for period in periods],
                "axis": "number",
            },
        ],
    }


def _headlines(found: Report, currency: str, t: Translator) -> list[Headline]:
    whole = [period for period in found.periods if not period.running]
    if not whole:
        return []
    now, before = whole[-1], whole[-2] if len(whole) > 1 else None

    def of(label: str, figure: Callable[[Period], int | Decimal | None], text: str) -> Headline:
        return Headline(label, text, *_change(figure(now), figure(before) if before else None, t))

    return [
        of(t.gettext("Participation"), lambda period: period.participation, _percent(now.participation, t)),
        of(
            t.gettext("Purchases per active member"),
            lambda period: period.purchases_per_active_member,
            _decimal(now.purchases_per_active_member, t),
        ),
        of(t.gettext("Sales to members"), lambda period: period.spend_minor, t.money(now.spend_minor, currency)),
        of(t.gettext("Points redeemed"), lambda period: period.redemption, _percent(now.redemption, t)),
    ]


def _change(now: int | Decimal | None, before: int | Decimal | None, t: Translator) -> tuple[str, bool | None]:
    """The relative change in words, and whether it is one upwards (``None``: neither up nor down)."""
    if now is not None and now == before:
        return t.gettext("as before"), None
    if now is None or not before:
        return t.gettext("nothing to compare with"), None
    change = (Decimal(now) - Decimal(before)) / Decimal(before)
    return t.percent(abs(change).quantize(Decimal("0.001")), 1), change > 0


def _row(period: Period, every: Every, currency: str, t: Translator) -> Row:
    per_purchase = period.spend_per_purchase_minor
    return Row(
        label=_label(period, every, t),
        running=period.running,
        members=t.number(period.members),
        new_members=t.number(period.new_members),
        active_members=t.number(period.active_members),
        participation=_percent(period.participation, t),
        purchases=t.number(period.purchases),
        engagement=_decimal(period.purchases_per_active_member, t),
        spend=t.money(period.spend_minor, currency),
        spend_per_purchase=NOTHING if per_purchase is None else t.money(per_purchase, currency),
        redemption=_percent(period.redemption, t),
    )


def _label(period: Period, every: Every, t: Translator) -> str:
    span = period.span
    return t.days(span.first, span.last) if every == "week" else t.month(span.first)


def _percent(share: Decimal | None, t: Translator) -> str:
    return NOTHING if share is None else t.percent(share, 1)


def _decimal(value: Decimal | None, t: Translator) -> str:
    return NOTHING if value is None else t.number(value.quantize(Decimal("0.01")))


def _hundredths(share: Decimal | None) -> float | None:
    return None if share is None else float(share * 100)


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
