"""The application as a whole: permissions, headers, errors, health, files, languages."""

from __future__ import annotations

import json
import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from tests.web.conftest import Cast
from tests.web.helpers import submit, text_of
from wallet_server.app import create_app
from wallet_server.assets import AssetError
from wallet_server.context import ServerContext
from wallet_server.db import create_engine
from wallet_server.errors import DomainError
from wallet_server.web.files import Assets
from wallet_server.web.problems import is_for_program
from wallet_server.web.security import PERMISSIONS, permission, permission_of


def test_every_route_says_who_may_call_it(app: Flask) -> None:
    undeclared = [rule.endpoint for rule in app.url_map.iter_rules() if permission_of(app, rule.endpoint) is None]
    assert undeclared == []
    assert {permission_of(app, rule.endpoint) for rule in app.url_map.iter_rules()} <= PERMISSIONS


def test_a_view_that_does_not_say_so_is_never_run(app: Flask, client: FlaskClient) -> None:
    @app.get("/forgotten")
    def forgotten() -> str:
        raise AssertionError("it was run")

    assert client.get("/forgotten").status_code == 403


def test_every_panel_route_needs_staff(app: Flask, client: FlaskClient) -> None:
    open_ones = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/panel")
        and permission_of(app, rule.endpoint) not in ("cashier", "manager", "owner", "staff")
    }
    assert open_ones == {"panel.login", "panel.sign_in_form", "panel.logout"}


@pytest.mark.parametrize("path", ["/", "/join/nobody", "/m/x", "/panel/", "/panel/login", "/healthz", "/api/v1/x"])
def test_every_answer_carries_the_security_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in policy
    assert headers["Referrer-Policy"] in ("same-origin", "no-referrer")
    assert "Strict-Transport-Security" not in headers


def test_pages_hold_no_inline_script_or_style(client: FlaskClient, cast: Cast) -> None:
    for path in ("/", "/join/cafe-ohrid", "/panel/login", "/nowhere"):
        body = client.get(path).get_data(as_text=True)
        assert not re.search(r"<script(?![^>]*\ssrc=)", body)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", body)


def test_health_and_readiness(client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ok"}


def test_not_ready_when_the_database_is_of_another_version(client: FlaskClient, server: ServerContext) -> None:
    with server.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'other'"))
    with capture_logs() as logs:
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json) == (503, {"status": "migrations"})
    assert [line["error"] for line in logs if line["event"] == "not ready: migrations"]
    assert client.get("/healthz").status_code == 200


def test_metrics_count_by_route_and_never_by_address(client: FlaskClient) -> None:
    client.get("/m/a-very-secret-token")
    text = client.get("/metrics").get_data(as_text=True)
    assert 'route="/m/<token>",status="404"' in text
    assert "a-very-secret-token" not in text
    assert 'wallet_outbox_rows{state="open"} 0.0' in text


