"""The benchmark runner; what it measures is measured by hand."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from wallet_server.cli import bench as bench_module
from wallet_server.cli import cli
from wallet_server.errors import ConfigurationError


def run(*arguments: str):
    return CliRunner().invoke(cli, ["bench", *arguments], catch_exceptions=False)


@pytest.fixture
def _fake(monkeypatch: pytest.MonkeyPatch):
    def measure(data):
        (data / "scratch").write_text("x")
        return {"receipts_per_second": 1234, "share": 0.5}

    monkeypatch.setattr(bench_module, "_known", lambda: {"one": measure, "two": measure})


def test_the_benchmarks_of_the_repository_are_found():
    assert "imports" in run("--list").output


@pytest.mark.usefixtures("_fake")
def test_figures_are_a_table_for_people_and_json_for_programs():
    assert "receipts per second         1,234" in run("one").stdout
    assert json.loads(run("--json").stdout) == {
        name: {"receipts_per_second": 1234, "share": 0.5} for name in ("one", "two")
    }


@pytest.mark.usefixtures("_fake")
def test_an_unknown_name_is_refused_with_the_known_ones():
    refused = run("three")
    assert refused.exit_code == 2
    assert "there are one, two" in refused.stderr


def test_an_installed_package_has_no_benchmarks_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(bench_module, "FOLDER", tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="in the repository"):
        run("--list")


def test_a_size_reaches_the_benchmarks_that_take_it(monkeypatch: pytest.MonkeyPatch):
    def big(data, *, baskets=1_000):
        return {"baskets": baskets}

    def plain(data):
        return {"baskets": 0}

    monkeypatch.setattr(bench_module, "_known", lambda: {"big": big, "plain": plain})
    found = json.loads(run("--json", "--set", "baskets=7").stdout)
    assert found == {"big": {"baskets": 7}, "plain": {"baskets": 0}}
    for wrong in ("basket=7", "baskets", "baskets=-1", "baskets=many", "data=1"):
        refused = run("--set", wrong)
        assert (refused.exit_code, "there are baskets" in refused.output) == (2, True)
    assert "there are none" in run("plain", "--set", "baskets=7").output
