"""A web application on a fresh SQLite database, and browsers for it.

Doors are tested on SQLite only: what they call has been tested on both databases below them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from wallet_server.app import create_app
from wallet_server.context import ServerContext
from wallet_server.settings import Settings


class StoppedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def advance(self, duration: timedelta) -> None:
        self.moment += duration


@pytest.fixture
def clock() -> StoppedClock:
    """The business clock of ``app``; stands at :data:`tests.conftest.NOW`."""
    return StoppedClock(NOW)


@pytest.fixture
def app(settings: Settings, sqlite_engine: Engine, clock: StoppedClock) -> Iterator[Flask]:
    """The whole web application on a fresh database, with a clock that a test moves."""
    from dataclasses import replace

    from wallet_server.context import make_context

    context = make_context(settings)
    app = create_app(settings, replace(context, clock=clock))
    app.testing = True
    app.config["PROPAGATE_EXCEPTIONS"] = False
    yield app
    context.engine.dispose()


@pytest.fixture
def server(app: Flask) -> ServerContext:
    """The application's context: engine, clock, mint."""
    context: ServerContext = app.extensions["wallet"]
    return context


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser (or a till, or a phone) of its own."""
    return app.test_client()
