from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.sandbox.running import Running, running_sandbox
from tests.unit.passes.cards import a_card
from wallet_server.sandbox.setup import prepare
from wallet_server.settings import load_settings


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A prepared data folder: certificates and a service account, made once."""
    folder = tmp_path_factory.mktemp("sandbox")
    prepare(load_settings({"WALLET_DATA_DIR": str(folder), "WALLET_SANDBOX": "1"}))
    return folder


@pytest.fixture
def sandbox(prepared, tmp_path) -> Iterator[Running]:
    """A running sandbox and a shop with one card, ``ana``."""
    with running_sandbox(prepared, tmp_path / "sandbox") as running:
        running.shop.put(a_card(serial_number="ana", update_url="https://replaced.example"))
        yield running
