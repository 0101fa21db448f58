"""A worker that runs pushes with the certificate that was imported last, on lines that it makes anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from passes.apple.certificates import PassIdentity
from tests.apple_ca import PASS_TYPE, AppleCA
from tests.certified_apns import CertifiedApns
from tests.workers.conftest import Workshop
from wallet_server.context import ContextKeeper, make_context
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance.keys import KeyVault, import_certificate, signing_request
from wallet_server.programs.models import Program
from workers.jobs import work
from workers.runtime import RuntimeKeeper, make_runtime

NOW = datetime.now(UTC)
OWN_TYPE = "pass.com.example.own"


@pytest.fixture
def apns(tmp_path: Path) -> Iterator[CertifiedApns]:
    with CertifiedApns(AppleCA(NOW), tmp_path) as server:
        yield server


class Worker:
    """A worker process's inside, and the shop owner beside it."""

    def __init__(self, workshop: Workshop, apns: CertifiedApns) -> None:
        self.workshop, self.apns = workshop, apns
        self.seconds = [0.0]
        self.bring(since=300)
        settings = workshop.context.settings.model_copy(
            update={
                "WALLET_SANDBOX": False,
                "WALLET_APNS_URL": apns.url,
                "WALLET_APNS_CA_FILE": apns.ca_file,
            }
        )
        self.context = replace(make_context(settings), clock=workshop.clock)
        keeper = ContextKeeper(self.context, monotonic=lambda: self.seconds[0])
        self.runtime = RuntimeKeeper(make_runtime(self.context), keeper.current)

    def bring(self, program_id: UUID | None = None, pass_type: str = PASS_TYPE, since: int = 1) -> None:
        vault = KeyVault(self.workshop.context.settings.WALLET_SECRET_KEY)
        with transaction(self.workshop.engine, ALL_PROGRAMS) as session:
            program = session.get(Program, program_id) if program_id else None
            request = signing_request(session, vault, program, NOW).pem
            import_certificate(
                session,
                vault,
                program,
                certificate=("pass.cer", self.apns.apple.pass_certificate(request, pass_type=pass_type, since=since)),
                intermediates=("wwdr.cer", self.apns.apple.wwdr.der()),
                expected=PassIdentity("", ""),
                now=datetime.now(UTC),
            )
        self.seconds[0] += 10

    def ring(self) -> None:
        self.workshop.change(self.member)
        work(self.runtime(), [row.id for row in self.workshop.rows() if row.id is not None])

    def join(self) -> None:
        self.member = self.workshop.on_phone(self.workshop.join(), "aa" * 32)


@pytest.fixture
def worker(workshop: Workshop, apns: CertifiedApns) -> Iterator[Worker]:
    made = Worker(workshop, apns)
    yield made
    made.runtime.close()


def test_a_renewed_certificate_pushes_on_a_new_line(worker: Worker, apns: CertifiedApns) -> None:
    worker.join()
    worker.ring()
    before = worker.runtime().pusher
    worker.ring()
    assert worker.runtime().pusher is before
    worker.bring()
    worker.ring()
    assert worker.runtime().pusher is not before
    first, second, third = apns.pushes
    assert first == second
    assert (third.topic, third.certificate != first.certificate) == (PASS_TYPE, True)
    assert set(worker.workshop.states()) == {"done"}


def test_a_programs_own_certificate_gets_a_line_of_its_own_and_the_others_stay(
    worker: Worker, apns: CertifiedApns
) -> None:
    shared = worker.runtime().pusher
    worker.bring(worker.workshop.program.id, OWN_TYPE)
    worker.join()
    worker.ring()
    assert worker.runtime().pusher is shared
    assert [push.topic for push in apns.pushes] == [OWN_TYPE]
    assert apns.refused == []
