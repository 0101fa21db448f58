from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest

from wallet_server import migrations
from wallet_server.db import create_engine
from wallet_server.errors import ConfigurationError
from wallet_server.sandbox.client import ControlClient, SandboxDown
from wallet_server.sandbox.ports import free_ports
from wallet_server.sandbox.setup import (
    STATE_FILE,
    command,
    is_ready,
    joined,
    prepare,
    required_state,
    service_account_key,
    service_account_path,
)
from wallet_server.settings import load_settings


def settings_of(folder, **more):
    return load_settings({"WALLET_DATA_DIR": str(folder), "WALLET_SANDBOX": "1", **more})


def test_the_settings_point_at_the_stand_ins(prepared):
    settings = prepare(settings_of(prepared))
    state = required_state(prepared)
    assert f"https://127.0.0.1:{state.apns_port}" == settings.WALLET_APNS_URL
    assert f"http://127.0.0.1:{state.google_port}" == settings.WALLET_GOOGLE_API_URL
    account = json.loads(service_account_path(prepared).read_text())
    assert account["token_uri"] == f"http://127.0.0.1:{state.google_port}/token"
    # Child processes read them from the environment, where every check of the settings applies again.
    again = load_settings({**settings.environment(), "WALLET_SANDBOX": "1"})
    assert again.environment() == settings.environment()


def test_a_second_start_keeps_ports_secret_and_keys(prepared):
    prepare(settings_of(prepared))
    state, key = required_state(prepared), service_account_key(prepared).private_numbers()
    prepare(settings_of(prepared))
    assert (required_state(prepared), service_account_key(prepared).private_numbers()) == (state, key)
    for path in (prepared / STATE_FILE, service_account_path(prepared)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_port_that_is_taken_is_replaced(prepared):
    prepare(settings_of(prepared))
    old = required_state(prepared)
    with socket.socket() as other:
        other.bind(("127.0.0.1", old.google_port))
        other.listen()
        prepare(settings_of(prepared))
    new = required_state(prepared)
    assert (new.apns_port, new.control_port) == (old.apns_port, old.control_port)
    assert new.google_port != old.google_port


def test_a_command_sees_what_the_sandbox_server_sees(prepared):
    at_work = prepare(settings_of(prepared, WALLET_PUBLIC_URL="http://127.0.0.1:4711"))
    before = sorted((path, path.stat().st_mtime_ns) for path in prepared.rglob("*"))
    assert joined(settings_of(prepared)).environment() == at_work.environment()
    assert sorted((path, path.stat().st_mtime_ns) for path in prepared.rglob("*")) == before
    own = joined(settings_of(prepared, WALLET_PUBLIC_URL="http://shop.example", WALLET_APNS_URL="https://apns.example"))
    assert (own.public_url, own.WALLET_APNS_URL) == ("http://shop.example", "https://apns.example")


def test_without_a_sandbox_nothing_is_joined(prepared, tmp_path):
    prepare(settings_of(prepared))
    real = load_settings({"WALLET_DATA_DIR": str(prepared)})
    assert joined(real) is real
    new = settings_of(tmp_path / "new")
    assert joined(new) is new


def test_addresses_that_are_set_are_left_alone(prepared):
    settings = prepare(settings_of(prepared, WALLET_APNS_URL="https://apns.example"))
    assert (settings.WALLET_APNS_URL, settings.WALLET_APNS_CA_FILE) == ("https://apns.example", None)


def test_a_damaged_state_is_made_anew(prepared, tmp_path):
    folder = tmp_path / "data"
    prepare(settings_of(folder))
    (folder / STATE_FILE).write_text('{"apns_port": 1}')
    prepare(settings_of(folder))
    assert required_state(folder).apns_port > 1


def test_a_real_server_has_no_sandbox(tmp_path):
    with pytest.raises(ConfigurationError, match="WALLET_SANDBOX=1"):
        prepare(load_settings({"WALLET_DATA_DIR": str(tmp_path)}))


def test_free_ports_differ():
    assert len(set(free_ports(20))) == 20


def test_the_process_starts_serves_and_stops(prepared, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "apple").symlink_to(prepared / "apple")
    settings = prepare(settings_of(folder))
    engine = create_engine(settings.database_url)
    migrations.upgrade(engine)
    engine.dispose()
    assert not is_ready(settings)
    with pytest.raises(SandboxDown):
        ControlClient.of(folder).get("health")

    environment = {**os.environ, **settings.environment()}
    process = subprocess.Popen(command(settings), env=environment, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        state = required_state(folder)
        assert line.startswith("ready ")
        assert json.loads(line.removeprefix("ready ")) == {
            "apns": state.apns_port,
            "google": state.google_port,
            "control": state.control_port,
            "smtp": state.smtp_port,
        }
        assert is_ready(settings)
        assert ControlClient.of(folder).get("health")["phones"] == 0

        twin = subprocess.run(
            command(settings), env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (twin.returncode, "cannot listen" in twin.stderr) == (1, True)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()


def test_the_process_is_refused_outside_of_a_sandbox(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WALLET_")}
    refused = subprocess.run(
        [sys.executable, "-m", "wallet_server.sandbox", "--data", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (refused.returncode, "WALLET_SANDBOX=1" in refused.stderr) == (1, True)
