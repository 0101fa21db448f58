"""A purchase recorded by hand: a quote while typing, recorded once however often the button is pressed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from flask import Response, flash, request, url_for
from flask import session as browser_session
from sqlmodel import Session

from wallet_server.db import new_id, reading
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.i18n import localized
from wallet_server.idempotency.services import answer_once, request_hash
from wallet_server.ledger.expiry import current_balance
from wallet_server.members.models import Card, Member
from wallet_server.members.queries import cards_of_members, member_by_id
from wallet_server.programs.models import Product
from wallet_server.programs.queries import category_names, product_names, products
from wallet_server.purchases.queries import (
    lines_of_purchase,
    lines_of_refunds,
    purchase_by_id,
    refunds_of_purchase,
    trace_of_purchase,
)
from wallet_server.purchases.services import Quoted, quote_purchase, record_purchase
from wallet_server.rewards.wins import grouped
from wallet_server.rules.telling import Told, steps_of
from wallet_server.rules.words import Names, exact_number
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed, form_key
from wallet_server.web.panel.purchase_form import PurchaseForm, read_form
from wallet_server.web.panel.refund_words import refund_effects
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other
from wallet_server.web.traces import all_told_to_staff, line_title, told_to_staff
from wallet_server.web.wording import refusal_of_code, refusal_sentence

PRODUCTS_OFFERED_MAX: Final = 200
BLOCKS: Final = {"quote": "quote", "add": "lines"}
"""What htmx replaces, by the button that was pressed."""


@blueprint.get("/programs/<slug>/members/<uuid:member_id>/purchase")
@allowed("cashier")
def purchase_form(desk: Desk, member_id: UUID) -> Response:
    outlets = list(desk.program.outlets)
    used = browser_session.get("outlet", "")
    form = PurchaseForm(key=new_id().hex, outlet=used if used in outlets else (outlets[0] if outlets else ""))
    return _form_page(desk, member_id, form)


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/purchase")
@allowed("cashier")
def purchase_submit(desk: Desk, member_id: UUID) -> Response:
    form = read_form(request.form, request.form.getlist("sku"), request.form.getlist("quantity"), key=form_key())
    action = request.form.get("action", "record")
    if action != "record":
        return _form_page(desk, member_id, form, block=BLOCKS.get(action), quoting=action == "quote")
    browser_session["outlet"] = form.outlet
    return _record(desk, member_id, form)


def _record(desk: Desk, member_id: UUID, form: PurchaseForm) -> Response:
    context = server()
    now = context.clock.now()

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        card = _card(session, member_id)
        offered = _known_products(session, form)
        command = form.command(card.number, offered, desk.program.currency, now)
        made = record_purchase(session, desk.program, command, now=now, source="panel", recorded_by=desk.actor)
        return 201, {
            "v": 1,
            "purchase_id": made.purchase_id,
            "points_earned": made.quote.points_earned,
            "points_redeemed": made.quote.points_redeemed,
            "vouchers": [won.voucher_code for won in made.rewards if won.voucher_code],
        }

    # Without the CSRF proof, which is another one every second and no part of what is asked for.
    typed = [item for item in request.form.items(multi=True) if item[0] != "csrf_token"]
    asked = request_hash(str(member_id), json.dumps(typed, sort_keys=True))
    try:
        answer = answer_once(context.engine, desk.program.id, desk.client, form.key, asked, work, now)
    except DomainError as error:
        if error.status == 404 and error.code not in ("unknown_outlet", "unknown_card"):
            raise
        return _form_page(desk, member_id, form, error=refusal_sentence(error, reader()), http_status=error.status)
    body = json.loads(answer.body_text)
    if answer.status != 201:
        # Under the old key the refusal would be repeated for ever, so the corrected form gets a new one.
        message = refusal_of_code(body["code"], reader()) or body["detail"]
        fresh = read_form(request.form, request.form.getlist("sku"), request.form.getlist("quantity"), key=new_id().hex)
        return _form_page(desk, member_id, fresh, error=message, http_status=answer.status)
    _tell(body)
    return see_other(url_for("panel.member", slug=desk.program.slug, member_id=member_id))


def _tell(body: Mapping[str, Any]) -> None:
    t = reader()
    flash(t.gettext("Recorded: %(points)s.", points=t.points(body["points_earned"])), "success")
    if body["points_redeemed"]:
        flash(t.gettext("Paid with points: %(points)s.", points=t.points(body["points_redeemed"])), "info")
    for code in body["vouchers"]:
        flash(t.gettext("The member has won a reward: voucher %(code)s.", code=grouped(code)), "info")


@blueprint.get("/programs/<slug>/purchases/<uuid:purchase_id>")
@allowed("cashier")
def purchase(desk: Desk, purchase_id: UUID) -> Response:
    """A recorded purchase with the reasons of its points."""
    with reading(server().engine, desk.program.id) as session:
        found = purchase_by_id(session, purchase_id)
        lines = lines_of_purchase(session, purchase_id)
        trace = trace_of_purchase(session, purchase_id)
        refunds = refunds_of_purchase(session, purchase_id)
        refund_lines = lines_of_refunds(session, [refund.id for refund in refunds])
        person = member_by_id(session, found.member_id)
        traces = [trace.trace if trace else None, *(refund.trace for refund in refunds)]
        told, *refunds_told = all_told_to_staff(session, [steps_of(one) for one in traces], reader(), desk.program)
        names = Names(
            product_names(session, {line.sku for line in lines if line.sku}),
            category_names(session, {line.category for line in lines if line.category}),
        )
    return panel_page(
        desk,
        "panel/purchase.html",
        purchase=found,
        lines=lines,
        refunds=refunds,
        refund_lines=refund_lines,
        refund_words=[
            (refund_effects(refund.trace, reader(), desk.program), words)
            for refund, words in zip(refunds, refunds_told, strict=True)
        ],
        told=told,
        names=names,
        percents={line.line: exact_number(line.earn_percent, reader()) for line in lines},
        line_names={line.line: line_title(line.sku, 1000, names, reader()) for line in lines},
        line_titles={line.line: line_title(line.sku, line.quantity_thousandths, names, reader()) for line in lines},
        member=person,
        outlet=desk.program.outlet_by_id(found.outlet_id),
    )


def _form_page(
    desk: Desk,
    member_id: UUID,
    form: PurchaseForm,
    *,
    block: str | None = None,
    quoting: bool = False,
    error: str = "",
    http_status: int = 200,
) -> Response:
    context = server()
    quoted: Quoted | None = None
    told: Told | None = None
    titles: dict[int, str] = {}
    with reading(context.engine, desk.program.id) as session:
        person: Member = member_by_id(session, member_id)
        card, known = _card(session, member_id), _known_products(session, form)
        offered = products(session, limit=PRODUCTS_OFFERED_MAX + 1)
        if quoting:
            now = context.clock.now()
            try:
                command = form.command(card.number, known, desk.program.currency, now)
                quoted = quote_purchase(session, desk.program, command, now)
                told = told_to_staff(session, quoted.quote.trace, reader(), desk.program)
                names = Names({sku: product.name for sku, product in known.items()})
                titles = {
                    number: line_title(line.sku, line.quantity_thousandths, names, reader())
                    for number, line in enumerate(command.lines, start=1)
                }
            except DomainError as refused:
                error = refusal_sentence(refused, reader())
        spendable = current_balance(session, desk.program, member_id, context.clock.now()).spendable
    return panel_page(
        desk,
        "panel/purchase_form.html",
        block=block,
        http_status=http_status,
        member=person,
        form=form,
        quoted=quoted,
        told=told,
        line_titles=titles,
        error=error,
        spendable=spendable,
        # A catalog of thousands is not a list to choose from: then the sku is typed or scanned.
        products=None if len(offered) > PRODUCTS_OFFERED_MAX else [_choice(item, desk) for item in offered],
    )


def _choice(product: Product, desk: Desk) -> tuple[str, str]:
    """A product as it stands in the list: sku, and name with price."""
    t = reader()
    name = localized(product.name, t.language, desk.program.languages) or product.sku
    return product.sku, f"{name} · {t.money(product.price_minor or 0, desk.program.currency)}"


def _card(session: Session, member_id: UUID) -> Card:
    card = cards_of_members(session, [member_id]).get(member_id)
    if card is None:
        raise NotFoundError("unknown_member", "there is no such member in this program")
    return card


def _known_products(session: Session, form: PurchaseForm) -> dict[str, Product]:
    typed = {line.sku for line in form.lines}
    return {product.sku: product for product in products(session, skus=typed)} if typed else {}
