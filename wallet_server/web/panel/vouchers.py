"""Redeeming a voucher: looked at first, then once, whoever presses the button first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from flask import Response, flash, request, url_for
from flask import session as browser_session
from sqlmodel import Session

from wallet_server.db import new_id, reading
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.i18n import LocalizedText, Translator, localized
from wallet_server.issuance.services import passes_changed
from wallet_server.members.models import Member
from wallet_server.members.queries import member_by_id
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.queries import product_names
from wallet_server.rewards.models import Voucher
from wallet_server.rewards.queries import find_voucher
from wallet_server.rewards.services import redeem_voucher
from wallet_server.rewards.wins import grouped, parse_voucher_code
from wallet_server.staff import audit
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed, done_once
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import language, reader, see_other
from wallet_server.web.wording import refusal_sentence

CODE_LENGTH_MAX: Final = 60


@dataclass(frozen=True)
class FoundVoucher:
    """A voucher as the cashier has to know it: what it is, whose, what it was won by, and whether it is good."""

    voucher: Voucher
    code: str
    product: LocalizedText | str
    member: Member
    won_by: LocalizedText | str
    state: str
    """``open``, ``used`` or ``expired``"""
    explanation: str


@blueprint.get("/programs/<slug>/vouchers")
@allowed("cashier")
def vouchers(desk: Desk) -> Response:
    """The desk for vouchers; with ``?code=`` what that voucher is."""
    return _vouchers_page(desk, request.args.get("code", "").strip()[:CODE_LENGTH_MAX])


@blueprint.post("/programs/<slug>/vouchers")
@allowed("cashier")
def voucher_redeem_by_code(desk: Desk) -> Response:
    code = request.form.get("code", "").strip()[:CODE_LENGTH_MAX]
    try:
        product = _redeem(desk, code)
    except DomainError as error:
        # Used and expired ones explain themselves on the page; the rest is said above it.
        told = error.code in ("voucher_used", "voucher_expired", "unknown_voucher")
        sentence = "" if told else refusal_sentence(error, reader())
        status = 422 if error.code == "unknown_outlet" else error.status
        return _vouchers_page(desk, code, error=sentence, http_status=status)
    # To the empty desk: the voucher itself would greet the cashier as “already redeemed”.
    name = localized(product, language(), desk.program.languages)
    flash(reader().gettext("Redeemed: %(product)s. Hand it out.", product=name), "success")
    return see_other(url_for("panel.vouchers", slug=desk.program.slug))


@blueprint.post("/programs/<slug>/members/<uuid:member_id>/vouchers/<code>/redeem")
@allowed("cashier")
def voucher_redeem(desk: Desk, member_id: UUID, code: str) -> Response:
    """The same from the member's page, where the voucher has to be this member's."""
    t = reader()
    try:
        _redeem(desk, code, member_id=member_id)
        flash(t.gettext("The voucher has been redeemed. Hand out the reward."), "success")
    except DomainError as error:
        if error.status == 404 and error.code != "unknown_outlet":
            raise
        sentence = refusal_sentence(error, t)
        if error.code in ("voucher_used", "voucher_expired"):
            sentence = f"{sentence} {_look_up(desk, code).explanation}"
        flash(sentence, "danger")
    return see_other(url_for("panel.member", slug=desk.program.slug, member_id=member_id))


def _redeem(desk: Desk, code: str, *, member_id: UUID | None = None) -> LocalizedText | str:
    """Redeem it, and say what is to be handed out."""
    now = server().clock.now()
    outlet = request.form.get("outlet", "")

    def work(session: Session) -> tuple[int, Mapping[str, Any]]:
        if member_id is not None:
            member_by_id(session, member_id)
        voucher = redeem_voucher(
            session,
            desk.program,
            code,
            outlet=outlet,
            occurred_at=now,
            receipt_id=None,
            actor=desk.actor,
            now=now,
        )
        if member_id is not None and voucher.member_id != member_id:
            raise NotFoundError("unknown_voucher", "this member has no such voucher")
        passes_changed(session, desk.program, [voucher.member_id], now)
        audit.record(
            session,
            program_id=desk.program.id,
            actor=desk.actor,
            action="voucher.redeemed",
            subject=voucher.code,
            detail={"benefit": voucher.benefit, "outlet": outlet},
            now=now,
        )
        return 200, {"product": _product(session, voucher)}

    done = done_once(desk, f"redeem {code} for {member_id} at {outlet}", work)
    browser_session["outlet"] = outlet
    product: LocalizedText | str = done["product"]
    return product


def _vouchers_page(desk: Desk, code: str, *, error: str = "", http_status: int = 200) -> Response:
    found: FoundVoucher | None = None
    if code:
        try:
            found = _look_up(desk, code)
        except NotFoundError as unknown:
            if unknown.code != "unknown_voucher":
                raise
    outlets = desk.program.outlets
    used = browser_session.get("outlet", "")
    return panel_page(
        desk,
        "panel/vouchers/desk.html",
        http_status=http_status,
        code=code,
        found=found,
        key=new_id().hex,
        is_mistyped=bool(code) and parse_voucher_code(code) is None,
        error=error,
        outlet=used if used in outlets else next(iter(outlets), ""),
    )


def _look_up(desk: Desk, code: str) -> FoundVoucher:
    context = server()
    with reading(context.engine, desk.program.id) as session:
        voucher = find_voucher(session, code)
        member = member_by_id(session, voucher.member_id)
        product = _product(session, voucher)
    expires_at = voucher.expires_at
    if voucher.redeemed_at is not None:
        state, explanation = "used", _used(voucher, desk.program, reader())
    elif expires_at is not None and expires_at <= context.clock.now():
        state = "expired"
        when = reader().datetime(expires_at, desk.program.time_zone, "short")
        explanation = reader().gettext("It expired on %(when)s.", when=when)
    else:
        state, explanation = "open", ""
    return FoundVoucher(
        voucher=voucher,
        code=grouped(voucher.code),
        product=product,
        member=member,
        won_by=_won_by(voucher.origin, desk.program),
        state=state,
        explanation=explanation,
    )


def _product(session: Session, voucher: Voucher) -> LocalizedText | str:
    """The name of what it is good for, or the sku where the catalog has none."""
    sku = str(voucher.benefit.get("sku", ""))
    return product_names(session, [sku]).get(sku, sku)


def _used(voucher: Voucher, program: ProgramDefinition, t: Translator) -> str:
    """When, where and by whom it was redeemed."""
    assert voucher.redeemed_at is not None, "asked only of a redeemed voucher"
    who = (voucher.redeemed_by or "–").removeprefix("staff:")
    if voucher.redeemed_outlet_id is None:
        when = t.datetime(voucher.redeemed_at, program.time_zone, "short")
        return t.gettext("It was redeemed on %(when)s by %(who)s.", when=when, who=who)
    outlet = program.outlet_by_id(voucher.redeemed_outlet_id)
    return t.gettext(
        "It was redeemed on %(when)s at %(outlet)s by %(who)s.",
        when=t.datetime(voucher.redeemed_at, outlet.zone, "short"),
        outlet=localized(outlet.section.name, language(), program.languages),
        who=who,
    )


def _won_by(origin: str, program: ProgramDefinition) -> LocalizedText | str:
    """The challenge that an origin such as ``challenge:dinner:2026-11:1`` names, if the program still has it."""
    kind, _, rest = origin.partition(":")
    challenge = program.challenge(rest.partition(":")[0]) if kind == "challenge" else None
    return challenge.name if challenge else ""
