"""Program files as YAML text: read strictly with lines for every error, written so that reading gives the same.

We read a safe part of YAML 1.2's core schema and nothing of 1.1's surprises: ``NO`` is Norway and not false,
``16:00`` is a time and not 960, numbers are exact decimals, dates stay text. Anchors, aliases and tags are
refused (a file of a few lines can hold a billion items with them), as are keys that are there twice, of which
YAML libraries silently keep the last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import yaml
from pydantic import ValidationError

from wallet_server.errors import DomainError
from wallet_server.programs.fields import CODE_PATTERN, COLOR_PATTERN, COUNTRY_PATTERN, SLUG_PATTERN
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.places import UUID_PATTERN

SIZE_MAX: Final = 8 * 1024 * 1024
"""Characters of a program file; 20,000 products need about two million."""
DEPTH_MAX: Final = 32
VALUES_MAX: Final = 2_000_000
PROBLEMS_MAX: Final = 50
"""How many problems are told at once."""

Path = tuple[str | int, ...]

# The fast parser where it was compiled in; both give the same events.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Final[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
# Each is a part of what YAML 1.1 reads as a number, so that what dump_program quotes is what we would misread.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})")
_DECIMAL = re.compile(r"[-+]?[0-9]{1,30}\.[0-9]{0,30}")
_CONSTANTS: Final = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_TRUTHS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, at a line of the file (from 1) and a path in its content."""

    line: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.path}: {self.message}" if self.path else f"line {self.line}: {self.message}"


@dataclass
class Document:
    """The content of a YAML text, and the line on which each part of it begins."""

    content: Any = None
    lines: dict[Path, int] = field(default_factory=dict)


def parse_program(text: str | bytes) -> ProgramFile:
    """Read and check a program file whole.

    Raises ``DomainError(program_file)``: one line of ``detail`` for each problem, and ``problems`` with
    ``line``, ``path`` and ``message`` of each.
    """
    document = parse_yaml(text)
    if not isinstance(document.content, dict):
        raise _refusal([Problem(1, "", "a program file begins with `program:`")])
    try:
        return ProgramFile.model_validate(document.content)
    except ValidationError as error:
        problems = [_problem(document, item) for item in error.errors(include_url=False, include_input=False)]
        raise _refusal(sorted(problems, key=lambda problem: problem.line)) from None


def parse_yaml(text: str | bytes) -> Document:
    """Read one YAML document. Raises ``DomainError(program_file)`` as :func:`parse_program` does."""
    if len(text) > SIZE_MAX:
        raise _refusal([Problem(1, "", f"the file is longer than {SIZE_MAX:,} characters")])
    if isinstance(text, bytes):
        text = _decoded(text)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        # What is missing at the end is told of a line that is not there any more.
        line = min(mark.line, max(0, len(text.splitlines()) - 1)) + 1 if mark else 1
        raise _refusal([Problem(line, "", message)]) from None
    except yaml.YAMLError as error:  # a character that YAML does not allow; its message names the position
        position = getattr(error, "position", 0)
        message = str(error).splitlines()[0]
        raise _refusal([Problem(text.count("\n", 0, position) + 1, "", message)]) from None
    return builder.document


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refusal([Problem(line, "", "the file is not UTF-8")]) from None


def dump_program(file: ProgramFile) -> str:
    """Write a program file; :func:`parse_program` reads the same again. Defaults are left out."""
    content = file.model_dump(by_alias=True, exclude_defaults=True, exclude_none=True)
    content = {key: value for key, value in content.items() if value != {}}
    text: str = yaml.dump(content, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=110)
    return text


def program_schema() -> dict[str, Any]:
    """The JSON Schema of a program file, for editors that complete and check while one types."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **ProgramFile.model_json_schema(by_alias=True)}


class _Dumper(_DUMPER):  # type: ignore[misc]
    """Decimals as plain numbers, short texts on one line, and no aliases for what happens to be equal."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_decimal(dumper: Any, value: Decimal) -> yaml.ScalarNode:
    text = format(value, "f")
    node: yaml.ScalarNode = dumper.represent_scalar(f"tag:yaml.org,2002:{'float' if '.' in text else 'int'}", text)
    return node


def _represent_mapping(dumper: Any, value: dict[Any, Any]) -> yaml.MappingNode:
    short = bool(value) and all(isinstance(item, str | int | Decimal) for item in value.values())
    node: yaml.MappingNode = dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=short)
    return node


def _represent_list(dumper: Any, value: list[Any]) -> yaml.SequenceNode:
    short = all(isinstance(item, str | int) for item in value)
    node: yaml.SequenceNode = dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=short)
    return node


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(Decimal, _represent_decimal)
_Dumper.add_representer(dict, _represent_mapping)


