"""A refund by hand: choose lines of a purchase, see what it would do, then do it once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from flask import Response, flash, request, url_for

from wallet_server.db import new_id, reading, transaction
from wallet_server.errors import DomainError
from wallet_server.i18n import Translator, gettext_noop
from wallet_server.ledger.queries import shown
from wallet_server.members.queries import member_by_id
from wallet_server.programs.queries import product_names
from wallet_server.purchases.commands import RefundPurchase
from wallet_server.purchases.models import PurchaseLine
from wallet_server.purchases.queries import lines_of_purchase, purchase_by_id
from wallet_server.purchases.refunds import Refunded, refund_purchase
from wallet_server.purchases.sale import units
from wallet_server.rules.words import Names
from wallet_server.web.context import server
from wallet_server.web.forms import parse_thousandths
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other
from wallet_server.web.traces import line_title

REFUND_ID: Final = re.compile(r"P-[0-9A-F]{8}")
REFUSALS: Final = {
    "nothing": gettext_noop("Choose what comes back."),
    "quantity": gettext_noop("A quantity is a number with at most three decimals."),
    "refund_exceeds_purchase": gettext_noop("Less than that is left of this purchase."),
    "unknown_line": gettext_noop("This purchase has no such line."),
}


class _LookedAtError(Exception):
    """Ends the transaction of a preview, so that nothing of it stays."""


@dataclass(frozen=True)
class RefundForm:
    """What comes back, as typed: a quantity by number of the line. ``refund_id`` makes it count once."""

    refund_id: str
    quantities: Mapping[int, str] = field(default_factory=dict)

    def command(self, purchase_id: UUID) -> RefundPurchase:
        """The refund that it means. Raises ``DomainError(validation)`` with the ``field``."""
        lines = tuple(
            (number, thousandths)
            for number, text in sorted(self.quantities.items())
            if text and (thousandths := parse_thousandths(text, "quantity"))
        )
        if not lines:
            raise DomainError("validation", "nothing was chosen", field="nothing")
        return RefundPurchase(purchase_id, self.refund_id, lines)


@blueprint.get("/programs/<slug>/purchases/<uuid:purchase_id>/refund")
@allowed("manager")
def purchase_refund(desk: Desk, purchase_id: UUID) -> Response:
    return _form_page(desk, purchase_id, RefundForm(_new_refund_id()))


@blueprint.post("/programs/<slug>/purchases/<uuid:purchase_id>/refund")
@allowed("manager")
def purchase_refund_submit(desk: Desk, purchase_id: UUID) -> Response:
    context, t = server(), reader()
    with reading(context.engine, desk.program.id) as session:
        purchase_by_id(session, purchase_id)
        lines = lines_of_purchase(session, purchase_id)
    form = _read_form(lines)
    if request.form.get("action") == "all":
        form = replace(form, quantities={line.line: units(_left(line)) for line in lines if _left(line)})
        return _form_page(desk, purchase_id, form)
    if request.form.get("action") == "preview":
        return _form_page(desk, purchase_id, form, block="effects")
    try:
        with transaction(context.engine, desk.program.id) as session:
            done = refund_purchase(
                session, desk.program, form.command(purchase_id), now=context.clock.now(), recorded_by=desk.actor
            )
    except DomainError as error:
        if error.code != "duplicate_refund":  # then it is this very form, sent twice
            return _form_page(desk, purchase_id, form, error=_sentence(error, t), http_status=error.status)
    else:
        flash(
            t.gettext("Refunded. Give back %(money)s.", money=t.money(done.money_minor, desk.program.currency)),
            "success",
        )
    return see_other(url_for("panel.purchase", slug=desk.program.slug, purchase_id=purchase_id))


def _form_page(
    desk: Desk,
    purchase_id: UUID,
    form: RefundForm,
    *,
    block: str | None = None,
    error: str = "",
    http_status: int = 200,
) -> Response:
    t = reader()
    with reading(server().engine, desk.program.id) as session:
        found = purchase_by_id(session, purchase_id)
        lines = lines_of_purchase(session, purchase_id)
        person = member_by_id(session, found.member_id)
        names = Names(product_names(session, {line.sku for line in lines if line.sku}))
    effects, draft_error = None, ""
    if any(form.quantities.values()):
        try:
            effects = _preview(desk, form.command(purchase_id))
        except DomainError as refused:
            draft_error = _sentence(refused, t)
    return panel_page(
        desk,
        "panel/refund.html",
        block=block,
        http_status=http_status,
        purchase=found,
        lines=lines,
        left={line.line: _left(line) for line in lines},
        line_names={line.line: line_title(line.sku, 1000, names, t) for line in lines},
        member=person,
        form=form,
        effects=effects,
        points_after=shown(effects.balance, desk.program.points) if effects else 0,
        draft_error=draft_error,
        error=error,
    )


def _preview(desk: Desk, command: RefundPurchase) -> Refunded:
    """What the refund would do: it is done and undone, so that the preview can never say something else."""
    context = server()
    done: list[Refunded] = []
    try:
        with transaction(context.engine, desk.program.id) as session:
            done.append(
                refund_purchase(session, desk.program, command, now=context.clock.now(), recorded_by=desk.actor)
            )
            raise _LookedAtError
    except _LookedAtError:
        return done[0]


def _new_refund_id() -> str:
    return f"P-{new_id().hex[-8:].upper()}"


def _read_form(lines: Sequence[PurchaseLine]) -> RefundForm:
    refund_id = request.form.get("refund_id", "")
    return RefundForm(
        refund_id if REFUND_ID.fullmatch(refund_id) else _new_refund_id(),
        {line.line: request.form.get(f"line_{line.line}", "").strip()[:20] for line in lines},
    )


def _left(line: PurchaseLine) -> int:
    return line.quantity_thousandths - line.returned_thousandths


def _sentence(error: DomainError, t: Translator) -> str:
    code = str(error.extra.get("field", "")) if error.code == "validation" else error.code
    return t.gettext(REFUSALS[code]) if code in REFUSALS else error.detail
