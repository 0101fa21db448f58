"""What a member still needs, to reach the next level and to keep the one held; and the sentences about it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_UP, Decimal

from wallet_server.i18n import LocalizedText, Translator, localized
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.tiers.levels import Standing, falls_on, highest, reached, tenure_days, window_counts
from wallet_server.tiers.table import NOTHING, Counts, GoalKind, Step, TierTable, tier_table


@dataclass(frozen=True, slots=True)
class Need:
    """What is missing of one threshold; money in the minor unit, ``bought`` in thousandths."""

    kind: GoalKind
    missing: int


@dataclass(frozen=True, slots=True)
class Next:
    """The level above: one of the ``needs`` is enough if ``any``, else all of them."""

    tier: str
    needs: tuple[Need, ...]
    any: bool
    until: date | None
    """The last day of the running calendar year, when counting begins anew; None in other windows."""


@dataclass(frozen=True, slots=True)
class Keep:
    """The level held: kept up to and including ``until`` with nothing more, and longer if the needs are met by then.

    Without ``needs`` it is simply kept until then.
    """

    tier: str
    until: date
    needs: tuple[Need, ...]
    any: bool


@dataclass(frozen=True, slots=True)
class Projection:
    """Both; None where there is no level above, or where time takes nothing away."""

    next: Next | None = None
    keep: Keep | None = None


def projection(
    program: ProgramDefinition, standing: Standing, now: datetime, days: Mapping[date, Counts] | None = None
) -> Projection:
    """What the member still needs at this moment.

    ``days`` are those of :func:`wallet_server.tiers.queries.days_of_members`; without them nothing is said about
    keeping a level in ``rolling_days``.
    """
    table = tier_table(program)
    if not table.steps:
        return Projection()
    today = table.today(now)
    held = table.index(standing.tier) or 0
    return Projection(_next(table, standing, today, held), _keep(table, standing, now, held, days))


def way_to_next(program: ProgramDefinition, standing: Standing, now: datetime, steps: int) -> int | None:
    """How much of the way to the level above is done, in whole steps of ``steps``; None where there is none above.

    Of several thresholds the nearest counts if any of them is enough, else the farthest. All steps are done only when
    the level is reached.
    """
    table = tier_table(program)
    held = table.index(standing.tier) or 0
    if held + 1 >= len(table.steps):
        return None
    step = table.steps[held + 1]
    counts, tenure = window_counts(table, standing)[0], tenure_days(table, standing, table.today(now))
    done = [(goal.target - goal.missing(counts, tenure)) * steps // goal.target for goal in step.goals]
    return max(done) if step.any else min(done)


def _needs(step: Step, counts: Counts, tenure: int, days_left: int | None = None) -> tuple[Need, ...]:
    missing = ((goal.kind, goal.missing(counts, tenure)) for goal in step.goals)
    needs = tuple(Need(kind, amount) for kind, amount in missing if amount)
    if days_left is None or not step.any:
        return needs
    # Nobody can hurry time: a way that cannot be gone in time is not offered beside others.
    feasible = tuple(need for need in needs if need.kind != "tenure_days" or need.missing <= days_left)
    return feasible or needs


def _next(table: TierTable, standing: Standing, today: date, held: int) -> Next | None:
    if held + 1 >= len(table.steps):
        return None
    step = table.steps[held + 1]
    needs = _needs(step, window_counts(table, standing)[0], tenure_days(table, standing, today))
    year_ends = date(today.year, 12, 31) if table.kind == "calendar_year" else None
    return Next(step.code, needs, step.any, year_ends) if needs else None


def _keep(
    table: TierTable, standing: Standing, now: datetime, held: int, days: Mapping[date, Counts] | None
) -> Keep | None:
    if held == 0:
        return None
    today, step = table.today(now), table.steps[held]
    running = window_counts(table, standing)[0]
    ends = _promised_until(table, standing, now)
    tenure = tenure_days(table, standing, today)

    def needs(counts: Counts, last: date) -> tuple[Need, ...]:
        return _needs(step, counts, tenure, (last - today).days)

    if reached(table, standing, today) < held:
        # Kept only by a promise or by grace: what is missing now, by the last day of it.
        if ends is None:
            return None
        return Keep(step.code, ends, needs(_left(table, days, ends, running), ends), step.any)
    if table.kind == "rolling_days" and days is None:
        return None
    falls = falls_on(table, standing, days or {}, today, held)
    if falls is None:
        return None
    last = falls - timedelta(days=1)
    if ends is not None and ends >= last:
        return Keep(step.code, ends, (), step.any)
    if table.kind == "calendar_year":
        met = highest(table, [running], tenure) >= held
        return Keep(step.code, last, () if met else needs(running, last), step.any)
    return Keep(step.code, last, needs(_left(table, days, falls, running), last), step.any)


def _promised_until(table: TierTable, standing: Standing, now: datetime) -> date | None:
    """The last whole day of the member's promise or grace."""
    moment = standing.protected_until or standing.grace_until
    return None if moment is None or moment <= now else table.today(moment - timedelta(microseconds=1))


