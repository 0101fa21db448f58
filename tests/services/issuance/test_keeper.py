"""Imported keys come into use in processes that run; what cannot be used leaves them as they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from structlog.testing import capture_logs

from passes.apple.certificates import PassIdentity
from passes.apple.signing import Signer
from tests.apple_ca import PASS_TYPE, AppleCA
from tests.people import publish
from tests.services.issuance.test_keys import OPENED
from tests.web.helpers import StoppedClock
from wallet_server.context import LOOK_EVERY_S, READ_EVERY_S, RETRY_EVERY_S, ContextKeeper, ServerContext, make_context
from wallet_server.db import ALL_PROGRAMS, transaction
from wallet_server.issuance.keys import KeyVault, import_certificate, signing_request
from wallet_server.settings import Settings

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def apple() -> AppleCA:
    return AppleCA(NOW)


@dataclass
class House:
    """A running process with a clock of its own, and a shop owner who imports certificates."""

    context: ServerContext
    apple: AppleCA
    keeper: ContextKeeper
    seconds: list[float]

    @property
    def signer(self) -> Signer:
        return self.keeper.current().wallets.signer

    def wait(self, seconds: float) -> None:
        self.seconds[0] += seconds

    def bring(self, *, slug: str | None = None, now: datetime = NOW, **certificate: object) -> None:
        vault = KeyVault(self.context.settings.WALLET_SECRET_KEY)
        with transaction(self.context.engine, ALL_PROGRAMS) as session:
            program = publish(session, OPENED, slug) if slug else None
            request = signing_request(session, vault, program, now).pem
            import_certificate(
                session,
                vault,
                program,
                certificate=("pass.cer", self.apple.pass_certificate(request, **certificate)),  # type: ignore[arg-type]
                intermediates=("wwdr.cer", self.apple.wwdr.der()),
                expected=PassIdentity("", ""),
                now=now,
            )


@pytest.fixture
def house(sqlite_engine: Engine, settings: Settings, apple: AppleCA):
    context = make_context(settings.model_copy(update={"WALLET_SANDBOX": False}))
    context = replace(context, machine_clock=StoppedClock(NOW))
    seconds = [1000.0]
    yield House(context, apple, ContextKeeper(context, monotonic=lambda: seconds[0]), seconds)
    context.engine.dispose()


def test_an_imported_certificate_signs_a_few_seconds_later(house: House) -> None:
    before = house.keeper.current()
    house.bring()
    assert house.keeper.current() is before
    house.wait(LOOK_EVERY_S)
    after = house.keeper.current()
    assert (before.wallets.development, after.wallets.development) == (True, False)
    assert after.wallets.pass_type_id == PASS_TYPE
    assert after.press is not before.press
    house.wait(LOOK_EVERY_S)
    assert house.keeper.current() is after


def test_a_renewed_certificate_and_one_of_a_program_are_seen_too(house: House) -> None:
    house.bring(since=300)
    house.wait(LOOK_EVERY_S)
    old = house.signer
    house.bring()
    house.bring(slug="bakery", pass_type="pass.com.example.bakery")
    house.wait(LOOK_EVERY_S)
    assert house.signer.fingerprint != old.fingerprint
    assert [one.pass_type_id for one in house.keeper.current().wallets.programs.values()] == ["pass.com.example.bakery"]


def test_a_certificate_whose_time_comes_is_used_though_nothing_is_imported(house: House) -> None:
    house.bring(since=390)
    tomorrow = NOW + timedelta(days=1)
    house.bring(since=-1, now=tomorrow + timedelta(hours=1))
    house.wait(LOOK_EVERY_S)
    old = house.signer
    assert old.not_before < NOW
    house.context.machine_clock.moment = tomorrow + timedelta(hours=2)  # type: ignore[attr-defined]
    house.wait(READ_EVERY_S)
    assert house.signer.not_before > NOW


def test_reading_the_same_keys_again_changes_nothing(house: House) -> None:
    before = house.keeper.current()
    house.wait(READ_EVERY_S)
    assert house.keeper.current() is before


def test_keys_that_cannot_be_used_leave_the_ones_before_and_are_told_once(house: House) -> None:
    house.bring()
    house.wait(LOOK_EVERY_S)
    before = house.keeper.current()
    house.bring(slug="bakery", pass_type="pass.com.example.bakery")
    with house.context.engine.begin() as connection:
        connection.execute(sa.text("UPDATE wallet_key SET sealed = x'00' WHERE program_id IS NOT NULL"))
    with capture_logs() as said:
        for seconds in (LOOK_EVERY_S, LOOK_EVERY_S, RETRY_EVERY_S, RETRY_EVERY_S):
            house.wait(seconds)
            assert house.keeper.current() is before
        assert "another WALLET_SECRET_KEY" in house.keeper.trouble
        with house.context.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM wallet_key WHERE program_id IS NOT NULL"))
        house.wait(RETRY_EVERY_S)
        assert house.keeper.current() is before
    assert [line["log_level"] for line in said] == ["error", "info"]
    assert house.keeper.trouble == ""


@pytest.mark.parametrize(
    "trouble",
    [sa.exc.OperationalError("SELECT", None, OSError("gone")), sa.exc.TimeoutError("every connection is in use: gone")],
)
def test_a_database_that_does_not_answer_is_asked_again_later(
    house: House, monkeypatch: pytest.MonkeyPatch, trouble: sa.exc.SQLAlchemyError
) -> None:
    def broken(*_: object) -> None:
        raise trouble

    house.bring()
    before = house.keeper.current()
    with monkeypatch.context() as patch, capture_logs() as said:
        patch.setattr("wallet_server.context.imported_keys", broken)
        house.wait(LOOK_EVERY_S)
        assert house.keeper.current() is before
        assert house.keeper.current() is before
    assert [line["log_level"] for line in said] == ["warning"]
    house.wait(LOOK_EVERY_S)
    assert house.keeper.current() is not before


def test_a_database_that_is_busy_leaves_the_old_keys_and_comes_to_the_new_ones(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise sa.exc.OperationalError("UPDATE", None, OSError("locked"))

    house.bring()
    before = house.keeper.current()
    with monkeypatch.context() as patch, capture_logs():
        patch.setattr("wallet_server.context.take_certificates", busy)
        house.wait(LOOK_EVERY_S)
        assert house.keeper.current() is before
    house.wait(LOOK_EVERY_S)
    assert house.keeper.current() is not before


def test_only_one_of_many_threads_looks(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ServerContext] = []
    look: Callable[[ContextKeeper], None] = ContextKeeper._look

    def slow(keeper: ContextKeeper) -> None:
        asked.append(keeper.current())  # as another thread would, in the middle of the look
        look(keeper)

    monkeypatch.setattr(ContextKeeper, "_look", slow)
    before = house.keeper.current()
    house.bring()
    house.wait(LOOK_EVERY_S)
    assert house.keeper.current() is not before
    assert asked == [before]


def test_a_pass_that_was_printed_is_kept_over_an_import_that_does_not_concern_it(house: House) -> None:
    house.bring()
    house.wait(LOOK_EVERY_S)
    before = house.keeper.current().press
    house.bring(slug="bakery", pass_type="pass.com.example.bakery")
    house.wait(LOOK_EVERY_S)
    after = house.keeper.current().press
    assert after is not before
    assert after._passes is before._passes
