"""What a program's version says about a receipt, before any arithmetic: percents, limits, discounts.

This is the place of the rules of ``bonus-processing.md``: each family's coefficients and limits turn into the
terms of a line here, and :mod:`wallet_server.rules.engine` does not change.
"""

from __future__ import annotations

from fractions import Fraction

from wallet_server.programs.definition import ProgramDefinition
from wallet_server.rules.numbers import shortest
from wallet_server.rules.receipt import LineTerms, MemberFacts, Receipt, Terms, TraceStep


def terms_of(program: ProgramDefinition, receipt: Receipt, _facts: MemberFacts) -> Terms:
    """The program's base percents for every line, and the outlet's limit for the receipt.

    Raises ``NotFoundError(unknown_outlet)``.
    """
    base = LineTerms(Fraction(program.points.base_percent), Fraction(program.points.base_redeem_percent))
    trace: list[TraceStep] = [
        {
            "rule": "base_percent",
            "family": "program",
            "line": None,
            "matched": True,
            "effect": {"percent": shortest(base.earn_percent)},
            "why": "every line earns the program's base percent",
        },
        {
            "rule": "base_redeem_percent",
            "family": "program",
            "line": None,
            "matched": True,
            "effect": {"max_percent": shortest(base.redeem_percent)},
            "why": "points may pay this share of every line",
        },
    ]
    limits: tuple[Fraction, ...] = ()
    limit = program.outlet(receipt.outlet).section.receipt_max_percent
    if limit is not None:
        limits = (Fraction(limit),)
        trace.append(
            {
                "rule": "receipt_max_percent",
                "family": "outlet",
                "line": None,
                "matched": True,
                "effect": {"receipt_max_percent": shortest(limits[0])},
                "why": f"points may pay this share of a whole receipt at outlet {receipt.outlet}",
            }
        )
    return Terms(lines=(base,) * len(receipt.lines), receipt_max_percents=limits, trace=tuple(trace))
