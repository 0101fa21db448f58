"""Program files: every problem has its line, nothing is misread, what is written reads the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from importlib import resources
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories import CAFE, program_file
from wallet_server.errors import DomainError
from wallet_server.programs import yaml_file
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.yaml_file import dump_program, parse_program, parse_yaml, program_schema

HEAD = """\
program:
  slug: cafe
  name: Cafe
  currency: MKD
  time_zone: Europe/Skopje
  languages: [mk]
"""
CHALLENGE = "challenges:\n - {code: c, name: C, metric: visits, target: 1, reward: {points: 1},"
EXAMPLES = ("cafe-ohrid.yaml", "grocery.yaml")


def example(name: str) -> str:
    return resources.files("wallet_server.programs").joinpath(f"data/{name}").read_text(encoding="utf-8")


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(DomainError) as refused:
        parse_program(text)
    assert refused.value.code == "program_file"
    lines = refused.value.detail.splitlines()
    listed = refused.value.extra["problems"]
    assert [problem["line"] for problem in listed] == [int(line.split(":")[0].removeprefix("line ")) for line in lines]
    return lines


def test_the_smallest_file_has_every_default() -> None:
    file = parse_program(HEAD)
    assert file.program.name == {"en": "Cafe"}
    assert (file.program.points.base_percent, file.program.points.point_value_minor) == (Decimal(1), 100)
    assert (file.outlets, file.challenges, file.look.stamps) == ([], [], None)


@pytest.mark.parametrize(
    ("added", "problem"),
    [
        ("colour: red\n", "line 7: colour: is not a key that this version knows"),
        ("outlets:\n  - name: X\n", "line 8: outlets[0].code: is missing"),
        ("outlets:\n  - {code: A B, name: X}\n", "line 8: outlets[0].code: must be 1 to 63 letters, digits, dots"),
        ("outlets:\n  - {code: 7, name: X}\n", "line 8: outlets[0].code: must be a text; put it in quotes"),
        ("outlets:\n  - {code: A, name: {de: X}}\n", "line 8: outlets[0].name: unknown language 'de'"),
        ("outlets:\n  - {code: A, name: X, latitude: 1}\n", "line 8: outlets[0]: latitude and longitude go together"),
        (
            "outlets:\n  - {code: A, name: X}\n  - {code: B, name: X}\n  -\n    name: X\n    code: A\n",
            "line 12: outlets[2].code: 'A' is there twice",
        ),
        (
            "catalog:\n  categories:\n    - {code: a, parent: b}\n    - code: b\n      parent: a\n",
            "line 9: catalog.categories[0].parent: 'a' is its own ancestor",
        ),
        (
            "catalog:\n  products:\n    - sku: x\n      category: nowhere\n",
            "line 10: catalog.products[0].category: 'nowhere' is not defined in this file",
        ),
        ("tiers:\n  levels:\n    - {code: a, name: A}\n    - {code: b, name: B}\n", "line 7: tiers: levels: 'b' needs"),
        (
            "challenges:\n  - {code: c, name: C, metric: visits, target: 0, reward: {points: 5}}\n",
            "line 8: challenges[0].target: should be greater than or equal to 1",
        ),
        (
            CHALLENGE + "\n   filter: {outlets: [Z]}}",
            "line 9: challenges[0].filter.outlets[0]: 'Z' is not defined in this file",
        ),
        (
            "challenges:\n  - {code: c, name: C, metric: visits, target: 3, reward: {}}\n",
            "line 8: challenges[0].reward: a reward is one of voucher, points, tier",
        ),
        (
            "segments:\n  - code: s\n    name: S\n    when: {tiers: [gold]}\n",
            "line 10: segments[0].when.tiers[0]: 'gold' is not defined in this file",
        ),
        ("pass:\n  background: red\n", "line 8: pass.background: must be a colour such as #1f3a5f"),
        ("pass:\n  stamps: c\n", "line 8: pass.stamps: 'c' is not defined in this file"),
        ("outlets: none\n", "line 7: outlets: must be a list"),
        ("pass: 5\n", "line 7: pass: must be a mapping"),
    ],
)
def test_a_problem_names_its_line_and_its_path(added: str, problem: str) -> None:
    [line] = problems(HEAD + added)
    assert line.startswith(problem)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("currency: XXQ", "line 4: program.currency: 'XXQ' is not an ISO 4217 currency code"),
        ("time_zone: Europe/Ohrid", "line 5: program.time_zone: 'Europe/Ohrid' is not an IANA time zone"),
        ("languages: []", "line 6: program.languages: list should have at least 1 item"),
        ("slug: Cafe", "line 2: program.slug: must be 1 to 63 lower-case letters"),
    ],
)
def test_a_wrong_program_section_names_its_line(wrong: str, problem: str) -> None:
    key = wrong.split(":", maxsplit=1)[0]
    lines = [f"  {wrong}" if line.strip().startswith(f"{key}:") else line for line in HEAD.splitlines()]
    assert problems("\n".join(lines))[0].startswith(problem)


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = HEAD.replace("MKD", "XXQ") + "outlets:\n  - {code: A, name: X, color: red}\nzzz: 1\n"
    assert [line.split(":")[0] for line in problems(text)] == ["line 4", "line 8", "line 9"]
    many = HEAD + "outlets:\n" + "  - {code: A}\n" * 80
    with pytest.raises(DomainError) as refused:
        parse_program(many)
    assert len(refused.value.extra["problems"]) == 50
    assert refused.value.detail.endswith("and 30 more")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: a program file begins with `program:`"),
        ("- 1", "line 1: a program file begins with `program:`"),
        ("a: 1\nb: [", "line 2: while parsing a flow"),
        ("a: 1\n\tb: 2", "line 2:"),
        ("a: &x [1]\nb: *x", "line 1: anchors and aliases"),
        ("a: 1\nb: *x", "line 2: anchors and aliases"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is there already, on line 1"),
        ("x:\n  a: 1\n  a: 1", "line 3: x: the key 'a' is there already, on line 2"),
        ("a: !!python/name:os.system x", "line 1: the tag tag:yaml.org,2002:python/name:os.system is not read"),
        ("a: !!int x", "line 1: the tag tag:yaml.org,2002:int is not read"),
        ("? [a]\n: 1", "line 1: a key must be a text"),
        ("---\na: 1\n---\nb: 2", "line 3: a second document begins here"),
        ("a:\n  " + "[" * 40, "line 2: a[0]"),
        ("a: 1\nb: \x01", "line 2: "),
        (b"a: 1\nb: \xff", "line 2: the file is not UTF-8"),
        ("a" * (yaml_file.SIZE_MAX + 1), "line 1: the file is longer than"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str | bytes, problem: str) -> None:
    [line] = problems(text)
    assert line.startswith(problem)


def test_both_parsers_of_the_library_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = parse_yaml(example("cafe-ohrid.yaml"))
    monkeypatch.setattr(yaml_file, "_LOADER", yaml.SafeLoader)
    slow = parse_yaml(example("cafe-ohrid.yaml"))
    assert (fast.content, fast.lines) == (slow.content, slow.lines)
    assert problems("a: 1\nb: \x01")[0].startswith("line 2: ")
    assert problems("a: 1\nb: [")[0].startswith("line 2: ")


def test_numbers_are_exact_and_words_stay_words() -> None:
    text = "[0.1, 1, -7, 007, 1_000, 1e3, 0x10, 16:00, NO, yes, on, 2026-01-01, true, null, ~, '5', .5]"
    assert parse_yaml(text).content == [
        Decimal("0.1"), 1, -7, "007", "1_000", "1e3", "0x10", "16:00", "NO", "yes", "on", "2026-01-01", True, None,
        None, "5", ".5",
    ]  # fmt: skip
    file = parse_program(HEAD.replace("  languages", "  points: {base_percent: 0.1}\n  languages"))
    assert file.program.points.base_percent == Decimal("0.1")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_read_and_written_back_the_same(name: str) -> None:
    file = parse_program(example(name))
    assert parse_program(dump_program(file)) == file
    assert ProgramFile.model_validate(file.model_dump(mode="json", by_alias=True)) == file


def test_the_cafe_speaks_all_its_languages() -> None:
    file = parse_program(example("cafe-ohrid.yaml"))
    texts: list[dict[str, str]] = [file.program.name, *(outlet.name for outlet in file.outlets)]
    texts += [item.name or {} for item in (*file.catalog.categories, *file.catalog.products)]
    texts += [item.name for item in (*file.tiers.levels, *file.challenges)]
    texts.append(file.look.description or {})
    assert all(set(text) == {"mk", "en", "ru"} for text in texts)
    # A Macedonian text with a letter that only Russian has, or the other way round, was mixed up.
    assert not [text for text in texts if set(text["mk"].lower()) & set("ёйщъыьэюя")]
    assert not [text for text in texts if set(text["ru"].lower()) & set("ѓѕјљњќџ")]


def with_text(text: str) -> ProgramFile:
    outlet = {"code": "A", "name": {"mk": text, "en": "x"}, "receipt_max_percent": "12.50"}
    product = {"sku": text, "category": text}
    catalog = {"categories": [{"code": text}], "products": [product]}
    return ProgramFile.model_validate(program_file(outlets=[outlet], catalog=catalog, challenges=[], **{"pass": {}}))


WORDS = st.sampled_from(
    [
        *"1 -7 007 1.5 1e3 .5 0x1F 0o17 1_000 16:00 2026-01-01 NO yes null true ~ = << #a *a &a !a %a @a `a |".split(),
        *("a: b", "- a", "'", '"', "a\u0085b", "кафе", "☕", ">"),
    ]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40) | WORDS


@settings(max_examples=300, deadline=None)
@given(TEXTS.filter(lambda text: text.strip() == text and bool(text.strip())))
def test_any_text_is_written_so_that_it_reads_the_same(text: str) -> None:
    file = with_text(text)
    assert parse_program(dump_program(file)) == file


def schema_accepts() -> Callable[[Any], bool]:
    validator = jsonschema_rs.validator_for(program_schema())
    return validator.is_valid


def test_the_schema_takes_what_is_read_and_refuses_unknown_keys() -> None:
    accepts = schema_accepts()
    for text in (HEAD, *(example(name) for name in EXAMPLES)):
        assert accepts(json.loads(json.dumps(yaml.safe_load(text), default=str)))
    assert accepts(dict(CAFE))
    assert not accepts({**CAFE, "colour": "red"})
    assert not accepts({"outlets": []})
