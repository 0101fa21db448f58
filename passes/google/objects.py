"""`PassContent` -> Google's LoyaltyObject, and a program's card -> its LoyaltyClass.

The class is the program, the object one member's card. Both are plain dictionaries in the REST API's own
names. Pictures are addresses that Google's servers fetch, not uploads.

Sources: developers.google.com/wallet/reference/rest/v1/loyaltyclass and …/loyaltyobject.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from passes.content import HEX_COLOR, PassContent, PassContentError, PassField, Place, w3c_date
from passes.google.class_extras import ClassExtras
from passes.google.modules import TEXT_MODULES_MAX
from passes.google.object_extras import ObjectExtras
from passes.google.parts import JsonObject, Words, https, interval, required, resource_id
from passes.google.points import points

MERCHANT_LOCATIONS_MAX = 10
_BARCODES = {
    "qr": "QR_CODE",
    "pdf417": "PDF_417",
    "aztec": "AZTEC",
    "code128": "CODE_128",
    "code39": "CODE_39",
    "codabar": "CODABAR",
    "ean13": "EAN_13",
}
"""Codes of `CardCode.formats` at Google, which has Interleaved 2 of 5 as ITF-14 only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCard:
    """What all cards of a program share. `suffix` is the class's name behind the issuer id, for ever.

    `organization_name` is best at most 20 characters: Google cuts it on small screens.
    """

    suffix: str
    organization_name: str
    program_name: str
    background: str
    logo_url: str
    hero_url: str | None = None
    homepage_url: str | None = None
    callback_url: str | None = None
    places: tuple[Place, ...] | None = None
    """Where all cards suggest themselves, at most ten; Google takes them only from issuers on its list."""
    country_code: str | None = None
    language: str = "en"
    translations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def loyalty_class(card: ProgramCard, *, issuer_id: str, extras: ClassExtras | None = None) -> JsonObject:
    """Return the LoyaltyClass; what `extras` say comes beside, their template in place of the house's.

    `reviewStatus` is always ``UNDER_REVIEW``: Google wants it on every write, approves it by itself, and
    refuses ``APPROVED``; a draft could not have members.
    """
    if not HEX_COLOR.fullmatch(card.background):
        raise PassContentError("background", f"a colour is written #RRGGBB, not {card.background!r}")
    words = Words(card.language, card.translations)
    body: JsonObject = {
        "id": resource_id(issuer_id, card.suffix),
        "reviewStatus": "UNDER_REVIEW",
        "issuerName": required("organization_name", card.organization_name),
        "programName": required("program_name", card.program_name),
        "programLogo": _image("logo_url", card.logo_url, card.program_name, words),
        "hexBackgroundColor": card.background.lower(),
        "multipleDevicesAndHoldersAllowedStatus": "MULTIPLE_HOLDERS",
        "classTemplateInfo": _card_rows(),
        **words.localized("localizedIssuerName", card.organization_name),
        **words.localized("localizedProgramName", card.program_name),
    }
    if card.hero_url is not None:
        body["heroImage"] = _image("hero_url", card.hero_url, card.program_name, words)
    if card.homepage_url is not None:
        body["homepageUri"] = {"uri": https("homepage_url", card.homepage_url), "description": card.program_name}
    if card.callback_url is not None:
        body["callbackOptions"] = {"url": https("callback_url", card.callback_url)}
    if card.country_code is not None:
        body["countryCode"] = card.country_code
    if card.places is not None:
        body["merchantLocations"] = _merchant_locations("places", card.places)
    if extras is not None:
        body |= extras.written(words)
    return body


def loyalty_object(
    content: PassContent,
    *,
    issuer_id: str,
    class_suffix: str,
    hero_url: str | None = None,
    merchant_locations: bool = False,
    notify: bool = False,
    extras: ObjectExtras | None = None,
) -> JsonObject:
    """Return the LoyaltyObject of one card; its id ends in the card's serial number.

    Tier, progress, news and the texts of the back become text modules (Google shows ten, the first ten are
    sent), links become links. `hero_url` is the picture of this member's stamps. `merchant_locations` sends
    the places, which Google takes only from issuers on its list. `notify` asks Google to announce the change
    of the balance: at most three such notices per card and day, together with messages. `extras` come beside. A voided
    card has neither code nor messages, whatever they say.
    """
    words = Words(content.language, content.translations)
    body: JsonObject = {
        "id": resource_id(issuer_id, content.serial_number),
        "classId": resource_id(issuer_id, class_suffix),
        "state": "INACTIVE" if content.voided else "ACTIVE",
        "accountId": content.card.number,
        "loyaltyPoints": points("points", content.points, words),
        # Arrays are replaced whole by a PATCH: an empty one clears what was there.
        "textModulesData": list(_text_modules(content, words)),
        "linksModuleData": {"uris": list(_links(content, words))},
    }
    if content.member is not None:
        body["accountName"] = str(content.member.value)
    if content.voided:
        body["messages"] = []  # what the holder was told is nobody's to read any more
    else:
        body["barcode"] = _barcode(content)
    if content.expires_at is not None:
        body["validTimeInterval"] = {"end": {"date": w3c_date("expires_at", content.expires_at)}}
    if hero_url is not None:
        body["heroImage"] = _image("hero_url", hero_url, content.program_name, words)
    if merchant_locations:
        body["merchantLocations"] = _merchant_locations("places", content.places)
    if notify:
        body["notifyPreference"] = "NOTIFY_ON_UPDATE"
    return body if extras is None else extras.added_to(body, content, words, issuer_id=issuer_id)