@dataclass
class _Open:
    """A collection that is being read; ``key`` is the mapping's key that waits for its value."""

    value: Any
    path: Path
    key: str | None = None


class _Builder:
    """Builds content from events, with a stack of its own: the depth of the text is not that of our calls."""

    def __init__(self) -> None:
        self.document = Document()
        self._stack: list[_Open] = []
        self._values = 0
        self._documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise self._refused(event, "anchors and aliases (& and *) are not read: write the part out")
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._refused(event, "a second document begins here: a file holds one program")
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()

    def _begin(self, event: Any) -> None:
        if event.tag is not None:
            raise self._refused(event, f"the tag {event.tag} is not read")
        if len(self._stack) >= DEPTH_MAX:
            raise self._refused(event, f"nested deeper than {DEPTH_MAX} levels")
        if self._expects_key():
            raise self._refused(event, "a key must be a text")
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        path = self._put(event, value)
        self._stack.append(_Open(value, path))

    def _scalar(self, event: Any) -> None:
        if event.tag is not None:
            raise self._refused(event, f"the tag {event.tag} is not read")
        if not self._expects_key():
            self._put(event, _plain(event.value) if event.implicit[0] else event.value)
            return
        top = self._stack[-1]
        if event.value in top.value:
            first = self.document.lines[(*top.path, event.value)]
            raise self._refused(event, f"the key {event.value!r} is there already, on line {first}")
        top.key = event.value
        self.document.lines[(*top.path, event.value)] = event.start_mark.line + 1

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _put(self, event: Any, value: Any) -> Path:
        """Place a value; a mapping's values keep the line of their key, where a person looks for them."""
        self._values += 1
        if self._values > VALUES_MAX:
            raise self._refused(event, f"more than {VALUES_MAX:,} values")
        if not self._stack:
            self.document.content = value
            self.document.lines[()] = event.start_mark.line + 1
            return ()
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            path: Path = (*top.path, len(top.value) - 1)
            self.document.lines[path] = event.start_mark.line + 1
            return path
        assert top.key is not None, "a mapping's value follows its key"
        top.value[top.key] = value
        path, top.key = (*top.path, top.key), None
        return path

    def _refused(self, event: Any, message: str) -> DomainError:
        path = self._stack[-1].path if self._stack else ()
        return _refusal([Problem(event.start_mark.line + 1, _written(path), message)])


def _plain(text: str) -> Any:
    """The value of a scalar without quotes."""
    if text in _CONSTANTS:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return Decimal(text)
    return text


def _problem(document: Document, item: Any) -> Problem:
    # Errors of the whole file carry their own place (file.py); the name of a model's field is the file's key.
    named: Path = tuple(item.get("ctx", {}).get("at") or item["loc"])
    path = named
    while path not in document.lines:  # () always is: steps beyond the text are pydantic's own, such as `[key]`
        path = path[:-1]
    return Problem(document.lines[path], _written(named if item["type"] == "missing" else path), _message(item))


_MESSAGES: Final = {
    "missing": "is missing",
    "extra_forbidden": "is not a key that this version knows",
    "string_type": "must be a text; put it in quotes",
    "dict_type": "must be a mapping (`key: value`)",
    "model_type": "must be a mapping (`key: value`)",
    "list_type": "must be a list",
}


_FORMS: Final = {
    CODE_PATTERN: "must be 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first",
    SLUG_PATTERN: "must be 1 to 63 lower-case letters, digits and dashes, no dash first or last",
    COLOR_PATTERN: "must be a colour such as #1f3a5f, in quotes",
    COUNTRY_PATTERN: "must be a country code such as MK",
    UUID_PATTERN: "must be a UUID such as E2C56DB5-DFFB-48D2-B060-D0F5A71096E0",
}


def _message(item: Any) -> str:
    known = _MESSAGES.get(item["type"]) or _FORMS.get(item.get("ctx", {}).get("pattern", ""))
    message = known or str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return message[:1].lower() + message[1:]


def _written(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _refusal(problems: Sequence[Problem]) -> DomainError:
    told = [str(problem) for problem in problems[:PROBLEMS_MAX]]
    if len(problems) > PROBLEMS_MAX:
        told.append(f"and {len(problems) - PROBLEMS_MAX} more")
    listed = [
        {"line": problem.line, "path": problem.path, "message": problem.message} for problem in problems[:PROBLEMS_MAX]
    ]
    return DomainError("program_file", "\n".join(told), problems=listed)
