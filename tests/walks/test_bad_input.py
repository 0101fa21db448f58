"""What comes in wrong gets an answer of its own and changes nothing: asked of the real commands and a real group."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from tests.group import Group, environment, running_group, wait_until
from wallet_server import migrations
from wallet_server.cli import cli
from wallet_server.db import create_engine
from wallet_server.errors import ConfigurationError
from wallet_server.sandbox.client import ControlClient

NO_CARD = "1234567890123456"
COUNTED = {"idempotency_key", "login_attempt", "staff_session", "delivery_mark", "delivery_hour"}
"""Tables that note attempts: a kept refusal, a wrong password, the use of a session; and what the tick counts."""


def run(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """``wallet-server …`` with nothing but these settings."""
    data = Path(settings.pop("WALLET_DATA_DIR"))
    return subprocess.run(
        [sys.executable, "-m", "wallet_server", *(str(argument) for argument in arguments)],
        env=environment(data, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_one_sentence(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert done.returncode == 1
    assert done.stderr.startswith("wallet-server: ")
    assert sentence in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("trouble", ["damaged", "newer", "unreachable"])
def test_a_database_that_cannot_be_used_is_one_sentence_and_stays_as_it_was(tmp_path: Path, trouble: str) -> None:
    file = tmp_path / "wallet.sqlite"
    settings: dict[str, str] = {}
    sentence = "the database cannot be used"
    if trouble == "damaged":
        file.write_bytes(bytes(range(256)) * 16)
    elif trouble == "newer":
        engine = create_engine(f"sqlite:///{file}")
        migrations.upgrade(engine)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        engine.dispose()
        sentence = "revision 9999, which this program does not know"
    else:
        settings["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    before = file.read_bytes() if file.exists() else b""
    runner = CliRunner(env=environment(tmp_path, **settings))
    for command in (["verify"], ["migrate"], ["api-key", "create", "--program", "cafe-ohrid"]):
        refused = runner.invoke(cli, command).exception
        assert isinstance(refused, ConfigurationError), command
        assert sentence in str(refused)
    assert_one_sentence(run("web", WALLET_DATA_DIR=str(tmp_path), **settings), sentence)
    assert (file.read_bytes() if file.exists() else b"") == before


@pytest.fixture
def migrated(tmp_path: Path) -> Path:
    """A data folder with an empty database."""
    engine = create_engine(f"sqlite:///{tmp_path / 'wallet.sqlite'}")
    migrations.upgrade(engine)
    engine.dispose()
    return tmp_path


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read"), ("not a certificate", "is not PEM")],
    ids=["missing", "damaged"],
)
@pytest.mark.parametrize("command", ["web", "up"])
def test_a_certificate_that_cannot_be_used_stops_the_start(
    migrated: Path, command: str, content: str | None, sentence: str
) -> None:
    file = migrated / "certificate.pem"
    if content is not None:
        file.write_text(content)
    names = ("CERTIFICATE", "KEY", "WWDR")
    settings = {f"WALLET_APPLE_{name}_FILE": str(file) for name in names}
    settings |= {"WALLET_APPLE_PASS_TYPE_ID": "pass.com.example.cafe", "WALLET_APPLE_TEAM_ID": "ABCDE12345"}
    assert_one_sentence(run(command, "--port", "1024", WALLET_DATA_DIR=str(migrated), **settings), sentence)


def test_a_busy_port_stops_the_web_alone(migrated: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run("web", "--port", str(port), WALLET_DATA_DIR=str(migrated))
    assert_one_sentence(refused, f"port {port} on 127.0.0.1 cannot be used")


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with running_group(tmp_path_factory.mktemp("bad") / "data") as group:
        yield group


@pytest.fixture
def http(group: Group) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=group.url, timeout=30) as client:
        yield client


Unchanged = Callable[[], None]


@pytest.fixture
def unchanged(group: Group) -> Unchanged:
    """Assert that no table holds anything else than when the test began."""

    def rows() -> dict[str, list[Any]]:
        connection = sqlite3.connect(f"file:{group.data / 'wallet.sqlite'}?mode=ro", uri=True)
        try:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {
                name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
                for name in names
                if name not in COUNTED
            }
        finally:
            connection.close()

    # The first tick notes on each program which day it is, and workers may be at what another test has asked for.
    wait_until(lambda: not _select(group, "SELECT id FROM program WHERE turned_on IS NULL"), "no day was noted")
    wait_until(lambda: not _select(group, "SELECT id FROM outbox WHERE state IN ('waiting', 'leased')"), "still busy")
    before = rows()

    def check() -> None:
        now = rows()
        changed = {name: set(before[name]) ^ set(now[name]) for name in before if now[name] != before[name]}
        assert not changed, "\n".join(f"{name}: {row}" for name, rows in changed.items() for row in rows)

    return check


def bearer(key: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Idempotency-Key": f"k-{time.monotonic_ns()}", **headers}


def purchase(card_number: str, **changes: Any) -> dict[str, Any]:
    return {
        "receipt_id": f"r-{time.monotonic_ns()}",
        "card_number": card_number,
        "outlet": "bazaar",
        "occurred_at": datetime.now(UTC).isoformat(),
        "lines": [{"sku": "cappuccino", "quantity": 1, "unit_price_minor": 11000}],
        **changes,
    }


def assert_problem(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"]


def member_of(group: Group, http: httpx.Client) -> dict[str, Any]:
    email = f"bad-{time.monotonic_ns()}@example.com"
    answer = http.post("/api/v1/members", headers=bearer(group.logins["api_key"]), json={"email": email})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_broken_program_file_names_its_lines(group: Group, unchanged: Unchanged, tmp_path: Path) -> None:
    exported = group.command("program", "export", "cafe-ohrid")
    assert exported.returncode == 0, exported.stderr
    file = tmp_path / "cafe.yaml"
    file.write_text(exported.stdout.replace("currency: MKD", "curency: MKD"), encoding="utf-8")
    for command in ("apply", "diff"):
        refused = group.command("program", command, str(file))
        assert_one_sentence(refused, "line ")
        assert "program.curency: is not a key that this version knows" in refused.stderr
    unchanged()


def test_malformed_rows_are_named_and_only_the_good_one_comes_in(
    group: Group, http: httpx.Client, tmp_path: Path
) -> None:
    card = member_of(group, http)["card_number"]
    now = datetime.now(UTC).isoformat()
    before = _select(group, "SELECT receipt_id FROM purchase")
    file = tmp_path / "receipts.csv"
    rows = [
        "receipt_id,card_number,outlet,occurred_at,sku,quantity,unit_price_minor",
        f"b1,{NO_CARD},bazaar,{now},cappuccino,1,11000",
        f"b2,{card},nowhere,{now},cappuccino,1,11000",
        f"b3,{card},bazaar,yesterday,cappuccino,1,11000",
        "b4",
        f"good-{card},{card},bazaar,{now},cappuccino,1,11000",
    ]
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    refused = group.command("import", "receipts", "--program", "cafe-ohrid", str(file))
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    for row in ("row 2", "row 3", "row 4", "row 5"):
        assert row in refused.stderr
    assert "row 6" not in refused.stderr
    after = _select(group, "SELECT receipt_id FROM purchase")
    assert sorted(set(after) - set(before)) == [(f"good-{card}",)]
    assert len(after) == len(before) + 1


def test_wrong_and_revoked_keys_are_nobodys(group: Group, http: httpx.Client) -> None:
    made = group.command("api-key", "create", "--program", "cafe-ohrid", "--scopes", "earn")
    key = made.stdout.strip()
    card = member_of(group, http)["card_number"]
    assert http.get(f"/api/v1/members/{card}", headers=bearer(key)).status_code == 200
    assert group.command("api-key", "revoke", key[:9], "--program", "cafe-ohrid").returncode == 0
    for wrong in (key, f"{key[:-1]}!", "wk_nobody"):
        answer = http.post("/api/v1/purchases", headers=bearer(wrong), json=purchase(card))
        assert_problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert wrong not in answer.text
    assert_problem(http.post("/api/v1/purchases", json=purchase(card)), 401, "unauthorized")
    entries = http.get(f"/api/v1/members/{card}/entries", headers=bearer(group.logins["api_key"]))
    assert entries.json()["entries"] == []


def test_what_a_till_gets_wrong_has_a_code_and_leaves_no_trace(
    group: Group, http: httpx.Client, unchanged: Unchanged
) -> None:
    key = group.logins["api_key"]
    [card] = [number for (number,) in _select(group, "SELECT number FROM card ORDER BY number LIMIT 1")]
    for body, status, code in (
        (purchase(NO_CARD), 404, "unknown_card"),
        (purchase(card, outlet="nowhere"), 404, "unknown_outlet"),
        (purchase(card, redeem_points=10**9), 409, "insufficient_points"),
        (purchase(card, lines=[]), 422, "validation"),
        (purchase(card, colour="red"), 422, "validation"),
        (purchase(card, occurred_at="2026-11-21T10:00:00"), 422, "validation"),
    ):
        assert_problem(http.post("/api/v1/purchases", headers=bearer(key), json=body), status, code)
    headers = bearer(key, **{"Content-Type": "application/json"})
    assert_problem(http.post("/api/v1/purchases", headers=headers, content=b"{"), 400, "bad_json")
    assert_problem(http.get(f"/api/v1/members/{NO_CARD}", headers=bearer(key)), 404, "unknown_card")
    voucher = {"outlet": "bazaar", "occurred_at": datetime.now(UTC).isoformat()}
    answer = http.post("/api/v1/vouchers/AAAA-AAAA-AAAA-A/redeem", headers=bearer(key), json=voucher)
    assert_problem(answer, 404, "unknown_voucher")
    unchanged()


def test_points_that_a_till_may_not_move_stay_where_they_are(
    group: Group, http: httpx.Client, unchanged: Unchanged
) -> None:
    """The new calls over a real socket; ``tests/web/pos_api/test_bad_input.py`` has the whole table."""
    [card] = [number for (number,) in _select(group, "SELECT number FROM card ORDER BY number LIMIT 1")]
    no_id = "01890000-0000-7000-8000-000000000000"
    wish = {"card_number": card, "outlet": "bazaar", "points": 1, "expires_in_seconds": 60}
    visit = {"card_number": card, "outlet": "bazaar", "visit_id": "V", "occurred_at": datetime.now(UTC).isoformat()}
    calls: tuple[tuple[str, str, dict[str, Any], int, str], ...] = (
        ("POST", f"/purchases/{no_id}/refunds", {"refund_id": "R"}, 404, "unknown_purchase"),
        ("POST", "/purchases/x/refunds", {"refund_id": "R"}, 404, "unknown_purchase"),
        ("POST", "/visits", {**visit, "outlet": "nowhere"}, 404, "unknown_outlet"),
        ("POST", "/visits", {**visit, "occurred_at": "2099-01-01T00:00:00Z"}, 422, "validation"),
        ("POST", "/holds", {**wish, "points": 10**9}, 409, "insufficient_points"),
        ("POST", "/holds", {**wish, "expires_in_seconds": 0}, 422, "validation"),
        ("POST", f"/holds/{no_id}/capture", {}, 404, "unknown_hold"),
        ("POST", f"/holds/{no_id}/release", {}, 404, "unknown_hold"),
        ("POST", "/adjustments", {"card_number": card, "points": 10**8, "reason": "Why not"}, 403, "adjustment_limit"),
        ("POST", "/adjustments", {"card_number": NO_CARD, "points": 1, "reason": "Why not"}, 404, "unknown_card"),
        ("PUT", f"/members/{card}/coefficient", {"percent": 5, "outlet": "nowhere"}, 404, "unknown_outlet"),
        ("PUT", f"/members/{card}/tags", {"tags": ["two words"]}, 422, "validation"),
        ("POST", "/purchases", purchase(card, currency="EUR"), 422, "currency_mismatch"),
    )
    for method, path, body, status, code in calls:
        headers = bearer(group.logins["api_key"])
        assert_problem(http.request(method, f"/api/v1{path}", headers=headers, json=body), status, code)
    unchanged()


def test_a_body_that_is_too_large_or_cut_off_is_refused_on_the_wire(group: Group, unchanged: Unchanged) -> None:
    headers = bearer(group.logins["api_key"], **{"Content-Type": "application/json"})
    url = f"{group.url}/api/v1/purchases"
    # Each on a connection of its own: the server reads no more of a body that is too large, and hangs up.
    assert_problem(httpx.post(url, headers=headers, content=b" " * 2_097_153, timeout=30), 413, "too_large")
    nested = b'{"lines": ' + b"[" * 200_000
    assert_problem(httpx.post(url, headers=headers, content=nested, timeout=30), 400, "bad_json")
    unchanged()


def test_a_phone_with_a_wrong_token_learns_and_changes_nothing(group: Group, http: httpx.Client) -> None:
    member = member_of(group, http)
    serial, pass_type = _select(
        group,
        "SELECT serial, 'pass.development.wallet-server' FROM issued_pass JOIN card ON card.id = card_id"
        f" WHERE wallet = 'apple' AND card.number = '{member['card_number']}'",
    )[0]
    registration = f"/apple/v1/devices/{'ab' * 16}/registrations/{pass_type}/{serial}"
    before = _select(group, "SELECT * FROM registration"), _select(group, "SELECT * FROM device")
    for headers in ({}, {"Authorization": "ApplePass wrong"}, bearer(group.logins["api_key"])):
        calls = (
            http.post(registration, headers=headers, json={"pushToken": "ab" * 32}),
            http.delete(registration, headers=headers),
            http.get(f"/apple/v1/passes/{pass_type}/{serial}", headers=headers),
        )
        for answer in calls:
            assert_problem(answer, 401, "unauthorized")
    assert (_select(group, "SELECT * FROM registration"), _select(group, "SELECT * FROM device")) == before


def test_a_phone_that_registers_again_is_rung_at_its_new_token(group: Group, http: httpx.Client) -> None:
    member = member_of(group, http)
    control = ControlClient.of(group.data)
    phone = control.post("phones", name="Restored", language="en", install=member["apple_pass_url"])
    [old] = _select(group, f"SELECT push_token FROM device WHERE library_identifier = '{phone['device_id']}'")
    control.post("phones", phone["id"], "renew-token")
    [new] = _select(group, f"SELECT push_token FROM device WHERE library_identifier = '{phone['device_id']}'")
    assert new != old
    headers = bearer(group.logins["api_key"])
    assert http.post("/api/v1/purchases", headers=headers, json=purchase(member["card_number"])).status_code == 201
    wait_until(lambda: control.get("phones", phone["id"])["banners"], "the push went to the old token")


@pytest.fixture
def group_of_its_own(tmp_path: Path) -> Iterator[Group]:
    """For a test that moves the clock: days that turn change rows for a while, under the eyes of the other tests."""
    with running_group(tmp_path / "data") as group:
        yield group


def test_a_session_that_is_forged_expired_or_over_leads_to_the_login_page(group_of_its_own: Group) -> None:
    group = group_of_its_own
    members = "/panel/programs/cafe-ohrid/members"

    def is_turned_away(token: str) -> bool:
        answer = httpx.get(f"{group.url}{members}", cookies={"staff": token}, timeout=30)
        assert "Ана" not in answer.text
        return answer.status_code == 303 and "/panel/login" in answer.headers["Location"]

    email, password, _role = group.logins["staff"][0]
    tokens = [_sign_in(group, email, password) for _ in range(2)]
    for token in tokens:
        assert httpx.get(f"{group.url}{members}", cookies={"staff": token}, timeout=30).status_code == 200
    assert is_turned_away("forged")
    assert is_turned_away(f"{tokens[0][:-2]}AA")
    assert not any(token in repr(_select(group, "SELECT * FROM staff_session")) for token in tokens)
    assert group.command("sandbox", "clock", "advance", "8d").returncode == 0
    assert all(is_turned_away(token) for token in tokens)


def _sign_in(group: Group, email: str, password: str) -> str:
    with httpx.Client(base_url=group.url, timeout=30) as browser:
        page = browser.get("/panel/login").text
        proof = page.split('name="csrf_token" value="')[1].split('"')[0]
        answer = browser.post("/panel/login", data={"csrf_token": proof, "email": email, "password": password})
        assert answer.status_code == 303, answer.text
        return str(browser.cookies["staff"])


def _select(group: Group, statement: str) -> list[Any]:
    connection = sqlite3.connect(f"file:{group.data / 'wallet.sqlite'}?mode=ro", uri=True)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()
