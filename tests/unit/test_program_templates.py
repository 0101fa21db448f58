"""Ready programs are found by code or slug, and one that there is not is refused by name."""

from __future__ import annotations

import pytest

from wallet_server.errors import NotFoundError
from wallet_server.programs.templates import find_template


@pytest.mark.parametrize("name", ["P6", "", "../cafe-ohrid"])
def test_an_unknown_template_is_refused(name: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        find_template(name)
    assert refused.value.code == "unknown_template"
