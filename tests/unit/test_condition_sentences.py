"""A condition is read as a sentence."""

from __future__ import annotations

import pytest

from wallet_server.segments.condition import Condition
from wallet_server.segments.sentences import sentence

TIERS = {"silver": {"en": "Silver", "mk": "Сребро"}, "gold": {"en": "Gold"}}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, "All members."),
        ({"tiers": ["silver"]}, "Members whose tier is Silver."),
        ({"tiers": ["silver", "gold"]}, "Members whose tier is Silver or Gold."),
        ({"tiers": ["silver", "gold", "gone"]}, "Members whose tier is Silver, Gold or gone."),
        ({"visits_last_30_days": {"at_most": 0}}, "Members without a purchase in the last 30 days."),
        ({"visits_last_30_days": {"at_least": 1}}, "Members with at least 1 purchase in the last 30 days."),
        ({"visits_last_30_days": {"at_least": 2}}, "Members with at least 2 purchases in the last 30 days."),
        ({"visits_last_30_days": {"at_most": 1}}, "Members with at most 1 purchase in the last 30 days."),
        ({"visits_last_30_days": {"at_least": 2, "at_most": 4}}, "Members with 2 to 4 purchases in the last 30 days."),
        (
            {"visits_last_30_days": {"at_least": 2, "at_most": 2}},
            "Members with exactly 2 purchases in the last 30 days.",
        ),
        ({"days_since_last_visit": {"at_least": 30}}, "Members whose last purchase was at least 30 days ago."),
        ({"tags": ["vip", "press"]}, "Members with the tag vip or press."),
        ({"days_since_last_visit": {"at_most": 1}}, "Members whose last purchase was at most 1 day ago."),
        (
            {"days_since_last_visit": {"at_least": 14, "at_most": 60}},
            "Members whose last purchase was 14 to 60 days ago.",
        ),
        ({"days_since_last_visit": {"at_least": 7, "at_most": 7}}, "Members whose last purchase was 7 days ago."),
        (
            {"tiers": ["gold"], "visits_last_30_days": {"at_most": 0}, "days_since_last_visit": {"at_least": 30}},
            (
                "Members whose tier is Gold, without a purchase in the last 30 days,"
                " whose last purchase was at least 30 days ago."
            ),
        ),
    ],
)
def test_the_sentence_says_the_condition(condition, expected):
    assert sentence(Condition.model_validate(condition), "en", TIERS) == expected


def test_large_numbers_are_written_for_the_reader():
    condition = Condition.model_validate({"visits_last_30_days": {"at_least": 1000, "at_most": 20000}})
    assert "1,000 to 20,000 purchases" in sentence(condition, "en", TIERS)
