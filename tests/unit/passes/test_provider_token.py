"""A .p8 key instead of a certificate: what the token says, and when it is renewed."""

from __future__ import annotations

import itertools
import ssl
from collections import Counter
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from passes.apple.provider_token import HELD_SECONDS_MIN, STEP_SECONDS, ProviderKeyProblem, ProviderToken
from passes.apple.push_outcome import PushVerdict
from tests.unit.passes.apns_faults import OK, FaultyApns, sender, tokens, verdicts
from tests.unit.passes.cards import PASS_TYPE_ID

KEY_ID, TEAM_ID = "ABC1234567", "TEAM123456"
START = datetime(2026, 11, 20, 12, 15, tzinfo=UTC).timestamp()


class Clock:
    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pem(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def made(key, clock) -> ProviderToken:
    return ProviderToken.load(pem(key), key_id=KEY_ID, team_id=TEAM_ID, clock=clock)


def read(key, bearer: str) -> dict:
    """Let PyJWT, which is not ours, read it."""
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert jwt.get_unverified_header(bearer) == {"alg": "ES256", "kid": KEY_ID}
    return jwt.decode(bearer, public, algorithms=["ES256"], options={"verify_iat": False})


def test_the_token_is_what_apple_asks_for(key, clock):
    claims = read(key, made(key, clock).bearer())
    assert claims.keys() == {"iss", "iat"}
    assert claims["iss"] == TEAM_ID
    assert clock.now - STEP_SECONDS < claims["iat"] <= clock.now


def test_over_a_day_it_is_never_as_old_as_an_hour_and_never_renewed_within_twenty_minutes(key, clock):
    token = made(key, clock)
    renewals, last = [], ""
    for minute in range(24 * 60):
        clock.now = START + minute * 60
        bearer = token.bearer()
        assert 0 <= clock.now - read(key, bearer)["iat"] < 3600
        if bearer != last:
            renewals.append(clock.now)
            last = bearer
    gaps = [later - earlier for earlier, later in itertools.pairwise(renewals)]
    assert min(gaps) >= HELD_SECONDS_MIN


def test_all_workers_make_the_same_token_without_a_word(key, clock):
    early = made(key, clock)
    early.bearer()
    clock.now += 7 * 3600 + 1
    assert early.bearer() == made(key, clock).bearer()


def test_a_refused_token_is_replaced_once(key, clock):
    token = made(key, clock)
    first = token.bearer()
    assert token.refused(first)
    second = token.bearer()
    assert second != first
    assert token.refused(first), "what was sent under the old one goes again under the new one"
    assert not token.refused(second)
    assert token.bearer() == second
    clock.now += HELD_SECONDS_MIN
    assert token.refused(second)


def test_a_replacement_out_of_turn_is_held_for_twenty_minutes_all_the_same(key, clock):
    clock.now = START - START % STEP_SECONDS + STEP_SECONDS - 60
    token = made(key, clock)
    token.refused(token.bearer())
    replacement = token.bearer()
    clock.now += HELD_SECONDS_MIN - 1
    assert token.bearer() == replacement
    clock.now += 1
    assert token.bearer() != replacement


def test_told_to_keep_the_token_it_goes_back_to_the_one_before(key, clock):
    token = made(key, clock)
    first = token.bearer()
    token.refused(first)
    token.renewed_too_often()
    assert token.bearer() == first
    assert not token.refused(first)


def test_a_clock_that_jumps_back_gets_a_token_of_its_time(key, clock):
    token = made(key, clock)
    token.bearer()
    clock.now -= 7200
    assert read(key, token.bearer())["iat"] <= clock.now


@pytest.mark.parametrize(
    ("data", "names", "words"),
    [
        (b"no key", {}, "cannot be read"),
        (pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)), {}, "P-256"),
        (pem(ec.generate_private_key(ec.SECP384R1())), {}, "P-256"),
        (pem(ec.generate_private_key(ec.SECP256R1())), {"key_id": "abc"}, "key id has ten"),
        (pem(ec.generate_private_key(ec.SECP256R1())), {"team_id": "TEAM12345\n"}, "team id has ten"),
    ],
)
def test_a_key_that_cannot_be_used_says_the_cure(data, names, words):
    with pytest.raises(ProviderKeyProblem, match=words):
        ProviderToken.load(data, **{"key_id": KEY_ID, "team_id": TEAM_ID, **names})


