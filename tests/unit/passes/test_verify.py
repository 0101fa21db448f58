from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs7

from passes.apple import der
from passes.apple.bundle import bundle, signed_pass, stored_zip
from passes.apple.development import make_development_certificates
from passes.apple.signing import Signer
from passes.apple.verify import PassRefused, open_pass, parse_strings
from passes.content import Picture
from tests.unit.passes.cards import NOW, PASS_TYPE_ID, TEAM_ID, a_card, a_png, loaded_signer


@pytest.fixture
def good(signer) -> dict[str, bytes]:
    """The files of a pass that is accepted, to be spoiled by one change."""
    with zipfile.ZipFile(io.BytesIO(signed_pass(a_card(), signer, now=NOW))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: dict[str, bytes]) -> bytes:
    return stored_zip((name, Picture.of(content)) for name, content in files.items())


def resigned(files: dict[str, bytes], signer: Signer, now=NOW) -> bytes:
    """Lay out and sign again whatever the files now say."""
    kept = [(n, Picture.of(c)) for n, c in files.items() if n not in ("manifest.json", "signature")]
    return bundle(kept, signer, now=now)


def refusal(data: bytes, roots, now=NOW) -> PassRefused:
    with pytest.raises(PassRefused) as caught:
        open_pass(data, trusted_roots=roots, now=now)
    assert str(caught.value).endswith("."), "the reason is a sentence"
    return caught.value


def test_a_good_pass_is_opened(signer, roots):
    opened = open_pass(signed_pass(a_card(), signer, now=NOW), trusted_roots=roots, now=NOW)
    assert opened.pass_json["organizationName"] == "Cafe Ohrid"
    assert opened.signed_at == NOW
    assert opened.text("POINTS", "mk") == "ПОЕНИ"
    assert opened.text("POINTS", "mk-MK") == "ПОЕНИ"
    assert opened.text("POINTS", "en") == "POINTS"
    assert opened.text('Say "hi"\\', "mk") == 'Кажи\n"здраво"'
    assert set(opened.images) == {f"{n}{s}.png" for n in ("icon", "logo", "strip") for s in ("", "@2x", "@3x")}


def test_localized_images_are_by_language(signer, roots, good):
    good["mk.lproj/logo.png"] = a_png()
    opened = open_pass(resigned(good, signer), trusted_roots=roots, now=NOW)
    assert opened.localized_images == {"mk": {"logo.png": a_png()}}


def test_a_deflated_zip_with_folder_entries_is_as_good(signer, roots, good):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("mk.lproj")
        for name, content in good.items():
            archive.writestr(name, content)
    assert open_pass(buffer.getvalue(), trusted_roots=roots, now=NOW).signed_at == NOW


# -- the package ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"<html>Error</html>", b"PK\x03\x04 cut short"])
def test_what_is_no_zip_is_refused(roots, data):
    assert refusal(data, roots).code == "not_a_zip"


def test_a_truncated_or_damaged_zip_is_refused(good, roots):
    whole = zipped(good)
    assert refusal(whole[:-40], roots).code == "not_a_zip"
    at = whole.index(b"formatVersion")
    assert refusal(whole[:at] + b"X" + whole[at + 1 :], roots).code == "not_a_zip"  # the CRC is wrong


@pytest.mark.parametrize("name", ["pass.json", "manifest.json", "signature"])
def test_a_missing_part_is_refused(good, roots, name):
    del good[name]
    caught = refusal(zipped(good), roots)
    assert caught.code == "missing_file"
    assert name in str(caught)


def test_a_folder_around_the_files_is_refused(good, roots):
    caught = refusal(zipped({f"MyPass/{name}": content for name, content in good.items()}), roots)
    assert caught.code == "nested_folder"


def test_a_listed_file_that_is_absent_is_refused(good, roots):
    del good["strip.png"]
    assert refusal(zipped(good), roots).code == "missing_file"


def test_an_unlisted_file_is_refused(good, roots):
    good[".DS_Store"] = b"x"
    assert refusal(zipped(good), roots).code == "unlisted_file"


def test_a_changed_file_is_refused(good, roots):
    good["pass.json"] = good["pass.json"].replace(b"126", b"999")
    assert refusal(zipped(good), roots).code == "wrong_hash"


def test_the_same_name_twice_is_refused(good, roots):
    members = [(name, Picture.of(content)) for name, content in good.items()]
    assert refusal(stored_zip([*members, members[0]]), roots).code == "duplicate_file"


@pytest.mark.parametrize("name", ["../icon.png", "/etc/icon.png", "a\\b.png"])
def test_a_name_that_leaves_the_pass_is_refused(good, roots, name):
    good[name] = b"x"
    assert refusal(zipped(good), roots).code == "bad_path"


