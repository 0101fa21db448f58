"""passkit-generator, a library that we did not write, makes the same card: to compare with, and to measure against."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passes.apple.development import DevelopmentCertificates
from passes.apple.pass_json import pass_json
from passes.content import PassContent
from tests.tools import require_tool

PACKAGE = Path(__file__).parents[1] / "node_modules/passkit-generator/lib/cjs"
TIMEOUT_S = 300

# What a user of the package would write; the content comes as JSON. It says itself how long it took, so that Node's
# start is not counted, nor the first pass, which has its modules loaded.
_SCRIPT = """
const {PKPass} = require(process.argv[1]);
const wanted = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const files = {};
for (const [name, data] of Object.entries(wanted.files)) files[name] = Buffer.from(data, 'base64');
const make = (balance) => {
  const pass = new PKPass(files, wanted.certificates, wanted.props);
  pass.type = 'storeCard';
  for (const [group, fields] of Object.entries(wanted.groups)) pass[group].push(...fields);
  pass.headerFields[0].value = balance;
  pass.setBarcodes(...wanted.barcodes);
  if (wanted.locations) pass.setLocations(...wanted.locations);
  if (wanted.expires) pass.setExpirationDate(new Date(wanted.expires));
  for (const [language, texts] of Object.entries(wanted.translations)) pass.localize(language, texts);
  return pass.getAsBuffer();
};
let made = make(wanted.balances[0]);
const begun = process.hrtime.bigint();
for (const balance of wanted.balances.slice(1)) made = make(balance);
const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
process.stdout.write(JSON.stringify({seconds, pass: made.toString('base64')}));
"""
# These have methods of their own.
_APART = ("storeCard", "barcodes", "locations", "expirationDate", "formatVersion")


@dataclass(frozen=True, slots=True)
class Generated:
    """The last pass of a run, and how long all but the first took."""

    pkpass: bytes
    seconds: float


def generate(
    card: PassContent,
    certificates: DevelopmentCertificates,
    *,
    pass_type_id: str,
    team_id: str,
    balances: Iterable[int] = (),
) -> Generated:
    """Have the card made as it is, and then with each of these balances."""
    assert PACKAGE.exists(), f"{PACKAGE} is missing; run `npm ci` (make setup-dev does)"
    command = [require_tool("node"), "-e", _SCRIPT, str(PACKAGE / "index.js")]
    wanted = json.dumps(_wanted(card, certificates, pass_type_id, team_id, balances))
    done = subprocess.run(command, input=wanted, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return Generated(base64.b64decode(said["pass"]), said["seconds"])


def _wanted(
    card: PassContent, certificates: DevelopmentCertificates, pass_type_id: str, team_id: str, balances: Iterable[int]
) -> dict[str, Any]:
    assert card.images is not None
    document: dict[str, Any] = pass_json(card, pass_type_id=pass_type_id, team_id=team_id)
    return {
        "balances": [card.points.value, *balances],
        "files": {name: base64.b64encode(picture.data).decode() for name, picture in card.images.files()},
        "certificates": {
            "wwdr": certificates.intermediate.decode(),
            "signerCert": certificates.pass_certificate.decode(),
            "signerKey": certificates.pass_key.decode(),
        },
        "props": {key: value for key, value in document.items() if key not in _APART},
        "groups": document["storeCard"],
        "barcodes": document["barcodes"],
        "locations": document.get("locations"),
        "expires": document.get("expirationDate"),
        "translations": card.translations,
    }
