"""Our cards at Google Wallet: a state in, an object at Google out."""

from __future__ import annotations


class GoogleTroubleError(Exception):
    """Google did not take a card. ``ours``: our account or request is wrong, and somebody has to look."""

    def __init__(self, reason: str, *, ours: bool) -> None:
        super().__init__(reason)
        self.ours = ours