def test_files_are_kept_for_ever_under_the_name_of_their_content(app: Flask, client: FlaskClient) -> None:
    assets: Assets = app.extensions["assets"]
    for name in ("app.css", "inter.css", "htmx.js", "icons.svg"):
        answer = client.get(f"/static/{assets.names[name]}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        answer.close()
    for address in ("app.css", "../settings.py", "vendor/manifest.json", "%2e%2e/app.py"):
        assert client.get(f"/static/{address}").status_code == 404


def test_it_does_not_start_without_its_files(
    app: Flask, settings: object, server: ServerContext, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr("wallet_server.web.files.Assets.__init__.__defaults__", (tmp_path, tmp_path))
    with pytest.raises(AssetError, match="make setup"):
        create_app(server.settings, server)


@pytest.mark.parametrize(
    ("accepted", "word"), [("mk", "Нема"), ("ru-RU,ru;q=0.9", "ничего"), ("de, en;q=0.5", "nothing"), ("", "nothing")]
)
def test_errors_are_in_the_readers_language(client: FlaskClient, accepted: str, word: str) -> None:
    answer = client.get("/nowhere", headers={"Accept-Language": accepted})
    assert answer.status_code == 404
    assert word in text_of(answer)


def test_the_chosen_language_is_kept(client: FlaskClient) -> None:
    assert '<html lang="mk"' in client.get("/?lang=mk").get_data(as_text=True)
    assert '<html lang="mk"' in client.get("/").get_data(as_text=True)
    assert '<html lang="ru"' in client.get("/?lang=ru").get_data(as_text=True)
    assert '<html lang="ru"' in client.get("/?lang=klingon").get_data(as_text=True)


def test_a_page_in_another_language_keeps_its_arguments(client: FlaskClient, cast: Cast) -> None:
    body = client.get("/join/cafe-ohrid?with=email&lang=en").get_data(as_text=True)
    assert 'href="/join/cafe-ohrid?with=email&amp;lang=ru"' in body


def test_programs_get_problem_documents_and_people_get_pages(client: FlaskClient) -> None:
    problem = client.get("/api/v1/nowhere")
    assert problem.content_type == "application/problem+json"
    assert json.loads(problem.data)["code"] == "not_found"
    assert client.get("/nowhere").content_type.startswith("text/html")
    assert is_for_program("/apple/v1/log")
    assert not is_for_program("/panel/")


def test_a_wrong_method_names_the_right_ones(client: FlaskClient) -> None:
    answer = client.put("/healthz", headers={"X-CSRFToken": "x"})
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_a_crash_tells_a_number_and_nothing_else(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.get("/crash/<token>")
    @permission("public")
    def crash(token: str) -> str:
        raise RuntimeError(f"the password is {token}")

    answer = client.get("/crash/hunter2")
    assert answer.status_code == 500
    assert "the password" not in answer.get_data(as_text=True)
    assert re.search(r"name the number [0-9a-f]{8}", text_of(answer))


def test_a_busy_database_asks_to_come_back(app: Flask, client: FlaskClient) -> None:
    @app.get("/busy")
    @permission("public")
    def busy() -> str:
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    answer = client.get("/busy")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_refusals_keep_their_status(app: Flask, client: FlaskClient) -> None:
    @app.get("/refused")
    @permission("public")
    def refused() -> str:
        raise DomainError("whatever", "a sentence", status=409)

    assert client.get("/refused").status_code == 409


def test_a_body_that_is_too_large_is_refused(client: FlaskClient, cast: Cast) -> None:
    answer = client.post("/join/cafe-ohrid", data={"contact": "1" * 2_000_000})
    assert answer.status_code == 413


def test_cookies_are_tied_to_the_host_under_https(server: ServerContext) -> None:
    https = server.settings.model_copy(update={"WALLET_PUBLIC_URL": "https://wallet.example.com"})
    from dataclasses import replace

    app = create_app(https, replace(server, settings=https))
    answer = app.test_client().get("/panel/login?lang=mk", base_url="https://wallet.example.com")
    cookies = answer.headers.getlist("Set-Cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        assert cookie.startswith("__Host-")
        assert "Secure" in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Path=/" in cookie
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_proxies_are_believed_only_when_they_are_ours(server: ServerContext) -> None:
    from dataclasses import replace

    def address(proxies: int) -> str:
        settings = server.settings.model_copy(update={"WALLET_PROXIES": proxies})
        app = create_app(settings, replace(server, settings=settings))

        @app.get("/who")
        @permission("public")
        def who() -> str:
            from flask import request

            return request.remote_addr or ""

        return app.test_client().get("/who", headers={"X-Forwarded-For": "203.0.113.9"}).get_data(as_text=True)

    assert address(0) == "127.0.0.1"
    assert address(1) == "203.0.113.9"


def test_an_application_needs_a_readable_database(tmp_path: object) -> None:
    from wallet_server.errors import ConfigurationError

    with pytest.raises(ConfigurationError):
        create_engine("sqlite:////nowhere/at/all.sqlite")


@pytest.mark.parametrize(
    "path",
    [
        "/apple/v1/passes/pass.x/%00",
        "/apple/v1/devices/%00/registrations/pass.x",
        "/passes/%00.pkpass",
        "/m/%00",
        "/join/%00",
        "/r/%00",
        "/lost/%00",
        "/panel/programs/%00/members",
    ],
)
def test_an_address_with_nul_is_none_of_ours(client: FlaskClient, path: str) -> None:
    """PostgreSQL refuses the question itself, so nobody may come to ask it."""
    assert client.get(path).status_code == 404


def test_nul_is_refused_in_questions_and_forms(client: FlaskClient, cast: Cast) -> None:
    assert client.get("/panel/login?next=%00").status_code == 400
    sent = submit(client, "/join/cafe-ohrid", {"contact": "070\x00123456"})
    assert sent.status_code == 400


def test_a_phone_may_send_what_it_wants_to_log(client: FlaskClient) -> None:
    """Its JSON comes as a form, and a form that was read could not be read again."""
    body, kind = '{"logs": ["said \\u0000"]}', "application/x-www-form-urlencoded"
    assert client.post("/apple/v1/log", data=body, content_type=kind).status_code == 200
