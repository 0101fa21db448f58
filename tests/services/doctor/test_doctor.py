"""``wallet-server doctor``: each thing that can be wrong is found, with one sentence and one cure."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from sqlalchemy.engine import Engine

from passes.apple.certificates import PassIdentity
from tests.apple_ca import PASS_TYPE, AppleCA
from tests.conftest import NOW as OPENED
from tests.people import publish
from wallet_server.db import ALL_PROGRAMS, create_engine, transaction
from wallet_server.doctor import Finding, Level, Presence, examine
from wallet_server.doctor.stores import database_findings, work_findings
from wallet_server.doctor.surroundings import clock_findings, disk_findings, knock, mail_findings, public_findings
from wallet_server.doctor.wallets import apple_findings, google_findings
from wallet_server.issuance.keys import KeyVault, import_certificate, signing_request
from wallet_server.outbox.models import OutboxRow
from wallet_server.settings import Settings, load_settings

NOW = datetime.now(UTC)
HERE = Presence(running=True)


@pytest.fixture(scope="module")
def apple() -> AppleCA:
    return AppleCA(NOW)


@pytest.fixture
def settings(tmp_path) -> Settings:
    # Nobody listens there: the push service is asked only where a test lets something listen.
    return load_settings({"WALLET_DATA_DIR": str(tmp_path / "data"), "WALLET_APNS_URL": "https://127.0.0.1:9"})


def only(findings: list[Finding], level: Level) -> Finding:
    [found] = [finding for finding in findings if finding.level is level]
    return found


def has(findings: list[Finding], level: Level, words: str) -> bool:
    return any(finding.level is level and words in finding.sentence for finding in findings)


def bring(engine, settings, apple, *, program=None, pass_type=PASS_TYPE, **dates):
    vault = KeyVault(settings.WALLET_SECRET_KEY)
    with transaction(engine, ALL_PROGRAMS) as session:
        request = signing_request(session, vault, program, NOW).pem
        certificate = apple.pass_certificate(request, pass_type=pass_type, **dates)
        import_certificate(
            session,
            vault,
            program,
            certificate=("pass.cer", certificate),
            intermediates=("wwdr.cer", apple.wwdr.der()),
            expected=PassIdentity("", ""),
            now=NOW,
        )


def test_everything_but_the_good_has_a_cure_and_every_sentence_ends(sqlite_engine, settings):
    findings = examine(settings, sqlite_engine, lambda: HERE, NOW)
    assert {finding.part for finding in findings} >= {"settings", "database", "Apple", "Google", "workers", "disk"}
    for finding in findings:
        assert finding.sentence.endswith("."), finding
        assert bool(finding.cure) == (finding.level is not Level.GOOD), finding


def test_a_database_is_well_or_lacks_tables(sqlite_engine, settings, tmp_path):
    [finding] = database_findings(settings, sqlite_engine)
    assert (finding.level, "is at" in finding.sentence) == (Level.GOOD, True)
    empty = create_engine(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    [finding] = database_findings(settings, empty)
    assert (finding.level, finding.cure) == (Level.BROKEN, "Run `wallet-server migrate`.")
    findings = examine(settings, empty, lambda: HERE, NOW)  # and nothing stumbles over it
    assert "Apple" not in {finding.part for finding in findings}
    empty.dispose()


def test_another_revision_and_an_unreachable_database_are_told_apart(sqlite_engine, settings):
    with sqlite_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert "newer version" in only(database_findings(settings, sqlite_engine), Level.BROKEN).sentence
    gone = create_engine("postgresql://app@127.0.0.1:9/wallet?connect_timeout=2")
    assert "DATABASE_URL" in only(database_findings(settings, gone), Level.BROKEN).cure
    gone.dispose()


def test_a_damaged_file_is_found(sqlite_engine, settings):
    with sqlite_engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    path = sqlite_engine.url.database
    sqlite_engine.dispose()
    with open(path, "r+b") as file:  # noqa: PTH123 - seeking in it
        file.seek(4096 * 3)
        file.write(b"\xaa" * 4096 * 20)
    assert "backup" in only(database_findings(settings, sqlite_engine), Level.BROKEN).cure


def test_files_that_others_can_read_are_named(sqlite_engine, settings):
    (settings.WALLET_DATA_DIR / "secret-key").chmod(0o644)
    assert "chmod 600" in only(database_findings(settings, sqlite_engine), Level.NOTE).cure


@pytest.mark.parametrize("name", ["WALLET_APPLE_PASS_TYPE_ID", "WALLET_APPLE_TEAM_ID"])
def test_a_setting_that_is_not_what_the_imported_certificate_says_is_found(sqlite_engine, settings, apple, name):
    bring(sqlite_engine, settings, apple)
    changed = settings.model_copy(update={name: "OTHERTEAM1"})
    finding = next(found for found in apple_findings(changed, sqlite_engine, NOW) if name in found.sentence)
    assert (finding.level, finding.cure) == (Level.BROKEN, "Correct or unset the setting.")


@pytest.fixture
def postgresql(_database_urls: Callable[[str], str]) -> Iterator[Engine]:
    engine = create_engine(_database_urls("postgresql"))
    yield engine
    engine.dispose()


def test_a_postgresql_that_forgets_is_found(postgresql, settings, monkeypatch):
    # The tests' own server keeps nothing over a power cut, and says so.
    findings = database_findings(settings, postgresql)
    assert has(findings, Level.BROKEN, "fsync=off")
    assert has(findings, Level.BROKEN, "confirms before it has written")
    assert has(findings, Level.NOTE, "full_page_writes=off")
    monkeypatch.setattr("wallet_server.doctor.stores.SETTING_SQL", "SELECT 'on' || left(:name, 0)")
    assert only(database_findings(settings, postgresql), Level.GOOD).sentence.startswith("PostgreSQL")


def test_a_development_certificate_is_for_simulated_phones(sqlite_engine, settings):
    finding = apple_findings(settings, sqlite_engine, NOW)[0]
    assert (finding.level, "iPhones will refuse" in finding.sentence) == (Level.BROKEN, True)
    assert "apple csr" in finding.cure
    sandbox = settings.model_copy(update={"WALLET_SANDBOX": True})
    assert apple_findings(sandbox, sqlite_engine, NOW)[0].level is Level.NOTE


def test_the_life_of_a_certificate(engine, settings, apple):
    bring(engine, settings, apple, days=100, since=1)
    for days, level, words in (
        (0, Level.GOOD, f"{PASS_TYPE} (team"),
        (50, Level.NOTE, "in 48 days"),
        (98, Level.NOTE, "expires today"),
        (120, Level.BROKEN, "expired on"),
        (-5, Level.BROKEN, "valid from"),
    ):
        finding = apple_findings(settings, engine, NOW + timedelta(days=days, minutes=1))[0]
        assert (finding.level, words in finding.sentence) == (level, True), finding


def test_keys_under_another_secret_are_one_sentence(sqlite_engine, settings, apple):
    bring(sqlite_engine, settings, apple)
    other = settings.model_copy(update={"WALLET_SECRET_KEY": settings.WALLET_SECRET_KEY[::-1]})
    finding = only(apple_findings(other, sqlite_engine, NOW), Level.BROKEN)
    assert "another WALLET_SECRET_KEY" in finding.sentence
    assert "reseal" in finding.cure


def test_programs_and_requests_are_looked_at_too(sqlite_engine, settings, apple):
    with transaction(sqlite_engine, ALL_PROGRAMS) as session:
        cafe = publish(session, OPENED)
    bring(sqlite_engine, settings, apple)
    bring(sqlite_engine, settings, apple, program=cafe, pass_type="pass.com.example.own", days=20, since=1)
    with transaction(sqlite_engine, ALL_PROGRAMS) as session:
        signing_request(session, KeyVault(settings.WALLET_SECRET_KEY), None, NOW)
    findings = apple_findings(settings, sqlite_engine, NOW)
    assert has(findings, Level.NOTE, f"pass.com.example.own (program {cafe.slug}) expires in 18 days")
    assert has(findings, Level.NOTE, "waits for Apple's certificate")
    assert any(f"apple csr --program {cafe.slug}" in finding.cure for finding in findings)
    assert has(findings, Level.BROKEN, "push service (127.0.0.1, port 9) is not reached")


def test_googles_account(sqlite_engine, settings):
    assert google_findings(settings, sqlite_engine)[0].level is Level.NOTE


def waiting(session, program, **values: Any) -> None:
    row = {"topic": "pass.changed", "queue": "push", "program_id": program.id, "payload": {"v": 1}}
    session.add(OutboxRow(**{**row, "not_before": NOW, "created_at": NOW, **values}))


def test_work_that_nobody_does(engine, settings):
    assert work_findings(settings, engine, HERE, NOW)[0].level is Level.GOOD
    with transaction(engine, ALL_PROGRAMS) as session:
        program = publish(session, OPENED)
        waiting(session, program, not_before=NOW + timedelta(hours=1))  # a retry that is planned
        waiting(session, program, not_before=NOW - timedelta(seconds=30))
    assert work_findings(settings, engine, HERE, NOW)[0].level is Level.GOOD
    with transaction(engine, ALL_PROGRAMS) as session:
        waiting(session, program, not_before=NOW - timedelta(minutes=9))
        waiting(session, program, state="failed", finished_at=NOW - timedelta(hours=1))
    findings = work_findings(settings, engine, HERE, NOW)
    assert "1 pieces of work wait" in only(findings, Level.BROKEN).sentence
    assert "given up" in only(findings, Level.NOTE).sentence


def test_workers_that_are_not_heard(sqlite_engine, settings):
    def look(**values: Any) -> list[Finding]:
        return work_findings(settings, sqlite_engine, Presence(**values), NOW)

    assert "does not run" in only(look(running=False), Level.NOTE).sentence
    assert "Connection refused" in only(look(running=None, queue_problem="Connection refused"), Level.BROKEN).sentence
    beats = {"push": [NOW - timedelta(minutes=9), NOW], "bulk": []}
    assert "queue bulk" in only(look(running=None, heartbeats=beats), Level.BROKEN).sentence
    beats = {"push": [NOW - timedelta(minutes=9)], "bulk": [NOW]}
    assert "last heard" in only(look(running=None, heartbeats=beats), Level.BROKEN).sentence
    assert look(running=None, heartbeats={"push": [NOW], "bulk": [NOW]})[0].level is Level.GOOD


def test_the_public_address(settings, httpserver: HTTPServer):
    def public(url: str, **values: Any) -> list[Finding]:
        return public_findings(settings.model_copy(update={"WALLET_PUBLIC_URL": url, **values}), running=True)

    assert "no phone reaches it" in only(public("http://localhost:8000"), Level.BROKEN).sentence
    assert "simulated" in only(public("http://127.0.0.1:8000", WALLET_SANDBOX=True), Level.NOTE).sentence
    findings = knock("http://127.0.0.1:9", "wallet.example", running=True)
    assert "does not answer" in only(findings, Level.BROKEN).sentence
    assert "does not run" in only(knock("http://127.0.0.1:9", "wallet.example", running=False), Level.NOTE).sentence
    for status, body, headers, words in (
        (200, '{"status":"ok"}', {}, None),
        (200, "<html>It works!</html>", {}, "somebody else"),
        (404, "", {}, "status 404"),
        (301, "", {"location": "https://www.example/healthz"}, "leads on to https://www.example/healthz"),
    ):
        httpserver.clear()
        httpserver.expect_request("/healthz").respond_with_data(body, status, headers)
        [finding] = knock(httpserver.url_for("").rstrip("/"), "wallet.example", running=True)
        assert finding.level is (Level.BROKEN if words else Level.GOOD)
        assert (words or "this server") in finding.sentence


def test_addresses_that_are_not_for_phones(settings, monkeypatch):
    monkeypatch.setattr("wallet_server.doctor.surroundings.knock", lambda *_, **__: [])
    url = settings.model_copy(update={"WALLET_PUBLIC_URL": "http://10.0.0.7"})
    findings = public_findings(url, running=True)
    assert "not https" in only(findings, Level.BROKEN).sentence
    assert "private network" in only(findings, Level.NOTE).sentence


def test_a_clock_that_has_gone_back(engine, settings):
    assert clock_findings(settings, engine, datetime.now(UTC))[0].level is Level.GOOD
    with transaction(engine, ALL_PROGRAMS) as session:
        waiting(session, publish(session, OPENED), created_at=NOW)
    [finding] = clock_findings(settings, engine, NOW - timedelta(hours=2))
    assert finding.level is Level.BROKEN
    assert "time service" in finding.cure


def test_a_full_disk(settings, monkeypatch):
    for free, level in ((10 * 1024**2, Level.BROKEN), (1024**3, Level.NOTE), (100 * 1024**3, Level.GOOD)):
        usage = shutil._ntuple_diskusage(10**12, 10**12 - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, usage=usage: usage)
        assert disk_findings(settings)[0].level is level


class _Mail(socketserver.StreamRequestHandler):
    """A mail server that greets, and takes one password."""

    def handle(self) -> None:
        self.wfile.write(b"220 mail.test ESMTP\r\n")
        for line in self.rfile:
            if line.upper().startswith(b"EHLO"):
                self.wfile.write(b"250-mail.test\r\n250 AUTH PLAIN\r\n")
            elif line.upper().startswith(b"AUTH"):
                right = b"AHdhbGxldABjb3JyZWN0" in line  # \0wallet\0correct
                self.wfile.write(b"235 welcome\r\n" if right else b"535 wrong\r\n")
            else:
                self.wfile.write(b"221 bye\r\n")


@contextmanager
def mail_server() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_the_mail_server(settings):
    def mail(url: str) -> Finding:
        [finding] = mail_findings(settings.model_copy(update={"WALLET_SMTP_URL": url}))
        return finding

    assert mail("").level is Level.NOTE
    assert "no smtp" in mail("http://mail.example").sentence
    assert "does not answer" in mail("smtp://127.0.0.1:9").sentence
    with mail_server() as port:
        assert mail(f"smtp://wallet:correct@127.0.0.1:{port}").level is Level.GOOD
        assert "user and password" in mail(f"smtp://wallet:wrong@127.0.0.1:{port}").sentence


def test_the_command_says_it_all_at_eighty_columns(sqlite_engine, tmp_path, command):
    code, out, _ = command("doctor")
    assert code == 1
    assert "✗ Apple" in out
    assert max(len(line) for line in out.splitlines() if " " in line.strip()) <= 100
    code, out, _ = command("doctor", "--json")
    findings = json.loads(out)["findings"]
    assert {finding["level"] for finding in findings} == {"good", "note", "broken"}
    code, out, _ = command("doctor", WALLET_PUBLIC_URL="nonsense")
    assert (code, "✗ settings" in out) == (1, True)
    code, out, _ = command("doctor", REDIS_URL="redis://127.0.0.1:9/0")
    assert "Valkey does not answer" in out


def test_the_command_hears_workers(command, valkey, valkey_url):
    _, out, _ = command("doctor", REDIS_URL=valkey_url)
    assert "Nobody works on the queue push" in out


@pytest.fixture
def command(sqlite_engine, tmp_path) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str, **environ: str) -> tuple[int, str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WALLET_")}
        done = subprocess.run(
            [sys.executable, "-m", "wallet_server", *arguments],
            env={
                **clean,
                "DATABASE_URL": sqlite_engine.url.render_as_string(),
                "WALLET_DATA_DIR": str(tmp_path / "data"),
                "COLUMNS": "80",
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    return run
