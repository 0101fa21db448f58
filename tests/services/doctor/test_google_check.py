"""``wallet-server google check``: what Google's refusals mean, and the whole command against the stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from passes.google.account import ServiceAccount
from tests.conftest import NOW
from tests.people import publish
from tests.services.sandbox.running import running_sandbox
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.doctor import Level
from wallet_server.doctor.google import check_google
from wallet_server.issuance.credentials import GoogleParameters
from wallet_server.sandbox.setup import google_url, prepare, service_account_path
from wallet_server.settings import load_settings

ISSUER = "3388000000022222222"
EMAIL = "wallet@cafe.example"


@pytest.fixture(scope="module")
def parameters() -> GoogleParameters:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    info = {"type": "service_account", "client_email": EMAIL, "private_key": pem, "private_key_id": "k"}
    account = ServiceAccount.load(json.dumps({**info, "token_uri": "https://google.test/token"}).encode())
    return GoogleParameters(ISSUER, account, "https://google.test")


class Google:
    """Answers as Google does, with one step refused."""

    def __init__(self, step: str = "", status: int = 200, body: Any = None) -> None:
        self.step, self.status, self.body = step, status, body
        self.written: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        step = "token" if request.url.path == "/token" else request.method
        if "callbacks" in request.url.path:
            step = "callbacks"
        if step == self.step:
            return httpx.Response(self.status, json=self.body)
        match step:
            case "token":
                return httpx.Response(200, json={"access_token": "t", "expires_in": 3600})
            case "GET":
                return httpx.Response(404, json=google_error(404, "notFound", "Class not found."))
            case "callbacks":
                return httpx.Response(405)
        self.written.append(json.loads(request.content))
        return httpx.Response(200, json={})


def google_error(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "errors": [{"reason": reason, "message": message}]}}


@pytest.fixture
def program(sqlite_engine):
    with transaction(sqlite_engine, ALL_PROGRAMS) as session:
        return publish(session, NOW)


def ask(parameters, program, google, public_url="https://cafe.example"):
    return check_google(parameters, program, public_url=public_url, transport=httpx.MockTransport(google))


def test_places_that_google_does_not_take_are_explained(parameters, program):
    said = "Issuer not allowlisted for Merchant Locations. Please contact support."
    google = Google("POST", 400, google_error(400, "invalidResource", said))
    finding = next(one for one in ask(replace(parameters, places=True), program, google) if one.cure)
    assert "does not let issuer 3388000000022222222 tell where outlets are" in finding.sentence
    assert "WALLET_GOOGLE_PLACES" in finding.cure


def test_all_is_well(parameters, program):
    google = Google()
    findings = ask(parameters, program, google)
    assert [finding.level for finding in findings] == [Level.GOOD] * 3
    assert google.written[0]["id"] == f"{ISSUER}.{program.id.hex}"
    assert google.written[0]["callbackOptions"]["url"] == "https://cafe.example/google/callbacks"


@pytest.mark.parametrize(
    ("step", "status", "body", "words", "cure"),
    [
        (
            "token",
            400,
            {"error": "invalid_grant", "error_description": "Invalid JWT: Token must be a short-lived token"},
            "refuses our clock",
            "time service",
        ),
        (
            "token",
            400,
            {"error": "invalid_grant", "error_description": "Invalid JWT Signature."},
            "does not know the key",
            "new key",
        ),
        (
            "token",
            400,
            {"error": "invalid_grant", "error_description": "Invalid grant: account not found"},
            "does not know the key",
            "import-account",
        ),
        ("token", 401, {"error": "unauthorized_client"}, "gets no token", "not disabled"),
        ("GET", 403, google_error(403, "permissionDenied", "Permission denied."), "may not act for", f"Invite {EMAIL}"),
        (
            "GET",
            403,
            google_error(403, "accessNotConfigured", "Google Wallet API has not been used in project 1 before"),
            "not enabled",
            "Enable it",
        ),
        ("GET", 400, google_error(400, "invalidResource", "Invalid resource ID"), "not accept", "issuer id"),
        ("POST", 403, google_error(403, "permissionDenied", "Permission denied."), "may not act for", "Developer"),
        ("callbacks", 200, {}, "somebody else", "reverse proxy"),
    ],
)
def test_each_refusal_is_explained(parameters, program, step, status, body, words, cure):
    [finding] = [one for one in ask(parameters, program, Google(step, status, body)) if one.level is Level.BROKEN]
    assert words in finding.sentence
    assert cure in finding.cure


def test_what_cannot_be_reached_and_what_is_not_there(parameters, program):
    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    assert [one.level for one in ask(parameters, program, nobody)] == [Level.BROKEN, Level.BROKEN]
    notes = [one for one in ask(parameters, None, Google(), "http://127.0.0.1:8000") if one.level is Level.NOTE]
    assert ["no program" in notes[0].sentence, "https only" in notes[1].sentence] == [True, True]


def test_the_command_against_the_stand_in(sqlite_engine, program, tmp_path: Path):
    folder = tmp_path / "sandbox"
    prepare(load_settings({"WALLET_DATA_DIR": str(folder), "WALLET_SANDBOX": "1"}))
    with running_sandbox(folder, folder, fixed_google_port=True) as sandbox:
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WALLET_")},
            "DATABASE_URL": sqlite_engine.url.render_as_string(),
            "WALLET_DATA_DIR": str(tmp_path / "data"),
            "WALLET_GOOGLE_API_URL": google_url(sandbox.state),
        }

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "wallet_server", "google", *arguments]
            return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)

        assert "import-account" in run("check").stderr
        key = str(service_account_path(folder))
        assert "is a number" in run("import-account", key, "--issuer", "cafe").stderr
        assert run("import-account", key, "--issuer", ISSUER).returncode == 0
        checked = run("check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"class of {program.slug} is written" in checked.stdout
    with reading(sqlite_engine) as session:
        [sealed] = session.connection().exec_driver_sql("SELECT sealed FROM wallet_key").scalars()
    assert b"PRIVATE" not in sealed