# -- over the line -----------------------------------------------------------------------------------


@pytest.fixture
def open_tls(tls) -> ssl.SSLContext:
    """A server that asks nobody for a certificate."""
    tls.verify_mode = ssl.CERT_NONE
    return tls


def bearing(url, files, token):
    return sender(url, files, certificate_pem=b"", key_pem=b"", provider_token=token)


def of(server) -> Counter:
    return Counter(fields["authorization"].removeprefix("bearer ") for fields in server.headers)


def test_pushes_carry_the_token_and_no_certificate(open_tls, apns_files, key, clock):
    token = made(key, clock)
    with (
        FaultyApns(open_tls, lambda token, times: OK) as server,
        bearing(server.url, apns_files, token) as apns,
    ):
        assert verdicts(apns.push(tokens(50))) == {PushVerdict.ACCEPTED: 50}
    assert of(server) == {token.bearer(): 50}
    assert {fields["apns-topic"] for fields in server.headers} == {PASS_TYPE_ID}


@pytest.mark.parametrize("reason", ["ExpiredProviderToken", "InvalidProviderToken", "MissingProviderToken"])
def test_a_stale_token_is_renewed_once_and_every_push_arrives(open_tls, apns_files, key, clock, reason):
    token = made(key, clock)
    stale = token.bearer()

    def decide(_token: str, _times: int):
        bad = server.headers[-1]["authorization"] == f"bearer {stale}"
        return (403, {"reason": reason}) if bad and sum(server.seen.values()) > 20 else OK

    with FaultyApns(open_tls, decide) as server, bearing(server.url, apns_files, token) as apns:
        assert verdicts(apns.push(tokens(200))) == {PushVerdict.ACCEPTED: 200}
    assert of(server).keys() == {stale, token.bearer()}


@pytest.mark.parametrize("reason", ["ExpiredProviderToken", "InvalidProviderToken", "MissingProviderToken"])
def test_a_token_that_is_always_refused_stops_the_rest_after_one_renewal(open_tls, apns_files, key, clock, reason):
    with (
        FaultyApns(open_tls, lambda token, times: (403, {"reason": reason})) as server,
        bearing(server.url, apns_files, made(key, clock)) as apns,
    ):
        first = apns.push(tokens(50))
        second = apns.push(tokens(50))
    assert verdicts(first) == verdicts(second) == {PushVerdict.CONFIGURATION: 50}
    assert sum(server.seen.values()) == 3, "one, one under the renewed token, and one in the second call"
    assert len(of(server)) == 2, "tokens were renewed again and again"


def test_too_many_renewals_are_for_later_and_the_old_token_is_kept(open_tls, apns_files, key, clock):
    token = made(key, clock)
    first = token.bearer()
    token.refused(first)
    with (
        FaultyApns(open_tls, lambda token, times: (429, {"reason": "TooManyProviderTokenUpdates"})) as server,
        bearing(server.url, apns_files, token) as apns,
    ):
        (outcome,) = apns.push(["aa"])
        assert outcome.verdict is PushVerdict.RETRY_LATER
        server.decide = lambda token, times: OK
        assert verdicts(apns.push(["ab"])) == {PushVerdict.ACCEPTED: 1}
    assert server.headers[-1]["authorization"] == f"bearer {first}"


def test_one_kind_of_credentials_is_given(apns_files, key, clock):
    with pytest.raises(ValueError, match="not with both"):
        sender("https://127.0.0.1:9", apns_files, provider_token=made(key, clock))
    with pytest.raises(ValueError, match="certificate or"):
        sender("https://127.0.0.1:9", apns_files, certificate_pem=b"", key_pem=b"")
