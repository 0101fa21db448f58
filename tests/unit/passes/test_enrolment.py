"""The form that a phone shows before a card over NFC is somebody's own."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace

import pytest

from passes.apple.bundle import signed_pass
from passes.apple.enrolment import PersonalField, Personalization
from passes.apple.model import Pass, PassFields, PassStyle
from passes.apple.verify import open_pass
from passes.content import Nfc, PassContentError, PassField, PassImages, Picture, Scaled
from tests.unit.passes.cards import NOW, pictures
from tests.unit.passes.drawn import NFC_KEY

LOGO = pictures(150, 40)
FORM = Personalization(
    description="Coffee for regulars – кафе",
    required_fields=tuple(PersonalField),
    logo=LOGO,
    terms='As <a href="https://cafe.example.com/terms">written here</a>.',
)


def a_pass(**changes) -> Pass:
    card = Pass(
        serial_number="p1",
        organization_name="Cafe Ohrid",
        description="A pass",
        style=PassStyle.STORE_CARD,
        fields=PassFields(header=(PassField(key="points", value=5),)),
        images=PassImages(icon=pictures(38, 38)),
        nfc=Nfc(message="4821", public_key=NFC_KEY),
        update_url="https://wallet.example.com/apple",
        authentication_token="0123456789abcdef0123",
        translations={"mk": {"A pass": "Картичка"}},
        personalization=FORM,
    )
    return replace(card, **changes)


def unpack(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_form_is_in_the_pass_and_in_its_manifest(signer, roots):
    data = signed_pass(a_pass(), signer, now=NOW)
    files = unpack(data)
    assert json.loads(files["personalization.json"]) == {
        "requiredPersonalizationFields": [
            "PKPassPersonalizationFieldName",
            "PKPassPersonalizationFieldPostalCode",
            "PKPassPersonalizationFieldEmailAddress",
            "PKPassPersonalizationFieldPhoneNumber",
        ],
        "description": "Coffee for regulars – кафе",
        "termsAndConditions": 'As <a href="https://cafe.example.com/terms">written here</a>.',
    }
    sums = {name: hashlib.sha1(content).hexdigest() for name, content in files.items()}
    del sums["manifest.json"], sums["signature"]
    assert json.loads(files["manifest.json"]) == sums
    opened = open_pass(data, trusted_roots=roots, now=NOW)
    assert "personalization" not in opened.pass_json
    assert {name: opened.images[name] for name in opened.images if "personalization" in name} == {
        "personalizationLogo.png": LOGO.x1.data,
        "personalizationLogo@2x.png": LOGO.x2.data,
        "personalizationLogo@3x.png": LOGO.x3.data,
    }


def test_a_pass_without_a_form_has_none_of_its_files(signer):
    plain = unpack(signed_pass(a_pass(personalization=None), signer, now=NOW))
    asking = unpack(signed_pass(a_pass(personalization=replace(FORM, terms=None)), signer, now=NOW))
    assert {name for name in asking if name not in plain} == {
        "personalization.json",
        *(f"personalizationLogo{scale}.png" for scale in ("", "@2x", "@3x")),
    }
    assert "termsAndConditions" not in json.loads(asking["personalization.json"])
    assert plain["pass.json"] == asking["pass.json"]


def form(**changes) -> dict:
    return {"personalization": replace(FORM, **changes)}


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("personalization", {"nfc": None}),
        ("personalization", {"update_url": None, "authentication_token": None}),
        ("personalization.description", form(description=" ")),
        ("personalization.description", form(description="x" * 1_001)),
        ("personalization.description", form(description="\ud800")),
        ("personalization.terms", form(terms="")),
        ("personalization.terms", form(terms="x" * 20_001)),
        ("personalization.required_fields", form(required_fields=())),
        ("personalization.required_fields", form(required_fields=(PersonalField.NAME,) * 2)),
        ("personalization.logo", form(logo=pictures(160, 50))),
        ("personalization.logo@2x", form(logo=Scaled(LOGO.x1, LOGO.x1, LOGO.x3))),
        ("personalization.logo@3x", form(logo=Scaled(LOGO.x1, LOGO.x2, Picture.of(b"GIF89a")))),
    ],
)
def test_what_no_phone_could_ask_is_refused_by_name(signer, where, changes):
    with pytest.raises(PassContentError) as caught:
        signed_pass(a_pass(**changes), signer, now=NOW)
    assert caught.value.where == where
