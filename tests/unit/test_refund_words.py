"""What a refund did, in sentences: every effect that a refund's trace can hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.rules.programs import definition
from wallet_server.i18n import translator
from wallet_server.web.panel.refund_words import refund_effects


@pytest.mark.parametrize(
    ("effects", "sentences"),
    [
        ({}, []),
        ({"points_left": 0, "left_minor": 0}, []),
        ({"points_left": 12, "left_minor": 120_000}, ["What is left (MKD 1,200.00) earns 12 points."]),
        ({"points_reissued": 1}, ["Of the points that came back 1 point had ended; they stay a while longer."]),
        ({"carried": "-3/5"}, ["The fraction kept for the next purchase changes by -0.6."]),
        ({"carried_points": 1}, ["With it the kept fraction makes 1 point."]),
        ({"carried_points": -2}, ["Without it the kept fraction is short of 2 points."]),
        ({"challenges": [{"code": "dinner", "window": "2026-11", "taken_back": 1},
                         {"code": "gone", "window": "", "taken_back": 1500}]},
         ["Three visits, one dinner: 1 less.", "gone: less than before."]),
        ({"challenges": [{"code": "burgers", "window": "all", "taken_back": 1500}]}, ["Five burgers: 1.5 less."]),
        ({"reward_points_taken_back": 40, "reward_points_owed": 15},
         ["40 points that a challenge had brought are taken back.", "15 points of them are owed."]),
        ({"vouchers_withdrawn": ["ABCDEFGH"], "vouchers_kept": ["JKLMNPQR"]},
         ["Voucher ABCD-EFGH is withdrawn.", "Voucher JKLM-NPQR had been used and stays."]),
        ({"tiers_ended": ["silver"], "tier": {"from": "silver", "to": "base"}},
         ["The level Silver, which was a reward, ends.", "The member's level is now Member."]),
        ({"tier": {"from": "silver", "to": None}}, []),
    ],
)  # fmt: skip
def test_each_effect_is_said(effects: dict[str, Any], sentences: list[str]) -> None:
    found = refund_effects({"v": 1, "steps": [], "effects": effects}, translator("en"), definition())
    assert [said.replace("\N{NO-BREAK SPACE}", " ") for said in found] == sentences


def test_money_of_a_challenge_is_money() -> None:
    spend = {
        "code": "spend",
        "name": {"en": "Big spender"},
        "metric": "spend_minor",
        "target": 1,
        "reward": {"points": 1},
    }
    program = definition(challenges=[spend], **{"pass": {}})
    effects = {"challenges": [{"code": "spend", "window": "", "taken_back": 30_000}]}
    [said] = refund_effects({"effects": effects}, translator("en"), program)
    assert said.replace("\N{NO-BREAK SPACE}", " ") == "Big spender: MKD 300.00 less."


def test_refunds_from_before_effects_were_kept_say_nothing() -> None:
    assert refund_effects({"v": 1, "steps": []}, translator("en"), definition()) == []
