"""Staff: accounts, roles, signing in, and all that ends a session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session, col, select

from tests.conftest import NOW
from tests.factories import CAFE, program_file
from wallet_server.db import ALL_PROGRAMS, reading, transaction
from wallet_server.errors import DomainError, NotFoundError
from wallet_server.programs.file import ProgramFile
from wallet_server.programs.services import apply_program
from wallet_server.staff import audit, services
from wallet_server.staff.models import AuditRecord, LoginAttempt, StaffRole, StaffSession, StaffUser
from wallet_server.staff.passwords import Passwords, check_password, one_time_password
from wallet_server.staff.roles import is_at_least
from wallet_server.staff.services import SignedIn, StaffIdentity

QUICK = Passwords(time_cost=1, memory_kib=8, parallelism=1)
EMAIL, PASSWORD = "boss@example.com", "correct horse battery"


@pytest.fixture
def program_id(engine: Engine) -> UUID:
    with transaction(engine, ALL_PROGRAMS) as session:
        file = ProgramFile.model_validate(CAFE)
        return apply_program(session, file, now=NOW, actor="cli").program_id


@pytest.fixture
def boss(engine: Engine, program_id: UUID) -> Iterator[UUID]:
    create(engine, program_id, EMAIL, "owner", PASSWORD)
    with reading(engine) as session:
        yield session.exec(select(StaffUser.id).where(StaffUser.email == EMAIL)).one()


def create(engine: Engine, program_id: UUID, email: str, role: str, password: str | None = None) -> str:
    with transaction(engine, ALL_PROGRAMS) as session:
        return services.create_staff(
            session, program_id=program_id, email=email, role=role, password=password, now=NOW, actor="cli",
            passwords=QUICK,
        )  # fmt: skip


def sign_in(
    engine: Engine,
    password: str = PASSWORD,
    email: str = EMAIL,
    *,
    now: datetime = NOW,
    address: str = "192.0.2.1",
) -> SignedIn:
    return services.sign_in(engine, email, password, now=now, user_agent="test", address=address, passwords=QUICK)


def identity(engine: Engine, token: str, now: datetime = NOW) -> StaffIdentity | None:
    with transaction(engine, ALL_PROGRAMS) as session:
        return services.session_of_token(session, token, now)


def refusal(engine: Engine, *arguments: str, **keywords: object) -> str:
    with pytest.raises(DomainError) as refused:
        sign_in(engine, *arguments, **keywords)
    return refused.value.code


def test_a_new_account_has_a_temporary_password_that_works(engine: Engine, program_id: UUID) -> None:
    password = create(engine, program_id, " Ana@Example.com ", "cashier")
    signed_in = sign_in(engine, password, "ana@example.COM")
    who = identity(engine, signed_in.token)
    assert who is not None
    assert (who.email, dict(who.roles), who.password_is_temporary) == ("ana@example.com", {program_id: "cashier"}, True)
    assert who.session_id == signed_in.session_id
    assert (who.may(program_id, "cashier"), who.may(program_id, "manager"), who.may(uuid4(), "cashier")) == (
        True,
        False,
        False,
    )
    with reading(engine, ALL_PROGRAMS) as session:
        stored = session.exec(select(StaffUser.password_hash)).one()
        token = session.exec(select(StaffSession.token_fingerprint)).one()
        actions = [row.action for row in audit.newest(session, program_id)]
    assert stored.startswith("$argon2id$")
    assert password not in stored
    assert token != signed_in.token
    assert actions == ["staff.role_granted", "program.published"]


@pytest.mark.parametrize(
    ("account", "code"),
    [
        (("nobody", "owner", None), "validation"),
        (("a b@example.com", "owner", None), "validation"),
        (("ana@example.com", "boss", None), "validation"),
        (("ana@example.com", "owner", "short"), "validation"),
        (("ana@example.com", "owner", "x" * 201), "validation"),
        (("ana@example.com", "owner", "ababababababab"), "validation"),
        (("ana@example.com", "owner", "Ana@example.com"), "validation"),
        ((EMAIL, "cashier", None), "staff_exists"),
    ],
)
def test_a_bad_account_is_refused(
    engine: Engine, boss: UUID, program_id: UUID, account: tuple[str, str, str | None], code: str
) -> None:
    with pytest.raises(DomainError) as refused:
        create(engine, program_id, *account)
    assert refused.value.code == code
    with reading(engine, ALL_PROGRAMS) as session:
        assert session.exec(select(StaffRole.role)).all() == ["owner"]


def test_an_account_of_another_program_gets_a_role_and_keeps_its_password(engine: Engine, boss: UUID) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        other = ProgramFile.model_validate(program_file(program={**CAFE["program"], "slug": "other"}))
        other_id = apply_program(session, other, now=NOW, actor="cli").program_id
        services.grant_role(session, program_id=other_id, email=EMAIL, role="cashier", now=NOW, actor="cli")
    who = identity(engine, sign_in(engine).token)
    assert who is not None
    assert sorted(who.roles.values()) == ["cashier", "owner"]
    with transaction(engine, ALL_PROGRAMS) as session, pytest.raises(DomainError) as refused:
        services.grant_role(session, program_id=other_id, email=EMAIL, role="owner", now=NOW, actor="cli")
    assert refused.value.code == "staff_exists"


def test_wrong_passwords_unknown_and_disabled_accounts_get_one_answer(engine: Engine, boss: UUID) -> None:
    answers = []
    for email, password in ((EMAIL, "wrong password"), ("nobody@example.com", PASSWORD), (EMAIL, ""), ("", "")):
        with pytest.raises(DomainError) as refused:
            sign_in(engine, password, email)
        answers.append((refused.value.code, refused.value.detail, refused.value.status))
    with transaction(engine, ALL_PROGRAMS) as session:
        services.set_disabled(session, email=EMAIL, disabled=True, now=NOW, actor="cli")
    with pytest.raises(DomainError) as refused:
        sign_in(engine)
    answers.append((refused.value.code, refused.value.detail, refused.value.status))
    assert set(answers) == {("login_failed", "the e-mail address or the password is wrong", 401)}


def test_an_unknown_account_costs_as_much_work_as_a_known_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []

    class Counting(Passwords):
        def matches(self, password: str, password_hash: str | None) -> bool:
            worked.append(password)
            return super().matches(password, password_hash)

    passwords = Counting(1, 8, 1)
    verified: list[str] = []
    monkeypatch.setattr(
        type(passwords._hasher), "verify", lambda _self, hash_, _password: verified.append(hash_) or True
    )
    with pytest.raises(DomainError):
        services.sign_in(engine, "nobody@example.com", "x", now=NOW, passwords=passwords)
    # Even a check that says yes to everything lets nobody in who has no account.
    assert not passwords.matches("x", None)
    assert worked == ["x", "x"]
    assert verified[0].startswith("$argon2id$v=19$m=8,t=1,p=1$")


def test_ten_tries_in_a_quarter_of_an_hour_are_looked_at(engine: Engine, boss: UUID) -> None:
    for _ in range(10):
        assert refusal(engine, "wrong password") == "login_failed"
    assert refusal(engine) == "login_throttled"
    with pytest.raises(DomainError) as refused:
        sign_in(engine, now=NOW + timedelta(minutes=5))
    assert refused.value.status == 429
    assert refused.value.extra["retry_after_seconds"] == 600
    # A stranger's tries do not lock the rightful user out, who comes from elsewhere.
    assert sign_in(engine, address="198.51.100.7")
    assert refusal(engine) == "login_throttled"
    assert sign_in(engine, now=NOW + timedelta(minutes=15))


def test_one_address_may_not_try_many_accounts(engine: Engine, boss: UUID) -> None:
    for number in range(50):
        assert refusal(engine, "wrong password", f"user{number}@example.com") == "login_failed"
    assert refusal(engine, "wrong password", "another@example.com") == "login_throttled"
    assert sign_in(engine, address="198.51.100.7")


def test_tries_sent_at_once_are_counted_one_by_one(engine: Engine, boss: UUID) -> None:
    start = threading.Barrier(16)

    def attempt(_number: int) -> str:
        start.wait(timeout=20)
        return refusal(engine, "wrong password")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(attempt, range(16)))
    assert answers.count("login_failed") == 10


def test_a_good_sign_in_forgets_the_tries_before(engine: Engine, boss: UUID) -> None:
    for _ in range(9):
        refusal(engine, "wrong password")
    sign_in(engine)
    with reading(engine) as session:
        assert session.exec(select(sa.func.count()).select_from(LoginAttempt)).one() == 0


def test_a_session_ends_after_twelve_idle_hours_or_seven_days(engine: Engine, boss: UUID) -> None:
    token = sign_in(engine).token
    assert identity(engine, token, NOW + timedelta(hours=11, minutes=59)) is not None
    assert identity(engine, token, NOW + timedelta(hours=23, minutes=58)) is not None
    assert identity(engine, token, NOW + timedelta(hours=36)) is None
    now = NOW
    token = sign_in(engine).token
    while now < NOW + timedelta(days=7) - timedelta(hours=10):
        now += timedelta(hours=10)
        assert identity(engine, token, now) is not None
    assert identity(engine, token, NOW + timedelta(days=7)) is None


def test_use_of_a_session_is_noted_once_a_minute(engine: Engine, boss: UUID) -> None:
    token = sign_in(engine).token
    seen = []
    for seconds in (0, 59, 60, 61):
        identity(engine, token, NOW + timedelta(seconds=seconds))
        with reading(engine) as session:
            seen.append((session.exec(select(StaffSession.seen_at)).one() - NOW).total_seconds())
    assert seen == [0, 0, 60, 60]


def test_a_forged_token_is_nobody(engine: Engine, boss: UUID) -> None:
    token = sign_in(engine).token
    for forged in ("", "x", token[:-1], token + "x", token.swapcase()):
        assert identity(engine, forged) is None


def test_signing_out_ends_one_session(engine: Engine, boss: UUID) -> None:
    here, there = sign_in(engine).token, sign_in(engine).token
    with transaction(engine, ALL_PROGRAMS) as session:
        services.sign_out(session, here, NOW)
        services.sign_out(session, "no token", NOW)
    assert identity(engine, here) is None
    assert identity(engine, there) is not None


def change(engine: Engine, who: StaffIdentity, old: str, new: str) -> None:
    services.change_password(engine, who, old_password=old, new_password=new, now=NOW, passwords=QUICK)


def test_a_new_password_ends_the_other_sessions(engine: Engine, boss: UUID, program_id: UUID) -> None:
    here, there = sign_in(engine).token, sign_in(engine).token
    who = identity(engine, here)
    assert who is not None
    for old, new, code in (("wrong", "a much better one", "login_failed"), (PASSWORD, "short", "validation")):
        with pytest.raises(DomainError) as refused:
            change(engine, who, old, new)
        assert refused.value.code == code
    assert identity(engine, there) is not None
    change(engine, who, PASSWORD, "a much better one")
    assert identity(engine, here) is not None
    assert identity(engine, there) is None
    assert refusal(engine) == "login_failed"
    assert sign_in(engine, "a much better one")
    with reading(engine, ALL_PROGRAMS) as session:
        actors = session.exec(select(AuditRecord.actor).where(AuditRecord.action == "staff.password_changed")).all()
    assert actors == [f"staff:{EMAIL}"]


def test_trying_old_passwords_in_a_borrowed_browser_is_limited_too(engine: Engine, boss: UUID) -> None:
    who = identity(engine, sign_in(engine).token)
    assert who is not None
    codes = []
    for _ in range(11):
        with pytest.raises(DomainError) as refused:
            change(engine, who, "wrong", "a much better one")
        codes.append(refused.value.code)
    assert codes == ["login_failed"] * 10 + ["login_throttled"]


def test_a_changed_role_ends_the_sessions_and_the_last_owner_stays(
    engine: Engine, boss: UUID, program_id: UUID
) -> None:
    password = create(engine, program_id, "ana@example.com", "cashier")
    token = sign_in(engine, password, "ana@example.com").token
    who = identity(engine, token)
    assert who is not None

    def set_role(email: str, role: str | None) -> None:
        with transaction(engine, ALL_PROGRAMS) as session:
            services.set_role(session, program_id=program_id, email=email, role=role, now=NOW, actor=f"staff:{EMAIL}")

    with pytest.raises(DomainError) as refused:
        set_role(EMAIL, "manager")
    assert refused.value.code == "last_owner"
    with pytest.raises(NotFoundError):
        set_role("nobody@example.com", "manager")
    set_role(" Ana@Example.com", "owner")
    assert identity(engine, token) is None
    again = identity(engine, sign_in(engine, password, "ana@example.com").token)
    assert again is not None
    assert again.roles == {program_id: "owner"}
    set_role(EMAIL, None)
    gone = identity(engine, sign_in(engine).token)
    assert gone is not None
    assert gone.roles == {}


def test_a_locked_account_is_signed_out_and_can_be_opened_again(engine: Engine, boss: UUID) -> None:
    token = sign_in(engine).token

    def set_disabled(disabled: bool) -> None:
        with transaction(engine, ALL_PROGRAMS) as session:
            services.set_disabled(session, email=EMAIL, disabled=disabled, now=NOW, actor="cli")

    for _twice in range(2):
        set_disabled(True)
    assert identity(engine, token) is None
    assert refusal(engine) == "login_failed"
    set_disabled(False)
    assert identity(engine, token) is None
    again = identity(engine, sign_in(engine).token)
    assert again is not None
    assert list(again.roles.values()) == ["owner"]
    with reading(engine, ALL_PROGRAMS) as session:
        actions = session.exec(select(AuditRecord.action).order_by(col(AuditRecord.id))).all()
    assert actions[-2:] == ["staff.disabled", "staff.enabled"]


def test_a_forgotten_password_is_replaced_by_the_operator(engine: Engine, boss: UUID) -> None:
    token = sign_in(engine).token
    with transaction(engine, ALL_PROGRAMS) as session:
        password = services.reset_password(session, email=EMAIL, now=NOW, actor="cli", passwords=QUICK)
    assert identity(engine, token) is None
    assert refusal(engine) == "login_failed"
    assert sign_in(engine, password)
    with transaction(engine, ALL_PROGRAMS) as session, pytest.raises(NotFoundError):
        services.reset_password(session, email="nobody@example.com", now=NOW, actor="cli", passwords=QUICK)


def test_nobody_is_changed_who_is_not_there(engine: Engine, boss: UUID, program_id: UUID) -> None:
    calls: list[Callable[[Session], object]] = [
        lambda session: services.set_role(
            session, program_id=program_id, email="no@example.com", role="cashier", now=NOW, actor="cli"
        ),
        lambda session: services.grant_role(
            session, program_id=program_id, email="no@example.com", role="cashier", now=NOW, actor="cli"
        ),
        lambda session: services.reset_password(session, email="no@example.com", now=NOW, actor="cli"),
        lambda session: services.set_disabled(session, email="no@example.com", disabled=True, now=NOW, actor="cli"),
    ]
    for call in calls:
        with transaction(engine, ALL_PROGRAMS) as session, pytest.raises(NotFoundError) as refusal:
            call(session)
        assert (refusal.value.code, refusal.value.status) == ("unknown_staff", 404)


def test_hashes_of_older_parameters_are_renewed_at_sign_in(engine: Engine, boss: UUID) -> None:
    stronger = Passwords(time_cost=2, memory_kib=16, parallelism=1)
    services.sign_in(engine, EMAIL, PASSWORD, now=NOW, passwords=stronger)
    with reading(engine) as session:
        assert "m=16,t=2" in session.exec(select(StaffUser.password_hash)).one()
    assert sign_in(engine)


def test_the_language_is_one_that_we_speak(engine: Engine, boss: UUID) -> None:
    with transaction(engine, ALL_PROGRAMS) as session:
        services.set_language(session, boss, "mk")
        with pytest.raises(DomainError):
            services.set_language(session, boss, "de")
    who = identity(engine, sign_in(engine).token)
    assert who is not None
    assert who.language == "mk"


def test_an_owner_may_what_a_cashier_may() -> None:
    assert is_at_least("owner", "cashier")
    assert is_at_least("manager", "manager")
    assert not is_at_least("cashier", "manager")
    assert not is_at_least(None, "cashier")
    assert not is_at_least("boss", "cashier")


def test_passwords_are_unicode_and_one_time_ones_are_good() -> None:
    assert QUICK.matches("Лозинка\u00e9", QUICK.hash("Лозинкаe\u0301"))
    assert not QUICK.matches("x", "no hash at all")
    assert len({check_password(one_time_password(), EMAIL) for _ in range(50)}) == 50
