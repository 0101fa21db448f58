"""Several pass types on one server: each program's passes carry, and are asked for by, its own."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask

from tests.conftest import NOW
from tests.web.wallet_api.conftest import Phone, import_own_certificate, make_holder
from wallet_server.app import create_app
from wallet_server.context import make_context
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.errors import ConfigurationError
from wallet_server.issuance.pushes import tag_passes

OWN = "pass.com.example.cafe"


@pytest.fixture
def app(app: Flask, settings, clock) -> Iterator[Flask]:
    """The server after a restart: the café has imported a certificate of its own, the bakery has none."""
    server = app.extensions["wallet"]
    cafe = make_holder(server, "cafe-ohrid", "+38970123456")
    import_own_certificate(server, cafe.program, OWN)
    with pytest.raises(ConfigurationError, match="WALLET_SANDBOX is refused"):
        make_context(settings)  # a sandbox's clock must not sign with a certificate that phones trust
    settings = settings.model_copy(update={"WALLET_SANDBOX": False})
    context = make_context(settings)
    new = create_app(settings, replace(context, clock=clock))
    new.testing = True
    new.extensions["cafe"] = replace(cafe, server=new.extensions["wallet"])
    yield new
    context.engine.dispose()


@pytest.fixture
def cafe(app):
    return app.extensions["cafe"]


@pytest.fixture
def own_phone(client) -> Phone:
    return Phone(client, OWN)


def pass_type_of(data: bytes) -> tuple[str, str]:
    document = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("pass.json"))
    return document["passTypeIdentifier"], document["teamIdentifier"]


def test_each_pass_has_its_programs_type_and_is_asked_for_by_it(phone, own_phone, cafe, stranger):
    assert pass_type_of(own_phone.fetch(cafe).data) == (OWN, "TEAM123456")
    assert pass_type_of(phone.fetch(stranger).data)[0] == phone.pass_type
    assert phone.pass_type != OWN
    for asker, holder in ((phone, cafe), (own_phone, stranger)):
        assert asker.fetch(holder).status_code == 401
        assert asker.register(holder).status_code == 401


def test_a_phone_hears_of_each_type_by_itself(phone, own_phone, cafe, stranger, server):
    for asker, holder in ((own_phone, cafe), (phone, stranger)):
        assert asker.register(holder).status_code == 201
        holder.change()
    with transaction(server.engine, ALL_PROGRAMS) as session:
        tag_passes(session, [cafe.issued().id, stranger.issued().id], NOW)
    assert own_phone.changed().json["serialNumbers"] == [cafe.serial]
    assert phone.changed().json["serialNumbers"] == [stranger.serial]
    assert Phone(phone.client, "pass.com.example.nobody").changed().status_code == 204
    assert own_phone.unregister(cafe).status_code == 200
    assert own_phone.changed().status_code == 204
    assert phone.changed().json["serialNumbers"] == [stranger.serial]
