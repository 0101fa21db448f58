"""What was used last stays in memory, and no more than so much of it."""

from __future__ import annotations

from wallet_server.recent import Recent


def test_what_was_not_used_for_the_longest_goes_first() -> None:
    kept = Recent[str, int](2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    kept.put("a", 4)
    kept.put("d", 5)
    assert [kept.get(key) for key in "acd"] == [4, None, 5]


def test_what_is_dropped_is_gone() -> None:
    kept = Recent[str, int](2)
    kept.put("a", 1)
    kept.drop("a")
    kept.drop("never there")
    assert kept.get("a") is None
