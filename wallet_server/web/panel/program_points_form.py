"""The form of a program's points: what was typed, and the settings that it means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from babel.numbers import get_currency_precision
from pydantic import ValidationError
from werkzeug.datastructures import MultiDict

from wallet_server.errors import DomainError
from wallet_server.i18n import gettext_noop
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.fields import MINOR_MAX, POINTS_MAX
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.points import DAYS_MAX, PointsSettings, ZeroingRule
from wallet_server.web.forms import parse_decimal, parse_money

ZEROING_MAX: Final = 20
LIMITS: Final = ("owner", "manager", "cashier", "till", "four_eyes_above")
TICKS: Final = ("carry_fraction", "earn_on_points_part")
TEXTS: Final = (
    "base_percent", "base_redeem_percent", "point_value", "rounding", "pending_days", "negative_balance", "min_points",
    "expiry", "rolling_days", "inactivity_days", "expiry_month", "expiry_day", "refund_grace_days", *LIMITS,
)  # fmt: skip
ZEROING_TEXTS: Final = ("name", "month", "day", "inactive_days", "percent", "max_points")
REFUSALS: Final = {
    "percent": gettext_noop("Enter a percent from 0 to %(most)s."),
    "money": gettext_noop("Enter what a point is worth, above zero."),
    "whole": gettext_noop("Enter a whole number from %(least)s to %(most)s."),
    "day": gettext_noop("Choose a day that each such month has."),
    "choice": gettext_noop("Choose one of these."),
    "name": gettext_noop("Give it a name."),
    "same_name": gettext_noop("Another one has this name."),
}


@dataclass(frozen=True)
class Problem:
    """What is wrong with a field: a sentence of ``REFUSALS`` and what it names."""

    code: str
    least: int = 0
    most: int = 0


@dataclass(frozen=True)
class ZeroingForm:
    """One zeroing rule as typed."""

    texts: Mapping[str, str]
    tiers: tuple[str, ...] = ()
    removed: bool = False

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    @property
    def is_empty(self) -> bool:
        """Whether the row was left alone, or is to go."""
        return self.removed or not (any(text for name, text in self.texts.items() if name != "month") or self.tiers)


@dataclass(frozen=True)
class PointsForm:
    """Everything as typed."""

    version: int
    texts: Mapping[str, str]
    ticks: frozenset[str]
    zeroing: tuple[ZeroingForm, ...]

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")


class _Reader:
    """Reads fields one after the other and keeps what is wrong with them."""

    def __init__(self) -> None:
        self.problems: dict[str, Problem] = {}

    def whole(self, field: str, text: str, most: int, *, least: int = 0) -> int:
        try:
            number = parse_decimal(text, field)
        except DomainError:
            number = Decimal(-1)
        if number != number.to_integral_value() or not least <= number <= most:
            self.problems[field] = Problem("whole", least, most)
            return least
        return int(number)

    def percent(self, field: str, text: str, most: int) -> Decimal:
        try:
            number = parse_decimal(text, field)
        except DomainError:
            number = Decimal(-1)
        if not 0 <= number <= most:
            self.problems[field] = Problem("percent", most=most)
            return Decimal(0)
        return number

    def money(self, field: str, text: str, currency: str) -> int:
        try:
            minor = parse_money(text, currency, field)
        except DomainError:
            minor = 0
        if not 1 <= minor <= MINOR_MAX:
            self.problems[field] = Problem("money")
            return 1
        return minor

    def choice(self, field: str, text: str, among: Sequence[str]) -> str:
        if text not in among:
            self.problems[field] = Problem("choice")
            return among[0]
        return text


def settings_of(form: PointsForm, program: ProgramDefinition) -> tuple[PointsSettings | None, dict[str, Problem]]:
    """The settings that the form means, or what is wrong with which field."""
    read = _Reader()
    document: dict[str, Any] = {
        "base_percent": read.percent("base_percent", form["base_percent"], 1000),
        "base_redeem_percent": read.percent("base_redeem_percent", form["base_redeem_percent"], 100),
        "point_value_minor": read.money("point_value", form["point_value"], program.currency),
        "rounding": read.choice("rounding", form["rounding"], ("down", "half_up", "up")),
        "pending_days": read.whole("pending_days", form["pending_days"], 365),
        "negative_balance": read.choice("negative_balance", form["negative_balance"], ("forbid", "allow")),
        "min_points": read.whole("min_points", form["min_points"], POINTS_MAX),
        "refund_grace_days": read.whole("refund_grace_days", form["refund_grace_days"], 365),
        "adjustments": {name: read.whole(name, form[name], POINTS_MAX) for name in LIMITS},
        "expiry": _expiry(form, read),
        **{name: name in form.ticks for name in TICKS},
    }
    document["zeroing"] = list(_zeroing(form, read))
    if read.problems:
        return None, read.problems
    return PointsSettings.model_validate(document), {}


def _expiry(form: PointsForm, read: _Reader) -> dict[str, Any]:
    kind = read.choice("expiry", form["expiry"], ("none", "rolling_days", "fixed_date", "inactivity_days"))
    if kind in ("rolling_days", "inactivity_days"):
        return {"kind": kind, "days": read.whole(kind, form[kind], DAYS_MAX, least=1)}
    if kind == "fixed_date":
        month = read.whole("expiry_day", form["expiry_month"], 12, least=1)
        return {"kind": kind, "month": month, "day": _day("expiry_day", form["expiry_day"], month, read)}
    return {"kind": "none"}


def _day(field: str, text: str, month: int | None, read: _Reader) -> int:
    day = read.whole(field, text, 31, least=1)
    try:
        ZeroingRule(name="day", month=month, day=day)
    except ValidationError:
        read.problems[field] = Problem("day")
    return day


def _zeroing(form: PointsForm, read: _Reader) -> Iterator[dict[str, Any]]:
    names = set[str]()
    for number, row in enumerate(form.zeroing):
        if row.is_empty:
            continue
        field = f"zeroing_{number}_"
        name = row["name"]
        if not 1 <= len(name) <= 120:
            read.problems[field + "name"] = Problem("name")
        elif name in names:
            read.problems[field + "name"] = Problem("same_name")
        names.add(name)
        month = read.whole(field + "day", row["month"], 12, least=1) if row["month"] else None
        carry: dict[str, Any] = {}
        if row["percent"]:
            carry["percent"] = read.percent(field + "percent", row["percent"], 100)
        if row["max_points"]:
            carry["max_points"] = read.whole(field + "max_points", row["max_points"], POINTS_MAX)
        document: dict[str, Any] = {
            "name": name,
            "month": month,
            "day": _day(field + "day", row["day"], month, read),
            "tiers": list(row.tiers),
            "carry_over": carry,
        }
        if row["inactive_days"]:
            document["inactive_days"] = read.whole(field + "inactive_days", row["inactive_days"], DAYS_MAX, least=1)
        yield document


def with_points(file: ProgramFile, points: PointsSettings) -> ProgramFile:
    """The file with other points, checked as a whole. Raises ``pydantic.ValidationError``."""
    changed = file.model_copy(update={"program": file.program.model_copy(update={"points": points})})
    return ProgramFile.model_validate(changed.model_dump(by_alias=True, exclude_none=True))


def read_points(values: MultiDict[str, str]) -> PointsForm:
    """The form as a browser sent it; what is too long is cut."""
    version = values.get("version", "")
    rows = []
    for number in range(ZEROING_MAX):
        prefix = f"zeroing_{number}_"
        if prefix + "day" not in values:
            break
        rows.append(
            ZeroingForm(
                {name: " ".join(values.get(prefix + name, "").split())[:121] for name in ZEROING_TEXTS},
                tuple(values.getlist(prefix + "tiers"))[:50],
                removed=values.get(prefix + "remove") == "yes",
            )
        )
    return PointsForm(
        version=int(version) if re.fullmatch(r"[0-9]{1,9}", version) else 0,
        texts={name: values.get(name, "").strip()[:20] for name in TEXTS},
        ticks=frozenset(name for name in TICKS if values.get(name) == "yes"),
        zeroing=tuple(rows),
    )


def form_of(program: ProgramDefinition) -> PointsForm:
    """The form of the points in force, with an empty row for one more zeroing."""
    points = program.points
    expiry = points.expiry
    texts = {
        "base_percent": _plain(points.base_percent),
        "base_redeem_percent": _plain(points.base_redeem_percent),
        "point_value": format(Decimal(points.point_value_minor).scaleb(-get_currency_precision(program.currency)), "f"),
        "rounding": points.rounding,
        "pending_days": str(points.pending_days),
        "negative_balance": points.negative_balance,
        "min_points": str(points.min_points),
        "refund_grace_days": str(points.refund_grace_days),
        "expiry": expiry.kind,
        "rolling_days": str(expiry.days) if expiry.kind == "rolling_days" else "",
        "inactivity_days": str(expiry.days) if expiry.kind == "inactivity_days" else "",
        "expiry_month": str(expiry.month or ""),
        "expiry_day": str(expiry.day or ""),
        **{name: str(getattr(points.adjustments, name)) for name in LIMITS},
    }
    rows = [_row(rule) for rule in points.zeroing]
    ticks = frozenset(name for name in TICKS if getattr(points, name))
    return PointsForm(program.version, texts, ticks, with_empty_row(rows))


def with_empty_row(rows: Sequence[ZeroingForm]) -> tuple[ZeroingForm, ...]:
    """The rows, with an empty one at the end for one more."""
    if len(rows) >= ZEROING_MAX or (rows and rows[-1].is_empty and not rows[-1].removed):
        return tuple(rows)
    return (*rows, ZeroingForm({}))


def _row(rule: ZeroingRule) -> ZeroingForm:
    kept = rule.carry_over
    return ZeroingForm(
        {
            "name": rule.name,
            "month": str(rule.month or ""),
            "day": str(rule.day),
            "inactive_days": str(rule.inactive_days or ""),
            "percent": "" if kept.percent is None else _plain(kept.percent),
            "max_points": "" if kept.max_points is None else str(kept.max_points),
        },
        tuple(rule.tiers),
    )


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
