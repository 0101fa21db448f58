from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from tests.services.sandbox.running import Running, running_sandbox
from tests.unit.passes.cards import a_card
from wallet_server.sandbox.setup import STATE_FILE, prepare
from wallet_server.settings import load_settings


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sandbox")
    prepare(load_settings({"WALLET_DATA_DIR": str(folder), "WALLET_SANDBOX": "1"}))
    return folder


@pytest.fixture
def sandbox(prepared, tmp_path, settings) -> Iterator[Running]:
    """A running sandbox that the web application of the test finds, and a shop with one card."""
    with running_sandbox(prepared, tmp_path / "sandbox") as running:
        running.shop.put(a_card(serial_number="ana", update_url="https://replaced.example"))
        (settings.WALLET_DATA_DIR / STATE_FILE).write_text(json.dumps(asdict(running.state)))
        yield running
