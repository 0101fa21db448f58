"""What a person sees of a Google Wallet loyalty card. Pure: a class and an object in, a face out.

Source: developers.google.com/wallet/retail/loyalty-cards (the card's default layout; localized strings).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from wallet_server.faces.apple import FaceCode

MODULES_MAX: Final = 10
ROWS_MAX: Final = 3
_CODES: Final = {"QR_CODE": "QR", "PDF_417": "PDF417", "AZTEC": "Aztec", "CODE_128": "Code128"}
_PATH = re.compile(r"(?P<of>object|class)\.(?P<name>\w+)(?:\['(?P<id>[^']+)'\]|\.balance)?")
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class GoogleFace:
    """A card as Google Wallet shows it. ``background`` is ``rrggbb``; addresses are as the program gave them."""

    object_id: str
    state: str
    issuer: str
    program: str
    background: str
    logo_url: str
    hero_url: str
    points: tuple[tuple[str, str], ...]
    """(label, balance), at most two."""
    tiers: tuple[tuple[str, str], ...]
    account: tuple[tuple[str, str], ...]
    rows: tuple[tuple[tuple[str, str], ...], ...]
    """The card's front, row by row: what the class's template names, else points and tiers."""
    texts: tuple[tuple[str, str], ...]
    messages: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]
    """(text, address)."""
    code: FaceCode | None


def google_face_of(owner: Mapping[str, Any], document: Mapping[str, Any], language: str) -> GoogleFace:
    """The card of a loyalty object and its class in a language."""
    color = str(owner.get("hexBackgroundColor", ""))
    points = tuple(
        (_text(points, "label", language), _balance(points.get("balance", {})))
        for name in ("loyaltyPoints", "secondaryLoyaltyPoints")
        if (points := document.get(name))
    )
    tiers = tuple(
        (_text(owner, f"{name}Label", language), _text(owner, name, language))
        for name in ("rewardsTier", "secondaryRewardsTier")
        if owner.get(name) or owner.get(f"localized{name[0].upper()}{name[1:]}")
    )
    rows = tuple(_template_rows(owner, document, language))
    return GoogleFace(
        object_id=str(document.get("id", "")),
        state=str(document.get("state", "")).upper(),
        issuer=_text(owner, "issuerName", language),
        program=_text(owner, "programName", language),
        background=color[1:].lower() if _HEX.fullmatch(color) else "3c4043",
        logo_url=_image(owner.get("programLogo")),
        hero_url=_image(document.get("heroImage")) or _image(owner.get("heroImage")),
        points=points,
        tiers=tiers,
        rows=rows or ((points + tiers,) if points or tiers else ()),
        account=tuple(
            (_text(owner, f"{name}Label", language), str(document[name]))
            for name in ("accountName", "accountId")
            if document.get(name)
        ),
        texts=_modules(document, language) + _modules(owner, language),
        messages=tuple(
            message_text(message, language)
            for message in (*reversed(document.get("messages", [])), *reversed(owner.get("messages", [])))
        )[:MODULES_MAX],
        links=_links(document) + _links(owner),
        code=_code(document.get("barcode")),
    )


def message_text(message: Mapping[str, Any], language: str) -> tuple[str, str]:
    """(header, body) of a message in a language."""
    return _text(message, "header", language), _text(message, "body", language)


def notification_title(owner: Mapping[str, Any], language: str) -> str:
    """Who a notification is from."""
    return _text(owner, "programName", language) or _text(owner, "issuerName", language)


def _template_rows(
    owner: Mapping[str, Any], document: Mapping[str, Any], language: str
) -> Iterator[tuple[tuple[str, str], ...]]:
    template = owner.get("classTemplateInfo", {}).get("cardTemplateOverride", {})
    for row in template.get("cardRowTemplateInfos", [])[:ROWS_MAX]:
        items: Mapping[str, Any] = next(
            (row[kind] for kind in ("oneItem", "twoItems", "threeItems") if kind in row), {}
        )
        cells = (
            _cell(items.get(place), owner, document, language)
            for place in ("item", "startItem", "middleItem", "endItem")
        )
        shown = tuple(cell for cell in cells if cell is not None)
        if shown:
            yield shown


def _cell(item: Any, owner: Mapping[str, Any], document: Mapping[str, Any], language: str) -> tuple[str, str] | None:
    """The (label, value) of the first field of a template's cell that the card has."""
    fields = item.get("firstValue", {}).get("fields", []) if isinstance(item, dict) else []
    for field in fields:
        match = _PATH.fullmatch(str(field.get("fieldPath", "")))
        if match is None:
            continue
        source = document if match["of"] == "object" else owner
        value = source.get(match["name"])
        if match["id"] is not None:
            modules = value if isinstance(value, list) else []
            for module in modules:
                if module.get("id") == match["id"]:
                    return _text(module, "header", language), _text(module, "body", language)
        elif isinstance(value, dict) and "balance" in value:
            return _text(value, "label", language), _balance(value["balance"])
        elif isinstance(value, str) and value:
            return _text(owner, f"{match['name']}Label", language), _text(source, match["name"], language)
    return None


def _text(document: Mapping[str, Any], name: str, language: str) -> str:
    """A text: the translation of the localized twin, its default, or the plain one, as Google chooses."""
    localized = document.get(f"localized{name[0].upper()}{name[1:]}")
    if isinstance(localized, dict):
        default = localized.get("defaultValue", {})
        for value in (*localized.get("translatedValues", []), default):
            if str(value.get("language", "")).split("-")[0] == language.split("-", maxsplit=1)[0]:
                return str(value.get("value", ""))
        if default.get("value"):
            return str(default["value"])
    return str(document.get(name, ""))


def _balance(balance: Mapping[str, Any]) -> str:
    if "money" in balance:
        money = balance["money"]
        return f"{int(money.get('micros', 0)) / 1_000_000:.2f} {money.get('currencyCode', '')}".strip()
    return next((str(balance[name]) for name in ("string", "int", "double") if name in balance), "0")


def _image(image: Any) -> str:
    return str(image.get("sourceUri", {}).get("uri", "")) if isinstance(image, dict) else ""


def _modules(document: Mapping[str, Any], language: str) -> tuple[tuple[str, str], ...]:
    modules = document.get("textModulesData", [])[:MODULES_MAX]
    return tuple((_text(module, "header", language), _text(module, "body", language)) for module in modules)


def _links(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    uris = document.get("linksModuleData", {}).get("uris", [])[:MODULES_MAX]
    return tuple(
        (str(uri.get("description") or uri["uri"]), str(uri["uri"]))
        for uri in uris
        if str(uri.get("uri", "")).startswith(("https://", "http://", "tel:", "mailto:"))
    )


def _code(barcode: Any) -> FaceCode | None:
    if not isinstance(barcode, dict) or barcode.get("type") not in _CODES:
        return None
    return FaceCode(
        _CODES[barcode["type"]], str(barcode.get("value", "")), "utf-8", str(barcode.get("alternateText", ""))
    )
