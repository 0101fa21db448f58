"""From zero to a pass that OpenSSL verifies, by the commands of docs/wallets.md and nothing else."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.apple_ca import PASS_TYPE, TEAM, AppleCA
from wallet_server.app import create_app
from wallet_server.context import make_context
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.members.services import Enrol, enrol
from wallet_server.programs.queries import list_programs, load_program
from wallet_server.settings import load_settings

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "wallet_server" / "programs" / "data" / "cafe-ohrid.yaml"
Run = Callable[[str], "subprocess.CompletedProcess[str]"]


def commands() -> list[str]:
    """What the page tells a shop owner to type, in its order."""
    page = (ROOT / "docs" / "wallets.md").read_text(encoding="utf-8")
    section = page.split("### From zero to a signed pass", 1)[1].split("\n### ", 1)[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", section, re.DOTALL | re.MULTILINE)
    return [line.strip() for block in blocks for line in block.splitlines()]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shop owner's folder and settings."""
    monkeypatch.setenv("WALLET_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WALLET_PUBLIC_URL", "https://wallet.invalid")
    monkeypatch.setenv("WALLET_APNS_URL", "https://127.0.0.1:9")
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "my-shop.yaml").write_bytes(SHOP.read_bytes())
    return tmp_path


@pytest.fixture
def run(desk: Path) -> Run:
    def run_one(command: str) -> subprocess.CompletedProcess[str]:
        program, *arguments = shlex.split(command)
        assert program == "wallet-server"
        return subprocess.run(
            [sys.executable, "-m", "wallet_server", *arguments],
            cwd=desk,
            env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run_one


class Server:
    """The server as it starts from what is on the disk now."""

    def __init__(self) -> None:
        self.settings = load_settings()
        self.context = make_context(self.settings)
        self.client: FlaskClient = create_app(self.settings, self.context).test_client()

    def join(self) -> str:
        """A member; the token of the member's page."""
        with reading(self.context.engine, ALL_PROGRAMS) as session:
            [listed] = list_programs(session)
            program = load_program(session, slug=listed.slug)
        with transaction(self.context.engine, program.id) as session:
            command = Enrol(phone="+38970123456")
            member = enrol(session, program, command, now=self.context.clock.now(), actor="member")
        return self.context.mint.page_token(member.member_id)

    def unpack(self, token: str, folder: Path) -> dict[str, object]:
        """Load the pass, lay its files into a folder, and return its pass.json."""
        answer = self.client.get(f"/passes/{token}.pkpass", base_url="https://wallet.invalid")
        assert answer.status_code == 200, answer.text
        folder.mkdir()
        zipfile.ZipFile(io.BytesIO(answer.data)).extractall(folder)
        document: dict[str, object] = json.loads((folder / "pass.json").read_text(encoding="utf-8"))
        return document


def verify(folder: Path, root: Path) -> str:
    """Let OpenSSL verify a pass's signature up to Apple's root; the signer's certificate in PEM."""
    done = subprocess.run(
        [
            *("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "signature"),
            *("-content", "manifest.json", "-CAfile", str(root), "-purpose", "any", "-out", "/dev/null"),
            *("-signer", "signer.pem"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return (folder / "signer.pem").read_text()


def apple_answers(apple: AppleCA, desk: Path, **dates: int) -> None:
    """What the shop owner does in the browser at Apple."""
    (desk / "pass.cer").write_bytes(apple.pass_certificate((desk / "pass.csr").read_bytes(), **dates))
    apple.write(desk)


@pytest.mark.timeout(300)
def test_from_zero_to_a_signed_pass_and_through_a_renewal(
    desk: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wallet_server.context.LOOK_EVERY_S", 0.0)
    apple = AppleCA()
    *before, doctor = commands()
    assert doctor == "wallet-server doctor"
    for command in before:
        done = run(command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if " csr " in command:
            apple_answers(apple, desk, since=390)
    report = run(doctor).stdout
    assert re.search(rf"! Apple +The certificate of {re.escape(PASS_TYPE)} expires", report), report

    server = Server()
    token = server.join()
    first = server.unpack(token, desk / "first")
    assert (first["passTypeIdentifier"], first["teamIdentifier"]) == (PASS_TYPE, TEAM)
    old_signer = verify(desk / "first", desk / "root.pem")

    # A year later: steps 3 to 6 again, while the server runs. The pass stays, signed by the new certificate.
    for command in before[2:]:
        assert run(command).returncode == 0
        if " csr " in command:
            apple_answers(apple, desk)
    assert f"✓ Apple     The certificate of {PASS_TYPE}" in run(doctor).stdout
    second = server.unpack(token, desk / "second")
    assert (second["serialNumber"], second["authenticationToken"]) == (
        first["serialNumber"],
        first["authenticationToken"],
    )
    assert verify(desk / "second", desk / "root.pem") != old_signer


def test_what_goes_wrong_is_one_sentence_and_no_traceback(desk: Path, run: Run) -> None:
    refused = run("wallet-server apple csr")
    assert (refused.returncode, "wallet-server migrate" in refused.stderr) == (1, True)
    assert run("wallet-server migrate").returncode == 0
    assert "there is no program" in run("wallet-server apple csr --program nowhere").stderr
    assert "BEGIN CERTIFICATE REQUEST" in run("wallet-server apple csr").stdout
    (desk / "pass.cer").write_bytes(b"<html>")
    assert "intermediate certificate is missing" in run("wallet-server apple import-certificate pass.cer").stderr
    refused = run("wallet-server apple import-certificate pass.cer --wwdr pass.cer")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "sign in at Apple" in refused.stderr
    assert refused.stderr.endswith("(unreadable_certificate)\n"), "the row of the page's table"
    assert len(refused.stderr.splitlines()) == 1
