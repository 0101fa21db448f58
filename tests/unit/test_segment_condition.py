"""What a segment's condition refuses."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from wallet_server.segments.condition import Condition


@pytest.mark.parametrize(
    "document",
    [
        {"days_since_last_visit": {"at_least": 3651}},
        {"days_since_last_visit": {"at_most": 999_999}},
        {"days_since_last_visit": {"at_least": 2, "at_most": 1}},
        {"days_since_last_visit": {}},
        {"visits_last_30_days": {"at_least": -1}},
        {"tiers": []},
        {"tags": []},
        {"tags": ["no tag"]},
        {"tags": [f"t{number}" for number in range(101)]},
        {"words": ["vip"]},
    ],
)
def test_a_condition_that_no_calendar_or_till_knows_is_refused(document):
    with pytest.raises(ValidationError):
        Condition.model_validate(document)


def test_ten_years_are_not_too_many():
    assert Condition.model_validate({"days_since_last_visit": {"at_least": 3650}}).days_since_last_visit is not None
