"""What differs between two program files, in words that an owner can check before publishing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from wallet_server.programs.file import ProgramFile

PRODUCT_SENTENCES_MAX: Final = 20
"""More changed products than this are counted instead of listed."""
VALUE_LENGTH_MAX: Final = 200
LIST_LENGTH_SHOWN: Final = 5
"""Of a longer list only what came and what went is said."""
_WHOLE: Final = frozenset({"expiry", "window", "reach", "reward", "carry_over", "time", "earn", "redeem"})
"""Parts that say one thing together: shown whole, before and after."""
_ORDERED: Final = frozenset({"languages"})

_Document = Mapping[str, Any]


def changes(old: ProgramFile | None, new: ProgramFile, *, closed: Collection[str] = ()) -> tuple[str, ...]:
    """One sentence for each difference; empty exactly when the two mean the same.

    ``closed`` are codes of outlets that were closed before: one that comes back is opened again, not added.
    The order of products, categories and segments means nothing and is no difference.
    """
    if old is None:
        return (f"program {new.program.slug} created", *_listed(_document(None), _document(new), closed, brief=True))
    before, after = _document(old), _document(new)
    zeroing = [document["program"]["points"].pop("zeroing", []) for document in (before, after)]
    sentences = [*_fields("program", before["program"], after["program"])]
    sentences += [*_items("zeroing", "name", *zeroing), *_order("zeroing", *zeroing, key="name")]
    sentences += _listed(before, after, closed)
    sentences += _fields("tiers", {"window": before["tiers"]["window"]}, {"window": after["tiers"]["window"]})
    looks = [document["pass"].pop("looks", []) for document in (before, after)]
    sentences += _fields("pass", before["pass"], after["pass"])
    sentences += _fields("places", before["places"], after["places"])
    sentences += [*_items("look", "name", *looks), *_order("looks", *looks, key="name")]
    return tuple(sentences)


def _document(file: ProgramFile | None) -> dict[str, Any]:
    if file is None:
        return {"outlets": [], "catalog": {"categories": [], "products": []}, "rules": [], "tiers": {"levels": []},
                "challenges": [], "segments": []}  # fmt: skip
    return file.model_dump(mode="json", by_alias=True, exclude_none=True)


def _listed(before: _Document, after: _Document, closed: Collection[str], *, brief: bool = False) -> Iterator[str]:
    yield from _outlets(before["outlets"], after["outlets"], closed, brief=brief)
    catalogs = before["catalog"], after["catalog"]
    yield from _items("category", "code", catalogs[0]["categories"], catalogs[1]["categories"])
    yield from _products(catalogs[0]["products"], catalogs[1]["products"])
    yield from _items("rule", "name", before["rules"], after["rules"], brief=brief)
    yield from _order("rules", before["rules"], after["rules"], key="name")
    yield from _items("tier", "code", before["tiers"]["levels"], after["tiers"]["levels"], brief=brief)
    yield from _order("tiers", before["tiers"]["levels"], after["tiers"]["levels"])
    yield from _items("challenge", "code", before["challenges"], after["challenges"], brief=brief)
    yield from _order("challenges", before["challenges"], after["challenges"])
    gone = "left the file; its saved segment stays"
    yield from _items("segment", "code", before["segments"], after["segments"], removed=gone, brief=brief)


def _outlets(
    before: list[_Document], after: list[_Document], closed: Collection[str], *, brief: bool = False
) -> Iterator[str]:
    for sentence in _items("outlet", "code", before, after, removed="closed", brief=brief):
        noun, code, word, *rest = sentence.split(" ")
        if code in closed and word in {"added", "added:"}:
            word = word.replace("added", "opened again")
        yield " ".join((noun, code, word, *rest))
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
    noun: str,
    key: str,
    before: list[_Document],
    after: list[_Document],
    *,
    removed: str = "removed",
    brief: bool = False,
) -> Iterator[str]:
    old, new = {item[key]: item for item in before}, {item[key]: item for item in after}
    for code, item in new.items():
        if code not in old:
            told = "" if brief else _told(noun, item)
            yield f"{noun} {code} added: {told}" if told else f"{noun} {code} added"
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


def _told(noun: str, item: _Document) -> str:
    """What something new says, where its name alone does not; empty otherwise."""
    if noun == "rule":
        return _rule_told(item)
    if noun in ("zeroing", "look"):
        return _value({name: value for name, value in item.items() if name != "name"})
    if noun == "tier":
        return ", ".join(f"{name} {_value(item[name])}" for name in ("reach", "earn", "redeem") if name in item)
    if noun == "challenge":
        return f"{item['target']} {item['metric']}, reward {_value(item['reward'])}"
    if noun == "outlet" and "partner" in item:
        return f"partner {_value(item['partner'])}"
    if noun == "segment":
        return _value(item["when"]) if item["when"] else "everybody"
    return ""


def _rule_told(rule: _Document) -> str:
    """“product rule, when categories coffee: earn multiply 2”."""
    when = [f"{name} {_value(value)}" for name, value in rule["when"].items()]
    when += [f"{name} {_value(rule[name])}" for name in ("outlets", "starts_at", "ends_at") if rule.get(name)]
    effects = [f"{name} {_value(rule[name])}" for name in ("earn", "redeem") if name in rule]
    if rule.get("priority"):
        effects.append(f"priority {rule['priority']}")
    return f"{rule['family']} rule, {'when ' + ', '.join(when) if when else 'always'}: {', '.join(effects)}"


def _fields(subject: str, before: _Document, after: _Document) -> Iterator[str]:
    for path, old, new in _differences(before, after):
        if _is_long_list(path, old) and _is_long_list(path, new) and (told := _came_and_went(old, new)):
            yield f"{subject}: {path} {told}"
        else:
            yield f"{subject}: {path} {_value(old)} → {_value(new)}"


def _is_long_list(path: str, value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > LIST_LENGTH_SHOWN
        and all(isinstance(item, str) for item in value)
        and path.rpartition(".")[2] not in _ORDERED
    )


def _came_and_went(old: list[str], new: list[str]) -> str:
    """“with x, y; without z”; empty where only the order is another."""
    came, went = [item for item in new if item not in set(old)], [item for item in old if item not in set(new)]
    parts = [f"{word} {_value(items)}" for word, items in (("with", came), ("without", went)) if items]
    return "; ".join(parts)


def _differences(before: _Document, after: _Document, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key in (*before, *(key for key in after if key not in before)):
        old, new, here = before.get(key), after.get(key), f"{path}{key}"
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping) and key not in _WHOLE:
            yield from _differences(old, new, f"{here}.")
        else:
            yield here, old, new


def _value(value: Any) -> str:
    text = _words(value)
    return text if len(text) <= VALUE_LENGTH_MAX else f"{text[: VALUE_LENGTH_MAX - 1]}…"


def _words(value: Any) -> str:
    """A part of a file without brackets and quotes: what an owner reads aloud."""
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        nested = any(isinstance(item, Mapping) for item in value)
        return ("; " if nested else ", ").join(map(_words, value))
    if isinstance(value, Mapping):
        if value.keys() <= {"from", "to", "yearly"}:
            return _range_words(value)
        # A kind is what the rest is about, and says so itself.
        given = {name: item for name, item in value.items() if item not in ([], {})}
        parts = [_words(item) if name == "kind" else f"{name} {_words(item)}" for name, item in given.items()]
        return ", ".join(parts)
    return str(value)


def _range_words(bounds: Mapping[str, Any]) -> str:
    words = " ".join(f"{name} {bounds[name]}" for name in ("from", "to") if name in bounds)
    return f"{words} each year" if bounds.get("yearly") else words
