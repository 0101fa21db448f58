"""The bar of a campaign's page: its parts meet, and never say more than there is."""

from __future__ import annotations

from itertools import pairwise

import pytest

from wallet_server.campaigns.queries import CampaignProgress
from wallet_server.web.panel.campaigns import BAR_UNITS, bar_parts


@pytest.mark.parametrize(
    "counts",
    [
        {"audience": 3, "waiting": 0, "shown": 1, "suppressed": {"no_pass": 1, "no_consent": 1}, "failed": 0},
        {"audience": 7, "waiting": 3, "shown": 2, "suppressed": {"no_pass": 1}, "failed": 1},
        {"audience": 2469, "waiting": 1, "shown": 2468, "suppressed": {}, "failed": 0},
    ],
)
def test_the_parts_of_the_bar_meet(counts) -> None:
    parts = bar_parts(CampaignProgress(**counts, accepted=1, fetched=1))
    for left, right in pairwise(parts):
        assert left.start + left.length == right.start
    end = parts[-1].start + parts[-1].length
    assert parts[0].start == 0
    assert end == BAR_UNITS * (counts["audience"] - counts["waiting"]) // counts["audience"]


def test_the_bar_never_shows_more_phones_than_messages() -> None:
    """A pass that a purchase has moved on since may count as fetched before its message was decided."""
    done = CampaignProgress(audience=2, waiting=0, shown=1, suppressed={"no_pass": 1}, failed=0, accepted=2, fetched=2)
    assert {part.kind: part.length for part in bar_parts(done)} == {
        "fetched": 500, "accepted": 0, "shown": 0, "suppressed": 500, "failed": 0,
    }  # fmt: skip
    assert bar_parts(CampaignProgress(0, 0, 0, {}, 0, 0, 0)) == ()
