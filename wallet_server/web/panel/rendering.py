"""Panel pages: every template gets its desk, the programs to switch between, and the navigation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flask import Response, request, url_for

from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.i18n import gettext_noop
from wallet_server.issuance.delivery_queries import watch_of
from wallet_server.issuance.models import DeliveryWatch
from wallet_server.ledger.adjustments import waiting_count
from wallet_server.programs.queries import load_program
from wallet_server.staff.roles import Role
from wallet_server.web.context import key_trouble, server
from wallet_server.web.panel.desk import Desk
from wallet_server.web.panel.key_notices import KeyNotice, key_notices
from wallet_server.web.panel.program_tabs import shown_tabs
from wallet_server.web.public.pages import brand_url
from wallet_server.web.rendering import language, page, wants_fragment


@dataclass(frozen=True)
class NavigationItem:
    """One entry of the navigation; ``section`` is what the endpoints of its pages begin with."""

    label: str
    icon: str
    endpoint: str
    section: str
    needed: Role


NAVIGATION: Final = (
    NavigationItem(gettext_noop("Members"), "users", "panel.members", "panel.member", "cashier"),
    NavigationItem(gettext_noop("Vouchers"), "gift", "panel.vouchers", "panel.voucher", "cashier"),
    NavigationItem(gettext_noop("Segments"), "filter", "panel.segments", "panel.segment", "manager"),
    NavigationItem(gettext_noop("Campaigns"), "send", "panel.campaigns", "panel.campaign", "manager"),
    NavigationItem(gettext_noop("Adjustments"), "coins", "panel.adjustments", "panel.adjustment", "manager"),
    NavigationItem(gettext_noop("Program"), "adjustments", "panel.program_rules", "panel.program_", "manager"),
    NavigationItem(gettext_noop("Numbers"), "chart-line", "panel.insights", "panel.insights", "manager"),
    NavigationItem(gettext_noop("Audit log"), "clipboard-list", "panel.audit", "panel.audit", "owner"),
)

WAITS: Final = "panel.adjustments"


@dataclass(frozen=True)
class Place:
    """A link in the navigation or in the program switcher."""

    label: str
    url: str
    icon: str
    here: bool
    waiting: int = 0
    """How many things wait there for somebody."""


def panel_page(
    desk: Desk, template: str, *, block: str | None = None, http_status: int = 200, **context: Any
) -> Response:
    """Render a page of the panel, or its ``block`` for htmx."""
    return page(
        template,
        block=block,
        http_status=http_status,
        desk=desk,
        program=desk.program,
        program_name=desk.program.name(language()),
        brand_url=brand_url(desk.program),
        navigation=_navigation(desk),
        programs=_programs(desk),
        program_tabs=shown_tabs(desk),
        delivery_alarm=_delivery_alarm(desk),
        key_notices=_key_notices(desk),
        **context,
    )


def _navigation(desk: Desk) -> list[Place]:
    endpoint = request.endpoint or ""
    return [
        Place(
            item.label,
            url_for(item.endpoint, slug=desk.program.slug),
            item.icon,
            endpoint.startswith(item.section),
            waiting=_waiting(desk) if item.endpoint == WAITS else 0,
        )
        for item in NAVIGATION
        if desk.may(item.needed)
    ]


def _waiting(desk: Desk) -> int:
    if wants_fragment():  # a fragment has no navigation
        return 0
    with reading(server().engine, desk.program.id) as session:
        return waiting_count(session, desk.program)


def _delivery_alarm(desk: Desk) -> DeliveryWatch | None:
    if wants_fragment() or not desk.may("manager"):
        return None
    with reading(server().engine, desk.program.id) as session:
        return watch_of(session, desk.program.id)


def _key_notices(desk: Desk) -> list[KeyNotice]:
    if wants_fragment() or not desk.may("manager"):
        return []
    return key_notices(server(), desk.program, key_trouble(), server().machine_clock.now())


def _programs(desk: Desk) -> list[Place]:
    with reading(server().engine, ALL_PROGRAMS) as session:
        programs = [load_program(session, program_id=program_id) for program_id in desk.identity.roles]
    return [
        Place(
            program.name(language()),
            url_for("panel.members", slug=program.slug),
            "building-store",
            program.id == desk.program.id,
        )
        for program in sorted(programs, key=lambda program: program.slug)
    ]
