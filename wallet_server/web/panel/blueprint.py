"""The blueprint that all modules of the panel add their views to."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("panel", __name__, url_prefix="/panel")
