"""A web application on a fresh SQLite database, and browsers for it.

Doors are tested on SQLite only: what they call has been tested on both databases below them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.factories import CAFE, program_file
from tests.web.helpers import PASSWORD, QUICK, StoppedClock, enrol_member
from wallet_server.app import create_app
from wallet_server.context import ServerContext, make_context
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.members.services import Enrolled
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.queries import load_program
from wallet_server.programs.services import apply_program
from wallet_server.settings import Settings
from wallet_server.staff.services import create_staff
from wallet_server.staff.sign_in import sign_in as staff_sign_in


@pytest.fixture
def clock() -> StoppedClock:
    """The business clock of ``app``; stands at :data:`tests.conftest.NOW`."""
    return StoppedClock(NOW)


@pytest.fixture(scope="session")
def _templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Compiled templates: each application would compile all of them again."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@contextmanager
def application(settings: Settings, clock: StoppedClock, templates: FileSystemBytecodeCache) -> Iterator[Flask]:
    """The web application as these settings make it."""
    context = make_context(settings)
    app = create_app(settings, replace(context, clock=clock))
    app.testing = True
    app.jinja_env.bytecode_cache = templates
    app.config["PROPAGATE_EXCEPTIONS"] = False
    yield app
    context.engine.dispose()


@pytest.fixture
def app(
    settings: Settings, sqlite_engine: Engine, clock: StoppedClock, _templates: FileSystemBytecodeCache
) -> Iterator[Flask]:
    """The whole web application on a fresh database, with a clock that a test moves."""
    with application(settings, clock, _templates) as app:
        yield app


@pytest.fixture
def server(app: Flask) -> ServerContext:
    """The application's context: engine, clock, mint."""
    context: ServerContext = app.extensions["wallet"]
    return context


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser (or a till, or a phone) of its own."""
    return app.test_client()


@dataclass(frozen=True)
class Cast:
    """Two programs, and who works there: owner, manager and cashier of the café, a stranger of the bakery."""

    cafe: ProgramDefinition
    bakery: ProgramDefinition


@pytest.fixture
def cast(server: ServerContext, clock: StoppedClock) -> Cast:
    """The café and the bakery with their staff; all have :data:`PASSWORD`."""
    bakery = program_file(
        program={**CAFE["program"], "slug": "bakery", "name": {"en": "Bakery"}},
    )
    with transaction(server.engine, ALL_PROGRAMS) as session:
        ids = [
            apply_program(session, ProgramFile.model_validate(file), now=clock.now(), actor="cli").program_id
            for file in (CAFE, bakery)
        ]
        for email, role, program_id in (
            ("owner@cafe.example", "owner", ids[0]),
            ("manager@cafe.example", "manager", ids[0]),
            ("cashier@cafe.example", "cashier", ids[0]),
            ("owner@bakery.example", "owner", ids[1]),
        ):
            create_staff(
                session, program_id=program_id, email=email, role=role, password=PASSWORD, now=clock.now(), actor="cli",
                passwords=QUICK,
            )  # fmt: skip
        return Cast(*(load_program(session, program_id=program_id) for program_id in ids))


SignIn = Callable[[str], FlaskClient]


@pytest.fixture
def sign_in(app: Flask, server: ServerContext, clock: StoppedClock) -> SignIn:
    """``sign_in("cashier@cafe.example")`` is a browser in which that person is signed in."""

    def make(email: str) -> FlaskClient:
        client = app.test_client()
        made = staff_sign_in(server.engine, email, PASSWORD, now=clock.now(), passwords=QUICK)
        client.set_cookie("staff", made.token)
        return client

    return make


@pytest.fixture
def member(server: ServerContext, cast: Cast, clock: StoppedClock) -> Enrolled:
    """Ana, a member of the café."""
    return enrol_member(server, cast.cafe, clock, phone="+38970123456", name="Ana Petrovska", language="en")
