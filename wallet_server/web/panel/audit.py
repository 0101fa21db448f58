"""The audit log: who changed what."""

from __future__ import annotations

from typing import Final

from flask import Response

from wallet_server.db import reading
from wallet_server.staff.audit import newest
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.rendering import panel_page

RECORDS_SHOWN: Final = 200


@blueprint.get("/programs/<slug>/audit")
@allowed("owner")
def audit(desk: Desk) -> Response:
    with reading(server().engine, desk.program.id) as session:
        records = newest(session, desk.program.id, limit=RECORDS_SHOWN)
    return panel_page(desk, "panel/audit.html", records=records, records_shown=RECORDS_SHOWN)
