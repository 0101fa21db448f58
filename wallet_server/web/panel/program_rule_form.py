"""The form of a rule: everything as typed. Pure; what it means is :mod:`wallet_server.web.panel.program_rule_draft`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from babel.numbers import get_currency_precision
from werkzeug.datastructures import MultiDict

from wallet_server.i18n import gettext_noop
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.rule import CODES_MAX, FAMILIES, DateRange, Family, Rule
from wallet_server.web.forms import typed_moment

TEXTS: Final = (
    "name", "family", "priority", "starts", "ends", "members", "tags", "tenure", "birthday", "more_skus",
    "more_categories", "quantity", "price_from", "price_to", "margin_from", "margin_to", "time_from", "time_to",
    "dates", "total_from", "total_to", "nth", "payments", "earn", "earn_value", "redeem", "redeem_value",
)  # fmt: skip
CHOICES: Final = ("outlets", "tiers", "segments", "skus", "categories", "weekdays")
LONG: Final = {"members": 200_000, "more_skus": 200_000, "more_categories": 50_000, "dates": 20_000, "tags": 50_000}
TEXT_MAX: Final = 125
EARN: Final[Mapping[str, str]] = {
    "multiply": gettext_noop("multiplies points by"),
    "percent": gettext_noop("gives this percent in points"),
    "fixed_percent": gettext_noop("gives exactly this percent, whatever other families say"),
    "fixed_points": gettext_noop("adds this many points"),
    "max_percent": gettext_noop("limits the percent to"),
    "max_points": gettext_noop("limits the points of a receipt to"),
    "none": gettext_noop("lets nothing be earned"),
    "discount_percent": gettext_noop("lowers the price by this percent"),
}
REDEEM: Final[Mapping[str, str]] = {
    "max_percent": gettext_noop("of a line: at most this percent"),
    "receipt_max_percent": gettext_noop("of the receipt: at most this percent"),
}


@dataclass(frozen=True)
class RuleForm:
    """Everything as typed, so that a refused form comes back as it was."""

    texts: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    def chosen(self, name: str) -> tuple[str, ...]:
        """What was ticked."""
        return self.choices.get(name, ())

    @property
    def family(self) -> Family | None:
        """The family, if one was chosen."""
        typed = self["family"]
        return typed if typed in FAMILIES else None

    def has_conditions_of(self, family: Family) -> bool:
        """Whether something is filled in among the conditions of a family."""
        texts, choices = _FILLED[family]
        return any(self[name] for name in texts) or any(self.chosen(name) for name in choices)


_FILLED: Final[Mapping[Family, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "customer": (("members", "tags", "tenure", "birthday"), ("tiers", "segments")),
    "product": (
        ("more_skus", "more_categories", "quantity", "price_from", "price_to", "margin_from", "margin_to"),
        ("skus", "categories"),
    ),
    "behavior": (("time_from", "time_to", "dates", "total_from", "total_to", "nth", "payments"), ("weekdays",)),
}


def read_rule_form(values: MultiDict[str, str]) -> RuleForm:
    """The form as a browser sent it; what is too long is cut."""
    return RuleForm(
        texts={name: values.get(name, "").strip()[: LONG.get(name, TEXT_MAX)] for name in TEXTS},
        choices={name: _once(values.getlist(name)) for name in CHOICES},
    )


def _once(items: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item[:TEXT_MAX] for item in items))[:CODES_MAX]


def form_of(rule: Rule, program: ProgramDefinition, offered: Mapping[str, Sequence[str]]) -> RuleForm:
    """The form of a rule; ``offered`` are the skus and categories that the page lists, others go into texts."""
    when = rule.when
    texts = {
        "name": rule.name,
        "family": rule.family,
        "priority": str(rule.priority) if rule.priority else "",
        "starts": typed_moment(rule.starts_at),
        "ends": typed_moment(rule.ends_at),
        "members": " ".join(when.members or ()),
        "tags": ", ".join(when.tags or ()),
        "tenure": _typed(when.tenure_days_min),
        "birthday": _typed(when.birthday_within_days),
        "more_skus": "\n".join(sku for sku in when.skus or () if sku not in offered.get("skus", ())),
        "more_categories": "\n".join(
            code for code in when.categories or () if code not in offered.get("categories", ())
        ),
        "quantity": _typed(when.quantity_min),
        "time_from": when.time.from_ if when.time else "",
        "time_to": when.time.to if when.time else "",
        "dates": "\n".join(_typed_days(part) for part in when.dates or ()),
        "nth": _typed(when.nth_purchase),
        "payments": ", ".join(when.payment_types or ()),
    }
    for name, limits in (("price", when.unit_price_minor), ("total", when.receipt_total_minor)):
        if limits is not None:
            texts[f"{name}_from"] = _typed_money(limits.from_, program.currency)
            texts[f"{name}_to"] = _typed_money(limits.to, program.currency)
    if when.margin_percent is not None:
        texts |= {"margin_from": _typed(when.margin_percent.from_), "margin_to": _typed(when.margin_percent.to)}
    for name, effects in (("earn", rule.earn), ("redeem", rule.redeem)):
        for effect, value in effects or ():
            if value is not None:
                texts |= {name: effect, f"{name}_value": "" if value is True else _typed(value)}
    choices = {
        "outlets": tuple(rule.outlets),
        "tiers": tuple(when.tiers or ()),
        "segments": tuple(when.segments or ()),
        "skus": tuple(sku for sku in when.skus or () if sku in offered.get("skus", ())),
        "categories": tuple(code for code in when.categories or () if code in offered.get("categories", ())),
        "weekdays": tuple(when.weekdays or ()),
    }
    return RuleForm(texts, choices)


def _typed(number: int | Decimal | None) -> str:
    return "" if number is None else format(number, "f") if isinstance(number, Decimal) else str(number)


def _typed_money(amount_minor: int | None, currency: str) -> str:
    if amount_minor is None:
        return ""
    precision = get_currency_precision(currency)
    return format(Decimal(amount_minor).scaleb(-precision), f".{precision}f")


def _typed_days(part: DateRange) -> str:
    return part.from_ if part.to in (None, part.from_) else f"{part.from_} – {part.to}"
