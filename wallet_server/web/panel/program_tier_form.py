"""The form of one tier level, and of the window: what was typed, and the table that it means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from babel.numbers import get_currency_precision
from pydantic import ValidationError

from wallet_server.errors import DomainError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.fields import CODE_PATTERN, COLOR_PATTERN
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.rule import Earn, Redeem
from wallet_server.programs.tiers import COUNT_MAX, DAYS_MAX, LEVELS_MAX, Reach, Threshold, TierLevel, Tiers, TierWindow
from wallet_server.web.forms import parse_decimal, parse_money

NAME_LENGTH_MAX: Final = 60
GRACE_DAYS_MAX: Final = 366
PRODUCTS_MAX: Final = 200
TEXT_LENGTH_MAX: Final = 6_000
COUNTED: Final = ("purchases", "visits", "points_earned", "tenure_days")
"""Thresholds that are a plain number."""
NUMBER_MAX: Final = {"purchases": COUNT_MAX, "visits": COUNT_MAX, "points_earned": COUNT_MAX, "tenure_days": 36_500}
EARN_KINDS: Final = ("percent", "multiply", "discount_percent")
"""Effects that the form can say; others stay as the file has them."""
KEPT: Final = "kept"


@dataclass(frozen=True)
class LevelForm:
    """Everything as typed, so that a refused form comes back as it was.

    ``reach_kept`` and an ``earn_kind`` of :data:`KEPT` are for what only a program file can say: it stays.
    ``above`` is the code of the level below the new one.
    """

    version: int = 0
    code: str = ""
    above: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    match: str = "any"
    spend: str = ""
    counts: Mapping[str, str] = field(default_factory=dict)
    bought_quantity: str = ""
    bought_skus: str = ""
    bought_categories: str = ""
    reach_kept: bool = False
    grace_days: str = ""
    color: str = ""
    earn_kind: str = ""
    earn_value: str = ""
    redeem_percent: str = ""

    def reach(self, currency: str) -> Reach:
        """The thresholds. Raises ``DomainError(validation)`` whose ``field`` names the bad part."""
        found: list[Threshold] = []
        if self.spend:
            found.append(Threshold(spend_minor=_within(parse_money(self.spend, currency, "spend"), 10**14, "spend")))
        found.extend(
            Threshold.model_validate({name: _whole(self.counts[name], NUMBER_MAX[name], name)})
            for name in COUNTED
            if self.counts.get(name)
        )
        skus, categories = listed(self.bought_skus), listed(self.bought_categories)
        if self.bought_quantity or skus or categories:
            quantity = _whole(self.bought_quantity, COUNT_MAX, "bought")
            if not (skus or categories) or len(skus) > PRODUCTS_MAX or len(categories) > PRODUCTS_MAX:
                raise _refused("bought", "name the products or categories")
            bought = {"quantity": quantity, "skus": skus, "categories": categories}
            found.append(Threshold.model_validate({"bought": bought}))
        if not found:
            raise _refused("reach", "a level above the first needs a threshold")
        return Reach(all=found) if self.match == "all" else Reach(any=found)

    def level(self, program: ProgramDefinition, old: TierLevel | None, *, first: bool) -> TierLevel:
        """The level that the form means; ``old`` is the one that is edited. Raises as :meth:`reach`."""
        names = {language: text for language, text in self.names.items() if text}
        # Texts in languages that the program has no longer stay as they are.
        kept = {} if old is None else {key: text for key, text in old.name.items() if key not in self.names}
        if not names or any(len(text) > NAME_LENGTH_MAX for text in names.values()):
            raise _refused("name", "needs a name")
        if not re.fullmatch(CODE_PATTERN, self.code):
            raise _refused("code", "is letters, figures, dots and dashes")
        if self.color and not re.fullmatch(COLOR_PATTERN, self.color):
            raise _refused("color", "is no colour")
        reach: Reach | None = None
        if not first:
            reach = old.reach if self.reach_kept and old is not None else self.reach(program.currency)
        return TierLevel(
            code=self.code,
            name={**kept, **names},
            reach=reach,
            color=self.color or None,
            earn=self._earn(program, old),
            redeem=self._redeem(),
            grace_days=0 if first or not self.grace_days else _whole(self.grace_days, GRACE_DAYS_MAX, "grace", least=0),
        )

    def _earn(self, program: ProgramDefinition, old: TierLevel | None) -> Earn | None:
        if self.earn_kind == KEPT:
            return old.earn if old is not None else None
        if self.earn_kind not in EARN_KINDS:
            return None
        value = parse_decimal(self.earn_value, "earn")
        if self.earn_kind == "percent" and not program.points.base_percent:
            raise _refused("earn_base", "is a share of the base percent, which is 0")
        try:
            return Earn.model_validate({self.earn_kind: value})
        except ValidationError:
            raise _refused("earn", "is out of range") from None

    def _redeem(self) -> Redeem | None:
        if not self.redeem_percent:
            return None
        percent = parse_decimal(self.redeem_percent, "redeem")
        if percent > 100:
            raise _refused("redeem", "is more than everything")
        return Redeem(max_percent=percent)

    def table(self, program: ProgramDefinition, old_code: str | None) -> Tiers:
        """The program's tier table with this level in its place. Raises as :meth:`level`."""
        tiers = program.file.tiers
        codes = [level.code for level in tiers.levels]
        place = codes.index(old_code) if old_code is not None else self._place(codes)
        old = tiers.levels[place] if old_code is not None else None
        level = self.level(program, old, first=place == 0)
        levels = list(tiers.levels)
        if old is None:
            if level.code in codes:
                raise _refused("code_taken", "is another level's")
            if len(levels) >= LEVELS_MAX:
                raise _refused("levels", "there are enough levels")
            levels.insert(place, level)
        else:
            levels[place] = level
        return Tiers(window=tiers.window, levels=levels)

    def _place(self, codes: Sequence[str]) -> int:
        return codes.index(self.above) + 1 if self.above in codes else len(codes)


