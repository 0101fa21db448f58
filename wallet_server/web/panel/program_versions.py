"""Versions of the program: what each changed and who published it, two beside each other, each as a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flask import Response, request
from sqlmodel import Session

from wallet_server.db import reading
from wallet_server.i18n import Translator, gettext_noop
from wallet_server.programs import diff
from wallet_server.programs.definition import ProgramDefinition
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.models import ProgramVersion
from wallet_server.programs.queries import category_names, current_file, list_versions, product_names, version_by_number
from wallet_server.programs.rule import Rule
from wallet_server.programs.yaml_file import dump_program
from wallet_server.rules.words import Names, conditions_of, effects_of, mentioned, outlets_of, validity_of
from wallet_server.web.context import server
from wallet_server.web.panel.blueprint import blueprint
from wallet_server.web.panel.desk import Desk, allowed
from wallet_server.web.panel.program_changes_words import ChangeWords, change_reader
from wallet_server.web.panel.rendering import panel_page
from wallet_server.web.rendering import reader

VERSIONS_PER_PAGE: Final = 10
"""Each is read and compared with the one before it when the page is asked for."""
CHANGES_SHOWN: Final = 100


@dataclass(frozen=True)
class Changes:
    """What differs between two versions; ``more`` counts what is not listed.

    None at all: then it was the catalog, which versions do not keep.
    """

    told: tuple[ChangeWords, ...]
    more: int


@dataclass(frozen=True)
class VersionRow:
    """One published version; ``changes`` is None for the first."""

    version: ProgramVersion
    changes: Changes | None


@blueprint.get("/programs/<slug>/program/versions")
@allowed("manager")
def program_versions(desk: Desk) -> Response:
    before = request.args.get("before", type=int)
    t = reader()
    with reading(server().engine, desk.program.id) as session:
        found = list_versions(session, desk.program.id, before=before, limit=VERSIONS_PER_PAGE + 1)
        files = [ProgramFile.model_validate(version.document) for version in found]
        rows = [
            VersionRow(
                version,
                _changes(session, files[place + 1], files[place], t, desk.program) if place + 1 < len(files) else None,
            )
            for place, version in enumerate(found[:VERSIONS_PER_PAGE])
        ]
    return panel_page(
        desk,
        "panel/program/versions.html",
        block="results",
        rows=rows,
        more_before=found[VERSIONS_PER_PAGE - 1].number if len(found) > VERSIONS_PER_PAGE else None,
    )


@blueprint.get("/programs/<slug>/program/versions/compare")
@allowed("manager")
def program_versions_compare(desk: Desk) -> Response:
    newest = desk.program.version
    new = request.args.get("new", newest, type=int)
    old = request.args.get("old", max(1, new - 1), type=int)
    with reading(server().engine, desk.program.id) as session:
        first, second = (version_by_number(session, desk.program.id, number) for number in (old, new))
        files = [ProgramFile.model_validate(version.document) for version in (first, second)]
        changes = _changes(session, files[0], files[1], reader(), desk.program)
    return panel_page(
        desk, "panel/program/versions_compare.html", block="results", old=first, new=second, changes=changes
    )


@blueprint.get("/programs/<slug>/program/versions/file")
@allowed("manager")
def program_versions_file(desk: Desk) -> Response:
    """A version as a file that ``program apply`` takes, with the catalog as it is now.

    Versions keep no catalog, and a file without one would take all products away.
    """
    number = request.args.get("number", desk.program.version, type=int)
    with reading(server().engine, desk.program.id) as session:
        version = version_by_number(session, desk.program.id, number)
        catalog = current_file(session, desk.program.id).catalog
    file = ProgramFile.model_validate(version.document).model_copy(update={"catalog": catalog})
    response = Response(dump_program(file), content_type="application/yaml; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{desk.program.slug}-{number}.yaml"'
    return response


def _changes(
    session: Session, old: ProgramFile, new: ProgramFile, t: Translator, program: ProgramDefinition
) -> Changes:
    rules = _rule_changes(session, old.rules, new.rules, t, program)
    # Rules have sentences of their own, but not for their order.
    others = [one for one in diff.differences(old, new) if one.noun != "rule" or one.kind == "reordered"]
    words = change_reader(old, new, t)
    told = [*rules[:CHANGES_SHOWN], *map(words.told, others[: max(0, CHANGES_SHOWN - len(rules))])]
    return Changes(tuple(told), len(rules) + len(others) - len(told))


def _rule_changes(
    session: Session, old: Sequence[Rule], new: Sequence[Rule], t: Translator, program: ProgramDefinition
) -> list[ChangeWords]:
    before, after = {rule.name: rule for rule in old}, {rule.name: rule for rule in new}
    changed = [name for name in dict.fromkeys((*after, *before)) if before.get(name) != after.get(name)]
    skus, codes = mentioned(rule for name in changed for rule in (before.get(name), after.get(name)) if rule)
    names = Names(product_names(session, skus), category_names(session, codes))
    return [
        ChangeWords(
            t.gettext(_rule_heading(before.get(name), after.get(name)), name=name),
            _words(before.get(name), t, program, names),
            _words(after.get(name), t, program, names),
        )
        for name in changed
    ]


def _rule_heading(before: Rule | None, after: Rule | None) -> str:
    if before is None:
        return gettext_noop("New rule: %(name)s")
    return gettext_noop("Rule removed: %(name)s") if after is None else gettext_noop("Rule changed: %(name)s")


def _words(rule: Rule | None, t: Translator, program: ProgramDefinition, names: Names) -> str:
    if rule is None:
        return ""
    parts = [*effects_of(rule.earn, rule.redeem, rule.family, t), *conditions_of(rule, t, program, names)]
    parts += [outlets_of(rule, t, program), validity_of(rule, t)]
    if rule.priority:
        parts.append(t.gettext("priority %(number)s", number=t.number(rule.priority)))
    return " · ".join(part for part in parts if part)
