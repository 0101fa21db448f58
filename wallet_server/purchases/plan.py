"""A batch of purchases computed in memory, in the order given: what each brings, and the rows to write. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from wallet_server.challenges.progress import LineFacts, PurchaseFacts
from wallet_server.db import new_id
from wallet_server.ledger.expiry import expires_at
from wallet_server.ledger.postings import Balance, Movement, earn, redeem, settled
from wallet_server.programs.definition import OutletRef, ProgramDefinition
from wallet_server.purchases.commands import CardRow, RecordPurchase, Source
from wallet_server.purchases.facts import facts_document, own_coefficients
from wallet_server.rules.engine import Line, MemberFacts, Quote, Receipt, quote
from wallet_server.rules.numbers import shortest
from wallet_server.rules.validity import season
from wallet_server.tiers.levels import Standing

TRACE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Person:
    """What rules may ask of a member beside tier and statistics; empty where no rule asks."""

    joined_at: datetime | None = None
    birthday: date | None = None
    cards: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()


_NOBODY: Final = Person()


@dataclass(frozen=True, slots=True)
class Planned:
    """One purchase that will be recorded."""

    purchase_id: UUID
    card: CardRow
    program: ProgramDefinition
    """The version that it is computed with."""
    outlet: OutletRef
    command: RecordPurchase
    recorded_by: str
    receipt: Receipt
    facts: MemberFacts
    quote: Quote
    spendable_at: datetime
    business_date: date
    categories: tuple[str | None, ...]


@dataclass
class Plan:
    """The members' state as it evolves over the batch, and everything that has to be written.

    ``program`` is the version in force now: tiers and challenges are its. ``versions`` are those that were in
    force at the moments of late receipts, whose points are computed with them.
    """

    program: ProgramDefinition
    now: datetime
    source: Source
    balances: dict[UUID, Balance]
    standings: dict[UUID, Standing]
    categories: Mapping[str, str | None]
    people: Mapping[UUID, Person]
    costs: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[datetime, ProgramDefinition] = field(default_factory=dict)
    planned: list[Planned] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    carried: dict[UUID, Any] = field(default_factory=dict)

    def quote(self, command: RecordPurchase, card: CardRow) -> Quote:
        """What this receipt would bring the member now; raises as the engine does."""
        version = version_for(self.program, self.versions, command)
        receipt = receipt_of(version, command, self.categories, self.costs)
        return quote(version, receipt, self._facts(card.member_id), command.redeem_points)

    def _facts(self, member_id: UUID) -> MemberFacts:
        balance = self.balances[member_id]
        standing = self.standings.get(member_id, Standing())
        person = self.people.get(member_id, _NOBODY)
        return MemberFacts(
            member_id=member_id,
            spendable=balance.spendable,
            carried=balance.carried,
            tier=standing.tier,
            purchases=standing.purchases,
            joined_at=person.joined_at,
            birthday=person.birthday,
            cards=person.cards,
            segments=person.segments,
            tags=person.tags,
            own=own_coefficients(standing.coefficients),
        )

    def add(self, command: RecordPurchase, card: CardRow, recorded_by: str) -> Planned:
        """Record one more purchase; raises as the engine does, having changed nothing."""
        facts = self._facts(card.member_id)
        version = version_for(self.program, self.versions, command)
        receipt = receipt_of(version, command, self.categories, self.costs)
        made = quote(version, receipt, facts, command.redeem_points)
        outlet = version.outlet(command.outlet)
        planned = Planned(
            purchase_id=new_id(),
            card=card,
            program=version,
            outlet=outlet,
            command=command,
            recorded_by=recorded_by,
            receipt=receipt,
            facts=facts,
            quote=made,
            spendable_at=spendable_at(version, command.occurred_at, self.now),
            business_date=business_date(self.program, self.versions, command),
            categories=tuple(category_of(line.sku, line.category, self.categories) for line in command.lines),
        )
        self.planned.append(planned)
        self._move(planned)
        self._count(planned)
        return planned

    def _move(self, planned: Planned) -> None:
        member_id, made = planned.card.member_id, planned.quote
        reason = f"Receipt {planned.command.receipt_id}"
        balance = self.balances[member_id]
        if made.points_redeemed:
            self.movements.append(
                redeem(
                    member_id,
                    made.points_redeemed,
                    reason=reason,
                    occurred_at=planned.command.occurred_at,
                    purchase_id=planned.purchase_id,
                    outlet_id=planned.outlet.id,
                )
            )
            balance = replace(balance, spendable=balance.spendable - made.points_redeemed)
        if made.points_earned:
            pending = planned.spendable_at > self.now
            self.movements.append(
                earn(
                    member_id,
                    made.points_earned,
                    reason=reason,
                    occurred_at=planned.command.occurred_at,
                    purchase_id=planned.purchase_id,
                    spendable_at=planned.spendable_at,
                    expires_at=expires_at(planned.program, planned.command.occurred_at),
                    pending=pending,
                    outlet_id=planned.outlet.id,
                )
            )
            account = "pending" if pending else "spendable"
            balance = settled(replace(balance, **{account: getattr(balance, account) + made.points_earned}))
        if made.carried != balance.carried:
            self.carried[member_id] = made.carried
            balance = replace(balance, carried=made.carried)
        self.balances[member_id] = balance

    def _count(self, planned: Planned) -> None:
        member_id, made, moment = planned.card.member_id, planned.quote, planned.command.occurred_at
        before = self.standings.get(member_id, Standing())
        # A later receipt of the batch is computed with the tier that this one has brought.
        self.standings[member_id] = before.after_purchase(
            self.program,
            now=self.now,
            occurred_at=moment,
            business_date=planned.business_date,
            spend_minor=made.total_minor - made.discount_minor,
            points_earned=made.points_earned,
            lines=[
                (line.sku, category, line.quantity_thousandths)
                for line, category in zip(planned.command.lines, planned.categories, strict=True)
            ],
        )


def version_for(
    program: ProgramDefinition, versions: Mapping[datetime, ProgramDefinition], command: RecordPurchase
) -> ProgramDefinition:
    """The version that a receipt is computed with: that of its moment, if it knew the outlet already."""
    found = versions.get(command.occurred_at, program)
    return found if command.outlet in found.outlets else program


def business_date(
    program: ProgramDefinition, versions: Mapping[datetime, ProgramDefinition], command: RecordPurchase
) -> date:
    """The local day of the receipt at its outlet."""
    outlet = version_for(program, versions, command).outlet(command.outlet)
    return command.occurred_at.astimezone(ZoneInfo(outlet.zone)).date()


def spendable_at(program: ProgramDefinition, occurred_at: datetime, now: datetime) -> datetime:
    """When the points of a purchase become spendable; a till's clock that is ahead delays nothing."""
    return min(occurred_at, now).astimezone(UTC) + timedelta(days=program.points.pending_days)


