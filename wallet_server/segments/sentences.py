"""A segment's condition as a sentence that a manager reads."""

from __future__ import annotations

from collections.abc import Mapping

from wallet_server.i18n import LocalizedText, Translator, localized, translator
from wallet_server.segments.condition import Condition, Range


def sentence(condition: Condition, language: str, tiers: Mapping[str, LocalizedText]) -> str:
    """Who is in the segment, in one sentence; ``tiers`` are the names of the program's levels by code.

    “Members whose tier is Silver or Gold, with at least 2 purchases in the last 30 days.”
    """
    reader = translator(language)
    parts: list[str] = []
    if condition.tiers is not None:
        names = [localized(tiers.get(code, code), language) for code in condition.tiers]
        parts.append(reader.gettext("whose tier is %(tiers)s", tiers=_any_of(reader, names)))
    if condition.tags is not None:
        parts.append(reader.gettext("with the tag %(tags)s", tags=_any_of(reader, list(condition.tags))))
    if condition.visits_last_30_days is not None:
        parts.append(_visits(reader, condition.visits_last_30_days))
    if condition.days_since_last_visit is not None:
        parts.append(_days(reader, condition.days_since_last_visit))
    if not parts:
        return reader.gettext("All members.")
    return reader.gettext("Members %(conditions)s.", conditions=", ".join(parts))


def _any_of(reader: Translator, names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return reader.gettext("%(names)s or %(last)s", names=", ".join(names[:-1]), last=names[-1])


def _visits(reader: Translator, wanted: Range) -> str:
    least, most = wanted.at_least, wanted.at_most
    if most == 0:
        return reader.gettext("without a purchase in the last 30 days")
    if least is not None and least == most:
        return reader.ngettext(
            "with exactly %(num)s purchase in the last 30 days",
            "with exactly %(num)s purchases in the last 30 days",
            least,
        )
    if least is not None and most is not None:
        return reader.ngettext(
            "with %(least)s to %(num)s purchase in the last 30 days",
            "with %(least)s to %(num)s purchases in the last 30 days",
            most,
            least=reader.number(least),
        )
    if most is not None:
        return reader.ngettext(
            "with at most %(num)s purchase in the last 30 days",
            "with at most %(num)s purchases in the last 30 days",
            most,
        )
    return reader.ngettext(
        "with at least %(num)s purchase in the last 30 days",
        "with at least %(num)s purchases in the last 30 days",
        least or 0,
    )


def _days(reader: Translator, wanted: Range) -> str:
    least, most = wanted.at_least, wanted.at_most
    if least is not None and least == most:
        return reader.ngettext(
            "whose last purchase was %(num)s day ago", "whose last purchase was %(num)s days ago", least
        )
    if least is not None and most is not None:
        return reader.ngettext(
            "whose last purchase was %(least)s to %(num)s day ago",
            "whose last purchase was %(least)s to %(num)s days ago",
            most,
            least=reader.number(least),
        )
    if most is not None:
        return reader.ngettext(
            "whose last purchase was at most %(num)s day ago",
            "whose last purchase was at most %(num)s days ago",
            most,
        )
    return reader.ngettext(
        "whose last purchase was at least %(num)s day ago",
        "whose last purchase was at least %(num)s days ago",
        least or 0,
    )
