"""Traces as pages show them: read with the names of what they mention, told for staff or for the member."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlmodel import Session

from wallet_server.i18n import Translator
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import category_names, product_names
from wallet_server.purchases.queries import lines_of_purchases, traces_of_purchases
from wallet_server.rules.sentences import Listener
from wallet_server.rules.telling import Step, Told, codes_in, steps_of, tell
from wallet_server.rules.words import Names


def names_in(session: Session, traces: Sequence[Sequence[Step]]) -> Names:
    """The catalog's names of what these traces mention."""
    skus, categories = codes_in(traces)
    return Names(
        products=product_names(session, skus) if skus else {},
        categories=category_names(session, categories) if categories else {},
    )


def told_to_staff(session: Session, steps: Sequence[Step], t: Translator, program: ProgramDefinition) -> Told:
    """One trace for who works here."""
    [told] = all_told_to_staff(session, [steps], t, program)
    return told


def all_told_to_staff(
    session: Session, traces: Sequence[Sequence[Step]], t: Translator, program: ProgramDefinition
) -> list[Told]:
    """Traces for who works here, in their order."""
    listener = Listener(t, program, names_in(session, traces))
    return [tell(steps, listener) for steps in traces]


def line_title(sku: str | None, quantity_thousandths: int, names: Names, t: Translator) -> str:
    """A line of a receipt as its reasons are headed: “Cappuccino × 2”."""
    name = t.gettext("Amount") if sku is None else names.product(sku, t)
    return name if quantity_thousandths == 1000 else f"{name} × {t.number(Decimal(quantity_thousandths) / 1000)}"


@dataclass(frozen=True)
class Reasons:
    """Why purchases earned what they did, for the member: the words and the titles of the lines, by purchase."""

    told: Mapping[UUID, Told]
    titles: Mapping[UUID, Mapping[int, str]]


NO_REASONS: Final = Reasons({}, {})


def reasons_for_member(
    session: Session, purchase_ids: Collection[UUID], t: Translator, program: ProgramDefinition
) -> Reasons:
    """The reasons of these purchases of one member; purchases of which nothing can be told are missing."""
    if not purchase_ids:
        return NO_REASONS
    traces = {key: steps_of(trace) for key, trace in traces_of_purchases(session, purchase_ids).items()}
    lines = lines_of_purchases(session, traces)
    skus, categories = codes_in(traces.values())
    skus |= {line.sku for of_purchase in lines.values() for line in of_purchase if line.sku}
    names = Names(product_names(session, skus), category_names(session, categories))
    listener = Listener(t, program, names, is_member=True)
    told = {key: tell(steps, listener) for key, steps in traces.items()}
    return Reasons(
        told={key: words for key, words in told.items() if not words.is_empty},
        titles={
            key: {line.line: line_title(line.sku, line.quantity_thousandths, names, t) for line in of_purchase}
            for key, of_purchase in lines.items()
        },
    )
