"""What the form of a rule means: the rule, or what is wrong field by field. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import ValidationError

from wallet_server.errors import DomainError
from wallet_server.i18n import gettext_noop
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.rule import ALLOWED, WEEKDAYS, DateRange, Family, Rule
from wallet_server.web.forms import parse_decimal, parse_moment, parse_money, parse_points
from wallet_server.web.panel.program_rule_form import EARN, REDEEM, RuleForm

SENTENCES: Final[Mapping[str, str]] = {
    "name": gettext_noop("Give the rule a name of at most 120 characters."),
    "name_taken": gettext_noop("Another rule has this name."),
    "family": gettext_noop("Choose what the rule goes by."),
    "priority": gettext_noop("The priority is a whole number from −1,000,000 to 1,000,000."),
    "starts": gettext_noop("Enter a day and a time."),
    "ends": gettext_noop("Enter a day and a time."),
    "ends_order": gettext_noop("The end is not after the beginning."),
    "outlets": gettext_noop("The program has no such outlet any more. Choose again."),
    "tiers": gettext_noop("The program has no such tier any more. Choose again."),
    "segments": gettext_noop("The program has no such segment any more. Choose again."),
    "members": gettext_noop("Card numbers are letters, digits and dashes, with spaces or commas between them."),
    "tags": gettext_noop("Tags are words of letters, digits, dots and dashes, with commas between them."),
    "tenure": gettext_noop("Days are whole numbers from 1 to 36,500."),
    "birthday": gettext_noop("Days are whole numbers from 0 to 182."),
    "skus": gettext_noop("A product number has at most 120 characters."),
    "categories": gettext_noop("A category has at most 120 characters."),
    "quantity": gettext_noop("A quantity is more than 0 and has at most three decimals."),
    "price": gettext_noop("Enter amounts; the first one is less than the second one."),
    "margin": gettext_noop("Enter percents of at most 100; the first one is less than the second one."),
    "weekdays": gettext_noop("Choose days of the week."),
    "time": gettext_noop("Enter two different times, such as 16:00 and 18:00."),
    "dates": gettext_noop("One day or two a line, such as 2026-12-24, or 12-24 – 12-26 for every year."),
    "total": gettext_noop("Enter amounts; the first one is less than the second one."),
    "nth": gettext_noop("The number of a purchase is a whole number from 1 to 1,000,000."),
    "payments": gettext_noop("Ways to pay have at most 32 characters, with commas between them."),
    "earn": gettext_noop("Choose what the rule does to points, or to paying with points."),
    "earn_value": gettext_noop("Enter a number that fits: percents and factors up to 1,000, points above 0."),
    "earn_whole": gettext_noop("Points of a whole receipt are a whole number."),
    "earn_base": gettext_noop("The program gives nothing without rules, so a percent of that is nothing."),
    "redeem": gettext_noop("Only a rule about when and how can limit the whole receipt."),
    "redeem_value": gettext_noop("Enter a percent from 0 to 100."),
}  # fmt: skip


def place_of(sentence: str) -> str:
    """Where in the page a sentence is told: each of these has its place."""
    return sentence.partition("_")[0]


FIELDS: Final = tuple(dict.fromkeys(place_of(key) for key in SENTENCES))
_HOME: Final[Mapping[str, str]] = {
    "tenure_days_min": "tenure", "birthday_within_days": "birthday", "quantity_min": "quantity",
    "unit_price_minor": "price", "margin_percent": "margin", "receipt_total_minor": "total", "nth_purchase": "nth",
    "payment_types": "payments", "starts_at": "starts", "ends_at": "ends",
}  # fmt: skip
_BETWEEN: Final = re.compile(r"[\s,;]+")
_COMMAS: Final = re.compile(r"[,;\n]+")
_LINES: Final = re.compile(r"[\r\n]+")
"""A product number may have a comma in it."""
_SPAN: Final = re.compile(r"\s*(?:–|—|\.\.+|\s-\s|\sto\s)\s*")
_DOTTED: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.?(?:(\d{4})\.?)?")


@dataclass(frozen=True)
class Problem:
    """What is wrong in one place of the form; ``missing`` is what only has not been filled in yet."""

    field: str
    sentence: str
    missing: bool = False


@dataclass(frozen=True)
class Drafted:
    """The rule that a form means; ``None`` with the problems that stand in the way."""

    rule: Rule | None
    problems: tuple[Problem, ...] = ()

    @property
    def is_unfinished(self) -> bool:
        """Nothing is wrong, something is only not there yet."""
        return self.rule is None and all(problem.missing for problem in self.problems)

    def said(self, *, typing: bool) -> dict[str, str]:
        """The first problem of each place as our English sentence; while one types, not what is missing."""
        told: dict[str, str] = {}
        for problem in self.problems:
            if not (typing and problem.missing):
                told.setdefault(problem.field, problem.sentence)
        return told


def drafted(form: RuleForm, program: ProgramDefinition, *, was: Rule | None = None) -> Drafted:
    """The rule that the form means in this program. ``was`` is the rule that is changed, if there is one.

    Conditions that a rule of the family cannot have are left out: the page does not show them.
    """
    reader = _Reader(form, program, was)
    document = reader.document()
    problems = list(reader.problems)
    if problems:
        return Drafted(None, tuple(problems))
    try:
        return Drafted(Rule.model_validate(document))
    except ValidationError as error:
        return Drafted(None, tuple(_problems(error)))


def _problems(error: ValidationError) -> Iterator[Problem]:
    for item in error.errors(include_url=False, include_input=False):
        path = [str(step) for step in item["loc"] if isinstance(step, str)]
        key = path[1] if path[:1] == ["when"] and len(path) > 1 else path[0] if path else ""
        name = {"earn": "earn_value", "redeem": "redeem_value"}.get(key) or _HOME.get(key, key)
        if name in SENTENCES:
            yield Problem(place_of(name), SENTENCES[name])
        else:
            yield Problem("form", str(item["msg"]).removeprefix("Value error, "))


class _Reader:
    """Reads one form; notes what is wrong and goes on."""

    def __init__(self, form: RuleForm, program: ProgramDefinition, was: Rule | None) -> None:
        self.problems: list[Problem] = []
        self._form = form
        self._program = program
        self._was = was

    def document(self) -> dict[str, Any]:
        form = self._form
        if not 0 < len(form["name"]) <= 120:
            self._note("name", missing=not form["name"])
        elif form["name"] != (self._was.name if self._was else None) and self._program.rule(form["name"]):
            self._note("name_taken")
        if form.family is None:
            self._note("family", missing=True)
        document: dict[str, Any] = {
            "name": form["name"],
            "family": form.family,
            "priority": self._whole("priority", signed=True) or 0,
            "outlets": self._codes("outlets", {outlet.code for outlet in self._program.file.outlets}),
            "when": {
                name: value for name, value in self._conditions() if name in ALLOWED.get(form.family or "product", ())
            },
        }
        document |= self._validity()
        document |= self._effects()
        return {name: value for name, value in document.items() if value not in (None, [])}

    def _note(self, sentence: str, *, missing: bool = False) -> None:
        self.problems.append(Problem(place_of(sentence), SENTENCES[sentence], missing=missing))

    def _shown(self, family: Family) -> bool:
        """Whether the page shows a family's conditions for the family that was chosen."""
        return self._form.family in (family, "product", None)

    def _conditions(self) -> Iterator[tuple[str, Any]]:
        if self._shown("customer"):
            yield from self._of_customer()
        if self._form.family in ("product", None):
            yield from self._of_product()
        if self._shown("behavior"):
            yield from self._of_behavior()

    def _of_customer(self) -> Iterator[tuple[str, Any]]:
        form, file = self._form, self._program.file
        if form["members"]:
            yield "members", [part for part in _BETWEEN.split(form["members"]) if part]
        if form.chosen("tiers"):
            yield "tiers", self._codes("tiers", {level.code for level in file.tiers.levels})
        if form.chosen("segments"):
            yield "segments", self._codes("segments", {segment.code for segment in file.segments})
        if form["tags"]:
            yield "tags", [part for part in _BETWEEN.split(form["tags"]) if part]
        if form["tenure"]:
            yield "tenure_days_min", self._whole("tenure")
        if form["birthday"]:
            yield "birthday_within_days", self._whole("birthday")

    def _of_product(self) -> Iterator[tuple[str, Any]]:
        form = self._form
        for condition in ("skus", "categories"):
            codes = [*form.chosen(condition), *_parts(form[f"more_{condition}"], _LINES)]
            if codes:
                yield condition, list(dict.fromkeys(codes))
        if form["quantity"]:
            yield "quantity_min", self._read("quantity", form["quantity"], parse_decimal)
        yield from self._money_range("unit_price_minor", "price")
        if form["margin_from"] or form["margin_to"]:
            bounds = {"from": form["margin_from"], "to": form["margin_to"]}
            yield "margin_percent", {word: self._read("margin", text, _signed) for word, text in bounds.items() if text}

    def _of_behavior(self) -> Iterator[tuple[str, Any]]:
        form = self._form
        if form.chosen("weekdays"):
            yield "weekdays", [day for day in WEEKDAYS if day in form.chosen("weekdays")]
        if form["time_from"] or form["time_to"]:
            yield "time", {"from": form["time_from"][:5], "to": form["time_to"][:5]}
        if form["dates"]:
            yield "dates", [self._days(line) for line in form["dates"].splitlines() if line.strip()]
        yield from self._money_range("receipt_total_minor", "total")
        if form["nth"]:
            yield "nth_purchase", self._whole("nth")
        if form["payments"]:
            yield "payment_types", _parts(form["payments"])

    def _money_range(self, condition: str, name: str) -> Iterator[tuple[str, Any]]:
        bounds = {"from": self._form[f"{name}_from"], "to": self._form[f"{name}_to"]}
        if any(bounds.values()):
            currency = self._program.currency
            read: Callable[[str, str], Any] = lambda text, field: parse_money(text, currency, field)  # noqa: E731
            yield condition, {word: self._read(name, text, read) for word, text in bounds.items() if text}

    def _days(self, line: str) -> dict[str, Any] | None:
        parts = [_iso(part) for part in _SPAN.split(line.strip()) if part]
        yearly = all(len(part) == 5 for part in parts)
        try:
            if not 1 <= len(parts) <= 2:
                raise ValueError(line)
            found = {"from": parts[0], "yearly": yearly} | ({"to": parts[1]} if len(parts) == 2 else {})
            DateRange.model_validate(found)
        except ValueError:  # pydantic's error is one
            self._note("dates")
            return None
        return found

    def _validity(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, key in (("starts", "starts_at"), ("ends", "ends_at")):
            try:
                moment = parse_moment(self._form[name], name, getattr(self._was, key) if self._was else None)
            except DomainError:
                self._note(name)
            else:
                found |= {} if moment is None else {key: moment}
        if len(found) == 2 and (found["starts_at"].tzinfo is None) != (found["ends_at"].tzinfo is None):
            # One of them was typed anew, in local time: so is the other then.
            found = {key: bound.replace(tzinfo=None) for key, bound in found.items()}
        if len(found) == 2 and found["starts_at"] >= found["ends_at"]:
            self._note("ends_order")
        return found

    def _effects(self) -> dict[str, Any]:
        form = self._form
        found: dict[str, Any] = {}
        if form["earn"] in EARN:
            value = self._earned(form["earn"])
            found["earn"] = {form["earn"]: value}
        if form["redeem"] in REDEEM:
            if form["redeem"] == "receipt_max_percent" and form.family not in ("behavior", None):
                self._note("redeem")
            elif form["redeem_value"]:
                found["redeem"] = {form["redeem"]: self._read("redeem_value", form["redeem_value"], parse_decimal)}
            else:
                self._note("redeem_value", missing=True)
        elif not found:
            self._note("earn", missing=True)
        return found

    def _earned(self, effect: str) -> Any:
        form = self._form
        if effect == "none":
            return True
        if effect in ("percent", "fixed_percent") and not self._program.points.base_percent:
            self._note("earn_base")
        if not form["earn_value"]:
            self._note("earn_value", missing=True)
            return None
        if effect == "max_points" or (effect == "fixed_points" and form.family != "product"):
            return self._read("earn_whole", form["earn_value"], parse_points)
        return self._read("earn_value", form["earn_value"], parse_decimal)

    def _codes(self, name: str, known: set[str]) -> list[str]:
        chosen = list(self._form.chosen(name))
        if not known.issuperset(chosen):
            self._note(name)
        return chosen

    def _whole(self, name: str, *, signed: bool = False) -> int | None:
        text = self._form[name].replace("\N{MINUS SIGN}", "-")
        if not text:
            return None
        if not re.fullmatch(r"-?\d{1,9}" if signed else r"\d{1,9}", text):
            self._note(name)
            return None
        return int(text)

    def _read(self, name: str, text: str, read: Callable[[str, str], Any]) -> Any:
        try:
            return read(text, name)
        except DomainError:
            self._note(name)
            return None


def _parts(text: str, between: re.Pattern[str] = _COMMAS) -> list[str]:
    return [part.strip() for part in between.split(text) if part.strip()]


def _signed(text: str, name: str) -> Decimal:
    plain = text.replace("\N{MINUS SIGN}", "-")
    return -parse_decimal(plain[1:], name) if plain.startswith("-") else parse_decimal(plain, name)


def _iso(text: str) -> str:
    """``24.12.2026`` and ``24.12.`` as the file writes them; anything else as it is."""
    found = _DOTTED.fullmatch(text.strip())
    if found is None:
        return text.strip()
    day, month, year = found.groups()
    return f"{year + '-' if year else ''}{int(month):02}-{int(day):02}"
