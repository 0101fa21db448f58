"""What a purchase, a visit or a refund did to a member that is worth a word on the phone. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from wallet_server.ledger.postings import Balance
from wallet_server.ledger.queries import shown
from wallet_server.notifications.facts import WINS_MAX, Noticed, Win, risen
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.rewards.wins import Won


def noticed(
    program: ProgramDefinition,
    before: Balance,
    after: Balance,
    *,
    tiers: tuple[str | None, str | None] = (None, None),
    won: Iterable[Won] = (),
) -> Noticed:
    """The differences between two balances and two ``tiers`` (before, after), and what was won in between.

    A level that was lost is shown, but nobody's phone rings for it.
    """
    return Noticed(
        points=shown(after, program.points) - shown(before, program.points),
        pending=max(after.pending - before.pending, 0),
        tier=risen(program, *tiers),
        wins=tuple(dict.fromkeys(_win(program, one) for one in won))[:WINS_MAX],
    )


def _win(program: ProgramDefinition, won: Won) -> Win:
    challenge = program.challenge(won.challenge)
    voucher = challenge.reward.voucher if challenge else None
    return Win(won.challenge, voucher.sku if voucher is not None and won.kind == "voucher" else None)
