"""``sandbox``: the business clock and simulated phones. Only where ``WALLET_SANDBOX=1`` is set."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from wallet_server.cli.common import open_database
from wallet_server.clock import SandboxClock
from wallet_server.db import ALL_PROGRAMS, reading
from wallet_server.errors import ConfigurationError, DomainError
from wallet_server.programs.queries import list_programs, load_program
from wallet_server.sandbox.client import ControlClient, SandboxDown
from wallet_server.sandbox.phones import PHONES_MAX
from wallet_server.sandbox.queries import Phoneless, members_without_phone
from wallet_server.settings import Settings, load_settings
from wallet_server.tokens import TokenMint

CALLERS: Final = 8
"""Phones that are unpacked at the same time."""
_DURATION = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@click.group()
def sandbox() -> None:
    """The moved clock and the simulated phones."""


@sandbox.group()
def clock() -> None:
    """The business clock, which only moves forward."""


@clock.command("set")
@click.argument("moment", metavar="TIME")
def set_clock(moment: str) -> None:
    """Move the clock to TIME, such as 2026-12-24T18:00+01:00 (UTC without a zone)."""
    wanted = _moment(moment)
    _settings()
    with open_database() as database:
        _say(SandboxClock(database.engine).set(wanted))


@clock.command()
@click.argument("duration")
def advance(duration: str) -> None:
    """Move the clock forward by DURATION, such as 90m, 12h, 3d or 2w."""
    step = _duration(duration)
    _settings()
    with open_database() as database:
        _say(SandboxClock(database.engine).advance(step))


@sandbox.command()
@click.argument("count", type=click.IntRange(1, PHONES_MAX))
@click.option("--program", "slug", help="Program whose members get the phones (not needed if there is only one).")
def phones(count: int, slug: str | None) -> None:
    """Give COUNT members who have none a phone with their pass on it."""
    settings = _settings()
    control, mint = ControlClient.of(settings.WALLET_DATA_DIR), TokenMint(settings.WALLET_SECRET_KEY)
    control.get("health")
    with open_database() as database:
        with reading(database.engine, ALL_PROGRAMS) as session:
            slugs = [row.slug for row in list_programs(session)]
            program = load_program(session, slug=slug or _only_program(slugs))
        with reading(database.engine, program.id) as session:
            members = members_without_phone(session, count)
    if len(members) < count:
        click.echo(f"only {len(members)} members of {program.slug} have no phone yet", err=True)

    def unpack(member: Phoneless) -> str | None:
        token = mint.page_token(member.member_id, member.token_generation)
        link = f"{control.public_url}/passes/{token}.pkpass"
        try:
            control.post(
                "phones", name=member.name, language=member.language, time_zone=program.time_zone, install=link
            )
        except SandboxDown:
            raise
        except DomainError as error:
            return f"{member.member_id}: {error.detail}"
        return None

    failures: list[str] = []
    with (
        ThreadPoolExecutor(CALLERS) as pool,
        click.progressbar(pool.map(unpack, members), length=len(members), label="phones") as progress,
    ):
        failures.extend(failure for failure in progress if failure)
    click.echo(
        f"{len(members) - len(failures)} phones hold a pass of {program.slug}: {control.public_url}/sandbox/phones"
    )
    for failure in failures[:10]:
        click.echo(f"  {failure}", err=True)
    if failures:
        raise DomainError("phones_failed", f"{len(failures)} passes could not be installed")


def _settings() -> Settings:
    settings = load_settings()
    if not settings.WALLET_SANDBOX:
        raise ConfigurationError(
            "`sandbox` is refused: WALLET_SANDBOX=1 is not set, so this is a real server."
            " Beside `up --demo`, set it for this command, too"
        )
    return settings


def _say(moment: datetime) -> None:
    click.echo(f"the business clock says {moment:%Y-%m-%d %H:%M:%S} UTC")


def _only_program(slugs: list[str]) -> str:
    if len(slugs) != 1:
        known = ", ".join(slugs) or "none"
        raise ConfigurationError(f"name a program with --program; there is {known}")
    return slugs[0]


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a time such as 2026-12-24T18:00+01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a duration such as 90m, 12h, 3d or 2w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
