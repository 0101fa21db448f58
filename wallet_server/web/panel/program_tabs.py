"""The tabs of the panel's "Program" section. A tab appears with its page: who adds the page adds nothing here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flask import current_app, request, url_for

from wallet_server.i18n import gettext_noop
from wallet_server.staff.roles import Role
from wallet_server.web.panel.desk import Desk


@dataclass(frozen=True)
class Tab:
    """One page of the section; ``endpoint`` is also what the endpoints of the pages below it begin with."""

    label: str
    endpoint: str
    needed: Role = "manager"


TABS: Final = (
    Tab(gettext_noop("Rules"), "panel.program_rules"),
    Tab(gettext_noop("Tiers"), "panel.program_tiers"),
    Tab(gettext_noop("Points"), "panel.program_points"),
    Tab(gettext_noop("Look"), "panel.program_look"),
    Tab(gettext_noop("Partners"), "panel.program_partners"),
    Tab(gettext_noop("API keys"), "panel.program_keys", "owner"),
    Tab(gettext_noop("Webhooks"), "panel.program_webhooks", "owner"),
    Tab(gettext_noop("Delivery"), "panel.program_delivery"),
    Tab(gettext_noop("Versions"), "panel.program_versions"),
)
SECTION: Final = "panel.program_"


@dataclass(frozen=True)
class ShownTab:
    """A tab as the page draws it."""

    label: str
    url: str
    here: bool


def shown_tabs(desk: Desk) -> list[ShownTab]:
    """The tabs of the page that is asked for; none outside the section."""
    endpoint = request.endpoint or ""
    if not endpoint.startswith(SECTION):
        return []
    return [
        ShownTab(tab.label, url_for(tab.endpoint, slug=desk.program.slug), endpoint.startswith(tab.endpoint))
        for tab in TABS
        if tab.endpoint in current_app.view_functions and desk.may(tab.needed)
    ]
