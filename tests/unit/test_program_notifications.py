"""The section ``notifications`` of a program file: what it takes, what it refuses, what the governor makes of it."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.factories import program_file
from wallet_server.notifications.governor import Policy
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.yaml_file import dump_program, parse_program

WHOLE: dict[str, Any] = {
    "quiet_hours": {"from": "21:00", "to": "09:30"},
    "promotions_per_day": 1,
    "promotions_per_week": 3,
    "promotion_wait_hours": 24,
    "messages_per_day": 6,
    "merge_seconds": 0,
}


def test_a_section_survives_as_a_file_and_becomes_the_policy() -> None:
    file = ProgramFile.model_validate(program_file(notifications=WHOLE))
    assert parse_program(dump_program(file)) == file
    assert Policy.of(file.notifications) == Policy(time(21), time(9, 30), 1, 3, 6, timedelta(0))


def test_without_the_section_promotions_are_not_limited() -> None:
    assert Policy.of(ProgramFile.model_validate(program_file()).notifications) == Policy()


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"quiet_hours": {"from": "21:00", "to": "21:00"}}, "quiet_hours"),
        ({"quiet_hours": {"from": "24:00", "to": "09:00"}}, "from"),
        ({"quiet_hours": {"from": "9:00", "to": "21:00"}}, "from"),
        ({"quiet_hours": {"from": "21:00"}}, "to"),
        ({"promotions_per_day": -1}, "promotions_per_day"),
        ({"messages_per_day": 0}, "messages_per_day"),
        ({"promotion_wait_hours": 0}, "promotion_wait_hours"),
        ({"merge_seconds": 3601}, "merge_seconds"),
        ({"quiet": True}, "quiet"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(values: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ProgramFile.model_validate(program_file(notifications=values))
    assert [error["loc"][-1] for error in raised.value.errors()] == [place]
