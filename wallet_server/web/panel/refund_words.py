"""What a refund did beside the points that it names: its stored effects in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from wallet_server.challenges.progress import unit_of
from wallet_server.i18n import Translator, localized
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.rewards.wins import grouped
from wallet_server.rules.words import exact_number, tier_name


def refund_effects(trace: Mapping[str, Any], t: Translator, program: ProgramDefinition) -> list[str]:
    """The effects of a refund's trace, a sentence for each; of a name that is gone its code is said."""
    effects: Mapping[str, Any] = trace.get("effects", {})
    return [*_points(effects, t, program), *_progress(effects, t, program), *_won(effects, t, program)]


def _points(effects: Mapping[str, Any], t: Translator, program: ProgramDefinition) -> Iterator[str]:
    if effects.get("left_minor"):
        left = t.money(effects["left_minor"], program.currency)
        yield t.gettext(
            "What is left (%(money)s) earns %(points)s.", money=left, points=t.points(effects["points_left"])
        )
    if "points_reissued" in effects:
        points = t.points(effects["points_reissued"])
        yield t.gettext("Of the points that came back %(points)s had ended; they stay a while longer.", points=points)
    if "carried" in effects:
        yield t.gettext(
            "The fraction kept for the next purchase changes by %(number)s.", number=exact_number(effects["carried"], t)
        )
    carried = effects.get("carried_points", 0)
    if carried > 0:
        yield t.gettext("With it the kept fraction makes %(points)s.", points=t.points(carried))
    elif carried < 0:
        yield t.gettext("Without it the kept fraction is short of %(points)s.", points=t.points(-carried))


def _progress(effects: Mapping[str, Any], t: Translator, program: ProgramDefinition) -> Iterator[str]:
    for part in effects.get("challenges", ()):
        challenge = program.challenge(part["code"])
        if challenge is None:  # nobody knows its unit any more
            yield t.gettext("%(challenge)s: less than before.", challenge=part["code"])
            continue
        taken = part["taken_back"]
        is_money = challenge.metric == "spend_minor"
        amount = t.money(taken, program.currency) if is_money else t.number(Decimal(taken) / unit_of(challenge))
        name = localized(challenge.name, t.language, program.languages)
        yield t.gettext("%(challenge)s: %(amount)s less.", challenge=name, amount=amount)


def _won(effects: Mapping[str, Any], t: Translator, program: ProgramDefinition) -> Iterator[str]:
    if "reward_points_taken_back" in effects:
        points = t.points(effects["reward_points_taken_back"])
        yield t.gettext("%(points)s that a challenge had brought are taken back.", points=points)
    if "reward_points_owed" in effects:
        yield t.gettext("%(points)s of them are owed.", points=t.points(effects["reward_points_owed"]))
    for code in effects.get("vouchers_withdrawn", ()):
        yield t.gettext("Voucher %(code)s is withdrawn.", code=grouped(code))
    for code in effects.get("vouchers_kept", ()):
        yield t.gettext("Voucher %(code)s had been used and stays.", code=grouped(code))
    for code in effects.get("tiers_ended", ()):
        yield t.gettext("The level %(tier)s, which was a reward, ends.", tier=tier_name(code, t, program))
    moved = effects.get("tier")
    if moved and moved["to"]:
        yield t.gettext("The member's level is now %(tier)s.", tier=tier_name(moved["to"], t, program))
