"""What differs between two program files, in words that an owner can check before publishing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from wallet_server.db import to_json
from wallet_server.programs.file import ProgramFile

PRODUCT_SENTENCES_MAX: Final = 20
"""More changed products than this are counted instead of listed."""
VALUE_LENGTH_MAX: Final = 60

_Document = Mapping[str, Any]


def changes(old: ProgramFile | None, new: ProgramFile, *, closed: Collection[str] = ()) -> tuple[str, ...]:
    """One sentence for each difference; empty exactly when the two mean the same.

    ``closed`` are codes of outlets that were closed before: one that comes back is opened again, not added.
    The order of products, categories and segments means nothing and is no difference.
    """
    if old is None:
        return (f"program {new.program.slug} created", *_listed(_document(None), _document(new), closed))
    before, after = _document(old), _document(new)
    sentences = [*_fields("program", before["program"], after["program"]), *_listed(before, after, closed)]
    sentences += _fields("tiers", {"window": before["tiers"]["window"]}, {"window": after["tiers"]["window"]})
    sentences += _fields("pass", before["pass"], after["pass"])
    return tuple(sentences)


def _document(file: ProgramFile | None) -> dict[str, Any]:
    if file is None:
        return {"outlets": [], "catalog": {"categories": [], "products": []}, "rules": [], "tiers": {"levels": []},
                "challenges": [], "segments": []}  # fmt: skip
    return file.model_dump(mode="json", by_alias=True, exclude_none=True)


def _listed(before: _Document, after: _Document, closed: Collection[str]) -> Iterator[str]:
    yield from _outlets(before["outlets"], after["outlets"], closed)
    catalogs = before["catalog"], after["catalog"]
    yield from _items("category", "code", catalogs[0]["categories"], catalogs[1]["categories"])
    yield from _products(catalogs[0]["products"], catalogs[1]["products"])
    yield from _items("rule", "name", before["rules"], after["rules"])
    yield from _order("rules", before["rules"], after["rules"], key="name")
    yield from _items("tier", "code", before["tiers"]["levels"], after["tiers"]["levels"])
    yield from _order("tiers", before["tiers"]["levels"], after["tiers"]["levels"])
    yield from _items("challenge", "code", before["challenges"], after["challenges"])
    yield from _order("challenges", before["challenges"], after["challenges"])
    gone = "left the file; its saved segment stays"
    yield from _items("segment", "code", before["segments"], after["segments"], removed=gone)


def _outlets(before: list[_Document], after: list[_Document], closed: Collection[str]) -> Iterator[str]:
    for sentence in _items("outlet", "code", before, after, removed="closed"):
        noun, code, *rest = sentence.split(" ")
        yield f"{noun} {code} opened again" if rest == ["added"] and code in closed else sentence
    yield from _order("outlets", before, after)


def _products(before: list[_Document], after: list[_Document]) -> Iterator[str]:
    old, new = {item["sku"]: item for item in before}, {item["sku"]: item for item in after}
    added = sum(1 for sku in new if sku not in old)
    removed = sum(1 for sku in old if sku not in new)
    changed = sum(1 for sku, item in new.items() if sku in old and old[sku] != item)
    if added + removed + changed <= PRODUCT_SENTENCES_MAX:
        yield from _items("product", "sku", before, after)
        return
    counts = {"added": added, "changed": changed, "removed": removed}
    yield "products: " + ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _items(
    noun: str, key: str, before: list[_Document], after: list[_Document], *, removed: str = "removed"
) -> Iterator[str]:
    old, new = {item[key]: item for item in before}, {item[key]: item for item in after}
    for code, item in new.items():
        if code not in old:
            yield f"{noun} {code} added"
        else:
            yield from _fields(f"{noun} {code}", old[code], item)
    for code in old:
        if code not in new:
            yield f"{noun} {code} {removed}"


def _order(section: str, before: list[_Document], after: list[_Document], *, key: str = "code") -> Iterator[str]:
    known = {item[key] for item in before} & {item[key] for item in after}
    old = [item[key] for item in before if item[key] in known]
    new = [item[key] for item in after if item[key] in known]
    if old != new:
        yield f"{section}: order {_value(old)} → {_value(new)}"


def _fields(subject: str, before: _Document, after: _Document) -> Iterator[str]:
    for path, old, new in _differences(before, after):
        yield f"{subject}: {path} {_value(old)} → {_value(new)}"


def _differences(before: _Document, after: _Document, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key in (*before, *(key for key in after if key not in before)):
        old, new, here = before.get(key), after.get(key), f"{path}{key}"
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{here}.")
        else:
            yield here, old, new


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        text = ", ".join(value) or "none"
    else:
        text = value if isinstance(value, str) else to_json(value)
    return text if len(text) <= VALUE_LENGTH_MAX else f"{text[: VALUE_LENGTH_MAX - 1]}…"
