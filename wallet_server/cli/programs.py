"""``program``, ``api-key`` and ``staff``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from sqlmodel import Session, select

from wallet_server.cli.common import ACTOR, open_database
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.i18n import translator
from wallet_server.partners.queries import settlement_report
from wallet_server.partners.table import parse_month, report_csv
from wallet_server.programs import diff
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.keys import list_api_keys
from wallet_server.programs.models import Program
from wallet_server.programs.queries import closed_outlets, current_file, load_program
from wallet_server.programs.services import SCOPES, apply_program, create_api_key, revoke_api_key
from wallet_server.programs.templates import find_template
from wallet_server.programs.yaml_file import SIZE_MAX, dump_program, parse_program, program_schema
from wallet_server.staff.roles import ROLES
from wallet_server.staff.services import create_staff, grant_role, reset_password, set_disabled, set_role

_FILE = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True))
_PROGRAM = click.option("--program", "slug", required=True, help="Slug of the program.")
_EMAIL = click.option("--email", required=True, help="The person's e-mail address.")


@click.group()
def program() -> None:
    """Programs as files. What may stand in one: docs/program-file.md, or `program schema` for an editor."""


@program.command()
@_FILE
def apply(file: Path) -> None:
    """Publish FILE: make its program, or bring it to what FILE says. All or nothing."""
    content = _read(file)
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        applied = apply_program(session, content, now=database.now, actor=ACTOR)
    _say(applied.changes)
    if applied.changes:
        click.echo(f"{content.program.slug} is at version {applied.version}")


@program.command("diff")
@_FILE
def diff_(file: Path) -> None:
    """Say what `program apply FILE` would change, and change nothing."""
    content = _read(file)
    with open_database() as database, reading(database.engine, ALL_PROGRAMS) as session:
        found = session.exec(select(Program).where(Program.slug == content.program.slug)).one_or_none()
        if found is None:
            _say(diff.changes(None, content))
        else:
            _say(diff.changes(current_file(session, found.id), content, closed=closed_outlets(session, found.id)))


@program.command()
@click.argument("slug")
def export(slug: str) -> None:
    """Print the program in force as a file; applying it changes nothing."""
    with open_database() as database, reading(database.engine, ALL_PROGRAMS) as session:
        content = current_file(session, _program(session, slug).id)
    click.echo(dump_program(content), nl=False)


@program.command()
def schema() -> None:
    """Print the JSON Schema of program files."""
    click.echo(json.dumps(program_schema(), ensure_ascii=False, indent=2))


@program.command()
@_PROGRAM
@click.option("--month", required=True, help="Such as 2026-10.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for spreadsheets, amounts in the minor unit.")
def settlement(slug: str, month: str, as_csv: bool) -> None:
    """Say what partner companies and the program owe each other for a month. All balances sum to zero."""
    wanted = parse_month(month)
    with open_database() as database, reading(database.engine, ALL_PROGRAMS) as session:
        found = _program(session, slug)
        report = settlement_report(session, found, wanted)
    name = found.name(found.default_language)
    if as_csv:
        click.echo(report_csv(report, name), nl=False)
        return
    t = translator("en")
    for row in report.partners:
        word = "gets" if row.balance_minor >= 0 else "pays"
        click.echo(
            f"{row.company}: {t.number(row.issued.points)} of its points honoured elsewhere, "
            f"{t.number(row.honoured.points)} of others honoured; "
            f"{word} {t.money(abs(row.balance_minor), found.currency)}"
        )
    left = report.program_balance_minor
    click.echo(f"{name}: {'is left with' if left >= 0 else 'pays'} {t.money(abs(left), found.currency)}")


@program.command()
@click.argument("name")
def template(name: str) -> None:
    """Print a ready program to start from: NAME is P1 to P5. What each is for: docs/paradigms.

    Give it your own slug, name, currency, outlets and catalog, then apply it.
    """
    click.echo(find_template(name).text(), nl=False)


@click.group("api-key")
def api_key() -> None:
    """Keys with which tills call /api/v1."""


@api_key.command("create")
@_PROGRAM
@click.option("--outlet", "code", help="Code of the outlet that it is good for; all without it.")
@click.option("--scopes", default=",".join(SCOPES), help=f"What it is good for, of {','.join(SCOPES)}; all without it.")
def api_key_create(slug: str, code: str | None, scopes: str) -> None:
    """Print a new key, alone and once: it is kept nowhere."""
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        found = _program(session, slug)
        outlet_id = found.outlet(code).id if code is not None else None
        _key, secret = create_api_key(
            session, found.id, outlet_id=outlet_id, scopes=wanted, now=database.now, actor=ACTOR
        )
    click.echo(secret)


@api_key.command("list")
@_PROGRAM
def api_key_list(slug: str) -> None:
    """Print the keys, newest first: first characters, scopes, outlet, state."""
    with open_database() as database, reading(database.engine, ALL_PROGRAMS) as session:
        found = _program(session, slug)
        for key in list_api_keys(session, found.id):
            outlet = found.outlet_by_id(key.outlet_id).section.code if key.outlet_id else "all outlets"
            state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "good"
            click.echo(f"{key.hint}…  {key.created_at:%Y-%m-%d}  {','.join(key.scopes)}  {outlet}  {state}")


@api_key.command("revoke")
@_PROGRAM
@click.argument("beginning")
def api_key_revoke(slug: str, beginning: str) -> None:
    """End the key that begins with BEGINNING, as `api-key list` shows it. It works no more from now on."""
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        found = _program(session, slug)
        wanted = beginning.rstrip("….")
        keys = [key for key in list_api_keys(session, found.id) if key.hint == wanted[: len(key.hint)]]
        if len(keys) != 1:
            message = "no key begins so" if not keys else "several keys begin so"
            raise NotFoundError("unknown_api_key", f"{beginning}: {message}; see `api-key list`")
        revoke_api_key(session, found.id, keys[0].id, now=database.now, actor=ACTOR)
    click.echo(f"{keys[0].hint}… is revoked")


@click.group()
def staff() -> None:
    """People who work with the panel and the till page."""


@staff.command("create")
@_PROGRAM
@_EMAIL
@click.option("--role", required=True, type=click.Choice(ROLES), help="What the person may do.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def staff_create(slug: str, email: str, role: str, password_stdin: bool) -> None:
    """Make an account and print its one-time password, alone; nothing if a password is given.

    Somebody who works for another program of this server keeps account and password, and gets the role.
    """
    password = _password_from_stdin() if password_stdin else None
    made: str | None = None
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        program_id, now = _program(session, slug).id, database.now
        try:
            made = create_staff(
                session, program_id=program_id, email=email, role=role, password=password, now=now, actor=ACTOR
            )
        except DomainError as error:
            if error.code != "staff_exists" or password is not None:
                raise
            grant_role(session, program_id=program_id, email=email, role=role, now=now, actor=ACTOR)
    if made is None:
        click.echo(f"{email} has an account already and keeps its password", err=True)
    elif password is None:
        click.echo(made)


@staff.command("reset-password")
@_EMAIL
def staff_reset_password(email: str) -> None:
    """Print a new one-time password for a forgotten one; whoever is signed in with the account is signed out."""
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        password = reset_password(session, email=email, now=database.now, actor=ACTOR)
    click.echo(password)


@staff.command("set-role")
@_PROGRAM
@_EMAIL
@click.option("--role", required=True, type=click.Choice([*ROLES, "none"]), help="none: nothing any more.")
def staff_set_role(slug: str, email: str, role: str) -> None:
    """Change what somebody may do in a program, or let them do nothing there any more; they are signed out."""
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        program_id = _program(session, slug).id
        wanted = None if role == "none" else role
        set_role(session, program_id=program_id, email=email, role=wanted, now=database.now, actor=ACTOR)
    click.echo(f"{email}: {role}")


@staff.command("disable")
@_EMAIL
def staff_disable(email: str) -> None:
    """Lock an account in all programs, at once; whoever is signed in with it is signed out."""
    _set_disabled(email, disabled=True)


@staff.command("enable")
@_EMAIL
def staff_enable(email: str) -> None:
    """Open an account that was locked, with the password and the roles that it had."""
    _set_disabled(email, disabled=False)


def _set_disabled(email: str, *, disabled: bool) -> None:
    with open_database() as database, transaction(database.engine, ALL_PROGRAMS) as session:
        set_disabled(session, email=email, disabled=disabled, now=database.now, actor=ACTOR)
    click.echo(f"{email} is {'disabled' if disabled else 'enabled'}")


def _read(file: Path) -> ProgramFile:
    try:
        with file.open("rb") as stream:
            data = stream.read(SIZE_MAX + 1)
    except OSError as error:
        raise DomainError("program_file", f"{file}: {error.strerror}") from error
    try:
        return parse_program(data)
    except DomainError as error:
        lines = "\n".join(f"  {line}" for line in error.detail.splitlines())
        raise DomainError(error.code, f"{file} is no program file:\n{lines}", **error.extra) from None


def _program(session: Session, slug: str) -> ProgramDefinition:
    try:
        return load_program(session, slug=slug)
    except NotFoundError as error:
        raise NotFoundError(error.code, f"there is no program {slug!r}") from None


def _say(changes: tuple[str, ...]) -> None:
    click.echo("\n".join(changes) or "nothing changed")


def _password_from_stdin() -> str:
    return sys.stdin.readline(1000).rstrip("\r\n")
