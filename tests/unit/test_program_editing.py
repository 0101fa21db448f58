"""Changes of a program file, one at a time."""

from __future__ import annotations

import pytest

from tests.factories import program_file
from wallet_server.errors import NotFoundError
from wallet_server.programs.editing import moved_rule, with_rule, without_rule
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.rule import Rule


def rule(name: str, family: str = "customer") -> Rule:
    return Rule.model_validate({"name": name, "family": family, "earn": {"multiply": 2}})


def test_rules_are_put_in_place_taken_out_and_moved_within_their_family() -> None:
    file = ProgramFile.model_validate(program_file())
    for made in (rule("A"), rule("B", "product"), rule("C"), rule("D")):
        file = with_rule(file, made)

    def order(file: ProgramFile) -> str:
        return "".join(rule.name for rule in file.rules)

    assert order(file) == "ABCD"
    assert order(with_rule(file, rule("X"), replacing="B")) == "AXCD"
    assert order(without_rule(file, "C")) == "ABD"
    assert order(moved_rule(file, "C", "up")) == "CBAD"
    assert order(moved_rule(file, "C", "down")) == "ABDC"
    assert moved_rule(file, "A", "up") == moved_rule(file, "B", "down") == file
    with pytest.raises(NotFoundError):
        without_rule(file, "X")
    with pytest.raises(NotFoundError):
        moved_rule(file, "X", "up")
