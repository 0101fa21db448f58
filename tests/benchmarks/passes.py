"""Signed passes a second as a share of the machine's RSA signatures; what phones ask, one by one and all at once.

One card: eight fields, a QR code, icon, logo and strip at three scales, each pass with another balance, so that none
is signed twice. ``openssl speed rsa2048`` is the limit: no pass can be had without its signature. Rounds take turns;
each share is the median of its rounds. What phones ask is in :mod:`tests.benchmarks.herd`.
"""

from __future__ import annotations

import base64
import io
import json
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from py_pkpass.models import Barcode, BarcodeFormat, Pass, StoreCard

from passes.apple.bundle import signed_pass
from passes.apple.development import DevelopmentCertificates, make_development_certificates
from passes.apple.pass_json import pass_json
from passes.apple.signing import Signer
from passes.artwork import Look, pass_images
from passes.content import CardCode, Colors, PassContent, PassField, PassImages
from tests.benchmarks.herd import asked
from tests.tools import require_tool

PASS_TYPE_ID = "pass.com.example.bench"
TEAM_ID = "TEAM123456"
NAME = "Cafe Ohrid"
COLORS = Colors(background="#1F3A5F", foreground="#FFFFFF", label="#C9D6E8")
ROUNDS = 7
PASSES = 2_000
OTHERS_PASSES = 15
THREADS = 2
OTHERS = ("py-pkpass", "passkit-generator")
REQUESTS = 5_000
PHONES = 10_000
GENERATOR = Path(__file__).parents[2] / "node_modules/passkit-generator/lib/cjs/index.js"
# What a user of that package would write; it says itself how long it took, so that Node's start is not counted.
GENERATE = """
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
  return pass.getAsBuffer();
};
make(0);
const begun = process.hrtime.bigint();
for (let balance = 1; balance <= wanted.count; balance++) make(balance);
console.log(Number(process.hrtime.bigint() - begun) / 1e9);
"""


def measure(
    data: Path, *, rounds: int = ROUNDS, passes: int = PASSES, requests: int = REQUESTS, phones: int = PHONES
) -> dict[str, Any]:
    """Shares of the RSA limit on one core (with two threads, too), and of the server's trivial endpoint.

    No ``phones``: signing only.
    """
    result = _signing(data / "signing", rounds, passes)
    if phones:
        result |= asked(data / "asked", rounds=rounds, requests=requests, phones=phones)
    return result


