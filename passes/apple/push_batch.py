"""What a push sender knows of the tokens of one call."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime

from passes.apple.push_outcome import PushOutcome, PushVerdict

_TOKEN = re.compile(r"[0-9a-fA-F]{1,200}")


class PushBatch:
    """The tokens of one call: who waits, who failed how often, and what came of each."""

    def __init__(self, tokens: Sequence[str], deadline: float, attempts_max: int) -> None:
        self.deadline = deadline
        self.pause_seconds = 0.0
        self.outcomes: dict[str, PushOutcome] = {}
        self.waiting: deque[str] = deque()
        self.failures: Counter[str] = Counter()
        self._attempts_max = attempts_max
        self._stopped: tuple[PushVerdict, str] | None = None
        for token in dict.fromkeys(tokens):
            if _TOKEN.fullmatch(token):
                self.waiting.append(token)
            else:  # never put into an address
                self._record(PushOutcome(token, 0, "BadDeviceToken", None, PushVerdict.BAD_TOKEN))

    def settle(
        self,
        token: str,
        verdict: PushVerdict,
        *,
        status: int = 0,
        reason: str = "",
        timestamp: datetime | None = None,
    ) -> None:
        """Say what came of a token; `status` is 0 if there was no answer. A wrong configuration stops the rest."""
        self._record(PushOutcome(token, status, reason, timestamp, verdict))
        if verdict is PushVerdict.CONFIGURATION:
            self.stop(verdict, reason)

    def resend(self, token: str, reason: str) -> None:
        """Queue again, or give up for now."""
        self.failures[token] += 1
        if self._stopped is not None:
            self.settle(token, self._stopped[0], reason=self._stopped[1])
        elif self.failures[token] >= self._attempts_max:
            self.settle(token, PushVerdict.RETRY_LATER, reason=reason)
        else:
            self.waiting.append(token)

    def stop(self, verdict: PushVerdict, reason: str) -> None:
        """Try no further token: all that wait, and all that would be sent again, end like this."""
        self._stopped = self._stopped or (verdict, reason)
        while self.waiting:
            self._record(PushOutcome(self.waiting.popleft(), 0, reason, None, verdict))

    def in_order(self, tokens: Sequence[str]) -> list[PushOutcome]:
        """One outcome for each distinct token, in the order given."""
        return [self.outcomes[token] for token in dict.fromkeys(tokens)]

    def _record(self, outcome: PushOutcome) -> None:
        assert outcome.token not in self.outcomes, "one token, one outcome"
        self.outcomes[outcome.token] = outcome
