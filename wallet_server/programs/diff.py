"""What differs between two program files, and in the words of the file what an owner can check before publishing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from wallet_server.programs.file import ProgramFile

PRODUCT_SENTENCES_MAX: Final = 20
"""More changed products than this are counted instead of listed."""
VALUE_LENGTH_MAX: Final = 200
LIST_LENGTH_SHOWN: Final = 5
"""Of a longer list only what came and what went is said."""
_WHOLE: Final = frozenset(
    {"quiet_hours", "expiry", "window", "reach", "reward", "carry_over", "time", "earn", "redeem"}
)
"""Parts that say one thing together: shown whole, before and after."""
_ORDERED: Final = frozenset({"languages"})

_PLURALS: Final = {"rule": "rules", "tier": "tiers", "challenge": "challenges", "outlet": "outlets", "look": "looks"}
_SAID: Final = {"opened": "opened again", "left": "left the file; its saved segment stays"}

_Document = Mapping[str, Any]


Kind = Literal["created", "added", "opened", "changed", "removed", "closed", "left", "reordered", "counted"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. ``noun`` is the section that it is in; ``name`` says which one of several.

    ``changed``: what stands at ``path`` was ``old`` and is ``new``. ``added``: ``new`` is all of it, or None where
    that says too much. ``reordered``: both are the names in their order. ``counted``: ``new`` is how many were added,
    changed and removed. ``left``: it went from the file, and what was made of it stays.
    """

    noun: str
    name: str
    kind: Kind
    path: str = ""
    old: Any = None
    new: Any = None


def changes(old: ProgramFile | None, new: ProgramFile, *, closed: Collection[str] = ()) -> tuple[str, ...]:
    """:func:`differences`, one sentence for each."""
    return tuple(map(_sentence, differences(old, new, closed=closed)))


def differences(old: ProgramFile | None, new: ProgramFile, *, closed: Collection[str] = ()) -> tuple[Difference, ...]:
    """What differs; empty exactly when the two mean the same.

    ``closed`` are codes of outlets that were closed before: one that comes back is opened again, not added.
    The order of products, categories and segments means nothing and is no difference.
    """
    if old is None:
        created = Difference("program", new.program.slug, "created")
        return (created, *_listed(_document(None), _document(new), closed, brief=True))
    before, after = _document(old), _document(new)
    zeroing = [document["program"]["points"].pop("zeroing", []) for document in (before, after)]
    found = [*_fields("program", "", before["program"], after["program"])]
    found += [*_items("zeroing", "name", *zeroing), *_order("zeroing", *zeroing, key="name")]
    found += _listed(before, after, closed)
    found += _fields("tiers", "", {"window": before["tiers"]["window"]}, {"window": after["tiers"]["window"]})
    looks = [document["pass"].pop("looks", []) for document in (before, after)]
    found += _fields("pass", "", before["pass"], after["pass"])
    found += [*_items("look", "name", *looks), *_order("look", *looks, key="name")]
    found += _fields("places", "", before["places"], after["places"])
    found += _fields("notifications", "", before["notifications"], after["notifications"])
    return tuple(found)


def _document(file: ProgramFile | None) -> dict[str, Any]:
    if file is None:
        return {"outlets": [], "catalog": {"categories": [], "products": []}, "rules": [], "tiers": {"levels": []},
                "challenges": [], "segments": []}  # fmt: skip
    return file.model_dump(mode="json", by_alias=True, exclude_none=True)


def _listed(
    before: _Document, after: _Document, closed: Collection[str], *, brief: bool = False
) -> Iterator[Difference]:
    yield from _outlets(before["outlets"], after["outlets"], closed, brief=brief)
    catalogs = before["catalog"], after["catalog"]
    yield from _items("category", "code", catalogs[0]["categories"], catalogs[1]["categories"])
    yield from _products(catalogs[0]["products"], catalogs[1]["products"])
    yield from _items("rule", "name", before["rules"], after["rules"], brief=brief)
    yield from _order("rule", before["rules"], after["rules"], key="name")
    yield from _items("tier", "code", before["tiers"]["levels"], after["tiers"]["levels"], brief=brief)
    yield from _order("tier", before["tiers"]["levels"], after["tiers"]["levels"])
    yield from _items("challenge", "code", before["challenges"], after["challenges"], brief=brief)
    yield from _order("challenge", before["challenges"], after["challenges"])
    yield from _items("segment", "code", before["segments"], after["segments"], removed="left", brief=brief)


def _outlets(
    before: list[_Document], after: list[_Document], closed: Collection[str], *, brief: bool = False
) -> Iterator[Difference]:
    for one in _items("outlet", "code", before, after, removed="closed", brief=brief):
        yield replace(one, kind="opened") if one.kind == "added" and one.name in closed else one
    yield from _order("outlet", before, after)


def _products(before: list[_Document], after: list[_Document]) -> Iterator[Difference]:
    old, new = {item["sku"]: item for item in before}, {item["sku"]: item for item in after}
    added = sum(1 for sku in new if sku not in old)
    removed = sum(1 for sku in old if sku not in new)
    changed = sum(1 for sku, item in new.items() if sku in old and old[sku] != item)
    if added + removed + changed <= PRODUCT_SENTENCES_MAX:
        yield from _items("product", "sku", before, after)
        return
    yield Difference("product", "", "counted", new={"added": added, "changed": changed, "removed": removed})


def _items(
    noun: str,
    key: str,
    before: list[_Document],
    after: list[_Document],
    *,
    removed: Kind = "removed",
    brief: bool = False,
) -> Iterator[Difference]:
    old, new = {item[key]: item for item in before}, {item[key]: item for item in after}
    for code, item in new.items():
        if code not in old:
            yield Difference(noun, code, "added", new=None if brief else item)
        else:
            yield from _fields(noun, code, old[code], item)
    for code, item in old.items():
        if code not in new:
            yield Difference(noun, code, removed, old=item)


def _order(noun: str, before: list[_Document], after: list[_Document], *, key: str = "code") -> Iterator[Difference]:
    known = {item[key] for item in before} & {item[key] for item in after}
    old = [item[key] for item in before if item[key] in known]
    new = [item[key] for item in after if item[key] in known]
    if old != new:
        yield Difference(noun, "", "reordered", old=old, new=new)


def _fields(noun: str, name: str, before: _Document, after: _Document) -> Iterator[Difference]:
    for path, old, new in _differences(before, after):
        yield Difference(noun, name, "changed", path, old, new)


def _sentence(one: Difference) -> str:
    """“outlet A: receipt_max_percent none → 50”."""
    subject = f"{one.noun} {one.name}".rstrip()
    if one.kind == "changed":
        if _is_long_list(one.path, one.old) and _is_long_list(one.path, one.new):
            told = _came_and_went(one.old, one.new)
            if told:
                return f"{subject}: {one.path} {told}"
        return f"{subject}: {one.path} {_value(one.old)} → {_value(one.new)}"
    if one.kind == "reordered":
        return f"{_PLURALS.get(one.noun, one.noun)}: order {_value(one.old)} → {_value(one.new)}"
    if one.kind == "counted":
        return "products: " + ", ".join(f"{count} {word}" for word, count in one.new.items() if count)
    told = _told(one.noun, one.new) if one.new is not None else ""
    return f"{subject} {_SAID.get(one.kind, one.kind)}{': ' if told else ''}{told}"


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
