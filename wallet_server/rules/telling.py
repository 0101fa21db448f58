"""A whole trace for a reader: what concerns the receipt, then each line; what applied apart from what did not. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wallet_server.programs.definition import ProgramDefinition
from wallet_server.rules.sentences import Listener, is_private, said

Step = Mapping[str, Any]

_UNTOLD_KINDS: Final = {"outlet"}
_UNTOLD_MISSES: Final = {"starts_at", "ends_at", "skus", "categories", "unit_price_minor", "margin_percent"}
"""Misses that members do not hear of: offers that are over or to come, and what the receipt was not about."""


@dataclass(frozen=True)
class ToldPart:
    """Sentences about the whole receipt (``line`` None) or one line; ``missed`` are rules that did not apply."""

    line: int | None
    applied: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """A trace in words."""

    receipt: ToldPart
    lines: tuple[ToldPart, ...] = ()

    @property
    def missed(self) -> int:
        """How many sentences tell of rules that did not apply."""
        return sum(len(part.missed) for part in (self.receipt, *self.lines))

    @property
    def is_empty(self) -> bool:
        """Nothing was kept, or nothing may be told."""
        return not any(part.applied or part.missed for part in (self.receipt, *self.lines))


def tell(steps: Iterable[Step], listener: Listener) -> Told:
    """The steps of a stored or fresh trace, in their order, for this listener."""
    applied: dict[int | None, list[str]] = {None: []}
    missed: dict[int | None, list[str]] = {None: []}
    for step in steps:
        if listener.is_member and not may_hear(step, listener.program):
            continue
        group = applied if step["matched"] else missed
        sentences = group.setdefault(step.get("line") or None, [])
        sentence = said(step, listener)
        if sentence not in sentences:
            sentences.append(sentence)
    lines = sorted(line for line in applied.keys() | missed.keys() if line is not None)
    return Told(
        ToldPart(None, tuple(applied[None]), tuple(missed[None])),
        tuple(ToldPart(line, tuple(applied.get(line, ())), tuple(missed.get(line, ()))) for line in lines),
    )


def may_hear(step: Step, program: ProgramDefinition) -> bool:
    """Whether a step is told to the member whose receipt it is about."""
    kind = step.get("kind")
    if kind in _UNTOLD_KINDS or kind is None or (kind == "program" and "percent" not in step["effect"]):
        return False
    if step["matched"]:
        return True
    conditions = [compared["condition"] for compared in step.get("compared", ())]
    return _UNTOLD_MISSES.isdisjoint(conditions) and not is_private(step, program)


def codes_in(traces: Iterable[Iterable[Step]]) -> tuple[set[str], set[str]]:
    """Skus and categories that sentences about these traces name."""
    found: dict[str, set[str]] = {"skus": set(), "categories": set()}
    for steps in traces:
        for step in steps:
            for compared in step.get("compared", ()):
                if compared["condition"] in found:
                    found[compared["condition"]].update(compared["wanted"])
                    if compared["found"]:
                        found[compared["condition"]].add(compared["found"])
    return found["skus"], found["categories"]


def steps_of(trace: Mapping[str, Any] | None) -> Sequence[Step]:
    """The steps of a stored trace; none of a purchase whose reasons were not kept."""
    steps: Collection[Step] = trace.get("steps", ()) if trace else ()
    return tuple(steps)
