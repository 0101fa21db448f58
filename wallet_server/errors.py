"""What may go wrong by the world's doing, in one type.

A :class:`DomainError` is an *expected* refusal: it has a stable ``code`` that tills program against,
an HTTP-like ``status``, and a sentence for a person. Programmer errors are assertions, never this.
"""

from __future__ import annotations

from typing import Any


class DomainError(Exception):
    """A refusal with a stable code; whoever raises it has changed nothing.

    ``code`` is one of the codes in ``docs/errors.md`` (a test holds the list), ``status`` an HTTP status,
    ``detail`` a sentence in English, ``extra`` additional members of the problem document.
    """

    def __init__(self, code: str, detail: str, *, status: int = 422, **extra: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status
        self.extra = extra

    def __repr__(self) -> str:
        return f"DomainError({self.code!r}, {self.detail!r}, status={self.status})"


class NotFoundError(DomainError):
    """The thing does not exist, or belongs to another program: the two are never told apart."""

    def __init__(self, code: str, detail: str, **extra: Any) -> None:
        super().__init__(code, detail, status=404, **extra)


class ConfigurationError(Exception):
    """The installation cannot start or go on as configured; the message says what is wrong and the cure.

    ``code`` is stable where the documentation has a table of them, else empty.
    """

    code: str = ""