@dataclass(frozen=True)
class WindowForm:
    """The time over which thresholds are counted, as typed."""

    version: int = 0
    kind: str = "lifetime"
    days: str = ""

    def table(self, program: ProgramDefinition) -> Tiers:
        """The program's tier table with this window. Raises ``DomainError(validation)`` with its ``field``."""
        if self.kind == "rolling_days":
            window = TierWindow(kind="rolling_days", days=_whole(self.days, DAYS_MAX, "days"))
        elif self.kind == "calendar_year":
            window = TierWindow(kind="calendar_year")
        elif self.kind == "lifetime":
            window = TierWindow()
        else:
            raise _refused("window", "is no window")
        return Tiers(window=window, levels=program.file.tiers.levels)


def without(program: ProgramDefinition, code: str) -> Tiers:
    """The tier table without a level. Raises ``DomainError(validation)`` for the first of several."""
    tiers = program.file.tiers
    if len(tiers.levels) > 1 and tiers.levels[0].code == code:
        raise _refused("first", "the first level is everybody's: others stand on it")
    return Tiers(window=tiers.window, levels=[level for level in tiers.levels if level.code != code])


def with_tiers(file: ProgramFile, tiers: Tiers) -> ProgramFile:
    """The file with another tier table, checked as a whole.

    Raises ``DomainError(validation)`` with the ``field`` ``file`` where something else in the file needs a level
    that is gone.
    """
    changed = file.model_copy(update={"tiers": tiers})
    try:
        return ProgramFile.model_validate(changed.model_dump(by_alias=True, exclude_none=True))
    except ValidationError as error:
        context: dict[str, Any] = dict(error.errors()[0].get("ctx", {}))
        place = ".".join(str(part) for part in context.get("at", ()))
        message = f"{place}: {context.get('message', error.errors()[0]['msg'])}"
        raise DomainError("validation", message, field="file") from None


def listed(text: str) -> list[str]:
    """The different words of a list with commas or lines between them."""
    return list(dict.fromkeys(part.strip() for part in re.split(r"[,;\n]", text) if part.strip()))


def _whole(text: str, most: int, name: str, *, least: int = 1) -> int:
    number = parse_decimal(text, name)
    if number != number.to_integral_value() or number < least:
        raise _refused(name, "is a whole number")
    return _within(int(number), most, name)


