"""Traces as pages show them: read with the names of what they mention, told for staff or for the member."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlmodel import Session

from wallet_server.i18n import Translator
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import category_names, product_names
from wallet_server.purchases.queries import traces_of_purchases
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
    return tell(steps, Listener(t, program, names_in(session, [steps])))


def traces_by_purchase(session: Session, purchase_ids: Collection[UUID]) -> dict[UUID, Sequence[Step]]:
    """The steps of several purchases' traces; a purchase without one is missing."""
    return {purchase_id: steps_of(trace) for purchase_id, trace in traces_of_purchases(session, purchase_ids).items()}


def told_to_member(
    traces: Mapping[UUID, Sequence[Step]], names: Names, t: Translator, program: ProgramDefinition
) -> dict[UUID, Told]:
    """Each purchase's trace for the member who bought; purchases of which nothing can be told are missing."""
    listener = Listener(t, program, names, is_member=True)
    told = {purchase_id: tell(steps, listener) for purchase_id, steps in traces.items()}
    return {purchase_id: words for purchase_id, words in told.items() if not words.is_empty}
