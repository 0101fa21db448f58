"""Certificates: made for development by one of many, loaded as configured, refused with a sentence."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from passes.apple.development import make_development_certificates
from wallet_server.errors import ConfigurationError
from wallet_server.issuance.credentials import load_wallets, make_development_folder
from wallet_server.settings import load_settings

NOW = datetime.now(UTC)


@pytest.fixture
def bare(tmp_path):
    return load_settings({"WALLET_DATA_DIR": str(tmp_path / "data")})


def configured(tmp_path, pass_type_id="pass.com.example.cafe", **changes):
    made = make_development_certificates(pass_type_id="pass.com.example.cafe", team_id="TEAM123456", now=NOW)
    files = {"CERTIFICATE": made.pass_certificate, "KEY": made.pass_key, "WWDR": made.intermediate, **changes}
    environ = {
        "WALLET_DATA_DIR": str(tmp_path / "data"),
        "WALLET_APPLE_PASS_TYPE_ID": pass_type_id,
        "WALLET_APPLE_TEAM_ID": "TEAM123456",
    }
    for name, data in files.items():
        path = tmp_path / f"{name}.pem"
        path.write_bytes(data)
        environ[f"WALLET_APPLE_{name}_FILE"] = str(path)
    return load_settings(environ)


def test_the_first_start_makes_a_family_and_the_second_keeps_it(bare):
    first = load_wallets(bare, NOW)
    assert first.development
    assert load_wallets(bare, NOW).signer.certificate == first.signer.certificate
    folder = bare.WALLET_DATA_DIR / "apple"
    assert {path.name for path in folder.iterdir()} == {
        *("root.pem", "intermediate.pem", "pass.pem", "pass-key.pem", "server.pem", "server-key.pem")
    }
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_of_many_that_start_at_once_all_use_the_same_family(bare):
    barrier = threading.Barrier(6)
    serials: list[int] = []

    def start() -> None:
        barrier.wait(timeout=10)
        serials.append(load_wallets(bare, NOW).signer.certificate.serial_number)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(serials) == 6
    assert len(set(serials)) == 1
    assert [path.name for path in bare.WALLET_DATA_DIR.iterdir() if path.name.startswith("apple")] == ["apple"]


def test_an_expired_or_damaged_family_is_replaced(bare):
    old = load_wallets(bare, NOW).signer
    later = old.not_after + timedelta(days=1)
    new = load_wallets(bare, later).signer
    assert new.certificate != old.certificate
    new.check(later)
    (bare.WALLET_DATA_DIR / "apple" / "pass-key.pem").write_text("damaged")
    assert load_wallets(bare, later).signer.certificate != new.certificate
    assert [path.name for path in bare.WALLET_DATA_DIR.iterdir() if path.name.startswith("apple")] == ["apple"]


def test_the_family_follows_the_configured_pass_type(bare, tmp_path):
    make_development_folder(bare, NOW)
    other = load_settings(
        {
            "WALLET_DATA_DIR": str(bare.WALLET_DATA_DIR),
            "WALLET_APPLE_PASS_TYPE_ID": "pass.com.example.cafe",
            "WALLET_APPLE_TEAM_ID": "TEAM123456",
        }
    )
    assert load_wallets(other, NOW).pass_type_id == "pass.com.example.cafe"


def test_a_configured_certificate_is_used_as_it_is(tmp_path):
    wallets = load_wallets(configured(tmp_path), NOW)
    assert not wallets.development
    assert wallets.pass_type_id == "pass.com.example.cafe"
    assert wallets.apns.url == "https://api.push.apple.com"
    assert wallets.apns.ca_file is None
    assert not (tmp_path / "data" / "apple").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"CERTIFICATE": b"nothing"}, "not PEM"),
        ({"KEY": b"nothing"}, "private key"),
        ({"pass_type_id": "pass.com.example.other"}, "pass.com.example.other"),
    ],
)
def test_certificates_that_do_not_fit_stop_the_start_with_a_sentence(tmp_path, changes, said):
    with pytest.raises(ConfigurationError, match="Apple's certificate") as refusal:
        load_wallets(configured(tmp_path, **changes), NOW)
    assert said in str(refusal.value)


def test_a_foreign_intermediate_stops_the_start(tmp_path):
    foreign = make_development_certificates(pass_type_id="pass.x", team_id="TEAM123456", now=NOW).intermediate
    with pytest.raises(ConfigurationError, match="intermediate"):
        load_wallets(configured(tmp_path, WWDR=foreign), NOW)


def test_an_expired_certificate_does_not_stop_the_till(tmp_path):
    settings = configured(tmp_path)
    load_wallets(settings, NOW + timedelta(days=4000))


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"type": "service_account"})])
def test_a_google_account_that_is_none_stops_the_start_with_a_sentence(tmp_path, text):
    path = tmp_path / "account.json"
    path.write_text(text)
    settings = load_settings(
        {
            "WALLET_DATA_DIR": str(tmp_path / "data"),
            "WALLET_GOOGLE_ISSUER_ID": "3388000000012345678",
            "WALLET_GOOGLE_SERVICE_ACCOUNT_FILE": str(path),
        }
    )
    with pytest.raises(ConfigurationError, match="WALLET_GOOGLE_SERVICE_ACCOUNT_FILE"):
        load_wallets(settings, NOW)