def _within(number: int, most: int, name: str) -> int:
    if not 0 <= number <= most or (name == "spend" and number == 0):
        raise _refused(name, f"is at most {most}")
    return number


def _refused(name: str, message: str) -> DomainError:
    return DomainError("validation", f"{name}: {message}", field=name)


def read_level(values: Mapping[str, str], languages: Iterable[str]) -> LevelForm:
    """The form as a browser sent it; what is too long is cut."""

    def typed(name: str, most: int = 20) -> str:
        return values.get(name, "").strip()[:most]

    return LevelForm(
        version=_version(values),
        code=typed("code", 64),
        above=typed("above", 64),
        names={language: typed(f"name_{language}", NAME_LENGTH_MAX + 1) for language in languages},
        match="all" if values.get("match") == "all" else "any",
        spend=typed("spend"),
        counts={name: typed(name) for name in COUNTED},
        bought_quantity=typed("bought_quantity"),
        bought_skus=typed("bought_skus", TEXT_LENGTH_MAX),
        bought_categories=typed("bought_categories", TEXT_LENGTH_MAX),
        reach_kept=values.get("reach_kept") == "1",
        grace_days=typed("grace_days"),
        color="" if values.get("own_color") != "1" else typed("color"),
        earn_kind=typed("earn_kind"),
        earn_value=typed("earn_value"),
        redeem_percent=typed("redeem_percent"),
    )


def read_window(values: Mapping[str, str]) -> WindowForm:
    """The form of the window as a browser sent it."""
    return WindowForm(_version(values), values.get("kind", "")[:20], values.get("days", "").strip()[:20])


def _version(values: Mapping[str, str]) -> int:
    text = values.get("version", "")
    return int(text) if re.fullmatch(r"\d{1,9}", text) else 0


def level_form(program: ProgramDefinition, level: TierLevel) -> LevelForm:
    """The form of a level that there is."""
    earn_kind, earn_value = _earn_of(level)
    form = LevelForm(
        version=program.version,
        code=level.code,
        names={language: level.name.get(language, "") for language in program.languages},
        grace_days=str(level.grace_days) if level.grace_days else "",
        color=level.color or "",
        earn_kind=earn_kind,
        earn_value=earn_value,
        redeem_percent="" if level.redeem is None else _plain(level.redeem.max_percent),
    )
    if level.reach is None:
        return form
    thresholds = (*level.reach.any, *level.reach.all)
    kinds = [_kind(threshold) for threshold in thresholds]
    if len(set(kinds)) != len(kinds):
        return replace(form, reach_kept=True)
    by_kind = dict(zip(kinds, thresholds, strict=True))
    bought = by_kind["bought"].bought if "bought" in by_kind else None
    if bought is not None and any(re.search(r"[,;\n]", item) for item in (*bought.skus, *bought.categories)):
        return replace(form, reach_kept=True)
    return replace(
        form,
        match="all" if level.reach.all else "any",
        spend=_money(by_kind["spend_minor"].spend_minor, program.currency) if "spend_minor" in by_kind else "",
        counts={name: str(getattr(by_kind[name], name)) if name in by_kind else "" for name in COUNTED},
        bought_quantity=str(bought.quantity) if bought else "",
        bought_skus=", ".join(bought.skus) if bought else "",
        bought_categories=", ".join(bought.categories) if bought else "",
    )


def window_form(program: ProgramDefinition) -> WindowForm:
    """The form of the window in force."""
    window = program.file.tiers.window
    return WindowForm(program.version, window.kind, str(window.days) if window.days else "")


def _kind(threshold: Threshold) -> str:
    return next(name for name in type(threshold).model_fields if getattr(threshold, name) is not None)


def _earn_of(level: TierLevel) -> tuple[str, str]:
    if level.earn is None:
        return "", ""
    for kind in EARN_KINDS:
        value = getattr(level.earn, kind)
        if value is not None:
            return kind, _plain(value)
    return KEPT, ""


def _plain(value: Decimal | None) -> str:
    if value is None:
        return ""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _money(amount_minor: int | None, currency: str) -> str:
    if amount_minor is None:
        return ""
    return format(Decimal(amount_minor).scaleb(-get_currency_precision(currency)), "f")
