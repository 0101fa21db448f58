"""What pages name is there: other pages and their chapters, files, commands, options, figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from wallet_server.cli import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:docs|passes|templates|tests|wallet_server|workers)/[\w./-]+)`")
CODE = re.compile(r"`([^`\n]+)`|^ {3,4}(\S.*)$|^(wallet-server .+)$", re.MULTILINE)
COMMAND = re.compile(r"(?:^|/|\(|=\S+ )wallet-server ([a-z][^)#]*)")
of_each_page = pytest.mark.parametrize("path", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def anchors(page: Path) -> set[str]:
    """The chapters of a page, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", title).strip().lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


@of_each_page
def test_links_lead_somewhere(path: Path) -> None:
    lost = []
    for address in LINK.findall(path.read_text(encoding="utf-8")):
        if address.startswith(("http://", "https://")):
            continue
        file, _, anchor = address.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(address)
    assert lost == []


@of_each_page
def test_files_that_are_named_are_there(path: Path) -> None:
    assert [name for name in FILE.findall(path.read_text(encoding="utf-8")) if not (ROOT / name).exists()] == []


def wrong_in(words: list[str]) -> str | None:
    """What a command line names that there is not; placeholders and values are not looked at."""
    command: click.Command = cli
    context = click.Context(cli, info_name="wallet-server")
    path = list(words)
    while isinstance(command, click.Group):
        name = path.pop(0).strip(".,;:()") if path else ""
        found = command.get_command(context, name)
        if found is None:
            return name or f"nothing after {context.info_name}"
        command, context = found, click.Context(found, parent=context, info_name=name)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in path:
        option = word.split("=")[0].strip(".,;:()[]")
        if option.startswith("--") and option not in known | {"--help"}:
            return option
    return None


@of_each_page
def test_commands_and_their_options_exist(path: Path) -> None:
    said = CODE.findall(path.read_text(encoding="utf-8"))
    commands = [found for code in said for found in COMMAND.findall("".join(code))]
    wrong = {command: problem for command in commands if (problem := wrong_in(command.split())) is not None}
    assert wrong == {}


def test_every_command_is_on_some_page() -> None:
    said = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)

    def commands(group: click.Group, context: click.Context) -> list[str]:
        found = []
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                found += [f"{name} {one}" for one in commands(command, click.Context(command, parent=context))]
            else:
                found.append(name)
        return found

    def is_said(command: str) -> bool:
        group, _, name = command.partition(" ")
        beside = rf"wallet-server {group}[^\n]*\| {name}\b" if name else r"(?!)"
        return bool(re.search(rf"\b{re.escape(command)}\b|{beside}", said))

    missing = [command for command in commands(cli, click.Context(cli)) if not is_said(command)]
    assert missing == []


def test_what_is_measured_is_typed_nowhere_otherwise() -> None:
    measured = json.loads((ROOT / "docs" / "figures.json").read_text(encoding="utf-8"))["main_job"]
    baskets, lines = measured["baskets"], measured["lines"]
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        said = re.findall(r"([\d,]{6,}) (?:demo )?(?:baskets|receipts)", text)
        if page.name != "figures.md":
            assert set(said) <= {f"{baskets:,}"}, page.name
            assert set(re.findall(r"([\d.]+) million lines", text)) <= {f"{lines / 1e6:.2f}"}, page.name
    assert f"Demo data: {baskets:,} baskets" in (ROOT / "README.md").read_text(encoding="utf-8")