def _left(table: TierTable, days: Mapping[date, Counts] | None, day: date, running: Counts) -> Counts:
    """What the running window still counts of today's receipts on that day."""
    if table.kind != "rolling_days" or days is None:
        return running
    first = day - timedelta(days=table.days - 1)
    left = NOTHING
    for counted, counts in days.items():
        if counted >= first:
            left = left.plus(counts)
    return left


def projection_sentences(found: Projection, t: Translator, program: ProgramDefinition) -> tuple[str, ...]:
    """Both in words, what is kept first.

    “MKD 1,200.00 or 2 visits more by March 31, 2027 to keep Gold.”
    """
    sentences = (_keep_sentence(found.keep, t, program), _next_sentence(found.next, t, program))
    return tuple(sentence for sentence in sentences if sentence)


def _keep_sentence(keep: Keep | None, t: Translator, program: ProgramDefinition) -> str:
    if keep is None:
        return ""
    values = {"tier": _name(program, keep.tier, t), "date": t.date(keep.until, style="long")}
    if not keep.needs:
        return t.gettext("%(tier)s is safe until %(date)s.", **values)
    needs = _needs_words(keep.needs, t, program, any_of=keep.any)
    return t.gettext("%(needs)s more by %(date)s to keep %(tier)s.", needs=needs, **values)


def _next_sentence(found: Next | None, t: Translator, program: ProgramDefinition) -> str:
    if found is None:
        return ""
    values = {"tier": _name(program, found.tier, t), "needs": _needs_words(found.needs, t, program, any_of=found.any)}
    if found.until is not None:
        values["date"] = t.date(found.until, style="long")
        return t.gettext("%(needs)s more by %(date)s to reach %(tier)s.", **values)
    return t.gettext("%(needs)s more to reach %(tier)s.", **values)


def _name(program: ProgramDefinition, code: str, t: Translator) -> str:
    level = program.level(code)
    name: LocalizedText | str = level.name if level else code
    return localized(name, t.language, program.languages)


def _needs_words(needs: Sequence[Need], t: Translator, program: ProgramDefinition, *, any_of: bool) -> str:
    words = [need_words(need, t, program.currency) for need in needs]
    if len(words) == 1:
        return words[0]
    first, last = ", ".join(words[:-1]), words[-1]
    template = t.gettext("%(first)s or %(last)s") if any_of else t.gettext("%(first)s and %(last)s")
    return template % {"first": first, "last": last}


def need_words(need: Need, t: Translator, currency: str) -> str:
    """“1,200.00”, “2 visits”: an amount of one kind."""
    if need.kind == "spend_minor":
        return t.money(need.missing, currency)
    if need.kind == "bought":
        units = (Decimal(need.missing) / 1000).quantize(Decimal(1), rounding=ROUND_UP)
        return t.ngettext("%(num)s chosen product", "%(num)s chosen products", int(units))
    return amount_words(need.kind, need.missing, t)


def amount_words(kind: GoalKind, amount: int, t: Translator) -> str:
    """A number of purchases, visits, points or days."""
    if kind == "purchases":
        return t.ngettext("%(num)s purchase", "%(num)s purchases", amount)
    if kind == "visits":
        return t.ngettext("%(num)s visit", "%(num)s visits", amount)
    if kind == "points_earned":
        return t.points(amount)
    return t.ngettext("%(num)s day of membership", "%(num)s days of membership", amount)
