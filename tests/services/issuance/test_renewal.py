"""Another certificate signs: the passes of its programs count as changed, once, and nobody else's do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import select

from tests.conftest import NOW
from tests.people import publish
from tests.services.issuance.conftest import Shop
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.headers import pass_header
from wallet_server.issuance.models import SigningCertificate
from wallet_server.issuance.renewal import certificates_to_take, take_certificates

LATER = NOW + timedelta(hours=1, microseconds=7)


def wallets(default: str, own: Mapping[UUID, str] | None = None) -> Any:
    """Credentials of which only the certificates' fingerprints are looked at."""
    return SimpleNamespace(signer_of=lambda program: SimpleNamespace(fingerprint=(own or {}).get(program, default)))


@pytest.fixture
def two(shop: Shop) -> tuple[Shop, UUID, UUID]:
    """A program with a member, and the id of another program."""
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        other = publish(session, NOW, "bakery-bitola")
    return shop, shop.join(), other.id


def take(shop: Shop, who: Any, now: Any = LATER) -> int:
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        return take_certificates(session, who, now)


def test_the_first_certificate_is_remembered_and_then_nothing_is_left_to_do(two) -> None:
    shop, member, _other = two
    assert take(shop, wallets("a" * 64)) == 2
    moved = shop.issued(member).last_modified
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert {row.fingerprint for row in session.exec(select(SigningCertificate))} == {"a" * 64}
        assert certificates_to_take(session, wallets("a" * 64)) == {}
    assert take(shop, wallets("a" * 64), LATER + timedelta(days=1)) == 0
    assert shop.issued(member).last_modified == moved


def test_a_renewal_moves_the_date_of_apple_passes_and_neither_their_version_nor_a_phone(two) -> None:
    shop, member, _other = two
    take(shop, wallets("a" * 64))
    before, google = shop.issued(member), shop.issued(member, "google")
    work = len(shop.work())
    assert take(shop, wallets("b" * 64), LATER) == 2
    after = shop.issued(member)
    assert after.last_modified == before.last_modified + timedelta(seconds=1)  # within the same second, too
    assert (after.version, after.update_tag) == (before.version, before.update_tag)
    assert shop.issued(member, "google").last_modified == google.last_modified
    assert len(shop.work()) == work
    assert take(shop, wallets("c" * 64), LATER + timedelta(hours=1)) == 2
    assert shop.issued(member).last_modified == (LATER + timedelta(hours=1)).replace(microsecond=0)


def test_a_program_with_a_certificate_of_its_own_is_renewed_by_itself(two) -> None:
    shop, member, other = two
    take(shop, wallets("a" * 64))
    before = shop.issued(member).last_modified
    assert take(shop, wallets("a" * 64, {other: "b" * 64})) == 1
    assert shop.issued(member).last_modified == before
    assert take(shop, wallets("a" * 64, {other: "b" * 64, shop.program.id: "c" * 64})) == 1
    assert shop.issued(member).last_modified > before


def test_a_pass_is_found_by_its_serial_with_what_a_request_is_judged_by(two) -> None:
    shop, member, _other = two
    issued = shop.issued(member)
    header = pass_header(shop.engine, issued.serial)
    assert header is not None
    assert (header.id, header.program_id, header.token_generation, header.last_modified) == (
        issued.id,
        issued.program_id,
        issued.token_generation,
        issued.last_modified,
    )
    assert pass_header(shop.engine, shop.issued(member, "google").serial) is None
    assert pass_header(shop.engine, "nobody's") is None
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        session.get_one(type(issued), issued.id).token_generation = 3
    assert pass_header(shop.engine, issued.serial).token_generation == 3
