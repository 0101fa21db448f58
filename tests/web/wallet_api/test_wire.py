"""Apple's web service as a phone hears it: each line of the protocol, over sockets, from two web processes.

Each row of a table is reported by itself; rows of a table are a story and come in their order.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.http import http_date

from tests.web.wallet_api.conftest import import_own_certificate, make_holder
from tests.web.wallet_api.wire import Line, web_server
from tests.web.wallet_api.world import DEVICE, PUSH, World, join, rows_of, signatures_of
from wallet_server import tokens
from wallet_server.context import ServerContext, make_context
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance.models import Device, Registration
from wallet_server.settings import load_settings

OWN = "pass.com.example.bakery"
PKPASS = "application/vnd.apple.pkpass"


@pytest.fixture(scope="module")
def running(
    _sqlite_template: Path, _apple_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Line, ServerContext]]:
    """One server for all tables: starting it is what takes time."""
    folder = tmp_path_factory.mktemp("wire")
    shutil.copytree(_apple_template, folder / _apple_template.name)
    shutil.copy(_sqlite_template, folder / "wallet.sqlite")
    settings = load_settings({"WALLET_DATA_DIR": str(folder), "WALLET_PUBLIC_URL": "http://127.0.0.1:8000"})
    setting_up = make_context(settings)
    baker = make_holder(setting_up, "bakery-bitola", "+38970000000")
    import_own_certificate(setting_up, baker.program, OWN)
    setting_up.engine.dispose()
    context = make_context(settings)
    make_holder(context, "cafe-ohrid", "+38970000000")
    with web_server(settings, folder / "web.log") as line:
        yield line, context
    context.engine.dispose()


@pytest.fixture
def world(running: tuple[Line, ServerContext]) -> Iterator[World]:
    line, server = running
    yield World(line, server, *(join(server, slug) for slug in ("cafe-ohrid", "cafe-ohrid", "bakery-bitola")))
    with transaction(server.engine, ALL_PROGRAMS) as session:
        session.execute(sa.delete(Registration))
        session.execute(sa.delete(Device))


def test_registering_and_unregistering(world: World, subtests: Any) -> None:
    ana, bo, baker = world.ana, world.bo, world.baker
    body = json.dumps({"pushToken": PUSH}).encode()
    wrong = {
        "without a token": ({}, world.registration(ana)),
        "an empty header": ({"Authorization": ""}, world.registration(ana)),
        "a wrong token": ({"Authorization": "ApplePass " + "x" * 43}, world.registration(ana)),
        "the token of another member": (world.auth(bo), world.registration(ana)),
        "the token of another program": (world.auth(baker), world.registration(ana)),
        "another scheme": ({"Authorization": f"Bearer {ana.token}"}, world.registration(ana)),
        "an Android reader's scheme": ({"Authorization": f"AndroidPass {ana.token}"}, world.registration(ana)),
        "the token alone": ({"Authorization": ana.token}, world.registration(ana)),
        "an unknown serial": (world.auth(ana), world.registration(ana).replace(ana.serial, "0" * 32)),
        "the type of another program": (world.auth(ana), world.registration(ana).replace(world.type_of(ana), OWN)),
        "an unknown type": (world.auth(ana), world.registration(ana).replace(world.type_of(ana), "pass.x")),
        "a Google card": (world.auth(ana), world.registration(ana).replace(ana.serial, ana.issued("google").serial)),
    }
    bodies = set()
    for name, (headers, target) in wrong.items():
        with subtests.test(f"refused: {name}"):
            for heard in (
                world.line.ask("POST", target, headers, body),
                world.line.ask("DELETE", target, headers),
                world.line.ask("GET", target.replace(f"devices/{DEVICE}/registrations", "passes"), headers),
            ):
                assert heard.status == 401
                bodies.add(heard.body)
    with subtests.test("what exists cannot be told from what does not"):
        assert len(bodies) == 1
        assert rows_of(world, Registration) == []

    steps = [
        ("new: 201", lambda: world.register(ana), 201),
        ("again: 200", lambda: world.register(ana), 200),
        ("again with another push token: 200", lambda: world.register(ana, push="CD" * 32), 200),
        ("another pass of the same phone: 201", lambda: world.register(bo, push="cd" * 32), 201),
        ("a pass of another type: 201", lambda: world.register(baker, push="ef" * 32), 201),
        ("another phone with the same pass: 201", lambda: world.register(ana, "e" * 32), 201),
        (
            "a body in chunks: 200",
            lambda: world.line.ask(
                "POST",
                world.registration(ana),
                {**world.auth(ana), "Transfer-Encoding": "chunked"},
                b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
            ),
            200,
        ),
        (
            "a small letter in the scheme, a content type of no kind: 200",
            lambda: world.line.ask(
                "POST",
                world.registration(ana),
                {"authorization": f"applepass {ana.token}", "Content-Type": "x/y"},
                body,
            ),
            200,
        ),
        ("a device with odd letters: 201", lambda: world.register(ana, "a%20b%2Bc%C3%A9"), 201),
        ("the same device, encoded otherwise: 200", lambda: world.register(ana, "%61%20b+c%c3%a9"), 200),
    ]
    for name, call, status in steps:
        with subtests.test(name):
            heard = call()
            assert (heard.status, heard.body) == (status, b"")
    with subtests.test("a phone has one push token, the last one told"):
        devices = {row.library_identifier: row.push_token for row in rows_of(world, Device)}
        assert devices == {DEVICE: PUSH, "e" * 32: PUSH, "a b+cé": PUSH}

    refused = {
        "no body": (b"", 400),
        "no JSON": (b"{", 400),
        "no push token": (b"{}", 400),
        "a push token of other letters": (b'{"pushToken":"xyz"}', 400),
        "too large": (json.dumps({"pushToken": PUSH, "x": "y" * 5000}).encode(), 413),
    }
    for name, (wrong_body, status) in refused.items():
        with subtests.test(f"refused: {name}"):
            heard = world.line.ask("POST", world.registration(ana), world.auth(ana), wrong_body)
            assert heard.status == status
            assert heard.headers["content-type"] == "application/problem+json"

    ends = [(DEVICE, ana), (DEVICE, ana), (DEVICE, bo), (DEVICE, baker), ("e" * 32, ana), ("a%20b%2Bc%C3%A9", ana)]
    for number, (device, holder) in enumerate([*ends, ("never-seen", ana)]):
        with subtests.test(f"unregistering is 200, also when it is done: {number}"):
            heard = world.line.ask("DELETE", world.registration(holder, device), world.auth(holder))
            assert (heard.status, heard.body) == (200, b"")
            assert world.changed(holder, device=device)[1].isdisjoint({holder.serial})
    with subtests.test("phones without a pass are forgotten"):
        assert rows_of(world, Device) == rows_of(world, Registration) == []


def test_what_has_changed(world: World, subtests: Any) -> None:
    ana, bo, baker = world.ana, world.bo, world.baker
    with subtests.test("an unknown phone: 204"):
        assert world.changed(ana) == (204, set(), "")
    for holder in (ana, bo, baker):
        world.register(holder)
    both = {ana.serial, bo.serial}
    with subtests.test("without a tag: all that the phone has of the type, and of no other"):
        status, serials, tag = world.changed(ana)
        assert (status, serials) == (200, both)
        assert world.changed(baker)[:2] == (200, {baker.serial})
        assert world.line.ask("GET", f"/apple/v1/devices/{DEVICE}/registrations/pass.unknown").status == 204
        assert world.changed(ana, device="e" * 32)[0] == 204
    with subtests.test("with the newest tag: 204"):
        assert world.changed(ana, f"?passesUpdatedSince={tag}")[0] == 204
    world.tag(bo)
    with subtests.test("with an older tag: what changed since, and a later tag"):
        status, serials, later = world.changed(ana, f"?passesUpdatedSince={tag}")
        assert (status, serials) == (200, {bo.serial})
        assert int(later) > int(tag)
    with subtests.test("nothing that changed is ever left out, however many tags there are in between"):
        world.tag(ana)
        world.tag(baker)
        newest = world.tag(bo)
        status, serials, last = world.changed(ana, f"?passesUpdatedSince={later}")
        assert (serials, int(last)) == (both, newest)
        assert world.changed(baker, f"?passesUpdatedSince={later}")[1] == {baker.serial}
    for odd in (
        "",
        "%20",
        "+",
        "2026-01-01T00:00:00+00:00",
        "yesterday",
        "-1",
        "1e3",
        "%D9%A3",
        "9" * 40,
        "%FF",
        "1;2",
    ):
        with subtests.test(f"a tag that is none of ours counts as none: {odd}"):
            assert world.changed(ana, f"?passesUpdatedSince={odd}")[:2] == (200, both)
    for same in (f"%3{last[0]}{last[1:]}", f"{last}&x=%20", f"{last}#part"):
        with subtests.test(f"a tag of ours however it is encoded: {same}"):
            assert world.changed(ana, f"?passesUpdatedSince={same}")[0] == 204
    with subtests.test("no token is asked for, and none helps"):
        wrong = world.line.ask("GET", world.list_of(ana), {"Authorization": "ApplePass wrong"})
        assert wrong.status == 200


def test_fetching(world: World, subtests: Any) -> None:
    ana = world.ana
    signed = signatures_of(world)
    first = world.fetch(ana)
    modified = first.headers["last-modified"]
    with subtests.test("200 with the pass and what a phone goes by"):
        assert (first.status, first.headers["content-type"]) == (200, PKPASS)
        assert first.body.startswith(b"PK\x03\x04")
        assert first.headers["content-length"] == str(len(first.body))
        assert first.headers["cache-control"] == "no-store, private"
        assert modified == http_date(ana.issued().last_modified)
    with subtests.test("every process gives out the same bytes: it was signed once"):
        assert {world.fetch(ana).body for _ in range(12)} == {first.body}
        assert signatures_of(world) == signed + 1
    with subtests.test("HEAD is GET without the pass"):
        head = world.fetch(ana, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == PKPASS
        assert head.headers["last-modified"] == modified
        assert "content-length" not in head.headers
    when = parsedate_to_datetime(modified)
    asctime, rfc850 = when.strftime("%a %b %e %H:%M:%S %Y"), when.strftime("%A, %d-%b-%y %H:%M:%S GMT")
    for given in (modified, http_date(when + timedelta(days=1)), asctime, rfc850):
        for method in ("GET", "HEAD"):
            with subtests.test(f"304 to {method} of who has it: {given}"):
                heard = world.fetch(ana, method, **{"If-Modified-Since": given})
                assert (heard.status, heard.body) == (304, b"")
                assert heard.headers["last-modified"] == modified
                assert heard.headers["cache-control"] == "no-store, private"
                assert heard.headers["x-content-type-options"] == "nosniff"
                assert "content-type" not in heard.headers
    for given in (
        http_date(when - timedelta(seconds=1)),
        "",
        "yesterday",
        "1700000000.5",
        "Mon, 99 Foo 2026 25:61:61 GMT",
    ):
        with subtests.test(f"200 to who has an older one, or says no date: {given!r}"):
            assert world.fetch(ana, **{"If-Modified-Since": given}).status == 200
    with subtests.test("who has it but does not prove it learns nothing"):
        for headers in ({}, world.auth(world.bo), world.auth(world.baker)):
            heard = world.line.ask("GET", world.pass_of(ana), {**headers, "If-Modified-Since": modified})
            assert heard.status == 401
        other = world.pass_of(ana).replace(world.type_of(ana), OWN)
        assert world.line.ask("GET", other, {**world.auth(ana), "If-Modified-Since": modified}).status == 401
    with subtests.test("two changes within a second are two dates"):
        dates = [parsedate_to_datetime(modified)]
        for _ in range(3):
            ana.change()
            heard = world.fetch(ana, **{"If-Modified-Since": http_date(dates[-1])})
            assert heard.status == 200
            dates.append(parsedate_to_datetime(heard.headers["last-modified"]))
        assert all(later - earlier >= timedelta(seconds=1) for earlier, later in pairwise(dates))
    with subtests.test("a token that was revoked opens nothing, its successor does"):
        with transaction(world.server.engine, ALL_PROGRAMS) as session:
            session.get_one(type(ana.issued()), ana.issued().id).token_generation = 1
        assert world.fetch(ana).status == 401
        new = tokens.TokenMint(world.server.settings.WALLET_SECRET_KEY).authentication_token(ana.issued().id, 1)
        assert world.line.ask("GET", world.pass_of(ana), {"Authorization": f"ApplePass {new}"}).status == 200


def test_addresses_as_phones_join_them(world: World, subtests: Any) -> None:
    ana = world.ana
    path, kind = world.pass_of(ana), world.type_of(ana)
    encoded = "".join(f"%{ord(letter):02X}" for letter in ana.serial)
    same = {
        "as it is": path,
        "a doubled slash": path.replace("/apple/", "/apple//"),
        "many slashes": path.replace("/", "///"),
        "a slash at the end": path + "/",
        "letters encoded": path.replace(ana.serial, encoded),
        "small hexadecimal digits": path.replace(ana.serial, encoded.lower()),
        "dots encoded": path.replace(kind, kind.replace(".", "%2E")),
        "a query that means nothing": path + "?x=1&y=%20",
    }
    date = world.fetch(ana).headers["last-modified"]
    for name, target in same.items():
        with subtests.test(name):
            assert world.line.ask("GET", target, world.auth(ana)).status == 200
            unchanged = world.line.ask("GET", target, {**world.auth(ana), "If-Modified-Since": date})
            assert unchanged.status == 304
    for name, target in {
        "registering": world.registration(ana),
        "registering, slashes": world.registration(ana).replace("/v1/", "//v1//") + "/",
    }.items():
        with subtests.test(name):
            assert world.line.ask("POST", target, world.auth(ana), b'{"pushToken":"ab"}').status in (200, 201)
    for name, target in {"list, slash at the end": world.list_of(ana) + "/", "list": world.list_of(ana)}.items():
        with subtests.test(name):
            assert world.line.ask("GET", target).status == 200
    nothing = {
        "a slash inside a serial": (path.replace(ana.serial, "a%2Fb"), {401, 404}),
        "a zero byte": (path.replace(ana.serial, "a%00b"), {400, 401, 404}),
        "letters beyond ASCII": (path.replace(ana.serial, "%C3%A9%FF"), {401, 404}),
        "a serial without an end": (path.replace(ana.serial, "a" * 4000), {401, 404, 414}),
        "a folder above": (path + "/../../../healthz", {401, 404}),
        "no serial": (path.rpartition("/")[0], {404}),
        "another version": (path.replace("/v1/", "/v2/"), {404}),
        "personalisation, which our passes do not have": (path + "/personalize", {404, 405}),
    }
    for name, (target, statuses) in nothing.items():
        with subtests.test(name):
            for headers in (world.auth(ana), {**world.auth(ana), "If-Modified-Since": date}):
                assert world.line.ask("GET", target, headers).status in statuses
    for method, target in (
        ("GET", world.registration(ana)),
        ("PUT", world.registration(ana)),
        ("POST", path),
        ("DELETE", path),
        ("POST", world.list_of(ana)),
        ("GET", "/apple/v1/log"),
    ):
        with subtests.test(f"{method} is no call of the protocol"):
            assert world.line.ask(method, target, world.auth(ana)).status == 405


def test_the_log(world: World, subtests: Any) -> None:
    calls = {
        "a line": (b'{"logs":["[2026-11-22] Get pass task (serial x) encountered error: 500"]}', 200),
        "none": (b'{"logs":[]}', 200),
        "many": (json.dumps({"logs": ["x"] * 1000}).encode(), 200),
        "a long one": (json.dumps({"logs": ["y" * 20_000]}).encode(), 200),
        "what is not text": (b'{"logs":[1,null,{}]}', 200),
        "control characters": (b'{"logs":["a\\r\\nb\\u001b[31m"]}', 200),
        "other keys": (b'{"logs":["x"],"more":1}', 200),
        "no list": (b'{"logs":"x"}', 400),
        "no JSON": (b"logs", 400),
        "nothing": (b"", 400),
        "too large": (json.dumps({"logs": ["z" * 70_000]}).encode(), 413),
    }
    for name, (body, status) in calls.items():
        with subtests.test(name):
            assert world.line.ask("POST", "/apple/v1/log", {"Content-Type": "application/json"}, body).status == status
    with subtests.test("a body that never ends is not read"):
        endless = b"POST /apple/v1/log HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{"
        assert world.line.raw(endless + b" " * 100_000).status == 413
    with subtests.test("a flood is slowed down, and nothing else with it"):
        codes = [world.line.ask("POST", "/apple/v1/log", body=b'{"logs":[]}').status for _ in range(140)]
        assert set(codes) == {200, 429}
        assert world.fetch(world.ana).status == 200
