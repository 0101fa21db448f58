"""What a program's version says about a receipt, before any arithmetic: percents, limits, discounts. Pure.

Each family's coefficients and limits turn into the terms of a line here; the arithmetic on them is
:mod:`wallet_server.rules.engine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from wallet_server.programs.definition import ProgramDefinition
from wallet_server.rules.book import CompiledRule, RuleBook, own_rule, rule_book
from wallet_server.rules.choice import Choice, choose
from wallet_server.rules.conditions import situation_of
from wallet_server.rules.numbers import rounded
from wallet_server.rules.receipt import (
    NOTHING,
    Line,
    LineTerms,
    MemberFacts,
    OwnCoefficient,
    PointsCap,
    Receipt,
    Terms,
    TraceStep,
)
from wallet_server.rules.trace import Story, outlet_step, percent_step
from wallet_server.rules.validity import Season, season


def terms_of(program: ProgramDefinition, receipt: Receipt, facts: MemberFacts) -> Terms:
    """What the program's rules and the outlet say about each line and about the receipt.

    Raises ``NotFoundError(unknown_outlet)``.
    """
    book, outlet = rule_book(program), program.outlet(receipt.outlet)
    limits: list[Fraction] = []
    trace: list[TraceStep] = list(book.base_steps)
    if outlet.section.receipt_max_percent is not None:
        limits.append(Fraction(outlet.section.receipt_max_percent))
        trace.append(outlet_step(receipt.outlet, limits[0]))
    now = season(program.section.validity, receipt.occurred_at, outlet.zone)
    if now.step is not None:
        return _terms_outside(program, now, receipt, facts, limits)
    if not book.rules and not facts.own:
        return Terms((book.base,) * len(receipt.lines), tuple(limits), trace=tuple(trace))

    situation = situation_of(receipt, facts, outlet.zone)
    story = Story(situation, receipt.lines)
    candidates = [*_own_rules(receipt, facts, book), *book.for_receipt(situation)]
    of_receipt = [rule for rule in candidates if story.matches(rule)]
    of_lines = [
        tuple(rule for rule in book.for_line(situation, line) if story.matches(rule, line)) for line in receipt.lines
    ]
    story.explain(book)
    choices = {rules: choose((*of_receipt, *rules), book.base) for rules in dict.fromkeys(of_lines)}
    limits += [rule.receipt_max_percent for rule in of_receipt if rule.receipt_max_percent is not None]
    trace += story.steps
    trace += _percent_steps(receipt, of_lines, choices, book.base.earn_percent)
    return Terms(
        lines=tuple(_line_terms(line, choices[rules]) for line, rules in zip(receipt.lines, of_lines, strict=True)),
        receipt_max_percents=tuple(limits),
        caps=tuple(_caps(of_receipt, of_lines)),
        # Whole numbers: a file with another number of points for a receipt is refused.
        receipt_points=sum(int(rule.points) for rule in of_receipt if rule.points is not None),
        trace=tuple(trace),
    )


def _terms_outside(
    program: ProgramDefinition, season: Season, receipt: Receipt, facts: MemberFacts, limits: list[Fraction]
) -> Terms:
    """A short-term program outside its time: nothing is earned, and no rule holds but limits on paying."""
    assert season.step is not None, "the program runs"
    if not season.pays:
        closed = LineTerms(earn_percent=NOTHING, redeem_percent=NOTHING, earns=False)
        return Terms((closed,) * len(receipt.lines), trace=(season.step,), earns=False)
    book, outlet = rule_book(program), program.outlet(receipt.outlet)
    situation = situation_of(receipt, facts, outlet.zone)
    story = Story(situation, receipt.lines)
    candidates = [*_own_rules(receipt, facts, book), *book.for_receipt(situation)]
    of_receipt = [rule for rule in candidates if rule.limits_paying and story.matches(rule)]
    of_lines = [
        [rule for rule in book.for_line(situation, line) if rule.limits_paying and story.matches(rule, line)]
        for line in receipt.lines
    ]
    return Terms(
        lines=tuple(
            LineTerms(NOTHING, choose((*of_receipt, *rules), book.base).redeem_percent, earns=False)
            for rules in of_lines
        ),
        receipt_max_percents=(
            *limits,
            *(rule.receipt_max_percent for rule in of_receipt if rule.receipt_max_percent is not None),
        ),
        # Nothing of what is told is about earning.
        trace=(
            season.step,
            *(step for step in book.base_steps if step["rule"] != "base_percent"),
            *(outlet_step(receipt.outlet, limit) for limit in limits),
            *({**step, "effect": {"redeem": step["effect"]["redeem"]}} for step in story.steps),
        ),
        earns=False,
    )


def _own_rules(receipt: Receipt, facts: MemberFacts, book: RuleBook) -> list[CompiledRule]:
    """The member's own coefficient that is good here and now: the outlet's beats the network's."""
    valid = [own for own in facts.own if own.ends_at is None or receipt.occurred_at < own.ends_at]
    here: list[OwnCoefficient] = [own for own in valid if own.outlet == receipt.outlet]
    everywhere = [own for own in valid if own.outlet is None]
    return [own_rule(own, book.base.earn_percent) for own in here or everywhere]


def _line_terms(line: Line, choice: Choice) -> LineTerms:
    discount = choice.discount.discount_percent if choice.discount is not None else None
    per_unit = choice.points_per_unit
    return LineTerms(
        earn_percent=choice.earn_percent,
        redeem_percent=choice.redeem_percent,
        discount_minor=0 if discount is None else rounded(line.amount_minor * discount / 100, "half_up"),
        points=per_unit * Fraction(line.quantity_thousandths, 1000) if per_unit else NOTHING,
        earns=choice.none is None,
    )


def _caps(of_receipt: Sequence[CompiledRule], of_lines: Sequence[Sequence[CompiledRule]]) -> list[PointsCap]:
    """The limits on several lines together, in the order of the file."""
    places: dict[CompiledRule, tuple[int, ...]] = {}
    for rule in of_receipt:
        if rule.max_points is not None:
            places[rule] = tuple(range(len(of_lines)))
    for place, rules in enumerate(of_lines):
        for rule in rules:
            if rule.max_points is not None:
                places[rule] = (*places.get(rule, ()), place)
    return [
        PointsCap(rule.name, rule.family, rule.max_points, places[rule])
        for rule in sorted(places, key=lambda rule: rule.place)
        if rule.max_points is not None
    ]


def _percent_steps(
    receipt: Receipt,
    of_lines: Sequence[tuple[CompiledRule, ...]],
    choices: Mapping[tuple[CompiledRule, ...], Choice],
    base: Fraction,
) -> list[TraceStep]:
    """One step for each line that product rules match, and one for all the others together."""
    steps = [
        percent_step(line.line, base, choices[rules])
        for line, rules in zip(receipt.lines, of_lines, strict=True)
        if rules and not choices[rules].is_base
    ]
    others = choices.get(())
    return steps if others is None or others.is_base else [*steps, percent_step(None, base, others, others=bool(steps))]
