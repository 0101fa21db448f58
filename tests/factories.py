"""Plain builder functions for rows and files that tests start from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

CAFE: Mapping[str, Any] = {
    "program": {
        "slug": "cafe-ohrid",
        "name": {"en": "Cafe Ohrid", "mk": "Кафе Охрид", "ru": "Кафе Охрид"},
        "currency": "MKD",
        "time_zone": "Europe/Skopje",
        "country": "MK",
        "languages": ["mk", "en", "ru"],
        "points": {"base_percent": 1},
    },
    "outlets": [
        {"code": "A", "name": "Restaurant A", "latitude": "41.11", "longitude": "20.80"},
        {"code": "B", "name": "Restaurant B"},
    ],
    "catalog": {
        "categories": [{"code": "drinks"}, {"code": "coffee", "parent": "drinks"}, {"code": "food"}],
        "products": [
            {"sku": "cappuccino", "category": "coffee", "name": {"en": "Cappuccino"}, "price_minor": 30000},
            {"sku": "burger", "category": "food", "name": {"en": "Burger"}, "price_minor": 45000},
            {"sku": "dinner", "category": "food", "name": {"en": "Dinner"}, "price_minor": 150000},
        ],
    },
    "tiers": {
        "levels": [
            {"code": "base", "name": {"en": "Member", "mk": "Член", "ru": "Участник"}},
            {
                "code": "silver",
                "name": {"en": "Silver", "mk": "Сребро", "ru": "Серебро"},
                "reach": {"any": [{"spend_minor": 1000000}, {"purchases": 10}]},
                "color": "#6b7280",
            },
        ]
    },
    "challenges": [
        {
            "code": "dinner",
            "name": {"en": "Three visits, one dinner"},
            "metric": "visits",
            "target": 3,
            "window": {"kind": "calendar_month"},
            "max_per_day": 1,
            "reward": {"voucher": {"kind": "free_product", "sku": "dinner", "valid_days": 30}},
        },
        {
            "code": "burgers",
            "name": {"en": "Five burgers"},
            "kind": "stamps",
            "metric": "quantity",
            "filter": {"skus": ["burger"]},
            "target": 5,
            "reward": {"voucher": {"kind": "free_product", "sku": "burger"}},
        },
    ],
    "pass": {"stamps": "burgers"},
}
"""The café of the worked examples, as a program file."""


def program_file(**sections: Any) -> dict[str, Any]:
    """The café's file with some top-level sections replaced."""
    return {**CAFE, **sections}


def edited(content: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at a path (``challenges.0.target``) set, or taken out where it is None; "": as it is."""
    whole: Any = copy.deepcopy(dict(content))
    if path:
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
        target = whole
        for step in steps:
            target = target[step]
        if value is None:
            del target[last]
        elif isinstance(target, list) and last == len(target):
            target.append(value)
        else:
            target[last] = value
    result: dict[str, Any] = whole
    return result
