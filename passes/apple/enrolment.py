"""Rewards enrolment: what the phone asks of somebody who adds a card over NFC before it is theirs.

A pass with a `personalization.json` shows a form first. Wallet sends what was filled in to the update service
(`POST …/personalize`), which answers with the signed token and, at the next fetch, with the member's own pass.

Sources: developer.apple.com/documentation/walletpasses/personalize, …/return-a-personalized-pass, and the Wallet
Developer Guide, Rewards Enrollment (the files, the logo's 150 by 40 points, enrolment with NFC passes only).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from passes.apple.fields import required_text
from passes.apple.pictures import check_scales
from passes.content import PassContentError, Picture, Scaled

if TYPE_CHECKING:
    from passes.apple.model import Pass

LOGO_POINTS: Final = (150, 40)
DESCRIPTION_CHARACTERS_MAX: Final = 1_000
"""Ours, as the next one: Apple names neither."""
TERMS_CHARACTERS_MAX: Final = 20_000


class PersonalField(StrEnum):
    """What the form can ask for; the name is asked for as first and last name.

    Source: developer.apple.com/documentation/walletpasses/personalize (requiredPersonalizationFields)
    """

    NAME = "PKPassPersonalizationFieldName"
    POSTAL_CODE = "PKPassPersonalizationFieldPostalCode"
    EMAIL_ADDRESS = "PKPassPersonalizationFieldEmailAddress"
    PHONE_NUMBER = "PKPassPersonalizationFieldPhoneNumber"


@dataclass(frozen=True, slots=True, kw_only=True)
class Personalization:
    """The form: a few words on the program below the logo (150 by 40 points), what is asked for, and the terms.

    `terms` may hold ``<a href>`` links; who signs up has to accept them. The pass needs `nfc` and an `update_url`.

    Source: developer.apple.com/documentation/walletpasses/personalize
    """

    description: str
    required_fields: tuple[PersonalField, ...]
    logo: Scaled
    terms: str | None = None


def personalization_files(card: Pass) -> list[tuple[str, Picture]]:
    """Return the form's files by name; none for a pass without a form. Raises `PassContentError`."""
    form = card.personalization
    if form is None:
        return []
    if card.nfc is None:
        raise PassContentError("personalization", "rewards enrolment is for passes with NFC")
    if card.update_url is None:
        raise PassContentError("personalization", "the form is sent to the update service, and needs update_url")
    if check_scales("personalization.logo", form.logo) != LOGO_POINTS:
        raise PassContentError("personalization.logo", f"{LOGO_POINTS[0]}x{LOGO_POINTS[1]} points")
    name = "personalizationLogo"
    return [
        ("personalization.json", Picture.of(json.dumps(_document(form), ensure_ascii=False).encode())),
        (f"{name}.png", form.logo.x1),
        (f"{name}@2x.png", form.logo.x2),
        (f"{name}@3x.png", form.logo.x3),
    ]


def _document(form: Personalization) -> dict[str, object]:
    if not form.required_fields:
        raise PassContentError("personalization.required_fields", "the form asks for at least one thing")
    if len(set(form.required_fields)) < len(form.required_fields):
        raise PassContentError("personalization.required_fields", "the form asks for each thing once")
    document: dict[str, object] = {
        "requiredPersonalizationFields": [field.value for field in form.required_fields],
        "description": required_text("personalization.description", form.description, DESCRIPTION_CHARACTERS_MAX),
    }
    if form.terms is not None:
        document["termsAndConditions"] = required_text("personalization.terms", form.terms, TERMS_CHARACTERS_MAX)
    return document
