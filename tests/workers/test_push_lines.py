"""Programs with a pass type of their own are pushed on a line of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from passes.apple.push_outcome import PushVerdict
from tests.workers.conftest import RecordedPushes
from workers.jobs import work


@pytest.fixture
def own_line(workshop) -> RecordedPushes:
    return RecordedPushes(workshop.engine)


def work_with(workshop, own_line, program_id):
    runtime = replace(workshop.runtime, program_pushers={program_id: own_line})
    work(runtime, [row.id for row in workshop.rows() if row.id is not None])


def test_a_program_with_its_own_type_is_pushed_on_its_own_line_only(workshop, own_line):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    work_with(workshop, own_line, workshop.program.id)
    assert (own_line.batches, workshop.pushes.batches) == ([["aa"]], [])
    assert workshop.issued(ana).pushed_version == 2


def test_all_others_are_pushed_on_the_servers_line(workshop, own_line):
    ana = workshop.on_phone(workshop.join(), "aa")
    workshop.change(ana)
    work_with(workshop, own_line, ana)  # some other program's id
    assert (own_line.batches, workshop.pushes.batches) == ([], [["aa"]])


def test_what_a_line_refuses_is_tried_again_on_that_line(workshop, own_line):
    ana = workshop.on_phone(workshop.join(), "aa")
    own_line.answers["aa"] = (PushVerdict.RETRY_LATER, 503, "ServiceUnavailable", None)
    workshop.change(ana)
    work_with(workshop, own_line, workshop.program.id)
    assert workshop.states() == ["waiting"]
    assert workshop.issued(ana).pushed_version < 2
