"""One rule: its form, with an example receipt beside it that follows the typing; saving publishes a new version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from flask import Response, abort, flash, request, url_for
from pydantic import ValidationError
from sqlmodel import Session

from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.i18n import gettext_noop, localized
from wallet_server.programs.editing import with_rule
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.models import Product
from wallet_server.programs.queries import categories, category_names, load_program, product_names, products
from wallet_server.programs.rule import FAMILIES, Rule
from wallet_server.programs.services import change_program
from wallet_server.rules.telling import Told
from wallet_server.rules.words import Names, conditions_of, effects_of, mentioned, outlets_of, validity_of
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.program_rule_draft import FIELDS, Drafted, drafted
from wallet_server.web.panel.program_rule_example import Compared, Example, compare, example_for, read_example
from wallet_server.web.panel.program_rule_form import EARN, REDEEM, RuleForm, form_of, read_rule_form
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader, see_other, wants_fragment
from wallet_server.web.traces import line_title, told_to_staff

OFFERED_MAX: Final = 200
"""A catalog of thousands is no list to tick: then skus and categories are typed."""
BLOCKS: Final = {"try": "example", "fit": "side", "more": "side"}
"""What htmx replaces, by the button that was pressed."""
EXAMPLE_SENTENCES: Final = {
    "ex_outlet": gettext_noop("Choose the outlet."),
    "ex_day": gettext_noop("Enter the day and the time of the example."),
    "ex_sku": gettext_noop("Choose a product that has a price."),
    "ex_amount": gettext_noop("Enter an amount or choose a product."),
    "ex_quantity": gettext_noop("A quantity is more than 0 and has at most three decimals."),
    "ex_points": gettext_noop("Points of the example are a whole number up to 10,000,000."),
    "ex_purchases": gettext_noop("Purchases of the example are a whole number up to 10,000,000."),
    "ex_tenure": gettext_noop("Days are whole numbers up to 36,500."),
    "ex_birthday": gettext_noop("Days are whole numbers up to 36,500."),
}


@dataclass(frozen=True)
class Offered:
    """What the page offers to tick: (code, name) of products and categories; empty where there are too many."""

    products: Sequence[Product]
    skus: tuple[tuple[str, str], ...]
    categories: tuple[tuple[str, str], ...]

    @property
    def codes(self) -> dict[str, list[str]]:
        """Only the codes, by the name of the condition."""
        return {"skus": [sku for sku, _ in self.skus], "categories": [code for code, _ in self.categories]}


@dataclass(frozen=True)
class Shown:
    """What the page says of the example: the figures, or what is wrong with it."""

    compared: Compared | None = None
    told: Told | None = None
    titles: Mapping[int, str] | None = None
    error: str = ""


@blueprint.get("/programs/<slug>/program/rules/new")
@allowed("manager")
def program_rules_new(desk: Desk) -> Response:
    offered = _offered(desk)
    copied = desk.program.rule(request.args.get("copy", ""))
    family = request.args.get("family", "")
    if copied is not None:
        form = form_of(copied, desk.program, offered.codes)
        name = reader().gettext("%(name)s (copy)", name=copied.name)[:120]
        form = replace(form, texts={**form.texts, "name": name})
    else:
        form = RuleForm({"family": family if family in FAMILIES else "product", "earn": "multiply"})
    example = example_for(copied, desk.program, offered.products, server().clock.now())
    return _form_page(desk, form, example, offered, was=None)


@blueprint.post("/programs/<slug>/program/rules/new")
@allowed("manager")
def program_rules_create(desk: Desk) -> Response:
    return _answer(desk, was=None)


@blueprint.get("/programs/<slug>/program/rules/rule")
@allowed("manager")
def program_rules_rule(desk: Desk) -> Response:
    was = _rule(desk, request.args.get("name", ""))
    offered = _offered(desk)
    example = example_for(was, desk.program, offered.products, server().clock.now())
    return _form_page(desk, form_of(was, desk.program, offered.codes), example, offered, was=was)


@blueprint.post("/programs/<slug>/program/rules/rule")
@allowed("manager")
def program_rules_save(desk: Desk) -> Response:
    name = request.args.get("name", "")
    was = desk.program.rule(name)
    if was is None and request.form.get("version", 0, type=int) == desk.program.version:
        abort(404)
    # A rule that somebody has deleted meanwhile: what was typed is kept, and saved as a new rule if that is wanted.
    return _answer(desk, was=was, gone=name if was is None else "")


def _rule(desk: Desk, name: str) -> Rule:
    found = desk.program.rule(name)
    if found is None:
        raise NotFoundError("unknown_rule", "there is no rule of that name in this program")
    return found


def _answer(desk: Desk, *, was: Rule | None, gone: str = "") -> Response:
    """Try, fit or save, by the button that was pressed."""
    form, example = read_rule_form(request.form), read_example(request.form)
    action = request.form.get("action", "save")
    offered = _offered(desk)
    version = request.form.get("version", 0, type=int)
    draft = drafted(form, desk.program, was=was)
    if action == "fit":
        now = server().clock.now()
        example = example_for(_named(form, desk, was).rule or was, desk.program, offered.products, now)
    if action in BLOCKS:
        return _form_page(desk, form, example, offered, was=was, version=version, block=BLOCKS[action])
    if version != desk.program.version:
        return _overtaken(desk, form, example, was_name=was.name if was else gone)
    if draft.rule is None:
        return _form_page(
            desk, form, example, offered, was=was, version=version, problems=draft.said(typing=False), http_status=422
        )
    try:
        _publish(desk, draft.rule, version, replacing=was.name if was else None)
    except DomainError as error:
        if error.code != "program_changed":
            raise
        return _overtaken(desk, form, example, was_name=was.name if was else gone)
    except ValidationError as error:
        told = str(error.errors(include_url=False, include_input=False)[0]["msg"])
        return _form_page(
            desk, form, example, offered, was=was, version=version, problems={"form": told}, http_status=422
        )
    return _saved(desk, draft.rule)


def _saved(desk: Desk, rule: Rule) -> Response:
    flash(reader().gettext("The rule “%(name)s” is in force now.", name=rule.name), "success")
    return see_other(url_for("panel.program_rules", slug=desk.program.slug))


def _publish(desk: Desk, rule: Rule, version: int, *, replacing: str | None) -> None:
    context = server()

    def change(file: ProgramFile) -> ProgramFile:
        return with_rule(file, rule, replacing=replacing)

    with transaction(context.engine, ALL_PROGRAMS) as session:
        change_program(session, desk.program.id, change, version=version, now=context.clock.now(), actor=desk.actor)


def _overtaken(desk: Desk, form: RuleForm, example: Example, *, was_name: str) -> Response:
    """Somebody else was faster: what was typed stays, beside the program as it is now; saving again is decided anew."""
    t = reader()
    with reading(server().engine, ALL_PROGRAMS) as session:
        now = replace(desk, program=load_program(session, program_id=desk.program.id))
    was = now.program.rule(was_name)
    same = now.program.rule(form["name"])
    if same is not None and drafted(form, now.program, was=same).rule == same:
        return _saved(desk, same)  # by this very form, sent twice
    message = t.gettext("Somebody has published version %(version)s meanwhile.", version=t.number(now.program.version))
    if was_name and was is None:
        message += " " + t.gettext("This rule is no longer in it: saving adds it again.")
    else:
        message += " " + t.gettext("Nothing you typed is lost: look at the example again, then save.")
    return _form_page(now, form, example, _offered(now), was=was, notice=message, http_status=409)


def _form_page(
    desk: Desk,
    form: RuleForm,
    example: Example,
    offered: Offered,
    *,
    was: Rule | None,
    version: int | None = None,
    problems: Mapping[str, str] | None = None,
    notice: str = "",
    block: str | None = None,
    http_status: int = 200,
) -> Response:
    t = reader()
    draft = _named(form, desk, was)
    said = draft.said(typing=True) if problems is None else problems
    with reading(server().engine, desk.program.id) as session:
        shown = _shown(session, desk, draft, example, was)
        names = _names(session, draft.rule)
    return panel_page(
        desk,
        "panel/program/rule.html",
        block=block,
        http_status=http_status,
        was=was,
        form_url=_address(desk, was),
        form=form,
        example=example,
        version=desk.program.version if version is None else version,
        offered=offered,
        draft=draft,
        words=_words(desk, draft.rule, names),
        shown=shown,
        notice=notice,
        fields=("form", *FIELDS),
        problems={name: t.gettext(sentence) for name, sentence in said.items()},
        earn_effects=EARN,
        redeem_effects=REDEEM,
        # Alone, the fragment brings the errors of the fields along; a page has them in their places.
        wants_errors=block is not None and wants_fragment(),
        weekdays=t.locale.days["stand-alone"]["abbreviated"],
    )


def _address(desk: Desk, was: Rule | None) -> str:
    if was is None:
        return url_for("panel.program_rules_create", slug=desk.program.slug)
    return url_for("panel.program_rules_save", slug=desk.program.slug, name=was.name)


def _named(form: RuleForm, desk: Desk, was: Rule | None) -> Drafted:
    """The draft for the example: a rule that has no name yet goes by "This rule"."""
    if not form["name"]:
        form = replace(form, texts={**form.texts, "name": reader().gettext("This rule")})
    return drafted(form, desk.program, was=was)


def _shown(session: Session, desk: Desk, draft: Drafted, example: Example, was: Rule | None) -> Shown:
    """The example quoted without the draft and with it; nothing is written."""
    t = reader()
    known = {item.sku: item for item in products(session, skus={sku for sku, _ in example.lines})}
    try:
        compared = compare(desk.program, draft.rule, example, known, replacing=was.name if was else None)
    except DomainError as error:
        sentence = EXAMPLE_SENTENCES.get(
            "ex_outlet" if error.code == "unknown_outlet" else error.extra.get("field", "")
        )
        return Shown(error=t.gettext(sentence) if sentence else error.detail)
    made = compared.after or compared.before
    names = Names({sku: product.name for sku, product in known.items()})
    return Shown(
        compared,
        told_to_staff(session, made.trace, t, desk.program),
        {line.line: line_title(line.sku, line.quantity_thousandths, names, t) for line in compared.receipt.lines},
    )


def _names(session: Session, rule: Rule | None) -> Names:
    skus, codes = mentioned([rule] if rule else [])
    return Names(product_names(session, skus), category_names(session, codes))


def _words(desk: Desk, rule: Rule | None, names: Names) -> list[str]:
    """The draft in words: what it does, when, where."""
    if rule is None:
        return []
    t = reader()
    parts = [*effects_of(rule.earn, rule.redeem, rule.family, t), *conditions_of(rule, t, desk.program, names)]
    parts += [outlets_of(rule, t, desk.program), validity_of(rule, t)]
    return [part for part in parts if part]


def _offered(desk: Desk) -> Offered:
    t = reader()
    with reading(server().engine, desk.program.id) as session:
        sold = products(session, limit=OFFERED_MAX + 1)
        groups = categories(session, limit=OFFERED_MAX + 1)
    skus = tuple((item.sku, localized(item.name, t.language, desk.program.languages) or item.sku) for item in sold)
    codes = tuple((item.code, localized(item.name, t.language, desk.program.languages) or item.code) for item in groups)
    return Offered(
        products=sold,
        skus=skus if len(skus) <= OFFERED_MAX else (),
        categories=codes if len(codes) <= OFFERED_MAX else (),
    )
