"""Void passes: told once, touched by no change after that, and forgotten by their phones' ties after 30 days."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import select

from tests.conftest import NOW
from tests.services.issuance.conftest import Shop
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.issuance.deliveries import record_fetch
from wallet_server.issuance.models import Device, IssuedPass, Registration
from wallet_server.issuance.phones import register_device
from wallet_server.issuance.services import passes_changed, refresh_passes
from wallet_server.issuance.voiding import untie_phones, void_passes

LATER = NOW + timedelta(days=30)


def on_phone(shop: Shop, issued: IssuedPass, device: str) -> None:
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        row = session.get_one(IssuedPass, issued.id)
        record_fetch(session, row.id, row.version, NOW)
        register_device(session, row, device=device, push_token=f"{device}0", now=NOW)


def void(shop: Shop, issued: IssuedPass) -> int:
    with transaction(shop.engine, shop.program.id) as session:
        return void_passes(session, shop.program, [issued.card_id], NOW)


def untie(shop: Shop, now: datetime) -> int:
    with transaction(shop.engine, ALL_PROGRAMS) as session:
        return untie_phones(session, now)


def pushed(shop: Shop) -> list[str]:
    return [pass_id for row in shop.work() if row.topic == "pass.changed" for pass_id in row.payload["pass_ids"]]


def test_phones_are_told_once_and_never_again(shop: Shop) -> None:
    ana = shop.join()
    on_phone(shop, shop.issued(ana), "a")
    before = pushed(shop)
    assert void(shop, shop.issued(ana)) == 2  # Apple's and Google's
    assert void(shop, shop.issued(ana)) == 0
    with transaction(shop.engine, shop.program.id) as session:
        passes_changed(session, shop.program, [ana], NOW)
        refresh_passes(session, shop.program, None, NOW)
    assert pushed(shop)[len(before) :] == [str(shop.issued(ana).id)]
    assert (shop.issued(ana).version, shop.issued(ana).voided_at) == (2, NOW)
    assert shop.issued(ana).last_modified > NOW.replace(microsecond=0) - timedelta(seconds=1)


def test_the_passes_of_others_stay_good(shop: Shop) -> None:
    ana, boris = shop.join(), shop.join()
    void(shop, shop.issued(ana))
    assert (shop.issued(boris).version, shop.issued(boris).voided_at) == (1, None)


def test_after_thirty_days_nobody_knows_which_phones_had_it(shop: Shop) -> None:
    ana, boris = shop.join(), shop.join()
    on_phone(shop, shop.issued(ana), "a")
    on_phone(shop, shop.issued(ana), "shared")
    on_phone(shop, shop.issued(boris), "shared")
    void(shop, shop.issued(ana))
    assert untie(shop, LATER) == 0
    assert untie(shop, LATER + timedelta(seconds=1)) == 1
    assert untie(shop, LATER + timedelta(days=9)) == 0
    with reading(shop.engine, ALL_PROGRAMS) as session:
        assert session.exec(select(Registration.pass_id)).all() == [shop.issued(boris).id]
        assert session.exec(select(Device.library_identifier)).all() == ["shared"]
    assert (shop.issued(ana).live, shop.issued(ana).removed_why) == (False, "voided")
    assert shop.issued(boris).live
