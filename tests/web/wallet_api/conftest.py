"""Two programs with a member each, and a phone that speaks Apple's protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlmodel import select
from werkzeug.test import TestResponse

from passes.apple.certificates import PassIdentity
from tests.apple_ca import AppleCA
from tests.conftest import NOW
from tests.people import publish
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.keys import KeyVault, import_certificate, signing_request
from wallet_server.issuance.models import IssuedPass
from wallet_server.issuance.services import passes_changed
from wallet_server.members.models import Member
from wallet_server.members.services import Enrol, enrol
from wallet_server.programs.definition import ProgramDefinition


@dataclass
class Cardholder:
    """A member of a program, with what the member's phone knows."""

    server: ServerContext
    program: ProgramDefinition
    member_id: Any

    def issued(self, wallet: str = "apple") -> IssuedPass:
        with reading(self.server.engine, ALL_PROGRAMS) as session:
            return session.exec(
                select(IssuedPass).where(IssuedPass.member_id == self.member_id, IssuedPass.wallet == wallet)
            ).one()

    @property
    def serial(self) -> str:
        return self.issued().serial

    @property
    def token(self) -> str:
        return self.server.mint.authentication_token(self.issued().id)

    @property
    def page_token(self) -> str:
        return self.server.mint.page_token(self.member_id)

    @property
    def member(self) -> Member:
        with reading(self.server.engine, ALL_PROGRAMS) as session:
            return session.get_one(Member, self.member_id)

    def change(self) -> None:
        with transaction(self.server.engine, self.program.id) as session:
            passes_changed(session, self.program, [self.member_id], self.server.clock.now())


@dataclass
class Phone:
    """Calls Apple's web service as an iPhone does."""

    client: FlaskClient
    pass_type: str
    device: str = "d" * 32
    push_token: str = "ab" * 32
    base: str = "/apple/v1"
    headers: dict[str, str] = field(default_factory=dict)

    def _authorization(self, holder: Cardholder, token: str | None) -> dict[str, str]:
        return {"Authorization": f"ApplePass {token or holder.token}", **self.headers}

    def _registration(self, holder: Cardholder) -> str:
        return f"{self.base}/devices/{self.device}/registrations/{self.pass_type}/{holder.serial}"

    def register(self, holder: Cardholder, *, token: str | None = None, **body: Any) -> TestResponse:
        return self.client.post(
            self._registration(holder),
            json={"pushToken": self.push_token, **body},
            headers=self._authorization(holder, token),
        )

    def unregister(self, holder: Cardholder, *, token: str | None = None) -> TestResponse:
        return self.client.delete(self._registration(holder), headers=self._authorization(holder, token))

    def changed(self, tag: str | None = None) -> TestResponse:
        query = {} if tag is None else {"passesUpdatedSince": tag}
        return self.client.get(f"{self.base}/devices/{self.device}/registrations/{self.pass_type}", query_string=query)

    def fetch(
        self, holder: Cardholder, *, token: str | None = None, method: str = "GET", **headers: str
    ) -> TestResponse:
        return self.client.open(
            f"{self.base}/passes/{self.pass_type}/{holder.serial}",
            method=method,
            headers={**self._authorization(holder, token), **headers},
        )


def make_holder(server: ServerContext, slug: str, phone: str, **values: Any) -> Cardholder:
    with transaction(server.engine, ALL_PROGRAMS) as session:
        program = publish(session, NOW, slug)
        member_id = enrol(session, program, Enrol(phone=phone, **values), now=NOW, actor="member").member_id
    return Cardholder(server, program, member_id)


def import_own_certificate(server: ServerContext, program: ProgramDefinition, pass_type: str) -> None:
    """Give a program a pass type of its own, with a certificate of a test's Apple that is good today."""
    now = datetime.now(UTC)
    apple, vault = AppleCA(now), KeyVault(server.settings.WALLET_SECRET_KEY)
    with transaction(server.engine, ALL_PROGRAMS) as session:
        request = signing_request(session, vault, program, now).pem
        import_certificate(
            session,
            vault,
            program,
            certificate=("pass.cer", apple.pass_certificate(request, pass_type=pass_type)),
            intermediates=("wwdr.cer", apple.wwdr.der()),
            expected=PassIdentity("", ""),
            now=now,
        )


@pytest.fixture
def holder(server: ServerContext) -> Cardholder:
    return make_holder(server, "cafe-ohrid", "+38970123456", name="Ана")


@pytest.fixture
def stranger(server: ServerContext) -> Cardholder:
    """A member of another program on the same server."""
    return make_holder(server, "bakery-bitola", "+38970123456")


@pytest.fixture
def phone(client: FlaskClient, server: ServerContext) -> Phone:
    return Phone(client, server.wallets.pass_type_id)
