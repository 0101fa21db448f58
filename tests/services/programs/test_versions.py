"""A version of a program is found by its number, and no other number is one."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import Engine

from tests.services.purchases.shop import open_shop
from wallet_server.db import reading
from wallet_server.errors import NotFoundError
from wallet_server.programs.queries import version_by_number


def test_a_number_that_was_never_published_is_no_version(engine: Engine) -> None:
    shop = open_shop(engine)
    with reading(engine, shop.program.id) as session:
        assert version_by_number(session, shop.program.id, 1).number == 1
        for number in (0, -1, 2, 10**30):
            with pytest.raises(NotFoundError) as refused:
                version_by_number(session, shop.program.id, number)
            assert refused.value.code == "unknown_version"
