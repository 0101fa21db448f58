"""Owners and managers hear on every page of a certificate that ends, and of a key that cannot be read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask
from flask.testing import FlaskClient

from tests.web.conftest import Cast, SignIn
from tests.web.helpers import StoppedClock, text_of
from wallet_server.context import ContextKeeper, ServerContext
from wallet_server.web.context import KEEPER

PAGE = "/panel/programs/cafe-ohrid/members"
STAYS = "cards on phones stay as they are"


def use(app: Flask, context: ServerContext) -> None:
    keeper = app.extensions[KEEPER]
    assert isinstance(keeper, ContextKeeper)
    keeper._context = context


def with_days_left(app: Flask, server: ServerContext, left: timedelta) -> ServerContext:
    """The server as if its certificate were Apple's and ended in ``left``."""
    wallets = replace(server.wallets, development=False)
    context = replace(server, wallets=wallets, machine_clock=StoppedClock(wallets.signer.not_after - left))
    use(app, context)
    return context


def said(client: FlaskClient, path: str = PAGE) -> str:
    return " ".join(text_of(client.get(path)).replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.fixture
def manager(cast: Cast, sign_in: SignIn) -> FlaskClient:
    return sign_in("manager@cafe.example")


@pytest.mark.parametrize(
    ("left", "words", "urgent"),
    [
        (timedelta(days=-1), "Apple's certificate ended on ", True),
        (timedelta(hours=20), "Apple's certificate ends within a day.", True),
        (timedelta(days=1, hours=2), "Apple's certificate ends in 1 day, on ", True),
        (timedelta(days=6, hours=2), "Apple's certificate ends in 6 days, on ", True),
        (timedelta(days=29, hours=2), "Apple's certificate ends in 29 days, on ", False),
    ],
)
def test_a_certificate_that_ends_is_told_with_what_to_do(
    app: Flask, server: ServerContext, manager: FlaskClient, left: timedelta, words: str, urgent: bool
) -> None:
    with_days_left(app, server, left)
    page = manager.get(PAGE)
    text = said(manager)
    assert words in text
    assert f"{STAYS}. wallet-server apple csr" in text
    assert "--program" not in text
    assert f'alert alert-{"danger" if urgent else "warning"}" role="alert"' in page.get_data(as_text=True)


def test_nothing_is_told_of_a_certificate_that_lasts_or_that_is_ours(
    app: Flask, server: ServerContext, manager: FlaskClient
) -> None:
    with_days_left(app, server, timedelta(days=31))
    assert "certificate" not in said(manager)
    ours = replace(server, machine_clock=StoppedClock(server.wallets.signer.not_after - timedelta(days=1)))
    use(app, ours)
    assert "certificate" not in said(manager)


def test_a_program_s_own_certificate_is_renewed_by_its_own_request(
    app: Flask, server: ServerContext, cast: Cast, manager: FlaskClient, sign_in: SignIn
) -> None:
    context = with_days_left(app, server, timedelta(days=3))
    wallets = replace(context.wallets, programs={cast.cafe.id: context.wallets.signer})
    use(app, replace(context, wallets=wallets))
    assert "wallet-server apple csr --program cafe-ohrid" in said(manager)
    assert "wallet-server apple csr" in said(sign_in("owner@bakery.example"), "/panel/programs/bakery/members")


def test_cashiers_and_fragments_are_not_told(app: Flask, server: ServerContext, cast: Cast, sign_in: SignIn) -> None:
    with_days_left(app, server, timedelta(days=3))
    assert STAYS not in said(sign_in("cashier@cafe.example"))
    owner = sign_in("owner@cafe.example")
    assert STAYS in said(owner)
    assert STAYS not in owner.get(PAGE, headers={"HX-Request": "true"}).get_data(as_text=True)


def test_files_that_cannot_be_read_are_named(
    app: Flask, server: ServerContext, manager: FlaskClient, tmp_path: Path
) -> None:
    key = tmp_path / "push.p8"
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(pem)
    named = server.settings.model_copy(update={"WALLET_APNS_KEY_FILE": key})
    use(app, replace(server, settings=named))
    assert "cannot be read" not in said(manager)
    key.write_bytes(pem[:60])
    assert "A key or certificate cannot be read: WALLET_APNS_KEY_FILE." in said(manager)
    assert 'wallet_key_trouble{key="WALLET_APNS_KEY_FILE"} 1.0' in manager.get("/metrics").get_data(as_text=True)
    key.unlink()
    assert "WALLET_APNS_KEY_FILE. What was read before is still in use" in said(manager)


def test_imported_keys_that_cannot_be_used_are_told(app: Flask, manager: FlaskClient) -> None:
    app.extensions[KEEPER].trouble = "The key cannot be opened."
    text = said(manager)
    assert "The keys that were imported last cannot be used." in text
    assert "wallet-server doctor" in text
