"""The house's loyalty card -> a store card of Apple Wallet.

The balance is the header field, because only header fields show while cards lie stacked. Tier and member name
are secondary, progress is auxiliary as far as the front has room and goes to the back otherwise.
"""

from __future__ import annotations

import re
from typing import Final

from passes.apple.envelope import Code
from passes.apple.model import Barcode, Pass, PassFields, PassStyle
from passes.content import PassContent, PassField

FRONT_FIELDS_MAX: Final = 4  # secondary + auxiliary share one row when the code is square
CARD_KEY: Final = "card_number"

_FIELD_PLACE = re.compile(r"fields\.(\w+)\[(\d+)\](.*)")
_CODE_PLACE = re.compile(r"barcodes\[(\d+)\](.*)")


_Fields = tuple[PassField, ...]


def pass_of(content: PassContent) -> Pass:
    """Lay a loyalty card out. What Apple forbids is found when the pass is written."""
    front, progress, back = _groups(content)
    return Pass(
        serial_number=content.serial_number,
        organization_name=content.organization_name,
        description=content.description,
        style=PassStyle.STORE_CARD,
        fields=PassFields(header=(content.points,), secondary=front, auxiliary=progress, back=back),
        colors=content.colors,
        barcodes=tuple([Barcode(format=f, message=m, caption=c) for f, m, _encoding, c in codes_of(content)]),
        images=content.images,
        localized_images=content.localized_images,
        translations=content.translations,
        update_url=content.update_url,
        authentication_token=content.authentication_token,
        logo_text=logo_text(content),
        expires_at=content.expires_at,
        voided=content.voided,
        places=content.places,
        max_distance_meters=content.max_distance_meters,
        beacons=content.beacons,
        nfc=content.nfc,
        featured_actions=content.featured_actions,
        semantics=content.semantics,
        sharing_prohibited=content.sharing_prohibited,
        store_identifiers=content.store_identifiers,
        app_launch_url=content.app_launch_url,
    )


def fields_of(content: PassContent) -> tuple[tuple[int, ...], _Fields]:
    """Return how many fields each group has, in the order of `passes.apple.layout.GROUPS`, and all of them."""
    front, progress, back = _groups(content)
    return (1, 0, len(front), len(progress), len(back), 0, 0), (content.points, *front, *progress, *back)


def _groups(content: PassContent) -> tuple[_Fields, _Fields, _Fields]:
    """Return the secondary and auxiliary fields and those of the back; the header is the balance."""
    card, progress = content.card, content.progress
    front = tuple(filter(None, (content.tier, content.member)))
    room = FRONT_FIELDS_MAX - len(front)
    number = PassField(card.number, CARD_KEY, card.label)
    news = () if content.news is None else (content.news,)
    return front, progress[:room], (*news, *progress[room:], number, *content.back)


def codes_of(content: PassContent) -> list[Code]:
    """Return the codes; a voided card has none: a till must not be able to scan a card that is over."""
    if content.voided:
        return []
    card = content.card
    scanned, caption = card.scanned, card.caption
    return [(name, scanned, None, caption) for name in card.formats]


def logo_text(content: PassContent) -> str | None:
    """Return the name beside the logo. A drawn logo is a wordmark: the name would be said twice."""
    images = content.images
    if images is not None and images.logo is not None:
        return None
    if any(local.logo is not None for local in content.localized_images.values()):
        return None
    return content.program_name


def house_name(content: PassContent, where: str) -> str:
    """Return the name that `PassContent` has for a place in the pass made of it."""
    if match := _FIELD_PLACE.fullmatch(where):
        return _field_names(content)[match[1]][int(match[2])] + match[3]
    if match := _CODE_PLACE.fullmatch(where):
        return f"card.formats[{match[1]}]" if match[2] == ".format" else f"card{match[2]}"
    if where == "fields":
        return "back"
    return {"logo_text": "program_name", "barcodes": "card.formats"}.get(where, where)


def _field_names(content: PassContent) -> dict[str, list[str]]:
    front = [name for name, item in (("tier", content.tier), ("member", content.member)) if item is not None]
    room = FRONT_FIELDS_MAX - len(front)
    progress = [f"progress[{index}]" for index in range(len(content.progress))]
    news = ["news"] if content.news is not None else []
    return {
        "header": ["points"],
        "secondary": front,
        "auxiliary": progress[:room],
        "back": [*news, *progress[room:], "card", *(f"back[{index}]" for index in range(len(content.back)))],
    }
