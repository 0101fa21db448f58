"""``wallet-server program``, ``api-key`` and ``staff``: what they print, and how they refuse."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from sqlalchemy.engine import Engine

from tests.conftest import NOW
from tests.factories import CAFE, program_file
from wallet_server import cli
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.errors import DomainError
from wallet_server.programs.keys import TillKeys
from wallet_server.programs.yaml_file import parse_program
from wallet_server.staff.services import session_of_token, sign_in


class CommandLine:
    """Runs commands as the console script does, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.argv", ["wallet-server", *arguments])
        self._monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = self._capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture
def run(
    sqlite_engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    monkeypatch.setenv("DATABASE_URL", sqlite_engine.url.render_as_string())
    monkeypatch.setenv("WALLET_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("WALLET_SANDBOX", raising=False)
    return CommandLine(capsys, monkeypatch)


@pytest.fixture
def cafe(run: CommandLine, tmp_path: Path) -> Path:
    path = tmp_path / "cafe.yaml"
    path.write_text(yaml.safe_dump(dict(CAFE), allow_unicode=True), encoding="utf-8")
    assert run("program", "apply", str(path))[0] == 0
    return path


def test_a_file_is_applied_said_exported_and_applied_again(run: CommandLine, cafe: Path, tmp_path: Path) -> None:
    assert run("program", "apply", str(cafe)) == (0, "nothing changed\n", "")
    code, exported, _ = run("program", "export", "cafe-ohrid")
    assert code == 0
    copy = tmp_path / "copy.yaml"
    copy.write_text(exported, encoding="utf-8")
    assert run("program", "diff", str(copy)) == (0, "nothing changed\n", "")

    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(program_file(outlets=CAFE["outlets"][:1])), encoding="utf-8")
    for _ in range(2):
        assert run("program", "diff", str(changed)) == (0, "outlet B closed\n", "")
    assert run("program", "apply", str(changed)) == (0, "outlet B closed\ncafe-ohrid is at version 2\n", "")
    assert run("program", "diff", str(cafe)) == (0, "outlet B opened again\n", "")


def test_a_diff_of_a_new_program_makes_none(run: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "cafe.yaml"
    path.write_text(yaml.safe_dump(dict(CAFE)), encoding="utf-8")
    code, said, _ = run("program", "diff", str(path))
    assert (code, said.splitlines()[0]) == (0, "program cafe-ohrid created")
    assert run("program", "export", "cafe-ohrid")[0] == 1


def test_the_schema_is_json(run: CommandLine) -> None:
    code, printed, _ = run("program", "schema")
    assert code == 0
    assert json.loads(printed)["required"] == ["program"]


def test_a_broken_file_is_refused_with_its_lines_and_changes_nothing(
    run: CommandLine, cafe: Path, tmp_path: Path
) -> None:
    before = run("program", "export", "cafe-ohrid")[1]
    broken = tmp_path / "broken.yaml"
    broken.write_text("program:\n  slug: cafe-ohrid\n  colour: red\n", encoding="utf-8")
    for command in ("apply", "diff"):
        code, printed, error = run("program", command, str(broken))
        assert (code, printed) == (1, "")
        assert f"wallet-server: {broken} is no program file:\n" in error
        assert "  line 3: program.colour: is not a key that this version knows\n" in error
    assert run("program", "export", "cafe-ohrid")[1] == before
    assert run("program", "apply", str(tmp_path / "nowhere.yaml"))[0] == 2
    assert run("program", "apply", str(tmp_path))[0] == 2
    assert run("program", "apply")[0] == 2


def test_a_database_that_was_not_migrated_says_the_cure(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'empty.sqlite'}")
    code, printed, error = run("program", "export", "cafe-ohrid")
    assert (code, printed) == (1, "")
    assert "run `wallet-server migrate`" in error


def test_a_database_that_cannot_be_reached_is_one_sentence(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@/none?host={tmp_path}")
    code, printed, error = run("program", "export", "cafe-ohrid")
    assert (code, printed) == (1, "")
    assert error.startswith("wallet-server: the database cannot be used: ")
    assert "Traceback" not in error


def test_a_key_is_printed_alone_and_once(run: CommandLine, cafe: Path, sqlite_engine: Engine) -> None:
    code, printed, error = run(
        "api-key", "create", "--program", "cafe-ohrid", "--outlet", "A", "--scopes", "earn, redeem"
    )
    secret = printed.removesuffix("\n")
    assert (code, error, len(secret.split())) == (0, "", 1)
    key = TillKeys(sqlite_engine).find(secret)
    assert key is not None
    assert (key.program.slug, key.scopes) == ("cafe-ohrid", ("earn", "redeem"))
    assert key.outlet_id == key.program.outlet("A").id

    code, listed, _ = run("api-key", "list", "--program", "cafe-ohrid")
    assert (code, secret in listed) == (0, False)
    hint = listed.split("…")[0]
    assert secret.startswith(hint)
    assert run("api-key", "revoke", "--program", "cafe-ohrid", hint)[0] == 0
    assert TillKeys(sqlite_engine).find(secret) is None
    assert "revoked" in run("api-key", "list", "--program", "cafe-ohrid")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["api-key", "create", "--program", "nowhere"], 1, "there is no program 'nowhere'"),
        (["api-key", "create", "--program", "cafe-ohrid", "--outlet", "Z"], 1, "there is no open outlet 'Z'"),
        (["api-key", "create", "--program", "cafe-ohrid", "--scopes", "admin"], 1, "unknown scope admin"),
        (["api-key", "create", "--program", "cafe-ohrid", "--scopes", ""], 1, "needs at least one scope"),
        (["api-key", "create"], 2, "--program"),
        (["api-key", "revoke", "--program", "cafe-ohrid", "wk_nothing"], 1, "no key begins so"),
        (["program", "export", "nowhere"], 1, "there is no program 'nowhere'"),
        (["staff", "create", "--program", "nowhere", "--email", "a@b.example", "--role", "owner"], 1, "no program"),
        (["staff", "create", "--program", "cafe-ohrid", "--email", "a@b.example", "--role", "boss"], 2, "--role"),
        (["staff", "create", "--program", "cafe-ohrid", "--email", "nobody", "--role", "owner"], 1, "email: is not"),
        (["staff", "reset-password", "--email", "a@b.example"], 1, "there is no such account"),
    ],
)
def test_refusals_go_to_standard_error(
    run: CommandLine, cafe: Path, arguments: list[str], code: int, sentence: str
) -> None:
    ended, printed, error = run(*arguments)
    assert (ended, printed) == (code, "")
    assert sentence in error
    assert "Traceback" not in error


