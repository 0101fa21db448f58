"""Ready programs to start from: the five paradigms, one file each."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final

from wallet_server.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class Template:
    """One ready program: ``code`` is the paradigm's, ``slug`` the program's own and the name of its page."""

    code: str
    slug: str
    summary: str

    def text(self) -> str:
        """The program file with its comments."""
        return (
            resources.files("wallet_server.programs")
            .joinpath(f"data/paradigm-{self.slug}.yaml")
            .read_text(encoding="utf-8")
        )


TEMPLATES: Final = (
    Template("P1", "levels", "customer levels: who buys more gets more back"),
    Template("P2", "lifetime", "lifetime value: the path to the fifth purchase"),
    Template("P3", "checkpoint", "check point: something every month keeps the better percent"),
    Template("P4", "return", "max return: the longer away, the more the way back brings"),
    Template("P5", "margin", "product and margin: points where there is something to give"),
)


def find_template(name: str) -> Template:
    """A ready program by its code (``P1``) or its slug; raises ``NotFoundError(unknown_template)``."""
    for found in TEMPLATES:
        if name.lower() in (found.code.lower(), found.slug):
            return found
    known = ", ".join(f"{found.code} ({found.slug})" for found in TEMPLATES)
    raise NotFoundError("unknown_template", f"there is no ready program {name!r}; there are {known}")
