"""Each row of APNs' table of answers, and each way a line can break, over TLS sockets.

The table: developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns.
"""

from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from passes.apple.development import make_development_certificates
from passes.apple.push_outcome import PushVerdict
from tests.unit.passes.apns_faults import OK, FaultyApns, Relay, misconfigured, sender, tokens, verdicts
from tests.unit.passes.cards import PASS_TYPE_ID, TEAM_ID

OURS = (
    (400, "BadTopic"),
    (400, "TopicDisallowed"),
    (400, "MissingTopic"),
    (400, "InvalidPushType"),
    (400, "BadPriority"),
    (400, "BadExpirationDate"),
    (400, "BadMessageId"),
    (400, "BadCollapseId"),
    (400, "DuplicateHeaders"),
    (400, "PayloadEmpty"),
    (400, "MissingDeviceToken"),
    (403, "BadCertificate"),
    (403, "BadCertificateEnvironment"),
    (403, "Forbidden"),
    (403, "ExpiredProviderToken"),
    (403, "InvalidProviderToken"),
    (403, "MissingProviderToken"),
    (404, "BadPath"),
    (405, "MethodNotAllowed"),
    (413, "PayloadTooLarge"),
)
OF_ONE_PHONE = (
    (400, "BadDeviceToken", PushVerdict.BAD_TOKEN),
    (400, "DeviceTokenNotForTopic", PushVerdict.BAD_TOKEN),
    (410, "Unregistered", PushVerdict.GONE),
    (410, "ExpiredToken", PushVerdict.GONE),
    (429, "TooManyRequests", PushVerdict.RETRY_LATER),
    (429, "TooManyProviderTokenUpdates", PushVerdict.RETRY_LATER),
    (500, "InternalServerError", PushVerdict.RETRY_LATER),
    (503, "ServiceUnavailable", PushVerdict.RETRY_LATER),
    (503, "Shutdown", PushVerdict.RETRY_LATER),
)
MOMENT = datetime(2026, 11, 1, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(("status", "reason"), OURS)
def test_what_is_our_own_fault_stops_the_job_after_the_first_answer(tls, apns_files, status, reason):
    with (
        FaultyApns(tls, lambda token, times: (status, {"reason": reason})) as server,
        sender(server.url, apns_files) as apns,
    ):
        outcomes = apns.push(tokens(40))
        again = apns.push(tokens(40))
    assert {(o.verdict, o.reason) for o in outcomes + again} == {(PushVerdict.CONFIGURATION, reason)}
    assert [o.status for o in outcomes] == [status] + [0] * 39
    assert sum(server.seen.values()) == 2, "one push a call was enough to know"


@pytest.mark.parametrize(("status", "reason", "verdict"), OF_ONE_PHONE)
def test_what_concerns_one_phone_is_asked_once_and_leaves_the_others_alone(tls, apns_files, status, reason, verdict):
    body = {"reason": reason, **({"timestamp": int(MOMENT.timestamp() * 1000)} if status == 410 else {})}
    odd = tokens(20)[7]

    with (
        FaultyApns(tls, lambda token, times: (status, body) if token == odd else OK) as server,
        sender(server.url, apns_files) as apns,
    ):
        outcomes = {outcome.token: outcome for outcome in apns.push(tokens(20))}
    wrong = outcomes.pop(odd)
    assert (wrong.status, wrong.reason, wrong.verdict) == (status, reason, verdict)
    assert wrong.timestamp == (MOMENT if status == 410 else None)
    assert verdicts(outcomes.values()) == {PushVerdict.ACCEPTED: 19}
    assert set(server.seen.values()) == {1}, "whether and when to repeat is the caller's business"
    assert server.connections == 1


def test_an_idle_time_out_moves_everything_to_a_new_connection(tls, apns_files):
    """The connection that says so is about to be closed: nothing more is trusted to it."""

    def decide(token: str, times: int):
        return (400, {"reason": "IdleTimeout"}) if server.connections == 1 and int(token, 16) >= 50 else OK

    with FaultyApns(tls, decide) as server, sender(server.url, apns_files) as apns:
        assert verdicts(apns.push(tokens(100))) == {PushVerdict.ACCEPTED: 100}
    assert server.connections == 2
    pushed = {fields[":path"].rpartition("/")[2] for fields in server.headers}
    assert pushed == set(tokens(100))
    assert {fields["apns-collapse-id"] for fields in server.headers} == {"pass"}, "a phone shows a repeat once"


# -- certificates -------------------------------------------------------------------------------------


def test_a_certificate_that_has_expired_is_our_own_fault(tls, apns_files, tmp_path):
    old = make_development_certificates(
        pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=datetime.now(UTC) - timedelta(days=450)
    )
    (tmp_path / "root").write_bytes(old.root)
    tls.load_verify_locations(tmp_path / "root")  # known, only too old
    with (
        FaultyApns(tls, lambda token, times: OK) as server,
        sender(
            server.url, apns_files, certificate_pem=old.pass_certificate + old.intermediate, key_pem=old.pass_key
        ) as apns,
    ):
        outcomes = apns.push(tokens(30))
    assert verdicts(outcomes) == {PushVerdict.CONFIGURATION: 30}
    assert "certificate expired" in outcomes[0].reason
    assert server.seen == {}


def test_a_server_whose_certificate_has_expired_is_not_pushed_to(apns_files, tls, tmp_path):
    old = make_development_certificates(
        pass_type_id=PASS_TYPE_ID, team_id=TEAM_ID, now=datetime.now(UTC) - timedelta(days=450)
    )
    for name in ("root", "server_certificate", "server_key"):
        (tmp_path / name).write_bytes(getattr(old, name))
    tls.load_cert_chain(tmp_path / "server_certificate", tmp_path / "server_key")
    misconfigured(tls, apns_files, ca_file=str(tmp_path / "root"))


# -- lines --------------------------------------------------------------------------------------------


def test_a_line_that_is_cut_without_a_word_between_two_calls_is_replaced(tls, apns_files):
    """Half open: our end still believes in the connection, the other end is gone and says nothing."""
    with (
        FaultyApns(tls, lambda token, times: OK) as server,
        Relay(server.url) as relay,
        sender(relay.url, apns_files, request_timeout_seconds=0.4) as apns,
    ):
        assert verdicts(apns.push(tokens(20))) == {PushVerdict.ACCEPTED: 20}
        relay.swallow()
        assert verdicts(apns.push(tokens(60))) == {PushVerdict.ACCEPTED: 60}
    assert server.connections == 2
    assert max(server.seen.values()) <= 2


def test_a_line_that_is_reset_under_way_loses_nothing(tls, apns_files):
    with (
        FaultyApns(tls, lambda token, times: OK) as server,
        Relay(server.url) as relay,
        sender(relay.url, apns_files, attempts_max=8) as apns,
    ):
        cutter = threading.Thread(target=relay.reset_after, args=(20_000, 3))
        cutter.start()
        outcomes = apns.push(tokens(2000))
        cutter.join(timeout=10)
    assert verdicts(outcomes) == {PushVerdict.ACCEPTED: 2000}
    assert set(server.seen) == set(tokens(2000))
    assert relay.resets == 3
    assert server.connections == 4


def test_a_slow_server_keeps_its_connection_and_gets_each_push_once(tls, apns_files):
    """It answers all the time, only not fast: nobody is given up and nothing is sent twice."""

    def decide(token: str, times: int):
        time.sleep(0.01)
        return OK

    with (
        FaultyApns(tls, decide, max_streams=10) as server,
        sender(server.url, apns_files, streams_max=10, request_timeout_seconds=1.0) as apns,
    ):
        outcomes = apns.push(tokens(150))
    assert verdicts(outcomes) == {PushVerdict.ACCEPTED: 150}
    assert server.connections == 1
    assert set(server.seen.values()) == {1}


def test_one_stream_that_hangs_does_not_cost_the_connection(tls, apns_files):
    """The others are answered meanwhile, so the line is alive: only the one push is sent again."""
    hanging = tokens(400)[5]

    def decide(token: str, times: int):
        if token == hanging and times == 1:
            return "stall"
        time.sleep(0.003)
        return OK

    with (
        FaultyApns(tls, decide, max_streams=10) as server,
        sender(server.url, apns_files, streams_max=10, request_timeout_seconds=0.6) as apns,
    ):
        outcomes = apns.push(tokens(400))
    assert verdicts(outcomes) == {PushVerdict.ACCEPTED: 400}
    assert server.connections == 1
    assert {token for token, times in server.seen.items() if times > 1} == {hanging}


def test_a_server_that_shuts_down_over_and_over_gets_everything_in_the_end(tls, apns_files):
    """GOAWAY with Apple's JSON after every 100 requests of a connection."""

    def decide(token: str, times: int):
        return "goaway" if len(server.headers) % 100 == 0 else OK

    with FaultyApns(tls, decide) as server, sender(server.url, apns_files, attempts_max=8) as apns:
        outcomes = apns.push(tokens(1000))
    assert verdicts(outcomes) == {PushVerdict.ACCEPTED: 1000}
    assert {outcome.token for outcome in outcomes} == set(tokens(1000))
    assert server.connections > 5


def test_a_peer_that_talks_nonsense_after_the_handshake_is_for_later(tls, apns_files):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _address = listener.accept()
                with tls.wrap_socket(plain, server_side=True) as secure:
                    secure.sendall(b"\x00" * 64)
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    with sender(f"https://127.0.0.1:{listener.getsockname()[1]}", apns_files, attempts_max=2) as apns:
        outcomes = apns.push(tokens(5), deadline_seconds=10)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(timeout=10)
    assert verdicts(outcomes) == {PushVerdict.RETRY_LATER: 5}
