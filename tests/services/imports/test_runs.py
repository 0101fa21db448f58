"""Importing: each row once, whatever happens between the first and the last."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import select

from tests.conftest import NOW
from tests.services.imports.conftest import SLUG, FixedClock, Write
from wallet_server.db import reading, transaction
from wallet_server.errors import DomainError
from wallet_server.imports import runs, services
from wallet_server.imports.models import ImportCheckpoint
from wallet_server.imports.runs import Progress, Summary, run
from wallet_server.ledger.models import Entry, MemberBalance
from wallet_server.members.models import Card, Consent, Member
from wallet_server.purchases.models import Purchase, PurchaseLine
from wallet_server.staff.models import AuditRecord

Import = Callable[..., Summary]


def people(count: int) -> list[dict[str, Any]]:
    return [{"external_id": f"p{number}", "language": "mk", "marketing": "true"} for number in range(count)]


def receipt(number: int, person: int = 0, lines: int = 2, **values: Any) -> list[dict[str, Any]]:
    return [
        {
            "receipt_id": f"R{number}",
            "outlet": "A",
            "external_id": f"p{person}",
            "occurred_at": "2026-11-20T10:00:00+01:00",
            "sku": "burger",
            "quantity": "1",
            "unit_price_minor": "45000",
        }
        | values
        for _line in range(lines)
    ]


def receipts(count: int, persons: int = 5) -> list[dict[str, Any]]:
    return [line for number in range(count) for line in receipt(number, number % persons)]


def counts(summary: Summary) -> tuple[int, int, int]:
    place = summary.place
    return place.created, place.already_there, place.refused


def stored(engine: Engine, program_id: UUID) -> dict[str, int]:
    models = (Member, Card, Purchase, PurchaseLine, Entry)
    with reading(engine, program_id) as session:
        return {model.__name__: session.exec(select(sa.func.count()).select_from(model)).one() for model in models} | {
            "points": session.exec(select(sa.func.sum(MemberBalance.spendable))).one() or 0
        }


def errors_of(path: Path) -> list[list[str]]:
    with path.with_name(f"{path.name}.errors.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def test_members_and_receipts_come_in_and_a_second_run_changes_nothing(
    engine: Engine, program_id: UUID, write: Write, do_import: Import
):
    members_file, receipts_file = write("members", people(5)), write("receipts", receipts(12))
    assert counts(do_import("members", members_file)) == (5, 0, 0)
    assert counts(do_import("receipts", receipts_file)) == (12, 0, 0)
    once = stored(engine, program_id)
    assert once["Purchase"] == 12
    assert once["PurchaseLine"] == 24
    assert once["points"] == 12 * 9  # 900.00 at 1 %, one point = 1.00
    for kind, path in (("members", members_file), ("receipts", receipts_file)):
        again = do_import(kind, path)
        assert again.untouched
        assert counts(again) == ((5, 0, 0) if kind == "members" else (12, 0, 0))
    assert stored(engine, program_id) == once
    assert not list(members_file.parent.glob("*.errors.csv"))


def test_a_changed_file_brings_only_what_is_new(engine: Engine, program_id: UUID, write: Write, do_import: Import):
    do_import("members", write("members", people(5)))
    assert counts(do_import("members", write("members", people(7)))) == (2, 5, 0)
    do_import("receipts", write("receipts", receipts(12)))
    assert counts(do_import("receipts", write("receipts", receipts(14)))) == (2, 12, 0)
    assert stored(engine, program_id)["Purchase"] == 14


def test_members_keep_what_the_file_says(engine: Engine, program_id: UUID, write: Write, do_import: Import):
    row = {
        "phone": "070 123 456", "email": "Ana@Example.MK", "external_id": "p1", "card_number": "OLD-77", "name": "Ана",
        "birthday": "1990-04-25", "language": "ru", "channel": "till", "outlet": "B", "marketing": "true",
    }  # fmt: skip
    assert counts(do_import("members", write("members", [row]))) == (1, 0, 0)
    with reading(engine, program_id) as session:
        member = session.exec(select(Member)).one()
        assert (member.phone, member.email, member.name) == ("+38970123456", "ana@example.mk", "Ана")
        assert (str(member.birthday), member.language, member.channel) == ("1990-04-25", "ru", "till")
        assert session.exec(select(Card.number)).one() == "OLD-77"
        assert {consent.kind for consent in session.exec(select(Consent))} >= {"marketing"}


def test_bad_rows_are_told_and_do_not_stop_the_rest(engine: Engine, program_id: UUID, write: Write, do_import: Import):
    do_import("members", write("members", [*people(2), {"name": "Nobody"}, {"phone": "12"}, {"phone": "=1+1"}]))
    rows = [
        *receipt(1),
        *receipt(2, quantity="x"),
        *receipt(3, outlet="Z"),
        *receipt(4, person=9),
        *receipt(5, occurred_at="2031-01-01T00:00:00Z"),
        *receipt(6, external_id="", card_number="4929000000000000"),
        *receipt(7),
    ]
    path = write("receipts", rows)
    summary = do_import("receipts", path)
    assert counts(summary) == (2, 0, 5)
    assert stored(engine, program_id)["Purchase"] == 2
    told = errors_of(path)
    assert [(row[0], row[1], row[2]) for row in told] == [
        ("4", "R2", "validation"),
        ("5", "R2", "validation"),
        ("6", "R3", "unknown_outlet"),
        ("8", "R4", "unknown_member"),
        ("10", "R5", "validation"),
        ("12", "R6", "unknown_card"),
    ]
    assert [str(refusal.row) for refusal in summary.refusals] == [row[0] for row in told]
    assert [row[1] for row in errors_of(path.with_name("members.csv"))] == ["", "12", "'=1+1"]


def test_when_the_cause_is_gone_the_same_file_brings_the_rest(
    engine: Engine, program_id: UUID, write: Write, do_import: Import
):
    do_import("members", write("members", people(3)))
    path = write("receipts", receipts(10))
    assert counts(do_import("receipts", path)) == (6, 0, 4)
    do_import("members", write("members", people(5)))
    assert counts(do_import("receipts", path)) == (4, 6, 0)
    assert not path.with_name("receipts.csv.errors.csv").exists()
    assert do_import("receipts", path).untouched
    assert stored(engine, program_id)["Purchase"] == 10


def test_a_receipt_whose_lines_do_not_stand_together_is_told(
    engine: Engine, program_id: UUID, write: Write, do_import: Import
):
    do_import("members", write("members", people(1)))
    path = write("receipts", [*receipt(1), *receipt(2), *receipt(1, lines=1)])
    assert counts(do_import("receipts", path)) == (2, 0, 1)
    [[row, subject, code, reason]] = errors_of(path)
    assert (row, subject, code) == ("6", "R1", "duplicate_receipt")
    assert "do its lines stand together?" in reason


def test_receipts_may_name_the_card(engine: Engine, program_id: UUID, write: Write, do_import: Import):
    do_import("members", write("members", [{"external_id": "p0", "card_number": "OLD-77"}]))
    path = write("receipts", receipt(1, external_id="", card_number="OLD-77"))
    assert counts(do_import("receipts", path)) == (1, 0, 0)
    with reading(engine, program_id) as session:
        purchase = session.exec(select(Purchase)).one()
        assert purchase.source == "import"
        assert purchase.recorded_by == "import:receipts.csv"


class PowerCut(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("cut_in", ["before", "after"])
def test_an_interrupted_run_goes_on_behind_its_last_batch(
    engine: Engine, program_id: UUID, write: Write, do_import: Import, monkeypatch: pytest.MonkeyPatch, *, cut_in: str
):
    monkeypatch.setattr(runs, "BATCH_ITEMS_MAX", 4)
    do_import("members", write("members", people(5)))
    rows = receipts(30)
    rows[4]["quantity"] = rows[50]["quantity"] = "x"  # receipts 2 and 25
    path = write("receipts", rows)
    batches = 0
    move_on = services.move_on

    def cut(*arguments: Any, **options: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 4 and cut_in == "before":
            raise PowerCut
        moved = move_on(*arguments, **options)
        if batches == 4:
            raise PowerCut  # written, but not committed
        return moved

    monkeypatch.setattr(services, "move_on", cut)
    with pytest.raises(PowerCut):
        do_import("receipts", path)
    done = stored(engine, program_id)["Purchase"]
    assert 0 < done < 28
    monkeypatch.setattr(services, "move_on", move_on)
    summary = do_import("receipts", path)
    assert summary.resumed_at > 0
    assert counts(summary) == (28, 0, 2)
    assert summary.items == 30 - done - 1
    assert [row[:2] for row in errors_of(path)] == [["6", "R2"], ["52", "R25"]]
    after = stored(engine, program_id)
    assert (after["Purchase"], after["PurchaseLine"]) == (28, 56)


def test_two_runs_of_one_file_take_each_receipt_once(
    engine: Engine, program_id: UUID, write: Write, do_import: Import, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "BATCH_ITEMS_MAX", 4)
    do_import("members", write("members", people(5)))
    path = write("receipts", receipts(20))
    second: list[Summary] = []

    def start_another(_progress: Progress) -> None:
        if not second:
            second.append(run(engine, FixedClock(), slug=SLUG, kind="receipts", path=path))

    with pytest.raises(DomainError) as refused:
        do_import("receipts", path, on_progress=start_another)
    assert refused.value.code == "import_running"
    assert counts(second[0]) == (20, 0, 0)
    assert stored(engine, program_id)["Purchase"] == 20


def test_the_place_moves_only_from_where_it_was(engine: Engine, program_id: UUID):
    nothing = services.Outcome(0, 0, 0, ())
    with transaction(engine, program_id) as session:
        place = services.start(session, program_id, "members", "0" * 64, now=NOW)
        assert services.start(session, program_id, "members", "0" * 64, now=NOW) == place
        moved = services.move_on(session, place, nothing, records=5, now=NOW)
        assert moved.records == 5
        with pytest.raises(DomainError, match="somebody else"):
            services.move_on(session, place, nothing, records=5, now=NOW)


def test_a_lock_is_waited_for(
    engine: Engine, program_id: UUID, write: Write, do_import: Import, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "LOCKED_PAUSE_SECONDS", 0)
    take_members = services.take_members
    refusals = iter([True, True, False])

    def busy(*arguments: Any, **options: Any) -> Any:
        outcome = take_members(*arguments, **options)
        if next(refusals):
            raise sa.exc.OperationalError("UPDATE", {}, Exception("database is locked"))
        return outcome

    monkeypatch.setattr(services, "take_members", busy)
    path = write("members", [*people(3), {"name": "Nobody"}])
    assert counts(do_import("members", path)) == (3, 0, 1)
    assert len(errors_of(path)) == 1
    assert stored(engine, program_id)["Member"] == 3


def test_an_import_is_in_the_audit_log_and_its_progress_is_told(
    engine: Engine, program_id: UUID, write: Write, do_import: Import, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "BATCH_ITEMS_MAX", 2)
    told: list[Progress] = []
    do_import("members", write("members", people(5)), on_progress=told.append)
    assert [progress.items for progress in told] == [2, 4, 5]
    assert told[-1].position == told[-1].total
    with reading(engine, program_id) as session:
        record = session.exec(select(AuditRecord).where(AuditRecord.action == "members.imported")).one()
        assert record.detail == {"created": 5, "already_there": 0, "refused": 0}
        assert session.exec(select(ImportCheckpoint)).one().finished


def test_after_an_import_the_planner_knows_what_there_is(
    engine: Engine, program_id: UUID, write: Write, do_import: Import
):
    do_import("members", write("members", people(40)))
    do_import("receipts", write("receipts", receipts(400, persons=40)))
    engine.dispose()  # open connections of SQLite go on with what they knew
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            statement = "EXPLAIN QUERY PLAN SELECT * FROM purchase WHERE member_id = 'x' AND program_id = 'p'"
            assert "ix_purchase_member_id_occurred_at" in connection.execute(sa.text(statement)).all()[0].detail
        else:
            statement = "SELECT reltuples FROM pg_class WHERE relname = 'purchase'"
            assert connection.execute(sa.text(statement)).scalar_one() == 400


def test_another_program_is_untouched_and_an_unknown_one_is_refused(engine: Engine, write: Write, program_id: UUID):
    with pytest.raises(DomainError) as refused:
        run(engine, FixedClock(), slug="nowhere", kind="members", path=write("members", people(1)))
    assert refused.value.code == "unknown_program"


def test_a_list_of_refusals_that_cannot_be_written_stops_the_run_and_changes_nothing(
    engine: Engine, program_id: UUID, write: Write, do_import: Import
):
    path = write("members", [*people(1), {"name": "Nobody"}])
    path.with_name(f"{path.name}.errors.csv").mkdir()
    with pytest.raises(DomainError, match="cannot be written"):
        do_import("members", path)
    assert stored(engine, program_id)["Member"] == 0
