"""Keys and certificates: sealed at rest, matched with Apple's answer, and each mistake has its own sentence."""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from sqlmodel import select

from passes.apple.certificates import PassIdentity, new_signing_request
from tests.apple_ca import PASS_TYPE, TEAM, AppleCA
from tests.conftest import NOW as OPENED
from tests.people import publish
from wallet_server.db import ALL_PROGRAMS, create_engine, new_id, reading, transaction
from wallet_server.issuance.credentials import load_wallets
from wallet_server.issuance.keys import (
    KeyProblem,
    KeyVault,
    import_certificate,
    import_google_account,
    reseal,
    signing_request,
    stored_google_account,
    stored_signer,
)
from wallet_server.issuance.models import IssuedPass, WalletKey
from wallet_server.settings import load_settings

NOW = datetime.now(UTC)
SECRET = hashlib.sha256(b"the test's own").hexdigest()
NOTHING = PassIdentity("", "")


@pytest.fixture(scope="module")
def apple() -> AppleCA:
    return AppleCA(NOW)


@pytest.fixture
def vault() -> KeyVault:
    return KeyVault(SECRET)


def ask(engine, vault, program=None) -> bytes:
    with transaction(engine, ALL_PROGRAMS) as session:
        return signing_request(session, vault, program, NOW).pem


def bring(engine, vault, apple, certificate, *, program=None, wwdr=None, now=NOW, **options):
    with transaction(engine, ALL_PROGRAMS) as session:
        return import_certificate(
            session,
            vault,
            program,
            certificate=("pass.cer", certificate),
            intermediates=("wwdr.cer", wwdr or apple.wwdr.der()),
            **{"expected": NOTHING, **options},
            now=now,
        )


def signer(engine, vault, program_id=None, now=NOW):
    with reading(engine) as session:
        return stored_signer(session, vault, program_id, now)


def test_a_key_opens_in_its_own_row_and_under_its_own_secret_only(vault):
    key_id = new_id()
    sealed = vault.seal(key_id, "apple", b"private")
    assert vault.open(key_id, "apple", sealed) == b"private"
    assert b"private" not in sealed
    assert vault.seal(key_id, "apple", b"private") != sealed
    moved = sealed[:-1] + bytes((sealed[-1] ^ 1,))
    for other, kind, text, opener in (
        (new_id(), "apple", sealed, vault),
        (key_id, "google", sealed, vault),
        (key_id, "apple", moved, vault),
        (key_id, "apple", b"", vault),
        (key_id, "apple", b"\x02" + sealed[1:], vault),
        (key_id, "apple", sealed, KeyVault(SECRET[::-1])),
    ):
        with pytest.raises(KeyProblem, match="WALLET_SECRET_KEY") as refused:
            opener.open(other, kind, text)
        assert refused.value.code == "sealed_otherwise"


def test_from_a_request_to_a_signature_that_openssl_verifies(engine, vault, apple, tmp_path):
    request = ask(engine, vault)
    assert ask(engine, vault) == request  # until Apple's answer is here
    assert signer(engine, vault) is None
    imported = bring(engine, vault, apple, apple.pass_certificate(request))
    assert imported.identity == PassIdentity(PASS_TYPE, TEAM)
    assert (imported.by_apple, imported.renewal) == (True, False)
    found = signer(engine, vault)
    manifest = b'{"icon.png":\n"00"}'
    (tmp_path / "manifest").write_bytes(manifest)
    (tmp_path / "signature").write_bytes(found.sign(manifest, now=NOW))
    (tmp_path / "root.pem").write_bytes(apple.root.pem())
    verified = subprocess.run(
        [
            *("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "signature", "-content", "manifest"),
            *("-CAfile", "root.pem", "-purpose", "any", "-out", "/dev/null"),
        ],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stderr
    assert ask(engine, vault) != request


def test_nothing_in_the_database_is_the_key(sqlite_engine, vault, apple):
    bring(sqlite_engine, vault, apple, apple.pass_certificate(ask(sqlite_engine, vault)))
    [der] = [signer(sqlite_engine, vault)._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())]
    with reading(sqlite_engine) as session:
        [row] = session.exec(select(WalletKey)).all()
    for start in range(0, len(der) - 32, 16):
        assert der[start : start + 32] not in row.sealed


def test_a_certificate_may_come_as_pem_and_with_a_chain(sqlite_engine, vault, apple):
    certificate = apple.pass_certificate(ask(sqlite_engine, vault))
    pem = subprocess.run(
        ["openssl", "x509", "-inform", "der"], input=certificate, capture_output=True, check=True
    ).stdout
    chain = apple.root.pem() + apple.intermediate("G6").pem() + apple.wwdr.pem()
    assert bring(sqlite_engine, vault, apple, pem, wwdr=chain).by_apple


def foreign_key_request(*_):
    return new_signing_request(rsa.generate_private_key(public_exponent=65537, key_size=2048), "someone")


def bundle(password: bytes | None) -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"x", key, None, None, protection)


