"""One change of a program at a time: made from a version that was looked at, and refused once that is overtaken."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.factories import program_file
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.editing import with_rule
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import current_file, list_versions, load_program, version_by_number
from wallet_server.programs.rule import Rule
from wallet_server.programs.services import Applied, apply_program, change_program

MANAGERS = 8


def rule(name: str, family: str = "customer", **more: object) -> Rule:
    return Rule.model_validate({"name": name, "family": family, "earn": {"multiply": 2}, **more})


@pytest.fixture
def program(engine: Engine) -> ProgramDefinition:
    with transaction(engine, ALL_PROGRAMS) as session:
        file = ProgramFile.model_validate(program_file())
        applied = apply_program(session, file, now=NOW, actor="cli")
        return load_program(session, program_id=applied.program_id)


def add(engine: Engine, program: ProgramDefinition, made: Rule, version: int) -> Applied:
    with transaction(engine, ALL_PROGRAMS) as session:
        return change_program(
            session, program.id, lambda file: with_rule(file, made), version=version, now=NOW, actor="staff:m"
        )


def names(engine: Engine, program: ProgramDefinition) -> list[str]:
    with reading(engine, ALL_PROGRAMS) as session:
        return [rule.name for rule in current_file(session, program.id).rules]


def test_a_change_is_published_with_all_that_the_file_had(engine: Engine, program: ProgramDefinition) -> None:
    with reading(engine, ALL_PROGRAMS) as session:
        before = current_file(session, program.id)
    applied = add(engine, program, rule("First"), 1)
    assert (applied.version, len(applied.changes)) == (2, 1)
    with reading(engine, ALL_PROGRAMS) as session:
        after = current_file(session, program.id)
        assert after == before.model_copy(update={"rules": [rule("First")]})
        assert [version.number for version in list_versions(session, program.id)] == [2, 1]
        assert version_by_number(session, program.id, 2).published_by == "staff:m"
        for number in (0, 3, -1, 10**30):
            with pytest.raises(NotFoundError):
                version_by_number(session, program.id, number)


def test_a_change_of_a_version_that_was_overtaken_is_refused(engine: Engine, program: ProgramDefinition) -> None:
    add(engine, program, rule("First"), 1)
    with pytest.raises(DomainError) as refused:
        add(engine, program, rule("Second"), 1)
    assert (refused.value.code, refused.value.status, refused.value.extra["version"]) == ("program_changed", 409, 2)
    assert names(engine, program) == ["First"]


def test_of_managers_who_save_at_once_one_is_first_and_the_others_are_told(
    engine: Engine, program: ProgramDefinition
) -> None:
    together = threading.Barrier(MANAGERS)

    def save(number: int) -> str:
        together.wait()
        try:
            add(engine, program, rule(f"R{number}"), 1)
        except DomainError as error:
            return error.code
        return "saved"

    with ThreadPoolExecutor(MANAGERS) as pool:
        outcomes = sorted(pool.map(save, range(MANAGERS)))
    assert outcomes == ["program_changed"] * (MANAGERS - 1) + ["saved"]
    assert len(names(engine, program)) == 1


def test_a_change_that_makes_no_file_changes_nothing(engine: Engine, program: ProgramDefinition) -> None:
    add(engine, program, rule("First"), 1)
    for bad in (rule("First"), rule("Second", outlets=["nowhere"]), rule("Third", when={"tiers": ["none-such"]})):
        with pytest.raises(ValidationError):
            add(engine, program, bad, 2)
    with reading(engine, ALL_PROGRAMS) as session:
        assert load_program(session, program_id=program.id).version == 2
