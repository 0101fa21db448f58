"""A rule that a file has not is neither moved nor taken out."""

from __future__ import annotations

import pytest

from tests.factories import program_file
from wallet_server.errors import NotFoundError
from wallet_server.programs.editing import moved_rule, place_of, without_rule
from wallet_server.programs.file import ProgramFile


def test_an_unknown_rule_is_refused_by_name() -> None:
    rule = {"name": "Double", "family": "product", "earn": {"multiply": 2}}
    file = ProgramFile.model_validate(program_file(rules=[rule]))
    assert place_of(file, "Double") == 0
    for change in (
        lambda: without_rule(file, "None"),
        lambda: moved_rule(file, "None", "up"),
        lambda: place_of(file, ""),
    ):
        with pytest.raises(NotFoundError) as refused:
            change()
        assert refused.value.code == "unknown_rule"
