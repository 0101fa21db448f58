"""Publishing a program file: everything or nothing, again and again."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.factories import CAFE, program_file
from tests.statements import heard
from wallet_server.db import ALL_PROGRAMS, reading, set_scope, transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.models import Outlet, Product, Program, ProgramVersion
from wallet_server.programs.queries import (
    categories_asked,
    current_file,
    load_program,
    product_names,
)
from wallet_server.programs.services import Applied, apply_program
from wallet_server.programs.yaml_file import dump_program, parse_program
from wallet_server.reads import ask
from wallet_server.segments.models import Segment
from wallet_server.staff.models import AuditRecord

SEGMENT = {"code": "quiet", "name": "Went quiet", "when": {"days_since_last_visit": {"at_least": 30}}}


def apply(engine: Engine, content: Any) -> Applied:
    with transaction(engine, ALL_PROGRAMS) as session:
        return apply_program(session, ProgramFile.model_validate(content), now=NOW, actor="cli")


def definition(engine: Engine, slug: str = "cafe-ohrid") -> ProgramDefinition:
    with reading(engine) as session:
        return load_program(session, slug=slug)


def test_a_new_program_is_made_with_all_that_its_file_says(engine: Engine) -> None:
    applied = apply(engine, program_file(segments=[SEGMENT]))
    assert (applied.created, applied.version) == (True, 1)
    assert applied.changes[0] == "program cafe-ohrid created"
    assert {"outlet A added", "product burger added", "challenge dinner added", "segment quiet added"} <= set(
        applied.changes
    )

    program = definition(engine)
    assert program.id == applied.program_id
    assert (program.slug, program.version, program.currency, program.time_zone) == (
        "cafe-ohrid",
        1,
        "MKD",
        "Europe/Skopje",
    )
    assert (program.languages, program.default_language) == (("mk", "en", "ru"), "mk")
    assert (program.name("ru"), program.name("en"), program.name("de")) == ("Кафе Охрид", "Cafe Ohrid", "Кафе Охрид")
    assert list(program.outlets) == ["A", "B"]
    assert program.outlet("A").zone == "Europe/Skopje"
    assert program.outlet_by_id(program.outlet("B").id).section.code == "B"
    assert program.ancestors("coffee") == ("coffee", "drinks")
    assert program.ancestors("unheard-of") == ("unheard-of",)
    assert program.challenge("dinner") is not None
    assert program.challenge("lunch") is None
    assert program.first_level is program.level("base")
    assert program.file.catalog.products == []

    with reading(engine, applied.program_id) as session:
        asked = categories_asked(applied.program_id, ["burger", "burger", "umbrella"])
        assert ask(session, asked) == {"burger": "food"}
        assert product_names(session, ["dinner", "umbrella"]) == {"dinner": {"en": "Dinner"}}
        assert session.exec(select(Segment.condition)).all() == [{"days_since_last_visit": {"at_least": 30}}]
        (audited,) = session.exec(select(AuditRecord)).all()
    assert (audited.action, audited.actor, audited.subject) == ("program.published", "cli", "cafe-ohrid")
    assert audited.detail["version"] == 1


def test_applying_it_again_changes_nothing(engine: Engine) -> None:
    apply(engine, CAFE)
    again = apply(engine, CAFE)
    assert (again.created, again.version, again.changes) == (False, 1, ())
    with reading(engine, ALL_PROGRAMS) as session:
        assert len(session.exec(select(ProgramVersion)).all()) == 1
        assert len(session.exec(select(AuditRecord)).all()) == 1


def test_applying_what_was_exported_changes_nothing(engine: Engine) -> None:
    applied = apply(engine, program_file(segments=[SEGMENT]))
    with reading(engine, ALL_PROGRAMS) as session:
        exported = current_file(session, applied.program_id)
    assert len(exported.catalog.products) == 3
    assert apply(engine, exported.model_dump(mode="json", by_alias=True)).changes == ()


def test_a_change_makes_a_new_version_and_keeps_the_old(engine: Engine) -> None:
    applied = apply(engine, CAFE)
    first = definition(engine)
    content = copy.deepcopy(dict(CAFE))
    content["challenges"][0]["target"] = 4
    content["catalog"]["products"][0]["price_minor"] = 32000
    content["catalog"]["products"].pop(1)
    content["catalog"]["categories"].pop(0)
    content["catalog"]["categories"][0].pop("parent")
    changed = apply(engine, content)
    assert changed.version == 2
    assert set(changed.changes) == {
        "category drinks removed",
        "category coffee: parent drinks → none",
        "product cappuccino: price_minor 30000 → 32000",
        "product burger removed",
        "challenge dinner: target 3 → 4",
    }
    second = definition(engine)
    assert (first.challenge("dinner").target, second.challenge("dinner").target) == (3, 4)
    assert second.ancestors("coffee") == ("coffee",)
    with reading(engine, applied.program_id) as session:
        assert session.exec(select(Product.sku, Product.price_minor).order_by(Product.sku)).all() == [
            ("cappuccino", 32000),
            ("dinner", 150000),
        ]
        documents = session.exec(select(ProgramVersion.document).order_by(ProgramVersion.number)).all()
    assert [document["challenges"][0]["target"] for document in documents] == [3, 4]
    assert "catalog" not in documents[0]


def test_an_outlet_that_leaves_the_file_is_closed_and_may_come_back(engine: Engine) -> None:
    applied = apply(engine, CAFE)
    outlet_id = definition(engine).outlet("B").id
    without = program_file(outlets=CAFE["outlets"][:1])
    assert apply(engine, without).changes == ("outlet B closed",)
    program = definition(engine)
    with pytest.raises(NotFoundError) as refused:
        program.outlet("B")
    assert refused.value.code == "unknown_outlet"
    assert program.outlet_by_id(outlet_id).section.name == {"en": "Restaurant B"}
    with reading(engine, applied.program_id) as session:
        assert session.exec(select(Outlet.closed_at).where(Outlet.code == "B")).one() == NOW

    assert apply(engine, CAFE).changes == ("outlet B opened again",)
    assert definition(engine).outlet("B").id == outlet_id


def test_segments_edited_by_staff_stay_until_the_file_changes_them(engine: Engine) -> None:
    applied = apply(engine, program_file(segments=[SEGMENT]))
    with transaction(engine, applied.program_id) as session:
        session.execute(sa.update(Segment).values(name="Edited in the panel"))
    apply(engine, program_file(segments=[SEGMENT], outlets=CAFE["outlets"][:1]))
    with reading(engine, applied.program_id) as session:
        assert session.exec(select(Segment.name)).one() == "Edited in the panel"
    assert apply(engine, program_file(segments=[{**SEGMENT, "name": "Lost"}], outlets=CAFE["outlets"][:1])).changes == (
        "segment quiet: name Went quiet → Lost",
    )
    with reading(engine, applied.program_id) as session:
        assert session.exec(select(Segment.name)).one() == "Lost"


def test_another_currency_is_refused_and_changes_nothing(engine: Engine) -> None:
    apply(engine, CAFE)
    other = program_file(program={**CAFE["program"], "currency": "EUR"}, outlets=CAFE["outlets"][:1])
    with pytest.raises(DomainError) as refused:
        apply(engine, other)
    assert refused.value.code == "program_currency"
    assert list(definition(engine).outlets) == ["A", "B"]
    assert definition(engine).version == 1


def test_a_version_that_was_rolled_back_never_serves_again(engine: Engine) -> None:
    apply(engine, CAFE)
    with transaction(engine, ALL_PROGRAMS) as session:
        changed = ProgramFile.model_validate(program_file(challenges=[], **{"pass": {}}))
        applied = apply_program(session, changed, now=NOW, actor="cli")
        assert load_program(session, program_id=applied.program_id).file.challenges == []
        session.rollback()
    apply(engine, program_file(outlets=CAFE["outlets"][:1]))
    program = definition(engine)
    assert program.version == 2
    assert len(program.file.challenges) == 2


def test_a_definition_is_read_once_and_then_costs_one_statement(engine: Engine) -> None:
    applied = apply(engine, CAFE)
    first = definition(engine)
    with heard(engine) as said, reading(engine) as session:
        assert load_program(session, program_id=applied.program_id) is first
    assert len([statement for statement in said if "FROM program" in statement.text]) == 1


def test_programs_know_nothing_of_each_other(engine: Engine) -> None:
    cafe = apply(engine, CAFE)
    other = apply(engine, program_file(program={**CAFE["program"], "slug": "other"}, outlets=[]))
    assert apply(engine, CAFE).changes == ()
    assert list(definition(engine).outlets) == ["A", "B"]
    apply(engine, program_file(program={**CAFE["program"], "slug": "other"}, outlets=[], catalog={}))
    with reading(engine, cafe.program_id) as session:
        assert set(ask(session, categories_asked(cafe.program_id, ["burger"]))) == {"burger"}
    assert apply(engine, CAFE).changes == ()
    with reading(engine, cafe.program_id) as session:
        with pytest.raises(NotFoundError) as refused:
            load_program(session, slug="other")
        assert refused.value.code == "unknown_program"
        set_scope(session, other.program_id)
        assert load_program(session, slug="other").id == other.program_id
    with reading(engine) as session, pytest.raises(NotFoundError):
        load_program(session, slug="nowhere")


def test_two_who_publish_a_new_program_at_once_publish_it_one_after_the_other(engine: Engine) -> None:
    start = threading.Barrier(4)

    def publish(number: int) -> Applied:
        start.wait(timeout=20)
        return apply(engine, program_file(outlets=[{"code": f"O{number}", "name": "x"}]))

    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(publish, range(4)))
    assert len({each.program_id for each in applied}) == 1
    assert sorted(each.version for each in applied) == [1, 2, 3, 4]
    assert sum(each.created for each in applied) == 1
    assert len(definition(engine).outlets) == 1


@pytest.mark.parametrize("name", ["cafe-ohrid.yaml", "grocery.yaml"])
def test_the_example_programs_apply_and_export_the_same(engine: Engine, name: str) -> None:
    text = resources.files("wallet_server.programs").joinpath(f"data/{name}").read_text(encoding="utf-8")
    file = parse_program(text)
    with transaction(engine, ALL_PROGRAMS) as session:
        applied = apply_program(session, file, now=NOW, actor="cli")
        again = apply_program(session, parse_program(text), now=NOW, actor="cli")
        exported = dump_program(current_file(session, applied.program_id))
        third = apply_program(session, parse_program(exported), now=NOW, actor="cli")
    assert applied.created
    assert (again.changes, third.changes) == ((), ())
    program = definition(engine, file.program.slug)
    assert program.first_level == file.tiers.levels[0]


def test_twenty_thousand_products_are_synchronised_in_batches(engine: Engine) -> None:
    products = [
        {"sku": f"sku-{number}", "category": "food", "name": f"Product {number}", "price_minor": number}
        for number in range(20_000)
    ]
    catalog = {"categories": [{"code": "food"}], "products": products}
    changes = apply(engine, program_file(catalog=catalog)).changes
    assert "products: 20000 added" in changes
    products[0]["price_minor"] = 5
    with heard(engine) as said:
        changed = apply(engine, program_file(catalog={**catalog, "products": products[:-1]})).changes
    assert changed == ("product sku-0: price_minor 0 → 5", "product sku-19999 removed")
    assert len(said) < 40
    with reading(engine, ALL_PROGRAMS) as session:
        assert session.exec(select(sa.func.count()).select_from(Product)).one() == 19_999
        assert session.exec(select(Program.version)).one() == 2
