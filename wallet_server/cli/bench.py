"""``bench``: the benchmarks of the repository, each a module of ``tests/benchmarks`` with a ``measure``."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from wallet_server.errors import ConfigurationError

Measure = Callable[..., Mapping[str, Any]]
"""Takes a folder that is gone afterwards, and sizes by name."""
FOLDER = Path(__file__).parents[2] / "tests" / "benchmarks"


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--list", "only_list", is_flag=True, help="Only list the benchmarks.")
@click.option("--set", "sizes", multiple=True, metavar="SIZE=N", help="A smaller run: --set baskets=2000.")
def bench(names: tuple[str, ...], as_json: bool, only_list: bool, sizes: tuple[str, ...]) -> None:
    """Run the benchmarks, all of them or those with the given names.

    Only shares carry over from one machine to another. They need the development packages and a checkout of
    the repository.
    """
    known = _known()
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(f"{', '.join(unknown)}; there are {', '.join(known)}", param_hint="NAME")
    if only_list:
        for name, measure in known.items():
            click.echo(f"{name:<14}{(inspect.getdoc(sys.modules[measure.__module__]) or '').splitlines()[0]}")
        return
    wanted = tuple(names or known)
    given = _sizes(sizes, [known[name] for name in wanted])
    results: dict[str, Mapping[str, Any]] = {}
    for name in wanted:
        click.echo(f"measuring {name} …", err=True)
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
            own = given.keys() & inspect.signature(known[name]).parameters.keys()
            results[name] = known[name](Path(folder), **{size: given[size] for size in own})
        if not as_json:
            _print(name, results[name])
    if as_json:
        click.echo(json.dumps(results, indent=2))


def _sizes(sizes: Sequence[str], measures: Iterable[Measure]) -> dict[str, int]:
    """What ``--set`` says; each size is one that some of the benchmarks take."""
    takes = {name for measure in measures for name in list(inspect.signature(measure).parameters)[1:]}
    given: dict[str, int] = {}
    for size in sizes:
        name, _equals, number = size.partition("=")
        if name not in takes or not number.isdecimal():
            raise click.BadParameter(f"{size}; there are {', '.join(sorted(takes)) or 'none'}", param_hint="--set")
        given[name] = int(number)
    return given


def _known() -> dict[str, Measure]:
    if not FOLDER.is_dir():
        raise ConfigurationError("the benchmarks are in the repository, not in the installed package")
    if str(FOLDER.parents[1]) not in sys.path:
        sys.path.insert(0, str(FOLDER.parents[1]))
    found = {}
    for path in sorted(FOLDER.glob("[a-z]*.py")):
        try:
            module = importlib.import_module(f"tests.benchmarks.{path.stem}")
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"{error.name} is not installed: run `make setup-dev`") from error
        if hasattr(module, "measure"):
            found[path.stem] = module.measure
    return found


def _print(name: str, figures: Mapping[str, Any]) -> None:
    click.secho(name, bold=True)
    width = max((len(key) for key in figures), default=0)
    for key, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int | float) else str(value)
        click.echo(f"  {key.replace('_', ' '):<{width}}  {shown:>12}")
