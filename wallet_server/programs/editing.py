"""Changes of a program file, one at a time: a file in, a checked file out. Pure.

Each raises ``pydantic.ValidationError`` where the result would be no file that ``program apply`` takes, and
``NotFoundError(unknown_rule)`` for a rule that the file has not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from wallet_server.errors import NotFoundError
from wallet_server.programs.file import Partner, ProgramFile, Validity
from wallet_server.programs.look import PassLook
from wallet_server.programs.rule import Rule

Direction = Literal["up", "down"]


def with_rule(file: ProgramFile, rule: Rule, *, replacing: str | None = None) -> ProgramFile:
    """The file with one more rule at its end, or with this one in the place of the rule of that name."""
    rules = list(file.rules)
    if replacing is None:
        rules.append(rule)
    else:
        rules[place_of(file, replacing)] = rule
    return _with_rules(file, rules)


def without_rule(file: ProgramFile, name: str) -> ProgramFile:
    """The file without a rule."""
    place = place_of(file, name)
    return _with_rules(file, [*file.rules[:place], *file.rules[place + 1 :]])


def moved_rule(file: ProgramFile, name: str, direction: Direction) -> ProgramFile:
    """The file in which a rule and its neighbour of the same family have changed places.

    The first cannot go up and the last not down: then the file is as it was.
    """
    rules = list(file.rules)
    place = place_of(file, name)
    family = [index for index, rule in enumerate(rules) if rule.family == rules[place].family]
    there = family.index(place) + (-1 if direction == "up" else 1)
    if 0 <= there < len(family):
        other = family[there]
        rules[place], rules[other] = rules[other], rules[place]
    return _with_rules(file, rules)


def place_of(file: ProgramFile, name: str) -> int:
    """The place of a rule in the file, from 0; raises ``NotFoundError(unknown_rule)``."""
    for place, rule in enumerate(file.rules):
        if rule.name == name:
            return place
    raise NotFoundError("unknown_rule", "there is no rule of that name in this program")


def with_look(file: ProgramFile, look: PassLook) -> ProgramFile:
    """The file with another ``pass`` section."""
    return _changed(file, {"pass": _written(look)})


def with_validity(file: ProgramFile, validity: Validity | None) -> ProgramFile:
    """The file of a program that brings something in this time, or always."""
    return _changed(file, {"program": {**_written(file.program), "validity": validity and _written(validity)}})


def with_partners(file: ProgramFile, partners: Mapping[str, Partner]) -> ProgramFile:
    """The file in which these outlets, by code, are other companies', and all others the program's own."""
    outlets = [
        {**_written(outlet), "partner": _written(partners[outlet.code]) if outlet.code in partners else None}
        for outlet in file.outlets
    ]
    return _changed(file, {"outlets": outlets})


def _with_rules(file: ProgramFile, rules: Sequence[Rule]) -> ProgramFile:
    return _changed(file, {"rules": [_written(rule) for rule in rules]})


def _written(part: BaseModel) -> dict[str, Any]:
    return part.model_dump(by_alias=True, exclude_none=True)


def _changed(file: ProgramFile, sections: Mapping[str, object]) -> ProgramFile:
    # Written out and read again, so that everything that a file is checked for is checked.
    return ProgramFile.model_validate({**_written(file), **sections})
