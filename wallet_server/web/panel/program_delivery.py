"""Delivery: where the cards are, how fast updates come onto phones, and which do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from flask import Response, request
from werkzeug.exceptions import NotFound

from wallet_server.db import reading, to_json
from wallet_server.i18n import Translator
from wallet_server.issuance.delivery import HELD, STALE_AFTER, PassState
from wallet_server.issuance.delivery_queries import (
    Day,
    Stock,
    Updates,
    counted,
    passes_in_state,
    phones,
    together,
    updates_by_day,
)
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.delivery_words import MEANINGS, STATES, TONES, WALLETS, duration
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader

PASSES_PER_PAGE: Final = 50
REFUSALS_SHOWN: Final = 10
STALE_HOURS: Final = (6, 24, 72, 168)
NOTHING: Final = "–"


@dataclass(frozen=True)
class Headline:
    """One big number, and what stands under it."""

    label: str
    value: str
    below: str


@dataclass(frozen=True)
class DayRow:
    """One day's updates of one wallet, as its reader writes them; ``taken`` is how late Apple had them, the median."""

    label: str
    today: bool
    updates: str
    taken: str
    share: str
    median: str
    p95: str


@blueprint.get("/programs/<slug>/program/delivery")
@allowed("manager")
def program_delivery(desk: Desk) -> Response:
    """The whole page, or for ``?wallet=`` the part with the days."""
    context = server()
    t, now = reader(), context.clock.now()
    wallet = "google" if request.args.get("wallet") == "google" else "apple"
    with reading(context.engine, desk.program.id) as session:
        days = updates_by_day(session, desk.program, now)
        cards = counted(session, desk.program, now)
        registered = phones(session, desk.program)
    found = cards.stock
    return panel_page(
        desk,
        "panel/program/delivery.html",
        block="days",
        stock=found,
        counted_at=cards.at,
        states=[state for state in STATES if found.of("apple", state) or found.of("google", state)],
        words=STATES,
        meanings=MEANINGS,
        tones=TONES,
        wallets=WALLETS,
        phones=registered,
        refusals=found.refusals[:REFUSALS_SHOWN],
        headlines=_headlines(found, days, t),
        wallet=wallet,
        rows=[
            _row(day.updates[wallet], wallet, t, label=t.days(day.day, day.day), today=place == 0)
            for place, day in enumerate(days)
        ],
        total=_row(together(days, wallet), wallet, t),
        chart=to_json(_chart(days, wallet, t)),
        has_updates=together(days, wallet).accepted.count > 0,
    )


@blueprint.get("/programs/<slug>/program/delivery/passes")
@allowed("manager")
def program_delivery_passes(desk: Desk) -> Response:
    """The cards in one state, each with its member; ``?hours=`` says after how long a card is not fetched."""
    context = server()
    now = context.clock.now()
    wallet = request.args.get("wallet", "apple")
    try:
        state = PassState(request.args.get("state", PassState.STALE.value))
    except ValueError:
        raise NotFound from None
    if wallet not in WALLETS:
        raise NotFound
    hours = request.args.get("hours", type=int)
    stale_after = timedelta(hours=hours) if hours in STALE_HOURS else STALE_AFTER
    last = request.args.get("after", type=UUID)
    after = (request.args.get("since", type=_moment), last) if last else None
    with reading(context.engine, desk.program.id) as session:
        found = passes_in_state(
            session,
            desk.program,
            state,
            wallet,
            now,
            stale_after=stale_after,
            after=after,
            limit=PASSES_PER_PAGE + 1,
        )
    shown = found[:PASSES_PER_PAGE]
    return panel_page(
        desk,
        "panel/program/delivery_passes.html",
        block="results",
        lines=shown,
        state=state,
        wallet=wallet,
        words=STATES,
        meanings=MEANINGS,
        wallets=WALLETS,
        hours=int(stale_after.total_seconds()) // 3_600,
        hours_offered=STALE_HOURS if state is PassState.STALE else (),
        is_first_page=after is None,
        next_after=shown[-1].issued if len(found) > len(shown) else None,
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or not 2000 <= moment.year <= 2200:
        raise ValueError("a moment without its zone, or not of our time")
    return moment


def _headlines(found: Stock, days: Sequence[Day], t: Translator) -> list[Headline]:
    held = {wallet: found.of(wallet, *HELD) for wallet in WALLETS}
    everywhere = sum(held.values())
    current = sum(found.of(wallet, PassState.CURRENT) for wallet in WALLETS)
    apple = together(days, "apple")
    today = days[0].updates["apple"]
    return [
        Headline(
            t.gettext("Cards in wallets"),
            t.number(everywhere),
            f"Apple {t.number(held['apple'])} · Google {t.number(held['google'])}",
        ),
        Headline(
            t.gettext("Up to date"),
            _percent(current / everywhere if everywhere else None, t),
            t.gettext("%(current)s of %(all)s", current=t.number(current), all=t.number(everywhere)),
        ),
        Headline(
            t.gettext("To the phone, median of 30 days"),
            duration(apple.fetched.percentile(0.5), t),
            t.gettext("95 %% within %(time)s", time=duration(apple.fetched.percentile(0.95), t)),
        ),
        Headline(
            t.gettext("Fetched, 30 days"),
            _percent(apple.share, t),
            t.gettext("today %(share)s", share=_percent(today.share, t)),
        ),
    ]


def _row(updates: Updates, wallet: str, t: Translator, *, label: str = "", today: bool = False) -> DayRow:
    # Google tells of no phones: there the way ends where Google has taken the update.
    lags = updates.fetched if wallet == "apple" else updates.accepted
    return DayRow(
        label=label,
        today=today,
        updates=t.number(updates.accepted.count),
        taken=duration(updates.accepted.percentile(0.5), t),
        share=_percent(updates.share, t),
        median=duration(lags.percentile(0.5), t),
        p95=duration(lags.percentile(0.95), t),
    )


def _chart(days: Sequence[Day], wallet: str, t: Translator) -> dict[str, Any]:
    """What ``charts.js`` draws: the oldest day first."""
    oldest_first = list(reversed(days))
    updates = [day.updates[wallet] for day in oldest_first]
    series = [
        {
            "name": t.gettext("Updates"),
            "values": [one.accepted.count for one in updates],
            "texts": [t.number(one.accepted.count) for one in updates],
            "axis": "number",
        }
    ]
    if wallet == "apple":
        shares = [None if one.share is None else round(one.share * 100, 1) for one in updates]
        series.insert(
            0,
            {
                "name": t.gettext("Fetched"),
                "values": shares,
                "texts": [_percent(one.share, t) for one in updates],
                "axis": "percent",
            },
        )
    return {
        "labels": [t.days(day.day, day.day) for day in oldest_first],
        "running": True,
        "running_note": t.gettext("so far"),
        "description": t.gettext("A line chart of updates by day; the table below has the same numbers."),
        "series": series,
    }


def _percent(share: float | None, t: Translator) -> str:
    return NOTHING if share is None else t.percent(share, 1)