def message(
    *,
    message_id: str,
    header: str,
    text: str,
    notify: bool,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> JsonObject:
    """Return one Message. `message_id` is ours and must be unique on the card: Google does not check.

    With `notify` the phone shows a notice whose wording Google chooses; three per card in 24 hours.
    """
    body: JsonObject = {
        "id": required("message_id", message_id),
        "header": required("header", header),
        "body": required("text", text),
        "messageType": "TEXT_AND_NOTIFY" if notify else "TEXT",
    }
    if shown := interval("", starts_at, ends_at):
        body["displayInterval"] = shown
    return body


def _text_modules(content: PassContent, words: Words) -> Iterator[JsonObject]:
    # Progress is named by place, because the rows of the class cannot know the challenges' keys.
    named = [("tier", content.tier)]
    named += [(f"progress_{place}", item) for place, item in enumerate(content.progress)]
    named += [(_module_id(item.key), item) for item in (content.news, *content.back) if item is not None]
    shown = [(module_id, item) for module_id, item in named if item is not None and item.link is None]
    seen: set[str] = set()
    for module_id, item in shown[:TEXT_MODULES_MAX]:
        if module_id in seen:
            raise PassContentError(item.key, f"two fields of the card become the text module {module_id!r}")
        seen.add(module_id)
        text = _value_text(item)
        yield {
            "id": module_id,
            "header": item.label,
            "body": text,
            **words.localized("localizedHeader", item.label),
            **words.localized("localizedBody", text),
        }


def _value_text(item: PassField) -> str:
    if isinstance(item.value, datetime):
        return w3c_date(item.key, item.value)[:10]
    if item.currency_code is not None:
        return f"{item.value} {item.currency_code}"
    return str(item.value)


def _module_id(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", key)  # Google's template paths take no dots


def _links(content: PassContent, words: Words) -> Iterator[JsonObject]:
    for item in content.back:
        if item.link is not None:
            yield {
                "id": _module_id(item.key),
                "uri": https(item.key, item.link),
                "description": str(item.value),
                **words.localized("localizedDescription", str(item.value)),
            }


def _barcode(content: PassContent) -> JsonObject:
    value = required("card.message", content.card.scanned)
    # A card of Google's has one code: the first that is known there.
    kinds = [_BARCODES[name] for name in content.card.formats if name in _BARCODES]
    if not kinds:
        raise PassContentError("card.formats", f"one of {', '.join(_BARCODES)}")
    barcode: JsonObject = {"type": kinds[0], "value": value}
    if content.card.caption:
        barcode["alternateText"] = content.card.caption
    if not value.isascii():
        barcode["renderEncoding"] = "UTF_8"
    return barcode


def _card_rows() -> JsonObject:
    """Return the front's rows: points beside tier, then up to two lines of progress."""

    def item(path: str) -> JsonObject:
        return {"firstValue": {"fields": [{"fieldPath": path}]}}

    def pair(start: str, end: str) -> JsonObject:
        return {"twoItems": {"startItem": item(start), "endItem": item(end)}}

    return {
        "cardTemplateOverride": {
            "cardRowTemplateInfos": [
                pair("object.loyaltyPoints.balance", "object.textModulesData['tier']"),
                pair("object.textModulesData['progress_0']", "object.textModulesData['progress_1']"),
            ]
        }
    }


def _merchant_locations(where: str, places: Sequence[Place]) -> list[JsonObject]:
    if len(places) > MERCHANT_LOCATIONS_MAX:
        raise PassContentError(where, f"Google takes at most {MERCHANT_LOCATIONS_MAX} places")
    return [{"latitude": place.latitude, "longitude": place.longitude} for place in places]


def _image(where: str, url: str, description: str, words: Words) -> JsonObject:
    return {"sourceUri": {"uri": https(where, url)}, "contentDescription": words.plain(description)}
