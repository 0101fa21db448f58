"""The door of staff: the panel at ``/panel/``.

Each module adds its views to the one blueprint; each view says which role it needs (``desk.allowed``).
"""

from __future__ import annotations

from flask import Flask

from wallet_server.web.panel import (
    account,
    adjustments,
    audit,
    campaigns,
    enrolment,
    insights,
    member_card,
    member_standing,
    member_tier,
    members,
    program_delivery,
    program_gallery,
    program_keys,
    program_look,
    program_partners,
    program_partners_edit,
    program_points,
    program_rule,
    program_rules,
    program_tiers,
    program_validity,
    program_versions,
    program_webhooks,
    purchases,
    refunds,
    segments,
    vouchers,
)
from wallet_server.web.panel.blueprint import blueprint

MODULES = (
    account,
    members,
    member_standing,
    member_tier,
    member_card,
    adjustments,
    enrolment,
    purchases,
    refunds,
    vouchers,
    segments,
    campaigns,
    program_rule,
    program_rules,
    program_tiers,
    program_points,
    program_look,
    program_gallery,
    program_keys,
    program_partners,
    program_partners_edit,
    program_validity,
    program_delivery,
    program_versions,
    program_webhooks,
    insights,
    audit,
)
"""Imported for the views they add."""


def register(app: Flask) -> None:
    """Add this door to the application."""
    app.register_blueprint(blueprint)
