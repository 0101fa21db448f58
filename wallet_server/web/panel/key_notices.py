"""What owners and managers must know of the keys: a certificate that ends soon, a key that cannot be read.

``/metrics`` and ``wallet-server doctor`` tell the same to who runs the server; often that is nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from wallet_server.context import ServerContext
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.web.context import IMPORTED

WARN_BEFORE: Final = timedelta(days=30)
"""Time to find whoever has the password of the developer account; the log reminds from 60 days before."""
ALARM_BEFORE: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class KeyNotice:
    """One banner. ``settings`` are those that name files, ``renew`` is the command that begins a renewal."""

    kind: Literal["expired", "ending", "files", "imported"]
    urgent: bool
    ends_at: datetime | None = None
    days_left: int = 0
    settings: tuple[str, ...] = ()
    renew: str = ""


def key_notices(
    context: ServerContext, program: ProgramDefinition, trouble: dict[str, bool], now: datetime
) -> list[KeyNotice]:
    """What to say of the keys that the program's cards depend on.

    ``trouble`` is that of :func:`wallet_server.web.context.key_trouble`, ``now`` the machine's time: Apple knows no
    moved clock. A development certificate is made anew by itself.
    """
    wallets = context.wallets
    signer = wallets.signer_of(program.id)
    found: list[KeyNotice] = []
    left = signer.not_after - now
    if left <= WARN_BEFORE and not wallets.development:
        option = f" --program {program.slug}" if program.id in wallets.programs else ""
        found.append(
            KeyNotice(
                "expired" if left < timedelta(0) else "ending",
                urgent=left <= ALARM_BEFORE,
                ends_at=signer.not_after,
                days_left=left.days,
                renew=f"wallet-server apple csr{option}",
            )
        )
    if files := tuple(sorted(name for name, bad in trouble.items() if bad and name != IMPORTED)):
        found.append(KeyNotice("files", urgent=True, settings=files))
    if trouble.get(IMPORTED):
        found.append(KeyNotice("imported", urgent=True))
    return found
