"""Settings: each wrong value stops the start with a sentence, and nothing is made."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from wallet_server.errors import ConfigurationError
from wallet_server.settings import Settings, load_settings

KEY = "0123456789abcdefghijklmnopqrstuvwxyz-test"


def test_defaults_need_nothing_but_a_folder(tmp_path: Path) -> None:
    settings = load_settings({"WALLET_DATA_DIR": str(tmp_path / "new" / "data")})
    assert settings.database_url == f"sqlite:///{tmp_path}/new/data/wallet.sqlite"
    assert settings.apns_url == "https://api.push.apple.com"
    assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700


def test_the_secret_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    environ = {"WALLET_DATA_DIR": str(tmp_path)}
    first, second = load_settings(environ), load_settings(environ)
    assert first.WALLET_SECRET_KEY == second.WALLET_SECRET_KEY
    assert len(first.WALLET_SECRET_KEY) == 64
    assert stat.S_IMODE((tmp_path / "secret-key").stat().st_mode) == 0o600
    assert first.WALLET_SECRET_KEY not in repr(first)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"WALLET_SECRET_KEY": "secret"}, "WALLET_SECRET_KEY is weak"),
        ({"WALLET_SECRET_KEY": "a" * 64}, "WALLET_SECRET_KEY is weak"),
        ({"WALLET_SMTP_URL": "mail.example.com"}, "WALLET_SMTP_URL must look like smtp://"),
        ({"WALLET_SMTP_URL": "http://mail.example.com"}, "WALLET_SMTP_URL must look like smtp://"),
        ({"WALLET_SMTP_URL": "smtp://mail.example.com:99999"}, "WALLET_SMTP_URL"),
        ({"WALLET_SMTP_URL": "smtp://mail.example.com?tls=maybe"}, "WALLET_SMTP_URL must look like smtp://"),
        ({"WALLET_SMTP_URL": "smtp://u:p@mail.example.com?tls=none"}, "without user and password"),
        ({"WALLET_SMTP_URL": "smtps://mail.example.com?tls=none"}, "only as smtp://"),
        ({"WALLET_SMTP_URL": "smtp://mail.example.com"}, "WALLET_SMTP_URL and WALLET_MAIL_FROM go together"),
        ({"WALLET_MAIL_FROM": "cards@example.com"}, "WALLET_SMTP_URL and WALLET_MAIL_FROM go together"),
        ({"WALLET_MAIL_FROM": "Cafe <cards@example.com>"}, "WALLET_MAIL_FROM must be an e-mail address alone"),
        ({"WALLET_PUBLIC_URL": "wallet.example.com"}, "WALLET_PUBLIC_URL must be an http or https address"),
        ({"DATABASE_URL": "mysql://host/db"}, "DATABASE_URL must begin with postgresql://"),
        ({"REDIS_URL": "localhost:6379"}, "REDIS_URL must begin with redis://"),
        ({"WALLET_SANDBOX": "perhaps"}, "WALLET_SANDBOX"),
        (
            {"WALLET_PUBLIC_ULR": "https://x"},
            "WALLET_PUBLIC_ULR is no setting of this server; is WALLET_PUBLIC_URL meant?",
        ),
        (
            {"WALLET_APPLE_KEY_FILE": "/tmp/key.pem"},
            "WALLET_APPLE_CERTIFICATE_FILE, WALLET_APPLE_WWDR_FILE must be set",
        ),
        ({"WALLET_GOOGLE_ISSUER_ID": "338"}, "go together"),
        ({"WALLET_APNS_CA_FILE": "/nonexistent/ca.pem"}, "WALLET_APNS_CA_FILE: /nonexistent/ca.pem cannot be read"),
        ({"DATABASE_URL_FILE": "/nonexistent/url"}, "DATABASE_URL_FILE: /nonexistent/url: No such file"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, environ: dict[str, str], sentence: str) -> None:
    data = tmp_path / "data"
    with pytest.raises(ConfigurationError, match=r".") as refused:
        load_settings({"WALLET_DATA_DIR": str(data), **environ})
    assert sentence in str(refused.value)
    assert not data.exists()


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    environ = {"WALLET_DATA_DIR": str(tmp_path), "WALLET_SECRET_KEY_FILE": str(tmp_path / "key")}
    assert load_settings(environ).WALLET_SECRET_KEY == KEY
    with pytest.raises(ConfigurationError, match="are both set"):
        load_settings({**environ, "WALLET_SECRET_KEY": KEY})


def test_the_sandbox_is_refused_with_apples_certificates(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("certificate", "key", "wwdr")}
    for path in files.values():
        path.write_text("x")
    environ = {f"WALLET_APPLE_{name.upper()}_FILE": str(path) for name, path in files.items()}
    environ |= {"WALLET_DATA_DIR": str(tmp_path), "WALLET_APPLE_PASS_TYPE_ID": "pass.com.example.loyalty"}
    environ |= {"WALLET_APPLE_TEAM_ID": "ABCDE12345"}
    assert load_settings(environ).WALLET_APPLE_TEAM_ID == "ABCDE12345"
    with pytest.raises(ConfigurationError, match="WALLET_SANDBOX is refused"):
        load_settings({**environ, "WALLET_SANDBOX": "1"})


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Asked of the system as it answers an ordinary user: the tests may run as root, who may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        load_settings({"WALLET_DATA_DIR": str(tmp_path / "data")})


def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigurationError, match="WALLET_DATA_DIR"):
        load_settings({"WALLET_DATA_DIR": str(tmp_path / "data")})


def test_settings_travel_to_child_processes_unchanged(tmp_path: Path) -> None:
    settings = load_settings({"WALLET_DATA_DIR": str(tmp_path), "WALLET_SANDBOX": "1"})
    assert load_settings(settings.environment()) == settings


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert f"`{name}`" in text, name
        assert field.description, name
