"""Two merchants on one server, each with a pass type of its own: phones, pushes and renewals, over sockets.

Passes are served by a web server on a port, pushes go over HTTP/2 with client certificates, and certificates come
from a stand-in of Apple's authority. Only the clock that judges certificates is ours, so that a year can pass.
"""

from __future__ import annotations

import http.client
import io
import json
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import col, select
from werkzeug.serving import make_server

from passes.apple.certificates import PassIdentity
from tests.apple_ca import AppleCA
from tests.certified_apns import CertifiedApns
from tests.people import publish
from tests.web.helpers import StoppedClock
from wallet_server.app import create_app
from wallet_server.context import ContextKeeper, make_context
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.keys import KeyVault, import_certificate, signing_request
from wallet_server.issuance.services import passes_changed
from wallet_server.members.models import Member
from wallet_server.members.services import Enrol, enrol
from wallet_server.outbox.models import OutboxRow
from wallet_server.programs.models import Program
from wallet_server.programs.queries import load_program
from wallet_server.settings import Settings
from workers.jobs import work
from workers.runtime import RuntimeKeeper, make_runtime

NOW = datetime.now(UTC)
TYPES = {"cafe": "pass.com.example.cafe", "bakery": "pass.com.example.bakery"}
PATIENCE_S = 30


@dataclass
class Answer:
    """What a phone hears."""

    status: int
    body: bytes
    modified: str | None

    @property
    def serials(self) -> list[str]:
        return sorted(json.loads(self.body)["serialNumbers"]) if self.body else []


