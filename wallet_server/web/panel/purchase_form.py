"""The form of a purchase that is recorded by hand: what was typed, and the command that it means. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from wallet_server.errors import DomainError
from wallet_server.programs.models import Product
from wallet_server.purchases.commands import LineInput, RecordPurchase
from wallet_server.rules.receipt import RedeemPoints
from wallet_server.web.forms import parse_money, parse_points, parse_thousandths

LINES_MAX: Final = 30
TEXT_MAX: Final = 120


@dataclass(frozen=True)
class TypedLine:
    """One row of products as typed."""

    sku: str = ""
    quantity: str = "1"

    @property
    def is_empty(self) -> bool:
        """Whether the row was left alone."""
        return not self.sku


@dataclass(frozen=True)
class PurchaseForm:
    """Everything as typed, so that a refused form comes back as it was."""

    key: str
    outlet: str = ""
    receipt_id: str = ""
    amount: str = ""
    lines: tuple[TypedLine, ...] = ()
    redeem: str = "none"
    redeem_points: str = ""

    @property
    def rows(self) -> tuple[TypedLine, ...]:
        """The rows to draw: those that are filled, and an empty one."""
        return (*self.lines, TypedLine()) if len(self.lines) < LINES_MAX else self.lines

    def command(
        self, card_number: str, products: Mapping[str, Product], currency: str, occurred_at: datetime
    ) -> RecordPurchase:
        """What the form asks for. Raises ``DomainError(validation)`` whose ``field`` names the bad one."""
        lines = [self._product_line(line, products) for line in self.lines]
        if self.amount.strip():
            amount = parse_money(self.amount, currency, "amount")
            lines.insert(0, LineInput(None, None, 1000, amount))
        if not lines:
            raise DomainError("validation", "amount: enter an amount or choose a product", field="amount")
        return RecordPurchase(
            receipt_id=self.receipt_id or f"panel-{self.key[:32]}",
            card_number=card_number,
            outlet=self.outlet,
            occurred_at=occurred_at,
            lines=tuple(lines),
            redeem_points=self._redeem_points(),
        )

    def _product_line(self, line: TypedLine, products: Mapping[str, Product]) -> LineInput:
        product = products.get(line.sku)
        if product is None or product.price_minor is None:
            raise DomainError("validation", f"sku: {line.sku!r} is not a product with a price", field="sku")
        return LineInput(line.sku, None, parse_thousandths(line.quantity, "quantity"), product.price_minor)

    def _redeem_points(self) -> RedeemPoints:
        if self.redeem == "max":
            return "max"
        return parse_points(self.redeem_points, "redeem_points") if self.redeem == "some" else 0


def read_form(values: Mapping[str, str], skus: Sequence[str], quantities: Sequence[str], *, key: str) -> PurchaseForm:
    """The form as a browser sent it; what is too long is cut, what is unknown is left out."""
    typed = (
        TypedLine(sku.strip()[:TEXT_MAX], quantity.strip()[:20] or "1")
        for sku, quantity in zip(skus, quantities, strict=False)
    )
    return PurchaseForm(
        key=key,
        outlet=values.get("outlet", "")[:TEXT_MAX],
        receipt_id=values.get("receipt_id", "").strip()[:TEXT_MAX],
        amount=values.get("amount", "")[:20],
        lines=tuple(line for line in typed if not line.is_empty)[:LINES_MAX],
        redeem=values.get("redeem", "none") if values.get("redeem") in ("some", "max") else "none",
        redeem_points=values.get("redeem_points", "")[:12],
    )
