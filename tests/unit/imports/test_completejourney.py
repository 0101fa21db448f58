"""The demo data, where they are missing or damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from wallet_server.errors import DomainError
from wallet_server.imports import completejourney


def test_demo_data_that_are_not_installed_are_told_with_their_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completejourney, "PACKAGE", "no_such_package_of_ours")
    with pytest.raises(DomainError, match="make demo-data") as refusal:
        completejourney.data_folder()
    assert refusal.value.code == "demo_data_missing"


def test_demo_data_that_are_damaged_name_the_file(tmp_path: Path) -> None:
    for name in ("transactions", "products", "demographics"):
        (tmp_path / f"{name}.parquet").write_bytes(b"not parquet")
    with pytest.raises(DomainError, match=r"\.parquet cannot be read") as refusal:
        completejourney.write_files(tmp_path / "out", source=tmp_path)
    assert refusal.value.code == "demo_data_missing"
