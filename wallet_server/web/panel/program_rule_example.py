"""The example receipt beside the form of a rule: who buys what, where and when, and what a draft changes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from werkzeug.datastructures import MultiDict

from wallet_server.errors import DomainError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.models import Product
from wallet_server.programs.rule import WEEKDAYS, Rule
from wallet_server.rules.conditions import minutes_of
from wallet_server.rules.engine import Line, MemberFacts, Quote, Receipt, quote
from wallet_server.web.forms import parse_decimal, parse_money, parse_points, parse_thousandths

LINES_MAX: Final = 10
TEXT_MAX: Final = 120
NOBODY: Final = UUID(int=0)
TEXTS: Final = (
    "ex_outlet", "ex_day", "ex_time", "ex_amount", "ex_payment", "ex_tier", "ex_purchases", "ex_tenure", "ex_birthday",
    "ex_points", "ex_tags", "ex_card",
)  # fmt: skip
STAYS: Final = {"ex_purchases": "0", "ex_tenure": "", "ex_birthday": "", "ex_points": "1000", "ex_card": ""}
NUMBER_MAX: Final = 10_000_000
DAYS_MAX: Final = 36_500


@dataclass(frozen=True)
class Example:
    """Everything as typed; ``lines`` are (sku, quantity)."""

    texts: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[tuple[str, str], ...] = ()
    segments: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """The rows to draw: those that are filled, and an empty one."""
        return (*self.lines, ("", "1")) if len(self.lines) < LINES_MAX else self.lines

    def receipt(self, program: ProgramDefinition, products: Mapping[str, Product]) -> Receipt:
        """The receipt. Raises ``unknown_outlet``, or ``DomainError(validation)`` whose ``field`` names the bad part."""
        outlet = program.outlet(self["ex_outlet"])
        try:
            wall = datetime.fromisoformat(f"{self['ex_day']}T{self['ex_time'][:5]}")
        except ValueError:
            raise DomainError("validation", "ex_day: needs a day and a time", field="ex_day") from None
        lines: list[Line] = []
        if self["ex_amount"]:
            amount = parse_money(self["ex_amount"], program.currency, "ex_amount")
            lines.append(Line(1, 1000, amount))
        for sku, quantity in self.lines:
            product = products.get(sku)
            if product is None or product.price_minor is None:
                raise DomainError("validation", f"ex_sku: {sku!r} is not a product with a price", field="ex_sku")
            category = product.category_code
            lines.append(
                Line(
                    line=len(lines) + 1,
                    quantity_thousandths=parse_thousandths(quantity, "ex_quantity"),
                    unit_price_minor=product.price_minor,
                    sku=sku,
                    categories=program.ancestors(category) if category is not None else (),
                    cost_minor=product.cost_minor,
                )
            )
        if not lines:
            raise DomainError("validation", "ex_amount: enter an amount or choose a product", field="ex_amount")
        if any(line.quantity_thousandths == 0 for line in lines):
            raise DomainError("validation", "ex_quantity: is more than 0", field="ex_quantity")
        # The fold argument of an hour that comes twice is its first: an example is no place for more.
        return Receipt(
            self["ex_outlet"], wall.replace(tzinfo=ZoneInfo(outlet.zone)), tuple(lines), self["ex_payment"] or None
        )

    def facts(self, receipt: Receipt, cards: Sequence[str]) -> MemberFacts:
        """Who buys; ``cards`` are those that the rule is about. Raises ``DomainError(validation)``."""
        day = receipt.occurred_at.date()
        tenure, birthday = self._days("ex_tenure"), self._days("ex_birthday")
        return MemberFacts(
            member_id=NOBODY,
            spendable=_at_most(parse_points(self["ex_points"], "ex_points"), "ex_points"),
            tier=self["ex_tier"] or None,
            purchases=_at_most(parse_points(self["ex_purchases"], "ex_purchases"), "ex_purchases"),
            joined_at=receipt.occurred_at - timedelta(days=tenure or 0),
            birthday=None if birthday is None else day + timedelta(days=birthday),
            cards=frozenset(cards[:1]) if self["ex_card"] else frozenset(),
            segments=frozenset(self.segments),
            tags=frozenset(tag for tag in self["ex_tags"].replace(",", " ").split() if tag),
        )

    def _days(self, name: str) -> int | None:
        if not self[name]:
            return None
        days = parse_decimal(self[name], name)
        if days != days.to_integral_value() or days > DAYS_MAX:
            raise DomainError("validation", f"{name}: days are whole numbers up to {DAYS_MAX}", field=name)
        return int(days)


def _at_most(number: int, name: str) -> int:
    if number > NUMBER_MAX:
        raise DomainError("validation", f"{name}: is at most {NUMBER_MAX}", field=name)
    return number


def read_example(values: MultiDict[str, str]) -> Example:
    """The example as a browser sent it; what is too long is cut."""
    lines = zip(values.getlist("ex_sku"), values.getlist("ex_quantity"), strict=False)
    return Example(
        texts={name: values.get(name, "").strip()[:TEXT_MAX] for name in TEXTS},
        lines=tuple((sku.strip()[:TEXT_MAX], number.strip()[:20] or "1") for sku, number in lines if sku.strip())[
            :LINES_MAX
        ],
        segments=tuple(code[:TEXT_MAX] for code in values.getlist("ex_segments")[:100]),
    )


@dataclass(frozen=True)
class Compared:
    """What an example brings without the draft and with it; ``after`` is None where the draft is not ready."""

    receipt: Receipt
    before: Quote
    after: Quote | None

    @property
    def is_changed(self) -> bool:
        """The draft changes what the member gets or may do."""
        return self.after is not None and _figures(self.after) != _figures(self.before)


def _figures(made: Quote) -> tuple[int, int, int]:
    return made.points_earned, made.redeemable_points, made.discount_minor


def compare(
    program: ProgramDefinition,
    draft: Rule | None,
    example: Example,
    products: Mapping[str, Product],
    *,
    replacing: str | None = None,
) -> Compared:
    """Quote the example twice, as the program is and with the draft in it; changes nothing.

    Raises as :meth:`Example.receipt` and the engine do.
    """
    receipt = example.receipt(program, products)
    facts = example.facts(receipt, (draft.when.members or ()) if draft else ())
    before = quote(program, receipt, facts)
    return Compared(
        receipt, before, None if draft is None else quote(with_draft(program, draft, replacing), receipt, facts)
    )


def with_draft(program: ProgramDefinition, draft: Rule, replacing: str | None) -> ProgramDefinition:
    """The program as it would be; one that is added stands last."""
    rules = [draft if rule.name == replacing else rule for rule in program.file.rules]
    if replacing is None or draft not in rules:
        rules.append(draft)
    return replace(program, file=program.file.model_copy(update={"rules": rules}))


def example_for(rule: Rule | None, program: ProgramDefinition, products: Sequence[Product], now: datetime) -> Example:
    """An example to begin with: an ordinary receipt of today, bent so that the rule's conditions hold where they can.

    The first two products are on it, those of the rule first.
    """
    outlet = _first(rule.outlets if rule else (), program.outlets) or next(iter(program.outlets), "")
    zone = program.outlets[outlet].zone if outlet else program.time_zone
    local = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None, second=0, microsecond=0)
    moment = _moment_for(rule, local) if rule else local.replace(hour=12, minute=0)
    first = program.first_level
    texts = {
        **STAYS,
        "ex_outlet": outlet,
        "ex_day": f"{moment:%Y-%m-%d}",
        "ex_time": f"{moment:%H:%M}",
        "ex_tier": first.code if first else "",
    }
    priced = [product for product in products if product.price_minor]
    matching = [product for product in priced if rule is not None and _is_about(rule, product, program)]
    others = [product for product in priced if product not in matching]
    quantity = "1"
    segments: tuple[str, ...] = ()
    if rule is not None:
        when = rule.when
        quantity = format(max(when.quantity_min, Decimal(1)), "f") if when.quantity_min else "1"
        segments = tuple((when.segments or ())[:1])
        texts |= {
            "ex_tier": _first(when.tiers or (), (texts["ex_tier"],)) or (when.tiers or [texts["ex_tier"]])[0],
            "ex_purchases": str((when.nth_purchase or 1) - 1),
            "ex_tenure": "" if when.tenure_days_min is None else str(when.tenure_days_min),
            "ex_birthday": "" if when.birthday_within_days is None else "0",
            "ex_card": "1" if when.members else "",
            "ex_tags": (when.tags or [""])[0],
            "ex_payment": (when.payment_types or [""])[0],
        }
    lines = [(product.sku, quantity if product in matching else "1") for product in (matching[:1] + others)[:2]]
    return Example(texts, tuple(lines), segments)


def _first(wanted: Sequence[str], known: Mapping[str, object] | Sequence[str]) -> str:
    return next((code for code in wanted if code in known), "")


def _is_about(rule: Rule, product: Product, program: ProgramDefinition) -> bool:
    when = rule.when
    chain = program.ancestors(product.category_code) if product.category_code else ()
    price = product.price_minor or 0
    limits = when.unit_price_minor
    return (
        (when.skus is None or product.sku in when.skus)
        and (when.categories is None or not set(when.categories).isdisjoint(chain))
        and (limits is None or ((limits.from_ or 0) <= price and (limits.to is None or price < limits.to)))
    )


def _moment_for(rule: Rule, local: datetime) -> datetime:
    """The next moment from now on at which the rule's days and hours hold, as far as two years can tell."""
    when = rule.when
    start = rule.starts_at.replace(tzinfo=None) if rule.starts_at is not None else local
    moment = max(local, start)
    if when.time is not None:
        minutes = minutes_of(when.time.from_)
        moment = moment.replace(hour=minutes // 60, minute=minutes % 60)
    days = {WEEKDAYS.index(day) for day in when.weekdays} if when.weekdays else set(range(7))
    for ahead in range(2 * 366):
        candidate = moment + timedelta(days=ahead)
        if candidate.weekday() in days and (
            when.dates is None or any(part.covers(candidate.date()) for part in when.dates)
        ):
            return candidate
    return moment