def _signing(data: Path, rounds: int, passes: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    certificates = make_development_certificates(pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=now)
    signer = Signer.load(
        certificate_pem=certificates.pass_certificate,
        key_pem=certificates.pass_key,
        intermediates_pem=certificates.intermediate,
        pass_type_id=PASS_TYPE_ID,
        team_id=TEAM_ID,
    )
    paths = _files(data, certificates)
    look = Look(name=NAME, background=COLORS.background, foreground=COLORS.foreground, accent=COLORS.label)
    images = pass_images(look)
    card = _card(images)
    size = len(_sign(_cards(card, 0, 50), signer, now))
    wanted = _for_generator(card, certificates)
    found: dict[str, list[float]] = {name: [] for name in ("limit", "ours", "two threads", *OTHERS)}
    with ThreadPoolExecutor(THREADS) as threads:
        for number in range(rounds):
            found["limit"].append(_rsa_signatures_per_second())
            cards = _cards(card, 2 * number * passes, 2 * passes)
            found["ours"].append(_rate(passes, partial(_sign, cards[:passes], signer, now)))
            found["two threads"].append(_rate(passes, partial(_in_threads, threads, cards[passes:], signer, now)))
            found["py-pkpass"].append(_rate(OTHERS_PASSES, partial(_theirs, card, paths, OTHERS_PASSES)))
            found["passkit-generator"].append(OTHERS_PASSES / _generator_seconds(wanted))
    shares = {
        name: statistics.median(rate / limit for rate, limit in zip(rates, found["limit"], strict=True))
        for name, rates in found.items()
    }
    return {
        "bytes_of_a_pass": size,
        "rsa signatures per second, openssl": round(statistics.median(found["limit"])),
        "passes per second": round(statistics.median(found["ours"])),
        "share of the limit": round(shares["ours"], 3),
        "two threads, share of the limit of one core": round(shares["two threads"], 3),
        **{f"{name}, share of the limit": round(shares[name], 4) for name in OTHERS},
    }


def _card(images: PassImages) -> PassContent:
    return PassContent(
        serial_number="0193-bench",
        organization_name=NAME,
        program_name=NAME,
        description="Loyalty card of Cafe Ohrid",
        colors=COLORS,
        card=CardCode(number="4821 0077 3310 4412", message="4821007733104412", caption="4821 0077 3310 4412"),
        points=PassField(key="points", label="Points", value=0, number_style="decimal", change_message="Now %@"),
        tier=PassField(key="tier", label="Level", value="Silver"),
        member=PassField(key="member", label="Name", value="Ana"),
        progress=(PassField(key="dinner", label="Three visits", value="2 of 3"),),
        news=PassField(key="news", label="News", value="Nothing new yet.", change_message="%@"),
        back=(
            PassField(key="page", label="Your page", value="Open", link="https://wallet.example.com/m/1"),
            PassField(key="about", label="How points work", value="You get 5 % of what you pay back as points."),
        ),
        images=images,
        update_url="https://wallet.example.com/apple",
        authentication_token="0123456789abcdef0123",
    )


def _cards(card: PassContent, first: int, count: int) -> list[PassContent]:
    """The same card with other balances."""
    return [replace(card, points=replace(card.points, value=balance)) for balance in range(first, first + count)]


def _sign(cards: Sequence[PassContent], signer: Signer, now: datetime) -> bytes:
    made = b""
    for card in cards:
        made = signed_pass(card, signer, now=now)
    return made


def _in_threads(threads: ThreadPoolExecutor, cards: Sequence[PassContent], signer: Signer, now: datetime) -> None:
    running = [threads.submit(_sign, cards[number::THREADS], signer, now) for number in range(THREADS)]
    for thread in running:
        thread.result()


def _for_generator(card: PassContent, certificates: DevelopmentCertificates) -> str:
    """The same card for passkit-generator, as JSON."""
    assert card.images is not None
    document = pass_json(card, pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID)
    apart = ("storeCard", "barcodes", "formatVersion")
    return json.dumps(
        {
            "count": OTHERS_PASSES,
            "files": {name: base64.b64encode(picture.data).decode() for name, picture in card.images.files()},
            "certificates": {
                "wwdr": certificates.intermediate.decode(),
                "signerCert": certificates.pass_certificate.decode(),
                "signerKey": certificates.pass_key.decode(),
            },
            "props": {key: value for key, value in document.items() if key not in apart},
            "groups": document["storeCard"],
            "barcodes": document["barcodes"],
        }
    )


def _generator_seconds(wanted: str) -> float:
    command = [require_tool("node"), "-e", GENERATE, str(GENERATOR)]
    done = subprocess.run(command, input=wanted, capture_output=True, text=True, timeout=300, check=True)
    return float(done.stdout)


def _theirs(card: PassContent, paths: Sequence[str], count: int) -> None:
    assert card.images is not None
    for _number in range(count):
        style = StoreCard()
        style.addHeaderField("points", 126, "Points")
        for key in ("tier", "member"):
            style.addSecondaryField(key, "Silver", key)
        style.addAuxiliaryField("dinner", "2 of 3", "Three visits")
        for key in ("news", "card", "page", "about"):
            style.addBackField(key, "Something to read", key)
        theirs = Pass(style, passTypeIdentifier=PASS_TYPE_ID, organizationName=NAME, teamIdentifier=TEAM_ID)
        theirs.serialNumber, theirs.description = card.serial_number, card.description
        theirs.barcode = Barcode(card.card.message, BarcodeFormat.QR, card.card.caption)
        for name, picture in card.images.files():
            theirs.addFile(name, io.BytesIO(picture.data))
        theirs.create(*paths, "")


def _files(data: Path, certificates: DevelopmentCertificates) -> list[str]:
    data.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in ("pass_certificate", "pass_key", "intermediate"):
        path = data / name
        path.write_bytes(getattr(certificates, name))
        paths.append(str(path))
    return paths


def _rate(count: int, work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def _rsa_signatures_per_second() -> float:
    # By the clock on the wall, as ours: on a busy machine its own default, CPU time, would be another measure.
    command = [require_tool("openssl"), "speed", "-elapsed", "-seconds", "1", "rsa2048"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"rsa\s+2048 bits\s+\S+\s+\S+\s+(?:\S+\s+\S+\s+)?([\d.]+)\s+[\d.]+\s*$", printed, re.MULTILINE)
    assert found, printed
    return float(found[1])
