"""The year is over and the certificate is renewed: whoever asks next gets the pass signed anew, without a push."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from passes.apple.verify import PassRefused
from tests.web.wallet_api.conftest import Phone
from tests.web.wallet_api.test_apple import IMS, opened
from wallet_server.app import create_app
from wallet_server.context import make_context
from wallet_server.issuance.credentials import development_folder


@pytest.fixture
def restart(settings, clock):
    """Start the server again on the same data."""
    contexts = []

    def start():
        context = make_context(settings)
        contexts.append(context)
        return create_app(settings, replace(context, clock=clock))

    yield start
    for context in contexts:
        context.engine.dispose()


def phone_of(app) -> Phone:
    return Phone(app.test_client(), app.extensions["wallet"].wallets.pass_type_id)


def test_a_restart_with_the_same_certificate_changes_nothing(phone, holder, restart):
    since = phone_of(restart()).fetch(holder).headers["Last-Modified"]
    first = phone.fetch(holder)
    assert phone_of(restart()).fetch(holder, **{IMS: since}).status_code == 304
    # Another process, and still nothing is signed twice: the signature's own time says so.
    assert phone_of(restart()).fetch(holder).data == first.data


def test_after_a_renewal_the_next_fetch_is_signed_by_the_new_certificate(phone, holder, restart, settings, server):
    old = phone_of(restart())
    first = old.fetch(holder)
    since = {IMS: first.headers["Last-Modified"]}
    assert old.fetch(holder, **since).status_code == 304
    shutil.rmtree(development_folder(settings))
    new = phone_of(restart())
    assert new.client.application.extensions["wallet"].wallets.signer.fingerprint != server.wallets.signer.fingerprint
    second = new.fetch(holder, **since)
    assert second.status_code == 200
    assert second.data != first.data
    opened(server, second.data)  # trusts the new root only
    with pytest.raises(PassRefused, match="neither in the signature nor trusted"):
        opened(server, first.data)
    assert new.fetch(holder, **{IMS: second.headers["Last-Modified"]}).status_code == 304
    assert new.changed().status_code == 204  # nobody has registered, nobody is told
    assert holder.issued().version == 1
