from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import pytest

from passes.apple import pkpasses as module
from passes.apple.bundle import signed_pass, stored_zip
from passes.apple.pkpasses import MIME_TYPE, pkpasses
from passes.apple.verify import PassRefused, open_passes
from passes.content import PassContentError, Picture
from tests.unit.passes.cards import NOW, a_card


@pytest.fixture
def several(signer) -> list[bytes]:
    return [signed_pass(a_card(serial_number=f"card-{n}"), signer, now=NOW) for n in range(3)]


def test_several_passes_travel_in_one_file(several, roots):
    made = pkpasses(several)
    opened = open_passes(made, trusted_roots=roots, now=NOW)
    assert [one.pass_json["serialNumber"] for one in opened] == ["card-0", "card-1", "card-2"]
    assert pkpasses(several) == made
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["pass-1.pkpass", "pass-2.pkpass", "pass-3.pkpass"]
    assert MIME_TYPE == "application/vnd.apple.pkpasses"


def test_it_holds_one_to_ten_passes_of_150_megabytes_together(several, monkeypatch):
    assert pkpasses(several[:1] * 10)
    for wrong in ([], several[:1] * 11):
        with pytest.raises(PassContentError, match="passes"):
            pkpasses(wrong)
    with pytest.raises(PassContentError, match=r"passes\[1\]"):
        pkpasses([several[0], b"<html>"])
    monkeypatch.setattr(module, "BYTES_MAX", sum(map(len, several)))
    with pytest.raises(PassContentError, match="150 MB"):
        pkpasses(several)


def test_one_bad_pass_spoils_the_file(several, roots):
    good = [(f"{n}.pkpass", Picture.of(data)) for n, data in enumerate(several)]
    tampered = several[1].replace(b'"value":126', b'"value":999')
    for files, code in (
        ([*good, ("x.pkpass", Picture.of(b"PK\x03\x04"))], "not_a_zip"),
        ([], "missing_file"),
        ([(f"{n}.pkpass", good[0][1]) for n in range(11)], "too_many_files"),
        ([good[0], ("1.pkpass", Picture.of(tampered))], "not_a_zip"),
    ):
        with pytest.raises(PassRefused) as caught:
            open_passes(stored_zip(files), trusted_roots=roots, now=NOW)
        assert caught.value.code == code


def test_the_same_card_twice_keeps_its_own_serial_number(signer, roots):
    cards = [a_card(), replace(a_card(), serial_number="other")]
    opened = open_passes(pkpasses([signed_pass(card, signer, now=NOW) for card in cards]), trusted_roots=roots, now=NOW)
    assert len({one.pass_json["serialNumber"] for one in opened}) == 2
