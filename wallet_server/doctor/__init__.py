"""Look at a whole installation, and say of each part whether it is well, and what mends it.

Nothing here changes anything: it reads settings, database and files, and knocks at doors.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.engine import Engine

from wallet_server.doctor.findings import Finding, Level, Presence, broken, good, note
from wallet_server.doctor.stores import database_findings, work_findings
from wallet_server.doctor.surroundings import clock_findings, disk_findings, mail_findings, public_findings
from wallet_server.doctor.wallets import apple_findings, google_findings
from wallet_server.settings import Settings

__all__ = ["Finding", "Level", "Presence", "broken", "examine", "good", "note"]


def examine(settings: Settings, engine: Engine, presence: Callable[[], Presence], now: datetime) -> list[Finding]:
    """Every finding, in the order in which they are best mended. ``now`` is the machine's time."""
    database = database_findings(settings, engine)
    usable = all(finding.level is not Level.BROKEN for finding in database)
    here = presence()
    return [
        good("settings", f"They fit together; data is kept in {settings.WALLET_DATA_DIR.resolve()}."),
        *database,
        *(apple_findings(settings, engine, now) if usable else ()),
        *(google_findings(settings, engine) if usable else ()),
        *work_findings(settings, engine if usable else None, here, now),
        *public_findings(settings, running=here.running),
        *clock_findings(settings, engine if usable else None, now),
        *disk_findings(settings),
        *mail_findings(settings),
    ]