def test_a_symbolic_link_is_refused(good, roots):
    buffer = io.BytesIO(zipped(good))
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("link.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert refusal(buffer.getvalue(), roots).code == "symlink"


def test_an_encrypted_file_is_refused(good, roots):
    data = bytearray(zipped(good))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1  # the flag in the first entry of the directory
    assert refusal(bytes(data), roots).code == "encrypted"


def test_too_many_files_are_refused(good, roots):
    good.update({f"{n}.txt": b"" for n in range(200)})
    assert refusal(zipped(good), roots).code == "too_many_files"


def test_a_bomb_is_refused_before_it_goes_off(roots):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("icon.png", b"\0" * (49 * 1024 * 1024))
    assert refusal(buffer.getvalue(), roots).code == "too_large"
    assert refusal(b"x" * (16 * 1024 * 1024 + 1), roots).code == "too_large"


# -- the signature -------------------------------------------------------------------------------------


def test_another_manifest_than_the_signed_one_is_refused(good, roots):
    good["manifest.json"] += b"\n"
    assert refusal(zipped(good), roots).code == "wrong_digest"


@pytest.mark.parametrize("signature", [b"", b"nonsense", b"\x30\x80\x00\x00", b"\x30\x03\x02\x01\x01"])
def test_a_signature_that_is_none_is_refused(good, roots, signature):
    good["signature"] = signature
    assert refusal(zipped(good), roots).code == "bad_signature"


def test_a_signature_value_that_does_not_fit_is_refused(good, roots):
    good["signature"] = good["signature"][:-1] + bytes([good["signature"][-1] ^ 1])
    assert refusal(zipped(good), roots).code == "bad_signature"


def other_signature(manifest: bytes, certificates, options) -> bytes:
    """Sign with the library's builder, whose options make the classic mistakes."""
    builder = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(manifest)
        .add_signer(
            x509.load_pem_x509_certificate(certificates.pass_certificate),
            load_pem_private_key(certificates.pass_key, None),
            hashes.SHA256(),
        )
    )
    if "no intermediate" not in options:
        builder = builder.add_certificate(x509.load_pem_x509_certificate(certificates.intermediate))
    flags = [flag for flag in options if not isinstance(flag, str)]
    return builder.sign(Encoding.DER, flags)


@pytest.fixture
def todays(good):
    """The library's builder signs with the clock of the machine, so these certificates hold today."""
    from datetime import UTC, datetime

    today = datetime.now(UTC)
    family = make_development_certificates(pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=today)
    return family, [x509.load_pem_x509_certificate(family.root)], today


DETACHED, BINARY = pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([DETACHED, BINARY, pkcs7.PKCS7Options.NoAttributes], "no_signing_time"),
        ([DETACHED, BINARY, pkcs7.PKCS7Options.NoCerts], "chain"),
        ([DETACHED, BINARY, "no intermediate"], "chain"),
        ([BINARY], "bad_signature"),  # attached
        ([DETACHED], "wrong_digest"),  # not binary: line feeds became CRLF
    ],
)
def test_the_mistakes_of_other_signers_are_refused(good, todays, options, code):
    family, roots, today = todays
    good["manifest.json"] = good["manifest.json"].replace(b",", b",\n")
    good["signature"] = other_signature(good["manifest.json"], family, options)
    assert refusal(zipped(good), roots, today).code == code
    good["signature"] = other_signature(good["manifest.json"], family, [DETACHED, BINARY])
    assert open_pass(zipped(good), trusted_roots=roots, now=today).pass_json


def test_a_stranger_s_certificates_are_refused(good, roots, other_certificates):
    assert refusal(resigned(good, loaded_signer(other_certificates)), roots).code == "chain"


def test_an_expired_certificate_is_refused(good, signer, roots):
    late = NOW + timedelta(days=400)
    caught = refusal(zipped(good), roots, late)
    assert caught.code == "expired_certificate"


def test_a_signing_time_outside_the_certificate_is_refused(good, roots, certificates, signer, monkeypatch):
    monkeypatch.setattr(signer, "check", lambda now: None)
    data = resigned(good, signer, now=NOW + timedelta(days=400))
    assert refusal(data, roots).code == "expired_certificate"


def test_a_signing_time_that_is_no_time_is_refused(good, signer, roots):
    good["signature"] = good["signature"].replace(
        der.encode(der.UTC_TIME, b"261123163000Z"), der.encode(der.UTC_TIME, b"26112316300ZZ")
    )
    assert refusal(zipped(good), roots).code == "no_signing_time"


@pytest.mark.parametrize(
    ("key", "code"), [("passTypeIdentifier", "pass_type_mismatch"), ("teamIdentifier", "team_mismatch")]
)
def test_another_identity_than_the_certificate_s_is_refused(good, signer, roots, key, code):
    good["pass.json"] = json.dumps({**json.loads(good["pass.json"]), key: "pass.other"}).encode()
    assert refusal(resigned(good, signer), roots).code == code


# -- the contents --------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"a": NaN}', b"[" * 100_000])
def test_malformed_json_is_refused(good, signer, roots, content):
    good["pass.json"] = content
    assert refusal(resigned(good, signer), roots).code == "malformed_json"


def test_a_malformed_manifest_is_refused(good, roots):
    good["manifest.json"] = b"{"
    assert refusal(zipped(good), roots).code == "malformed_json"


def field(**changes) -> dict:
    return {"storeCard": {"headerFields": [{"key": "a", "value": "1", **changes}]}}


