"""Members with their passes, and a phone that asks a real server for them, byte by byte."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlmodel import select

from tests.conftest import NOW
from tests.web.wallet_api.conftest import Cardholder
from tests.web.wallet_api.wire import Heard, Line
from wallet_server.context import ServerContext
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.pushes import tag_passes
from wallet_server.members.services import Enrol, enrol
from wallet_server.programs.queries import load_program

DEVICE = "d" * 32
PUSH = "ab" * 32


@dataclass
class World:
    """A server, and members of two programs whose passes are of two types."""

    line: Line
    server: ServerContext
    ana: Cardholder
    bo: Cardholder
    """Of Ana's program."""
    baker: Cardholder
    """Of the program with a pass type of its own."""

    def type_of(self, holder: Cardholder) -> str:
        return self.server.wallets.signer_of(holder.program.id).pass_type_id

    def auth(self, holder: Cardholder) -> dict[str, str]:
        return {"Authorization": f"ApplePass {holder.token}"}

    def registration(self, holder: Cardholder, device: str = DEVICE) -> str:
        return f"/apple/v1/devices/{device}/registrations/{self.type_of(holder)}/{holder.serial}"

    def list_of(self, holder: Cardholder, query: str = "", device: str = DEVICE) -> str:
        return f"/apple/v1/devices/{device}/registrations/{self.type_of(holder)}{query}"

    def pass_of(self, holder: Cardholder) -> str:
        return f"/apple/v1/passes/{self.type_of(holder)}/{holder.serial}"

    def register(self, holder: Cardholder, device: str = DEVICE, push: str = PUSH) -> Heard:
        body = json.dumps({"pushToken": push}).encode()
        return self.line.ask("POST", self.registration(holder, device), self.auth(holder), body)

    def changed(self, holder: Cardholder, query: str = "", device: str = DEVICE) -> tuple[int, set[str], str]:
        heard = self.line.ask("GET", self.list_of(holder, query, device))
        if heard.status == 204:
            assert heard.body == b""
            return 204, set(), ""
        assert heard.headers["content-type"] == "application/json"
        told = json.loads(heard.body)
        assert told.keys() == {"serialNumbers", "lastUpdated"}
        assert re.fullmatch("[0-9]+", told["lastUpdated"]), "a tag needs no encoding, whoever sends it back"
        assert len(told["serialNumbers"]) == len(set(told["serialNumbers"]))
        return heard.status, set(told["serialNumbers"]), told["lastUpdated"]

    def fetch(self, holder: Cardholder, method: str = "GET", **headers: str) -> Heard:
        return self.line.ask(method, self.pass_of(holder), {**self.auth(holder), **headers})

    def tag(self, *holders: Cardholder) -> int:
        with transaction(self.server.engine, ALL_PROGRAMS) as session:
            return tag_passes(session, [holder.issued().id for holder in holders], NOW).tag


def join(server: ServerContext, slug: str) -> Cardholder:
    """A new member of a program that is there already."""
    with transaction(server.engine, ALL_PROGRAMS) as session:
        program = load_program(session, slug=slug)
        someone = Enrol(email=f"{secrets.token_hex(8)}@example.com", name="Ана")
        member_id = enrol(session, program, someone, now=datetime.now(UTC), actor="member").member_id
    return Cardholder(server, program, member_id)


def rows_of(world: World, table: type[Any]) -> list[Any]:
    with reading(world.server.engine, ALL_PROGRAMS) as session:
        return list(session.exec(select(table)))


def signatures_of(world: World) -> float:
    """How many passes all processes have signed."""
    found = re.search(
        r"^wallet_passes_signed_total ([0-9.]+)$", world.line.ask("GET", "/metrics").body.decode(), re.MULTILINE
    )
    return float(found[1]) if found else 0.0