def category_of(sku: str | None, category: str | None, categories: Mapping[str, str | None]) -> str | None:
    """The line's category: the till's, else that of the product."""
    return category if category is not None else categories.get(sku) if sku is not None else None


def receipt_of(
    program: ProgramDefinition,
    command: RecordPurchase,
    categories: Mapping[str, str | None],
    costs: Mapping[str, int],
) -> Receipt:
    """The receipt as the bonus engine reads it; ``costs`` are those of the products that rules ask for."""
    lines = []
    for number, line in enumerate(command.lines, start=1):
        category = category_of(line.sku, line.category, categories)
        lines.append(
            Line(
                line=number,
                quantity_thousandths=line.quantity_thousandths,
                unit_price_minor=line.unit_price_minor,
                sku=line.sku,
                categories=program.ancestors(category) if category is not None else (),
                cost_minor=costs.get(line.sku) if line.sku is not None else None,
            )
        )
    return Receipt(
        outlet=command.outlet,
        occurred_at=command.occurred_at,
        lines=tuple(lines),
        payment_type=command.payment_type,
    )


def purchase_row(plan: Plan, planned: Planned) -> dict[str, Any]:
    """The row of ``purchase``."""
    made, command = planned.quote, planned.command
    return {
        "id": planned.purchase_id,
        "program_id": plan.program.id,
        "outlet_id": planned.outlet.id,
        "receipt_id": command.receipt_id,
        "member_id": planned.card.member_id,
        "card_id": planned.card.card_id,
        "occurred_at": command.occurred_at,
        "business_date": planned.business_date,
        "recorded_at": plan.now,
        "source": plan.source,
        "recorded_by": planned.recorded_by,
        "payment_type": command.payment_type,
        "program_version": planned.program.version,
        "total_minor": made.total_minor,
        "discount_minor": made.discount_minor,
        "money_due_minor": made.money_due_minor,
        "points_redeemed": made.points_redeemed,
        "points_earned": made.points_earned,
        "receipt_points": made.receipt_points,
    }


def line_rows(plan: Plan, planned: Planned) -> list[dict[str, Any]]:
    """The rows of ``purchase_line``."""
    return [
        {
            "purchase_id": planned.purchase_id,
            "program_id": plan.program.id,
            "line": made.line,
            "sku": line.sku,
            "category": category,
            "quantity_thousandths": line.quantity_thousandths,
            "unit_price_minor": line.unit_price_minor,
            "amount_minor": made.amount_minor,
            "discount_minor": made.discount_minor,
            "earn_percent": shortest(made.earn_percent),
            "redeem_percent": shortest(made.redeem_percent),
            "points_earned": made.points_earned,
            "paid_with_points_minor": made.paid_with_points_minor,
        }
        for line, category, made in zip(planned.command.lines, planned.categories, planned.quote.lines, strict=True)
    ]


def trace_row(plan: Plan, planned: Planned) -> dict[str, Any]:
    """The row of ``purchase_trace``."""
    return {
        "purchase_id": planned.purchase_id,
        "program_id": plan.program.id,
        "trace": {
            "v": TRACE_VERSION,
            "steps": [dict(step) for step in planned.quote.trace],
            "facts": facts_document(planned.facts, planned.receipt),
        },
    }


def is_running(planned: Planned) -> bool:
    """The program ran when it was bought: outside its validity no challenge moves."""
    return season(planned.program.section.validity, planned.command.occurred_at, planned.outlet.zone).earns


def facts_of(planned: Planned) -> PurchaseFacts:
    """What challenges ask of this purchase."""
    made, command = planned.quote, planned.command
    return PurchaseFacts(
        purchase_id=planned.purchase_id,
        member_id=planned.card.member_id,
        outlet=command.outlet,
        occurred_at=command.occurred_at,
        business_date=planned.business_date,
        total_minor=made.total_minor - made.discount_minor,
        lines=tuple(
            LineFacts(line.sku, category, line.quantity_thousandths, part.amount_minor - part.discount_minor)
            for line, category, part in zip(command.lines, planned.categories, made.lines, strict=True)
        ),
    )