def barcode(**changes) -> dict:
    entry = {"format": "PKBarcodeFormatQR", "message": "1", "messageEncoding": "iso-8859-1", **changes}
    return {"barcodes": [{key: value for key, value in entry.items() if value is not None}]}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"formatVersion": 2}, "bad_value"),
        ({"formatVersion": True}, "bad_value"),
        ({"formatVersion": None}, "bad_value"),
        ({"serialNumber": None}, "missing_key"),
        ({"serialNumber": 5}, "missing_key"),
        ({"organizationName": None}, "missing_key"),
        ({"description": ""}, "missing_key"),
        ({"voided": "true"}, "bad_value"),
        ({"expirationDate": "2026-12-01"}, "bad_date"),
        ({"expirationDate": "2026-12-01T10:00:00"}, "bad_date"),
        ({"expirationDate": "2026-12-01T10:00:00+0000"}, "bad_date"),
        ({"expirationDate": "2026-12-01T10:00:00 01:00"}, "bad_date"),
        ({"expirationDate": "2026-13-01T10:00:00Z"}, "bad_date"),
        ({"relevantDate": 5}, "bad_date"),
        ({"relevantDates": {}}, "bad_date"),
        ({"relevantDates": [{"endDate": "2026-12-01T10:00:00Z"}]}, "bad_date"),
        ({"relevantDates": [{"date": "2026-12-01"}]}, "bad_date"),
        ({"relevantDates": [{"startDate": "2026-12-01T10:00:00Z", "endDate": "x"}]}, "bad_date"),
        ({"beacons": {}}, "bad_beacon"),
        ({"beacons": [{"major": 1}]}, "bad_beacon"),
        ({"nfc": {"message": "x"}}, "bad_nfc"),
        ({"storeCard": None, "boardingPass": {}}, "missing_key"),
        ({"backgroundColor": "red"}, "bad_color"),
        ({"labelColor": "rgb(1, 2, 256)"}, "bad_color"),
        ({"appLaunchURL": "app://x"}, "bad_value"),
        ({"authenticationToken": None}, "bad_update_service"),
        ({"webServiceURL": None}, "bad_update_service"),
        ({"webServiceURL": "ftp://x"}, "bad_update_service"),
        ({"authenticationToken": "short"}, "short_token"),
        ({"barcodes": {}}, "bad_barcode"),
        ({"barcodes": ["x"]}, "bad_barcode"),
        (barcode(message=None), "bad_barcode"),
        (barcode(format="QR"), "bad_barcode"),
        (barcode(messageEncoding="klingon"), "bad_barcode"),
        (barcode(message="Ѓ"), "bad_barcode"),
        ({"locations": "x"}, "bad_location"),
        ({"locations": [{"latitude": "41"}]}, "bad_location"),
        ({"storeCard": None}, "missing_style"),
        ({"coupon": {}}, "missing_style"),
        ({"storeCard": []}, "malformed_json"),
        ({"storeCard": {"headerFields": {}}}, "bad_field"),
        (field(key=""), "bad_field"),
        (field(value=None), "bad_field"),
        (field(value=True), "bad_field"),
        (field(label=5), "bad_field"),
        (field(value="5", numberStyle="PKNumberStyleDecimal"), "bad_field"),
        (field(value="soon", dateStyle="PKDateStyleShort", timeStyle="PKDateStyleShort"), "bad_date"),
        (
            {
                "storeCard": {
                    "headerFields": [{"key": "a", "value": 1}],
                    "backFields": [{"key": "a", "value": 1}],
                }
            },
            "duplicate_key",
        ),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused(good, signer, roots, changes, code):
    document = {**json.loads(good["pass.json"]), **changes}
    kept = {key: value for key, value in document.items() if value is not None}
    good["pass.json"] = json.dumps(kept).encode()
    assert refusal(resigned(good, signer), roots).code == code


def test_a_pass_without_an_icon_is_refused(good, signer, roots):
    for name in ("icon.png", "icon@2x.png", "icon@3x.png"):
        del good[name]
    assert refusal(resigned(good, signer), roots).code == "missing_icon"


@pytest.mark.parametrize("content", [b"GIF89a", a_png()[:-1], b"\x89PNG\r\n\x1a\n"])
def test_an_image_that_is_none_is_refused(good, signer, roots, content):
    good["strip.png"] = content
    assert refusal(resigned(good, signer), roots).code == "bad_image"


@pytest.mark.parametrize("content", [b'"a" = "b"', b'"a" "b";', b'"a = "b";', b"\x80"])
def test_strings_that_are_none_are_refused(good, signer, roots, content):
    good["mk.lproj/pass.strings"] = content
    assert refusal(resigned(good, signer), roots).code == "bad_strings"


def test_strings_may_have_comments_and_be_utf_16():
    text = '/* a comment */ "a" = "б";\n// another\n"c"="d\\Ufb01";'
    assert parse_strings(text.encode("utf-16")) == {"a": "б", "c": "dﬁ"}
    assert parse_strings(text.encode()) == {"a": "б", "c": "dﬁ"}
