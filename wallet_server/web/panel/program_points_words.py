"""The points of a program in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Final

from wallet_server.i18n import Translator, gettext_noop, localized
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import Validity
from wallet_server.programs.points import Expiry, PointsSettings, ZeroingRule
from wallet_server.rules.words import moment_words

ROUNDING: Final = {
    "down": gettext_noop("Parts of a point are cut off"),
    "half_up": gettext_noop("Half a point and more counts as one"),
    "up": gettext_noop("A part of a point counts as one"),
}


def points_words(points: PointsSettings, t: Translator, program: ProgramDefinition) -> list[tuple[str, list[str]]]:
    """Heading and sentences of each part, in the order in which an owner thinks of them."""
    value = t.money(points.point_value_minor, program.currency)
    return [
        # Macedonian writes the currency with a full stop of its own, which ends the sentence as well.
        (t.gettext("Value"), [t.gettext("A point pays %(money)s.", money=value).replace("..", ".")]),
        (t.gettext("Earning"), list(_earning(points, t))),
        (t.gettext("Paying"), list(_paying(points, t))),
        (t.gettext("Expiry"), [_expiry(points.expiry, t)]),
        (t.gettext("Refunds"), list(_refunds(points, t))),
        (
            t.gettext("Set to zero"),
            [zeroing_words(rule, t, program) for rule in points.zeroing] or [t.gettext("Never.")],
        ),
        (t.gettext("By hand"), list(_adjustments(points, t))),
    ]


def validity_words(validity: Validity | None, t: Translator) -> list[str]:
    """When a program runs; times are those of the outlets unless they name their own offset."""
    if validity is None:
        return [t.gettext("Always.")]
    bounds = {name: moment_words(moment, t) for name, moment in validity if moment is not None}
    said = []
    if "starts_at" in bounds:
        said.append(t.gettext("It begins on %(moment)s.", moment=bounds["starts_at"]))
    if "ends_at" in bounds:
        said.append(t.gettext("It ends on %(moment)s.", moment=bounds["ends_at"]))
    if "redeem_until" in bounds:
        said.append(t.gettext("Points pay until %(moment)s.", moment=bounds["redeem_until"]))
    return said


def _earning(points: PointsSettings, t: Translator) -> Iterator[str]:
    if points.base_percent:
        yield t.gettext("%(percent)s %% of what is bought comes back.", percent=t.number(points.base_percent))
    else:
        yield t.gettext("Without a rule or a tier a purchase earns nothing.")
    yield t.gettext(ROUNDING[points.rounding]) + "."
    if points.carry_fraction:
        yield t.gettext("What rounding cuts off is kept for the next purchase.")
    if points.earn_on_points_part:
        yield t.gettext("What points pay earns points too.")
    if points.pending_days:
        yield t.ngettext(
            "Points can be spent after %(num)s day.", "Points can be spent after %(num)s days.", points.pending_days
        )
    else:
        yield t.gettext("Points can be spent at once.")


def _paying(points: PointsSettings, t: Translator) -> Iterator[str]:
    yield t.gettext("Points may pay up to %(percent)s %% of a receipt.", percent=t.number(points.base_redeem_percent))
    if points.min_points:
        yield t.gettext("A member needs %(points)s to begin.", points=t.points(points.min_points))


def _expiry(expiry: Expiry, t: Translator) -> str:
    if expiry.kind == "rolling_days" and expiry.days:
        return t.ngettext(
            "Points end %(num)s day after they were earned.",
            "Points end %(num)s days after they were earned.",
            expiry.days,
        )
    if expiry.kind == "inactivity_days" and expiry.days:
        return t.ngettext(
            "All points of a member end %(num)s day after the last purchase or visit.",
            "All points of a member end %(num)s days after the last purchase or visit.",
            expiry.days,
        )
    if expiry.kind == "fixed_date" and expiry.month and expiry.day:
        return t.gettext(
            "All that was earned before it ends on %(day)s of each year.",
            day=t.month_day(date(2024, expiry.month, expiry.day)),
        )
    return t.gettext("Points do not expire.")


def _refunds(points: PointsSettings, t: Translator) -> Iterator[str]:
    if points.negative_balance == "allow":
        yield t.gettext("Who has spent what a refund takes back sees a balance below zero until it is earned again.")
    else:
        yield t.gettext(
            "Who has spent what a refund takes back owes it; the balance stays at zero until it is earned again."
        )
    yield t.ngettext(
        "Points that a refund returns after their end stay for %(num)s day.",
        "Points that a refund returns after their end stay for %(num)s days.",
        points.refund_grace_days,
    )


def zeroing_words(rule: ZeroingRule, t: Translator, program: ProgramDefinition) -> str:
    """One zeroing rule: when, whose, and what stays."""
    if rule.month is None:
        parts = [t.gettext("on day %(day)s of each month", day=t.number(rule.day))]
    else:
        parts = [t.gettext("on %(day)s of each year", day=t.month_day(date(2024, rule.month, rule.day)))]
    if rule.tiers:
        names = [
            localized(level.name, t.language, program.languages) if (level := program.level(code)) else code
            for code in rule.tiers
        ]
        parts.append(t.gettext("only tiers %(tiers)s", tiers=", ".join(names)))
    if rule.inactive_days:
        parts.append(
            t.ngettext(
                "only without a purchase for %(num)s day",
                "only without a purchase for %(num)s days",
                rule.inactive_days,
            )
        )
    kept = rule.carry_over
    if kept.percent is not None and kept.max_points is not None:
        parts.append(
            t.gettext(
                "%(percent)s %% stay, at most %(points)s",
                percent=t.number(kept.percent),
                points=t.points(kept.max_points),
            )
        )
    elif kept.percent is not None:
        parts.append(t.gettext("%(percent)s %% stay", percent=t.number(kept.percent)))
    elif kept.max_points is not None:
        parts.append(t.gettext("at most %(points)s stay", points=t.points(kept.max_points)))
    else:
        parts.append(t.gettext("nothing stays"))
    return f"{rule.name}: {', '.join(parts)}."


def _adjustments(points: PointsSettings, t: Translator) -> Iterator[str]:
    limits = points.adjustments
    yield t.gettext(
        "At once at most: the owner %(owner)s, a manager %(manager)s, a cashier %(cashier)s, a till %(till)s.",
        owner=t.number(limits.owner),
        manager=t.number(limits.manager),
        cashier=t.number(limits.cashier),
        till=t.number(limits.till),
    )
    yield t.gettext("More than %(points)s wait for a second person.", points=t.number(limits.four_eyes_above))
