"""Who signs in, for tests of the panel."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.web.conftest import Cast, SignIn


@pytest.fixture
def manager(sign_in: SignIn, cast: Cast) -> FlaskClient:
    return sign_in("manager@cafe.example")
