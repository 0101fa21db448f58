from __future__ import annotations

import hashlib
import io
import json
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from py_pkpass.models import Barcode, BarcodeFormat, Location, Pass, StoreCard

from passes.apple.bundle import bundle, pass_strings, signed_pass
from passes.apple.development import make_development_certificates
from passes.apple.signing import Signer
from passes.apple.verify import open_pass, parse_strings
from passes.content import PassContentError, Picture, Place
from tests.tools import require_tool
from tests.unit.passes.cards import IMAGES, NOW, PASS_TYPE_ID, TEAM_ID, a_card, a_png

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def unpack(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_bundle_holds_its_files_their_hashes_and_a_signature(signer):
    files = unpack(signed_pass(a_card(), signer, now=NOW))
    assert set(files) == {
        "pass.json",
        "mk.lproj/pass.strings",
        "ru.lproj/pass.strings",
        *(f"{name}{scale}.png" for name in ("icon", "logo", "strip") for scale in ("", "@2x", "@3x")),
        "manifest.json",
        "signature",
    }
    listed = json.loads(files["manifest.json"])
    assert listed == {
        name: hashlib.sha1(content).hexdigest()
        for name, content in files.items()
        if name not in ("manifest.json", "signature")
    }
    assert json.loads(files["pass.json"])["serialNumber"] == "0193-card.1"


def test_the_same_content_at_the_same_second_gives_the_same_bytes(signer):
    first = signed_pass(a_card(), signer, now=NOW)
    assert first == signed_pass(a_card(), signer, now=NOW)
    assert first != signed_pass(a_card(), signer, now=NOW + timedelta(seconds=1))
    assert first != signed_pass(a_card(description="Another"), signer, now=NOW)


@pytest.mark.parametrize("manifest_has_lines", [False, True])
def test_openssl_accepts_the_signature(signer, certificates, tmp_path, manifest_has_lines):
    if manifest_has_lines:  # a line feed must be signed as it stands, not as CRLF
        manifest = b'{\n"pass.json":\n"x"\n}\n'
        (tmp_path / "signature").write_bytes(signer.sign(manifest, now=NOW))
    else:
        files = unpack(signed_pass(a_card(), signer, now=NOW))
        manifest = files["manifest.json"]
        (tmp_path / "signature").write_bytes(files["signature"])
    (tmp_path / "manifest.json").write_bytes(manifest)
    (tmp_path / "root.pem").write_bytes(certificates.root)
    command = (
        f"{require_tool('openssl')} cms -verify -binary -inform DER -in signature -content manifest.json"
        f" -CAfile root.pem -purpose any -attime {int(NOW.timestamp())} -out out"
    ).split()
    good = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert good.returncode == 0, good.stderr
    (tmp_path / "manifest.json").write_bytes(manifest + b" ")
    bad = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert bad.returncode != 0


def test_openssl_sees_a_detached_sha_256_signature_with_its_time(signer, tmp_path):
    (tmp_path / "signature").write_bytes(signer.sign(b"{}", now=NOW))
    printed = subprocess.run(
        f"{require_tool('openssl')} cms -cmsout -print -noout -inform DER -in signature".split(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "eContent: <ABSENT>" in printed
    assert "algorithm: sha256" in printed
    assert "Nov 23 16:30:00 2026 GMT" in printed
    assert printed.count("d.certificate:") == 2  # the leaf and the intermediate


def test_it_says_the_same_as_py_pkpass(tmp_path):
    """An independent library makes the same card, and our referee takes its bundle too.

    What differs is its own: a legacy `barcode`, a switch for an old iOS, an alignment, a place's altitude.
    """
    today = datetime.now(UTC)  # it signs with the clock of the machine
    certificates = make_development_certificates(pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=today)
    roots = [x509.load_pem_x509_certificate(certificates.root)]
    card = a_card(
        translations={},
        back=(),
        news=None,
        expires_at=None,
        max_distance_meters=None,
        places=(Place(latitude=41.11, longitude=20.8),),
    )
    style = StoreCard()
    style.addHeaderField("points", 126, "POINTS")
    style.headerFields[0].changeMessage = "You have %@ points"
    style.addSecondaryField("tier", "Silver", "STATUS")
    style.addSecondaryField("member", "Ana", "MEMBER")
    style.addAuxiliaryField("challenge.dinner", "2 of 3", "DINNER")
    style.addBackField("card_number", "4821 0077 3310", "Card")
    theirs = Pass(style, passTypeIdentifier=PASS_TYPE_ID, organizationName="Cafe Ohrid", teamIdentifier=TEAM_ID)
    theirs.serialNumber = card.serial_number
    theirs.description = card.description
    theirs.barcode = Barcode("482100773310", BarcodeFormat.QR, "4821 0077 3310")
    theirs.backgroundColor = "rgb(31, 58, 95)"
    theirs.foregroundColor = "rgb(255, 255, 255)"
    theirs.labelColor = "rgb(201, 214, 232)"
    theirs.webServiceURL, theirs.authenticationToken = card.update_url, card.authentication_token
    theirs.locations = [Location(41.11, 20.8)]
    for name, picture in IMAGES.files():
        theirs.addFile(name, io.BytesIO(picture.data))
    paths = []
    for name in ("pass_certificate", "pass_key", "intermediate"):
        (tmp_path / name).write_bytes(getattr(certificates, name))
        paths.append(str(tmp_path / name))
    made = theirs.create(*paths, "").getvalue()

    accepted = open_pass(made, trusted_roots=roots, now=today)
    documents = dict(accepted.pass_json), json.loads(unpack(signed(card, certificates, today))["pass.json"])
    for document in documents:
        for key in ("barcode", "suppressStripShine"):
            document.pop(key, None)
        for key in ("altitude", "distance", "relevantText"):
            document["locations"][0].pop(key, None)
        for group in document["storeCard"].values():
            for item in group:
                item.pop("textAlignment", None)
                if item.get("changeMessage") == "":
                    del item["changeMessage"]
    assert documents[0] == documents[1]


def signed(card, certificates, now) -> bytes:
    signer = Signer.load(
        certificate_pem=certificates.pass_certificate,
        key_pem=certificates.pass_key,
        intermediates_pem=certificates.intermediate,
        pass_type_id=PASS_TYPE_ID,
        team_id=TEAM_ID,
    )
    return signed_pass(card, signer, now=now)


def test_content_without_an_icon_or_with_an_odd_language_makes_no_bundle(signer):
    with pytest.raises(PassContentError, match="icon"):
        signed_pass(a_card(images=None), signer, now=NOW)
    with pytest.raises(PassContentError, match="translations"):
        signed_pass(a_card(translations={"../x": {}}), signer, now=NOW)
    with pytest.raises(PassContentError, match="translations"):
        signed_pass(a_card(translations={"mk": {"a": "\udc00"}}), signer, now=NOW)


def test_any_file_may_ride_along(signer):
    made = unpack(bundle([("personalization.json", Picture.of(b"{}"))], signer, now=NOW))
    assert made["personalization.json"] == b"{}"


@given(st.dictionaries(TEXTS, TEXTS, max_size=5))
def test_strings_come_back_as_they_were(translations):
    assert parse_strings(pass_strings(translations)) == translations


def test_strings_are_plain_utf_8_with_escapes():
    made = pass_strings({'a "b"': "в\n\\г\x00"})
    assert made == '"a \\"b\\"" = "в\\n\\\\г\\U0000";\n'.encode()


def test_pictures_bring_their_sums():
    picture = Picture.of(a_png())
    assert picture.sha1 == hashlib.sha1(picture.data).hexdigest()
