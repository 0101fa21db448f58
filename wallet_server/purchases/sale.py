"""A purchase whose lines come back: what of it is left before and after, read under the member's lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session, select

from wallet_server.errors import DomainError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import load_program
from wallet_server.purchases.commands import RefundPurchase
from wallet_server.purchases.models import Purchase, PurchaseLine, Refund
from wallet_server.purchases.queries import lines_of_purchase, purchase_by_id, trace_of_purchase
from wallet_server.purchases.recorded import bought_of
from wallet_server.purchases.remainder import Bought, Remainder, remainder


@dataclass(frozen=True, slots=True)
class Sale:
    """A purchase that is being refunded: its row as it was before, its version, and what is left and comes back.

    Quantities in thousandths, by number of the line.
    """

    row: Purchase
    lines: Sequence[PurchaseLine]
    version: ProgramDefinition
    bought: Bought
    left: Mapping[int, int]
    back: Mapping[int, int]
    before: Remainder
    after: Remainder
    reason: str

    @property
    def is_over(self) -> bool:
        """Nothing is left of it."""
        return not any(self.left.values())


def sale_of(session: Session, program: ProgramDefinition, command: RefundPurchase, outlet: str | None) -> Sale:
    """The purchase, read after the lock, with what comes back; refuses what cannot."""
    row = purchase_by_id(session, command.purchase_id, fresh=True)
    code = program.outlet_by_id(row.outlet_id).section.code
    if outlet is not None and code != outlet:
        raise DomainError("other_outlet", f"this purchase was made at another outlet than {outlet!r}", status=403)
    lines = lines_of_purchase(session, row.id, fresh=True)
    first = session.exec(
        select(Refund.id).where(Refund.purchase_id == row.id, Refund.refund_id == command.refund_id)
    ).one_or_none()
    if first is not None:
        raise DomainError("duplicate_refund", "this refund has been recorded before", status=409, refund=str(first))
    before = {line.line: line.quantity_thousandths - line.returned_thousandths for line in lines}
    back = _asked_for(command, before)
    version = load_program(session, program_id=program.id, number=row.program_version)
    trace = trace_of_purchase(session, row.id)
    assert trace is not None, "each purchase has its trace (invariant L9)"
    bought = bought_of(row, lines, trace, version)
    left = {number: quantity - back.get(number, 0) for number, quantity in before.items()}
    return Sale(
        row=row,
        lines=lines,
        version=version,
        bought=bought,
        left=left,
        back=back,
        before=remainder(version, bought, before),
        after=remainder(version, bought, left),
        reason=f"Refund {command.refund_id} of receipt {row.receipt_id}",
    )


def _asked_for(command: RefundPurchase, left: Mapping[int, int]) -> dict[int, int]:
    """What comes back of each line; refuses what is not left."""
    back = {number: quantity for number, quantity in left.items() if quantity}
    if command.lines is not None:
        back = dict(command.lines)
        for number in back:
            if number not in left:
                raise DomainError("unknown_line", f"this purchase has no line {number}", line=number)
    for number, quantity in back.items():
        if quantity > left[number]:
            raise DomainError(
                "refund_exceeds_purchase",
                f"{units(left[number])} of line {number} are left, and {units(quantity)} were to come back",
                status=409,
                line=number,
                left=units(left[number]),
            )
    if not back:
        raise DomainError("refund_exceeds_purchase", "nothing of this purchase is left", status=409)
    return back


def units(thousandths: int) -> str:
    """A quantity as tills write it: ``1.5``."""
    return f"{thousandths // 1000}.{thousandths % 1000:03d}".rstrip("0").rstrip(".")
