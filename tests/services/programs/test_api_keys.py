"""Till keys: shown once, found by their secret alone, gone when they are revoked."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.factories import CAFE
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.keys import TillKeys, list_api_keys
from wallet_server.programs.models import ApiKey
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program, create_api_key, revoke_api_key
from wallet_server.staff.models import AuditRecord


@pytest.fixture
def cafe(engine: Engine) -> ProgramDefinition:
    with transaction(engine, ALL_PROGRAMS) as session:
        applied = apply_program(session, ProgramFile.model_validate(CAFE), now=NOW, actor="cli")
        return load_program(session, program_id=applied.program_id)


def test_a_key_is_found_by_its_secret_which_is_kept_nowhere(engine: Engine, cafe: ProgramDefinition) -> None:
    outlet_id = cafe.outlet("B").id
    with transaction(engine, ALL_PROGRAMS) as session:
        key, secret = create_api_key(
            session, cafe.id, outlet_id=outlet_id, scopes=["redeem", "earn", "earn"], now=NOW, actor="cli"
        )
    assert secret.startswith("wk_")
    assert len(secret) > 40
    with reading(engine, ALL_PROGRAMS) as session:
        found = TillKeys(engine).find(secret)
        assert found is not None
        assert (found.id, found.program.id, found.outlet_id) == (key.id, cafe.id, outlet_id)
        assert found.scopes == ("earn", "redeem")
        for wrong in ("", "wk_", secret[:-1], secret + "x", secret.swapcase(), key.secret_fingerprint, found.hint):
            assert TillKeys(engine).find(wrong) is None
        everything = [*session.exec(select(ApiKey)).all(), *session.exec(select(AuditRecord)).all()]
        assert not [row for row in everything if secret[12:] in str(row.model_dump())]
        actions = session.exec(select(AuditRecord.action)).all()
    assert "api_key.created" in actions


def test_without_options_a_key_is_good_for_everything(engine: Engine, cafe: ProgramDefinition) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        key, _secret = create_api_key(session, cafe.id, now=NOW, actor="cli")
    assert (key.outlet_id, key.scopes) == (None, ["earn", "redeem", "refund", "members", "adjust"])


def test_a_revoked_key_is_nobodys(engine: Engine, cafe: ProgramDefinition) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        key, secret = create_api_key(session, cafe.id, now=NOW, actor="cli")
        other, other_secret = create_api_key(session, cafe.id, now=NOW, actor="cli")
    for _ in range(2):
        with transaction(engine, ALL_PROGRAMS) as session:
            revoke_api_key(session, cafe.id, key.id, now=NOW, actor="cli")
    with reading(engine, ALL_PROGRAMS) as session:
        assert TillKeys(engine).find(secret) is None
        assert TillKeys(engine).find(other_secret) is not None
        assert {row.id: row.revoked_at for row in list_api_keys(session, cafe.id)} == {key.id: NOW, other.id: None}
        assert session.exec(select(AuditRecord.action)).all().count("api_key.revoked") == 1


def test_a_key_of_another_program_cannot_be_revoked(engine: Engine, cafe: ProgramDefinition) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        key, secret = create_api_key(session, cafe.id, now=NOW, actor="cli")
        for program_id, key_id in ((uuid4(), key.id), (cafe.id, uuid4())):
            with pytest.raises(NotFoundError) as refused:
                revoke_api_key(session, program_id, key_id, now=NOW, actor="cli")
            assert refused.value.code == "unknown_api_key"
    assert TillKeys(engine).find(secret) is not None


@pytest.mark.parametrize("scopes", [[], ["earn", "admin"]])
def test_unknown_scopes_are_refused(engine: Engine, cafe: ProgramDefinition, scopes: list[str]) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        with pytest.raises(DomainError) as refused:
            create_api_key(session, cafe.id, scopes=scopes, now=NOW, actor="cli")
        assert refused.value.code == "validation"
        assert list_api_keys(session, cafe.id) == []
