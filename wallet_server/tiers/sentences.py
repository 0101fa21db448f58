"""Tiers in words: how a level is reached, over which time, and what it brings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from wallet_server.i18n import LocalizedText, Translator, localized
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.tiers import Bought, Reach, Threshold, TierLevel, TierWindow
from wallet_server.tiers.projection import amount_words

NAMED_MAX = 4
"""More products than this are counted instead of named."""


def window_sentence(window: TierWindow, t: Translator) -> str:
    """Over which time is counted, and how long a level is kept."""
    if window.kind == "calendar_year":
        return t.gettext("Counted in a calendar year. A level reached is kept to the end of the next year.")
    if window.kind == "rolling_days":
        return t.ngettext(
            "Counted over the last %(num)s day. A level is kept as long as these days reach it.",
            "Counted over the last %(num)s days. A level is kept as long as these days reach it.",
            window.days or 0,
        )
    return t.gettext("Counted since the member joined. A level once reached is kept.")


def reach_words(
    reach: Reach | None, t: Translator, program: ProgramDefinition, names: Mapping[str, LocalizedText]
) -> str:
    """What a level asks for: “MKD 50,000.00 spent or 40 visits”. ``names`` are those of products and categories."""
    if reach is None:
        return t.gettext("Everybody, from the first day")
    words = [threshold_words(threshold, t, program, names) for threshold in (*reach.any, *reach.all)]
    return joined(words, t, any_of=bool(reach.any))


def joined(words: Sequence[str], t: Translator, *, any_of: bool) -> str:
    """“a, b or c”."""
    if len(words) < 2:
        return "".join(words)
    template = t.gettext("%(first)s or %(last)s") if any_of else t.gettext("%(first)s and %(last)s")
    return template % {"first": ", ".join(words[:-1]), "last": words[-1]}


def threshold_words(
    threshold: Threshold, t: Translator, program: ProgramDefinition, names: Mapping[str, LocalizedText]
) -> str:
    """One threshold."""
    if threshold.spend_minor is not None:
        return t.gettext("%(amount)s spent", amount=t.money(threshold.spend_minor, program.currency))
    if threshold.bought is not None:
        return _bought_words(threshold.bought, t, program, names)
    if threshold.purchases is not None:
        return amount_words("purchases", threshold.purchases, t)
    if threshold.visits is not None:
        return amount_words("visits", threshold.visits, t)
    if threshold.points_earned is not None:
        return t.gettext("%(points)s earned", points=t.points(threshold.points_earned))
    assert threshold.tenure_days is not None
    return amount_words("tenure_days", threshold.tenure_days, t)


def _bought_words(bought: Bought, t: Translator, program: ProgramDefinition, names: Mapping[str, LocalizedText]) -> str:
    items = [*bought.categories, *bought.skus]
    shown = [localized(names.get(item, item), t.language, program.languages) for item in items[:NAMED_MAX]]
    if len(items) > NAMED_MAX:
        more = len(items) - NAMED_MAX
        shown.append(t.ngettext("%(num)s other", "%(num)s others", more))
    return t.gettext("%(count)s × %(products)s", count=t.number(bought.quantity), products=", ".join(shown))


def benefit_words(level: TierLevel, t: Translator) -> tuple[str, ...]:
    """What a level brings beside its name; empty for nothing."""
    words: list[str] = []
    earn, redeem = level.earn, level.redeem
    if earn is not None:
        if earn.percent is not None:
            words.append(t.gettext("%(percent)s back in points", percent=_percent(earn.percent, t)))
        elif earn.fixed_percent is not None:
            words.append(t.gettext("%(percent)s back in points", percent=_percent(earn.fixed_percent, t)))
        elif earn.multiply is not None:
            words.append(t.gettext("points × %(times)s", times=t.number(earn.multiply)))
        elif earn.discount_percent is not None:
            words.append(t.gettext("%(percent)s off every purchase", percent=_percent(earn.discount_percent, t)))
        elif earn.none:
            words.append(t.gettext("no points"))
        elif earn.fixed_points is not None:
            words.append(t.gettext("%(points)s with every purchase", points=t.points(int(earn.fixed_points))))
        elif earn.max_percent is not None:
            words.append(t.gettext("at most %(percent)s back in points", percent=_percent(earn.max_percent, t)))
        elif earn.max_points is not None:
            words.append(t.gettext("at most %(points)s a purchase", points=t.points(earn.max_points)))
    if redeem is not None and redeem.max_percent is not None:
        percent = _percent(redeem.max_percent, t)
        words.append(t.gettext("points pay at most %(percent)s of a purchase", percent=percent))
    return tuple(words)


def _percent(percent: Decimal, t: Translator) -> str:
    digits = max(0, -int(percent.normalize().as_tuple().exponent))
    return t.percent(percent / 100, min(digits, 6))
