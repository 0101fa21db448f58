"""A recorded purchase as the engine's remainder and the challenges ask for it, from its rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wallet_server.challenges.progress import LineFacts, PurchaseFacts
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.purchases.facts import read_facts
from wallet_server.purchases.models import Purchase, PurchaseLine, PurchaseTrace, Visit
from wallet_server.purchases.remainder import Bought, BoughtLine


def bought_of(row: Purchase, lines: Sequence[PurchaseLine], trace: PurchaseTrace, version: ProgramDefinition) -> Bought:
    """The purchase as it was recorded; ``version`` is its own program version."""
    kept = trace.trace["facts"]
    above, costs = kept.get("above", {}), kept.get("costs", {})
    return Bought(
        outlet=version.outlet_by_id(row.outlet_id).section.code,
        occurred_at=row.occurred_at,
        payment_type=row.payment_type,
        money_due_minor=row.money_due_minor,
        points_redeemed=row.points_redeemed,
        facts=read_facts(kept, row.member_id),
        lines=tuple(
            BoughtLine(
                line=line.line,
                quantity_thousandths=line.quantity_thousandths,
                unit_price_minor=line.unit_price_minor,
                discount_minor=line.discount_minor,
                paid_with_points_minor=line.paid_with_points_minor,
                sku=line.sku,
                categories=() if line.category is None else (line.category, *above.get(line.category, ())),
                cost_minor=None if line.sku is None else costs.get(line.sku),
            )
            for line in lines
        ),
    )


def facts_of_purchase(
    row: Purchase, lines: Sequence[PurchaseLine], outlet: str, quantities: Mapping[int, int]
) -> PurchaseFacts:
    """What challenges ask of so many thousandths of each line; ``outlet`` is the code."""
    counted = [
        LineFacts(line.sku, line.category, quantities[line.line], _bought(line).discounted_minor(quantities[line.line]))
        for line in lines
        if quantities[line.line]
    ]
    return PurchaseFacts(
        purchase_id=row.id,
        member_id=row.member_id,
        outlet=outlet,
        occurred_at=row.occurred_at,
        business_date=row.business_date,
        total_minor=sum(line.amount_minor for line in counted),
        lines=tuple(counted),
    )


def facts_of_visit(row: Visit, outlet: str) -> PurchaseFacts:
    """What challenges ask of a visit without money."""
    return PurchaseFacts(
        purchase_id=row.id,
        member_id=row.member_id,
        outlet=outlet,
        occurred_at=row.occurred_at,
        business_date=row.business_date,
        total_minor=0,
        lines=(),
        visit=True,
    )


def _bought(line: PurchaseLine) -> BoughtLine:
    return BoughtLine(
        line.line,
        line.quantity_thousandths,
        line.unit_price_minor,
        line.discount_minor,
        line.paid_with_points_minor,
    )
