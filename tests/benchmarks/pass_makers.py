"""Other Python libraries make the same card, each the way that its users write it, in a process of its own.

``python -m tests.benchmarks.pass_makers LIBRARY < card.json`` makes the card with each of its balances and says how
long that took and how the last one came out. The libraries of `make peers` lie in a folder beside our packages: one
of them wants an older release of a package that we have.
"""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from passes.apple.development import DevelopmentCertificates
from passes.apple.pass_json import pass_json
from passes.content import PassContent
from tests.passkit_generator import Generated

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".venv/peers"
TIMEOUT_S = 300
Make = Callable[[int], bytes]
"""A balance -> the signed pass."""


def made_by(
    library: str,
    card: PassContent,
    certificates: DevelopmentCertificates,
    *,
    pass_type_id: str,
    team_id: str,
    balances: Sequence[int],
) -> Generated:
    """Have one of :data:`LIBRARIES` make the card as it is, and then with each of these balances."""
    assert PEERS.exists(), f"{PEERS} is missing; run `make peers`"
    assert card.images is not None
    wanted = {
        "balances": [card.points.value, *balances],
        "document": pass_json(card, pass_type_id=pass_type_id, team_id=team_id),
        "files": {name: base64.b64encode(picture.data).decode() for name, picture in card.images.files()},
        "certificate": certificates.pass_certificate.decode(),
        "key": certificates.pass_key.decode(),
        "intermediate": certificates.intermediate.decode(),
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__, library],
        input=json.dumps(wanted),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(PEERS)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return Generated(base64.b64decode(said["pass"]), said["seconds"])


def _of_passbook(module: str) -> Callable[[dict[str, Any], Path], Make]:
    """py-pkpass and wallet-py3k are both children of the library passbook, with its names."""

    def prepare(wanted: dict[str, Any], folder: Path) -> Make:
        models = import_module(module)
        document = wanted["document"]
        code = document["barcodes"][0]
        files = {name: base64.b64decode(data) for name, data in wanted["files"].items()}
        paths = [str(folder / name) for name in ("certificate", "key", "intermediate")]

        def make(balance: int) -> bytes:
            style = models.StoreCard()
            for group, fields in document["storeCard"].items():
                for field in fields:
                    made = models.Field(field["key"], field["value"], field.get("label", ""))
                    made.changeMessage = field.get("changeMessage", "")
                    getattr(style, group).append(made)
            style.headerFields[0].value = balance
            card = models.Pass(
                style,
                passTypeIdentifier=document["passTypeIdentifier"],
                organizationName=document["organizationName"],
                teamIdentifier=document["teamIdentifier"],
            )
            for name in ("serialNumber", "description", "backgroundColor", "foregroundColor", "labelColor"):
                setattr(card, name, document[name])
            card.webServiceURL, card.authenticationToken = document["webServiceURL"], document["authenticationToken"]
            card.barcode = models.Barcode(code["message"], models.BarcodeFormat.QR, code["altText"])
            for name, data in files.items():
                card.addFile(name, io.BytesIO(data))
            return bytes(card.create(*paths, "").getvalue())

        return make

    return prepare


def _django_walletpass(wanted: dict[str, Any], _folder: Path) -> Make:
    import django
    from django.conf import settings

    document = wanted["document"]
    settings.configure(
        INSTALLED_APPS=["django_walletpass"],
        SECRET_KEY=secrets.token_hex(),
        WALLETPASS={
            "CERT_CONTENT": wanted["certificate"].encode(),
            "KEY_CONTENT": wanted["key"].encode(),
            "WWDRCA_PEM_CONTENT": wanted["intermediate"].encode(),
            "PASS_TYPE_ID": document["passTypeIdentifier"],
            "TEAM_ID": document["teamIdentifier"],
            "SERVICE_URL": document["webServiceURL"],
        },
    )
    django.setup()
    builder_of = import_module("django_walletpass.services.pass_builder").PassBuilder
    own = {name: document[name] for name in ("serialNumber", "authenticationToken")}
    files = {name: base64.b64decode(data) for name, data in wanted["files"].items()}

    def make(balance: int) -> bytes:
        builder = builder_of()
        builder.pass_data = {name: value for name, value in document.items() if name not in own}
        builder.pass_data["storeCard"]["headerFields"][0]["value"] = balance
        builder.pass_data_required.update(own)
        for name, data in files.items():
            builder.add_file(name, data)
        return bytes(builder.build())

    return make


LIBRARIES: dict[str, Callable[[dict[str, Any], Path], Make]] = {
    "py-pkpass": _of_passbook("py_pkpass.models"),
    "wallet-py3k": _of_passbook("wallet.models"),
    "django-walletpass": _django_walletpass,
}


def main(library: str) -> None:
    wanted = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("certificate", "key", "intermediate"):
            (Path(folder) / name).write_text(wanted[name], encoding="ascii")
        make = LIBRARIES[library](wanted, Path(folder))
        first, *balances = wanted["balances"]
        made = make(first)  # loads what is loaded at the first use
        begun = time.perf_counter()
        for balance in balances:
            made = make(balance)
        seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "pass": base64.b64encode(made).decode()}))


if __name__ == "__main__":
    main(sys.argv[1])