MISTAKES = {
    "other key": (lambda ca, _: ca.pass_certificate(foreign_key_request()), {}, "key_mismatch", "apple csr"),
    "request": (lambda _, csr: csr, {}, "unreadable_certificate", "is the request, not Apple's answer"),
    "web page": (lambda *_: b"<!DOCTYPE html>", {}, "unreadable_certificate", "sign in at Apple"),
    "key": (lambda *_: b"-----BEGIN PRIVATE KEY-----\n", {}, "unreadable_certificate", "is a private key"),
    "bundle": (lambda *_: bundle(b"secret"), {}, "unreadable_certificate", ".p12 bundle"),
    "open bundle": (lambda *_: bundle(None), {}, "unreadable_certificate", ".p12 bundle"),
    "rubbish": (lambda *_: b"\x00" * 100, {}, "unreadable_certificate", "neither DER nor PEM"),
    "huge": (lambda *_: b"\x30" * 70_000, {}, "unreadable_certificate", "larger than any certificate"),
    "not for passes": (
        lambda ca, csr: ca.pass_certificate(csr, extension=False),
        {},
        "not_a_pass_certificate",
        "Pass Type ID Certificate",
    ),
    "two names": (lambda ca, csr: ca.pass_certificate(csr, named="pass.x"), {}, "pass_type_mismatch", "'pass.x'"),
    "expired": (lambda ca, csr: ca.pass_certificate(csr, days=5, since=9), {}, "expired", "make a new one at Apple"),
    "too early": (lambda ca, csr: ca.pass_certificate(csr, since=-2), {}, "not_yet_valid", "set the clock"),
    "other pass type": (
        lambda ca, csr: ca.pass_certificate(csr),
        {"expected": PassIdentity("pass.other", "")},
        "pass_type_mismatch",
        "WALLET_APPLE_PASS_TYPE_ID is pass.other",
    ),
    "other team": (
        lambda ca, csr: ca.pass_certificate(csr),
        {"expected": PassIdentity("", "OTHER00000")},
        "team_mismatch",
        "WALLET_APPLE_TEAM_ID is OTHER00000",
    ),
    "other intermediate": (
        lambda ca, csr: ca.pass_certificate(csr, issuer=ca.intermediate("G1")),
        {},
        "issuer_mismatch",
        'Certification Authority G1", but the intermediate given is',
    ),
    "renewed intermediate": (
        lambda ca, csr: ca.pass_certificate(csr, issuer=ca.intermediate("G4")),
        {},
        "issuer_mismatch",
        'Certification Authority G4", but the intermediate given is another of that name;',
    ),
    "issued by the root": (
        lambda ca, csr: ca.pass_certificate(csr, issuer=ca.root),
        {"wwdr": "root"},
        "issuer_is_root",
        "by a root",
    ),
    "intermediate expired": (
        lambda ca, csr: ca.pass_certificate(csr, issuer=ca.old),
        {"wwdr": "old"},
        "expired",
        "intermediate certificate expired on",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_has_its_own_sentence_and_changes_nothing(sqlite_engine, vault, apple, mistake):
    make, options, code, words = MISTAKES[mistake]
    apple.old = apple.intermediate("G4", days=300, since=400)
    certificate = make(apple, ask(sqlite_engine, vault))
    if "wwdr" in options:
        options = {"wwdr": getattr(apple, options["wwdr"]).der()}
    with pytest.raises(KeyProblem) as refused:
        bring(sqlite_engine, vault, apple, certificate, **options)
    assert (refused.value.code, words in str(refused.value)) == (code, True), str(refused.value)
    assert signer(sqlite_engine, vault) is None


def test_a_renewal_signs_at_once_and_the_old_certificate_stays(engine, vault, apple):
    bring(engine, vault, apple, apple.pass_certificate(ask(engine, vault), since=380))
    old = signer(engine, vault)
    renewed = bring(engine, vault, apple, apple.pass_certificate(ask(engine, vault)))
    assert renewed.renewal
    new = signer(engine, vault)
    assert new.not_after > old.not_after
    assert new.certificate != old.certificate
    with reading(engine) as session:
        assert len(session.exec(select(WalletKey)).all()) == 2


def test_a_certificate_that_begins_later_does_not_sign_yet(sqlite_engine, vault, apple):
    tomorrow = NOW + timedelta(days=1)
    bring(sqlite_engine, vault, apple, apple.pass_certificate(ask(sqlite_engine, vault), since=300))
    early = apple.pass_certificate(ask(sqlite_engine, vault), since=0)
    bring(sqlite_engine, vault, apple, early, now=tomorrow)
    assert signer(sqlite_engine, vault, now=NOW - timedelta(hours=1)).not_after < tomorrow + timedelta(days=100)
    assert signer(sqlite_engine, vault, now=tomorrow).not_after > tomorrow + timedelta(days=300)
    # When none is in force any more, the newest says so itself.
    assert signer(sqlite_engine, vault, now=NOW + timedelta(days=900)).not_after > tomorrow + timedelta(days=300)


def test_programs_have_certificates_of_their_own(engine, vault, apple):
    with transaction(engine, ALL_PROGRAMS) as session:
        one, two = publish(session, OPENED, "one"), publish(session, OPENED, "two")
    bring(engine, vault, apple, apple.pass_certificate(ask(engine, vault)))
    request = ask(engine, vault, one)
    certificate = apple.pass_certificate(request, pass_type="pass.com.example.one")
    for wrong in (None, two):
        with pytest.raises(KeyProblem, match="say --program one") as refused:
            bring(engine, vault, apple, certificate, program=wrong)
        assert refused.value.code == "key_mismatch"
    bring(engine, vault, apple, certificate, program=one)
    assert signer(engine, vault, one.id).pass_type_id == "pass.com.example.one"
    assert signer(engine, vault, two.id) is None
    assert signer(engine, vault).pass_type_id == PASS_TYPE


def test_a_new_secret_key_needs_the_keys_sealed_anew(engine, vault, apple):
    bring(engine, vault, apple, apple.pass_certificate(ask(engine, vault)))
    new = KeyVault(SECRET[::-1])
    with pytest.raises(KeyProblem, match="apple reseal"):
        signer(engine, new)
    with pytest.raises(KeyProblem), transaction(engine, ALL_PROGRAMS) as session:
        reseal(session, new, vault)
    with transaction(engine, ALL_PROGRAMS) as session:
        assert reseal(session, vault, new) == 1
    assert signer(engine, new).pass_type_id == PASS_TYPE
    with pytest.raises(KeyProblem):
        signer(engine, vault)


def test_googles_account_is_kept_sealed_and_replaced(engine, vault):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    info = {"type": "service_account", "client_email": "a@x", "private_key": pem, "private_key_id": "k"}
    for email in ("a@x.example", "b@x.example"):
        file = json.dumps({**info, "client_email": email, "token_uri": "https://google.test/token"}).encode()
        with transaction(engine) as session:
            import_google_account(session, vault, key_file=file, issuer_id="338800", now=NOW)
    with reading(engine) as session:
        issuer, account = stored_google_account(session, vault)
        assert (issuer, account.email) == ("338800", "b@x.example")
        [row] = session.exec(select(WalletKey)).all()
    assert b"PRIVATE" not in row.sealed
    for issuer_id, file, code in (("cafe", b"{}", "issuer_mismatch"), ("338", b"{}", "unreadable_key")):
        with pytest.raises(KeyProblem) as refused, transaction(engine) as session:
            import_google_account(session, vault, key_file=file, issuer_id=issuer_id, now=NOW)
        assert refused.value.code == code
    with reading(engine) as session:
        assert stored_google_account(session, vault)[1].email == "b@x.example"


def test_the_server_uses_what_was_imported_and_the_environment_goes_before(sqlite_engine, apple, tmp_path):
    environ = {"WALLET_DATA_DIR": str(tmp_path / "data"), "WALLET_SECRET_KEY": SECRET}
    settings = load_settings(environ)
    vault = KeyVault(SECRET)
    assert load_wallets(settings, NOW, sqlite_engine).development
    bring(sqlite_engine, vault, apple, apple.pass_certificate(ask(sqlite_engine, vault)))
    wallets = load_wallets(settings, NOW, sqlite_engine)
    assert (wallets.development, wallets.pass_type_id) == (False, PASS_TYPE)
    with pytest.raises(KeyProblem, match="another WALLET_SECRET_KEY"):
        load_wallets(settings.model_copy(update={"WALLET_SECRET_KEY": SECRET[::-1]}), NOW, sqlite_engine)

    folder = tmp_path / "files"
    folder.mkdir()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificate = apple.pass_certificate(new_signing_request(key, "x"), pass_type="pass.com.example.env")
    pem = subprocess.run(
        ["openssl", "x509", "-inform", "der"], input=certificate, capture_output=True, check=True
    ).stdout
    (folder / "pass.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "wwdr.pem").write_bytes(apple.wwdr.pem())
    configured = load_settings(
        {
            **environ,
            "WALLET_APPLE_PASS_TYPE_ID": "pass.com.example.env",
            "WALLET_APPLE_TEAM_ID": TEAM,
            "WALLET_APPLE_CERTIFICATE_FILE": str(folder / "pass.pem"),
            "WALLET_APPLE_KEY_FILE": str(folder / "key.pem"),
            "WALLET_APPLE_WWDR_FILE": str(folder / "wwdr.pem"),
        }
    )
    assert load_wallets(configured, NOW, sqlite_engine).pass_type_id == "pass.com.example.env"


def test_a_database_without_tables_has_no_keys(tmp_path):
    settings = load_settings({"WALLET_DATA_DIR": str(tmp_path / "data")})
    engine = create_engine(settings.database_url)
    assert load_wallets(settings, NOW, engine).development
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    engine.dispose()


def test_the_pass_type_of_passes_on_phones_cannot_change(engine, vault, apple, shop):
    shop.join()
    with transaction(engine, ALL_PROGRAMS) as session:
        session.execute(sa.update(IssuedPass).where(IssuedPass.wallet == "apple").values(live=True))
    bring(engine, vault, apple, apple.pass_certificate(ask(engine, vault)))
    other = apple.pass_certificate(ask(engine, vault), pass_type="pass.com.example.new")
    with pytest.raises(KeyProblem, match=PASS_TYPE) as refused:
        bring(engine, vault, apple, other)
    assert refused.value.code == "pass_type_in_use"
    own = apple.pass_certificate(ask(engine, vault, shop.program), pass_type="pass.com.example.own")
    with pytest.raises(KeyProblem) as refused:
        bring(engine, vault, apple, own, program=shop.program)
    assert refused.value.code == "pass_type_in_use"
    same = apple.pass_certificate(ask(engine, vault))
    assert bring(engine, vault, apple, same).renewal