def test_staff_get_a_one_time_password_printed_alone(run: CommandLine, cafe: Path, sqlite_engine: Engine) -> None:
    create = ("staff", "create", "--program", "cafe-ohrid", "--role", "owner", "--email")
    code, printed, error = run(*create, "ana@example.com")
    assert (code, error) == (0, "")
    assert sign_in(sqlite_engine, "ana@example.com", printed.strip(), now=NOW)

    given = "Лозинка со зборови"
    assert run(*create, "ben@example.com", "--password-stdin", stdin=f"{given}\n") == (0, "", "")
    assert sign_in(sqlite_engine, "ben@example.com", given, now=NOW)

    code, printed, error = run(*create, "ana@example.com")
    assert (code, printed) == (1, "")
    assert "has a role in this program already" in error
    code, printed, error = run(*create, "eva@example.com", "--password-stdin", stdin="\n")
    assert (code, printed) == (1, "")
    assert "at least 10 characters" in error

    code, printed, _ = run("staff", "reset-password", "--email", "ana@example.com")
    assert code == 0
    password = printed.strip()
    assert sign_in(sqlite_engine, "ana@example.com", password, now=NOW)

    assert run("staff", "disable", "--email", "ana@example.com") == (0, "ana@example.com is disabled\n", "")
    with pytest.raises(DomainError):
        sign_in(sqlite_engine, "ana@example.com", password, now=NOW)
    assert run("staff", "enable", "--email", "ana@example.com")[0] == 0
    assert sign_in(sqlite_engine, "ana@example.com", password, now=NOW)


def test_a_role_is_changed_and_taken_away(run: CommandLine, cafe: Path, sqlite_engine: Engine) -> None:
    at = ("--program", "cafe-ohrid", "--email", "ana@example.com", "--role")
    password = run("staff", "create", *at, "cashier")[1].strip()

    def roles() -> list[str]:
        token = sign_in(sqlite_engine, "ana@example.com", password, now=NOW).token
        with transaction(sqlite_engine, ALL_PROGRAMS) as session:
            who = session_of_token(session, token, NOW)
        assert who is not None
        return list(who.roles.values())

    assert run("staff", "set-role", *at, "manager") == (0, "ana@example.com: manager\n", "")
    assert roles() == ["manager"]
    assert run("staff", "set-role", *at, "none")[0] == 0
    assert roles() == []
    assert "nobody with this address" in run("staff", "set-role", *at, "owner")[2]


def test_the_exported_file_is_one_that_people_can_read(run: CommandLine, cafe: Path) -> None:
    exported = run("program", "export", "cafe-ohrid")[1]
    assert "Кафе Охрид" in exported
    assert "latitude: 41.11\n" in exported
    assert parse_program(exported).program.slug == "cafe-ohrid"


def test_a_ready_program_is_printed_and_can_be_applied(run: CommandLine, tmp_path: Path) -> None:
    for name in ("P5", "margin"):
        code, out, err = run("program", "template", name)
        assert (code, err) == (0, "")
        assert out.startswith("# Paradigm P5")
    path = tmp_path / "volt.yaml"
    path.write_text(out, encoding="utf-8")
    code, out, _err = run("program", "apply", str(path))
    assert code == 0
    assert "margin is at version 1" in out
    code, out, err = run("program", "template", "P6")
    assert code != 0
    assert "there are P1 (levels), P2 (lifetime)" in err


def test_a_settlement_is_printed_as_sentences_and_as_a_table(run: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "coalition.yaml"
    partner = {"company": "Fuel Ltd", "settlement_percent": 90}
    outlets = [{"code": "A", "name": "A"}, {"code": "F", "name": "F", "partner": partner}]
    path.write_text(yaml.safe_dump(program_file(outlets=outlets, challenges=[], **{"pass": {}})), encoding="utf-8")
    assert run("program", "apply", str(path))[0] == 0
    asked = ("program", "settlement", "--program", "cafe-ohrid", "--month", "2026-10")
    code, out, err = run(*asked)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("Fuel Ltd: 0 of its points honoured elsewhere, 0 of others honoured; gets")
    code, out, _err = run(*asked, "--csv")
    assert [line.split(",")[:2] for line in out.splitlines()] == [
        ["month", "company"],
        ["2026-10", "Fuel Ltd"],
        ["2026-10", "Кафе Охрид"],
    ]
    code, _out, err = run("program", "settlement", "--program", "cafe-ohrid", "--month", "2026-13")
    assert code != 0
    assert "no month such as 2026-10" in err
