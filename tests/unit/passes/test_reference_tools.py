"""Tools that we did not write, for the same content: passkit-generator (its schema and its bundles), OpenSSL.

py-pkpass is compared in test_bundle.py.
"""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings

from passes.apple.bundle import signed_pass
from passes.apple.development import make_development_certificates
from passes.apple.pass_json import pass_json
from passes.apple.signing import Signer
from passes.apple.verify import open_pass, parse_strings
from tests.passkit_generator import PACKAGE, generate
from tests.tools import require_tool
from tests.unit.passes.cards import NOW, PASS_TYPE_ID, TEAM_ID, a_card
from tests.unit.passes.drawn import valid_passes

TIMEOUT_S = 60

# The package exports no schemas: the file is loaded by its path.
JUDGE = """
const {PassProps} = require(process.argv[1]);
require('readline').createInterface({input: process.stdin}).on('line', (line) => {
  const {error} = PassProps.validate(JSON.parse(line));
  console.log(JSON.stringify(error ? error.message : null));
});
"""


@pytest.fixture(scope="module")
def judge() -> Iterator[subprocess.Popen[str]]:
    assert PACKAGE.exists(), f"{PACKAGE} is missing; run `npm ci` (make setup-dev does)"
    command = [require_tool("node"), "-e", JUDGE, str(PACKAGE / "schemas/index.js")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()
        process.wait(TIMEOUT_S)


def verdict(judge: subprocess.Popen[str], document: dict) -> str | None:
    judge.stdin.write(json.dumps(document) + "\n")
    judge.stdin.flush()
    return json.loads(judge.stdout.readline())


def test_the_schema_is_strict(judge):
    """Were it to take anything, the next test would say nothing."""
    made = pass_json(a_card(), pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)
    assert verdict(judge, made) is None
    assert "unheardOf" in verdict(judge, {**made, "unheardOf": 1})
    assert "maxDistance" in verdict(judge, {**made, "maxDistance": "far"})
    assert "barcodes" in verdict(judge, {**made, "barcodes": [{"format": "QR", "message": "1"}]})


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(card=valid_passes())
def test_the_schema_of_passkit_generator_accepts_whatever_is_drawn(judge, card):
    assert verdict(judge, pass_json(card, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)) is None


def unpack(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def cms_verify(files: dict[str, bytes], root: bytes, folder: Path, at: datetime) -> None:
    folder.mkdir()
    for name in ("manifest.json", "signature"):
        (folder / name).write_bytes(files[name])
    (folder / "root.pem").write_bytes(root)
    command = (
        f"{require_tool('openssl')} cms -verify -binary -inform DER -in signature -content manifest.json"
        f" -CAfile root.pem -purpose any -attime {int(at.timestamp())} -out out"
    ).split()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr


def test_it_says_the_same_as_passkit_generator(tmp_path):
    """The same card by its API: the same paths in the manifest, the same sums of pictures, the same pass.json.

    Its own: groups without fields are written as empty lists, and a date has no seconds' fraction but "Z" for any
    zone. Its `pass.strings` are the same entries as long as nothing needs an escape, which it does not write.
    """
    today = datetime.now(UTC)  # it signs with the clock of the machine
    certificates = make_development_certificates(pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=today)
    signer = Signer.load(
        certificate_pem=certificates.pass_certificate,
        key_pem=certificates.pass_key,
        intermediates_pem=certificates.intermediate,
        pass_type_id=PASS_TYPE_ID,
        team_id=TEAM_ID,
    )
    card = a_card(translations={"mk": {"POINTS": "ПОЕНИ", "STATUS": "НИВО"}, "ru": {"POINTS": "БАЛЛЫ"}})
    document = pass_json(card, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)
    theirs = unpack(generate(card, certificates, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID).pkpass)
    ours = unpack(signed_pass(card, signer, now=today))
    assert theirs.keys() == ours.keys()
    their_sums, our_sums = json.loads(theirs["manifest.json"]), json.loads(ours["manifest.json"])
    assert their_sums.keys() == our_sums.keys()
    assert {n: s for n, s in their_sums.items() if n.endswith(".png")} == {
        n: s for n, s in our_sums.items() if n.endswith(".png")
    }
    for name in ("mk.lproj/pass.strings", "ru.lproj/pass.strings"):
        assert parse_strings(theirs[name]) == parse_strings(ours[name])
    their_pass, our_pass = json.loads(theirs["pass.json"]), json.loads(ours["pass.json"])
    their_pass["storeCard"] = {group: fields for group, fields in their_pass["storeCard"].items() if fields}
    assert datetime.fromisoformat(their_pass.pop("expirationDate")) == datetime.fromisoformat(
        our_pass.pop("expirationDate")
    )
    assert their_pass == our_pass
    cms_verify(theirs, certificates.root, tmp_path / "theirs", today)
    cms_verify(ours, certificates.root, tmp_path / "ours", today)
    roots = [x509.load_pem_x509_certificate(certificates.root)]
    assert open_pass(signed_pass(card, signer, now=today), trusted_roots=roots, now=today).pass_json == document


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(card=valid_passes())
def test_openssl_accepts_the_signature_of_whatever_is_drawn(card, signer, certificates, tmp_path_factory):
    files = unpack(signed_pass(replace(card), signer, now=NOW))
    cms_verify(files, certificates.root, tmp_path_factory.mktemp("cms") / "pass", NOW)