@dataclass
class Held:
    """A pass as a phone has it."""

    files: dict[str, bytes]
    modified: str | None

    @classmethod
    def of(cls, answer: Answer) -> Held:
        assert answer.status == 200, answer.body
        with zipfile.ZipFile(io.BytesIO(answer.body)) as bundle:
            return cls({name: bundle.read(name) for name in bundle.namelist()}, answer.modified)

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.files["pass.json"]))

    @property
    def pass_type(self) -> str:
        return str(self.document["passTypeIdentifier"])

    @property
    def serial(self) -> str:
        return str(self.document["serialNumber"])

    @property
    def token(self) -> str:
        return str(self.document["authenticationToken"])

    def signer(self, folder: Path, apple: AppleCA) -> str:
        """The certificate that OpenSSL says has signed it, after it verified the chain up to Apple's root."""
        for name in ("manifest.json", "signature"):
            (folder / name).write_bytes(self.files[name])
        (folder / "root.pem").write_bytes(apple.root.pem())
        done = subprocess.run(
            [
                *("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "signature"),
                *("-content", "manifest.json", "-CAfile", "root.pem", "-purpose", "any", "-no_check_time"),
                *("-signer", "signer.pem", "-out", "/dev/null"),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return (folder / "signer.pem").read_text()


@dataclass
class Phone:
    """An iPhone that speaks to the web service on its port, as each pass says where that is."""

    port: int
    name: str
    passes: dict[str, Held] = field(default_factory=dict)

    @property
    def push_token(self) -> str:
        return self.name.encode().hex().ljust(64, "0")

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            line.request(method, path, None if body is None else json.dumps(body), headers)
            response = line.getresponse()
            return Answer(response.status, response.read(), response.headers["Last-Modified"])
        finally:
            line.close()

    def add(self, path: str) -> Held:
        """Load a pass from its page and register for it."""
        held = Held.of(self.call("GET", path))
        assert self.register(held, held.pass_type, held.token).status == 201
        self.passes[held.serial] = held
        return held

    def _base(self, held: Held) -> str:
        return urlsplit(held.document["webServiceURL"]).path

    def registration(self, held: Held, pass_type: str) -> str:
        return f"{self._base(held)}/v1/devices/{self.name}/registrations/{pass_type}/{held.serial}"

    def register(self, held: Held, pass_type: str, token: str) -> Answer:
        body = {"pushToken": self.push_token}
        return self.call("POST", self.registration(held, pass_type), body, Authorization=f"ApplePass {token}")

    def unregister(self, held: Held, pass_type: str, token: str) -> Answer:
        return self.call("DELETE", self.registration(held, pass_type), Authorization=f"ApplePass {token}")

    def fetch(self, held: Held, pass_type: str, token: str, **headers: str) -> Answer:
        path = f"{self._base(held)}/v1/passes/{pass_type}/{held.serial}"
        return self.call("GET", path, Authorization=f"ApplePass {token}", **headers)

    def changed(self, pass_type: str, since: str = "") -> Answer:
        query = f"?passesUpdatedSince={since}" if since else ""
        return self.call("GET", f"/apple/v1/devices/{self.name}/registrations/{pass_type}{query}")

    def update(self, held: Held) -> Answer:
        """Ask for the newest version, and say which one is there."""
        answer = self.fetch(held, held.pass_type, held.token, **{"If-Modified-Since": held.modified or ""})
        if answer.status == 200:
            self.passes[held.serial] = Held.of(answer)
        return answer


class House:
    """One server with two merchants, running."""

    def __init__(self, settings: Settings, engine: Engine, apns: CertifiedApns) -> None:
        self.engine, self.apns, self.apple = engine, apns, apns.apple
        self.vault = KeyVault(settings.WALLET_SECRET_KEY)
        with transaction(engine, ALL_PROGRAMS) as session:
            self.programs = {slug: publish(session, NOW - timedelta(days=30), slug).id for slug in TYPES}
        for slug in TYPES:
            self.bring(slug, since=300)
        settings = settings.model_copy(
            update={
                "WALLET_SANDBOX": False,
                "WALLET_PUBLIC_URL": "https://wallet.invalid",
                "WALLET_APNS_URL": apns.url,
                "WALLET_APNS_CA_FILE": apns.ca_file,
            }
        )
        self.judge = StoppedClock(NOW)
        self.context = replace(make_context(settings), machine_clock=self.judge)
        self.server = make_server("127.0.0.1", 0, create_app(settings, self.context), threaded=True)
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()
        self.worker = RuntimeKeeper(make_runtime(self.context), ContextKeeper(self.context).current)

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join(PATIENCE_S)
        self.server.server_close()
        self.worker.close()

    def bring(self, slug: str, *, now: datetime = NOW, **dates: int) -> None:
        """What a merchant does once a year, while the server runs."""
        with transaction(self.engine, ALL_PROGRAMS) as session:
            program = session.get(Program, self.programs[slug])
            request = signing_request(session, self.vault, program, now).pem
            import_certificate(
                session,
                self.vault,
                program,
                certificate=("pass.cer", self.apple.pass_certificate(request, pass_type=TYPES[slug], **dates)),
                intermediates=("wwdr.cer", self.apple.wwdr.der()),
                expected=PassIdentity("", ""),
                now=now,
            )

    def phone(self, name: str) -> Phone:
        return Phone(self.server.server_port, name)

    def join(self, slug: str, number: str) -> str:
        """A new member; the path of the pass."""
        with transaction(self.engine, self.programs[slug]) as session:
            program = load_program(session, program_id=self.programs[slug])
            member = enrol(session, program, Enrol(phone=number), now=self.context.clock.now(), actor="member")
        return f"/passes/{self.context.mint.page_token(member.member_id)}.pkpass"

    def change_everybody(self) -> None:
        """A change of every pass, pushed as a worker does."""
        with transaction(self.engine, ALL_PROGRAMS) as session:
            for program_id in self.programs.values():
                program = load_program(session, program_id=program_id)
                members = session.exec(select(Member.id).where(Member.program_id == program_id)).all()
                passes_changed(session, program, members, self.context.clock.now())
        with reading(self.engine) as session:
            rows = session.exec(select(OutboxRow.id).where(col(OutboxRow.state) == "waiting")).all()
        work(self.worker(), [row for row in rows if row is not None])


@pytest.fixture
def house(
    sqlite_engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    monkeypatch.setattr("wallet_server.context.LOOK_EVERY_S", 0.0)
    with CertifiedApns(AppleCA(NOW), tmp_path) as apns:
        made = House(settings, sqlite_engine, apns)
        yield made
        made.close()
        made.context.engine.dispose()


def test_two_pass_types_on_one_server_never_meet(house: House) -> None:
    ana, boris = house.phone("ana"), house.phone("boris")
    cafe = ana.add(house.join("cafe", "+38970000001"))
    bakery = ana.add(house.join("bakery", "+38970000001"))
    other = boris.add(house.join("cafe", "+38970000002"))
    assert (cafe.pass_type, bakery.pass_type, other.pass_type) == (TYPES["cafe"], TYPES["bakery"], TYPES["cafe"])

    # A pass opens with its own token and under its own type only, whatever is asked.
    for held, pass_type, token in (
        (cafe, TYPES["bakery"], cafe.token),
        (cafe, TYPES["cafe"], bakery.token),
        (cafe, TYPES["bakery"], bakery.token),
        (bakery, TYPES["cafe"], bakery.token),
        (other, TYPES["cafe"], cafe.token),
        (cafe, "pass.com.example.nobody", cafe.token),
    ):
        for ask in (ana.register, ana.fetch, ana.unregister):
            assert ask(held, pass_type, token).status == 401

    # One phone with passes of both types hears of each type by itself, and of nobody else's passes.
    house.change_everybody()
    assert ana.changed(TYPES["cafe"]).serials == [cafe.serial]
    assert ana.changed(TYPES["bakery"]).serials == [bakery.serial]
    assert boris.changed(TYPES["cafe"]).serials == [other.serial]
    assert boris.changed(TYPES["bakery"]).status == 204
    assert ana.changed("pass.com.example.nobody").status == 204
    assert house.phone("eve").changed(TYPES["cafe"]).status == 204

    # Each type was pushed with its own certificate: the push service refuses any other.
    assert house.apns.refused == []
    assert sorted((push.token, push.topic) for push in house.apns.pushes) == sorted(
        [
            (ana.push_token, TYPES["cafe"]),
            (ana.push_token, TYPES["bakery"]),
            (boris.push_token, TYPES["cafe"]),
        ]
    )
    for phone, held in ((ana, cafe), (ana, bakery), (boris, other)):
        assert phone.update(held).status == 200
        assert phone.update(phone.passes[held.serial]).status == 304

    # Letting go of one leaves the other.
    assert ana.unregister(cafe, cafe.pass_type, cafe.token).status == 200
    assert ana.changed(TYPES["cafe"]).status == 204
    assert ana.changed(TYPES["bakery"]).serials == [bakery.serial]


def test_a_renewal_reaches_the_running_server_and_leaves_the_other_merchant_alone(house: House, tmp_path: Path) -> None:
    ana = house.phone("ana")
    cafe, bakery = (ana.add(house.join(slug, "+38970000001")) for slug in TYPES)
    house.change_everybody()
    lines = house.worker()
    house.bring("cafe", now=datetime.now(UTC))
    house.change_everybody()
    assert house.worker().program_pushers[house.programs["bakery"]] is lines.program_pushers[house.programs["bakery"]]
    certificates = {
        topic: [push.certificate for push in house.apns.pushes if push.topic == topic] for topic in TYPES.values()
    }
    assert {topic: len(set(used)) for topic, used in certificates.items()} == {
        TYPES["cafe"]: 2,
        TYPES["bakery"]: 1,
    }
    for held, same in ((cafe, False), (bakery, True)):
        assert ana.update(held).status == 200
        new = ana.passes[held.serial]
        assert (new.serial, new.token, new.pass_type) == (held.serial, held.token, held.pass_type)
        assert (new.signer(tmp_path, house.apple) == held.signer(tmp_path, house.apple)) is same


def test_a_pass_that_an_expired_certificate_signed_is_signed_anew_when_a_phone_next_asks(
    house: House, tmp_path: Path
) -> None:
    ana = house.phone("ana")
    cafe, bakery = (ana.add(house.join(slug, "+38970000001")) for slug in TYPES)
    assert [ana.update(held).status for held in (cafe, bakery)] == [304, 304]

    # The certificates end: phones keep what they have, and nobody is given a pass that no phone would take.
    house.judge.advance(timedelta(days=120))
    assert [ana.update(held).status for held in (cafe, bakery)] == [304, 304]
    assert ana.fetch(cafe, cafe.pass_type, cafe.token).status == 503

    # The café renews its own, and nothing else is done: no restart, no new version, no push.
    house.bring("cafe", now=house.judge.now())
    answer = ana.update(cafe)
    assert (answer.status, answer.modified != cafe.modified) == (200, True)
    new = ana.passes[cafe.serial]
    assert new.signer(tmp_path, house.apple) != cafe.signer(tmp_path, house.apple)
    assert new.document == cafe.document
    assert ana.update(new).status == 304
    assert house.apns.pushes == []
    assert ana.update(bakery).status == 304
    assert ana.fetch(bakery, bakery.pass_type, bakery.token).status == 503
